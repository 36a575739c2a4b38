"""Small valid inputs of every kind, made by qdeploy itself where it writes the format."""

from __future__ import annotations

import gzip
import io
import json
import struct
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx

FEATURES, CLASSES, HIDDEN, STEPS, SAMPLES = 4, 3, 5, 6, 3
UNITS = 1200
"""Of the pruned layer: as many as make its file smaller without the zeros."""

_DENSE = f"""<ir_version: 8, opset_import: ["": 17]>
    dense (float[batch, {FEATURES}] x) => (float[batch, {CLASSES}] y) {{
        product = MatMul (x, w1)
        sum = Add (b1, product)
        hidden = Relu (sum)
        dropped = Dropout (hidden)
        logits = Gemm <transB = 1, alpha = 0.5, beta = 2.0> (dropped, w2, b2)
        y = Softmax <axis = -1> (logits)
    }}"""
_RNN = f"""<ir_version: 10, opset_import: ["": 18]>
    recurrent (float[time, batch, {FEATURES}] x) => (float[time, batch, {CLASSES}] y) {{
        states, last = RNN <hidden_size = {HIDDEN}, activations = ["Relu"]> (x, w, r)
        axis = Constant <value_ints = [1]> ()
        flat = Squeeze (states, axis)
        y = MatMul (flat, w2)
    }}"""
_SCAN = f"""<ir_version: 8, opset_import: ["": 18]>
    scan (float[time, batch, {FEATURES}] x, float[batch, {HIDDEN}] h0) => (float[batch, {CLASSES}] y) {{
        last, states = Scan <num_scan_inputs = 1, body = step (float[batch, {HIDDEN}] h, float[batch, {FEATURES}] v)
            => (float[batch, {HIDDEN}] n, float[batch, {HIDDEN}] o) {{
                a = MatMul (h, w)
                b = MatMul (v, u)
                c = Add (a, b)
                d = Add (c, bias)
                n = Tanh (d)
                o = Identity (n)
            }}> (h0, x)
        y = MatMul (last, w2)
    }}"""
_QUATERNION = f"""<ir_version: 8, opset_import: ["": 18]>
    quaternion (float[batch, {FEATURES}] x) => (float[batch, {CLASSES}] y) {{
        ni = Neg (i)
        nj = Neg (j)
        nk = Neg (k)
        row0 = Concat <axis = 1> (r, ni, nj, nk)
        row1 = Concat <axis = 1> (i, r, nk, j)
        row2 = Concat <axis = 1> (j, k, r, ni)
        row3 = Concat <axis = 1> (k, nj, i, r)
        matrix = Concat <axis = 0> (row0, row1, row2, row3)
        turned = Transpose <perm = [1, 0]> (matrix)
        hidden = MatMul (x, turned)
        active = Relu (hidden)
        y = MatMul (active, w2)
    }}"""
_FUNCTIONS = f"""<ir_version: 8, opset_import: ["": 18, "own": 1]>
    functions (float[batch, {FEATURES}] x) => (float[batch, {CLASSES}] y) {{
        hidden = own.Layer <slope = 1.0> (x, w1)
        shape = Constant <value = int64[2] {{-1, {HIDDEN}}}> ()
        flat = Reshape (hidden, shape)
        y = own.Layer <slope = 0.5> (flat, w2)
    }}
    <domain: "own", opset_import: ["": 18]>
    Layer <slope> (a, b) => (c) {{
        m = Gemm <alpha: float = @slope> (a, b)
        c = Relu (m)
    }}"""
_PRUNED = f"""<ir_version: 8, opset_import: ["": 18]>
    pruned (float[batch, {FEATURES}] x) => (float[batch, {CLASSES}] y) {{
        hidden = MatMul (x, pruned)
        active = Relu (hidden)
        y = MatMul (active, w2)
    }}"""
_CONVOLUTIONS = f"""<ir_version: 8, opset_import: ["": 18]>
    convolutions (float[batch, {FEATURES}] x) => (float[batch, rest] y) {{
        shape = Constant <value = int64[3] {{-1, 2, 2}}> ()
        image = Reshape (x, shape)
        wide = Conv <pads = [1, 1], dilations = [1], group = 2> (image, w, b)
        active = Relu (wide)
        wider = ConvTranspose <strides = [2], pads = [0, 1]> (active, v)
        y = Flatten (wider)
    }}"""

