"""RNN by LiteRT's own operators: one FULLY_CONNECTED a step, and the reference's bits."""

from __future__ import annotations

from typing import Any

import pytest

from qdeploy.export.onnx import attach_bodies
from qdeploy.export.tflite.generator import SIGNATURE, STEP, tflite_file
from qdeploy.export.tflite.reader import read_tflite
from qdeploy.runtime.errors import UnsupportedModelError
from qdeploy.runtime.litert_interpreter import interpreter_module, version
from qdeploy.runtime.manifest import InputSpec, Manifest, OutputSpec, StateSpec
from qdeploy.runtime.reference import ReferenceModel
from tests.ops.test_rnn import network, random_feeds
from tests.ops.test_rnn_rounding import CASES, SINGLE

pytestmark = pytest.mark.litert

STEPS = 13


def written(model: Any, about: dict[str, Any], *, every: bool = True) -> tuple[Any, bytes]:
    """The model with its bodies, and its file."""
    complete = attach_bodies(model)
    hidden = about["hidden"]
    manifest = Manifest(
        schema=1,
        qdeploy="0",
        created_from={},
        recipe={},
        rounding="half_up",
        inputs=(InputSpec("x", "x", "uint8", ("time", "batch", about["inputs"]), 1.0, 0, time_axis=0, batch_axis=1),),
        outputs=(OutputSpec("y", "uint8", ("time", "batch", hidden), 1.0, 0),) if every else (),
        states=(StateSpec("h0", "y_h", "uint8", ("batch", hidden), 1.0, about["h_zero_point"], 8),),
        tensors={},
        layers=(),
        files={},
    )
    return complete, tflite_file(complete, manifest)


@pytest.mark.parametrize(
    ("name", "rule"), [(n, "half_even") for n in CASES] + [(n, "single_precision") for n in SINGLE]
)
def test_every_state_is_the_reference_s(name: str, rule: str) -> None:
    if version().startswith("tflite-runtime"):
        pytest.skip("both are ai-edge-litert's rules")
    model, about = network(**(CASES | SINGLE)[name], rounding=rule)
    complete, content = written(model, about)
    feeds = random_feeds(about, steps=STEPS, batch=1)
    wanted = ReferenceModel(complete).run(feeds).outputs
    interpreter = interpreter_module().Interpreter(model_content=content, num_threads=1)
    found = interpreter.get_signature_runner(SIGNATURE)(**feeds)
    assert (found["y"] == wanted["y"]).all()
    assert (found["y_h"] == wanted["y_h"]).all()
    runner, h = interpreter.get_signature_runner(STEP), feeds["h0"]
    for t in range(STEPS):
        one = runner(x=feeds["x"][t : t + 1], h0=h)
        assert (one["y"][0] == wanted["y"][t]).all()
        h = one["y_h"]


def test_a_step_is_a_handful_of_operators() -> None:
    model, about = network(**CASES["shifted"], rounding="half_even", every_step=False)
    _, content = written(model, about, every=False)
    loops = [graph for graph in read_tflite(content, "model.tflite").subgraphs if graph.name.endswith("_step")]
    kinds = sorted(operator.name for operator in loops[0].operators)
    assert kinds == ["ADD", "CONCATENATION", "FULLY_CONNECTED", "GATHER"]


def test_a_recurrent_weight_that_leaves_int8_is_refused() -> None:
    model, about = network(
        weight_bits=8, recurrent_shift=1, multiplier=3, shift=14, bias=10, rounding="half_even", hidden=5
    )
    with pytest.raises(UnsupportedModelError, match=r"W times 2\^1 reaches \d+, and LiteRT's own operators take"):
        written(model, about)
