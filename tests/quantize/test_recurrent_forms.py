"""Every form of a recurrent classifier, from torch to integers: the engines agree to the bit, and the float is near.

Forms: the activation inside the loop, or over a linear loop before the output layer; the last step or every step.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from qdeploy.calibration import Calibration, calibrate
from qdeploy.export.onnx import attach_bodies, check_integer_only
from qdeploy.export.onnx.expose import expose
from qdeploy.quantize import load_recipe, quantize
from qdeploy.runtime.engines import open_engine
from qdeploy.runtime.numeric import dequantize
from qdeploy.runtime.reference import ReferenceModel
from qdeploy.studies.subject import integer_feeds

torch = pytest.importorskip("torch")

INPUTS, HIDDEN, CLASSES, STEPS, SAMPLES = 2, 20, 4, 24, 12
DEFAULT = load_recipe("default")
ACTIVATIONS = ["relu", "modrelu", "tanh"]

LARGEST_ERROR = {6: 0.25, 8: 0.06, 10: 0.02, 12: 0.015, 16: 0.015}
"""Root of the mean squared error over that of the logits: from 12 bits on what is left is the weights' 8 bits."""


@cache
def network(activation: str, form: str, steps: str) -> tuple[Any, Calibration, dict[str, np.ndarray], np.ndarray]:
    """A captured torch module, its calibration, its feeds, and what torch itself computes."""
    from qdeploy.capture import capture
    from qdeploy.models import build

    torch.manual_seed(3)
    inside = form == "in the loop"
    hyperparameters = {
        "input_size": INPUTS,
        "hidden_size": HIDDEN,
        "num_classes": CLASSES,
        "activation": activation if inside else "linear",
        "output_activation": None if inside else activation,
        "steps": steps,
    }
    module = build("orthogonal-classifier", hyperparameters).eval()
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if "modrelu_bias" in name:
                parameter.uniform_(-0.1, 0.1)
    x = np.random.default_rng(7).integers(0, 256, (SAMPLES, STEPS, INPUTS)).astype(np.float32) / 256
    captured = capture(module, {"x": x})
    feeds = captured.arrange({"x": x})
    statistics = calibrate(captured.model, feeds, {spec.name: spec.batch_axis for spec in captured.inputs})
    with torch.no_grad():
        return captured, statistics, feeds, module(torch.from_numpy(x)).numpy()


@pytest.mark.parametrize("steps", ["last", "every"])
@pytest.mark.parametrize("form", ["in the loop", "before the output"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("state_bits", [6, 8, 10, 12, 16])
def test_every_engine_gives_the_same_bits_and_the_float_is_near(
    state_bits: int, activation: str, form: str, steps: str
) -> None:
    captured, statistics, feeds, real = network(activation, form, steps)
    integers = quantize(captured.model, statistics, DEFAULT.changed(state_bits=state_bits))
    complete = attach_bodies(integers.model)
    check_integer_only(complete)
    # Every state of every step is compared, not only what leaves the network.
    given = integer_feeds(captured, integers, feeds)
    shown = expose(integers.model)
    expected = ReferenceModel(shown).run(given).outputs
    for engine in ("bodies", "onnxruntime"):
        found = open_engine(engine, shown).run(given)
        assert all((found[name] == array).all() for name, array in expected.items()), engine
    # The file as it is written emits no state but the last where the network reads no other.
    name = integers.outputs[0]
    assert (open_engine("onnxruntime", complete).run(given)[name] == expected[name]).all()
    output = integers.graph.types[name]
    computed = dequantize(expected[name], output.scale, output.zero_point)
    assert computed.shape == real.shape
    assert np.sqrt(((computed - real) ** 2).mean() / (real**2).mean()) <= LARGEST_ERROR[state_bits]


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_what_stands_before_the_output_keeps_the_bits_of_a_wide_state(activation: str) -> None:
    captured, statistics, _, _ = network(activation, "before the output", "last")
    for bits in (10, 12, 16):
        integers = quantize(captured.model, statistics, DEFAULT.changed(state_bits=bits))
        node = next(node for node in integers.model.graph.node if node.op_type == "Linear")
        found = integers.graph.types[node.input[0]]
        assert found.dtype == "int16"
        assert found.bits >= bits
        assert max(found.high, -found.low) >= 2 ** (bits - 1) - 1


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_bundle_of_each_activation_verifies(activation: str, tmp_path: Any) -> None:
    """The whole way, as a user goes it."""
    import qdeploy
    from qdeploy.models import build

    torch.manual_seed(3)
    hyperparameters = {"input_size": INPUTS, "hidden_size": HIDDEN, "num_classes": CLASSES}
    module = build("orthogonal-classifier", {**hyperparameters, "activation": activation, "steps": "every"}).eval()
    x = np.random.default_rng(7).random((SAMPLES, STEPS, INPUTS)).astype(np.float32)
    report = qdeploy.export_model(module, tmp_path / "out", calibration=x).verify(samples=2)
    assert report.passed
