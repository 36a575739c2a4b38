"""The small networks of the golden bundles: every operator, arrangement and variant of the format that there is."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from .image_networks import IMAGE_NETWORKS
from .index_networks import INDEX_NETWORKS
from .network import CLASSES, HIDDEN, INPUTS, STEPS, Network, Weights
from .norm_networks import NORM_NETWORKS

LAST = """
g (float[time, batch, 3] x) => (float[batch, 4] y)
{
  states, last = qdeploy.float.RNN <activation = "%s"> (x, u, w, b%s)
  y = qdeploy.float.Linear (last, v, c)
}"""
EVERY = LAST.replace("float[batch, 4]", "float[time, batch, 4]").replace("(last, v", "(states, v")
BETWEEN = LAST.replace("  y = ", "  between = %s (last%s)\n  y = ").replace("(last, v", "(between, v")
GATED = """
g (float[time, batch, 3] x) => (float[batch, 4] y)
{
  states, last = qdeploy.float.GRU <hidden_size = 12> (x, u, w, b, r)
  y = qdeploy.float.Linear (last, v, c)
}"""
RESET_BEFORE = GATED.replace(".GRU ", ".GRUResetBefore ").replace(", b, r)", ", b)")
BOTH = """
g (float[time, batch, 3] x) => (float[time, batch, 4] y)
{
  states, last, cell = LSTM <hidden_size = 12, direction = "bidirectional"> (x, p, q, k)
  swapped = Transpose <perm = [0, 2, 1, 3]> (states)
  shape = Constant <value = int64[3] {0, 0, 24}> ()
  flat = Reshape (swapped, shape)
  y = qdeploy.float.Linear (flat, v, c)
}"""
FAST_RNN = """
g (float[time, batch, 3] x) => (float[batch, 4] y)
{
  states, last = qdeploy.float.FastRNN <activation = "tanh", rank = "full"> (x, u, w, b1, m)
  y = qdeploy.float.Linear (last, v, c)
}"""
FAST_GRNN = """
g (float[time, batch, 3] x) => (float[time, batch, 4] y)
{
  states, last = qdeploy.float.FastGRNN <activation = "tanh", rank = "full", gate = "sigmoid"> (x, u, w, b, m)
  y = qdeploy.float.Linear (states, v, c)
}"""
FAST_LOW_RANK = """
g (float[time, batch, 3] x) => (float[batch, 4] y)
{
  states, last = qdeploy.float.FastGRNN <activation = "quant_tanh", rank = "low", gate = "quant_sigmoid"> (x, u, w1, b, m, f)
  y = qdeploy.float.Linear (last, v, c)
}"""
LSTM = """
g (float[time, batch, 3] x) => (float[time, batch, 4] y)
{
  states, last, cell = LSTM <hidden_size = 12> (x, p, q, k)
  axis = Constant <value = int64[1] {1}> ()
  flat = Squeeze (states, axis)
  y = qdeploy.float.Linear (flat, v, c)
}"""
LSTM_TWO = """
g (float[time, batch, 3] x) => (float[batch, 4] y)
{
  states, last1, cell1 = LSTM <hidden_size = 12> (x, p, q, k)
  axis = Constant <value = int64[1] {1}> ()
  flat = Squeeze (states, axis)
  states2, last, cell = LSTM <hidden_size = 12> (flat, p2, q2, k2)
  first = Constant <value = int64[1] {0}> ()
  h = Squeeze (last, first)
  y = qdeploy.float.Linear (h, v, c)
}"""
QUATERNION_LOOP = """
g (float[time, batch, 8] x) => (float[time, batch, 4] y)
{
  %s
  y = qdeploy.float.Linear (flat, v, c)
}"""
QUATERNION_RNN = QUATERNION_LOOP % 'flat, last = qdeploy.float.RNN <activation = "tanh"> (x, u, w, b)'
QUATERNION_GRU = QUATERNION_LOOP % "flat, last = qdeploy.float.GRU <hidden_size = 12> (x, u, w, b, r)"
QUATERNION_LSTM = (
    QUATERNION_LOOP
    % """
  states, last, cell = LSTM <hidden_size = 12> (x, p, q, k)
  axis = Constant <value = int64[1] {1}> ()
  flat = Squeeze (states, axis)"""
)
AROUND = """
g (float[time, batch, 3] x) => (float[batch, 4] y, float[time, batch, 12] residual)
{
  states, last = qdeploy.float.RNN <activation = "tanh"> (x, u, w, b)
  drive = qdeploy.float.Linear (x, gate, b)
  open = Sigmoid (drive)
  gated = Mul (states, open)
  residual = Add (gated, states)
  axes = Constant <value = int64[1] {0}> ()
  mean = ReduceMean <keepdims = 0> (residual, axes)
  largest = ReduceMax <keepdims = 0> (gated, axes)
  both = Concat <axis = 1> (mean, largest, last)
  y = qdeploy.float.Linear (both, v, c)
}"""
MLP = """
g (float[batch, 16] x) => (float[batch, 5] y)
{
  a = qdeploy.float.Linear (x, w1, b1)
  h = Relu (a)
  y = qdeploy.float.Linear (h, w2, b2)
}"""
QUATERNION = """
g (float[batch, 16] x) => (float[batch, 5] y)
{
  m = qdeploy.float.HamiltonMatrix <grouping = "%s"> (r, i, j, k)
  a = qdeploy.float.Linear (x, m, b1)
  h = Relu (a)
  y = qdeploy.float.Linear (h, w2, b2)
}"""
HYPERCOMPLEX = """
g (float[batch, 16] x) => (float[batch, 5] y)
{
  m = qdeploy.float.HypercomplexMatrix <grouping = "%s", output_grouping = "%s"> (a, s)
  n = qdeploy.float.Linear (x, m, b1)
  h = Relu (n)
  y = qdeploy.float.Linear (h, w2, b2)
}"""
HYPERCOMPLEX_KERNELS = """
g (float[batch, 8, 5, 4] x) => (float[batch, 12, 1, 1] y)
{
  m = qdeploy.float.HypercomplexMatrix <grouping = "blocked", output_grouping = "blocked"> (a, k)
  c = Conv <kernel_shape = [3, 2], pads = [1, 0, 1, 1]> (x, m, b1)
  h = Relu (c)
  y = GlobalAveragePool (h)
}"""
TABLES = """
g (float[batch, 16] x) => (float[batch, 5] y)
{
  a = qdeploy.float.Linear (x, w1, b1)
  t = Tanh (a)
  d = qdeploy.float.Linear (x, w3, b1)
  s = Sigmoid (d)
  sum = Add (t, s)
  rectified = Relu (sum)
  both = Concat <axis = 1> (rectified, t)
  y = qdeploy.float.Linear (both, w4, b2)
}"""


def recurrent_weights(bits: int | None = None) -> Weights:
    """A recurrence that turns and neither grows nor fades; on a grid of q_k where ``bits`` says so."""
    generator = np.random.default_rng(0)
    turned = np.eye(HIDDEN)[np.roll(np.arange(HIDDEN), 1)] * np.where(np.arange(HIDDEN) % 3, 1.0, -1.0)
    u, v = generator.uniform(-0.5, 0.5, (HIDDEN, INPUTS)), generator.standard_normal((CLASSES, HIDDEN))
    if bits is None:
        # Orthogonal by construction, whatever the machine's linear algebra: a Householder reflection of a permutation.
        axis = generator.standard_normal(HIDDEN)
        turned = turned @ (np.eye(HIDDEN) - 2 * np.outer(axis, axis) / (axis**2).sum())
    else:
        step = 2.0 ** (1 - bits)
        u, v = (np.clip(np.rint(array / step), -(2 ** (bits - 1)), 2 ** (bits - 1) - 1) * step for array in (u, v))
        # The grid of q_k reaches from -1 to 1 - step.
        turned = np.where(turned > 0, 1 - step, turned)
    return {
        "u": u,
        "w": turned,
        "b": generator.uniform(0, 0.5, HIDDEN),
        "v": v,
        "c": generator.standard_normal(CLASSES),
        "r": generator.uniform(-0.05, 0.05, HIDDEN),
    }


def hadamard_weights() -> Weights:
    """Signs times three Hadamard matrices of four units, beside a 4-bit U."""
    two = np.array([[1.0, 1.0], [1.0, -1.0]])
    signs = np.where(np.arange(HIDDEN) % 5 < 2, -1.0, 1.0)
    return recurrent_weights(4) | {"w": signs[:, None] * np.kron(np.eye(HIDDEN // 4), np.kron(two, two)) / 2}


def wide_hadamard_weights(block: int) -> Weights:
    """Signs times Hadamard blocks of 64 units in all, so many that their product is made of factors."""
    generator, units = np.random.default_rng(4), 64
    two, matrix = np.array([[1.0, 1.0], [1.0, -1.0]]), np.ones((1, 1))
    while len(matrix) < block:
        matrix = np.kron(matrix, two)
    signs = np.where(generator.random((units, 1)) < 0.5, -1.0, 1.0)
    return {
        "u": np.rint(generator.uniform(-8, 7, (units, INPUTS))) / 8,
        "w": signs * np.kron(np.eye(units // block), matrix) / np.sqrt(block),
        "b": generator.uniform(0, 0.5, units),
        "v": np.rint(generator.uniform(-8, 7, (CLASSES, units))) / 8,
        "c": generator.standard_normal(CLASSES),
    }


def gated_weights() -> Weights:
    """Of the network with a GRU, in the scale that torch initializes it."""
    generator = np.random.default_rng(2)
    shapes = {"u": (3 * HIDDEN, INPUTS), "w": (3 * HIDDEN, HIDDEN), "b": (3 * HIDDEN,), "r": (HIDDEN,)}
    shapes |= {"v": (CLASSES, HIDDEN), "c": (CLASSES,)}
    return {name: generator.uniform(-0.5, 0.5, shape) for name, shape in shapes.items()}


def fast_weights() -> Weights:
    """Of the networks with a FastRNN or FastGRNN, whose gates are open at first, as trained ones are."""
    generator = np.random.default_rng(4)
    shapes = {"u": (HIDDEN, INPUTS), "w": (HIDDEN, HIDDEN), "w1": (HIDDEN, 5), "f": (5, HIDDEN)}
    shapes |= {"b": (2 * HIDDEN,), "b1": (HIDDEN,), "v": (CLASSES, HIDDEN), "c": (CLASSES,)}
    return {name: generator.uniform(-0.5, 0.9, shape) for name, shape in shapes.items()} | {"m": np.array([0.7, 0.1])}


def feedforward_weights() -> Weights:
    """Of the networks without a loop."""
    generator = np.random.default_rng(1)
    shapes = {"w1": (12, 16), "b1": (12,), "w2": (5, 12), "b2": (5,), "w3": (12, 16), "w4": (5, 24)}
    parts = {name: generator.standard_normal((3, 4)) / 2 for name in "rijk"}
    return parts | {name: generator.standard_normal(shape) / 3 for name, shape in shapes.items()}


def hypercomplex_weights(algebra: str) -> Weights:
    """Of a layer over an algebra of two components that is learned, or over quaternions with the real part last."""
    generator = np.random.default_rng(8)
    a = generator.uniform(-0.9, 0.9, (2, 2, 2))
    if algebra == "reordered":
        rows = ((4, -3, 2, 1), (3, 4, -1, 2), (-2, 1, 4, 3), (-1, -2, -3, 4))
        a = np.array([[[np.sign(e) * (abs(e) == part) for e in row] for row in rows] for part in (1, 2, 3, 4)], float)
    s = generator.standard_normal((len(a), 12 // len(a), 16 // len(a))) / 2
    k = generator.standard_normal((len(a), 12 // len(a), 8 // len(a), 3, 2)) / 2
    return {"a": a, "s": s, "k": k} | {
        name: array for name, array in feedforward_weights().items() if name in ("b1", "w2", "b2")
    }


def pruned_weights(units: int, zeros: float) -> Weights:
    """Of the feedforward network with so many units, of whose hidden weights so many are 0, here and there a row of zeros."""
    generator = np.random.default_rng(7)
    w1 = generator.normal(size=(units, 16)) * (generator.random((units, 16)) >= zeros)
    w1[::9] = 0
    w2 = generator.normal(size=(5, units)) / 8
    return {"w1": w1, "b1": generator.normal(size=units) / 4, "w2": w2, "b2": generator.normal(size=5) / 4}


def quaternion_weights(parts: int, gates: tuple[int, ...]) -> Weights:
    """Of a loop of twelve units, three quaternions, in the scale of Glorot's initialization.

    Args:
        parts: 4 where every gate is a Hamilton product, 1 where every part of a product is a gate.
        gates: where in the file's order each gate of the Hamilton matrix' rows stands.
    """
    generator = np.random.default_rng(3)
    found: Weights = {}
    for name, columns in (("u", 2), ("w", 3)):
        r, i, j, k = generator.standard_normal((4, 3 * len(gates), columns)) / np.sqrt(10)
        matrix = np.block([[r, -i, -j, -k], [i, r, -k, j], [j, k, r, -i], [k, -j, i, r]])
        rows = matrix.reshape(parts, len(gates), -1, 4 * columns).transpose(1, 0, 2, 3)
        found[name] = rows[list(gates)].reshape(matrix.shape)
    # The same for ONNX's operator, whose weights have an axis of directions, and two biases.
    found |= {"p": found["u"][None], "q": found["w"][None]}
    shapes: dict[str, tuple[int, ...]] = {"b": (len(gates) * HIDDEN,), "k": (1, 2 * len(gates) * HIDDEN)}
    shapes |= {"r": (HIDDEN,), "v": (CLASSES, HIDDEN), "c": (CLASSES,)}
    return found | {name: generator.uniform(-0.5, 0.5, shape) for name, shape in shapes.items()}


def around_weights() -> Weights:
    """Of a loop with a gate and a residual sum behind it, and a classifier of its mean, its maximum and its last state."""
    generator = np.random.default_rng(4)
    shapes = {"gate": (HIDDEN, INPUTS), "v": (CLASSES, 3 * HIDDEN)}
    return recurrent_weights() | {name: generator.standard_normal(shape) for name, shape in shapes.items()}


def lstm_weights() -> Weights:
    """Of two layers whose gates open and close; the forget gates are biased to stay open."""
    generator = np.random.default_rng(2)
    shapes = {"p": (1, 4 * HIDDEN, INPUTS), "v": (CLASSES, HIDDEN), "c": (CLASSES,)}
    shapes |= dict.fromkeys(("q", "p2", "q2"), (1, 4 * HIDDEN, HIDDEN))
    found = {name: generator.standard_normal(shape) * 2 / np.sqrt(shape[-1]) for name, shape in shapes.items()}
    # ONNX orders the gates i, o, f, c, and adds two biases.
    forget = np.repeat([0.0, 0.0, 1.0, 0.0] * 2, HIDDEN) / 2
    return found | {name: generator.uniform(-0.3, 0.3, (1, 8 * HIDDEN)) + forget for name in ("k", "k2")}


def _used(text: str, weights: Callable[[], Weights]) -> Callable[[], Weights]:
    words = set(text.replace("(", " ").replace(")", " ").replace(",", " ").split())
    return lambda: {name: array for name, array in weights().items() if name in words}


def _loop(text: str, *, bits: int | None = None, options: dict[str, Any] | None = None, **recipe: Any) -> Network:
    weights = _used(text, lambda: recurrent_weights(bits))
    return Network(text, weights, (STEPS, INPUTS), recipe, {"time_axis": 0, **(options or {})})


def _gated(text: str, **recipe: Any) -> Network:
    return Network(text, _used(text, gated_weights), (STEPS, INPUTS), recipe, {"time_axis": 0})


def _both_directions(**recipe: Any) -> Network:
    def weights() -> Weights:
        generator = np.random.default_rng(6)
        shapes = {"p": (2, 4 * HIDDEN, INPUTS), "q": (2, 4 * HIDDEN, HIDDEN), "k": (2, 8 * HIDDEN)}
        shapes |= {"v": (CLASSES, 2 * HIDDEN), "c": (CLASSES,)}
        return {name: generator.uniform(-0.5, 0.5, shape) for name, shape in shapes.items()}

    return Network(BOTH, weights, (STEPS, INPUTS), recipe, {"time_axis": 0})


def _fast(text: str, **recipe: Any) -> Network:
    return Network(text, _used(text, fast_weights), (STEPS, INPUTS), recipe, {"time_axis": 0})


def _light_gated(kind: str, activation: str, **recipe: Any) -> Network:
    """A layer of LiGRU, of quaternions or not, with an output layer over every state."""

    def weights() -> Weights:
        generator = np.random.default_rng(4)
        # Eight inputs, twelve units, two gates; components have a quarter of the rows and of the columns.
        rows, parts = (6, 4) if kind != "real" else (24, 1)
        shapes = {f"input{n}": (rows, 8 // parts) for n in range(parts)}
        shapes |= {f"recurrent{n}": (rows, 12 // parts) for n in range(parts)}
        shapes |= {"bias": (24,), "output": (CLASSES, 12), "output_bias": (CLASSES,)}
        return {name: generator.standard_normal(shape) * 0.4 for name, shape in shapes.items()}

    def module(arrays: Weights) -> Any:
        import torch

        from qdeploy.models import LiGRU, QuaternionLiGRU

        class Model(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.rnn = LiGRU(8, 12, activation, 0.1)
                if kind != "real":
                    self.rnn = QuaternionLiGRU(8, 12, activation, 0.1, kind)
                self.output = torch.nn.Linear(12, CLASSES)

            def forward(self, x: Any) -> Any:
                return self.output(self.rnn(x)[0])

        found = Model()
        with torch.no_grad():
            names = [name for name, parameter in found.named_parameters() if parameter.dim() == 2]
            for name, key in zip(names, [key for key in arrays if "bias" not in key], strict=True):
                found.get_parameter(name).copy_(torch.from_numpy(arrays[key]))
            found.rnn.bias.copy_(torch.from_numpy(arrays["bias"]))
            found.output.bias.copy_(torch.from_numpy(arrays["output_bias"]))
        return found.eval()

    return Network("", weights, (STEPS, 8), recipe, {"time_axis": 0}, module)


def _feedforward(text: str, *, options: dict[str, Any] | None = None, **recipe: Any) -> Network:
    return Network(text, _used(text, feedforward_weights), (16,), recipe, options or {})


def _hypercomplex(algebra: str, grouping: str, output_grouping: str, **recipe: Any) -> Network:
    text = HYPERCOMPLEX % (grouping, output_grouping)
    return Network(text, _used(text, partial(hypercomplex_weights, algebra)), (16,), recipe)


def _lstm(text: str = LSTM, *, options: dict[str, Any] | None = None, **recipe: Any) -> Network:
    return Network(text, _used(text, lstm_weights), (STEPS, INPUTS), recipe, {"time_axis": 0, **(options or {})})


def _around(*, options: dict[str, Any] | None = None, **recipe: Any) -> Network:
    weights = _used(AROUND, around_weights)
    return Network(AROUND, weights, (STEPS, INPUTS), recipe, {"time_axis": 0, **(options or {})})


def _quaternion_loop(
    text: str, parts: int, gates: tuple[int, ...], *, options: dict[str, Any] | None = None, **recipe: Any
) -> Network:
    weights = _used(text, lambda: quaternion_weights(parts, gates))
    return Network(text, weights, (STEPS, 8), recipe, {"time_axis": 0, **(options or {})})


def _rnn(activation: str, text: str = LAST) -> str:
    return text % (activation, ", r" if activation == "modrelu" else "")


NETWORKS: dict[str, Network] = {
    **{
        f"rnn-hadamard-{activation}-64-blocks{block}": Network(
            _rnn(activation, EVERY), partial(wide_hadamard_weights, block), (STEPS, INPUTS), {}, {"time_axis": 0}
        )
        for activation, block in (("linear", 64), ("relu", 16))
    },
    **{
        f"rnn-hadamard-{activation}": Network(
            _rnn(activation, EVERY),
            _used(_rnn(activation, EVERY), hadamard_weights),
            (STEPS, INPUTS),
            {},
            {"time_axis": 0},
        )
        for activation in ("linear", "relu")
    },
    **{
        f"rnn-{activation}-state{state}": _loop(_rnn(activation), state_bits=state)
        for activation in ("relu", "modrelu", "tanh", "linear")
        for state in (8, 12)
    },
    "rnn-relu-state5": _loop(_rnn("relu"), state_bits=5),
    "rnn-relu-state15": _loop(_rnn("relu"), state_bits=15),
    "rnn-linear-state16": _loop(_rnn("linear"), state_bits=16),
    "rnn-tanh-state16": _loop(_rnn("tanh"), state_bits=16),
    **{
        f"rnn-{activation}-per-channel-state{state}": _loop(
            _rnn(activation), state_bits=state, recurrent_granularity="per_channel"
        )
        for activation in ("relu", "modrelu", "tanh")
        for state in (8, 12)
    },
    **{f"rnn-relu-weights{bits}": _loop(_rnn("relu"), weight_bits=bits) for bits in (1, 2, 3, 4, 6)},
    "rnn-relu-per-channel-weights4": _loop(_rnn("relu"), weight_bits=4, recurrent_granularity="per_channel"),
    **{f"rnn-relu-grid{bits}": _loop(_rnn("relu"), bits=bits) for bits in (2, 4, 6, 8)},
    "rnn-modrelu-grid6-every": _loop(_rnn("modrelu", EVERY), bits=6),
    "rnn-relu-every": _loop(_rnn("relu", EVERY)),
    "rnn-tanh-every-state8": _loop(_rnn("tanh", EVERY), state_bits=8),
    "rnn-relu-multiplier1": _loop(_rnn("relu"), multiplier_bits=1),
    "rnn-relu-multiplier1-state8": _loop(_rnn("relu"), multiplier_bits=1, state_bits=8),
    "rnn-relu-multiplier31": _loop(_rnn("relu"), multiplier_bits=31),
    "rnn-linear-relu": _loop(BETWEEN % ("linear", "", "Relu", "")),
    "rnn-linear-modrelu": _loop(BETWEEN % ("linear", "", "qdeploy.float.ModRelu", ", r")),
    "rnn-linear-tanh": _loop(BETWEEN % ("linear", "", "Tanh", ""), state_bits=16),
    "rnn-relu-float-io": _loop(_rnn("relu"), options={"float_io": True}),
    "rnn-relu-inline": _loop(_rnn("relu"), bits=4, options={"inline": True}),
    "gru-state8": _gated(GATED, state_bits=8),
    "gru-every-state12": _gated(
        GATED.replace("float[batch, 4]", "float[time, batch, 4]").replace("(last, v", "(states, v")
    ),
    **{f"fast-rnn-state{state}": _fast(FAST_RNN, state_bits=state) for state in (8, 12)},
    **{f"fast-grnn-state{state}": _fast(FAST_GRNN, state_bits=state) for state in (8, 12, 16)},
    "fast-grnn-low-rank": _fast(FAST_LOW_RANK),
    # Tables as some entries and straight lines between them.
    "fast-rnn-lines-state8": _fast(FAST_RNN, state_bits=8),
    "fast-grnn-lines-state12": _fast(FAST_GRNN),
    "fast-grnn-lines-low-rank": _fast(FAST_LOW_RANK.replace("quant_tanh", "tanh").replace("quant_sigmoid", "sigmoid")),
    "fast-grnn-per-channel-weights4": _fast(FAST_GRNN, weight_bits=4, recurrent_granularity="per_channel"),
    **{f"gru-shifts-state{state}": _gated(GATED, state_bits=state) for state in (8, 12)},
    "gru-state16-weights4": _gated(GATED, state_bits=16, weight_bits=4, recurrent_granularity="per_channel"),
    **{f"gru-reset-before-state{state}": _gated(RESET_BEFORE, state_bits=state) for state in (8, 12)},
    "gru-reset-before-per-channel-weights4": _gated(
        RESET_BEFORE, state_bits=8, weight_bits=4, recurrent_granularity="per_channel"
    ),
    **{f"lstm-state{state}": _lstm(state_bits=state) for state in (5, 8, 12, 16)},
    **{f"lstm-shifts-state{state}": _lstm(state_bits=state) for state in (8, 12)},
    "both-directions-lstm": _both_directions(),
    "lstm-two-layers": _lstm(LSTM_TWO),
    "gru-table-lines": _gated(GATED, state_bits=12),
    "lstm-table-lines": _lstm(state_bits=12),
    "lstm-per-channel-weights4": _lstm(weight_bits=4, recurrent_granularity="per_channel"),
    "lstm-multiplier1": _lstm(multiplier_bits=1),
    "lstm-float-io": _lstm(options={"float_io": True}),
    "builtin-lstm": _lstm(tflite_kernels="builtin"),
    "builtin-lstm-two-layers": _lstm(LSTM_TWO, tflite_kernels="builtin"),
    "builtin-lstm-weights4-inline": _lstm(tflite_kernels="builtin", weight_bits=4, options={"inline": True}),
    "builtin-quaternion-lstm": _quaternion_loop(QUATERNION_LSTM, 4, (0, 3, 1, 2), tflite_kernels="builtin"),
    "mlp": _feedforward(MLP),
    "mlp-float-io": _feedforward(MLP, options={"float_io": True}),
    "mlp-activations4": _feedforward(MLP, activation_bits=4),
    **{f"mlp-weights{bits}": _feedforward(MLP, weight_bits=bits) for bits in (1, 4, 6)},
    **{f"mlp-multiplier{bits}": _feedforward(MLP, multiplier_bits=bits) for bits in (1, 31)},
    "mlp-per-tensor": _feedforward(MLP, weight_granularity="per_tensor"),
    **{f"quaternion-{grouping}": _feedforward(QUATERNION % grouping) for grouping in ("blocked", "adjacent")},
    # Bytes that pay for the bodies: a bit map of half of the weights, gaps of 4 to 6 bits between fewer.
    "sparse-map": Network(MLP, partial(pruned_weights, 512, 0.5), (16,)),
    "sparse-gaps": Network(MLP, partial(pruned_weights, 512, 0.95), (16,)),
    "sparse-gaps-weights4": Network(MLP, partial(pruned_weights, 512, 0.9), (16,), {"weight_bits": 4}),
    "quaternion-expanded": _feedforward(QUATERNION % "blocked", options={"storage": "expanded"}),
    "quaternion-weights4": _feedforward(QUATERNION % "blocked", weight_bits=4),
    "quaternion-weights7": _feedforward(QUATERNION % "blocked", weight_bits=7),
    "quaternion-inline": _feedforward(QUATERNION % "adjacent", options={"inline": True}),
    "quaternion-rnn": _quaternion_loop(QUATERNION_RNN, 4, (0,)),
    "quaternion-gru": _quaternion_loop(QUATERNION_GRU, 4, (0, 1, 2)),
    "quaternion-gru-shifts": _quaternion_loop(QUATERNION_GRU, 4, (0, 1, 2)),
    "quaternion-gru-per-channel": _quaternion_loop(QUATERNION_GRU, 4, (0, 1, 2), recurrent_granularity="per_channel"),
    # ONNX orders the gates i, o, f, c.
    "quaternion-lstm": _quaternion_loop(QUATERNION_LSTM, 4, (0, 3, 1, 2)),
    "quaternion-lstm-weights4": _quaternion_loop(QUATERNION_LSTM, 4, (0, 3, 1, 2), weight_bits=4),
    # SpeechBrain's parts are i, f, o, c.
    "quaternion-lstm-per-part": _quaternion_loop(QUATERNION_LSTM, 1, (0, 2, 1, 3)),
    "quaternion-lstm-inline": _quaternion_loop(QUATERNION_LSTM, 4, (0, 3, 1, 2), options={"inline": True}),
    **{f"around-loops-state{state}": _around(state_bits=state) for state in (8, 12)},
    "around-loops-multiplier1": _around(multiplier_bits=1),
    "around-loops-inline": _around(options={"inline": True}),
    "ligru-relu-state8": _light_gated("real", "relu", state_bits=8),
    "ligru-leaky-state12": _light_gated("real", "leaky-relu"),
    "ligru-tanh-state16": _light_gated("real", "tanh", state_bits=16),
    "ligru-per-channel-weights4": _light_gated("real", "relu", weight_bits=4, recurrent_granularity="per_channel"),
    "ligru-quaternion": _light_gated("per-gate", "leaky-relu"),
    "ligru-quaternion-per-part": _light_gated("per-part", "leaky-relu", state_bits=8),
    "hypercomplex": _hypercomplex("learned", "blocked", "blocked"),
    "hypercomplex-adjacent-weights4": _hypercomplex("learned", "adjacent", "adjacent", weight_bits=4),
    "hypercomplex-multiplier1": _hypercomplex("learned", "blocked", "adjacent", multiplier_bits=1),
    "hypercomplex-kernels": Network(
        HYPERCOMPLEX_KERNELS, _used(HYPERCOMPLEX_KERNELS, partial(hypercomplex_weights, "learned")), (8, 5, 4)
    ),
    "hypercomplex-quaternions": _hypercomplex("reordered", "adjacent", "blocked"),
    "tables-sums": _feedforward(TABLES),
    "tables-sums-multiplier1": _feedforward(TABLES, multiplier_bits=1),
    **IMAGE_NETWORKS,
    **NORM_NETWORKS,
    **INDEX_NETWORKS,
}
