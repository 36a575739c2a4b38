"""The forms of ONNX RNN, GRU and LSTM: layout, full sequence_lens, any of the results, files of our own, refusals."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
import pytest

from qdeploy.capture import FloatSession, capture
from qdeploy.capture.onnx_file import read_onnx
from qdeploy.capture.passes import canonicalize
from qdeploy.runtime.errors import UnsupportedModelError

UNITS, FEATURES, STEPS, BATCH = 5, 3, 6, 2
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
RESULTS = {"RNN": ("y", "h"), "GRU": ("y", "h"), "LSTM": ("y", "h", "c")}
ANY_RESULTS = [
    (kind, chosen)
    for kind, names in RESULTS.items()
    for count in range(1, len(names) + 1)
    for chosen in itertools.combinations(names, count)
]


def shapes_of(layout, directions, time="T"):
    """Of x, a state, and all states, in ONNX text."""
    states = f"{directions}, {BATCH}, {UNITS}" if layout == 0 else f"{BATCH}, {directions}, {UNITS}"
    if layout == 0:
        return f"{time}, {BATCH}, {FEATURES}", states, f"{time}, {directions}, {BATCH}, {UNITS}"
    return f"{BATCH}, {time}, {FEATURES}", states, f"{BATCH}, {time}, {directions}, {UNITS}"


def text_of(
    kind, *, chosen=None, layout=0, direction="forward", attributes="", given=(), lengths="", before="", time="T"
):
    """A model of one operator: the outputs ``chosen``, and the initial states ``given`` as inputs."""
    chosen = RESULTS[kind] if chosen is None else chosen
    x, state, states = shapes_of(layout, 2 if direction == "bidirectional" else 1, time)
    inputs = "".join(f", float[{state}] {name}" for name in given)
    outputs = ", ".join(f"float[{states if name == 'y' else state}] {name}" for name in chosen)
    written = [name if name in chosen else "" for name in RESULTS[kind]]
    while not written[-1]:
        written.pop()
    arguments = ["x", "w", "r", "b", lengths, *given]
    while not arguments[-1]:
        arguments.pop()
    settings = f"hidden_size = {UNITS}, direction = {direction!r}{attributes}".replace("'", '"')
    if layout:
        settings += f", layout = {layout}"
    # The text format has no word for an absent result in front of others; it is renamed to nothing below.
    names = ", ".join(name or f"absent_{index}" for index, name in enumerate(written))
    return f"""
        <ir_version: 8, opset_import: ["": 18]>
        form (float[{x}] x{inputs}) => ({outputs}) {{
            {before}
            {names} = {kind} <{settings}> ({", ".join(arguments)})
        }}"""


@pytest.fixture
def form(rng, onnx_file):
    """Writes a file of ``text_of``'s model with random weights."""

    def write(kind, **settings):
        directions = 2 if settings.get("direction") == "bidirectional" else 1
        rows = GATES[kind] * UNITS
        shapes = {"w": (rows, FEATURES), "r": (rows, UNITS), "b": (2 * rows,)}
        weights = {
            name: rng.uniform(-0.6, 0.6, (directions, *shape)).astype(np.float32) for name, shape in shapes.items()
        }
        full = settings.pop("full", None)
        if full is not None:
            weights["lengths"] = np.asarray(full, np.int32)
        path = onnx_file(text_of(kind, **settings), weights)
        model = onnx.load(path)
        for node in model.graph.node:
            node.output[:] = ["" if name.startswith("absent_") else name for name in node.output]
        path.write_bytes(model.SerializeToString())
        return path

    return write


