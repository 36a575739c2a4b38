"""Scan bodies: whatever way the algebra of a cell is written, it becomes the same layer."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qdeploy.capture import capture
from qdeploy.runtime.errors import UnsupportedModelError

INPUTS, HIDDEN = 3, 5
GATES = {"RNN": "n", "GRU": "rzn", "LSTM": "ifgo"}


def weights_of(rng, cell):
    """Rows as torch stacks them: r, z, n and i, f, g, o."""
    rows = HIDDEN * len(GATES[cell])
    return {
        "u": rng.normal(size=(rows, INPUTS)).astype(np.float32),
        "w": rng.normal(size=(rows, HIDDEN)).astype(np.float32) / 2,
        "b": rng.normal(size=rows).astype(np.float32),
        "c": rng.normal(size=rows).astype(np.float32),
    }


@dataclass
class Writer:
    """Writes a body; every choice that does not change what it computes is drawn."""

    draw: object
    cell: str
    weights: dict
    lines: list = field(default_factory=list)
    outside: list = field(default_factory=list)
    constants: dict = field(default_factory=dict)
    inputs: list = field(default_factory=list)
    count: int = 0

    def choose(self, *options):
        return self.draw(st.sampled_from(options))

    def flag(self):
        return self.draw(st.booleans())

    def new(self):
        self.count += 1
        return f"v{self.count}"

    def node(self, text, *, outside=False):
        name = self.new()
        (self.outside if outside else self.lines).append(f"{name} = {text}")
        return name

    def constant(self, array):
        name = f"k{len(self.constants)}"
        self.constants[name] = np.ascontiguousarray(array)
        return name

    def both(self, operator, a, b):
        return self.node(f"{operator} ({a}, {b})" if self.flag() else f"{operator} ({b}, {a})")

    def sum(self, terms):
        """A sum in any order and nesting."""
        terms = list(terms)
        while len(terms) > 1:
            first = terms.pop(self.draw(st.integers(0, len(terms) - 1)))
            second = terms.pop(self.draw(st.integers(0, len(terms) - 1)))
            terms.append(self.both("Add", first, second))
        return terms[0]

    def product(self, x, matrix, bias=None, *, outside=False):
        """``x matrix^T + bias`` by MatMul or Gemm."""
        if not outside and self.flag():
            third = "" if bias is None else f", {self.constant(bias)}"
            if self.flag():
                return self.node(f"Gemm <transB = 1> ({x}, {self.constant(matrix)}{third})")
            return self.node(f"Gemm ({x}, {self.constant(matrix.T)}{third})")
        product = self.node(f"MatMul ({x}, {self.constant(matrix.T)})", outside=outside)
        if bias is None:
            return product
        shape = self.choose((-1,), (1, -1))
        return self.node(f"Add ({product}, {self.constant(bias.reshape(shape))})", outside=outside)

    def parts(self, value, count):
        """The gates of a stacked product."""
        if self.flag():
            names = [self.new() for _ in range(count)]
            self.lines.append(
                f"{', '.join(names)} = Split <axis = {self.choose(1, -1)}, num_outputs = {count}> ({value})"
            )
            return names
        names = []
        for part in range(count):
            start, end, axis = (self.constant(np.array([number])) for number in (part * HIDDEN, (part + 1) * HIDDEN, 1))
            names.append(self.node(f"Slice ({value}, {start}, {end}, {axis})"))
        return names

    def gates(self, x, matrix, bias, *, projected):
        """The products of every gate with ``x``, stacked or one by one."""
        count = len(GATES[self.cell])
        if projected:
            if self.flag():
                stacked = self.product("x", matrix, bias, outside=True)
                self.inputs.append((stacked, "d", count * HIDDEN))
                return self.parts("d", count)
            for part in range(count):
                rows = slice(part * HIDDEN, (part + 1) * HIDDEN)
                hoisted = self.product("x", matrix[rows], None if bias is None else bias[rows], outside=True)
                self.inputs.append((hoisted, f"d{part}", HIDDEN))
            return [f"d{part}" for part in range(count)]
        if self.flag():
            return self.parts(self.product(x, matrix, bias), count)
        rows = [slice(part * HIDDEN, (part + 1) * HIDDEN) for part in range(count)]
        return [self.product(x, matrix[one], None if bias is None else bias[one]) for one in rows]

    def mixture(self, z, n, h):
        one = self.constant(np.float32(1.0) if self.flag() else np.ones((1, HIDDEN), np.float32))
        form = self.choose("both", "towards_n", "towards_h", "difference")
        if form == "both":
            return self.sum([self.both("Mul", self.node(f"Sub ({one}, {z})"), n), self.both("Mul", z, h)])
        if form == "towards_n":
            moved = self.both("Mul", self.node(f"Sub ({one}, {z})"), self.node(f"Sub ({n}, {h})"))
            return self.sum([h, moved])
        if form == "towards_h":
            return self.sum([n, self.both("Mul", z, self.node(f"Sub ({h}, {n})"))])
        return self.node(f"Sub ({n}, {self.both('Mul', z, self.node(f'Sub ({n}, {h})'))})")


def write(writer):
    """The body of one step and the names of the new states."""
    cell, weights = writer.cell, writer.weights
    projected, shared = writer.flag(), writer.flag()
    # Both biases may be added at the input; that of the GRU's candidate is gated.
    first, second = weights["b"], weights["c"]
    if shared and cell != "GRU":
        first, second = first + second, None
    h = "h"
    layout = writer.layout
    if layout == "leading":
        h = writer.node(f"Squeeze (h, {writer.constant(np.array([0]))})")
    elif layout == "columns":
        h = writer.node("Transpose <perm = [1, 0]> (h)")
    from_x = writer.gates("x_t", weights["u"], first, projected=projected)
    from_h = writer.gates(h, weights["w"], second, projected=False)
    if cell == "RNN":
        new = [writer.node(f"Tanh ({writer.sum([from_x[0], from_h[0]])})")]
    elif cell == "GRU":
        r, z = (writer.node(f"Sigmoid ({writer.sum([from_x[gate], from_h[gate]])})") for gate in (0, 1))
        n = writer.node(f"Tanh ({writer.sum([from_x[2], writer.both('Mul', r, from_h[2])])})")
        new = [writer.mixture(z, n, h)]
    else:
        sums = [writer.sum([from_x[gate], from_h[gate]]) for gate in range(4)]
        i, f, g, o = (
            writer.node(f"{function} ({value})")
            for function, value in zip(("Sigmoid", "Sigmoid", "Tanh", "Sigmoid"), sums, strict=True)
        )
        memory = writer.sum([writer.both("Mul", f, "c"), writer.both("Mul", i, g)])
        new = [writer.both("Mul", o, writer.node(f"Tanh ({memory})")), memory]
    shown = new[0]
    if layout == "leading":
        new[0] = writer.node(f"Unsqueeze ({new[0]}, {writer.constant(np.array([0]))})")
    elif layout == "columns":
        new[0] = writer.node("Transpose <perm = [1, 0]> (" + new[0] + ")")
    return new, shown


SHAPES = {"rows": f"N, {HIDDEN}", "leading": f"1, N, {HIDDEN}", "columns": f"{HIDDEN}, N"}
ZEROS = {"rows": [2, HIDDEN], "leading": [1, 2, HIDDEN], "columns": [HIDDEN, 2]}


def model_of(writer):
    """A model of ONNX text around the body; its output is every state, and the last one in the body's layout."""
    writer.layout = writer.choose(*SHAPES)
    new, shown = write(writer)
    names, zeros = ["h", "c"][: len(new)], [ZEROS[writer.layout], ZEROS["rows"]][: len(new)]
    shapes = [SHAPES[writer.layout], SHAPES["rows"]][: len(new)]
    order = list(range(len(new)))
    if writer.flag():
        order.reverse()
    inputs = writer.inputs or [("x", "x_t", INPUTS)]
    results = [f"r{place}" for place in order]
    writer.lines.append(f"y = Identity ({shown})")
    scanned = ", ".join(f"float[N, {width}] {name}" for _, name, width in inputs)
    starts = [f"start{place}" for place in range(len(new))]
    constants = {name: np.zeros(zero, np.float32) for name, zero in zip(starts, zeros, strict=True)}
    text = f"""<ir_version: 8, opset_import: ["": 18]>
    loop (float[T, 2, {INPUTS}] x) => (float[T, 2, {HIDDEN}] ys, float[{shapes[0].replace("N", "2")}] r0) {{
        {" ".join(writer.outside)}
        {", ".join(results)}, ys = Scan <num_scan_inputs = {len(inputs)}, body = step (
            {", ".join(f"float[{shapes[place]}] {names[place]}" for place in order)}, {scanned}
        ) => (
            {", ".join(f"float[{shapes[place]}] {new[place]}" for place in order)}, float[N, {HIDDEN}] y
        ) {{ {" ".join(writer.lines)} }}> ({", ".join(starts[place] for place in order)},
            {", ".join(name for name, _, _ in inputs)})
    }}"""
    model = onnx.parser.parse_model(text)
    for name, array in {**writer.constants, **constants}.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(array), name))
    onnx.checker.check_model(model)
    return model


