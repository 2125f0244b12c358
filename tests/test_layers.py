"""The architecture: imports go one way, no script imports another, and every file has its own name."""

import ast
from collections import Counter, defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# A package imports only itself and lower floors; packages on one floor do not import each other.
FLOORS = (("networks",), ("utils",), ("dataloader", "training"), ("matting", "evaluation"),
          ("trainer", "tester", "webpage"),
          ("main", "demo", "cutout_photo", "evaluate", "app", "hubconf", "tools", "benchmarks"),
          ("tests",))
FLOOR_OF = {package: number for number, packages in enumerate(FLOORS) for package in packages}
MOST_LINES = 300
OF_PROGRAMS = ("__init__.py", "program.py")  # in utils/ although only programs use it, since they share nothing else
FILES = sorted([*ROOT.glob("*.py"), *(path for package in FLOOR_OF for path in (ROOT / package).rglob("*.py"))])
IDS = [str(path.relative_to(ROOT)) for path in FILES]


def package(path: Path) -> str:
    return path.relative_to(ROOT).with_suffix("").parts[0]


def module_path(name: str) -> Path | None:
    """The project's file of a dotted name, which may end in an attribute."""
    for dotted in (name, name.rpartition(".")[0]):
        path = ROOT / dotted.replace(".", "/")
        for candidate in (path.with_suffix(".py"), path / "__init__.py"):
            if dotted and candidate.is_file():
                return candidate
    return None


def imports(path: Path) -> set[Path]:
    """The project's files that a file imports, also inside functions and for type checking only."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {found for found in map(module_path, names) if found} - {path}


def is_script(path: Path) -> bool:
    return 'if __name__ == "__main__":' in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_imports_go_down(path):
    offenders = [str(other.relative_to(ROOT)) for other in imports(path) if package(other) != package(path)
                 and FLOOR_OF[package(other)] >= FLOOR_OF[package(path)]]
    assert not offenders, f"{path.relative_to(ROOT)} imports {', '.join(offenders)}, which is not below it"


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_no_script_is_imported(path):
    scripts = [str(other.relative_to(ROOT)) for other in imports(path) if is_script(other)]
    assert package(path) == "tests" or not scripts, f"{path.relative_to(ROOT)} imports the script {', '.join(scripts)}"


def test_the_networks_import_nothing_of_the_project_else():
    assert all(package(other) == "networks" for path in FILES if package(path) == "networks" for other in imports(path))


def test_every_file_has_its_own_name():
    names = Counter(path.name for path in FILES if path.name != "__init__.py")
    assert [name for name, count in names.items() if count > 1] == []


def test_what_utils_holds_is_shared():
    users = defaultdict(set)
    for path in FILES:
        for other in imports(path):
            users[other].add("programs" if FLOOR_OF[package(path)] == FLOOR_OF["demo"] else package(path))
    lonely = [path.name for path in FILES if package(path) == "utils" and path.name not in OF_PROGRAMS
              and "utils" not in users[path] and len(users[path] - {"tests"}) < 2]
    assert lonely == []


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_files_are_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES


def test_the_matting_package_needs_no_torch_by_itself():
    """The ONNX demo imports it without PyTorch."""
    assert len(ast.parse((ROOT / "matting" / "__init__.py").read_text()).body) == 1


def test_a_wrong_import_is_found(tmp_path, monkeypatch):
    """The reader of imports sees those inside functions and of submodules."""
    path = tmp_path / "wrong.py"
    path.write_text("def f():\n    from utils import boxes\n    import matting.trimaps\n")
    assert {str(found.relative_to(ROOT)) for found in imports(path)} == {
        "utils/boxes.py", "utils/__init__.py", "matting/trimaps.py"}
