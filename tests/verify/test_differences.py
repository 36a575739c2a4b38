"""Deliberately wrong models and runtimes: verify finds the node, the tensor, the step, the index and both integers."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from qdeploy.runtime.bundle import BundleFiles
from qdeploy.runtime.engines import open_engine
from qdeploy.runtime.errors import CheckFailedError
from qdeploy.runtime.ops import operator_name
from qdeploy.runtime.standard.registry import OPERATORS
from qdeploy.verify import verify


def changed(model: onnx.ModelProto, operator: str, tensor: str, node: str) -> onnx.ModelProto:
    """A copy in whose bodies of ``operator`` the node that gives ``tensor`` is another one."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    places = [
        inner
        for function in copy.functions
        if operator_name(function.name) == operator
        for inner in function.node
        if tensor in inner.output
    ]
    assert places
    for place in places:
        place.CopyFrom(parser.parse_node(node))
    return copy


def test_a_body_without_its_rounding_constant(make_bundle, models):
    right = models["quaternion"]
    files = make_bundle(changed(right, "Linear", "q_c", "q_c = Identity(q_c0)"), reference=right)
    report = verify(files, samples=50)
    assert not report.passed
    difference = report.difference
    assert difference is not None
    assert (difference.node, difference.operator, difference.tensor) == ("first", "Linear", "a")
    # Without the half, floor takes the place of rounding: one less.
    assert difference.found == difference.expected - 1
    assert difference.sample == difference.index[0]
    assert difference.step is None
    assert "the body of Linear" in difference.body
    assert "does not compute the operator's contract" in difference.body
    with pytest.raises(CheckFailedError, match=r"node first \(Linear\), tensor a, sample 0"):
        report.raise_if_failed()
    # All voices read the same wrong body.
    assert [v.name for v in report.voices if not v.mismatched_integers] == ["numpy, golden and in pieces"]


def test_a_rounding_constant_that_is_one_too_small_shows_in_ties_only(make_bundle, models):
    """M = 1, s = 7: a tie is every 128th accumulator; random search over many inputs meets it."""
    right = onnx.ModelProto()
    right.CopyFrom(models["quaternion"])
    head = right.graph.node[-1]
    for attribute in head.attribute:
        if attribute.name == "shift":
            attribute.i = 7
    for tensor in right.graph.initializer:
        if tensor.name == "n":
            tensor.CopyFrom(numpy_helper.from_array(np.array([1], np.int32), "n"))
    wrong = onnx.ModelProto()
    wrong.CopyFrom(right)
    for function in wrong.functions:
        index = next((i for i, n in enumerate(function.node) if "q_c" in n.output), None)
        if index is not None:
            function.node[index].CopyFrom(parser.parse_node("q_c = Sub(q_before, q_one)"))
            function.node.insert(index, parser.parse_node("q_before = Add(q_c0, q_half)"))
    # Of the first layer's 12 multipliers of 15 bits, hardly one meets a tie.
    report = verify(make_bundle(wrong, reference=right), runtimes=["onnxruntime"], samples=1000)
    difference = report.difference
    assert difference is not None
    assert difference.node == "head"
    assert difference.found == difference.expected - 1
    assert report.mismatched_integers < report.compared_integers / 50


@pytest.mark.parametrize("kind", ["last state", "wide state", "every step"])
def test_a_wrong_loop_names_the_step(make_bundle, models, kind):
    right = models[kind]
    files = make_bundle(changed(right, "RNN", "q_c", "q_c = Identity(q_c0)"), reference=right)
    report = verify(files, samples=20)
    difference = report.difference
    assert difference is not None
    assert difference.node == "rnn"
    if kind == "every step":
        assert difference.tensor == "y"
        assert difference.index[:2] == (difference.step, difference.sample)
        assert difference.step == 0
    else:
        # Only the file as shipped has the body that gives the last state alone.
        wrong = [voice.name for voice in report.voices if voice.mismatched_integers]
        assert wrong == ["bodies, file as shipped", "onnxruntime, file as shipped"]
        assert difference.tensor == "rnn_state_out"


