"""Training and testing with damaged checkpoints, logs, images and folders."""

import functools
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from audit_bad_images import cut, encoded, picture, trimap_of
from audit_cases_checkpoints import RunsCode, saved
from audit_run import ROOT, Run, Thing, program
from audit_shared import WIDTH, once, tiny_checkpoint, work_folder, write
from training_runs import settings

BAD_IMAGE = cut(encoded(picture(128, 128)), 0.6)  # with a good header
ANY = (0, 1)


@once
def data() -> Path:
    """A drawn data set of 64 pixels."""
    from tools.make_generated_data import make_data_set

    make_data_set(work_folder() / "data", foregrounds=3, backgrounds=4, tests=3, size=64, seed=1)
    return work_folder() / "data"


def main_py(folder: Path, *more: str, images: Path | None = None, **values: object) -> list:
    """main.py on a tiny configuration, with its results in out/."""
    options = settings(images or data(), folder / "out", **{
        "model.width": WIDTH, "train.total_step": 3, "train.val_step": 2, "log.logging_level": "WARNING",
        "data.crop_size": 64, "log.tensorboard_image_step": 100,
        **{name.replace("__", "."): value for name, value in values.items()}})
    return ["main.py", "--config", ROOT / "config" / "trial.toml", "--device=cpu", *options, *more]


@once
def finished() -> Path:
    """The checkpoint of a finished run of two steps."""
    folder = work_folder() / "finished"
    for name in ("cwd", "streams"):
        (folder / name).mkdir(parents=True)
    outcome = program(main_py(folder, train__total_step=2), folder / "cwd", folder / "streams")
    assert outcome.status == 0, outcome.stderr
    return folder / "out" / "checkpoints" / "trial" / "latest_model.pth"


def training_run(name: str, token: str, prepare: Callable[[Path], object], status: object = 1,
                 expected: str = "refused", images: str = "", more: tuple[str, ...] = (), **values: object) -> Run:
    """A training; `images`: the folder of the run that holds its data, and values may be paths in the run's folder."""
    def argv(folder: Path) -> list:
        given = {key: value(folder) if callable(value) else value for key, value in values.items()}
        return main_py(folder, *more, images=folder / images if images else None, **given)

    return Run("training", name, (Thing(name, token, expected),), argv, prepare, status, spare=True)


def content() -> dict:
    import torch

    return torch.load(finished(), weights_only=True)


def resumed(name: str, change: Callable[[dict], object], status: object = 1, expected: str = "refused") -> Run:
    """A run resumed from a checkpoint b.pth of which something has been changed."""
    def prepare(folder: Path) -> None:
        whole = content()
        changed = change(whole)
        write(folder / "b.pth", changed if isinstance(changed, bytes) else saved(whole))

    return replace(training_run(name, "b.pth", prepare, status, expected,
                                train__resume_checkpoint=lambda folder: folder / "b.pth"), kind="resuming")