def parameters(captured):
    """Of the only recurrent layer."""
    (node,) = [node for node in captured.model.graph.node if node.op_type in {*GATES, "FastRNN", "FastGRNN"}]
    tensors = {one.name: onnx.numpy_helper.to_array(one) for one in captured.model.graph.initializer}
    return node, [tensors[name] for name in node.input[1:]]


def check_weights(cell, found, weights):
    """The layer's weights are those that the body was written with."""
    bias = weights["b"] + weights["c"]
    expected = [weights["u"], weights["w"], bias]
    if cell == "GRU":
        bias[2 * HIDDEN :] = weights["b"][2 * HIDDEN :]
        expected.append(weights["c"][2 * HIDDEN :])
    assert len(found) == len(expected)
    for array, known in zip(found, expected, strict=True):
        np.testing.assert_allclose(array, known, atol=1e-6)


@pytest.mark.parametrize("cell", GATES)
@settings(max_examples=40)
@given(data=st.data())
def test_every_way_to_write_a_cell_is_the_same_layer(tmp_path_factory, cell, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    weights = weights_of(rng, cell)
    model = model_of(Writer(data.draw, cell, weights))
    path = tmp_path_factory.mktemp("loop") / "model.onnx"
    path.write_bytes(model.SerializeToString())
    captured = capture(path, {"x": rng.random((4, 6, INPUTS))}, time_axis=0)
    assert [node.op_type for node in captured.model.graph.node if node.op_type not in {"Unsqueeze", "Transpose"}] == [
        cell
    ]
    node, found = parameters(captured)
    assert node.input[0] == "x"
    check_weights(cell, found, weights)


def scan_file(
    onnx_file, step, arrays, *, states="h", x="float[T, 2, 3] x", scanned="x", attributes="", body="", width=HIDDEN
):
    """A file with one Scan; ``step`` writes ``new_<state>`` and ``y``."""
    names = states.split()
    shapes = {name: arrays[f"start_{name}"].shape for name in names}
    typed = {name: f"float[{', '.join(map(str, shape))}]" for name, shape in shapes.items()}
    parameters = ", ".join([*(f"{typed[name]} {name}" for name in names), body or "float[2, 3] x_t"])
    results = ", ".join([*(f"{typed[name]} new_{name}" for name in names), f"float[2, {width}] y"])
    return onnx_file(
        f"""<ir_version: 8, opset_import: ["": 18]>
        loop ({x}) => (float[A, B, {width}] ys) {{
            {", ".join(f"last_{name}" for name in names)}, ys = Scan <
                num_scan_inputs = {len(scanned.split(","))}{attributes}, body = step ({parameters}) => ({results}) {{ {step} }}
            > ({", ".join(f"start_{name}" for name in names)}, {scanned})
        }}""",
        arrays,
    )


def arrays_of(rng, **shapes):
    arrays = {name: rng.normal(size=shape).astype(np.float32) / 2 for name, shape in shapes.items()}
    return arrays | {"start_h": np.zeros((2, HIDDEN), np.float32), "one": np.array(1.0, np.float32)}


def test_keras_gru_with_reset_after(rng, onnx_file, operators):
    """As Keras writes the cell: gates z, r, h of one kernel, ``h' = z h + (1 - z) hh``, both biases."""
    arrays = arrays_of(rng, kernel=(3, 15), recurrent_kernel=(5, 15), bias=15, recurrent_bias=15)
    path = scan_file(
        onnx_file,
        """matrix_x = MatMul (x_t, kernel)  biased_x = Add (matrix_x, bias)
        x_z, x_r, x_h = Split <axis = -1, num_outputs = 3> (biased_x)
        matrix_inner = MatMul (h, recurrent_kernel)  inner = Add (matrix_inner, recurrent_bias)
        h_z, h_r, h_h = Split <axis = -1, num_outputs = 3> (inner)
        a = Add (x_z, h_z)  z = Sigmoid (a)  b = Add (x_r, h_r)  r = Sigmoid (b)
        gated = Mul (r, h_h)  c = Add (x_h, gated)  hh = Tanh (c)
        kept = Mul (z, h)  rest = Sub (one, z)  added = Mul (rest, hh)
        new_h = Add (kept, added)  y = Identity (new_h)""",
        arrays,
    )
    captured = capture(path, {"x": rng.random((2, 6, 3))}, time_axis=0)
    assert operators(captured) == ["GRU:reset_after"]
    _, (_, recurrent, _, recurrent_bias) = parameters(captured)
    z, r, n = np.split(arrays["recurrent_kernel"].T, 3)
    np.testing.assert_allclose(recurrent, np.concatenate([r, z, n]), atol=1e-6)
    np.testing.assert_allclose(recurrent_bias, arrays["recurrent_bias"][10:], atol=1e-6)


def test_a_gate_that_lets_the_candidate_in(rng, onnx_file, operators):
    """Cho's paper and cuDNN differ in what z means: ``h' = (1 - z) h + z n`` has the gate's sign turned."""
    arrays = arrays_of(rng, u=(3, 15), w=(5, 15), b=15)
    path = scan_file(
        onnx_file,
        """gx = Gemm (x_t, u, b)  gh = MatMul (h, w)
        x_r, x_z, x_n = Split <axis = 1, num_outputs = 3> (gx)  h_r, h_z, h_n = Split <axis = 1, num_outputs = 3> (gh)
        a = Add (x_z, h_z)  z = Sigmoid (a)  c = Add (x_r, h_r)  r = Sigmoid (c)
        gated = Mul (r, h_n)  d = Add (x_n, gated)  n = Tanh (d)
        rest = Sub (one, z)  kept = Mul (rest, h)  added = Mul (z, n)  new_h = Add (kept, added)  y = Identity (new_h)""",
        arrays,
    )
    captured = capture(path, {"x": rng.random((2, 6, 3))}, time_axis=0)
    assert operators(captured) == ["GRU:reset_after"]
    _, (_, recurrent, _, _) = parameters(captured)
    np.testing.assert_allclose(recurrent[5:10], -arrays["w"].T[5:10], atol=1e-6)


LSTM_STEP = """joined = Concat <axis = 1> (x_t, h)  sums = Gemm (joined, kernel, bias)
    a_i, a_f, a_c, a_o = Split <axis = 1, num_outputs = 4> (sums)
    i = Sigmoid (a_i)  f = Sigmoid (a_f)  g = Tanh (a_c)  o = Sigmoid (a_o)
    kept = Mul (f, c)  added = Mul (i, g)  new_c = Add (kept, added)  shown = Tanh (new_c)  new_h = Mul (o, shown)"""


def lstm_arrays(rng):
    return arrays_of(rng, kernel=(8, 20), bias=20) | {"start_c": np.zeros((2, HIDDEN), np.float32)}


def test_one_kernel_for_the_input_beside_the_state(rng, onnx_file, operators):
    """TensorFlow's LSTMCell multiplies [x, h] by one kernel."""
    arrays = lstm_arrays(rng)
    path = scan_file(onnx_file, f"{LSTM_STEP} y = Identity (new_h)", arrays, states="c h")
    captured = capture(path, {"x": rng.random((2, 6, 3))}, time_axis=0)
    assert operators(captured) == ["LSTM:zeros"]
    _, (u, w, _) = parameters(captured)
    np.testing.assert_allclose(u, arrays["kernel"][:3].T, atol=1e-6)
    np.testing.assert_allclose(w, arrays["kernel"][3:].T, atol=1e-6)


def test_two_cells_in_one_loop_with_a_layer_before_and_behind(rng, onnx_file, operators):
    arrays = arrays_of(rng, v=(3, 4), u=(4, 5), w=(5, 5), w2=(5, 5), u2=(5, 5), head=(5, 2), b=2)
    path = scan_file(
        onnx_file,
        """e = MatMul (x_t, v)  features = Relu (e)
        a = MatMul (features, u)  c = MatMul (h, w)  d = Add (a, c)  new_h = Tanh (d)
        f = MatMul (new_h, u2)  i = MatMul (g, w2)  j = Add (f, i)  new_g = Relu (j)
        k = Gemm (new_g, head, b)  y = Tanh (k)""",
        arrays | {"start_g": np.zeros((2, HIDDEN), np.float32)},
        states="g h",
        width=2,
    )
    captured = capture(path, {"x": rng.random((2, 6, 3))}, time_axis=0)
    assert operators(captured) == ["Linear:no_bias", "Relu", "RNN:tanh", "RNN:relu", "Linear:bias", "Tanh"]


def test_several_inputs_stand_side_by_side(rng, onnx_file, operators):
    arrays = arrays_of(rng, u=(3, 5), v=(2, 5), w=(5, 5))
    path = scan_file(
        onnx_file,
        "a = MatMul (h, w)  c = MatMul (x_t, u)  d = MatMul (z_t, v)  e = Sum (a, c, d)  new_h = Tanh (e)  y = Identity (new_h)",
        arrays,
        x="float[T, 2, 3] x, float[T, 2, 2] z",
        scanned="x, z",
        body="float[2, 3] x_t, float[2, 2] z_t",
    )
    captured = capture(path, {"x": rng.random((2, 6, 3)), "z": rng.random((2, 6, 2))}, time_axis=0)
    assert operators(captured) == ["Concat", "RNN:tanh"]


def test_axes_of_the_sequences(rng, onnx_file, operators):
    """A batch-first sequence read and written along axis 1."""
    path = scan_file(
        onnx_file,
        "a = MatMul (h, w)  c = MatMul (x_t, u)  d = Add (a, c)  new_h = Tanh (d)  y = Identity (new_h)",
        arrays_of(rng, u=(3, 5), w=(5, 5)),
        x="float[2, T, 3] x",
        attributes=", scan_input_axes = [1], scan_output_axes = [-2]",
    )
    captured = capture(path, {"x": rng.random((2, 6, 3))})
    assert operators(captured) == ["Transpose", "RNN:tanh", "Transpose"]
    assert captured.inputs[0].shape == ("batch", "time", 3)


def test_a_low_rank_product_and_weights_that_are_carried(rng, onnx_file, operators):
    """torch's scan hands weights on as states that never change; two matrices in a row are one."""
    arrays = arrays_of(rng, u=(3, 5), start_w=(5, 2), v=(2, 5))
    path = scan_file(
        onnx_file,
        """a = MatMul (h, w)  low = MatMul (a, v)  c = MatMul (x_t, u)  d = Sub (c, low)  new_h = Tanh (d)
        new_w = Identity (w)  y = Identity (new_h)""",
        arrays,
        states="h w",
    )
    captured = capture(path, {"x": rng.random((2, 6, 3))}, time_axis=0)
    assert operators(captured) == ["RNN:tanh"]
    _, (_, recurrent, _) = parameters(captured)
    np.testing.assert_allclose(recurrent, -(arrays["start_w"] @ arrays["v"]).T, atol=1e-6)


def test_gates_as_an_axis_of_their_own(rng, onnx_file, operators):
    """Reshape to [batch, gates, units], and single gates taken out of it."""
    path = scan_file(
        onnx_file,
        """gx = MatMul (x_t, u)  gh = MatMul (h, w)  sx = Reshape (gx, shape)  sh = Reshape (gh, shape)
        x_r = Gather <axis = 1> (sx, first)  h_r = Gather <axis = 1> (sh, first)
        x_z = Gather <axis = 1> (sx, second)  h_z = Gather <axis = 1> (sh, second)
        x_n = Gather <axis = 1> (sx, third)  h_n = Gather <axis = 1> (sh, third)
        a = Add (x_r, h_r)  r = Sigmoid (a)  c = Add (x_z, h_z)  z = Sigmoid (c)
        d = Mul (r, h_n)  e = Add (d, x_n)  n = Tanh (e)
        f = Sub (h, n)  g = Mul (z, f)  new_h = Add (g, n)  y = Identity (new_h)""",
        arrays_of(rng, u=(3, 15), w=(5, 15))
        | {"shape": np.array([2, 3, 5]), "first": np.array(0), "second": np.array(1), "third": np.array(2)},
    )
    assert operators(capture(path, {"x": rng.random((2, 6, 3))}, time_axis=0)) == ["GRU:reset_after"]


RNN_SUM = "a = MatMul (h, w)  c = MatMul (x_t, u)  d = Add (a, c)"


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (
            f"{RNN_SUM} e = Elu (d)  new_h = Identity (e)  y = Identity (new_h)",
            r"h' = a1, where a1 = Elu of \(h, x_t\)",
        ),
        (f"{RNN_SUM} e = Elu (d)  new_h = Add (e, h)  y = Identity (new_h)", r"h' = a1 \+ h, where a1 = Elu"),
        (f"{RNN_SUM} new_h = Tanh (d)  y = Identity (h)", "scan output y is h, which reads h of every step"),
        (f"{RNN_SUM} new_h = Tanh (d)  y = Mul (new_h, x_t2)", "x_t2 comes from outside of the loop"),
        ("a = MatMul (h, w)  new_h = Tanh (a)  y = Identity (new_h)", "h' = a1, where a1 = Tanh of"),
        (f"{RNN_SUM} e = Softmax (d)  new_h = Identity (e)  y = Identity (new_h)", r"state h: Softmax in the step"),
        (f"{RNN_SUM} e = Slice (h, start, end, axis)  new_h = Add (d, e) y = Identity (new_h)", "single samples"),
    ],
)
def test_bodies_that_are_refused(rng, onnx_file, step, words):
    arrays = arrays_of(rng, u=(3, 5), w=(5, 5)) | {
        "start": np.array([0]),
        "end": np.array([1]),
        "axis": np.array([0]),
    }
    x = "float[T, 2, 3] x"
    samples = {"x": rng.random((2, 6, 3))}
    if "x_t2" in step:
        x, samples["x_t2"] = f"{x}, float[2, 5] x_t2", rng.random((2, 5))
    path = scan_file(onnx_file, step, arrays, x=x)
    with pytest.raises(UnsupportedModelError, match=rf"node .*\(Scan\): .*{words}.*LSTM: c' = f c"):
        capture(path, samples, time_axis=0)


