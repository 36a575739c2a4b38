"""Large images: activations are counted, freed, and computed for as many samples as memory allows."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import onnx
import pytest

from qdeploy.batches import samples_at_once
from qdeploy.calibration import calibrate, run
from qdeploy.export.onnx import attach_bodies
from qdeploy.quantize import Recipe
from qdeploy.runtime.reference import ReferenceModel
from qdeploy.runtime.standard import BodyModel

from .networks import float_model, quantized


def network(layers: int) -> onnx.ModelProto:
    """Convolutions of one place from one channel to one, a residual sum around each, a pool, and a mean."""
    lines = []
    for index in range(layers):
        x = "x" if index == 0 else f"s{index - 1}"
        lines.append(f"c{index} = Conv <kernel_shape = [1, 1]> ({x}, w{index}) s{index} = Add ({x}, c{index})")
    lines.append(f"p = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (s{layers - 1}) y = GlobalAveragePool (p)")
    weights = {f"w{index}": np.full((1, 1, 1, 1), 0.5) for index in range(layers)}
    return float_model(f"g (float[batch, 1, h, v] x) => (float[batch, 1, a, b] y) {{ {' '.join(lines)} }}", weights)


def images(size: int, count: int = 2) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).random((count, 1, size, size)).astype(np.float32)


@pytest.mark.parametrize("layers", [1, 3])
def test_activations_that_are_alive_together_are_counted(layers: int) -> None:
    """While a sum is written, both of its operands are there: three images of 16 x 16 bytes, however deep the network."""
    integers = quantized(network(layers), images(16), Recipe("t", ""))
    assert integers.graph.activation_bytes == 3 * 16 * 16


def test_a_network_without_images_says_nothing() -> None:
    model = float_model(
        "g (float[batch, 4] x) => (float[batch, 3] y) { y = qdeploy.float.Linear (x, w) }", {"w": np.ones((3, 4))}
    )
    assert quantized(model, np.ones((2, 4), np.float32), Recipe("t", "")).graph.activation_bytes is None


def peak(call: Any) -> int:
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_what_nobody_reads_any_more_is_freed() -> None:
    """Twenty layers need no more memory than five, in the reference and in the executor of bodies."""
    x = images(16)
    feeds = {"x": np.random.default_rng(1).integers(0, 256, (1, 1, 200, 200)).astype(np.uint8)}
    for kind in (ReferenceModel, BodyModel):
        peaks = []
        for layers in (5, 20):
            model = attach_bodies(quantized(network(layers), x, Recipe("t", "")).model)
            executor = kind(model)
            peaks.append(peak(lambda executor=executor: executor.run(feeds)))
        assert peaks[1] < 1.1 * peaks[0]


def test_all_tensors_are_kept_on_request() -> None:
    model = attach_bodies(quantized(network(3), images(8), Recipe("t", "")).model)
    feeds = {"x": np.ones((1, 1, 8, 8), np.uint8)}
    kept = ReferenceModel(model).run(feeds, keep=True)
    assert {"x", "c0", "s0", "c1", "s1", "c2", "s2", "p", "y"} <= kept.tensors.keys()
    assert (ReferenceModel(model).run(feeds).outputs["y"] == kept.outputs["y"]).all()
    assert (BodyModel(model).run(feeds, outputs=["s0"])["s0"] == kept.tensors["s0"]).all()


def test_calibration_takes_fewer_samples_of_large_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """One at a time where no more fit, with the same ranges."""
    model, x = network(2), images(8, 5)
    whole, calls = calibrate(model, {"x": x}, {"x": 0}), []
    monkeypatch.setattr(run, "LARGEST_RUN", 1)
    alone = calibrate(model, {"x": x}, {"x": 0}, progress=lambda _, done, total: calls.append((done, total)))
    assert calls == [(done, 5) for done in range(1, 6)]
    for name, seen in whole.tensors.items():
        assert (alone[name].low, alone[name].high) == (seen.low, seen.high)


@pytest.mark.parametrize(
    ("shape", "count", "expected"),
    [((1000, 28, 28), 1000, 250), ((64, 3, 224, 224), 64, 13), ((2, 3, 4096, 4096), 2, 1), ((5, 4), 5, 250)],
)
def test_samples_of_a_call(shape: tuple[int, ...], count: int, expected: int) -> None:
    feeds = {"x": np.broadcast_to(np.float32(0), shape)}
    assert samples_at_once(feeds, count, 250) == expected