def resume_runs() -> Iterator[Run]:
    """Checkpoints of which some entry is missing or wrong."""
    yield resumed("unchanged", lambda whole: None, 0, "done")
    whole = functools.cache(lambda: finished().read_bytes())
    for name, data_of in (("empty", lambda: b""), ("html", lambda: b"<html>"), ("cut", lambda: cut(whole(), 0.7)),
                          ("code", lambda: saved(RunsCode(work_folder() / "code-has-run")))):
        yield resumed(name, lambda _, data_of=data_of: data_of())
    for key in ("step", "moving_norm", "best_mse", "skipped", "scaler", "random_state"):
        yield resumed(f"without {key}", lambda whole, key=key: whole["resume"].pop(key) is None)
    wrong = {"step": ("x", -1, 1.5, None, float("nan"), [1]), "moving_norm": ("x", float("nan"), -1.0, [1]),
             "best_mse": ("x", None, [1]), "skipped": ("x", None, -1),
             "random_state": (3, None, [1, 2], "tensor")}
    for key, values in wrong.items():
        for value in values:
            yield resumed(f"{key} {value!r}"[:40], lambda whole, key=key, value=value: whole["resume"].update(
                {key: _short_tensor() if value == "tensor" else value}))
    for value in (None, [1], "x", 3):
        yield resumed(f"resume = {value!r}", lambda whole, value=value: whole.update(resume=value))
        yield resumed(f"optimiser = {value!r}", lambda whole, value=value: whole.update(opt_state_dict=value))
    yield resumed("optimiser empty", lambda whole: whole.update(opt_state_dict={}))
    for key in ("state", "param_groups"):
        yield resumed(f"optimiser without {key}", lambda whole, key=key: whole["opt_state_dict"].pop(key) is None)
    yield resumed("another number of groups", lambda whole: whole["opt_state_dict"]["param_groups"].append({}))
    yield resumed("fewer parameters", lambda whole: whole["opt_state_dict"]["param_groups"][0]["params"].pop() is None)
    yield resumed("no state of a parameter", lambda whole: whole["opt_state_dict"]["state"].pop(0) is None)
    for name, change in (("nan", lambda value: value * float("nan")), ("inf", lambda value: value + float("inf")),
                         ("shape", lambda value: value.flatten()[:1]), ("text", lambda value: "x"),
                         ("negative", lambda value: -1 - value.abs())):
        for moment in ("exp_avg", "exp_avg_sq"):
            if (name, moment) != ("negative", "exp_avg"):
                yield resumed(f"{moment} {name}", lambda whole, change=change, moment=moment: whole["opt_state_dict"][
                    "state"][0].update({moment: change(whole["opt_state_dict"]["state"][0][moment])}))
    for rate in (float("nan"), "x", -1.0):
        yield resumed(f"learning rate {rate!r}", lambda whole, rate=rate: whole["opt_state_dict"]["param_groups"][
            0].update(lr=rate, betas=(rate, 0.9)))


def _short_tensor() -> object:
    import torch

    return torch.zeros(3, dtype=torch.uint8)


def folder_runs() -> Iterator[Run]:
    """Logs, images and folders of a training."""
    logs = {"empty": b"", "binary": bytes(range(256)), "half": b"step,lo", "words": b"step,loss\nx,y\n",
            "other columns": b"a,b\n1,2\n", "nul": b"step,loss\n1,\0\n"}
    for name, content_of in logs.items():
        yield training_run(f"table {name}", "trial.csv", lambda folder, content_of=content_of: write(
            folder / "out" / "log" / "trial.csv", content_of), ANY, "either",
            train__resume_checkpoint=lambda folder: finished())
    for key in ("log__logging_path", "log__checkpoint_path", "log__tensorboard_path", "data__cache"):
        yield training_run(f"{key} is a file", "b-file", lambda folder: write(folder / "b-file", b"-"), 1,
                           **{key: lambda folder: folder / "b-file"})
    for place, name in (("fg", "000000.png"), ("alpha", "000000.png"), ("bg", "000000.png")):
        yield training_run(f"one damaged in {place}", name, lambda folder, place=place, name=name: write(
            own_data(folder) / "train" / place / name, BAD_IMAGE[:300]), ANY, "either", images="own")
        yield training_run(f"all damaged in {place}", place, lambda folder, place=place: [
            path.write_bytes(path.read_bytes()[:200]) for path in (own_data(folder) / "train" / place).iterdir()],
            1, images="own")
        yield training_run(f"{place} empty", place, lambda folder, place=place: [
            path.unlink() for path in (own_data(folder) / "train" / place).iterdir()], 1, images="own")
    yield training_run("alpha of another size", "000001.png", lambda folder: write(
        own_data(folder) / "train" / "alpha" / "000001.png", trimap_of(9, 9)), images="own")
    yield training_run("alpha missing", "000001.png", lambda folder: (
        own_data(folder) / "train" / "alpha" / "000001.png").unlink(), images="own")
    for key, value in (("data.crop_size", 3200000), ("train.seed", 10**28)):
        yield training_run(f"{key}={value}"[:40], f"{key}|memory", lambda folder: None,
                           more=("--set", f"{key}={value}"))
    yield training_run("one value per channel", "batch_size|crop_size", lambda folder: None, ANY, "either",
                       model__batch_size=1, data__crop_size=32)