def test_cell_states_of_every_step_are_refused(rng, onnx_file):
    path = scan_file(onnx_file, f"{LSTM_STEP} y = Identity (new_c)", lstm_arrays(rng), states="h c")
    with pytest.raises(UnsupportedModelError, match=r"scan output y is .*which reads h, c of every step"):
        capture(path, {"x": rng.random((2, 6, 3))}, time_axis=0)


@pytest.mark.parametrize("written", [0, 1])
def test_a_sequence_that_is_read_backwards(rng, onnx_file, operators, written):
    step = f"{RNN_SUM} new_h = Tanh (d)  y = Identity (new_h)"
    attributes = f", scan_input_directions = [1], scan_output_directions = [{written}]"
    path = scan_file(onnx_file, step, arrays_of(rng, u=(3, 5), w=(5, 5)), attributes=attributes)
    captured = capture(path, {"x": rng.random((2, 6, 3))}, time_axis=0)
    assert operators(captured) == ["Slice", "RNN:tanh", *["Slice"] * written]


def test_keras_gru_without_reset_after(rng, onnx_file, operators):
    """The gated state is multiplied by the candidate's kernel."""
    arrays = arrays_of(rng, kernel=(3, 15), gates=(5, 10), candidate=(5, 5), bias=15)
    path = scan_file(
        onnx_file,
        """matrix_x = MatMul (x_t, kernel)  biased = Add (matrix_x, bias)
        x_z, x_r, x_h = Split <axis = -1, num_outputs = 3> (biased)
        inner = MatMul (h, gates)  h_z, h_r = Split <axis = -1, num_outputs = 2> (inner)
        a = Add (x_z, h_z)  z = Sigmoid (a)  b = Add (x_r, h_r)  r = Sigmoid (b)
        gated = Mul (r, h)  product = MatMul (gated, candidate)  c = Add (x_h, product)  hh = Tanh (c)
        kept = Mul (z, h)  rest = Sub (one, z)  added = Mul (rest, hh)
        new_h = Add (kept, added)  y = Identity (new_h)""",
        arrays,
    )
    captured = capture(path, {"x": rng.random((2, 6, 3))}, time_axis=0)
    assert operators(captured) == ["GRUResetBefore:reset_before"]


