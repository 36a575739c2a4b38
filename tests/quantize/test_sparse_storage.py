"""Weights that are mostly zero are stored without the zeros: where that is smaller, and with the same bits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

import qdeploy
from qdeploy.export.onnx import attach_bodies
from qdeploy.export.onnx.attach import sites
from qdeploy.quantize import IntegerModel, load_recipe
from qdeploy.quantize.sparse_storage import BODY_BYTES
from qdeploy.runtime.ops.sparse_weights import pack_sparse
from qdeploy.weight_storage import weight_storage

from .networks import both, float_model, quantized

REAL = """real (float[batch, 96] x) => (float[batch, 6] y) {
    h = qdeploy.float.Linear(x, hidden, b)  a = Relu(h)
    y = qdeploy.float.Linear(a, output, c)
}"""
QUATERNION = """quaternion (float[batch, 96] x) => (float[batch, 6] y) {
    w = qdeploy.float.HamiltonMatrix <grouping = "blocked"> (r, i, j, k)
    h = qdeploy.float.Linear(x, w, b)  a = Relu(h)
    y = qdeploy.float.Linear(a, output, c)
}"""
X = np.random.default_rng(1).random((5, 96), np.float32)


def pruned(shape: tuple[int, ...], zeros: float, seed: int) -> NDArray[np.float32]:
    generator = np.random.default_rng(seed)
    weight = generator.normal(size=shape).astype(np.float32)
    weight[generator.random(shape) < zeros] = 0
    return weight


def network(text: str, zeros: float, units: int = 64) -> onnx.ModelProto:
    weights = {
        "b": np.full(units, 0.1, np.float32),
        "c": np.zeros(6, np.float32),
        "output": pruned((6, units), zeros, 9),
    }
    if text == REAL:
        weights["hidden"] = pruned((units, 96), zeros, 0)
    else:
        weights |= {part: pruned((units // 4, 24), zeros, n) for n, part in enumerate("rijk")}
    return float_model(text, weights)


def operators(integers: IntegerModel) -> list[str]:
    return [node.op_type for node in integers.model.graph.node]


@pytest.mark.parametrize("bits", [8, 5, 4, 2])
@pytest.mark.parametrize(("text", "stored"), [(REAL, 2), (QUATERNION, 2)])
def test_the_same_bits_as_with_the_zeros(text: str, stored: int, bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # Bodies that cost nothing: small layers are stored sparse, too.
    monkeypatch.setattr("qdeploy.quantize.sparse_storage.BODY_BYTES", {"map": 0, "gaps": 0})
    recipe = load_recipe("default").changed(weight_bits=bits)
    model = network(text, 0.99)
    compact, expanded = (quantized(model, X, recipe, storage=storage) for storage in ("compact", "expanded"))
    assert operators(compact).count("SparseWeights") == stored
    assert "UnpackWeights" not in operators(compact)
    assert "SparseWeights" not in operators(expanded)
    _, _, found = both(model, compact, X)
    _, _, expected = both(model, expanded, X)
    assert found.keys() == expected.keys()
    assert all((found[name] == expected[name]).all() for name in expected)


def test_a_zero_stays_exactly_zero() -> None:
    model = network(REAL, 0.9, units=512)
    real = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    integers = quantized(model, X, load_recipe("default"))
    found = {site.node.name: site.constants for site in sites(attach_bodies(integers.model))}
    hidden = found["linear_0"]["weight"]
    assert not hidden[real["hidden"] == 0].any()
    assert np.count_nonzero(hidden) > 0.95 * np.count_nonzero(real["hidden"])


@pytest.mark.parametrize(
    ("zeros", "units", "expected"),
    [
        # The body costs more than it saves in a small network, and nothing is saved without zeros.
        (0.9, 12, False),
        (0.0, 512, False),
        (0.9, 512, True),
    ],
)
def test_only_where_the_file_is_smaller(zeros: float, units: int, expected: bool) -> None:
    integers = quantized(network(REAL, zeros, units), X, load_recipe("default"))
    assert ("SparseWeights" in operators(integers)) == expected


def test_all_weights_have_one_form_where_a_second_body_would_cost_more() -> None:
    """The output's best form is a bit map; next to a hidden layer of gaps it takes these, too."""
    model = network(REAL, 0.95, units=256)
    for tensor in model.graph.initializer:
        if tensor.name == "output":
            tensor.CopyFrom(onnx.numpy_helper.from_array(pruned((6, 256), 0.5, 3), "output"))
    integers = quantized(model, X, load_recipe("default"))
    assert {weight.name: weight.form for weight in weight_storage(integers.model)} == {
        "hidden": "gaps",
        "output": "gaps",
    }
    assert pack_sparse(integers.graph.weights["output"].integers).gap_bits == 0
    assert len(attach_bodies(integers.model).functions) == 2


