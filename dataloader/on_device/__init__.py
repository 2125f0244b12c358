"""Training samples made in batches by PyTorch, where the network trains: nothing but drawings crosses to the device."""