@pytest.mark.parametrize(
    ("candidate", "overload"),
    [("Relu (d)", "rectifier"), ("LeakyRelu <alpha = 0.25> (d)", "rectifier"), ("Tanh (d)", "tanh")],
)
def test_light_gated_units(rng, onnx_file, operators, candidate, overload):
    path = scan_file(
        onnx_file,
        f"""{RNN_SUM} n = {candidate}
        e = MatMul (h, wz)  f = MatMul (x_t, uz)  g = Add (e, f)  z = Sigmoid (g)
        i = Sub (h, n)  k = Mul (z, i)  new_h = Add (n, k)  y = Identity (new_h)""",
        arrays_of(rng, u=(3, 5), w=(5, 5), uz=(3, 5), wz=(5, 5)),
    )
    assert operators(capture(path, {"x": rng.random((2, 6, 3))}, time_axis=0)) == [f"LiGRU:{overload}"]


def test_fast_rnn(rng, onnx_file, operators):
    path = scan_file(
        onnx_file,
        f"""{RNN_SUM} e = Add (d, b)  n = Tanh (e)  f = Mul (alpha, n)  g = Mul (h, beta)
        new_h = Add (f, g)  y = Identity (new_h)""",
        arrays_of(rng, u=(3, 5), w=(5, 5), b=5) | {"alpha": np.float32(0.25), "beta": np.float32(0.875)},
    )
    captured = capture(path, {"x": rng.random((2, 6, 3))}, time_axis=0)
    assert operators(captured) == ["FastRNN:tanh"]
    np.testing.assert_allclose(parameters(captured)[1][3], [0.25, 0.875])


