"""Float ONNX files: what becomes which layer, what is refused, and files that are not to be trusted."""

from __future__ import annotations

import contextlib

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qdeploy.capture import FloatSession, capture
from qdeploy.capture.onnx_file import read_onnx
from qdeploy.runtime.errors import InvalidFileError, InvalidInputError, UnsupportedModelError

MLP = """
    <ir_version: 8, opset_import: ["": 17]>
    mlp (float[1, 4] x, float[4, 6] w1, float[6] b1, float[3, 6] w2, float[3] b2) => (float[1, 3] y) {
        product = MatMul (x, w1)
        sum = Add (b1, product)
        hidden = Relu (sum)
        dropped = Dropout (hidden)
        logits = Gemm <transB = 1, alpha = 0.5, beta = 2.0> (dropped, w2, b2)
        y = Softmax <axis = -1> (logits)
    }"""


def drop_inputs(path, names):
    """Initializers are no inputs of the graph; the text needs their types somewhere."""
    model = onnx.load(path)
    kept = [value for value in model.graph.input if value.name not in names]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture
def mlp(rng, onnx_file):
    shapes = {"w1": (4, 6), "b1": (6,), "w2": (3, 6), "b2": (3,)}
    weights = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    return drop_inputs(onnx_file(MLP, weights), weights)


def test_products_become_linear_layers(rng, mlp, operators):
    captured = capture(mlp, {"x": rng.random((5, 4))})
    assert operators(captured) == ["Linear:bias", "Relu", "Linear:bias"]
    assert captured.inputs[0].shape == ("batch", 4)
    assert captured.error < 1e-6
    assert captured.notes == (
        "dropout removed: dropout",
        "output y: the final Softmax was dropped, logits are given instead",
    )
    result = FloatSession(captured.model).run({"x": np.zeros((7, 4), np.float32)})["y"]
    assert result.shape == (7, 3)


@pytest.mark.parametrize(
    ("activations", "overload"),
    [
        ('activations = ["Relu"]', "relu"),
        ('activations = ["Tanh"]', "tanh"),
        ("", "tanh"),
        ('activations = ["Affine"], activation_alpha = [1.0], activation_beta = [0.0]', "linear"),
    ],
)
@pytest.mark.parametrize("opset", [11, 17, 21])
def test_the_rnn_operator(rng, onnx_file, operators, activations, overload, opset):
    axes = "<axes = [1]> (states)" if opset < 13 else "(states, axes)"
    attributes = f"hidden_size = 5{', ' if activations else ''}{activations}"
    path = onnx_file(
        f"""<ir_version: 7, opset_import: ["": {opset}]>
        rnn (float[T, 2, 3] x) => (float[T, 2, 5] y, float[1, 2, 5] last)
            <float[1, 5, 3] w, float[1, 5, 5] r, float[1, 10] b, int64[1] axes = {{1}}> {{
            states, last = RNN <{attributes}> (x, w, r, b)
            y = Squeeze {axes}
        }}""".replace("float[1, 5, 3] w, float[1, 5, 5] r, float[1, 10] b, ", ""),
        {
            "w": rng.normal(size=(1, 5, 3)).astype(np.float32) / 2,
            "r": rng.normal(size=(1, 5, 5)).astype(np.float32) / 4,
            "b": rng.normal(size=(1, 10)).astype(np.float32),
        },
    )
    captured = capture(path, {"x": rng.random((4, 6, 3))}, time_axis=0)
    assert operators(captured) == [f"RNN:{overload}", "Unsqueeze"]
    assert captured.inputs[0].shape == ("time", "batch", 3)
    results = FloatSession(captured.model).run({"x": np.ones((9, 3, 3), np.float32)})
    assert results["y"].shape == (9, 3, 5)
    assert np.array_equal(results["last"][0], results["y"][-1])


RNN = """
    <ir_version: 8, opset_import: ["": 17]>
    rnn (float[T, 2, 3] x{inputs}) => (float[T, {directions}, 2, 5] y) {{
        y = RNN <hidden_size = 5{attributes}> (x, {arguments})
    }}"""


