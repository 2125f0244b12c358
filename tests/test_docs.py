"""The documentation: links, commands, options and imports are those of the repository."""

import argparse
import ast
import importlib
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = (".", "benchmarks", "checkpoints", "checkpoints/gca-free", "config", "demo", "docs", "pretrain")
DOCUMENTS = sorted(path for folder in FOLDERS for path in (ROOT / folder).glob("*.md"))
IDS = [str(path.relative_to(ROOT)) for path in DOCUMENTS]
PRESENT = [path for path in DOCUMENTS if path.name != "CHANGELOG.md"]  # which names what was
FILE_NAMES = {path.name for pattern in ("*.py", "*/*.py", "dataloader/*/*.py", "config/*.toml", "tools/*.toml")
              for path in ROOT.glob(pattern)}
PROGRAMS = ("main", "demo", "cutout_photo", "evaluate", "tools.make_trimap", "tools.make_generated_data",
            "tools.export_onnx", "tools.fit_subject_model", "tools.train_free", "tools.composite_test_set",
            "tools.fetch_photographs", "tools.fetch_cutouts", "tools.fetch_further_photographs",
            "tools.cut_out_photographs", "tools.matte_photographs", "tools.average_checkpoints")


def without_fences(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(text: str) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ +(.+)$", without_fences(text), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=IDS)
def test_links_lead_somewhere(document):
    text = document.read_text(encoding="utf-8")
    broken = []
    for target in re.findall(r"\]\((?!https?:|mailto:)([^)\s]+)\)", without_fences(text)):
        name, _, anchor = target.partition("#")
        path = document.parent / name if name else document
        if not path.exists() or (anchor and anchor not in anchors(path.read_text(encoding="utf-8"))):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("document", PRESENT, ids=lambda path: str(path.relative_to(ROOT)))
def test_programs_that_are_named_exist(document):
    text = document.read_text(encoding="utf-8")
    modules = [f"{name.replace('.', '/')}.py" for name in re.findall(r"python -m (benchmarks\.\w+)", text)]
    names = {*re.findall(r"(?<![\w/.<-])((?:\w[\w-]*/)*\w[\w-]*\.(?:py|sh|toml))\b", text), *modules}
    missing = [name for name in names if not any((folder / name).is_file() for folder in (ROOT, document.parent))]
    assert [name for name in missing if "/" in name or name not in FILE_NAMES] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=IDS)
def test_imports_that_are_shown_work(document):
    for code in re.findall(r"^```python\n(.*?)^```", document.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom):
                module = importlib.import_module(node.module)
                assert all(hasattr(module, name.name) for name in node.names)


class Captured(Exception):
    """Ends a program as soon as its parser is complete."""


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_option_is_documented(monkeypatch, program):
    module = importlib.import_module(program)
    options = []

    def capture(parser: argparse.ArgumentParser, *_: object) -> None:
        options.extend(option for action in parser._actions for option in action.option_strings)
        raise Captured

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", capture)
    with pytest.raises(Captured):
        module.main()
    text = "".join(path.read_text(encoding="utf-8") for path in DOCUMENTS) + (module.__doc__ or "")
    own = [option for option in options if option.startswith("--") and not option.startswith("--no-")]
    assert len(own) > 1
    assert [option for option in own if option != "--help" and not re.search(rf"{option}(?![\w-])", text)] == []


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 160


def test_no_lines_are_left_to_fill_in():
    names = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    documents = [ROOT / name for name in names.split()] or DOCUMENTS
    assert not [path for path in documents if re.search(r"\b(?:TODO|FIXME|XXX)\b", path.read_text(encoding="utf-8"))]
