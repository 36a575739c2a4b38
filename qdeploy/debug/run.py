"""Runs both networks on the same samples and compares every tensor that both have, over all steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from numpy.typing import NDArray

from qdeploy.evaluation import Samples, data_sha256, load_samples
from qdeploy.runtime.errors import InvalidInputError, UnsupportedModelError
from qdeploy.runtime.numeric import dequantize
from qdeploy.runtime.ops import DOMAIN, RECURRENT, WEIGHT_OPERATORS, operator_name
from qdeploy.runtime.reference import ReferenceModel
from qdeploy.text_form import TextForm
from qdeploy.validate import arranged, float_inputs
from qdeploy.verify.cases import CaseMaker
from qdeploy.verify.compare import Axes, find_axes
from qdeploy.verify.instrument import has_operators, show

from .engine import check_engine
from .report import DebugReport, StepErrors, TensorError

if TYPE_CHECKING:
    from qdeploy.runtime.bundle import BundleFiles
    from qdeploy.runtime.manifest import Manifest, StateSpec, TensorSpec

__all__ = ["debug"]

Array = NDArray[Any]
Progress = Callable[[str, int, int], None]

SAMPLES = 32
"""Sequences that are compared unless ``limit`` says otherwise: every tensor of every step is kept."""


@dataclass(frozen=True)
class _Kind:
    """How a tensor's integers are read."""

    dtype: str
    scale: float
    zero_point: int
    bits: int


@dataclass(frozen=True)
class _Pair:
    """A tensor of both networks, as real values; time on axis 0 where ``steps`` says that it has such an axis."""

    layer: str
    operator: str
    tensor: str
    kind: _Kind
    real: Array
    integer: Array
    steps: bool


def debug(
    files: BundleFiles,
    data: Any,
    *,
    float_model: Any = None,
    runtime: str | None = None,
    limit: int | None = None,
    progress: Progress | None = None,
) -> DebugReport:
    """Compares the integer network's tensors with the float network's, layer by layer and step by step.

    Args:
        files: an opened bundle.
        data: arrays, an ``.npz`` file, or a data set's name (its test split), as for ``validate``.
        float_model: the float network (``.onnx``, checkpoint, module); without it only the outputs are compared, with those
            that the bundle keeps of the data it was made from.
        runtime: an engine that runs the data too; its outputs, and its states after every step, must be the reference's.
        limit: at most so many samples, 32 by default.
        progress: called as (stage, done, total).

    Raises:
        CheckFailedError: the runtime computes other integers.
        InvalidInputError: data that do not fit, no float values for them, or another network's.
        UnsupportedModelError: a file without layer-sized operators (``--inline``).
    """
    if not has_operators(files.model):
        raise UnsupportedModelError(
            f"{files.path}: the file was written with --inline and holds no layers to compare, expected one with "
            "functions; export it again without --inline"
        )
    samples = load_samples(data, "test", limit or SAMPLES, TextForm.of_bundle(files.manifest))
    model = show(files.model)
    maker = CaseMaker(files.manifest, model, steps=2, seed=0)
    feeds = maker.with_zero_state(maker.quantized(arranged(files.manifest, samples)))
    said = progress or _silent
    said("integer network", 0, 2)
    whole = ReferenceModel(model).run(feeds, keep=True)
    said("integer network", 1, 2)
    stepped = _Steps(files, model, maker, feeds)
    if runtime is not None:
        check_engine(files, runtime, maker, feeds, whole.outputs, stepped.states)
    said("integer network", 2, 2)
    source, real = _float_values(files, samples, data, float_model)
    pairs = list(_pairs(files, model, whole.tensors | whole.outputs, stepped, real, _axes(model, maker)))
    if all(pair.layer == "input" for pair in pairs):
        raise InvalidInputError(
            f"{source} has no tensor of the names and shapes that {files.path} has; give the network that it was made of"
        )
    return DebugReport(
        bundle=str(files.path),
        float_source=source,
        samples=len(next(iter(samples.inputs.values()))),
        runtime=runtime,
        tensors=tuple(_error(pair, whole.saturations, whole.tensors, model) for pair in pairs),
        steps=tuple(
            StepErrors(pair.layer, pair.tensor, _by_step(pair), stepped.saturated(pair.layer))
            for pair in pairs
            if pair.steps
        ),
    )


def _silent(stage: str, done: int, total: int) -> None:
    """Nobody listens."""
    del stage, done, total


