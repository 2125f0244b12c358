"""Image and trimap to alpha, and from there to cut-outs and files."""
