"""Embeddings from torch and from ONNX files, with indices as inputs; and what of them is refused."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402, N812  # after the skip; as everybody calls it
from torch import nn  # noqa: E402  # after the skip

from qdeploy.capture import capture  # noqa: E402  # after the skip
from qdeploy.runtime.errors import InvalidInputError, UnsupportedModelError  # noqa: E402  # as above

ROWS, SIZE, UNITS, STEPS = 11, 4, 6, 7


class Tokens(nn.Module):
    """A table in front of what ``kind`` says."""

    def __init__(self, kind):
        super().__init__()
        self.kind = kind
        self.table = nn.Embedding(ROWS, SIZE, padding_idx=0)
        self.places = nn.Embedding(STEPS, SIZE)
        self.layer = nn.GRU(SIZE, UNITS, batch_first=True)
        self.wide = nn.GRU(SIZE + 2, UNITS, batch_first=True)
        self.cell = nn.GRUCell(SIZE, UNITS)
        self.tied = nn.Linear(SIZE, ROWS, bias=False)
        self.tied.weight = self.table.weight

    def forward(self, tokens, other=None):
        if self.kind == "functional":
            return self.layer(F.embedding(tokens, self.table.weight))[0]
        if self.kind == "beside floats":
            return self.wide(torch.cat([self.table(tokens), other], -1))[0]
        if self.kind == "two tables":
            return self.layer(self.table(tokens) + self.places(other))[0]
        if self.kind == "tied":
            return self.tied(self.table(tokens))
        if self.kind == "step in a loop":
            h = torch.zeros(tokens.shape[0], UNITS)
            for step in range(tokens.shape[1]):
                h = self.cell(self.table(tokens[:, step]), h)
            return h
        if self.kind == "computed":
            return self.layer(self.table(tokens % 3))[0]
        if self.kind == "one-hot":
            return self.layer(F.one_hot(tokens, ROWS).float() @ self.table.weight)[0]
        return self.layer(self.table(tokens))[0]


@pytest.fixture
def tokens(rng):
    return rng.integers(0, ROWS, (5, STEPS))


def captured_table(captured):
    """The names of the nodes that look up, and what each reads."""
    return {node.name: list(node.input) for node in captured.model.graph.node if node.op_type == "Embedding"}


@pytest.mark.parametrize("kind", ["plain", "step in a loop", "tied"])
def test_a_table_is_one_node_and_its_indices_an_input(kind, tokens, run):
    module = Tokens(kind).eval()
    captured = capture(module, {"tokens": tokens}, time_axis=1)
    assert list(captured_table(captured)) == ["table"]
    (spec,) = captured.inputs
    assert (spec.dtype, spec.shape, spec.time_axis, spec.index_count) == ("int64", ("batch", "time"), 1, ROWS)
    expected = module(torch.from_numpy(tokens)).detach().numpy()
    assert np.allclose(run(captured, {"tokens": tokens})["output"], expected, atol=1e-5)


def test_a_function_call_is_an_embedding_too(tokens):
    captured = capture(Tokens("functional").eval(), {"tokens": tokens})
    assert len(captured_table(captured)) == 1
    assert captured.inputs[0].index_count == ROWS


def test_indices_beside_floats(tokens, rng, run):
    module = Tokens("beside floats").eval()
    samples = {"tokens": tokens, "other": rng.random((5, STEPS, 2)).astype(np.float32)}
    captured = capture(module, samples)
    assert [(spec.dtype, spec.time_axis) for spec in captured.inputs] == [("int64", 1), ("float32", 1)]
    expected = module(torch.from_numpy(tokens), torch.from_numpy(samples["other"])).detach().numpy()
    assert np.allclose(run(captured, samples)["output"], expected, atol=1e-5)


def test_each_input_has_the_rows_of_its_own_table(tokens):
    places = np.tile(np.arange(STEPS, dtype=np.int32), (5, 1))
    captured = capture(Tokens("two tables").eval(), {"tokens": tokens, "other": places})
    assert {spec.name: (spec.dtype, spec.index_count) for spec in captured.inputs} == {
        "tokens": ("int64", ROWS),
        "other": ("int32", STEPS),
    }


def test_the_smaller_of_two_tables_bounds_the_indices(rng):
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.large, self.small = nn.Embedding(ROWS, SIZE), nn.Embedding(3, SIZE)

        def forward(self, x):
            return self.large(x) + self.small(x)

    assert capture(Both(), {"x": rng.integers(0, 3, (5, 2))}).inputs[0].index_count == 3


def test_one_index_a_sample(rng, run):
    module = nn.Sequential(nn.Embedding(ROWS, SIZE), nn.Linear(SIZE, 2))
    x = rng.integers(0, ROWS, 9).astype(np.uint8)
    captured = capture(module, {"x": x})
    assert (captured.inputs[0].dtype, captured.inputs[0].shape) == ("int64", ("batch",))
    expected = module(torch.from_numpy(x.astype(np.int64))).detach().numpy()
    assert np.allclose(run(captured, {"x": x})["output"], expected, atol=1e-6)


GATHER = """
<ir_version: 8, opset_import: ["": 18]>
g ({kind}[batch, time] x) => (float y) <float[11, 4] t, float[1, 24, 4] w, float[1, 24, 8] r>
{{
  a = Cast <to = 7> (x)
  p = Transpose <perm = [1, 0]> (a)
  e = Gather <axis = {axis}> (t, p)
  states, last = GRU <hidden_size = 8> (e, w, r)
  one = Constant <value = int64[1] {{0}}> ()
  y = Squeeze (last, one)
}}"""


def weights(rng):
    shapes = {"t": (ROWS, SIZE), "w": (1, 24, SIZE), "r": (1, 24, 8)}
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.mark.parametrize("kind", ["int32", "int64"])
def test_gather_of_constants(kind, rng, tokens, onnx_file, operators):
    captured = capture(onnx_file(GATHER.format(kind=kind, axis=0), weights(rng)), {"x": tokens})
    assert operators(captured) == ["Transpose", "Embedding", "GRUResetBefore:reset_before"]
    assert (captured.inputs[0].dtype, captured.inputs[0].index_count, captured.inputs[0].time_axis) == (kind, ROWS, 1)


def test_indices_of_another_kind_are_refused(rng, tokens, onnx_file):
    path = onnx_file(GATHER.format(kind="int64", axis=0), weights(rng))
    for samples, words in (
        (tokens.astype(np.float32), "input x is INT64 and the samples are float32, expected integers"),
        (tokens - 1, r"input x: found index -1 at \[\d, \d\], expected 0 … 10: the embedding's table has 11 rows"),
        (tokens + 1, r"found index 11 at"),
    ):
        with pytest.raises(InvalidInputError, match=words):
            capture(path, {"x": samples})
    with pytest.raises(
        UnsupportedModelError, match=r"indices come from x of type FLOAT, expected an input of type INT64"
    ):
        capture(onnx_file(GATHER.format(kind="float", axis=0), weights(rng)), {"x": tokens.astype(np.float32)})
    with pytest.raises(UnsupportedModelError, match=r"parts of constants \[11, 4\] along axis 1"):
        capture(onnx_file(GATHER.format(kind="int64", axis=1), weights(rng)), {"x": tokens % SIZE})


def test_integers_for_a_network_of_floats_are_refused(rng):
    for module in (nn.Linear(4, 2), nn.Sequential(nn.Flatten(), nn.Linear(4, 2))):
        with pytest.raises(
            InvalidInputError, match=r"integers are taken for indices of an embedding; .*astype\('float32'\)"
        ):
            capture(module, {"x": rng.integers(0, 255, (5, 4), np.uint8)})

    class Scaled(nn.Module):
        def forward(self, x):
            return torch.relu(x.float())

    with pytest.raises(
        UnsupportedModelError, match="reads the integer input x, expected that embeddings alone read it"
    ):
        capture(Scaled(), {"x": rng.integers(0, 255, (5, 4))})


@pytest.mark.parametrize(
    ("kind", "words"),
    [("computed", r"\(Mod\): reads the integer input tokens"), ("one-hot", "what one_hot and a product do")],
)
def test_computed_indices_are_refused(kind, words, tokens):
    with pytest.raises(UnsupportedModelError, match=words):
        capture(Tokens(kind).eval(), {"tokens": tokens})


def test_tables_that_change_or_sum_are_refused_by_name(tokens):
    with pytest.raises(
        UnsupportedModelError, match=r"layer 0 \(torch.nn.Embedding\): found max_norm=1.5, which changes the table"
    ):
        capture(nn.Sequential(nn.Embedding(ROWS, SIZE, max_norm=1.5)), {"x": tokens})
    with pytest.raises(UnsupportedModelError, match=r"EmbeddingBag\) is not supported; use Embedding, and mean or sum"):
        capture(nn.Sequential(nn.EmbeddingBag(ROWS, SIZE)), {"x": tokens})


def test_an_index_outside_is_named_before_anything_is_calibrated(tokens):
    tokens[4, 6] = ROWS
    with pytest.raises(InvalidInputError, match=r"sample input tokens: found index 11 at \[4, 6\]"):
        capture(Tokens("plain").eval(), {"tokens": tokens})
