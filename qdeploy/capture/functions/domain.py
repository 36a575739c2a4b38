"""The domain of the float functions, and the opset of their bodies."""

from __future__ import annotations

__all__ = ["ACTIVATIONS", "FLOAT_DOMAIN", "GROUPINGS", "IR_VERSION", "OPSET", "RECURRENT"]

FLOAT_DOMAIN = "qdeploy.float"

# 18 is what torch writes without conversion, and no body needs a newer operator.
OPSET = 18

# Overloads of functions exist from IR 10 on.
IR_VERSION = 10

ACTIVATIONS = ("relu", "tanh", "linear", "modrelu")
GROUPINGS = ("blocked", "adjacent")

# Layers with a state; their first input is the sequence, their outputs every state and the last one (LSTM: also of the cell).
RECURRENT = (
    "RNN",
    "GRU",
    "GRUResetBefore",
    "LSTM",
    "LiGRU",
    "FastRNN",
    "FastGRNN",
)
