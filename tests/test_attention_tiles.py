"""Tiles of positions, and their distribution over cores."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
import torch

from networks import attention_chunked
from networks.attention_tiles import around_needed, on_cores, tile_shape, tiles, unreported


@pytest.mark.parametrize(("h", "w", "shape", "more"), [(7, 9, (3, 4), 0), (7, 9, (3, 4), 1), (8, 8, (8, 8), 1),
                                                       (5, 1, (2, 1), 1)])
def test_tiles_cover_each_position_once(h, w, shape, more):
    covered = torch.zeros(h + more, w + more)
    for tile in tiles(h, w, shape, more):
        covered[tile] += 1
    assert (covered == 1).all()


@pytest.mark.parametrize(("h", "w", "most", "with_halo", "expected"), [
    (128, 128, (16, 32), 10**6, (16, 32)),
    (36, 36, (16, 32), 10**6, (12, 18)),  # three rows of tiles and two columns, of equal size
    (128, 128, (16, 32), 400, (16, 16)),  # 18 x 18 with the positions around
    (128, 128, (16, 32), 8, (1, 1)),
    (4, 300, (16, 32), 10**6, (4, 30))])
def test_shapes_of_tiles(h, w, most, with_halo, expected):
    assert tile_shape(h, w, most, with_halo) == expected


def test_tiles_around_needed_queries():
    needed = torch.zeros(7, 9, dtype=torch.bool)
    needed[1, 2:4] = needed[2, 1] = needed[6, 8] = True
    whole = tiles(7, 9, (3, 4))
    assert around_needed(whole, needed) == [(slice(1, 3), slice(1, 4)), (slice(6, 7), slice(8, 9))]
    assert around_needed(whole, None) == around_needed(whole, torch.ones(7, 9, dtype=torch.bool)) == whole
    assert around_needed(whole, torch.zeros(7, 9, dtype=torch.bool)) == []


@pytest.mark.parametrize("workers", [1, 3])
def test_results_come_in_order_and_are_reported(workers):
    reports = []
    pairs = list(on_cores(lambda item: item * item, range(5), workers, lambda *counts: reports.append(counts)))
    assert pairs == [(item, item * item) for item in range(5)]
    assert reports == [(done, 5) for done in range(1, 6)]


@pytest.mark.parametrize("ending", ["complete", "closed", "failed"])
def test_the_caller_keeps_its_threads(ending):
    """However the loop ends, this thread and new ones have as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    results = on_cores(lambda item: 1 // (item < 3 or ending != "failed"), range(5), 2, unreported)
    try:
        next(results)
        during = torch.get_num_threads()
        with suppress(ZeroDivisionError):
            results.close() if ending == "closed" else list(results)
        with ThreadPoolExecutor(1) as pool:
            after = torch.get_num_threads(), pool.submit(torch.get_num_threads).result()
    finally:
        torch.set_num_threads(before)
    assert during == 1
    assert after == (3, 3)


def test_an_interrupted_loop_does_not_wait_for_the_rest():
    """All but the first item wait for the interruption."""
    interrupted, begun = threading.Event(), []

    def function(item: int) -> int:
        begun.append(item)
        return item if item == 0 else interrupted.wait()

    with pytest.raises(KeyboardInterrupt):
        for _ in on_cores(function, range(20_000), 2, unreported):
            interrupted.set()
            raise KeyboardInterrupt
    assert len(begun) < 20_000


def test_failing_tiles_end_the_computation(monkeypatch):
    """Two tiles that fail at once, each in its own thread: neither keeps its buffer from the tiles that follow."""
    both = threading.Barrier(2)

    def failing(*_):
        with suppress(threading.BrokenBarrierError):
            both.wait(10)
        both.abort()
        raise MemoryError

    monkeypatch.setattr(attention_chunked, "_stream_tile", failing)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(MemoryError), torch.no_grad():
            attention_chunked.attend(torch.ones(1, 4, 60, 60), torch.ones(1, 4, 120, 120), torch.ones(1, 60, 60),
                                     torch.zeros(1, 60, 60))
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_core_runs_one_thread_without_denormal_numbers(workers):
    """One worker is this thread, which keeps its threads, and its denormal numbers afterwards."""
    tiny = torch.tensor([1e-30])
    threads = torch.get_num_threads() if workers == 1 else 1
    results = [result for _, result in on_cores(lambda _: (torch.get_num_threads(), (tiny * 1e-10).item()), range(4),
                                                workers, unreported)]
    assert results == [(threads, 0.0)] * 4
    assert (tiny * 1e-10).item() > 0
    assert torch.set_flush_denormal(True)
    try:
        list(on_cores(lambda _: None, range(2), workers, unreported))
        assert (tiny * 1e-10).item() == 0
    finally:
        torch.set_flush_denormal(False)
