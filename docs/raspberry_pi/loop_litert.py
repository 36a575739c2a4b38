"""Reads pixels from standard input, one a line, and says after each image which digit it was, by LiteRT and numpy alone."""

import sys

import numpy as np

try:
    from ai_edge_litert.interpreter import Interpreter
except ImportError:  # a board with 32 bits
    from tflite_runtime.interpreter import Interpreter

step = Interpreter("model.tflite").get_signature_runner("step")
inputs = step.get_input_details()
scale, zero_point = inputs["x"]["quantization"]


def zero_state() -> np.ndarray:
    """What the integers of a state of 0 are, the file says."""
    state = inputs["recurrent_state"]
    return np.full(state["shape"], state["quantization"][1], state["dtype"])


state = zero_state()
for line in sys.stdin:
    if line.strip():
        x = np.clip(np.rint(float(line) / scale) + zero_point, 0, 255).astype(np.uint8)
        outputs = step(x=x.reshape(1, 1, 1), recurrent_state=state)
        state = outputs["recurrent_state_out"]
    else:
        print(outputs["output"].argmax(), flush=True)
        state = zero_state()
