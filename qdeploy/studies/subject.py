"""What every study needs: a float network with calibration and labelled test samples, and its integer forms judged on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from numpy.typing import NDArray

from qdeploy.calibration import Calibration, calibrate
from qdeploy.evaluation import BATCH, Samples, load_samples, output_batch_axis, run_float
from qdeploy.exporter import CALIBRATION_SAMPLES
from qdeploy.runtime.errors import InvalidInputError
from qdeploy.runtime.numeric import dequantize, quantize_input
from qdeploy.text_form import TextForm

if TYPE_CHECKING:
    from qdeploy.capture.captured import CapturedModel
    from qdeploy.quantize import IntegerModel

__all__ = ["Loss", "Subject", "first_recurrent", "integer_feeds", "loss_of"]

REFERENCE_SAMPLES = 4
"""So many samples also pass the NumPy reference, whose every integer must be onnxruntime's."""


@dataclass(frozen=True)
class Loss:
    """How good a network's answers are.

    Attributes:
        cross_entropy: the mean over all answers, in nats.
        accuracy: the part of answers that are right, 0 to 1.
        answers: how many there were: samples, or steps where every step has one.
    """

    cross_entropy: float
    accuracy: float
    answers: int


def loss_of(logits: NDArray[Any], labels: NDArray[Any]) -> Loss:
    """Of logits ``[..., C]`` and labels ``[...]``; the first of several maxima is the answer."""
    if labels.shape != logits.shape[:-1]:
        raise InvalidInputError(f"labels have shape {list(labels.shape)}; the network answers {list(logits.shape)}.")
    real = logits.astype(np.float64)
    shifted = real - real.max(axis=-1, keepdims=True)
    chosen = np.take_along_axis(shifted, labels[..., None].astype(np.int64), axis=-1)[..., 0]
    cross_entropy = np.log(np.exp(shifted).sum(axis=-1)) - chosen
    return Loss(float(cross_entropy.mean()), float((real.argmax(axis=-1) == labels).mean()), int(labels.size))