class _Steps:
    """The integer network called once a step: every state after each, and what saturated in it."""

    def __init__(
        self, files: BundleFiles, model: onnx.ModelProto, maker: CaseMaker, feeds: Mapping[str, Array]
    ) -> None:
        self.states: dict[str, Array] = {}
        self._saturated: dict[str, list[float]] = {}
        specs = files.manifest.states
        if not specs or not maker.timed or files.manifest.whole_sequences:
            return
        steps = next(feeds[s.name].shape[s.shape.index("time")] for s in files.manifest.inputs if "time" in s.shape)
        reference = ReferenceModel(model)
        layers = {node.name: node.output[0] for node in model.graph.node if node.domain == DOMAIN}
        taken: dict[str, list[Array]] = {spec.output: [] for spec in specs}
        held = {spec.input: feeds[spec.input] for spec in specs}
        for piece in maker.slices({k: v for k, v in feeds.items() if k not in held}, "time", [1] * steps):
            result = reference.run(piece | held, keep=True)
            held = {spec.input: result.outputs[spec.output] for spec in specs}
            for name, values in taken.items():
                values.append(result.outputs[name])
            for layer, output in layers.items():
                size = result.tensors[output].size if output in result.tensors else 0
                share = min(1.0, result.saturations.get(layer, 0) / size) if size else 0.0
                self._saturated.setdefault(layer, []).append(share)
        self.states = {name: np.stack(values) for name, values in taken.items()}

    def saturated(self, layer: str) -> tuple[float, ...]:
        """The share of the layer's values at a clipping bound, of every step."""
        return tuple(self._saturated.get(layer, ()))


def _axes(model: onnx.ModelProto, maker: CaseMaker) -> dict[str, Axes]:
    """Where each tensor has its samples and its steps."""
    reference = ReferenceModel(model)

    def shapes(batch: int, steps: int) -> dict[str, Array]:
        result = reference.run(maker.random("axes", batch, steps).feeds, keep=True)
        return result.tensors | result.outputs

    first, more = (2, 3) if maker.batched else (1, 1)
    return find_axes(shapes(first, 2), shapes(more, 2), shapes(first, 3) if maker.timed else None)


def _float_values(files: BundleFiles, samples: Samples, data: Any, float_model: Any) -> tuple[str, dict[str, Array]]:
    """Every tensor of the float network, with ``NODE/state`` and ``NODE/cell`` for the states of recurrent layers."""
    if float_model is None:
        return "the bundle's baseline", _baseline(files, samples, data)
    from qdeploy.calibration.cells import CELLS
    from qdeploy.calibration.run import exposed
    from qdeploy.capture import capture
    from qdeploy.capture.computed_weights import computed_weights
    from qdeploy.capture.session import FloatSession

    time_axis = next((spec.time_axis for spec in files.manifest.inputs if spec.time_axis is not None), None)
    captured = capture(float_model, float_inputs(files.manifest, samples), time_axis=time_axis)
    feeds = captured.arrange(samples.named(captured))
    shown = exposed(captured.model)
    results = FloatSession(shown).run(feeds) | feeds
    weights = {t.name: onnx.numpy_helper.to_array(t) for t in shown.graph.initializer}
    weights |= computed_weights(captured.model)
    values: dict[str, Array] = dict(results)
    for node in shown.graph.node:
        if node.op_type in RECURRENT and node.op_type in CELLS:
            values[f"{node.name}/state"] = results[node.output[0]]
            inside = CELLS[node.op_type](node, results, weights)
            if "cell" in inside:
                # The first is the state before the first step.
                values[f"{node.name}/cell"] = inside["cell"][1:]
    source = str(float_model) if isinstance(float_model, str | Path) else type(float_model).__name__
    return source, values


def _baseline(files: BundleFiles, samples: Samples, data: Any) -> dict[str, Array]:
    """The float outputs that the bundle keeps, in the model's layout."""
    kept = files.baseline()
    if kept is not None:
        count = len(next(iter(kept.logits.values())))
        whole = load_samples(data, "test", count, samples.form)
        if kept.data_sha256 == data_sha256(whole.inputs):
            number = len(next(iter(samples.inputs.values())))
            axes = {
                spec.name: spec.shape.index("batch") if "batch" in spec.shape else 0 for spec in files.manifest.outputs
            }
            return {name: np.moveaxis(array[:number], 0, axes.get(name, 0)) for name, array in kept.logits.items()}
    raise InvalidInputError(
        "the bundle keeps float outputs of other data only, and none of the tensors inside; give the float network with "
        "--float MODEL"
    )


