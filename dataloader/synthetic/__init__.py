"""Synthetic training data: drawn foregrounds with many kinds of edges, backgrounds and camera effects."""
