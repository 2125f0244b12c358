"""The kinds of cases: their names, and functions that give their runs."""

from audit_cases_images import image_runs, other_program_runs, special_runs
from audit_cases_names import name_runs, trimap_runs

KINDS = {
    "images": image_runs,
    "images elsewhere": other_program_runs,
    "special files": special_runs,
    "names": name_runs,
    "trimaps": trimap_runs,
}