@dataclass(frozen=True)
class Subject:
    """A float network, what calibration saw of it, and test samples with labels.

    Attributes:
        name: a shipped checkpoint's, or a file.
        captured: the float model in layer form.
        statistics: of the calibration samples.
        test: the samples that answers are judged on.
    """

    name: str
    captured: CapturedModel
    statistics: Calibration
    test: Samples

    @classmethod
    def load(cls, model: str | Path, data: str | None, limit: int | None, *, time_axis: int | None = None) -> Subject:
        """Captures ``model`` and calibrates it on the training part of ``data``.

        Args:
            model: whatever ``qdeploy export`` takes: a shipped name, a checkpoint, an ``.onnx`` file.
            data: a data set's name or an ``.npz`` with ``x`` and ``y``; by default the set a checkpoint was trained on.
            limit: at most so many test samples.
            time_axis: of the input, as ``qdeploy export`` takes it.

        Raises:
            InvalidInputError: no data, or data without labels.
        """
        from qdeploy.capture import capture

        source = data or _trained_on(model)
        form = TextForm.of_model(model)
        calibration = load_samples(source, "train", CALIBRATION_SAMPLES, form)
        test = load_samples(source, "test", limit, form)
        if test.labels is None:
            raise InvalidInputError(f"{source} holds no labels (y), by which a study judges answers.")
        captured = capture(model, calibration.inputs, time_axis=time_axis)
        return cls(str(model), captured, _calibrated(captured, captured.model, calibration), test)

    def with_weights(self, changed: onnx.ModelProto, data: str | None) -> Subject:
        """The same network with the weights of ``changed``, a copy of its float model; calibrated anew."""
        calibration = load_samples(data or _trained_on(self.name), "train", CALIBRATION_SAMPLES, self.test.form)
        captured = replace(self.captured, model=changed)
        return Subject(self.name, captured, _calibrated(captured, changed, calibration), self.test)

    def feeds(self, samples: int | None = None) -> dict[str, NDArray[Any]]:
        """The test samples in the float model's layout."""
        named = self.test.named(self.captured)
        return self.captured.arrange({name: array[:samples] for name, array in named.items()})

    @property
    def labels(self) -> NDArray[Any]:
        """Of the test samples."""
        labels = self.test.labels
        if labels is None:
            raise InvalidInputError(f"{self.test.source} holds no labels.")
        return labels

    def float_logits(self) -> NDArray[np.float32]:
        """Of the float network, samples on axis 0."""
        return run_float(self.captured.model, self.feeds(), self.captured)[self.captured.outputs[0]]

    def float_loss(self) -> Loss:
        """Of the float network."""
        return loss_of(self.float_logits(), self.labels)

    def integer_logits(self, integers: IntegerModel) -> NDArray[np.float32]:
        """Of an integer form, computed by onnxruntime: real numbers, samples on axis 0."""
        from qdeploy.export.onnx import attach_bodies
        from qdeploy.runtime.engines import open_engine

        model = attach_bodies(integers.model)
        engine = open_engine("onnxruntime", model)
        name = integers.outputs[0]
        axis = next(output_batch_axis(value) for value in model.graph.output if value.name == name)
        found, parts = integers.graph.types[name], []
        feeds = self.feeds()
        for start in range(0, len(self.labels), BATCH):
            answers = engine.run(self.integers(integers, _rows(self.captured, feeds, start, start + BATCH)))[name]
            parts.append(np.moveaxis(dequantize(answers, found.scale, found.zero_point), axis, 0))
        return np.concatenate(parts)

    def integer_loss(self, integers: IntegerModel) -> Loss:
        """Of an integer form, computed by onnxruntime."""
        return loss_of(self.integer_logits(integers), self.labels)

    def compare_engines(self, integers: IntegerModel) -> tuple[int, int]:
        """How many integers the NumPy reference and onnxruntime both computed, all layers and steps, and how many differ."""
        from qdeploy.export.onnx.expose import expose
        from qdeploy.runtime.engines import open_engine
        from qdeploy.runtime.reference import ReferenceModel

        shown = expose(integers.model)
        feeds = self.integers(integers, _rows(self.captured, self.feeds(), 0, REFERENCE_SAMPLES))
        expected = ReferenceModel(shown).run(feeds).outputs
        found = open_engine("onnxruntime", shown).run(feeds)
        compared = sum(array.size for array in expected.values())
        return compared, sum(int((array != found[name]).sum()) for name, array in expected.items())

    def integers(self, integers: IntegerModel, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Quantized inputs and zero states for ``feeds``."""
        return integer_feeds(self.captured, integers, feeds)


def integer_feeds(
    captured: CapturedModel, integers: IntegerModel, feeds: Mapping[str, NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    """Quantized inputs and zero states for real ``feeds`` in the model's layout."""
    types = integers.graph.types
    given = {
        name: feeds[name]
        if types[name].is_index
        else quantize_input(feeds[name], types[name].scale, types[name].zero_point, np.dtype(types[name].dtype))
        for name in integers.inputs
    }
    first = next(spec for spec in captured.inputs if spec.name in given)
    batch = given[first.name].shape[first.batch_axis]
    for state in integers.graph.states:
        given[state.input] = np.full((batch, state.size), state.type.zero_point, state.type.dtype)
    return given


def first_recurrent(integers: IntegerModel) -> dict[str, Any]:
    """The record of the first recurrent layer.

    Raises:
        InvalidInputError: there is none.
    """
    found = next((layer for layer in integers.graph.layers if layer["operator"] == "RNN"), None)
    if found is None:
        raise InvalidInputError("the network has no layer of the operator RNN, which this study is about.")
    return found


def _calibrated(captured: CapturedModel, model: onnx.ModelProto, samples: Samples) -> Calibration:
    feeds = captured.arrange(samples.named(captured))
    return calibrate(model, feeds, {spec.name: spec.batch_axis for spec in captured.inputs})


def _rows(captured: CapturedModel, feeds: Mapping[str, NDArray[Any]], start: int, stop: int) -> dict[str, NDArray[Any]]:
    rows = {}
    for spec in captured.inputs:
        array = feeds[spec.name]
        last = min(stop, array.shape[spec.batch_axis])
        rows[spec.name] = np.take(array, range(start, last), axis=spec.batch_axis)
    return rows


def _trained_on(model: str | Path) -> str:
    from qdeploy.capture.checkpoint_source import checkpoint_dataset

    found = checkpoint_dataset(model) if Path(model).suffix != ".onnx" else None
    if not found:
        raise InvalidInputError(f"{model} names no data set; give one with --data (qdeploy list datasets).")
    return found