@pytest.mark.parametrize("form", ["map", "gaps"])
def test_what_a_body_costs(form: str) -> None:
    weight = np.zeros((40, 50), np.int8)
    weight[::3] = 5
    packed = pack_sparse(weight, form)
    attributes = {
        "gap_bits": packed.gap_bits,
        "value_bits": packed.value_bits,
        "count": packed.count,
        "shape": [40, 50],
    }
    node = onnx.helper.make_node("SparseWeights", ["p", "v"], ["w"], domain="qdeploy", name="s", **attributes)
    value = onnx.helper.make_tensor_value_info
    streams = [onnx.numpy_helper.from_array(packed.places, "p"), onnx.numpy_helper.from_array(packed.values, "v")]
    graph = onnx.helper.make_graph([node], "g", [value("x", 2, ["n"])], [value("w", 3, [40, 50])], streams)
    opsets = [onnx.helper.make_opsetid("", 18), onnx.helper.make_opsetid("qdeploy", 1)]
    (body,) = attach_bodies(onnx.helper.make_model(graph, opset_imports=opsets)).functions
    # With its tag and length in the model.
    assert abs(body.ByteSize() + 3 - BODY_BYTES[form]) <= 16


def test_a_pruned_bundle(tmp_path: Path) -> None:
    """Exported, verified, smaller; ``inspect`` tells where its bytes went, and reads bundles with all zeros, too."""
    onnx.save(network(QUATERNION, 0.9, units=512), tmp_path / "float.onnx")
    bundles = {
        storage: qdeploy.export_model(
            tmp_path / "float.onnx", tmp_path / storage, calibration={"x": X}, storage=storage
        )
        for storage in ("compact", "expanded")
    }
    assert all(bundle.verify(samples=4).passed for bundle in bundles.values())
    sizes = {storage: (bundle.path / "model.onnx").stat().st_size for storage, bundle in bundles.items()}
    assert sizes["compact"] < 0.3 * sizes["expanded"]
    report, full = bundles["compact"].inspect(), bundles["expanded"].inspect()
    found = {weight.name: weight for weight in report.weights}
    ((name, components),) = ((name, weight) for name, weight in found.items() if name.endswith(".rijk"))
    assert found.keys() == {"output", name}
    assert (components.weights, components.dense_bytes, components.form) == (12_288, 12_288, "gaps")
    assert 800 < components.nonzero < 1600
    assert components.nonzero < components.bytes < 2.5 * components.nonzero
    # A Hamilton matrix has each component four times.
    hidden = next(weight for weight in full.weights if weight.name != "output")
    assert (hidden.nonzero, hidden.bytes) == (4 * components.nonzero, 512 * 96)
    assert any(line.startswith(f"{name}: ") and " as gaps; 12,288 with the zeros" in line for line in report.lines())
    assert report.lines()[-1].startswith("all weights: ")
    assert not any("zeros" in line for line in full.lines())
    assert report.to_dict()["weights"][0]["density"] == round(report.weights[0].density, 6)