@pytest.mark.parametrize(
    ("attributes", "arguments", "inputs", "directions", "words"),
    [
        (", clip = 3.0", "w, r, b", "", 1, "clip"),
        (', activations = ["Sigmoid"]', "w, r, b", "", 1, r"activations \['Sigmoid'\]"),
        (', activations = ["Affine"], activation_alpha = [2.0]', "w, r, b", "", 1, "activations"),
        ("", "w, r, b, lengths", "", 1, r"sequence_lens \(lengths\)"),
        ("", "w, r2, b", ", float[1, 5, 5] r2", 1, "R is computed by the graph"),
    ],
)
def test_rnn_operators_that_are_refused(rng, onnx_file, attributes, arguments, inputs, directions, words):
    weights = {
        "w": rng.normal(size=(directions, 5, 3)).astype(np.float32),
        "r": rng.normal(size=(directions, 5, 5)).astype(np.float32),
        "b": rng.normal(size=(directions, 10)).astype(np.float32),
        "lengths": np.array([1, 1], np.int32),
    }
    text = RNN.format(attributes=attributes, arguments=arguments, inputs=inputs, directions=directions)
    samples = {"x": rng.random((2, 4, 3))}
    if inputs:
        samples["r2"] = rng.random((2, 5, 5))
        text = text.replace("float[1, 5, 5] r2", "float[2, 5, 5] r2")
    with pytest.raises(UnsupportedModelError, match=f"node .*{words}"):
        capture(onnx_file(text, weights), samples, time_axis=0)


@pytest.mark.parametrize(
    ("activation", "overload"),
    [
        ("following = Relu (sum)", "relu"),
        ("following = Tanh (sum)", "tanh"),
        ("following = Identity (sum)", "linear"),
        (
            """sign = Sign (sum) modulus = Abs (sum) shifted = Add (modulus, mb) gate = Relu (shifted)
            following = Mul (gate, sign)""",
            "modrelu",
        ),
    ],
)
@pytest.mark.parametrize(
    "step",
    [
        "a = MatMul (h, w) c = MatMul (x_t, u) d = Add (a, c) sum = Add (d, b)",
        "a = Gemm <transB = 1> (x_t, ut, b) sum = Gemm (h, w, a)",
    ],
)
def test_scans_become_recurrent_layers(rng, onnx_file, operators, step, activation, overload):
    u = rng.normal(size=(3, 5)).astype(np.float32)
    path = onnx_file(
        f"""<ir_version: 8, opset_import: ["": 17]>
        scan (float[4, 2, 3] x) => (float[2, 5] last, float[4, 2, 5] y) {{
            start = Constant <value = float[2, 5] {{{", ".join(["0.0"] * 10)}}}> ()
            last, y = Scan <num_scan_inputs = 1, body = step (float[2, 5] h, float[2, 3] x_t) => (
                float[2, 5] following, float[2, 5] out) {{
                {step}
                {activation}
                out = Identity (following)
            }}> (start, x)
        }}""",
        {
            "w": np.linalg.qr(rng.normal(size=(5, 5)))[0].astype(np.float32),
            "u": u,
            "ut": u.T.copy(),
            "b": rng.normal(size=5).astype(np.float32),
            "mb": rng.normal(size=5).astype(np.float32),
        },
    )
    captured = capture(path, {"x": rng.random((2, 4, 3))}, time_axis=0)
    assert operators(captured) == [f"RNN:{overload}"]
    assert captured.inputs[0].shape == ("time", "batch", 3)


def test_a_scan_of_projected_inputs_takes_the_projection(rng, onnx_file, operators):
    path = onnx_file(
        """<ir_version: 8, opset_import: ["": 17]>
        scan (float[4, 2, 3] x, float[2, 5] h0) => (float[4, 2, 5] y) {
            product = MatMul (x, u)
            driven = Add (product, b)
            last, y = Scan <num_scan_inputs = 1, body = step (float[2, 5] h, float[2, 5] d) => (
                float[2, 5] following, float[2, 5] out) {
                a = MatMul (h, w)
                sum = Add (a, d)
                following = Tanh (sum)
                out = Identity (following)
            }> (h0, driven)
        }""",
        {name: rng.normal(size=shape).astype(np.float32) for name, shape in {"u": (3, 5), "b": 5, "w": (5, 5)}.items()},
    )
    captured = capture(path, {"x": rng.random((2, 4, 3)), "h0": rng.random((2, 5))}, time_axis=0)
    assert operators(captured) == ["RNN:tanh_h0"]


