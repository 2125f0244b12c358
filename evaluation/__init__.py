"""Errors of mattes against the truth."""
