"""Shared utilities, one topic per file."""
