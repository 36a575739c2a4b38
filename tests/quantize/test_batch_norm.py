"""Where batch normalization goes, what it costs, and that the integers follow the float network, extremes included."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import qdeploy
from qdeploy.capture.session import FloatSession
from qdeploy.exporter import finish
from qdeploy.quantize import Recipe, load_recipe
from qdeploy.quantize.batch_norm import place_batch_norm
from qdeploy.quantize.grid import on_grid
from qdeploy.quantize.lowerings.product_stage import _with_factor
from qdeploy.quantize.tensor_type import TensorType
from qdeploy.runtime.errors import UnsupportedModelError

from .networks import both, float_model, quantized

DEFAULT = load_recipe("default")
MODES = ("auto", "stage", "fold")
HAMILTON = '  w = qdeploy.float.HamiltonMatrix <grouping = "blocked"> (wr, wi, wj, wk)\n'
PARTS = [f"w{part}" for part in "rijk"]


def net(*, quaternion: bool, matrix: bool, relu: bool = True, bias: bool = True, inputs: int = 16) -> str:
    """x -> Linear -> normalization -> ReLU -> y."""
    lines = HAMILTON if quaternion else ""
    lines += f"  a = qdeploy.float.Linear (x, w{', b' if bias else ''})\n"
    operator = "QuaternionAffine" if matrix else "ChannelAffine"
    lines += f"  {'n' if relu else 'y'} = qdeploy.float.{operator} <trailing = 0> (a, s, t)\n"
    lines += "  y = Relu (n)\n" if relu else ""
    return f"g (float[batch, {inputs}] x) => (float[batch, 16] y)\n{{\n{lines}}}"


def weights(*, quaternion: bool, matrix: bool, seed: int = 0, inputs: int = 16) -> dict[str, np.ndarray]:
    """Sixteen outputs; factors of both signs."""
    generator = np.random.default_rng(seed)
    if quaternion:
        found = {name: generator.standard_normal((4, inputs // 4)) / 2 for name in PARTS}
    else:
        found = {"w": generator.standard_normal((16, inputs)) / 2}
    found |= {"b": generator.standard_normal(16), "t": generator.standard_normal(16)}
    found["s"] = generator.standard_normal(16) + 0.1
    if matrix:
        found |= {"s": generator.standard_normal((4, 4, 4)), "t": generator.standard_normal((4, 4))}
    return {name: array.astype(np.float32) for name, array in found.items()}


def samples(inputs: int = 16, count: int = 64) -> np.ndarray:
    return np.random.default_rng(9).normal(size=(count, inputs)).astype(np.float32)


def error_in_steps(model: onnx.ModelProto, recipe: Recipe, x: np.ndarray, **options: Any) -> tuple[float, Any]:
    """The largest error in steps of an activation of 8 bits over the output's range, and the integer model."""
    integers = quantized(model, x, recipe, **options)
    real, found, _ = both(model, integers, x)
    return float(np.abs(real - found).max() / (np.ptp(real) / 255)), integers


def layer(integers: Any) -> dict[str, Any]:
    """The record of the layer that holds, or is, a normalization."""
    return next(layer for layer in integers.graph.layers if "batch_norm" in layer)


def constants(integers: Any) -> dict[str, np.ndarray]:
    return {t.name: onnx.numpy_helper.to_array(t) for t in integers.model.graph.initializer}


