"""Inference: image and trimap to alpha, cut-outs and files."""
