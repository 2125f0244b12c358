"""Reading image files, and (in training) making samples from them."""