@pytest.mark.parametrize("quaternion", [False, True])
@pytest.mark.parametrize("matrix", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_folding_leaves_the_float_network_as_it_is(quaternion, matrix, bias):
    chosen = weights(quaternion=quaternion, matrix=matrix)
    if not bias:
        del chosen["b"]
    model = float_model(net(quaternion=quaternion, matrix=matrix, bias=bias), chosen)
    folded = place_batch_norm(model, DEFAULT.changed(batch_norm="fold"))
    assert [node.op_type for node in folded.graph.node] == ["Linear", "Relu"]
    results = [FloatSession(one).run({"x": samples()})["y"] for one in (model, folded)]
    np.testing.assert_allclose(*results, rtol=1e-4, atol=1e-4)
    # The original is not touched.
    assert [node.op_type for node in model.graph.node][-2:] == [
        "QuaternionAffine" if matrix else "ChannelAffine",
        "Relu",
    ]


@pytest.mark.parametrize("quaternion", [False, True])
@pytest.mark.parametrize("matrix", [False, True])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("bits", [15, 31])
def test_integers_follow_the_float_network(quaternion, matrix, mode, bits):
    model = float_model(net(quaternion=quaternion, matrix=matrix), weights(quaternion=quaternion, matrix=matrix))
    recipe = DEFAULT.changed(batch_norm=mode, multiplier_bits=bits)
    error, integers = error_in_steps(model, recipe, samples())
    assert error < 4
    expected = {
        (False, "auto"): "weights", (False, "fold"): "weights", (False, "stage"): "operator" if matrix else "multiplier",
        (True, "auto"): "expanded" if matrix else "multiplier", (True, "fold"): "expanded",
        (True, "stage"): "operator" if matrix else "multiplier",
    }[quaternion, mode]  # fmt: skip
    assert layer(integers)["batch_norm"] == expected


def extreme(quaternion: bool) -> dict[str, np.ndarray]:
    """Running variances from 1e-6 to 1e3: weights as small or large as they say; a dead channel, one with factor zero."""
    chosen = weights(quaternion=quaternion, matrix=False, seed=3)
    deviations = 10.0 ** np.random.default_rng(4).uniform(-3, 1.5, 16)
    deviations[:2] = 1e-3, 30.0
    if quaternion:
        rows = deviations.reshape(4, 4).max(axis=0)[:, None]
        chosen |= {name: chosen[name] * rows for name in PARTS}
        deviations = np.tile(rows[:, 0], 4) * np.random.default_rng(5).uniform(0.2, 1, 16)
    else:
        chosen["w"] = chosen["w"] * deviations[:, None]
    chosen["b"] = chosen["b"] * deviations
    chosen["s"] = chosen["s"] / np.sqrt(deviations**2 + 1e-5)
    # Dead before (its inputs give nothing, so that its factor is the largest there is) and dead behind (gamma is zero).
    for name in PARTS if quaternion else ["w"]:
        chosen[name][3] = 0
    chosen["s"][3], chosen["s"][6] = 1 / np.sqrt(1e-5), 0.0
    chosen["b"][3] = 1e-3
    return {name: array.astype(np.float32) for name, array in chosen.items()}


@pytest.mark.parametrize("quaternion", [False, True])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("granularity", ["per_channel", "per_tensor"])
def test_extreme_statistics(quaternion, mode, granularity):
    chosen = extreme(quaternion)
    model = float_model(net(quaternion=quaternion, matrix=False, relu=False), chosen)
    recipe = DEFAULT.changed(batch_norm=mode, weight_granularity=granularity)
    integers = quantized(model, samples(), recipe)
    real, found, _ = both(model, integers, samples())
    steps = np.abs(real - found).max(axis=0) / (np.ptp(real) / 255)
    # Channel 6 is its constant, whatever its products are.
    assert np.ptp(found[:, 6]) <= np.ptp(real) / 255
    assert steps[6] < 1
    assert steps[3] < 1
    if granularity == "per_channel":
        assert steps.max() < 5


def test_a_trained_grid_comes_back_unchanged_and_takes_the_factors_in_its_multipliers():
    chosen = weights(quaternion=False, matrix=False)
    chosen["w"] = on_grid(chosen["w"], 4)
    error, integers = error_in_steps(float_model(net(quaternion=False, matrix=False), chosen), DEFAULT, samples())
    assert layer(integers)["batch_norm"] == "multiplier"
    assert layer(integers)["exact_grid"]
    # 16 factors where the grid alone needs one.
    assert layer(integers)["batch_norm_bytes"] == 60
    assert error < 4
    folded = quantized(
        float_model(net(quaternion=False, matrix=False), chosen), samples(), DEFAULT.changed(batch_norm="fold")
    )
    assert not layer(folded)["exact_grid"]


def test_components_stay_what_they_are():
    chosen = weights(quaternion=True, matrix=False)
    model = float_model(net(quaternion=True, matrix=False), chosen)
    plain = float_model(
        f"g (float[batch, 16] x) => (float[batch, 16] y)\n{{\n{HAMILTON}  a = qdeploy.float.Linear (x, w, b)\n  y = Relu (a)\n}}",
        {name: chosen[name] for name in [*PARTS, "b"]},
    )
    normalized, alone = (constants(quantized(one, samples(), DEFAULT)) for one in (model, plain))
    assert (normalized["w.rijk"] == alone["w.rijk"]).all()
    multipliers = next(array for name, array in normalized.items() if name.endswith(".multiplier"))
    assert (np.sign(multipliers) == np.sign(chosen["s"])).all()


def test_equal_factors_fold_into_the_components():
    chosen = weights(quaternion=True, matrix=False)
    chosen["s"] = np.tile(chosen["s"][:4], 4)
    assert chosen["s"].min() < 0 < chosen["s"].max()
    model = float_model(net(quaternion=True, matrix=False), chosen)
    error, integers = error_in_steps(model, DEFAULT, samples())
    assert layer(integers)["batch_norm"] == "components"
    assert layer(integers)["batch_norm_bytes"] == 0
    assert error < 4
    expanded = quantized(model, samples(), DEFAULT, storage="expanded")
    results = [both(model, one, samples())[2]["y"] for one in (integers, expanded)]
    assert (results[0] == results[1]).all()


@pytest.mark.parametrize("mode", MODES)
def test_both_storages_hold_the_same_network(mode):
    for matrix in (False, True):
        model = float_model(net(quaternion=True, matrix=matrix), weights(quaternion=True, matrix=matrix))
        recipe = DEFAULT.changed(batch_norm=mode)
        found = [quantized(model, samples(), recipe, storage=storage) for storage in ("compact", "expanded")]
        results = [both(model, one, samples())[2]["y"] for one in found]
        assert (results[0] == results[1]).all()


def test_the_smaller_file_is_chosen():
    """The 4 x 4 operator brings a body of its own: it pays from some thousand weights on."""
    for inputs, place in ((16, "expanded"), (512, "operator")):
        chosen = weights(quaternion=True, matrix=True, inputs=inputs)
        model = float_model(net(quaternion=True, matrix=True, inputs=inputs), chosen)
        error, integers = error_in_steps(model, DEFAULT, samples(inputs))
        assert layer(integers)["batch_norm"] == place
        assert error < 4
        sizes = {}
        for mode in ("stage", "fold"):
            integer_model = quantized(model, samples(inputs), DEFAULT.changed(batch_norm=mode))
            sizes[mode] = finish(integer_model).ByteSize()
        assert (min(sizes, key=sizes.__getitem__) == "stage") == (place == "operator")


def test_multipliers_of_one_bit():
    """They hold no factors, but for powers of two; then weights do."""
    recipe = DEFAULT.changed(multiplier_bits=1)
    model = float_model(net(quaternion=True, matrix=False), weights(quaternion=True, matrix=False))
    error, integers = error_in_steps(model, recipe, samples())
    assert layer(integers)["batch_norm"] == "expanded"
    assert error < 6
    assert all((array == 1).all() or (array & (array - 1) == 0).all()
               for name, array in constants(integers).items() if "multiplier" in name)  # fmt: skip
    with pytest.raises(UnsupportedModelError, match=r"linear_1.*multipliers of 1 bit hold no factors.*15 or 31"):
        quantized(model, samples(), recipe.changed(batch_norm="stage"))
    chosen = weights(quaternion=True, matrix=False)
    chosen["s"] = 2.0 ** np.random.default_rng(0).integers(-2, 3, 16)
    error, integers = error_in_steps(
        float_model(net(quaternion=True, matrix=False), chosen), recipe.changed(batch_norm="stage"), samples()
    )
    assert layer(integers)["batch_norm"] == "multiplier"
    assert error < 6


ALONE = """g (float[batch, 16] x) => (float[batch, 16] y)
{
  n = qdeploy.float.ChannelAffine <trailing = 0> (x, s, t)
  h = Relu (n)
  a = qdeploy.float.Linear (h, w, b)
  m = qdeploy.float.QuaternionAffine <trailing = 0> (a, p, q)
  y = Add (a, m)
}"""


@pytest.mark.parametrize("mode", MODES)
def test_alone_before_a_layer_and_behind_one_that_something_else_reads(mode):
    chosen = weights(quaternion=False, matrix=False)
    other = weights(quaternion=False, matrix=True)
    model = float_model(ALONE, chosen | {"p": other["s"], "q": other["t"]})
    error, integers = error_in_steps(model, DEFAULT.changed(batch_norm=mode), samples())
    assert [node.op_type for node in integers.model.graph.node] == [
        "ChannelAffine",
        "Linear",
        "QuaternionAffine",
        "Add",
    ]
    assert error < 6


RECURRENT = """g (float[time, batch, 3] x) => (float[time, batch, 4] y)
{
  states, last = qdeploy.float.RNN <activation = "tanh"> (x, u, w, b)
  n = qdeploy.float.ChannelAffine <trailing = 0> (states, s, t)
  h = Relu (n)
  y = qdeploy.float.Linear (h, v, c)
}"""


def test_behind_a_recurrent_layer():
    generator = np.random.default_rng(0)
    shapes = {"u": (8, 3), "w": (8, 8), "b": (8,), "s": (8,), "t": (8,), "v": (4, 8), "c": (4,)}
    model = float_model(RECURRENT, {name: generator.standard_normal(shape) / 2 for name, shape in shapes.items()})
    x = generator.normal(size=(6, 32, 3)).astype(np.float32)
    integers = quantized(model, x, DEFAULT, batch_axis=1)
    real, found, _ = both(model, integers, x, batch_axis=1)
    error = np.abs(real - found).max() / (np.ptp(real) / 255)
    assert "ChannelAffine" in [node.op_type for node in integers.model.graph.node]
    assert error < 4


def test_two_normalizations_behind_one_layer():
    text = net(quaternion=True, matrix=False).replace(
        "  y = Relu (n)", "  o = qdeploy.float.ChannelAffine <trailing = 0> (n, s2, t2)\n  y = Relu (o)"
    )
    chosen = weights(quaternion=True, matrix=False)
    other = weights(quaternion=True, matrix=False, seed=2)
    model = float_model(text, chosen | {"s2": other["s"], "t2": other["t"]})
    for mode in MODES:
        error, integers = error_in_steps(model, DEFAULT.changed(batch_norm=mode), samples())
        assert [node.op_type for node in integers.model.graph.node][-1] == "Linear"
        assert error < 5


def test_what_a_matrix_reads_has_sixteen_bits():
    model = float_model(net(quaternion=True, matrix=True), weights(quaternion=True, matrix=True))
    integers = quantized(model, samples(), DEFAULT.changed(batch_norm="stage"))
    assert integers.graph.types["a"].dtype == "int16"
    assert layer(integers)["accumulator_bits"] <= 32
    matrix = next(array for name, array in constants(integers).items() if name.endswith(".matrix"))
    assert 2**13 <= np.abs(matrix.astype(int)).max() < 2**14


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from([15, 31]))
def test_multipliers_leave_constants_room(data, bits):
    """Every constant comes out but for the rounding of a quotient, and no accumulator overflows."""
    size = data.draw(st.integers(1, 6))
    exponents = data.draw(st.lists(st.floats(-14, 0), min_size=size, max_size=size))
    signs = data.draw(st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=size, max_size=size))
    ratios = np.array(signs) * 10.0 ** np.array(exponents)
    biases = np.array(data.draw(st.lists(st.floats(-32768, 32768), min_size=size, max_size=size)))
    products = np.array(data.draw(st.lists(st.integers(0, 2**30), min_size=size, max_size=size)))
    output = TensorType("int16", 1.0, 0, 16, -(2**15), 2**15 - 1)
    found = _with_factor("layer", ratios, biases, products, output, bits)
    integer_bias = np.rint(biases * 2.0**found.shift / found.values)
    assert (np.abs(found.values) < 2**31).all()
    assert (found.values != 0).all()
    assert (products + np.abs(integer_bias) < 2**31).all()
    # Half of a multiplier is what rounding the quotient leaves.
    assert (
        np.abs(integer_bias * found.values / 2.0**found.shift - biases)
        <= np.abs(found.values) / 2.0 ** (found.shift + 1) + 1e-9
    ).all()
    negative = ratios < 0
    assert (np.sign(found.values[negative]) == -1).all()


def test_export_takes_the_choice_and_inspect_shows_it(tmp_path):
    model = float_model(net(quaternion=True, matrix=False, relu=False), weights(quaternion=True, matrix=False))
    path = tmp_path / "float.onnx"
    onnx.save(model, path)
    lines = {}
    for mode in (None, "stage", "fold"):
        bundle = qdeploy.export_model(
            str(path), tmp_path / str(mode), calibration={"x": samples()}, batch_norm=mode, force=True
        )
        assert bundle.manifest.recipe["batch_norm"] == (mode or "auto")
        assert bundle.verify(samples=4).passed
        lines[mode] = next(line for line in bundle.inspect().lines() if "batch normalization" in line)
    assert lines[None] == lines["stage"]
    assert "kept in the multipliers and biases: 48 bytes, nothing at run time" in lines["stage"]
    assert "folded into the quaternion matrix, written in full for it: 192 bytes more" in lines["fold"]