def test_another_scan_is_refused(rng, onnx_file):
    path = onnx_file(
        """<ir_version: 8, opset_import: ["": 17]>
        scan (float[4, 2, 3] x, float[2, 3] h0) => (float[4, 2, 3] y) {
            last, y = Scan <num_scan_inputs = 1, body = step (float[2, 3] h, float[2, 3] x_t) => (
                float[2, 3] following, float[2, 3] out) {
                following = Mul (h, x_t)
                out = Identity (following)
            }> (h0, x)
        }"""
    )
    with pytest.raises(
        UnsupportedModelError, match=r"node .*Scan.*state h: the step computes h' = .*no operator does.*GRU: h' = "
    ):
        capture(path, {"x": rng.random((2, 4, 3)), "h0": rng.random((2, 3))}, time_axis=0)


QUATERNION = {
    "rows": "r0 = Concat <axis = 1> (r, ni, nj, nk) r1 = Concat <axis = 1> (i, r, nk, j)"
    "r2 = Concat <axis = 1> (j, k, r, ni) r3 = Concat <axis = 1> (k, nj, i, r)"
    "m = Concat <axis = 0> (r0, r1, r2, r3)",
    "columns": "c0 = Concat <axis = 0> (r, i, j, k) c1 = Concat <axis = 0> (ni, r, k, nj)"
    "c2 = Concat <axis = 0> (nj, nk, r, i) c3 = Concat <axis = 0> (nk, j, ni, r)"
    "m = Concat <axis = 1> (c0, c1, c2, c3)",
    "conjugate": "r0 = Concat <axis = 1> (r, i, j, k) r1 = Concat <axis = 1> (ni, r, k, nj)"
    "r2 = Concat <axis = 1> (nj, nk, r, i) r3 = Concat <axis = 1> (nk, j, ni, r)"
    "m = Concat <axis = 0> (r0, r1, r2, r3)",
}


@pytest.mark.parametrize(
    "product", ["y = MatMul (x, m)", "t = Transpose (m) y = MatMul (x, t)", "y = Gemm <transB = 1> (x, m)"]
)
@pytest.mark.parametrize("build", QUATERNION)
def test_quaternion_matrices_are_recognised(rng, onnx_file, operators, build, product):
    right = product.startswith("y = MatMul")
    shape = (2, 3) if right else (3, 2)
    path = onnx_file(
        f"""<ir_version: 8, opset_import: ["": 17]>
        quaternion (float[N, 8] x) => (float[N, 12] y) {{
            ni = Neg (i) nj = Neg (j) nk = Neg (k)
            {QUATERNION[build]}
            {product}
        }}""",
        {name: rng.normal(size=shape).astype(np.float32) for name in "rijk"},
    )
    captured = capture(path, {"x": rng.random((2, 8))})
    assert operators(captured) == ["HamiltonMatrix:blocked", "Linear:no_bias"]
    assert captured.error < 1e-5


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("y = CumSum (x, zero)", r"\(CumSum\): not supported.*Supported: Gemm"),
        ("y = Add (x, c2)", "adds a constant to an activation that is not one number for each entry of one axis"),
        ("y = MatMul (c2, x)", "MatMul"),
        ("s = Softmax (x) y = Relu (s)", "Softmax.*must be the last node"),
        ("n = Size (x) m = Neg (n) t = Unsqueeze (m, zero) y = Reshape (x, t)", "Reshape.*is computed by the graph"),
    ],
)
def test_operators_that_are_refused(rng, onnx_file, body, words):
    path = onnx_file(
        f"""<ir_version: 8, opset_import: ["": 17]>
        other (float[N, 4] x) => (float[A, B] y) {{ {body} }}""",
        {"c": np.ones(4, np.float32), "c2": np.ones((4, 4), np.float32), "zero": np.zeros(1, np.int64)},
    )
    with pytest.raises(UnsupportedModelError, match=words):
        capture(path, {"x": rng.random((4, 4))})