def check_against_onnxruntime(path, captured, feeds):
    """Every output of the file, as onnxruntime computes it, is the captured model's."""
    expected = FloatSession(read_onnx(path)).run(feeds)
    found = FloatSession(captured.model).run(feeds)
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].shape == array.shape
        np.testing.assert_allclose(found[name], array, atol=1e-5)


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize(("kind", "chosen"), ANY_RESULTS)
def test_any_of_the_results(rng, form, kind, chosen, direction):
    path = form(kind, chosen=chosen, direction=direction)
    x = rng.random((BATCH, STEPS, FEATURES)).astype(np.float32)
    captured = capture(path, {"x": x}, time_axis=0)
    assert captured.outputs == chosen
    check_against_onnxruntime(path, captured, captured.arrange({"x": x}))


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
@pytest.mark.parametrize("kind", GATES)
def test_layout_1_is_layout_0_transposed(rng, form, kind, direction, given):
    directions = 2 if direction == "bidirectional" else 1
    states = tuple(f"{name}0" for name in RESULTS[kind][1:]) if given else ()
    path = form(kind, layout=1, direction=direction, given=states)
    samples = {"x": rng.random((BATCH, STEPS, FEATURES)).astype(np.float32)}
    # The operator's states [B, directions, H] of inputs [B, H], the same for both directions.
    model = onnx.load(path)
    for state, value in zip(states, list(model.graph.input)[1:], strict=True):
        samples[f"{state}_flat"] = rng.uniform(-0.9, 0.9, (BATCH, UNITS)).astype(np.float32)
        value.CopyFrom(onnx.helper.make_tensor_value_info(f"{state}_flat", onnx.TensorProto.FLOAT, [BATCH, UNITS]))
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1], np.int64), f"{state}_axis"))
        model.graph.node.insert(0, onnx.helper.make_node("Concat", [f"{state}_one"] * directions, [state], axis=1))
        model.graph.node.insert(
            0, onnx.helper.make_node("Unsqueeze", [f"{state}_flat", f"{state}_axis"], [f"{state}_one"])
        )
    path.write_bytes(model.SerializeToString())
    captured = capture(path, samples, time_axis=1)
    assert captured.inputs[0].shape == ("batch", "time", FEATURES)
    found = FloatSession(captured.model).run(samples)
    # The same operator without the attribute, on transposed arrays.
    layer = model.graph.node[-1]
    kept = [attribute for attribute in layer.attribute if attribute.name != "layout"]
    del layer.attribute[:]
    layer.attribute.extend(kept)
    for node in model.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Concat":
                attribute.i = 0
    for tensor in model.graph.initializer:
        if tensor.name.endswith("_axis"):
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.array([0], np.int64), tensor.name))
    for value in (model.graph.input[0], *model.graph.output):
        value.type.tensor_type.ClearField("shape")
    expected = FloatSession(model).run({**samples, "x": np.ascontiguousarray(samples["x"].swapaxes(0, 1))})
    for name, array in expected.items():
        order = (2, 0, 1, 3) if name == "y" else (1, 0, 2)
        np.testing.assert_allclose(found[name], array.transpose(order), atol=1e-5)


@pytest.mark.parametrize("kind", GATES)
def test_layout_1_with_stacks_of_states_as_inputs_is_refused(rng, form, kind):
    states = tuple(f"{name}0" for name in RESULTS[kind][1:])
    path = form(kind, layout=1, given=states)
    samples = {"x": rng.random((BATCH, STEPS, FEATURES))} | {name: rng.random((BATCH, 1, UNITS)) for name in states}
    with pytest.raises(UnsupportedModelError, match=r"layout=1 with the initial state h0 .*layout=0"):
        capture(path, samples, time_axis=1)


def test_canonicalization_leaves_its_model_alone(form):
    """A tensor that stays in the graph gets another name there, not in the model that was given."""
    model = read_onnx(form("GRU", chosen=("y",)))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([0], np.int64), "places"))
    model.graph.node.append(onnx.helper.make_node("Unsqueeze", ["y", "places"], ["wider"]))
    del model.graph.output[:]
    model.graph.output.append(onnx.helper.make_tensor_value_info("wider", onnx.TensorProto.FLOAT, None))
    before = model.SerializeToString(deterministic=True)
    canonical = canonicalize(model)
    assert model.SerializeToString(deterministic=True) == before
    assert "places" not in {tensor.name for tensor in canonical.model.graph.initializer}


def test_names_that_layout_1_would_take(rng, form):
    path = form("GRU", layout=1)
    model = onnx.load(path)
    model.graph.node.append(onnx.helper.make_node("Relu", ["y"], ["x_time_major"]))
    model.graph.output[0].name = "x_time_major"
    path.write_bytes(model.SerializeToString())
    x = rng.random((BATCH, STEPS, FEATURES)).astype(np.float32)
    captured = capture(path, {"x": x}, time_axis=1)
    check_against_onnxruntime(path, captured, {"x": x})


MADE_OF_THE_SHAPE = {
    "gathered": """all = Shape (x) zero = Constant <value = int64 {0}> () steps = Gather (all, zero)
        batch = Shape <start = 1, end = 2> (x) long = Expand (steps, batch) lengths = Cast <to = 6> (long)""",
    "sliced": """all = Shape (x) first = Constant <value_ints = [0]> () second = Constant <value_ints = [1]> ()
        steps = Slice (all, first, second) third = Constant <value_ints = [2]> () batch = Slice (all, second, third)
        long = Tile (steps, batch) lengths = Cast <to = 6> (long)""",
    "of one dimension": """steps = Shape <start = 0, end = 1> (x) batch = Shape <start = 1, end = 2> (x)
        short = Cast <to = 6> (steps) lengths = Expand (short, batch)""",
}


