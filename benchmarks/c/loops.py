"""Recurrent layers as generated C, 784 steps, one thread, against onnxruntime's float operators in the same run."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks import gated, loops
from benchmarks.c.generated import GeneratedC
from benchmarks.loops import CALLS, Contender, Timed, float_operator, integer_loop, medians, one_thread_session
from qdeploy.quantize import Recipe, load_recipe

__all__ = ["FLOAT", "LITERT", "measure_c_gated", "measure_c_rnn"]

FLOAT = loops.FLOAT
LITERT = "LiteRT"
"""The integers of ``u8`` in the same run; absent where it is not installed."""


def measure_c_rnn(hidden: int) -> dict[str, float]:
    """Median microseconds a step of onnxruntime's float RNN operator with ReLU (``FLOAT``) and of ours.

    ``u8`` has states and weights of 8 bits and power-of-two multipliers; ``u8-exact`` and ``s12-exact`` keep a trained grid
    of 4 bits, with states of 8 and 12 bits.

    Args:
        hidden: H.
    """
    default = load_recipe("default")
    drawn = {
        "u8": integer_loop(hidden, load_recipe("fast-loop"), on_grid=False),
        "u8-exact": integer_loop(hidden, default.changed(state_bits=8), on_grid=True),
        "s12-exact": integer_loop(hidden, default, on_grid=True),
    }
    contenders: dict[str, Timed] = {FLOAT: float_operator(hidden)}
    for name, (integers, feeds) in drawn.items():
        contenders[name] = made = GeneratedC(integers, feeds, time_axis=0, batch_axis=1)
        beside = made.beside_litert() if name == "u8" else None
        if beside is not None:
            contenders[LITERT] = beside
    return medians(contenders, CALLS)


def measure_c_gated(kind: str, hidden: int, recipes: Mapping[str, Recipe]) -> dict[str, float]:
    """Median microseconds a step of onnxruntime's float operator (``gated.FLOAT``) and of ours, by name of the recipe.

    Args:
        kind: ``GRU`` or ``LSTM``.
        hidden: H.
        recipes: by name.
    """
    layer, operator, x = gated.drawn_layer(kind, hidden)
    real = (x.astype("float32") / 256).transpose(1, 0, 2)
    contenders: dict[str, Timed] = {gated.FLOAT: Contender(one_thread_session(operator), {"x": real})}
    for name, recipe in recipes.items():
        integers, feeds = gated.quantized_layer(layer, recipe, x)
        contenders[name] = made = GeneratedC(integers, feeds, time_axis=1, batch_axis=0)
        beside = made.beside_litert() if name == "u8" else None
        if beside is not None:
            contenders[LITERT] = beside
    return medians(contenders, CALLS // 2)