def own_data(folder: Path) -> Path:
    """A copy of the data set for changes, in the run's folder."""
    return Path(shutil.copytree(data(), folder / "own"))


def test_phase_runs() -> Iterator[Run]:
    """The test phase with damaged images and a damaged folder of predictions."""
    def run(name: str, things: tuple[Thing, ...], prepare: Callable[[Path], object], status: object,
            **values: object) -> Run:
        def argv(folder: Path) -> list:
            given = {key: value(folder) if callable(value) else value for key, value in values.items()}
            return main_py(folder, "--phase=test", images=folder / "own", test__checkpoint=tiny_checkpoint(),
                           test__alpha_path=folder / "out", **given)

        return Run("testing", name, things, argv, lambda folder: (own_data(folder), prepare(folder)), status,
                   spare=True)

    def damaged(place: str, number: int) -> Thing:
        name = f"00000{number}.png"
        return Thing(f"{place}/{name}", f"{place}/{name}", "refused", lambda folder: write(
            folder / "own" / "test" / place / name, cut(encoded(picture(64, 64)), 0.6)))

    for place in ("merged", "alpha", "trimap"):
        yield run(f"two damaged in {place}/", (damaged(place, 0), damaged(place, 2)), lambda folder: None, 1)
    for text in ('{"scale": "origin", "fi', "", "[1]", "\0\1\2", '"x"'):
        yield run(f"made_with.json {ascii(text)[:20]}", (Thing(text, "made_with.json", "either"),),
                  lambda folder, text=text: (
            write(folder / "out" / "trial" / "made_with.json", text.encode()),
            write(folder / "out" / "trial" / "000000.png", trimap_of(64, 64))), ANY)
    yield run("others' images", (Thing("others", "test.alpha_path"),), lambda folder: write(
        folder / "out" / "trial" / "mine.png", trimap_of(64, 64)), 1)
    yield run("a damaged prediction", (Thing("prediction", "000000.png|test.alpha_path", "either"),),
              lambda folder: write(folder / "out" / "trial" / "000000.png", b""), ANY)
    for key in ("merged", "alpha", "trimap"):
        yield run(f"test.{key} missing", (Thing(key, "b-none"),), lambda folder: None, 1,
                  **{f"test__{key}": lambda folder: folder / "b-none"})
    yield run("version outside", (Thing("version", "version"),), lambda folder: None, 1, version="../elsewhere")



def parts_runs() -> Iterator[Run]:
    """train_free.py on damaged parts."""
    whole = {"files": ["weights-1-0.pth"], "steps": 1, "minutes": 1.0, "samples": 1, "validations": []}
    texts = {"half": json.dumps(whole)[:30], "empty": "", "list": "[1]", "no files": "{}", "files 3": '{"files": 3}',
             "files missing": json.dumps(whole), "files outside": json.dumps(whole | {"files": ["../../b.pth"]}),
             "files text": '{"files": "abc"}', "binary": "\x00\x01", "steps text": json.dumps(whole | {"steps": "x"}),
             "deep": "[" * 4000,
             "hostile architecture": json.dumps(whole | {"files": [], "architecture": {"width": "x"}})}
    for name, text in texts.items():
        for way in ("--checkpoint", "--minutes"):
            def argv(folder: Path, way: str = way) -> list:
                more = ["--minutes=0.01"] if way == "--minutes" else ["--checkpoint", folder / "joined.pth"]
                options = main_py(folder)[3:]
                return ["tools/train_free.py", "--config", ROOT / "config" / "trial.toml", "--parts",
                        folder / "out" / "b-parts", *options, *more]

            yield Run("parts", f"{name} {way}", (Thing(name, "b-parts"),), argv, lambda folder, text=text: write(
                folder / "out" / "b-parts" / "about.json", text.encode()), 1)