def test_fast_grnn_with_the_product_before_the_loop(rng, onnx_file, operators):
    arrays = arrays_of(rng, u=(3, 5), c=5, w=(5, 5), bg=5, bu=5)
    path = onnx_file(
        """<ir_version: 8, opset_import: ["": 18]>
        loop (float[T, 2, 3] x) => (float[T, 2, 5] ys) {
            product = MatMul (x, u)  driven = Add (product, c)
            last, ys = Scan <num_scan_inputs = 1, body = step (float[2, 5] h, float[2, 5] d) => (
                float[2, 5] new_h, float[2, 5] y) {
                a = MatMul (h, w)  e = Add (a, d)
                f = Add (e, bg)  z = Sigmoid (f)  g = Add (e, bu)  n = Tanh (g)
                rest = Sub (one, z)  scaled = Mul (rest, zeta)  weight = Add (scaled, nu)
                fresh = Mul (weight, n)  kept = Mul (z, h)  new_h = Add (fresh, kept)  y = Identity (new_h)
            }> (start_h, driven)
        }""",
        arrays | {"zeta": np.float32(0.75), "nu": np.float32(0.0625)},
    )
    captured = capture(path, {"x": rng.random((2, 6, 3))}, time_axis=0)
    assert operators(captured) == ["FastGRNN:sigmoid_tanh"]
    _, (_, _, bias, mix) = parameters(captured)
    np.testing.assert_allclose(mix, [0.75, 0.0625], atol=1e-6)
    np.testing.assert_allclose(bias, np.concatenate([arrays["bg"], arrays["bu"]]) + np.tile(arrays["c"], 2), atol=1e-6)


