"""Small integer networks as real bundles, made of the real operators."""

from __future__ import annotations

import hashlib
import io
import json
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from qdeploy.export.onnx import add_float_borders, attach_bodies, inline
from qdeploy.runtime.bundle import read_bundle
from qdeploy.runtime.reference import ReferenceModel

UINT8, INT16, INT32 = onnx.TensorProto.UINT8, onnx.TensorProto.INT16, onnx.TensorProto.INT32


def _model(nodes, constants: dict[str, np.ndarray], inputs, outputs, *, float_io: bool = False) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info(*value) for value in inputs],
        [helper.make_tensor_value_info(*value) for value in outputs],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("qdeploy", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    if float_io:
        zero_points = {value[0]: 3 if value[0] == "x" else 0 for value in [*inputs, *outputs]}
        model = add_float_borders(model, {name: (0.5, zero) for name, zero in zero_points.items()})
    with pytest.MonkeyPatch.context() as patch:
        # Tests change bodies at places that they know by name.
        patch.setattr("qdeploy.export.onnx.functions.shorten", lambda _: None)
        return attach_bodies(model)


def recurrent(
    hidden: int = 12,
    bits: int = 8,
    *,
    steps: bool = False,
    seed: int = 0,
    batch: str | int = "batch",
    float_io: bool = False,
) -> onnx.ModelProto:
    """[batch, time, 1] to logits; ``steps``: a logit vector for every step instead of the last."""
    rng = np.random.default_rng(seed)
    dtype = UINT8 if bits == 8 else INT16
    constants = {
        "U": rng.integers(-7, 8, (hidden, 1)).astype(np.int8),
        "W": rng.integers(-7, 8, (hidden, hidden)).astype(np.int8),
        "b": rng.integers(-300, 300, hidden).astype(np.int32),
        "m": np.array([19661], np.int32),
        "V": rng.integers(-7, 8, (10, hidden)).astype(np.int8),
        "c": rng.integers(-300, 300, 10).astype(np.int32),
        "n": np.array([20011], np.int32),
    }
    nodes = [
        helper.make_node("Transpose", ["x"], ["x_steps"], name="to_steps", perm=[1, 0, 2]),
        helper.make_node(
            "RNN",
            ["x_steps", "rnn_state", "U", "W", "b", "m"],
            ["y" if steps else "", "rnn_state_out"],
            name="rnn",
            domain="qdeploy",
            activation="relu",
            x_zero_point=3,
            h_zero_point=0,
            input_shift=2,
            recurrent_shift=0,
            shift=18,
            low=0,
            high=2**bits - 1,
            dtype=dtype,
        ),
        helper.make_node(
            "Linear",
            ["y" if steps else "rnn_state_out", "V", "c", "n"],
            ["by_step" if steps else "logits"],
            name="head",
            domain="qdeploy",
            x_zero_point=0,
            shift=16,
            y_zero_point=0,
            low=-(2**15),
            high=2**15 - 1,
            dtype=INT16,
        ),
    ]
    if steps:
        nodes.append(helper.make_node("Transpose", ["by_step"], ["logits"], name="to_batch", perm=[1, 0, 2]))
    shape = [batch, "time", 10] if steps else [batch, 10]
    return _model(
        nodes,
        constants,
        [("x", UINT8, [batch, "time", 1]), ("rnn_state", dtype, [batch, hidden])],
        [("logits", INT16, shape), ("rnn_state_out", dtype, [batch, hidden])],
        float_io=float_io,
    )


def quaternion(seed: int = 0) -> onnx.ModelProto:
    """[batch, 8] to logits through a quaternion layer and a table."""
    rng = np.random.default_rng(seed)
    constants = {name: rng.integers(-7, 8, (3, 2)).astype(np.int8) for name in "rijk"}
    constants |= {
        "b": rng.integers(-300, 300, 12).astype(np.int32),
        "m": rng.integers(15000, 30000, 12).astype(np.int32),
        "entries": rng.integers(0, 256, 256).astype(np.uint8),
        "V": rng.integers(-7, 8, (10, 12)).astype(np.int8),
        "c": rng.integers(-300, 300, 10).astype(np.int32),
        "n": np.array([20011], np.int32),
    }
    common = {"domain": "qdeploy", "x_zero_point": 3, "shift": 18}
    nodes = [
        helper.make_node(
            "HamiltonMatrix", list("rijk"), ["hamilton"], name="expand", domain="qdeploy", grouping="blocked"
        ),
        helper.make_node(
            "Linear", ["x", "hamilton", "b", "m"], ["a"], name="first",
            **common, y_zero_point=128, low=0, high=255, dtype=UINT8,
        ),
        helper.make_node("Table", ["a", "entries"], ["t"], name="sigma", domain="qdeploy"),
        helper.make_node(
            "Linear", ["t", "V", "c", "n"], ["logits"], name="head",
            **common, y_zero_point=0, low=-(2**15), high=2**15 - 1, dtype=INT16,
        ),
    ]  # fmt: skip
    return _model(nodes, constants, [("x", UINT8, ["batch", 8])], [("logits", INT16, ["batch", 10])])


@pytest.fixture(scope="session")
def make_bundle(tmp_path_factory):
    """``make_bundle(model)``: a model as an opened bundle; its golden vectors are those of ``reference``."""

    def make(model: onnx.ModelProto, *, reference: onnx.ModelProto | None = None, steps: int = 9):
        folder = tmp_path_factory.mktemp("bundle")
        graph = model.graph
        states = [value for value in graph.input if value.name.endswith("_state")]

        def spec(value, **more: Any) -> dict[str, Any]:
            tensor = value.type.tensor_type
            dtype = str(helper.tensor_dtype_to_np_dtype(tensor.elem_type))
            shape = [d.dim_param or d.dim_value for d in tensor.shape.dim]
            return {"dtype": dtype, "shape": shape, "scale": 0.5, "zero_point": 0} | more

        manifest = {
            "schema": 1,
            "qdeploy": "0.1.0",
            "created_from": {},
            "recipe": {},
            "rounding": "half_up",
            "inputs": [
                spec(v, name=v.name, float_name=f"float_{v.name}", zero_point=3) for v in graph.input if v not in states
            ],
            "outputs": [spec(v, name=v.name) for v in graph.output if not v.name.endswith("_state_out")],
            "states": [
                spec(v, input=v.name, output=f"{v.name}_out", bits=8 if v.type.tensor_type.elem_type == UINT8 else 12)
                for v in states
            ],
            "tensors": {},
            "layers": [],
            "files": {},
        }
        rng = np.random.default_rng(1)
        shape = [
            d.dim_value or {"batch": 3, "time": steps}[d.dim_param] for d in graph.input[0].type.tensor_type.shape.dim
        ]
        feeds = {"x": rng.integers(0, 256, shape, np.uint8)}
        if graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT:
            feeds = {"x": ((feeds["x"] - 3.0) / 2).astype(np.float32)}
        zeros = {
            v.name: np.zeros((shape[0], v.type.tensor_type.shape.dim[1].dim_value),
                             helper.tensor_dtype_to_np_dtype(v.type.tensor_type.elem_type))
            for v in states
        }  # fmt: skip
        outputs = ReferenceModel(reference or model).run(feeds | zeros).outputs
        buffer = io.BytesIO()
        np.savez(
            buffer,
            **{f"digits/input/{k}": v for k, v in feeds.items()},
            **{f"digits/output/{k}": v for k, v in outputs.items()},
        )
        for name, data in {"model.onnx": model.SerializeToString(), "vectors.npz": buffer.getvalue()}.items():
            (folder / name).write_bytes(data)
            manifest["files"][name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        (folder / "manifest.json").write_text(json.dumps(manifest))
        return read_bundle(folder)

    return make


@pytest.fixture(scope="session")
def models():
    """Every kind of small network."""
    return {
        "last state": recurrent(),
        "wide state": recurrent(bits=12),
        "every step": recurrent(steps=True),
        "quaternion": quaternion(),
        "inlined": inline(recurrent(bits=12)),
        "inlined quaternion": inline(quaternion()),
        "float borders": recurrent(bits=12, float_io=True),
        "one at a time": recurrent(batch=1),
    }


@pytest.fixture(scope="session")
def bundles(make_bundle, models):
    """The same networks as opened bundles."""
    originals = {"inlined": models["wide state"], "inlined quaternion": models["quaternion"]}
    return {kind: make_bundle(model, reference=originals.get(kind)) for kind, model in models.items()}
