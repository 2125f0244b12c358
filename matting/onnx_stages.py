"""The folder of a network exported in stages: its files, and running them. Needs no PyTorch.

`network.json` holds the metadata, each STAGE.onnx the graph of one stage, for one image. A feature's name says how much
smaller than the image it is; `coarse` and `feature` are at 1/8:

    stem                full -> quarter, guidance
    before_attention    quarter, guidance, unknown -> feature, grid, blocks, key_scale, own_penalty
    between_attention   coarse, message, guidance, unknown -> feature, grid, blocks, key_scale, own_penalty
    after_attention     feature, message -> eighth
    coarse              quarter -> eighth, without attention, instead of these three
    quarter, half, alpha    the steps up to alpha

`grid`, `blocks`, `key_scale`, `own_penalty` and `message` are those of `matting.onnx_attention`, `products` and `sums`
its matrix products. With colour samples, `means`, `known`, `estimates` and `colours` compute the further channels of
`full`.
"""

import json
from pathlib import Path

import numpy as np

from matting.onnx_sessions import OnnxFileError, load_session, metadata_problem, names_problem, run_into, run_session
from utils.errors import cut, one_line, system_reason

FORMAT = 1  # of the folder; another number for folders that this program cannot run
DESCRIPTION = "network.json"
LARGEST_DESCRIPTION = 100_000  # bytes

Names = tuple[str, ...]
TILES: dict[str, tuple[Names, Names]] = {  # stage -> inputs, outputs
    "quarter": (("eighth", "quarter"), ("features",)), "half": (("features", "full"), ("finer",)),
    "alpha": (("features", "full"), ("alpha",))}
_PREPARED = ("feature", "grid", "blocks", "key_scale", "own_penalty")
ATTENTION: dict[str, tuple[Names, Names]] = {
    "stem": (("full",), ("quarter", "guidance")),
    "before_attention": (("quarter", "guidance", "unknown"), _PREPARED),
    "between_attention": (("coarse", "message", "guidance", "unknown"), _PREPARED),
    "after_attention": (("feature", "message"), ("eighth",)),
    "products": (("queries", "keys"), ("scores",)), "sums": (("weights", "blocks", "before"), ("sums",))}
NO_ATTENTION: dict[str, tuple[Names, Names]] = {
    "stem": (("full",), ("quarter",)), "coarse": (("quarter",), ("eighth",))}
COLOURS: dict[str, tuple[Names, Names]] = {
    "means": (("full",), ("means",)), "known": (("means",), ("filled", "samples", "known")),
    "estimates": (("full", "filled", "samples", "known"), ("estimates",)),
    "colours": (("full", "filled", "known", "estimates"), ("extended",))}
IN_THREADS = ("products", "sums")  # run by several threads at once, on one core each


def signatures(attention: bool, colours: bool) -> dict[str, tuple[Names, Names]]:
    """The stages of a network, with the names of their inputs and outputs."""
    return (ATTENTION if attention else NO_ATTENTION) | TILES | (COLOURS if colours else {})


class StagedNetwork:
    """The graphs of a folder.

    Args:
        threads: CPU threads; 0: one per core.

    Raises:
        OnnxFileError: if a file is missing, damaged or of another network, or ONNX Runtime is not installed.
    """

    def __init__(self, folder: str | Path, threads: int = 0):
        self.folder = Path(folder)
        self.metadata = read_description(self.folder)
        self.attention = self.metadata["attention"] == "True"
        self.trimap_channel = int(self.metadata["trimap_channel"])
        self.colours = self.metadata["colour_samples"] == "True"
        self.sessions = {name: self._load(name, threads, names)
                         for name, names in signatures(self.attention, self.colours).items()}

    def _load(self, name: str, threads: int, names: tuple[Names, Names]):
        path = stage_path(self.folder, name)
        # Threads that wait for work in a loop would take the time of the stages that follow.
        session = load_session(path, 1 if name in IN_THREADS else threads, session__force_spinning_stop="1")
        problem = names_problem(session, (*names[0], *names[1]))
        if problem:
            raise OnnxFileError(f"{path}: not this stage of tools/export_onnx.py: {problem}")
        return session

    def run(self, name: str, **inputs: np.ndarray) -> list[np.ndarray]:
        """The outputs of a stage, in the order of `signatures`. Raises as `run_session`."""
        return run_session(self.sessions[name], inputs, stage_path(self.folder, name))

    def run_into(self, name: str, output: np.ndarray, **inputs: np.ndarray) -> None:
        """`run` of a stage with one output, written to existing memory; see `onnx_sessions.run_into`."""
        run_into(self.sessions[name], output, inputs, stage_path(self.folder, name))


def stage_path(folder: Path, name: str) -> Path:
    return folder / f"{name}.onnx"


def read_description(folder: Path) -> dict[str, str]:
    """The metadata of a folder, checked.

    Raises:
        OnnxFileError: if it is not the folder of a network that can be run.
    """
    path = folder / DESCRIPTION
    if not path.is_file():
        raise OnnxFileError(f"{folder}: not a network of tools/export_onnx.py: it has no {DESCRIPTION}")
    try:
        with path.open("rb") as file:
            entries = json.loads(file.read(LARGEST_DESCRIPTION))
    except OSError as error:
        raise OnnxFileError(f"{path}: cannot be read ({system_reason(error)})") from None
    except (ValueError, RecursionError) as error:  # also undecodable text and numbers of thousands of digits
        raise OnnxFileError(f"{path}: not a description of a network ({one_line(error)})") from None
    if not isinstance(entries, dict) or "format" not in entries:
        raise OnnxFileError(f"{path}: not a description of a network: it has no format")
    if entries["format"] != FORMAT:
        raise OnnxFileError(f"{path}: its format is {cut(repr(entries['format']))}; expected {FORMAT}: export the "
                            "network again")
    metadata = {name: str(value) for name, value in entries.items()}
    problem = metadata_problem(metadata) or _kind_problem(metadata)
    if problem:
        raise OnnxFileError(f"{path}: not a network of tools/export_onnx.py: {problem}")
    return metadata


def _kind_problem(metadata: dict[str, str]) -> str | None:
    for name in ("attention", "colour_samples"):
        if metadata.get(name) not in ("True", "False"):
            return f"its {name} is {cut(repr(metadata.get(name)))}; expected true or false"
    return None