@pytest.mark.parametrize("shape", ["1, 2, 5", "2, 1, 5"])
def test_initial_states_in_the_layout_of_the_loop(rng, onnx_file, operators, shape):
    axis = shape.split(", ").index("1")
    path = onnx_file(
        f"""<ir_version: 8, opset_import: ["": 18]>
        loop (float[T, 2, 3] x, float[2, 5] start) => (float[2, 5] last, float[T, {shape}] ys) {{
            axes = Constant <value_ints = [{axis}]> ()
            begin = Unsqueeze (start, axes)
            end, ys = Scan <num_scan_inputs = 1, body = step (float[{shape}] h, float[2, 3] x_t) => (
                float[{shape}] new_h, float[{shape}] y) {{
                xs = Unsqueeze (x_t, axes)
                a = MatMul (h, w)  c = MatMul (xs, u)  d = Add (a, c)  new_h = Tanh (d)  y = Identity (new_h)
            }}> (begin, x)
            last = Squeeze (end, axes)
        }}""",
        arrays_of(rng, u=(3, 5), w=(5, 5)),
    )
    captured = capture(path, {"x": rng.random((2, 6, 3)), "start": rng.random((2, 5))}, time_axis=0)
    assert operators(captured) == ["RNN:tanh_h0", "Unsqueeze"]


