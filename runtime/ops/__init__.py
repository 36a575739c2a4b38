"""The operators of the domain ``qdeploy``, one a file; importing this package registers all of them."""

from __future__ import annotations

import importlib
import pkgutil

from qdeploy.runtime.ops.operator import DOMAIN, OPERATORS, VERSION, Node, Operator, operator_name

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

RECURRENT = (
    "RNN",
    "GRU",
    "GRUResetBefore",
    "LSTM",
    "LSTM8x8x16",
    "LiGRU",
    "FastRNN",
    "FastGRNN",
)
"""Operators with a state: their second input is the one before the first step, their outputs all and the last; the cell
state of an LSTM is the third of both."""

WHOLE_SEQUENCE = ("TimeMean", "TimeMax")
"""Operators whose result is of all steps of a call: what comes of them is not the same when a sequence is cut."""

NOT_STRICT = ("QLinearConv",)
"""Operators whose bodies are not integer-only: single precision computes them, exactly."""

WEIGHT_OPERATORS = (
    "UnpackWeights",
    "SparseWeights",
    "HamiltonMatrix",
    "GateRows",
    "HadamardMatrix",
    "HypercomplexMatrix",
    "InterpolatedTable",
)
"""Operators on constants only; their results are constants too."""

__all__ = [
    "DOMAIN",
    "NOT_STRICT",
    "OPERATORS",
    "RECURRENT",
    "VERSION",
    "WEIGHT_OPERATORS",
    "WHOLE_SEQUENCE",
    "Node",
    "Operator",
    "operator_name",
]