def test_quantized_models_are_refused(rng, onnx_file):
    path = onnx_file(
        """<ir_version: 8, opset_import: ["": 17]>
        q (float[N, 4] x) => (uint8[N, 4] y) { y = QuantizeLinear (x, s, z) }""",
        {"s": np.float32(0.1), "z": np.uint8(0)},
    )
    with pytest.raises(UnsupportedModelError, match=r"QuantizeLinear\): the model is quantized already"):
        capture(path, {"x": rng.random((4, 4))})


def test_shapes_that_the_graph_computes(rng, onnx_file, operators):
    path = onnx_file(
        """<ir_version: 8, opset_import: ["": 17]>
        flat (float[N, 2, 4] x) => (float[N, 8] y) {
            shape = Shape (x)
            first = Gather <axis = 0> (shape, zero)
            n = Unsqueeze (first, axes)
            all = Concat <axis = 0> (n, rest)
            y = Reshape (x, all)
        }""",
        {"zero": np.int64(0), "axes": np.zeros(1, np.int64), "rest": np.array([8], np.int64)},
    )
    captured = capture(path, {"x": rng.random((4, 2, 4))})
    assert operators(captured) == ["Reshape"]
    assert FloatSession(captured.model).run({"x": np.zeros((3, 2, 4), np.float32)})["y"].shape == (3, 8)


@pytest.mark.parametrize(
    "body",
    [
        "big = ConstantOfShape (sizes) small = ReduceMax <keepdims = 0> (big) y = Add (x, small)",
        "big = Expand (one, sizes) small = ReduceMax <keepdims = 0> (big) y = Add (x, small)",
        "big = MatMul (column, row) small = ReduceMax <keepdims = 0> (big) y = Add (x, small)",
        "big = Range (zero, count, step) small = ReduceMax <keepdims = 0> (big) y = Add (x, small)",
    ],
)
def test_small_files_cannot_ask_for_huge_constants(onnx_file, body):
    path = onnx_file(
        f"""<ir_version: 8, opset_import: ["": 17]> big (float[N, 4] x) => (float[N, 4] y) {{ {body} }}""",
        {
            "sizes": np.array([10**6, 10**6], np.int64),
            "one": np.ones(1, np.float32),
            "column": np.ones((10**6, 1), np.float32),
            "row": np.ones((1, 10**6), np.float32),
            "zero": np.float32(0),
            "count": np.float32(1e12),
            "step": np.float32(1),
        },
    )
    with pytest.raises(UnsupportedModelError):
        capture(path, {"x": np.zeros((2, 4))})


def test_local_functions_are_inlined_and_recognised_again(rng, mlp, operators):
    captured = capture(mlp, {"x": rng.random((5, 4))})
    again = mlp.with_name("again.onnx")
    again.write_bytes(captured.model.SerializeToString())
    assert operators(capture(again, {"x": rng.random((5, 4))})) == ["Linear:bias", "Relu", "Linear:bias"]


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        ({"z": np.zeros((2, 4))}, "found sample inputs z, expected x"),
        ({"x": np.zeros((2, 4, 1))}, "expected 2 axes"),
        ({"x": np.zeros((2, 5))}, "has 5 values along axis 1 of the model's layout, expected 4"),
    ],
)
def test_samples_of_another_model(mlp, samples, words):
    with pytest.raises(InvalidInputError, match=words):
        capture(mlp, samples)


def test_a_file_that_needs_all_its_steps(rng, onnx_file):
    path = onnx_file(
        """<ir_version: 8, opset_import: ["": 17]>
        all (float[1, 6, 3] x) => (float[1, 2] y) {
            t = Transpose <perm = [1, 0, 2]> (x)
            states = RNN <hidden_size = 5> (t, w, r)
            s = Squeeze (states, axes)
            b = Transpose <perm = [1, 0, 2]> (s)
            flat = Flatten (b)
            y = MatMul (flat, v)
        }""",
        {
            "w": rng.normal(size=(1, 5, 3)).astype(np.float32),
            "r": rng.normal(size=(1, 5, 5)).astype(np.float32) / 4,
            "v": rng.normal(size=(30, 2)).astype(np.float32),
            "axes": np.ones(1, np.int64),
        },
    )
    captured = capture(path, {"x": rng.random((4, 6, 3))})
    assert captured.inputs[0].shape == ("batch", 6, 3)
    with pytest.raises(InvalidInputError, match="have 7 steps, expected 6"):
        capture(path, {"x": rng.random((4, 7, 3))})