LOOP = """<ir_version: 8, opset_import: ["": 18]>
    loop (float[T, 2, 3] x) => (float[A, 2, 5] ys, float[2, 5] last) {{
        sizes = Shape (x)
        trips = {trips}
        on = Constant <value = bool {{{condition}}}> ()
        last, ys = Loop <body = step (int64 i, bool cond, float[2, 5] h) => (bool next, float[2, 5] new_h, float[2, 5] y) {{
            next = Identity (cond)
            x_t = Gather <axis = 0> (x, i)
            a = MatMul (h, w)  c = MatMul (x_t, u)  d = Add (a, c)  {step}
            y = Identity (new_h)
        }}> (trips, on, start_h)
    }}"""


def loop_file(rng, onnx_file, *, trips="Gather <axis = 0> (sizes, zero)", condition="1", step="new_h = Tanh (d)"):
    arrays = arrays_of(rng, u=(3, 5), w=(5, 5)) | {"zero": np.array(0), "axis": np.array(2)}
    return onnx_file(LOOP.format(trips=trips, condition=condition, step=step), arrays)


def test_a_loop_over_the_steps(rng, onnx_file, operators):
    captured = capture(loop_file(rng, onnx_file), {"x": rng.random((2, 6, 3))}, time_axis=0)
    assert operators(captured) == ["RNN:tanh"]
    assert captured.inputs[0].shape == ("time", "batch", 3)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"trips": "Gather <axis = 0> (sizes, axis)"}, "the number of trips is not the length of x"),
        ({"condition": "0"}, "it may end before its last trip"),
        ({"step": "e = Cast <to = 1> (i)  f = Mul (d, e)  new_h = Tanh (f)"}, "i comes from outside of the loop"),
        ({"step": "new_h = Elu (d)"}, r"state h: the step computes h' = a1, where a1 = Elu"),
    ],
)
def test_loops_that_are_refused(rng, onnx_file, change, words):
    with pytest.raises(UnsupportedModelError, match=rf"node .*\(Loop\): .*{words}"):
        capture(loop_file(rng, onnx_file, **change), {"x": rng.random((2, 6, 3))}, time_axis=0)
