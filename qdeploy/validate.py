"""The verb ``validate``: what did quantization cost on data with known answers?"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from qdeploy.batches import samples_at_once
from qdeploy.evaluation import Samples, data_sha256, load_samples
from qdeploy.runtime.errors import InvalidInputError
from qdeploy.runtime.session import Session
from qdeploy.text_form import TextForm

if TYPE_CHECKING:
    from qdeploy.runtime.bundle import BundleFiles
    from qdeploy.runtime.litert_options import LitertOptions
    from qdeploy.runtime.manifest import Manifest

__all__ = ["ValidateReport", "validate"]

Progress = Callable[[str, int, int], None]

BATCH = 250
METRICS = ("accuracy", "bits", "mse", "mae", "sqnr")


@dataclass(frozen=True)
class ValidateReport:
    """What quantization cost.

    Attributes:
        metric: ``accuracy``; ``bits``, the mean cross-entropy of an answer in bits, which of a character model are bits per
            character; or ``mse``, ``mae``, ``sqnr`` (dB) of the outputs against the float model's.
        samples: how many samples (sequences) were used.
        decisions: how many answers were compared: samples, or steps where every step has one.
        integer_value: the integer model's accuracy as a fraction, or the metric's value.
        float_value: the float model's accuracy as a fraction, or its bits; None without a float model, labels or meaning.
        disagreements: answers in which the two models differ; None without a float model.
        float_was_right: those of them where the float model was right.
        integer_was_right: those of them where the integer model was right.
        float_source: ``baseline`` or the float model's file; None without one.
        runtime: what computed.
        max_drop: points (per cent) of accuracy that may be lost; None for no limit.
    """

    metric: str
    samples: int
    decisions: int
    integer_value: float | None
    float_value: float | None
    disagreements: int | None
    float_was_right: int | None
    integer_was_right: int | None
    float_source: str | None
    runtime: str
    max_drop: float | None

    @property
    def drop(self) -> float | None:
        """Points of accuracy lost (negative: won)."""
        if self.metric != "accuracy" or self.float_value is None or self.integer_value is None:
            return None
        return 100 * (self.float_value - self.integer_value)

    @property
    def passed(self) -> bool:
        """Whether the drop is within ``max_drop``."""
        return self.max_drop is None or (self.drop is not None and self.drop <= self.max_drop + 1e-9)

    def to_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {**asdict(self), "drop": self.drop, "passed": self.passed}

    def lines(self) -> list[str]:
        """For people."""
        if self.metric == "bits":
            return self._bits_lines()
        if self.metric != "accuracy":
            unit = " dB" if self.metric == "sqnr" else ""
            return [
                (
                    f"{self.metric} against the float model: {self.integer_value:.6g}{unit} "
                    f"({self.samples:,} samples on {self.runtime})"
                )
            ]
        what = f"{self.samples:,} samples" + (f", {self.decisions:,} answers" if self.decisions != self.samples else "")
        lines = [f"{what}, {self.runtime}"]
        if self.float_value is not None:
            lines.append(f"accuracy  float    {100 * self.float_value:7.3f} %")
        if self.integer_value is not None:
            drop = "" if self.drop is None else f"   ({0.0 - self.drop:+.3f} points)"
            lines.append(f"accuracy  integer  {100 * self.integer_value:7.3f} %{drop}")
        if self.disagreements is not None:
            lines.append(
                f"disagreements      {self.disagreements:7d}     float right in {self.float_was_right}, "
                f"integer right in {self.integer_was_right}"
                if self.float_was_right is not None
                else f"disagreements      {self.disagreements:7d}"
            )
        if self.max_drop is not None:
            lines.append(f"{'passed' if self.passed else 'FAILED'}: at most {self.max_drop:g} points may be lost")
        return lines

    def _bits_lines(self) -> list[str]:
        lines = [f"{self.samples:,} samples, {self.decisions:,} answers, {self.runtime}"]
        if self.float_value is not None:
            lines.append(f"bits an answer  float    {self.float_value:8.4f}")
        difference = ""
        if self.float_value is not None and self.integer_value is not None:
            difference = f"   ({self.integer_value - self.float_value:+.4f})"
        lines.append(f"bits an answer  integer  {self.integer_value:8.4f}{difference}")
        return lines


def validate(
    files: BundleFiles,
    data: Any,
    *,
    float_model: Any = None,
    runtime: str = "onnxruntime",
    metric: str = "accuracy",
    max_drop: float | None = None,
    limit: int | None = None,
    progress: Progress | None = None,
    litert: LitertOptions | None = None,
) -> ValidateReport:
    """Runs the integer model on ``data`` and compares with labels and with the float model.

    Args:
        files: an opened bundle.
        data: arrays (``x`` or the inputs' names, ``y`` for labels), an ``.npz`` file, or a data set's name (its test split).
        float_model: a float model to compare with (``.onnx``, checkpoint, module); by default the bundle's baseline, which
            serves the data it was made from, recognised by their hash.
        runtime: the engine's name.
        metric: ``accuracy``, ``bits`` (cross-entropy per answer), or the outputs' ``mse``, ``mae`` or ``sqnr`` against the
            float model.
        max_drop: points (per cent) of accuracy that may be lost.
        limit: at most so many samples.
        progress: called as (stage, done, total).
        litert: kernels and delegate of the runtime litert.

    Raises:
        InvalidInputError: no labels for accuracy, no float model where one is needed, unusable data.
    """
    if metric not in METRICS:
        raise InvalidInputError(f"metric={metric!r}; expected one of {', '.join(METRICS)}.")
    manifest = files.manifest
    samples = load_samples(data, "test", limit, TextForm.of_bundle(manifest))
    integer = _run_integer(files, samples, runtime, litert, progress)
    reference, source = _float_outputs(files, samples, float_model, data, limit, progress)
    first = manifest.outputs[0].name
    computed = integer[first]
    expected = None if reference is None else _expected(reference, first, computed)
    if metric == "bits":
        return _bits(computed, expected, samples, source, runtime, max_drop)
    if metric != "accuracy":
        if expected is None:
            raise InvalidInputError(
                f"{metric} compares with the float model, and the bundle's baseline is of other data; give --float MODEL."
            )
        value = _distance(metric, computed, expected)
        return ValidateReport(
            metric, len(computed), computed.size, value, None, None, None, None, source, runtime, max_drop
        )
    return _accuracy(computed, expected, samples.labels, source, runtime, max_drop, samples.source)


def _expected(reference: Mapping[str, NDArray[Any]], name: str, computed: NDArray[Any]) -> NDArray[Any]:
    """The float model's output of this name, which has the integer model's shape."""
    if name not in reference:
        raise InvalidInputError(f"the float model has no output {name!r}; it has {', '.join(reference)}.")
    if reference[name].shape != computed.shape:
        raise InvalidInputError(
            f"the float model's output {name} has shape {list(reference[name].shape)}, "
            f"the integer model's {list(computed.shape)}."
        )
    return reference[name]


def _accuracy(
    computed: NDArray[Any],
    expected: NDArray[Any] | None,
    labels: NDArray[Any] | None,
    source: str | None,
    runtime: str,
    max_drop: float | None,
    where: str,
) -> ValidateReport:
    """Answers are the class of the largest output, the first where several are."""
    answers = computed.argmax(axis=-1)
    if labels is None and expected is None:
        raise InvalidInputError(
            f"{where} holds no labels (y), and no float model's outputs are at hand; accuracy needs one of them."
        )
    if labels is not None and labels.shape != answers.shape:
        raise InvalidInputError(
            f"{where}: y has shape {list(labels.shape)}; the model answers in shape {list(answers.shape)}."
        )
    right = None if labels is None else answers == labels
    float_answers = None if expected is None else expected.argmax(axis=-1)
    float_right = None if labels is None or float_answers is None else float_answers == labels
    differ = None if float_answers is None else answers != float_answers
    if max_drop is not None and float_right is None:
        raise InvalidInputError(
            "--max-drop compares with the float model on labelled data; give --float MODEL, or data with y."
        )
    return ValidateReport(
        metric="accuracy",
        samples=len(computed),
        decisions=answers.size,
        integer_value=None if right is None else float(right.mean()),
        float_value=None if float_right is None else float(float_right.mean()),
        disagreements=None if differ is None else int(differ.sum()),
        float_was_right=None if differ is None or float_right is None else int((differ & float_right).sum()),
        integer_was_right=None if differ is None or right is None else int((differ & right).sum()),
        float_source=source,
        runtime=runtime,
        max_drop=max_drop,
    )


def _bits(
    computed: NDArray[Any],
    expected: NDArray[Any] | None,
    samples: Samples,
    source: str | None,
    runtime: str,
    max_drop: float | None,
) -> ValidateReport:
    """Mean cross-entropy of the softmax of both models' outputs with the labels, in bits."""
    labels = samples.labels
    if labels is None or labels.shape != computed.shape[:-1]:
        found = "no y" if labels is None else f"y of shape {list(labels.shape)}"
        raise InvalidInputError(
            f"{samples.source}: holds {found}; bits need labels of shape {list(computed.shape[:-1])}."
        )
    if max_drop is not None:
        raise InvalidInputError("--max-drop is of accuracy; leave it out, or leave --metric bits out.")
    if labels.dtype.kind not in "iu":
        raise InvalidInputError(f"{samples.source}: y is {labels.dtype}; bits need classes, integers.")
    classes = computed.shape[-1]
    if labels.min() < 0 or labels.max() >= classes:
        raise InvalidInputError(
            f"{samples.source}: y holds classes {labels.min()} to {labels.max()}; the model answers 0 to {classes - 1}."
        )
    integer = _cross_entropy(computed, labels)
    real = None if expected is None else _cross_entropy(expected, labels)
    return ValidateReport(
        "bits", len(computed), labels.size, integer, real, None, None, None, source, runtime, max_drop
    )


def _cross_entropy(logits: NDArray[Any], labels: NDArray[Any]) -> float:
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=-1, keepdims=True)
    chosen = np.take_along_axis(wide, labels[..., np.newaxis].astype(np.int64), axis=-1)[..., 0]
    return float((np.log(np.exp(wide).sum(axis=-1)) - chosen).mean() / np.log(2))