def _kinds(manifest: Manifest) -> dict[str, _Kind]:
    found: dict[str, _Kind] = {}
    for name, spec in manifest.tensors.items():
        if isinstance(spec.scale, float) and spec.dtype in {"uint8", "int16"}:
            found[name] = _kind(spec, spec.scale)
    for state in manifest.states:
        found[state.output] = _kind(state, state.scale)
    return found


def _kind(spec: TensorSpec | StateSpec, scale: float) -> _Kind:
    return _Kind(spec.dtype, scale, spec.zero_point, spec.bits)


def _pairs(
    files: BundleFiles,
    model: onnx.ModelProto,
    tensors: Mapping[str, Array],
    stepped: _Steps,
    real: Mapping[str, Array],
    axes: Mapping[str, Axes],
) -> Iterator[_Pair]:
    """What both networks have, in the order of the graph."""
    kinds = _kinds(files.manifest)

    def pair(
        layer: str, operator: str, name: str, kind: _Kind, found: Array, expected: Array, time: int | None
    ) -> _Pair:
        integer = found.astype(np.float64)
        if found.dtype.kind in "iu":
            integer = dequantize(found, kind.scale, kind.zero_point).astype(np.float64)
        values = expected.astype(np.float64)
        if time is not None:
            integer, values = np.moveaxis(integer, time, 0), np.moveaxis(values, time, 0)
        return _Pair(layer, operator, name, kind, values, integer, time is not None)

    for spec in files.manifest.inputs:
        if spec.name in real and spec.name in tensors and spec.name in kinds:
            time = spec.time_axis if "time" in spec.shape else None
            yield pair("input", "", spec.name, kinds[spec.name], tensors[spec.name], real[spec.name], time)
    for node in model.graph.node:
        operator = operator_name(node.op_type)
        if node.domain != DOMAIN or operator in WEIGHT_OPERATORS:
            continue
        if operator in RECURRENT:
            for output, part in zip(node.output[1:], ("state", "cell"), strict=False):
                expected = real.get(f"{node.name}/{part}")
                found = stepped.states.get(output)
                if found is None and part == "state":
                    found = tensors.get(node.output[0])
                if expected is not None and found is not None and output in kinds and found.shape == expected.shape:
                    yield pair(node.name, operator, output, kinds[output], found, expected, 0)
            continue
        for name in node.output:
            if name in real and name in tensors and name in kinds and real[name].shape == tensors[name].shape:
                yield pair(node.name, operator, name, kinds[name], tensors[name], real[name], axes[name].time)
    shown = {name for node in model.graph.node if node.domain == DOMAIN for name in node.output}
    for result in files.manifest.outputs:
        if result.name in shown or result.name not in real or result.name not in kinds:
            continue
        if real[result.name].shape == tensors[result.name].shape:
            kind = kinds[result.name]
            yield pair("output", "", result.name, kind, tensors[result.name], real[result.name], axes[result.name].time)


def _error(
    pair: _Pair, saturations: Mapping[str, int], tensors: Mapping[str, Array], model: onnx.ModelProto
) -> TensorError:
    relative = _relative(pair.integer, pair.real)
    steps = np.rint(pair.real / pair.kind.scale)
    low, high = _bounds(pair)
    rounded = np.clip(steps, low - pair.kind.zero_point, high - pair.kind.zero_point) * pair.kind.scale
    output = next((node.output[0] for node in model.graph.node if node.name == pair.layer), "")
    size = tensors[output].size if output in tensors else pair.integer.size
    return TensorError(
        pair.layer,
        pair.operator,
        pair.tensor,
        pair.kind.bits,
        relative,
        _sqnr(relative),
        _sqnr(_relative(rounded, pair.real)),
        min(1.0, saturations.get(pair.layer, 0) / size),
    )


def _bounds(pair: _Pair) -> tuple[int, int]:
    """The integers that the tensor's type has; one of 9 to 15 bits is unsigned where no value is negative."""
    kind = pair.kind
    if kind.dtype == "uint8":
        return 0, 2**kind.bits - 1
    if kind.bits < 16 and pair.real.min() >= 0:
        return 0, 2**kind.bits - 1
    return -(2 ** (kind.bits - 1)), 2 ** (kind.bits - 1) - 1


def _relative(found: Array, real: Array) -> float | None:
    power = float((real**2).sum())
    return float(np.sqrt(((found - real) ** 2).sum() / power)) if power else None


def _sqnr(relative: float | None) -> float | None:
    return None if not relative else -20 * float(np.log10(relative))


def _by_step(pair: _Pair) -> tuple[float | None, ...]:
    return tuple(_relative(found, real) for found, real in zip(pair.integer, pair.real, strict=True))