@pytest.mark.parametrize(("kind", "tensor"), [("quaternion", "k"), ("every step", "W"), ("quaternion", "entries")])
def test_a_wrong_weight_or_table_entry_is_what_the_golden_vectors_are_for(make_bundle, models, kind, tensor):
    """Every reading of the file takes the wrong value alike; the machine that exported did not."""
    right = models[kind]
    wrong = onnx.ModelProto()
    wrong.CopyFrom(right)
    for proto in wrong.graph.initializer:
        if proto.name == tensor:
            array = numpy_helper.to_array(proto).copy()
            array.flat[:: max(1, array.size // 64)] ^= 3
            proto.CopyFrom(numpy_helper.from_array(array, tensor))
    report = verify(make_bundle(wrong, reference=right), samples=10)
    assert not report.passed
    difference = report.difference
    assert difference is not None
    assert difference.case == "golden/digits"
    assert difference.judge == "the golden vector"
    assert f"the golden vector gives {difference.expected}" in "\n".join(report.lines())


def test_a_wrong_operator_inside_a_loop_is_named(bundles, monkeypatch):
    """The executor's Add goes wrong at the seventh step of every loop; onnxruntime's does not."""
    build = OPERATORS["Add"]

    def wrong(node):
        kernel, calls = build(node), [0]

        def run(a, b):
            y = kernel(a, b)
            if "Scan" in node.label:
                calls[0] += 1
                if calls[0] % 9 == 7:
                    y = y + y.dtype.type(4000)
            return y

        return run

    monkeypatch.setitem(OPERATORS, "Add", wrong)
    report = verify(bundles["every step"], samples=4, case="golden")
    difference = report.difference
    assert difference is not None
    assert (difference.voice, difference.node, difference.step) == ("bodies", "rnn", 6)
    assert difference.body.startswith("Add (tensor acc")
    assert "in the loop, step 6" in difference.body
    assert [v.name for v in report.voices if v.mismatched_integers] == ["bodies"]


class _Flipped:
    """An engine whose result differs in one bit of one element of one tensor."""

    def __init__(self, engine, tensor, index):
        self.engine, self.name, self.version = engine, engine.name, engine.version
        self.tensor, self.index = tensor, index

    def run(self, feeds):
        results = self.engine.run(feeds)
        if self.tensor in results and results[self.tensor].shape > self.index:
            results[self.tensor][self.index] ^= 1
        return results


@pytest.mark.parametrize(
    ("tensor", "index", "sample", "step"),
    [
        ("y", (4, 1, 7), 1, 4),
        ("logits", (1, 3, 2), 1, 3),
        ("by_step", (8, 0, 0), 0, 8),
        ("rnn_state_out", (1, 5), 1, None),
    ],
)
def test_one_flipped_bit_is_found_where_it_is(bundles, monkeypatch, tensor, index, sample, step):
    monkeypatch.setattr(
        "qdeploy.boards.machine.open_engine",
        lambda name, model, **options: (
            _Flipped(open_engine(name, model, **options), tensor, index)
            if name == "onnxruntime"
            else open_engine(name, model, **options)
        ),
    )
    report = verify(bundles["every step"], runtimes=["onnxruntime"], samples=4, case="golden")
    difference = next(voice.difference for voice in report.voices if voice.name == "onnxruntime, plain, 1 thread")
    assert (difference.tensor, difference.index, difference.sample, difference.step) == (tensor, index, sample, step)
    assert difference.found == difference.expected ^ 1


def test_a_runtime_that_breaks_down_is_a_difference(bundles, monkeypatch):
    from qdeploy.runtime.errors import ContractError

    class Broken(_Flipped):
        def run(self, feeds):
            raise ContractError("onnxruntime failed while it ran: no memory")

    monkeypatch.setattr(
        "qdeploy.boards.machine.open_engine",
        lambda name, model, **options: Broken(open_engine(name, model, **options), "", ()),
    )
    report = verify(bundles["quaternion"], runtimes=["onnxruntime"], samples=4)
    assert not report.passed
    assert "could not run: onnxruntime failed while it ran: no memory" in "\n".join(report.lines())


def test_a_state_that_leaks_between_calls_is_found_by_the_pieces(bundles, monkeypatch):
    """A runtime that is right for whole sequences and wrong when a sequence comes in pieces."""

    class Forgetful(_Flipped):
        def run(self, feeds):
            if feeds["x"].shape[1] < 8:
                feeds = feeds | {"rnn_state": np.zeros_like(feeds["rnn_state"])}
            return self.engine.run(feeds)

    monkeypatch.setattr(
        "qdeploy.boards.machine.open_engine",
        lambda name, model, **options: Forgetful(open_engine(name, model, **options), "", ()),
    )
    report = verify(bundles["every step"], runtimes=["onnxruntime"], samples=4, case="cut")
    assert not report.passed
    assert report.difference.case == "cut/steps"


def test_the_command_repeats_the_difference(make_bundle, models):
    right = models["every step"]
    files = make_bundle(changed(right, "RNN", "q_c", "q_c = Identity(q_c0)"), reference=right)
    assert isinstance(files, BundleFiles)
    # The golden vectors are left aside, so that a random case is the first.
    report = verify(files, samples=300, seed=5, case="random")
    difference = report.difference
    assert difference is not None
    words = difference.command.split()
    assert words[:2] == ["qdeploy", "verify"]
    options = dict(zip(words[3::2], words[4::2], strict=True))
    assert options["--case"] == difference.case
    again = verify(
        files,
        case=options["--case"],
        seed=int(options["--seed"]),
        samples=int(options["--samples"]),
        runtimes=[options["--runtime"]],
    ).difference
    assert again is not None
    assert (again.node, again.tensor, again.index) == (difference.node, difference.tensor, difference.index)
    assert (again.expected, again.found) == (difference.expected, difference.found)
