"""A selection of the audit in tests/audit, and its judgement of a program that does everything wrong."""

import shutil

import pytest
from audit_kinds import KINDS, fast_runs
from audit_report import described, examine
from audit_run import Run, Thing, carry_out, close_servers
from audit_shared import work_folder

WRONG = """
import sys
from pathlib import Path
folder = Path(sys.argv[1])
(folder / "elsewhere").write_text("-")
(folder / "out").mkdir()
(folder / "out" / ".a.png.tmp").write_text("-")
(folder / "out" / "b.png").write_bytes(b"\\x89PNG")
print("a\\x1b[31mb")
print("libpng error: bad", file=sys.stderr)
sys.exit(3)
"""


@pytest.fixture(scope="module", autouse=True)
def _servers():
    yield
    close_servers()
    shutil.rmtree(work_folder())


@pytest.mark.parametrize("kind", [kind for kind in KINDS if fast_runs(kind)])
def test_bad_input_is_reported_in_a_line(kind):
    results = [result for run in fast_runs(kind) for result in examine(run)]
    assert not [print(described(result)) for result in results if result.failed]


def test_the_audit_sees_what_is_wrong(tmp_path):
    script = tmp_path / "wrong.py"
    script.write_text(WRONG)
    run = Run("own", "wrong", (Thing("good file", "a.png"), Thing("odd file", "b.png", "done", output="c.png")),
              lambda folder: [script, folder], good=("d.png",))
    found = carry_out(run, tmp_path / "run").complaints
    assert found["good file"] == ["no line names 'a.png'"]
    assert found["odd file"] == ["no output"]
    own = "\n".join(found[""])
    for text in ("status 3, expected 1", "lines of a library: libpng error: bad", "'\\x1b' on stdout", "d.png",
                 "written outside the output folder: elsewhere", "left behind: .a.png.tmp", "b.png is half written"):
        assert text in own


@pytest.mark.parametrize(("script", "complaint"), [
    ("raise RuntimeError('unexpected')", "traceback: RuntimeError: unexpected"),
    ("import os; os.abort()", "status -6, expected 1"),
    ("import sys; sys.exit(1)", "nothing on stderr"),
])
def test_the_audit_sees_programs_that_crash(tmp_path, script, complaint):
    path = tmp_path / "crash.py"
    path.write_text(script)
    assert complaint in carry_out(Run("own", "crash", (), lambda folder: [path]), tmp_path / "run").complaints[""]


def test_the_audit_ends_programs_that_hang(tmp_path):
    path = tmp_path / "hang.py"
    path.write_text("while True: pass")
    run = Run("own", "hang", (), lambda folder: [path], seconds=0)
    assert "took more than 0 s" in carry_out(run, tmp_path / "run").complaints[""]
