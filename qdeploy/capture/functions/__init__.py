"""The functions of the domain ``qdeploy.float``: layer-sized operators with bodies of standard ONNX operators."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import cache

from onnx import FunctionProto, NodeProto

from .affine import TRAILING, affine_overload, channel_affine, quaternion_affine
from .domain import ACTIVATIONS, FLOAT_DOMAIN, GROUPINGS, IR_VERSION, OPSET, RECURRENT
from .embedding import embedding
from .fast_rnn import NONLINEARITIES, RANKS, fast_grnn, fast_overload, fast_rnn
from .gate_rows import gate_rows
from .gru import gru, gru_overload
from .gru_reset_before import gru_reset_before, gru_reset_before_overload
from .hamilton_matrix import HAMILTON_ROWS, hamilton_matrix
from .hypercomplex_matrix import hypercomplex_matrix, hypercomplex_overload
from .ligru import LIGRU_CANDIDATES, ligru, ligru_overload
from .linear import linear
from .lstm import lstm, lstm_overload
from .modrelu import modrelu
from .rnn import rnn, rnn_overload

__all__ = [
    "ACTIVATIONS",
    "FLOAT_DOMAIN",
    "GROUPINGS",
    "HAMILTON_ROWS",
    "IR_VERSION",
    "LIGRU_CANDIDATES",
    "NONLINEARITIES",
    "OPSET",
    "RECURRENT",
    "TRAILING",
    "affine_overload",
    "channel_affine",
    "embedding",
    "fast_grnn",
    "fast_overload",
    "fast_rnn",
    "float_functions",
    "functions_of",
    "gate_rows",
    "gru",
    "gru_overload",
    "gru_reset_before",
    "gru_reset_before_overload",
    "hamilton_matrix",
    "hypercomplex_matrix",
    "hypercomplex_overload",
    "ligru",
    "ligru_overload",
    "linear",
    "lstm",
    "lstm_overload",
    "modrelu",
    "quaternion_affine",
    "rnn",
    "rnn_overload",
]


@cache
def float_functions() -> dict[tuple[str, str], FunctionProto]:
    """Every function, by operator and overload."""
    functions = [linear(has_bias=True), linear(has_bias=False), modrelu(), embedding()]
    functions += [hamilton_matrix(grouping) for grouping in GROUPINGS]
    functions += [hypercomplex_matrix(*pair) for pair in itertools.product(GROUPINGS, GROUPINGS)]
    functions.append(gate_rows())
    functions += [make(trailing) for make in (channel_affine, quaternion_affine) for trailing in TRAILING]
    functions += [rnn(activation, has_h0=has_h0) for activation in ACTIVATIONS for has_h0 in (False, True)]
    functions += [make(has_h0=has_h0) for make in (gru, gru_reset_before) for has_h0 in (False, True)]
    for rank, has_h0 in itertools.product(RANKS, (False, True)):
        functions += [fast_rnn(name, rank, has_h0=has_h0) for name in NONLINEARITIES]
        functions += [fast_grnn(gate, name, rank, has_h0=has_h0) for gate in NONLINEARITIES for name in NONLINEARITIES]
    functions += [ligru(candidate, has_h0=has_h0) for candidate in LIGRU_CANDIDATES for has_h0 in (False, True)]
    functions += [lstm(has_states=has_states) for has_states in (False, True)]
    return {(function.name, function.overload): function for function in functions}


def functions_of(nodes: list[NodeProto], made: Sequence[FunctionProto] = ()) -> list[FunctionProto]:
    """The functions that ``nodes`` call, each once, in order of first use; of those ``made`` for one model too."""
    keys = dict.fromkeys((node.op_type, node.overload) for node in nodes if node.domain == FLOAT_DOMAIN)
    known = {(function.name, function.overload): function for function in made} | float_functions()
    return [known[key] for key in keys]
