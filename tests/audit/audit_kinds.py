"""The kinds of cases: their names, and functions that give their runs."""

from audit_cases_checkpoints import checkpoint_runs
from audit_cases_configurations import configuration_runs
from audit_cases_images import image_runs, other_program_runs, special_runs
from audit_cases_names import name_runs, trimap_runs
from audit_cases_options import launcher_runs, number_runs, option_runs, output_runs, page_runs

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
}
