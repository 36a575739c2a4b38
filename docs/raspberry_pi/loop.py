"""Reads pixels from standard input, one a line, and says after each image which digit it was."""

import sys

import numpy as np
from example import OUTPUTS, run, zero_state  # beside model.onnx; it needs numpy and onnxruntime

state = zero_state(batch=1)
for line in sys.stdin:
    if line.strip():
        x = np.array([[[float(line)]]], np.float32)  # [batch, time, 1]: one step
        outputs, state = run({"x": x}, state)
    else:
        print(outputs[OUTPUTS[0]["name"]].argmax(), flush=True)
        state = zero_state(batch=1)