def _run_integer(
    files: BundleFiles, samples: Samples, runtime: str, litert: LitertOptions | None, progress: Progress | None
) -> dict[str, NDArray[Any]]:
    """The integer model's outputs as real values, samples on axis 0."""
    manifest = files.manifest
    session = Session(files, runtime=runtime, threads=os.cpu_count() or 1, litert=litert)
    feeds = arranged(manifest, samples)
    count = len(next(iter(samples.inputs.values())))
    parts: dict[str, list[NDArray[Any]]] = {}
    size = samples_at_once(feeds, count, BATCH)
    for start in range(0, count, size):
        stop = min(start + size, count)
        session.reset()
        batch = {
            spec.name: np.take(feeds[spec.name], range(start, stop), axis=spec.batch_axis or 0)
            for spec in manifest.inputs
        }
        results = session.run(batch)
        for spec in manifest.outputs:
            axis = spec.shape.index("batch") if "batch" in spec.shape else 0
            parts.setdefault(spec.name, []).append(np.moveaxis(results[spec.name], axis, 0))
        if progress:
            progress("validate", stop, count)
    return {name: np.concatenate(arrays) for name, arrays in parts.items()}


def arranged(manifest: Manifest, samples: Samples) -> dict[str, NDArray[Any]]:
    """Samples by input name in the model's layout."""
    names = [spec.name for spec in manifest.inputs]
    if len(names) == 1 and len(samples.inputs) == 1:
        arrays = {names[0]: next(iter(samples.inputs.values()))}
    else:
        missing = [name for name in names if name not in samples.inputs]
        if missing:
            raise InvalidInputError(
                f"the data hold {sorted(samples.inputs)}; the model's inputs {missing} are missing."
            )
        arrays = {name: samples.inputs[name] for name in names}
    return {spec.name: np.moveaxis(arrays[spec.name], 0, spec.batch_axis or 0) for spec in manifest.inputs}


