"""Inputs and errors of the page's events, without a server. Needs Gradio."""

import asyncio
from types import SimpleNamespace

import pytest

pytest.importorskip("gradio")

import gradio as gr

from webpage import inputs
from webpage.inputs import FAILED, CheckedBlocks, forget_deleted, forget_unread
from webpage.storage import Storage


def refuse(value: object) -> None:
    raise KeyError(value)


@pytest.fixture
def blocks(tmp_path, monkeypatch) -> CheckedBlocks:
    """A page of one choice, whose event fails in an unexpected way, and one widget that is not known."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    with CheckedBlocks(Storage(tmp_path, 10**6), 1000) as page:
        choice, text = gr.Radio(["a", "b"], label="Choice"), gr.Textbox(label="Text")
        choice.change(refuse, choice)
        choice.input(lambda value: value, text, text)
    return page


@pytest.mark.parametrize(("event", "data", "line"), [
    (0, ["a"], FAILED), (0, ["c"], "Choice: not one of the values that can be chosen"), (0, [], "0 inputs; expected 1"),
    (0, [["a"]], "Choice: not one of the values that can be chosen"),
    (1, [{"path": "/etc/passwd"}], "Text: not one of the values that can be chosen"),
])
def test_every_failure_is_one_line(blocks, capsys, event, data, line):
    with pytest.raises(gr.Error) as told:
        asyncio.run(blocks.process_api(blocks.fns[event], data))
    assert told.value.message == line
    assert ("KeyError" in capsys.readouterr().err) == (line == FAILED)


def test_names_of_deleted_files_are_dropped(monkeypatch, tmp_path):
    monkeypatch.setattr(inputs, "NAMES", 2)
    (tmp_path / "there").touch()
    few, many = {"gone", "away"}, {"gone", "away", str(tmp_path / "there")}
    forget_deleted([few, many])
    assert few == {"gone", "away"}
    assert many == {str(tmp_path / "there")}


def test_messages_that_nobody_fetches_are_dropped(monkeypatch):
    """Those beyond the latest of a session, and the oldest sessions; none of a session that is being served."""
    monkeypatch.setattr(inputs, "UNREAD", 3)
    monkeypatch.setattr(inputs, "SESSIONS", 2)
    messages = {name: asyncio.Queue() for name in ("busy", "old", "new", "newest")}
    for number in range(9):
        messages["newest"].put_nowait(number)
    queue = SimpleNamespace(pending_messages_per_session=dict(messages), event_ids_to_events={"1": None},
                            pending_event_ids_session={"busy": {"1"}, "old": {"2"}, "newest": {"3"}})
    forget_unread(queue)
    assert list(queue.pending_messages_per_session) == ["busy", "newest"]
    assert [messages["newest"].get_nowait() for _ in range(3)] == [6, 7, 8]
    assert queue.pending_event_ids_session == {"busy": {"1"}, "newest": set()}