_SHAPES: dict[str, dict[str, tuple[int, ...]]] = {
    _DENSE: {"w1": (FEATURES, HIDDEN), "b1": (HIDDEN,), "w2": (CLASSES, HIDDEN), "b2": (CLASSES,)},
    _RNN: {"w": (1, HIDDEN, FEATURES), "r": (1, HIDDEN, HIDDEN), "w2": (HIDDEN, CLASSES)},
    _SCAN: {"w": (HIDDEN, HIDDEN), "u": (FEATURES, HIDDEN), "bias": (HIDDEN,), "w2": (HIDDEN, CLASSES)},
    _QUATERNION: {"r": (1, 1), "i": (1, 1), "j": (1, 1), "k": (1, 1), "w2": (4, CLASSES)},
    _FUNCTIONS: {"w1": (FEATURES, HIDDEN), "w2": (HIDDEN, CLASSES)},
    _CONVOLUTIONS: {"w": (4, 1, 2), "b": (4,), "v": (4, 1, 2)},
    _PRUNED: {"pruned": (FEATURES, UNITS), "w2": (UNITS, CLASSES)},
}


def _model(text: str) -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    model = onnx.parser.parse_model(text)
    for name, shape in _SHAPES[text].items():
        weights = _weights(rng, shape)
        if text == _PRUNED:
            weights[rng.random(shape) < 0.97] = 0
        model.graph.initializer.append(onnx.numpy_helper.from_array(weights, name))
    onnx.checker.check_model(model)
    return model


