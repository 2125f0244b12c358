"""The table of a run survives that the run is killed."""

import sys

import torch

from networks import MattingOutput
from training.run_log import RunLog, append_row, drop_rows_from, training_pictures
from utils.config import load_config
from utils.distributed import World


def test_rows_after_the_resumed_step_are_dropped(tmp_path):
    table = tmp_path / "run.csv"
    for step in (1, 2, 3):
        append_row(table, {"step": step, "loss": step / 10})
    with table.open("a") as file:
        file.write("4,")  # killed in the middle of a row
    drop_rows_from(table, 2)
    append_row(table, {"step": 3, "loss": 0.9})
    rows = table.read_text().split()
    assert rows[0].startswith("step,loss,rec,")
    assert [row.rstrip(",") for row in rows[1:]] == ["1,0.1", "2,0.2", "3,0.9"]


def test_a_new_run_sets_the_table_of_an_earlier_one_aside(tmp_path):
    table = tmp_path / "run.csv"
    for _ in range(3):
        drop_rows_from(table, 0)
        append_row(table, {"step": 1, "loss": 0.5})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.1.csv", "run.2.csv", "run.csv"]


def test_training_pictures():
    """In the panel the prediction's known pixels are the trimap's."""
    labels = torch.tensor([[0, 1], [1, 2]]).repeat_interleave(16, 0).repeat_interleave(16, 1)
    batch = {"image": torch.zeros(1, 3, 32, 32), "trimap": labels[None, None].float(),
             "alpha": torch.ones(1, 1, 32, 32)}
    output = MattingOutput(torch.full((1, 1, 32, 32), 0.4), (torch.zeros(1, 2, 2, 2),), (torch.ones(1, 2),))
    pictures = training_pictures(batch, output)
    assert set(pictures) == {"image_trimap_alpha_prediction", "offset1"}
    prediction = pictures["image_trimap_alpha_prediction"][:, -32:, 0]
    assert [prediction[y, x] for y, x in ((0, 0), (0, 20), (20, 0), (20, 20))] == [0, 102, 102, 255]


def test_training_goes_on_without_tensorboard(monkeypatch, tmp_path, caplog):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    config = load_config(overrides=[f"log.logging_path={tmp_path}", f"log.tensorboard_path={tmp_path}",
                                    "log.logging_step=1", "log.tensorboard_step=1"])
    values = {"loss": 0.5, "learning_rate": 1e-3}
    with caplog.at_level("WARNING"), RunLog(config, World(0, 1, torch.device("cpu")), 0) as run_log:
        run_log.waited(2.0)
        run_log.advance(1)
        run_log.record(1, values, 8)
        run_log.record_validation(1, {"sad": 3.0})
        run_log.record_pictures(1, {}, None)
    assert run_log.seconds_waited == 2
    assert caplog.messages == ["no TensorBoard logs: tensorboardX is not installed"]
    assert (tmp_path / "gca-dist.csv").read_text().splitlines()[1].startswith("1,0.5,")
