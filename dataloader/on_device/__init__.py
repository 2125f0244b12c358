"""Training samples generated in batches by PyTorch on the training device; only source images are transferred to it."""
