"""Averages of checkpoints."""

import sys

import pytest
import torch
from torch.nn.utils.parametrize import is_parametrized

from networks import build_network
from tools.average_checkpoints import averaged, main
from utils.checkpoint import load_network, read_checkpoint, save_checkpoint


def network(seed: int, width: float = 0.06):
    torch.manual_seed(seed)
    built = build_network(width=width)
    built.encoder.bn1.running_mean.fill_(seed)
    built.encoder.bn1.num_batches_tracked.fill_(10 * seed)
    return built.eval()


def run(monkeypatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["average_checkpoints.py", *map(str, arguments)])
    return main()


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / f"{seed}.pth" for seed in (1, 2)]
    for seed, path in enumerate(paths, 1):
        built = network(seed)
        save_checkpoint(path, built, architecture=built.architecture)
    return paths


def test_means_are_weighted():
    first, second = network(1), network(2)
    name = "encoder.conv1.parametrizations.weight.original"
    expected = 0.25 * first.state_dict()[name] + 0.75 * second.state_dict()[name]
    result = averaged([first, second], [1, 3])
    assert torch.allclose(result.state_dict()[name], expected, atol=1e-7)
    assert torch.equal(result.encoder.bn1.running_mean, torch.full_like(result.encoder.bn1.running_mean, 1.75))
    assert result.encoder.bn1.num_batches_tracked == 20
    assert not any(module.training for module in result.modules())


def test_normalised_by_the_averages_largest_singular_value():
    """Averaged singular vectors are not those of the average, and shorter than 1."""
    result = averaged([network(1), network(2)], [1, 1])
    layers = [module for module in result.modules() if is_parametrized(module)]
    assert len(layers) > 30
    for layer in layers:
        assert torch.linalg.svdvals(layer.weight.detach().flatten(1))[0] == pytest.approx(1, abs=0.02)


def test_the_average_of_one_twice_is_the_same():
    twice = network(1), network(1)
    for layers in zip(*(filter(is_parametrized, each.modules()) for each in twice), strict=True):
        for layer in layers:  # as after training: the largest singular value is clear, its vectors are known
            spectrum, weight = layer.parametrizations.weight[0], layer.parametrizations.weight.original.data
            left, values, right = torch.linalg.svd(weight.flatten(1), full_matrices=False)
            weight += (values[0] * torch.outer(left[:, 0], right[0])).view_as(weight)
            spectrum._u.copy_(left[:, 0])
            spectrum._v.copy_(right[0])
    image, trimap = torch.rand(1, 3, 64, 64), torch.eye(3)[torch.ones(1, 64, 64, dtype=int)].permute(0, 3, 1, 2)
    with torch.no_grad():
        expected = twice[0](image, trimap).alpha
        assert torch.allclose(averaged(list(twice), [0.3, 0.3])(image, trimap).alpha, expected, atol=1e-5)


def test_writes_a_checkpoint_in_half_precision(monkeypatch, tmp_path, files, capsys):
    assert run(monkeypatch, *files, "--shares", 0.4, 0.6, f"--output={tmp_path / 'new' / 'mean.pth'}") == 0
    assert "the average of 2 checkpoints is in" in capsys.readouterr().out
    content = read_checkpoint(tmp_path / "new" / "mean.pth")
    assert content["architecture"]["width"] == 0.06
    assert {value.dtype for value in content["state_dict"].values()} == {torch.float16, torch.int64}
    assert load_network(tmp_path / "new" / "mean.pth").encoder.bn1.running_mean[0] == pytest.approx(1.6, abs=1e-3)


def test_other_architectures_are_refused(monkeypatch, tmp_path, files, capsys):
    other = network(3, width=0.4)
    save_checkpoint(tmp_path / "other.pth", other, architecture=other.architecture)
    assert run(monkeypatch, files[0], tmp_path / "other.pth", f"--output={tmp_path / 'mean.pth'}") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"average_checkpoints.py: {tmp_path / 'other.pth'}: its architecture is {{'encoder'")
    assert str(files[0]) in line
    assert not (tmp_path / "mean.pth").exists()


@pytest.mark.parametrize("arguments, message", [
    (["a.pth"], "one checkpoint; expected at least two"),
    (["a.pth", "b.pth", "--shares", "1"], "1 shares for 2 checkpoints"),
    (["a.pth", "b.pth", "--shares", "1", "0"], "0 is not above 0")])
def test_bad_arguments(monkeypatch, tmp_path, capsys, arguments, message):
    with pytest.raises(SystemExit, match="2"):
        run(monkeypatch, *arguments, f"--output={tmp_path / 'mean.pth'}")
    assert message in capsys.readouterr().err


def test_a_missing_file_is_named(monkeypatch, tmp_path, files, capsys):
    assert run(monkeypatch, files[0], tmp_path / "none.pth", f"--output={tmp_path / 'mean.pth'}") == 1
    assert capsys.readouterr().err == f"average_checkpoints.py: {tmp_path / 'none.pth'}: no such file\n"
