"""``debug`` against what a reader computes by hand, and against planted faults."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402  # after the skip

import qdeploy  # noqa: E402  # after the skip
from qdeploy.capture import capture  # noqa: E402  # after the skip
from qdeploy.cli.group import run  # noqa: E402  # after the skip
from qdeploy.runtime.errors import InvalidInputError, UnsupportedModelError  # noqa: E402  # after the skip

STEPS, UNITS = 12, 8


class Network(nn.Module):
    """Two recurrent layers and an answer at every step."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.LSTM(3, UNITS, batch_first=True)
        self.second = nn.GRU(UNITS, UNITS, batch_first=True)
        self.answer = nn.Linear(UNITS, 4)

    def forward(self, x: Any) -> Any:
        return self.answer(self.second(self.first(x)[0])[0])


def samples() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(8, STEPS, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> qdeploy.Bundle:
    return qdeploy.export_model(Network(), tmp_path_factory.mktemp("debug") / "bundle", calibration=samples())


def relative(found: np.ndarray, real: np.ndarray) -> float:
    return float(np.linalg.norm(found.astype(np.float64) - real) / np.linalg.norm(real.astype(np.float64)))


def test_errors_of_every_step_are_those_computed_by_hand(bundle: qdeploy.Bundle) -> None:
    """States step by step from a session, against torch's."""
    report = bundle.debug(samples(), float_model=Network())
    network = Network().eval()
    with torch.no_grad():
        first, _ = network.first(torch.from_numpy(samples()))
        cells = [network.first(torch.from_numpy(samples()[:, : step + 1]))[1][1][0].numpy() for step in range(STEPS)]
    session = bundle.session()
    by_output = {steps.tensor: steps for steps in report.steps}
    hidden, cell = [spec for spec in bundle.manifest.states if spec.input.startswith("first")]
    for step in range(STEPS):
        session.step(samples()[:, step])
        for spec, real in ((hidden, first[:, step].numpy()), (cell, cells[step])):
            value = (session.state[spec.input].astype(np.float64) - spec.zero_point) * spec.scale
            assert by_output[spec.output].relative_error[step] == pytest.approx(relative(value, real), rel=1e-3)


def test_the_output_has_the_error_of_a_run(bundle: qdeploy.Bundle) -> None:
    report = bundle.debug(samples(), float_model=Network())
    with torch.no_grad():
        real = Network().eval()(torch.from_numpy(samples())).numpy()
    found = bundle.run(samples())["output"]
    (output,) = [tensor for tensor in report.tensors if tensor.tensor == "output"]
    assert output.relative_error == pytest.approx(relative(found, real), rel=1e-4)
    assert output.sqnr == pytest.approx(-20 * np.log10(relative(found, real)), abs=0.01)
    assert [tensor.layer for tensor in report.tensors] == ["input", "first", "first", "second", "answer"]


@pytest.mark.parametrize(
    ("layer", "weight"), [("first", "weight_hh_l0"), ("second", "weight_hh_l0"), ("answer", "weight")]
)
def test_a_layer_that_computes_something_else_is_named(bundle: qdeploy.Bundle, layer: str, weight: str) -> None:
    """A float network whose one layer was changed stands for an integer layer that went wrong."""
    changed = Network()
    with torch.no_grad():
        getattr(getattr(changed, layer), weight).mul_(-1.5)
    report = bundle.debug(samples(), float_model=changed)
    assert report.worst is not None
    assert report.worst.layer == layer
    assert f"most error is added by {layer}" in "\n".join(report.lines())


def test_few_bits_show_in_the_layer_and_grow_over_time(tmp_path: Path, bundle: qdeploy.Bundle) -> None:
    coarse = qdeploy.export_model(Network(), tmp_path / "coarse", calibration=samples(), state_bits=5)
    for narrow, wide in zip(
        coarse.debug(samples(), float_model=Network()).tensors,
        bundle.debug(samples(), float_model=Network()).tensors,
        strict=True,
    ):
        if narrow.layer in {"first", "second"} and narrow.bits == 5:
            assert narrow.relative_error > 4 * wide.relative_error
            assert narrow.type_sqnr < wide.type_sqnr - 20


def test_saturation_is_shown_where_it_happens(tmp_path: Path) -> None:
    """Ten times the calibrated input saturates it, and what it drives."""

    class Rectified(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.layer = nn.RNN(3, UNITS, nonlinearity="relu", batch_first=True)
            self.answer = nn.Linear(UNITS, 2)

        def forward(self, x: Any) -> Any:
            return self.answer(self.layer(x)[0])

    x = np.abs(samples())
    bundle = qdeploy.export_model(Rectified(), tmp_path / "bundle", calibration=x / 10, state_bits=8)
    calm = bundle.debug(x / 20, float_model=Rectified())
    loud = bundle.debug(x, float_model=Rectified())
    states = [next(steps for steps in report.steps if steps.layer == "layer") for report in (calm, loud)]
    assert len(states[0].saturated) == STEPS
    assert max(states[0].saturated) == 0.0
    assert max(states[1].saturated) > 0.0
    assert loud.tensors[0].relative_error > 10 * calm.tensors[0].relative_error


def test_without_a_float_model_outputs_alone_are_compared(bundle: qdeploy.Bundle) -> None:
    report = bundle.debug(samples())
    assert [tensor.tensor for tensor in report.tensors] == ["output"]
    assert report.float_source == "the bundle's baseline"
    with pytest.raises(InvalidInputError, match="--float MODEL"):
        bundle.debug(samples() + 1)


def test_another_network_and_a_flat_file_are_refused(bundle: qdeploy.Bundle, tmp_path: Path) -> None:
    class Other(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.only = nn.Linear(3, 5)

        def forward(self, sequence: Any) -> dict[str, Any]:
            return {"logits": self.only(sequence)}

    with pytest.raises(InvalidInputError, match="names and shapes"):
        bundle.debug({"sequence": samples()}, float_model=Other())
    flat = qdeploy.export_model(Network(), tmp_path / "flat", calibration=samples(), inline=True)
    with pytest.raises(UnsupportedModelError, match="--inline"):
        flat.debug(samples(), float_model=Network())


def test_the_command_writes_json_and_a_picture(
    bundle: qdeploy.Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    np.savez(tmp_path / "data.npz", x=samples())
    exported = tmp_path / "network.onnx"
    onnx.save(capture(Network(), {"x": samples()}).model, exported)
    picture = tmp_path / "errors.png"
    arguments = ["debug", str(bundle.path), "--data", str(tmp_path / "data.npz"), "--float", str(exported)]
    assert run([*arguments, "--json", "--picture", str(picture), "--limit", "8"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["tensors"][-1]["tensor"] == "output"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert run([*arguments, "--picture", "errors.svg"]) == 2
