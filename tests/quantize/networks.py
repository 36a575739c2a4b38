"""Small float networks in ONNX text, and the way from them to integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx.parser
from numpy.typing import NDArray

from qdeploy.calibration import calibrate
from qdeploy.capture.functions import affine_overload, fast_overload, functions_of, hypercomplex_overload
from qdeploy.capture.session import FloatSession
from qdeploy.export.onnx import attach_bodies, check_integer_only
from qdeploy.quantize import IntegerModel, Recipe, quantize
from qdeploy.runtime.engines import open_engine
from qdeploy.runtime.numeric import dequantize, quantize_input
from qdeploy.runtime.reference import ReferenceModel

HEAD = '<ir_version: 10, opset_import: ["" : 18, "qdeploy.float" : 1]>'


def float_model(text: str, weights: dict[str, NDArray[np.float32]]) -> onnx.ModelProto:
    """A model from ONNX text; nodes of ``qdeploy.float`` take the overload that fits. Integers of 64 bits stay what they are."""
    model = onnx.parser.parse_model(f"{HEAD}\n{text}")
    for index, node in enumerate(model.graph.node):
        node.name = f"{node.op_type.lower()}_{index}"
        attributes = {a.name: a.s.decode() for a in node.attribute if a.type == onnx.AttributeProto.STRING}
        if node.op_type == "Linear":
            node.overload = "bias" if len(node.input) > 2 else "no_bias"
        elif node.op_type == "RNN":
            has_h0 = len(node.input) > 4 + (attributes["activation"] == "modrelu")
            node.overload = attributes["activation"] + ("_h0" if has_h0 else "")
        elif node.op_type == "GRU":
            node.overload = "reset_after" + ("_h0" if len(node.input) > 5 else "")
        elif node.op_type == "GRUResetBefore":
            node.overload = "reset_before" + ("_h0" if len(node.input) > 4 else "")
        elif node.op_type == "LSTM" and node.domain:
            node.overload = "states" if len(node.input) > 4 else "zeros"
        elif node.op_type in ("FastRNN", "FastGRNN"):
            has_h0 = len(node.input) > 5 + (attributes["rank"] == "low")
            node.overload = fast_overload(
                attributes["activation"], attributes["rank"], gate=attributes.get("gate", ""), has_h0=has_h0
            )
        elif node.op_type == "LiGRU":
            node.overload = attributes["candidate"] + ("_h0" if len(node.input) > 4 else "")
        elif node.op_type == "HamiltonMatrix":
            node.overload = attributes["grouping"]
        elif node.op_type in ("ChannelAffine", "QuaternionAffine"):
            node.overload = affine_overload(next(a.i for a in node.attribute if a.name == "trailing"))
        elif node.op_type == "HypercomplexMatrix":
            node.overload = hypercomplex_overload(attributes["grouping"], attributes["output_grouping"])
    model.graph.initializer.extend(
        onnx.numpy_helper.from_array(a if a.dtype == np.int64 else a.astype(np.float32), n) for n, a in weights.items()
    )
    model.functions.extend(functions_of(list(model.graph.node)))
    return model


def quantized(
    model: onnx.ModelProto, x: NDArray[np.float32], recipe: Recipe, *, batch_axis: int = 0, storage: str = "compact"
) -> IntegerModel:
    """Calibrated on ``x`` and quantized."""
    return quantize(model, calibrate(model, {"x": x}, {"x": batch_axis}), recipe, storage=storage)


def both(
    model: onnx.ModelProto, integers: IntegerModel, x: NDArray[np.float32], *, batch_axis: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.float32], dict[str, Any]]:
    """Float outputs, integer outputs as real values (the reference's and onnxruntime's agree), and the integers."""
    complete = attach_bodies(integers.model)
    check_integer_only(complete)
    types = integers.graph.types
    feeds = {"x": quantize_input(x, types["x"].scale, types["x"].zero_point, np.dtype(types["x"].dtype))}
    for state in integers.graph.states:
        feeds[state.input] = np.full((x.shape[batch_axis], state.size), state.type.zero_point, state.type.dtype)
    outputs = ReferenceModel(complete).run(feeds).outputs
    for name, array in open_engine("onnxruntime", complete).run(feeds).items():
        assert (array == outputs[name]).all()
    name = integers.outputs[0]
    real = FloatSession(model).run({"x": x})[name]
    return real, dequantize(outputs[name], types[name].scale, types[name].zero_point), outputs