def float_inputs(manifest: Manifest, samples: Samples) -> dict[str, NDArray[Any]]:
    """Samples for the float model: by its names where there is one array, float32, and integers where it takes indices."""
    specs = manifest.inputs
    if len(specs) == 1 and len(samples.inputs) == 1:
        arrays = {specs[0].float_name: next(iter(samples.inputs.values()))}
    else:
        arrays = dict(samples.inputs)
    indices = {name for spec in specs if spec.scale is None for name in (spec.name, spec.float_name)}
    return {name: array if name in indices else array.astype(np.float32) for name, array in arrays.items()}


def _float_outputs(
    files: BundleFiles,
    samples: Samples,
    float_model: Any,
    data: Any,
    limit: int | None,
    progress: Progress | None,
) -> tuple[dict[str, NDArray[Any]] | None, str | None]:
    """The float model's outputs on the same samples, and where they come from."""
    if float_model is None:
        baseline = files.baseline()
        if baseline is None:
            return None, None
        if baseline.data_sha256 == data_sha256(samples.inputs):
            return dict(baseline.logits), "baseline"
        # A limit takes the first samples of the same data, and the baseline's first rows belong to them.
        rows, count = len(next(iter(baseline.logits.values()))), len(next(iter(samples.inputs.values())))
        if limit is None or count > rows:
            return None, None
        whole = load_samples(data, "test", rows, samples.form)
        if baseline.data_sha256 != data_sha256(whole.inputs):
            return None, None
        return {name: array[:count] for name, array in baseline.logits.items()}, "baseline"
    from qdeploy.capture import capture
    from qdeploy.evaluation import run_float

    inputs = float_inputs(files.manifest, samples)
    time_axis = next((spec.time_axis for spec in files.manifest.inputs if spec.time_axis is not None), None)
    captured = capture(float_model, inputs, time_axis=time_axis)
    outputs = run_float(captured.model, captured.arrange(samples.named(captured)), captured, progress=progress)
    return dict(outputs), str(float_model) if isinstance(float_model, str | Path) else type(float_model).__name__


def _distance(metric: str, computed: NDArray[Any], expected: NDArray[Any]) -> float:
    if computed.shape != expected.shape:
        raise InvalidInputError(
            f"the float model's output has shape {list(expected.shape)}, the integer model's {list(computed.shape)}."
        )
    error = computed.astype(np.float64) - expected
    if metric == "mae":
        return float(np.abs(error).mean())
    mse = float((error**2).mean())
    if metric == "mse":
        return mse
    signal = float((expected.astype(np.float64) ** 2).mean())
    return float(10 * np.log10(signal / mse)) if mse > 0 and signal > 0 else float("inf")
