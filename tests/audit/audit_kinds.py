"""The kinds of cases: their names, and functions that give their runs."""

from audit_cases_checkpoints import checkpoint_runs
from audit_cases_configurations import configuration_runs
from audit_cases_images import image_runs, other_program_runs, special_runs
from audit_cases_names import name_runs, trimap_runs
from audit_cases_onnx import onnx_runs
from audit_cases_options import launcher_runs, number_runs, option_runs, output_runs, page_runs
from audit_cases_scoring import program_runs, scoring_runs
from audit_cases_training import folder_runs, parts_runs, resume_runs, test_phase_runs
from audit_run import Run

KINDS = {
    "images": image_runs,
    "images elsewhere": other_program_runs,
    "special files": special_runs,
    "names": name_runs,
    "trimaps": trimap_runs,
    "numbers": number_runs,
    "options": option_runs,
    "outputs": output_runs,
    "launchers": launcher_runs,
    "web page": page_runs,
    "configurations": configuration_runs,
    "checkpoints": checkpoint_runs,
    "onnx": onnx_runs,
    "resuming": resume_runs,
    "training": folder_runs,
    "testing": test_phase_runs,
    "parts": parts_runs,
    "scoring": scoring_runs,
    "other programs": program_runs,
}
FAST_RUNS = 2  # of each kind


def fast_runs(kind: str) -> list[Run]:
    """The selection of a kind's quick runs that the tests do, spread over all of them."""
    quick = [run for run in KINDS[kind]() if run.fast]
    return quick[::-(-len(quick) // FAST_RUNS) or 1]
