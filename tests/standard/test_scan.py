"""Scan: states, scan inputs and outputs, axes, directions, capture, what runs once."""

from __future__ import annotations

import numpy as np
import pytest

from qdeploy.runtime.errors import ContractError

RUNNING_SUM = """g (int32[B] h, int32[T,B] x) => (int32[B] last, int32[T,B] all) {
    last, all = Scan <num_scan_inputs = 1, body = b (int32[B] s, int32[B] v) => (int32[B] t, int32[B] u) {
        t = Add(s, v)
        u = Identity(t)
    }> (h, x)
}"""


@pytest.mark.parametrize("steps", [1, 2, 9])
def test_running_sum(compare, steps):
    x = np.arange(steps * 3, dtype=np.int32).reshape(steps, 3)
    last, everything = compare(RUNNING_SUM, {"h": np.array([10, 20, 30], np.int32), "x": x})
    assert (everything[-1] == last).all()
    assert (last == np.array([10, 20, 30]) + x.sum(0)).all()


def test_two_states_two_inputs_three_outputs(compare):
    text = """g (int32[B] h, uint8[B] c, int32[T,B] x, uint8[T,B] m)
            => (int32[B] hn, uint8[B] cn, int32[T,B] a, uint8[T,B] b, int32[T,B] d) {
        hn, cn, a, b, d = Scan <num_scan_inputs = 2, body = s (h0, c0, xt, mt) => (h1, c1, at, bt, dt) {
            wide = Cast <to = 6> (c0)
            h1 = Add(h0, xt)
            c1 = BitwiseXor(c0, mt)
            at = Mul(h1, wide)
            bt = BitwiseAnd(c1, mt)
            dt = Sub(at, h0)
        }> (h, c, x, m)
    }"""
    rng = np.random.default_rng(0)
    feeds = {
        "h": rng.integers(-9, 9, 4, np.int32),
        "c": rng.integers(0, 255, 4, np.uint8),
        "x": rng.integers(-9, 9, (6, 4), np.int32),
        "m": rng.integers(0, 255, (6, 4), np.uint8),
    }
    compare(text, feeds)


def test_axes_and_directions(compare):
    """Batch-major data: time is axis 1 of the input and of the output; the second output is written backwards."""
    text = """g (int32[B] h, int32[B,T] x, int32[T,B] z) => (int32[B] n, int32[B,T] a, int32[T,B] b) {
        n, a, b = Scan <num_scan_inputs = 2, scan_input_axes = [1, 0], scan_output_axes = [1, 0],
                        scan_input_directions = [0, 1], scan_output_directions = [0, 1],
                        body = s (h0, xt, zt) => (h1, at, bt) {
            sum = Add(xt, zt)
            h1 = Add(h0, sum)
            at = Identity(h1)
            bt = Neg(h1)
        }> (h, x, z)
    }"""
    rng = np.random.default_rng(0)
    feeds = {
        "h": rng.integers(-9, 9, 2, np.int32),
        "x": rng.integers(-9, 9, (2, 5), np.int32),
        "z": rng.integers(-9, 9, (5, 2), np.int32),
    }
    # onnx.reference has neither axes nor directions.
    compare(text, feeds, reference=False)


def test_captures_outer_values_and_hoists_what_depends_on_them_only(body, compare):
    text = """g (int32[B] h, int32[T,B] x, int32[B] w) => (int32[B] n, int32[T,B] y) <int32[1] two = {2}> {
        n, y = Scan <num_scan_inputs = 1, body = s (h0, xt) => (h1, yt) {
            once = Mul(w, two)
            never = Mul(two, two)
            scaled = Mul(xt, once)
            shifted = Add(scaled, never)
            h1 = Add(h0, shifted)
            yt = Identity(h1)
        }> (h, x)
    }"""
    feeds = {
        "h": np.array([1, 2], np.int32),
        "x": np.arange(8, dtype=np.int32).reshape(4, 2),
        "w": np.array([3, -5], np.int32),
    }
    compare(text, feeds, reference=False)
    labels: list[str] = []
    body(text).run(feeds, trace=lambda label, _: labels.append(label))
    assert labels.count("Scan_0/Mul_0") == 1
    assert labels.count("Scan_0/Mul_1") == 0
    assert labels.count("Scan_0/Mul_2") == 4


def test_scan_in_scan(compare):
    text = """g (int32[B] h, int32[T,S,B] x) => (int32[B] n, int32[T,S,B] y) {
        n, y = Scan <num_scan_inputs = 1, body = outer (h0, xt) => (h1, yt) {
            h1, yt = Scan <num_scan_inputs = 1, body = inner (i0, xs) => (i1, ys) {
                first = Add(i0, xs)
                i1 = Add(first, h0)
                ys = Identity(i1)
            }> (h0, xt)
        }> (h, x)
    }"""
    x = np.arange(24, dtype=np.int32).reshape(3, 4, 2)
    compare(text, {"h": np.array([1, 2], np.int32), "x": x}, reference=False)


def test_no_steps_is_an_error(body):
    with pytest.raises(ContractError, match=r"Scan_0.*expected one length of at least 1"):
        body(RUNNING_SUM).run({"h": np.zeros(3, np.int32), "x": np.zeros((0, 3), np.int32)})


def test_a_state_that_changes_its_shape_is_an_error(body):
    text = RUNNING_SUM.replace("t = Add(s, v)", "t = Concat <axis = 0> (s, v)")
    with pytest.raises(ContractError, match=r"state 0 became int32\[6\] at step 0, expected int32\[3\]"):
        body(text).run({"h": np.zeros(3, np.int32), "x": np.zeros((2, 3), np.int32)})


def test_an_error_inside_the_loop_names_its_node(body):
    text = RUNNING_SUM.replace("t = Add(s, v)", "t = Div(s, v)")
    with pytest.raises(ContractError, match="node Scan_0/Div_0: division by 0"):
        body(text).run({"h": np.zeros(3, np.int32), "x": np.zeros((2, 3), np.int32)})


def test_the_declared_type_of_a_state_counts(body):
    with pytest.raises(ContractError, match="an initial state has type int8, the body declares int32"):
        body(
            RUNNING_SUM.replace("g (int32[B] h", "g (int8[B] h").replace("=> (int32[B] last", "=> (int32[B] last")
        ).run({"h": np.zeros(3, np.int8), "x": np.zeros((2, 3), np.int32)})