def _weights(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return (rng.normal(size=shape) / 3).astype(np.float32)


def npz(arrays: Mapping[str, Any]) -> bytes:
    """The bytes of an .npz file."""
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def _samples(text: str) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    recurrent = text in (_RNN, _SCAN)
    arrays = {"x": rng.random((SAMPLES, STEPS, FEATURES) if recurrent else (SAMPLES, FEATURES)).astype(np.float32)}
    if text == _SCAN:
        arrays["h0"] = np.zeros((SAMPLES, HIDDEN), np.float32)
    return arrays


@cache
def float_models() -> tuple[dict[str, bytes], ...]:
    """Folders of model.onnx and x.npz, its samples; the last one's weights lie in data.bin."""
    folders = [{"model.onnx": _model(text).SerializeToString(), "x.npz": npz(_samples(text))} for text in _SHAPES]
    outside, data = _model(_DENSE), b""
    for tensor in outside.graph.initializer:
        onnx.external_data_helper.set_external_data(tensor, "data.bin", len(data), len(tensor.raw_data))
        data += tensor.raw_data
        tensor.ClearField("raw_data")
    return (*folders, {"model.onnx": outside.SerializeToString(), "x.npz": npz(_samples(_DENSE)), "data.bin": data})


@cache
def bundles() -> tuple[dict[str, bytes], ...]:
    """Folders of the files of small bundles: dense, recurrent, quaternion, inlined, with float borders, convolutions, pruned."""
    import qdeploy

    made = []
    kinds: tuple[tuple[str, dict[str, Any]], ...] = (
        (_DENSE, {}),
        (_RNN, {"time_axis": 0, "weight_bits": 4}),
        (_QUATERNION, {}),
        (_RNN, {"time_axis": 0, "inline": True, "storage": "expanded"}),
        (_DENSE, {"float_io": True}),
        (_CONVOLUTIONS, {}),
        (_PRUNED, {}),
    )
    with tempfile.TemporaryDirectory() as folder:
        for index, (text, options) in enumerate(kinds):
            path = Path(folder) / "model.onnx"
            path.write_bytes(_model(text).SerializeToString())
            target = Path(folder) / str(index)
            qdeploy.export_model(path, target, calibration=_samples(text), **options)
            made.append({file.name: file.read_bytes() for file in sorted(target.iterdir())})
    return tuple(made)


@cache
def litert_bundle() -> dict[str, bytes]:
    """The files of a small recurrent bundle that has a model.tflite."""
    import qdeploy

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(_model(_RNN).SerializeToString())
        target = Path(folder) / "bundle"
        qdeploy.export_model(path, target, calibration=_samples(_RNN), time_axis=0, formats=("onnx", "tflite"))
        return {file.name: file.read_bytes() for file in sorted(target.iterdir())}


def bundle_samples(index: int) -> dict[str, np.ndarray]:
    """Samples with labels for the bundle of this index."""
    text = (_DENSE, _RNN, _QUATERNION, _RNN, _DENSE, _CONVOLUTIONS, _PRUNED)[index]
    samples = _samples(text)
    shape = (SAMPLES, STEPS) if text == _RNN else (SAMPLES,)
    return {**samples, "y": np.zeros(shape, np.int64)}


def bundle_input(index: int) -> np.ndarray:
    """An input of the bundle of this index in its own layout."""
    x = bundle_samples(index)["x"]
    return np.ascontiguousarray(np.moveaxis(x, 0, 1)) if x.ndim == 3 else x


HYPERPARAMETERS = {
    "input_size": FEATURES,
    "hidden_size": HIDDEN,
    "num_classes": CLASSES,
    "activation": "modrelu",
    "weight_bits": 4,
    "steps": "last",
    "output_activation": None,
    "orthogonal": "bjorck",
}
CONFIG: dict[str, Any] = {
    "schema_version": 1,
    "name": "small",
    "description": "a small network",
    "dataset": "digits",
    "architecture": "orthogonal-classifier",
    "hyperparameters": HYPERPARAMETERS,
    "epochs": 1,
    "batch_size": 2,
    "learning_rate": 0.001,
    "recurrent_learning_rate": 0.0001,
    "input_learning_rate": None,
    "schedule": "cosine",
    "clip_norm": 1.0,
    "weight_decay": 0.0,
    "input_noise": 0.0,
    "validation": 1,
    "quantization_ramp": [0, 1],
    "initial_cycles": [2, 3],
    "initial_resting_state": 0.5,
    "initial_input_range": 0.1,
    "seed": 0,
}


@cache
def checkpoint() -> dict[str, bytes]:
    """A checkpoint as a pair of files, as .pt, and its state dict as .safetensors, as .pt, and as .pt with masks of weights."""
    import torch
    from safetensors.torch import save

    from qdeploy.models import build, save_checkpoint

    torch.manual_seed(0)
    module = build("orthogonal-classifier", HYPERPARAMETERS)
    metadata = {"architecture": "orthogonal-classifier", "hyperparameters": HYPERPARAMETERS, "dataset": "digits"}
    whole, state = io.BytesIO(), io.BytesIO()
    torch.save({**metadata, "state_dict": module.state_dict()}, whole)
    torch.save(module.state_dict(), state)
    with tempfile.TemporaryDirectory() as folder:
        save_checkpoint(Path(folder) / "small", module, metadata)
        files = {file.name: file.read_bytes() for file in Path(folder).iterdir()}
    plain = save({name: value.contiguous() for name, value in module.state_dict().items()})
    name, weight = next((name, value) for name, value in module.state_dict().items() if value.dim() > 1)
    masked = {key: value for key, value in module.state_dict().items() if key != name}
    masked |= {f"{name}_orig": weight, f"{name}_mask": (weight > 0).float()}
    pruned = io.BytesIO()
    torch.save(masked, pruned)
    states = {"state.pt": state.getvalue(), "state.safetensors": plain, "pruned.pt": pruned.getvalue()}
    return {**files, "small.pt": whole.getvalue(), **states}


def training_data() -> Any:
    """A handful of sequences."""
    from qdeploy.models.training import TrainingData

    rng = np.random.default_rng(2)
    x = rng.random((5, STEPS, FEATURES)).astype(np.float32)
    y = np.arange(5, dtype=np.int64) % CLASSES
    return TrainingData(x, y, x, y, 0)


@cache
def training_state() -> bytes:
    """The state file of a finished training of one epoch."""
    from qdeploy.models.config import parse_config
    from qdeploy.models.training import train

    with tempfile.TemporaryDirectory() as folder:
        train(parse_config(CONFIG), training_data(), folder)
        return (Path(folder) / "training-state.pt").read_bytes()


def config() -> bytes:
    """A training configuration with every key."""
    return json.dumps(CONFIG).encode()


def recipe() -> bytes:
    """A recipe with every key."""
    from qdeploy.quantize import load_recipe

    return json.dumps(load_recipe("default").to_dict()).encode()


def texts() -> tuple[dict[str, bytes], ...]:
    """Folders: two plain texts, and Penn Treebank's files in their two forms."""
    line = "the quick brown fox jumps over the lazy dog née 100 % "
    plain = {"a.txt": (line * 30).encode(), "b.txt": ("\ufeff" + line.replace(" ", "\r\n") * 20).encode()}
    splits = ("train", "valid", "test")
    words = {f"ptb/ptb.{split}.txt": (" " + line + "\n").encode() * 10 for split in splits}
    spelled = {
        f"ptb/ptb.char.{split}.txt": (" ".join(line.replace(" ", "_")) + " \n").encode() * 10 for split in splits
    }
    return plain, words, spelled


def mnist() -> dict[str, bytes]:
    """Two images with their labels, as the test set's files."""
    images = struct.pack(">4I", 0x803, 2, 28, 28) + bytes(range(256)) * 6 + bytes(2 * 784 - 6 * 256)
    labels = struct.pack(">2I", 0x801, 2) + b"\x03\x09"
    return {
        "mnist/t10k-images-idx3-ubyte.gz": gzip.compress(images, mtime=0),
        "mnist/t10k-labels-idx1-ubyte.gz": gzip.compress(labels, mtime=0),
    }


_LAYERS = [
    {
        "kind": "QConv2d",
        "name": "c",
        "in_channels": 4,
        "out_channels": 8,
        "kernel_size": 3,
        "padding": 1,
        "activation": "relu",
    },
    {"kind": "Residual", "layers": [{"kind": "QBatchNorm2d", "name": "n", "num_features": 8}], "shortcut": []},
    {"kind": "MaxPool2d", "kernel_size": [2, 1], "stride": 1},
    {"kind": "Flatten"},
    {"kind": "Linear", "name": "out", "in_features": 128, "out_features": 3, "bias": False},
]


@cache
def foreign() -> dict[str, bytes]:
    """A state dict in hTorch's layout, and the architecture that describes it."""
    from safetensors.numpy import save

    rng = np.random.default_rng(0)
    state = {f"c.{part}_weight": _weights(rng, (1, 2, 3, 3)) for part in "rijk"}
    state |= {"c.bias": _weights(rng, (8,)), "out.weight": _weights(rng, (3, 128)), "step": np.zeros(1, np.float32)}
    state |= {
        "n.weight": _weights(rng, (4, 4, 2)),
        "n.bias": _weights(rng, (4, 2)),
        "n.running_mean": _weights(rng, (4, 2)),
    }
    state |= {"n.running_cov": np.stack([np.eye(4, dtype=np.float32)] * 2), "n.eye": np.eye(4, dtype=np.float32)[None]}
    described = {"schema_version": 1, "library": "htorch", "input": [4, 5, 4], "layers": _LAYERS, "ignored": ["step"]}
    return {"net.safetensors": save(state), "net.json": json.dumps(described).encode()}


@cache
def keras() -> dict[str, bytes]:
    """Two layers of Gaudet's Keras code as HDF5, and the architecture that describes them."""
    import h5py

    rng = np.random.default_rng(0)
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        for part in "rijk":
            file.create_dataset(f"model_weights/d/d/{part}_kernel:0", data=_weights(rng, (2, 3)))
        file.create_dataset("model_weights/d/d/bias:0", data=_weights(rng, (12,)), compression="gzip")
        file.create_dataset("model_weights/e/e/kernel:0", data=_weights(rng, (12, 3)))
    layers = [
        {"kind": "QuaternionDense", "name": "d", "in_features": 8, "out_features": 12, "activation": "tanh"},
        {"kind": "Dense", "name": "e", "in_features": 12, "out_features": 3, "bias": False},
    ]
    described = {
        "schema_version": 1,
        "library": "gaudet",
        "data_format": "channels_last",
        "input": [8],
        "layers": layers,
    }
    return {"net.h5": stream.getvalue(), "net.json": json.dumps(described).encode()}
