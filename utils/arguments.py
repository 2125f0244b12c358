"""Types of command-line arguments, for argparse, which reports their errors in one line."""

import argparse


def positive_int(text: str) -> int:
    """A whole number from 1 up."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is below 1")
    return number
