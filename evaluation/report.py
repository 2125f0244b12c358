"""Errors of many images as a table, CSV and JSON. Columns that were not computed are left out."""

import csv
import json
from pathlib import Path

import numpy as np

from evaluation.metrics import Errors
from utils.file_writing import atomic_path


def columns(errors: dict[str, Errors]) -> dict[str, dict[str, float]]:
    """Image name -> error name -> value, of the errors that were computed."""
    return {name: {column: value for column, value in row._asdict().items() if value is not None}
            for name, row in errors.items()}


def mean_errors(errors: dict[str, Errors]) -> dict[str, float]:
    """The mean of each error over the images."""
    rows = list(columns(errors).values())
    return {column: float(np.mean([row[column] for row in rows])) for column in rows[0]}


def print_table(errors: dict[str, Errors], per_image: bool) -> None:
    """Prints the errors with the mean last."""
    mean = mean_errors(errors)
    rows = [*(columns(errors).items() if per_image else ()), (f"mean of {len(errors)}", mean)]
    width = max(len(name) for name, _ in rows)
    titles = {"sad": "SAD", "mse": "MSE", "grad": "Grad", "conn": "Conn"}
    print(" " * width, *(f"{titles[column]:>9}" for column in mean))
    for name, row in rows:
        print(f"{name:{width}}", *(f"{value:9.{5 if column == 'mse' else 4}f}" for column, value in row.items()))


def write_csv(path: Path, errors: dict[str, Errors]) -> None:
    """Writes columns name, sad, mse, grad, conn, a row per image."""
    with atomic_path(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("name", *mean_errors(errors)))
        for name, row in columns(errors).items():
            writer.writerow((name, *(f"{value:.9g}" for value in row.values())))


def write_json(path: Path, errors: dict[str, Errors], failed: dict[str, str]) -> None:
    """Writes {"mean": {...}, "images": {name: {...}}, "failed": {name: reason}}."""
    content = {"mean": mean_errors(errors), "images": columns(errors), "failed": failed}
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")
