"""Recipe w7a8: weights within +-63, so that bodies multiply u8 x s8 on every processor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

import qdeploy
from qdeploy.export.onnx.functions import weight_form
from qdeploy.runtime.ops import operator_name

from ..golden.networks import NETWORKS

PRODUCTS = ("Linear", "LSTM", "RNN")


@settings(max_examples=50, deadline=None)
@given(arrays("int8", array_shapes(min_dims=2, max_dims=2), elements=st.sampled_from([-64, -63, 0, 1, 63])))
def test_seven_bits_saturate_no_pair(rows: np.ndarray) -> None:
    assert weight_form(rows) == "s8"


@pytest.mark.parametrize("weight", [65, -65])
def test_eight_bits_may(weight: int) -> None:
    assert weight_form(np.full((2, 1), weight, np.int8)) == "u8"


@pytest.mark.parametrize(
    ("name", "bodies"),
    [
        ("mlp", {"Linear_u8_s8"}),
        ("quaternion-blocked", {"Linear_u8_s8"}),
        ("rnn-relu-state8", {"RNN_u8s8_shifted_rowss8_relu_gather18c_last", "Linear_s16_s8"}),
        ("lstm-state8", {"LSTM_u8s8_shifted_rowss8_table13_split_all", "Linear_s16_s8"}),
    ],
)
def test_every_product_takes_int8_weights(tmp_path: Path, name: str, bodies: set[str]) -> None:
    network = NETWORKS[name]
    onnx.save(network.model(), tmp_path / "float.onnx")
    bundle = qdeploy.export_model(
        tmp_path / "float.onnx", tmp_path / "out", recipe="w7a8", calibration={"x": network.samples()}
    )
    assert bundle.verify().passed
    model = onnx.load(bundle.path / "model.onnx")
    assert {node.op_type for node in model.graph.node if operator_name(node.op_type) in PRODUCTS} == bodies
    tensors = [onnx.numpy_helper.to_array(tensor).astype(int) for tensor in model.graph.initializer]
    names = [tensor.data_type for tensor in model.graph.initializer]
    weights = [array for array, kind in zip(tensors, names, strict=True) if kind == onnx.TensorProto.INT8]
    assert max(int(np.abs(array).max()) for array in weights) == 63