def test_inputs_of_another_type(onnx_file):
    path = onnx_file(
        """<ir_version: 8, opset_import: ["": 17]> d (double[N, 4] x) => (double[N, 4] y) { y = Relu (x) }"""
    )
    with pytest.raises(InvalidInputError, match=r"input x is .*DOUBLE, expected float32"):
        capture(path, {"x": np.zeros((2, 4))})


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite(rng, onnx_file, value):
    path = onnx_file(
        """<ir_version: 8, opset_import: ["": 17]> n (float[N, 4] x) => (float[N, 4] y) { y = MatMul (x, weight) }""",
        {"weight": np.full((4, 4), value, np.float32)},
    )
    with pytest.raises(InvalidFileError, match="tensor weight: found NaN or infinite"):
        capture(path, {"x": rng.random((2, 4))})


def test_a_missing_file(tmp_path):
    with pytest.raises(InvalidFileError, match="no such file"):
        capture(tmp_path / "none.onnx", {"x": np.zeros((2, 4))})


def test_a_file_that_is_too_large(mlp, monkeypatch):
    monkeypatch.setattr("qdeploy.capture.onnx_file.MAX_FILE_BYTES", 10)
    with pytest.raises(InvalidFileError, match="expected at most 10"):
        read_onnx(mlp)


@pytest.mark.parametrize("content", [b"", b"\x00" * 100, b"not a model at all", b"PK\x03\x04 zip", b"\x80\x04pickle"])
def test_files_of_another_kind(tmp_path, content):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(InvalidFileError, match=r"model\.onnx"):
        read_onnx(path)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_truncated_and_changed_files_never_raise_anything_else(tmp_path_factory, data):
    graph = onnx.parser.parse_model(MLP)
    for name, shape in {"w1": (4, 6), "b1": (6,), "w2": (3, 6), "b2": (3,)}.items():
        graph.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(shape, np.float32), name))
    content = bytearray(graph.SerializeToString())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("broken") / "model.onnx"
    path.write_bytes(bytes(content))
    with contextlib.suppress(InvalidFileError, UnsupportedModelError):
        read_onnx(path)


def with_external_data(path, location):
    model = onnx.load(path)
    tensor = model.graph.initializer[0]
    data = tensor.raw_data
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    path.write_bytes(model.SerializeToString())
    return data


def test_external_data_beside_the_file(rng, mlp):
    data = with_external_data(mlp, "weights.bin")
    with pytest.raises(InvalidFileError, match=r"'weights\.bin', which is not there"):
        read_onnx(mlp)
    mlp.with_name("weights.bin").write_bytes(data)
    assert capture(mlp, {"x": rng.random((5, 4))}).error < 1e-6
    mlp.with_name("weights.bin").write_bytes(data[:-8])
    with pytest.raises(InvalidFileError, match=r"model\.onnx"):
        read_onnx(mlp)


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/passwd", "", "a/../../secret.bin", "link.bin"])
def test_external_data_elsewhere(mlp, location):
    data = with_external_data(mlp, location)
    outside = mlp.parent.parent / "secret.bin"
    outside.write_bytes(data)
    if location == "link.bin":
        mlp.with_name("link.bin").symlink_to(outside)
    with pytest.raises(InvalidFileError, match="expected a file in the model's own folder"):
        read_onnx(mlp)


def test_weights_beside_an_onnx_file(mlp):
    with pytest.raises(InvalidInputError, match="an ONNX file holds its own"):
        capture(mlp, {"x": np.zeros((2, 4))}, weights="weights.pt")


@pytest.mark.parametrize("name", ["a\nb", "\x00", "n" * 1025])
def test_names_that_no_manifest_can_hold_are_refused(tmp_path, name):
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 18]> g (float[n, 4] x) => (float[n, 4] y) { y = Relu (x) }'
    )
    model.graph.input[0].name = model.graph.node[0].input[0] = name
    path = tmp_path / "names.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(InvalidFileError, match=r"found the name .* printable characters"):
        read_onnx(path)
