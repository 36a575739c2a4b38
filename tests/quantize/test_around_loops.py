"""What stands around recurrent layers: residual sums, concatenations, gates, last, all and mean steps, several outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402  # after the skip

import qdeploy  # noqa: E402  # after the skip
from qdeploy.capture import capture  # noqa: E402  # after the skip
from qdeploy.runtime.errors import UnsupportedModelError  # noqa: E402  # after the skip

UNITS, STEPS = 8, 20
CELLS = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}


class Stack(nn.Module):
    """Two recurrent layers, and what ``kind`` makes of them."""

    def __init__(self, kind: str, cell: str) -> None:
        super().__init__()
        self.kind = kind
        self.first = CELLS[cell](UNITS, UNITS, batch_first=True)
        self.second = CELLS[cell](UNITS, UNITS, batch_first=True)
        self.gate = nn.Linear(UNITS, UNITS)
        self.dropout = nn.Dropout(0.5)
        width = {"concatenated": 3 * UNITS, "pooled": 3 * UNITS}.get(kind, UNITS)
        self.answer = nn.Linear(width, 4)

    def forward(self, x: Any) -> Any:
        h, _ = self.first(x)
        h = self.dropout(h)
        if self.kind == "residual":
            g, _ = self.second(h + x)
            return self.answer(g + h)
        g, _ = self.second(h)
        if self.kind == "concatenated":
            return self.answer(torch.cat([h, g, x], -1))
        if self.kind == "gated":
            return self.answer(g * torch.sigmoid(self.gate(x)))
        if self.kind == "pooled":
            return self.answer(torch.cat([g.mean(1), h.amax(1), g[:, -1]], -1))
        if self.kind == "kept axis":
            return self.answer(g.mean(1, keepdim=True)), torch.max(h, 1).values
        return self.answer(g), h, g[:, -1], h[:, -1]


KINDS = ("residual", "concatenated", "gated", "pooled", "kept axis", "several outputs")


def samples() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(16, STEPS, UNITS)).astype(np.float32)


def results(module: nn.Module, x: np.ndarray) -> list[np.ndarray]:
    with torch.no_grad():
        found = module(torch.from_numpy(x))
    return [part.numpy() for part in (found if isinstance(found, tuple) else (found,))]


@pytest.mark.parametrize(
    ("kind", "cell"), [*zip(KINDS, [*CELLS] * 2, strict=True), ("residual", "lstm"), ("concatenated", "rnn")]
)
def test_integers_follow_the_float_network(kind: str, cell: str, tmp_path: Path) -> None:
    """Every output is there, near the float one, and the same bits in every runtime, cut in any way."""
    torch.manual_seed(1)
    module = Stack(kind, cell).eval()
    x = samples()
    bundle = qdeploy.export_model(module, tmp_path / "bundle", calibration=x)
    assert bundle.verify(samples=4).passed
    found = bundle.run(x)
    expected = results(module, x)
    assert len(found) == len(expected)
    for integer, real in zip(found.values(), expected, strict=True):
        assert integer.shape == real.shape
        # 8-bit activations: about 1 % of the range, and sums of three of them.
        assert np.abs(integer - real).max() < 0.04 * np.abs(real).max()


@pytest.mark.parametrize("steps", [1, 2, 7, 33])
def test_a_mean_serves_every_length(steps: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Stack("pooled", "gru").eval()
    bundle = qdeploy.export_model(module, tmp_path / "bundle", calibration=samples())
    x = np.resize(samples(), (3, steps, UNITS))
    (real,) = results(module, x)
    (integer,) = bundle.run(x).values()
    assert np.abs(integer - real).max() < 0.04 * np.abs(real).max()


def test_outputs_of_whole_sequences_are_named_in_the_manifest(tmp_path: Path) -> None:
    """What is a mean over time does not come out of single steps, and verify must know."""
    bundle = qdeploy.export_model(Stack("kept axis", "rnn"), tmp_path / "bundle", calibration=samples())
    assert [output.extra.get("whole_sequence") for output in bundle.manifest.outputs] == [True, True]
    other = qdeploy.export_model(Stack("residual", "rnn"), tmp_path / "other", calibration=samples())
    assert [output.extra for output in other.manifest.outputs] == [{}]


def test_an_encoder_gives_its_last_state_as_a_result(tmp_path: Path) -> None:
    """The only output is a state too: it stands among the outputs, and the state has a name of its own."""

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.GRU(UNITS, UNITS, batch_first=True)

        def forward(self, x: Any) -> Any:
            return self.layer(x)[0][:, -1]

    bundle = qdeploy.export_model(Encoder(), tmp_path / "bundle", calibration=samples())
    (state,) = bundle.manifest.states
    assert [output.name for output in bundle.manifest.outputs] == ["output"]
    assert state.output != "output"
    session = bundle.session(raw=True)
    assert (session.run(samples())["output"] == session.state[state.input]).all()
    assert bundle.verify(samples=4).passed


class Refused(nn.Module):
    """A recurrent layer and something behind it that has no integer form."""

    def __init__(self, behind: Any) -> None:
        super().__init__()
        self.layer = nn.RNN(UNITS, UNITS, batch_first=True)
        self.answer = nn.Linear(UNITS, 2)
        self.behind = behind

    def forward(self, x: Any) -> Any:
        return self.answer(self.behind(self.layer(x)[0]))


@pytest.mark.parametrize(
    ("behind", "message"),
    [
        (lambda h: h * torch.linspace(0, 1, STEPS * UNITS).reshape(STEPS, UNITS), "multiplies a constant"),
        (lambda h: h.mean((1, 2), keepdim=True).expand_as(h), "expected one axis"),
    ],
)
def test_products_and_means_of_another_kind_are_refused_by_name(behind: Any, message: str) -> None:
    with pytest.raises(UnsupportedModelError, match=message):
        capture(Refused(behind), {"x": samples()})


def test_one_hot_vectors_and_a_linear_are_an_embedding(tmp_path: Path) -> None:
    """What an embedding computes, of floats: the input's grid is that of 0 and 1, and one row comes out exactly."""
    torch.manual_seed(0)
    table = nn.Linear(10, UNITS, bias=False)
    tokens = np.random.default_rng(0).integers(0, 10, (16, STEPS))
    x = np.eye(10, dtype=np.float32)[tokens]
    bundle = qdeploy.export_model(nn.Sequential(table), tmp_path / "bundle", calibration=x, time_axis=1)
    (spec,) = bundle.manifest.inputs
    assert (spec.scale, spec.zero_point) == (1.0, 0)
    (found,) = bundle.run(x).values()
    rows = table.weight.detach().numpy().T[tokens]
    # Half a step of 8-bit weights, one scale an output, and of the 16-bit output.
    assert np.abs(found - rows).max() <= 0.51 * np.abs(rows).max() / 127 + 1e-3


def test_layer_normalization_is_refused_with_the_nearest_way() -> None:
    with pytest.raises(UnsupportedModelError, match="batch normalization, which folds"):
        capture(nn.Sequential(nn.LayerNorm(UNITS)), {"x": samples()})
