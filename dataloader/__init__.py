"""Reading image files and, for training, generating samples from them."""
