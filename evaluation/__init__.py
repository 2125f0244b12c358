"""Errors of mattes against ground truth."""
