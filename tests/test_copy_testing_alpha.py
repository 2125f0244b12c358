"""The shell script that names the test alphas as the merged images."""

import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "copy_testing_alpha.sh"


def run(*arguments: Path | str) -> subprocess.CompletedProcess:
    return subprocess.run((SCRIPT, *arguments), capture_output=True, text=True)


@pytest.fixture
def test_set(tmp_path):
    """A folder with a space in its path and two alphas, one of them with a space and a dot in its name."""
    alpha = tmp_path / "Test set" / "alpha"
    alpha.mkdir(parents=True)
    (alpha / "pear.png").write_bytes(b"pear")
    (alpha / "an apple.v2.png").write_bytes(b"apple")
    (alpha / "notes.txt").write_text("not an alpha")
    return alpha.parent


def test_twenty_copies_of_each_alpha(test_set):
    done = run(test_set)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{test_set}/alpha_copy: 2 alphas, 40 copies made, 0 already there\n"
    copies = {path.name: path.read_bytes() for path in (test_set / "alpha_copy").iterdir()}
    assert copies == {f"{name}_{number}.png": content for name, content in
                      (("pear", b"pear"), ("an apple.v2", b"apple")) for number in range(20)}


def test_second_run_copies_nothing(test_set):
    run(test_set)
    before = {path: path.stat().st_mtime_ns for path in (test_set / "alpha_copy").iterdir()}
    done = run(test_set)
    assert done.returncode == 0
    assert "0 copies made, 40 already there" in done.stdout
    assert before == {path: path.stat().st_mtime_ns for path in (test_set / "alpha_copy").iterdir()}


def test_missing_half_and_outdated_copies_are_made_anew(test_set):
    run(test_set)
    copies = test_set / "alpha_copy"
    (copies / "pear_0.png").unlink()
    (copies / "pear_7.png").write_bytes(b"pe")
    (copies / "pear_19.png").write_bytes(b"plum")
    assert "3 copies made, 37 already there" in run(test_set).stdout
    assert {(copies / f"pear_{number}.png").read_bytes() for number in range(20)} == {b"pear"}
    assert len(list(copies.iterdir())) == 40


def test_folder_whose_name_begins_with_a_dash(test_set):
    test_set.rename(test_set.with_name("-set"))
    done = subprocess.run((SCRIPT, "-set"), cwd=test_set.parent, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(list((test_set.with_name("-set") / "alpha_copy").iterdir())) == 40


def test_missing_folders_are_named(test_set):
    for folder in (test_set / "nowhere", test_set / "alpha"):
        done = run(folder)
        assert done.returncode == 1
        assert done.stderr == f"copy_testing_alpha.sh: {folder}/alpha: no such folder\n"
        assert not (folder / "alpha_copy").exists()


def test_folder_without_alphas(tmp_path):
    (tmp_path / "alpha").mkdir()
    done = run(tmp_path)
    assert done.returncode == 1
    assert done.stderr == f"copy_testing_alpha.sh: {tmp_path}/alpha: no .png files in this folder\n"
    assert not (tmp_path / "alpha_copy").exists()


def test_usage():
    for arguments in ((), ("",), ("a", "b")):
        done = run(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("usage: ./copy_testing_alpha.sh DIR")
