"""Scores a folder of alpha mattes with the four matting errors.

    python evaluate.py --pred-dir PREDICTIONS --alpha-dir TRUTHS --trimap-dir TRIMAPS --csv errors.csv

Composition-1K: first `./copy_testing_alpha.sh Combined_Dataset/Test_set`, then use its alpha_copy
folder as --alpha-dir, so that predictions, alphas and trimaps share their names.
"""

import argparse
import os
import sys
from functools import partial

from evaluation.report import print_table, write_csv, write_json
from evaluation.score import score_folders
from utils.arguments import any_path, positive_int
from utils.errors import system_reason
from utils.program import announce, program, report


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Score alpha mattes: SAD, MSE, Grad and Conn over the unknown pixels.")
    parser.add_argument("--pred-dir", type=any_path, required=True, help="folder of predicted alpha mattes")
    parser.add_argument("--alpha-dir", type=any_path, required=True, help="folder of true alpha mattes")
    parser.add_argument("--trimap-dir", type=any_path, required=True, help="folder of trimaps holding 0, 128 and 255")
    parser.add_argument("--per-image", action="store_true", help="print a row for each image, not just the mean")
    parser.add_argument("--csv", type=any_path, metavar="FILE", help="also write the errors as CSV")
    parser.add_argument("--json", type=any_path, metavar="FILE", help="also write the errors as JSON")
    parser.add_argument("--processes", type=positive_int, default=os.cpu_count(),
                        help="images scored in parallel (default: %(default)s)")
    return parser.parse_args()


@program
def main() -> int:
    args = parse_arguments()
    announce("evaluate.py", f"mattes in {args.pred_dir}, alphas in {args.alpha_dir}")
    errors, failed = score_folders(args.pred_dir, args.alpha_dir, args.trimap_dir, args.processes)
    for reason in failed.values():
        print(f"not scored: {reason}", file=sys.stderr)
    if not errors:
        report("evaluate.py", "no image could be scored")
        return 1
    print_table(errors, args.per_image)
    if failed:
        print(f"{len(failed)} not scored; the mean excludes them", file=sys.stderr)
    status = 1 if failed else 0
    for path, write in ((args.csv, partial(write_csv, errors=errors)),
                        (args.json, partial(write_json, errors=errors, failed=failed))):
        try:
            if path is not None:
                write(path)
        except OSError as error:
            report("evaluate.py", f"{path}: cannot be written ({system_reason(error)})")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
