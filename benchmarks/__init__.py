"""Ratios in one run: what our loops cost beside onnxruntime's own float operator."""