@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
@pytest.mark.parametrize("lengths", ["constant", *MADE_OF_THE_SHAPE])
@pytest.mark.parametrize("kind", GATES)
def test_full_lengths_are_dropped(rng, form, operators, kind, lengths, direction):
    if lengths == "constant":
        path = form(kind, lengths="lengths", full=[STEPS] * BATCH, time=STEPS, direction=direction)
    else:
        path = form(kind, lengths="lengths", before=MADE_OF_THE_SHAPE[lengths], direction=direction)
    x = rng.random((BATCH, STEPS, FEATURES)).astype(np.float32)
    captured = capture(path, {"x": x}, time_axis=0)
    assert not {"Shape", "Expand", "Tile", "Cast"} & set(operators(captured))
    check_against_onnxruntime(path, captured, captured.arrange({"x": x}))


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"full": [STEPS - 1, STEPS], "time": STEPS}, rf"found \[{STEPS - 1}, {STEPS}\]"),
        # A number that fits these samples alone: the file takes any number of steps.
        ({"full": [STEPS] * BATCH}, rf"found \[{STEPS}, {STEPS}\]"),
        # The number of sequences is not that of steps.
        (
            {"before": MADE_OF_THE_SHAPE["gathered"].replace("int64 {0}", "int64 {1}")},
            "computed by the graph or an input",
        ),
        (
            {"before": MADE_OF_THE_SHAPE["of one dimension"].replace("<start = 0, end = 1>", "<start = 1, end = 2>")},
            rf"found \[{BATCH}, {BATCH}\]",
        ),
    ],
)
def test_other_lengths_are_refused(rng, form, kind, settings, words):
    path = form(kind, lengths="lengths", **settings)
    samples = {"x": rng.random((BATCH, STEPS, FEATURES)).astype(np.float32)}
    with pytest.raises(UnsupportedModelError, match=rf"node .*sequence_lens \(lengths\).*{words}.*equal length"):
        capture(path, samples, time_axis=0)


@pytest.mark.parametrize(
    ("kind", "attributes", "words"),
    [
        ("RNN", ", clip = 2.5", "clip=2.5"),
        ("GRU", ", clip = 2.5", "clip=2.5"),
        ("LSTM", ", clip = 2.5", "clip=2.5"),
        ("LSTM", ", input_forget = 1", "input_forget=1"),
        ("GRU", ', activations = ["HardSigmoid", "Tanh"]', "recurrent_activation='sigmoid'"),
        ("GRU", ', activations = ["Sigmoid"]', "expected Sigmoid, Tanh"),
        ("LSTM", ', activations = ["Sigmoid", "Tanh", "Softsign"]', "'Softsign'.*expected Sigmoid, Tanh, Tanh"),
    ],
)
@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_refusals_name_the_form_and_the_nearest_way(rng, form, kind, attributes, words, direction):
    path = form(kind, attributes=attributes, direction=direction)
    with pytest.raises(UnsupportedModelError, match=f"node .*{words}"):
        capture(path, {"x": rng.random((BATCH, STEPS, FEATURES))}, time_axis=0)


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("kind", GATES)
def test_a_captured_file_is_captured_again(rng, form, operators, tmp_path, kind, direction, given):
    """The float functions are recognised as ours: the same layers, the same bits."""
    inputs = tuple(f"{name}0" for name in RESULTS[kind][1:]) if given else ()
    directions = 2 if direction == "bidirectional" else 1
    samples = {"x": rng.random((BATCH, STEPS, FEATURES)).astype(np.float32)}
    samples |= {name: rng.uniform(-0.9, 0.9, (BATCH, directions, UNITS)).astype(np.float32) for name in inputs}
    first = capture(form(kind, direction=direction, given=inputs), samples, time_axis=0)
    path = tmp_path / "again.onnx"
    path.write_bytes(first.model.SerializeToString())
    second = capture(path, samples, time_axis=0)
    assert operators(second) == operators(first)
    feeds = first.arrange(samples)
    found, expected = (FloatSession(one.model).run(feeds) for one in (second, first))
    assert all(np.array_equal(found[name], array) for name, array in expected.items())
