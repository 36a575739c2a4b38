"""The verb ``inspect``: what is in a bundle?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import onnx

from qdeploy.litert_claims import kernel_uses, statement
from qdeploy.runtime.errors import InvalidInputError
from qdeploy.runtime.ops import DOMAIN, operator_name
from qdeploy.strictness import not_strict, portable_because, remark, strict_because
from qdeploy.tflite_report import TfliteReport, tflite_report
from qdeploy.weight_storage import WeightStorage, weight_storage

if TYPE_CHECKING:
    from qdeploy.export.c.memory_report import MemoryReport
    from qdeploy.runtime.bundle import BundleFiles
    from qdeploy.runtime.manifest import InputSpec, Manifest, OutputSpec, StateSpec

__all__ = ["InspectReport", "LayerReport", "inspect"]


@dataclass(frozen=True)
class LayerReport:
    """One layer, as its manifest entry says.

    Attributes:
        name, operator: of the node.
        weight_bits, activation_bits, state_bits: integers' widths; None where there is none.
        exact_grid: whether the weights lie on the grid they were trained on, and are unchanged.
        parameters: trained weights (a quaternion layer's four components).
        macs: multiply-accumulates per sample or step.
        accumulator_bits: what the proof found; 32 are there.
        extra: what the layer's kind reports besides: gain error, orthogonality.
    """

    name: str
    operator: str
    weight_bits: int | None
    activation_bits: int | None
    state_bits: int | None
    exact_grid: bool | None
    parameters: int | None
    macs: int | None
    accumulator_bits: int | None
    extra: dict[str, Any]

    @property
    def head_room(self) -> int | None:
        """Bits of the accumulator that no input can ever use."""
        return None if self.accumulator_bits is None else 32 - self.accumulator_bits


@dataclass(frozen=True)
class InspectReport:
    """What is in a bundle.

    Attributes:
        operators: how often each operator of the graph occurs.
        layers: one entry per layer.
        file_bytes: size of every file.
        float_bytes: of the float network's parameters, quaternion matrices written in full.
        model_bytes: of ``model.onnx``.
        state_bytes: of all recurrent states, batch 1.
        activation_bytes: of a network of images, the most bytes of tensors between layers at once, batch 1; else None.
        macs: multiply-accumulates per sample or step.
        recipe: the recipe's name.
        onnx: opset and IR version of the file.
        storage: ``compact`` or ``expanded``.
        weights: how every weight tensor is stored, and how many of its weights are not 0.
        tensors: what crosses the model's border: a line for each input, output and state.
        not_strict: layers that are not computed by integers alone (``--conv-kernels qlinear``).
        built_in: where the bits of layers hold that LiteRT's own kernels compute (``--tflite-kernels builtin``), if there are.
        strict: convolutions that were asked to be such and are not, with the reason.
        portable: layers that were to be LiteRT's own kernels and are not, with the reason.
        memory: of its C on a target, where one was named.
        tflite: what stands in ``model.tflite``, where the bundle has one.
    """

    operators: dict[str, int]
    layers: tuple[LayerReport, ...]
    file_bytes: dict[str, int]
    float_bytes: int | None
    model_bytes: int
    state_bytes: int
    activation_bytes: int | None
    macs: int
    recipe: str
    onnx: str
    storage: str
    weights: tuple[WeightStorage, ...]
    tensors: tuple[str, ...]
    not_strict: tuple[str, ...] = ()
    built_in: str | None = None
    strict: Mapping[str, str] = field(default_factory=dict)
    portable: Mapping[str, str] = field(default_factory=dict)
    memory: MemoryReport | None = None
    tflite: TfliteReport | None = None

    def to_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        plain = asdict(self)
        plain["weights"] = [weight.to_dict() for weight in self.weights]
        plain["memory"] = None if self.memory is None else self.memory.to_dict()
        for entry, layer in zip(plain["layers"], self.layers, strict=True):
            entry["head_room"] = layer.head_room
        return plain

    def lines(self) -> list[str]:
        """For people."""
        lines = [f"recipe {self.recipe}, {self.storage} storage, {self.onnx}"]
        ratio = f", {100 * self.model_bytes / self.float_bytes:.1f} % of float32" if self.float_bytes else ""
        lines.append(
            f"model.onnx {self.model_bytes:,} bytes{ratio}; states {self.state_bytes:,} bytes; {self.macs:,} multiply-accumulates"
        )
        if self.activation_bytes is not None:
            lines.append(f"activations between layers: at most {self.activation_bytes:,} bytes at once for one sample")
        lines += self.tensors
        if self.not_strict:
            lines.append(remark(self.not_strict))
            lines += [f"{name} stays integer-only: {reason}" for name, reason in self.strict.items()]
        if self.built_in is not None:
            lines.append(self.built_in)
            lines += [f"{name} stays portable: {reason}" for name, reason in self.portable.items()]
        lines.append("operators: " + ", ".join(f"{count} {name}" for name, count in sorted(self.operators.items())))
        columns = ("weights", 8), ("input", 6), ("state", 6), ("parameters", 11), ("MACs", 9), ("acc. bits", 10)
        # As wide as most operators' names, or as the longest is.
        width = max([10, *(len(layer.operator) for layer in self.layers)])
        header = f"{'layer':24} {'operator':{width}} " + " ".join(f"{name:>{size}}" for name, size in columns)
        lines += ["", header]
        for layer in self.layers:
            weights = (
                "" if layer.weight_bits is None else f"{layer.weight_bits} bit" + ("=" if layer.exact_grid else "")
            )
            lines.append(
                f"{layer.name[:24]:24} {layer.operator:{width}} {weights:>8} {_bits(layer.activation_bits):>6} "
                f"{_bits(layer.state_bits):>6} {layer.parameters or 0:>11,} {layer.macs or 0:>9,} {_accumulator(layer):>10}"
            )
        if any(layer.exact_grid for layer in self.layers):
            lines.append("= weights lie on the grid they were trained on and are unchanged")
        for layer in self.layers:
            lines += _recurrent_lines(layer)
        lines += _normalization_lines(self.layers) + _sparse_lines(self.weights)
        for part in (self.tflite, self.memory):
            lines += [] if part is None else ["", *part.lines()]
        return lines


def _sparse_lines(weights: tuple[WeightStorage, ...]) -> list[str]:
    """Of the weights that are stored without their zeros."""
    sparse = [weight for weight in weights if weight.form in ("gaps", "bit map")]
    if not sparse:
        return []
    lines = [
        f"{weight.name}: {weight.nonzero:,} of {weight.weights:,} weights are not 0 ({100 * weight.density:.1f} %), "
        f"{weight.bytes:,} bytes as {weight.form}; {weight.dense_bytes:,} with the zeros"
        for weight in sparse
    ]
    total, nonzero = sum(weight.weights for weight in weights), sum(weight.nonzero for weight in weights)
    stored, dense = sum(weight.bytes for weight in weights), sum(weight.dense_bytes for weight in weights)
    lines.append(
        f"all weights: {nonzero:,} of {total:,} are not 0 ({100 * nonzero / total:.1f} %), {stored:,} bytes; "
        f"{dense:,} with the zeros"
    )
    return lines


_PLACES = {
    "weights": "folded into the weights, which costs nothing",
    "components": "folded into the quaternion components, which costs nothing",
    "multiplier": "kept in the multipliers and biases: {:,} bytes, nothing at run time",
    "expanded": "folded into the quaternion matrix, written in full for it: {:,} bytes more",
    "operator": "is an operator of its own: {:,} bytes",
}
"""Where a batch normalization went, and what it costs."""


def _normalization_lines(layers: tuple[LayerReport, ...]) -> list[str]:
    """Where batch normalizations went: a line for all layers that were treated alike."""
    alike: dict[tuple[str, bool], list[LayerReport]] = {}
    for layer in layers:
        if layer.extra.get("batch_norm") in _PLACES:
            alike.setdefault((layer.extra["batch_norm"], layer.extra.get("multiplier_bits") == 31), []).append(layer)
    lines = []
    for (place, wide), found in alike.items():
        where = _PLACES[place].format(sum(layer.extra.get("batch_norm_bytes", 0) for layer in found))
        names = found[0].name if len(found) == 1 else f"{found[0].name} and {len(found) - 1} more"
        lines.append(f"{names}: batch normalization {where}{', of 31 bits for factors far apart' if wide else ''}")
    return lines


def _bits(bits: int | None) -> str:
    return "" if bits is None else str(bits)


def _accumulator(layer: LayerReport) -> str:
    return "" if layer.accumulator_bits is None else f"{layer.accumulator_bits} of 32"


def _recurrent_lines(layer: LayerReport) -> list[str]:
    extra = layer.extra
    lines = _gain_lines(layer) if "gain_error" in extra else []
    if "component_bytes" in extra:
        compact, full, real = extra["component_bytes"], extra["matrix_bytes"], 4 * (layer.parameters or 0)
        lines.append(
            f"{layer.name}: quaternion weights of {compact:,} bytes; {full:,} as real matrices of integers, "
            f"{real:,} as components in float32, {4 * real:,} as real matrices in float32"
        )
    if "hypercomplex" in extra:
        lines.append(_hypercomplex_line(layer))
    if "hadamard_block" in extra:
        lines.append(
            f"{layer.name}: signs times Hadamard blocks of {extra['hadamard_block']}: {extra['sign_bytes']:,} bytes with the "
            f"input weight; {extra['matrix_bytes']:,} as matrices of integers"
        )
    if "cell_scale" in extra:
        lines.append(
            f"{layer.name}: cell state of {extra.get('cell_bits')} bits up to {2**15 * extra['cell_scale']:.4g}"
        )
    if extra.get("calibrated_ranges"):
        parts = [f"{part} {low:.3g} to {high:.3g}" for part, (low, high) in extra["calibrated_ranges"].items()]
        seen = f"{extra.get('calibrated_steps')} steps of {extra.get('calibrated_samples')} samples"
        lines.append(f"{layer.name}: calibrated over {seen}: {', '.join(parts)}")
    if "state_range" in extra:
        rule = extra["state_range"]
        if extra.get("state_percentile") is not None:
            rule += f" {extra['state_percentile']:g}"
        lines.append(
            f"{layer.name}: state range {extra['state_largest_integer_means']:.4g} ({rule}), "
            f"largest in calibration {extra['state_largest_float']:.4g}, "
            f"{100 * extra['state_saturated_share']:.3g} % of calibration's states saturate"
        )
    return lines


def _hypercomplex_line(layer: LayerReport) -> str:
    """What the compact form saves, and what it costs."""
    extra = layer.extra
    count, outputs, inputs = extra["hypercomplex"]
    form = (
        f"{layer.name}: {count} components of an algebra of {outputs} x {inputs}: {extra['hypercomplex_bytes']:,} bytes; "
        f"{extra['matrix_bytes']:,} as a real matrix of integers"
    )
    if extra["hypercomplex_copied"]:
        return f"{form}; the matrix repeats them without rounding"
    return (
        f"{form}; error of the matrix {100 * extra['matrix_error']:.3g} % of its root mean square, "
        f"{100 * extra['direct_error']:.3g} % if the real matrix were stored"
    )


def _gain_lines(layer: LayerReport) -> list[str]:
    """Of a layer whose multiplier and matrix are its memory."""
    extra = layer.extra
    line = (
        f"{layer.name}: loop gain error {extra['gain_error']:.2e} over {extra.get('calibrated_steps')} steps "
        f"({extra.get('multiplier_bits')}-bit multiplier); |W W^T - I| float {extra.get('orthogonality_float', 0):.3g}, "
        f"integer {extra.get('orthogonality_integer', 0):.3g}"
    )
    lines = [line]
    if extra.get("shaped_rounding"):
        lines.append(f"{layer.name}: recurrent weights are rounded up or down so that their eigenvalues stay")
    # Bundles of earlier versions do not say these.
    if "singular_values_integer" in extra:
        frobenius = [extra[f"orthogonality_frobenius_{kind}"] for kind in ("float", "integer")]
        singular = ["{:.3g} to {:.3g}".format(*extra[f"singular_values_{kind}"]) for kind in ("float", "integer")]
        lines.append(
            f"{layer.name}: Frobenius norm of W W^T - I: float {frobenius[0]:.3g}, integer {frobenius[1]:.3g}; "
            f"singular values of W: float {singular[0]}, integer {singular[1]}"
        )
    return lines


def inspect(
    files: BundleFiles, *, target: str | None = None, flash: int | None = None, ram: int | None = None
) -> InspectReport:
    """Reads the manifest and the graph; nothing is run.

    Args:
        files: an opened bundle.
        target: whose flash and RAM its C is to be measured for; it is generated anew and, where a compiler is there, compiled.
        flash, ram: bytes that are there, instead of the target's own.

    Raises:
        InvalidInputError: no such target, or memory without one; as InvalidFileError a ``model.tflite`` that is none.
        UnsupportedModelError: the model has no form in C.
    """
    manifest, model = files.manifest, files.model
    operators = Counter(
        operator_name(node.op_type) if node.domain == DOMAIN else f"onnx.{node.op_type}" for node in model.graph.node
    )
    layers = tuple(_layer(spec.name, spec.operator, dict(spec.extra)) for spec in manifest.layers)
    width = {"uint8": 1, "int16": 2, "float32": 4}
    states = sum(
        width.get(state.dtype, 4) * _product([size for size in state.shape if isinstance(size, int)])
        for state in manifest.states
    )
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    float_bytes = manifest.created_from.get("float_bytes_expanded")
    return InspectReport(
        operators=dict(operators),
        layers=layers,
        file_bytes={name: spec.bytes for name, spec in manifest.files.items()},
        float_bytes=float_bytes if isinstance(float_bytes, int) else None,
        model_bytes=manifest.files["model.onnx"].bytes,
        state_bytes=states,
        activation_bytes=_whole(manifest.extra.get("activation_bytes")),
        macs=sum(layer.macs or 0 for layer in layers),
        recipe=str(manifest.recipe.get("name", "")),
        onnx=f"ONNX opset {opset}, IR {model.ir_version}, {_functions(model)}",
        storage=str(manifest.extra.get("storage", "compact")),
        weights=weight_storage(model),
        tensors=_border(manifest),
        not_strict=not_strict(manifest),
        strict=strict_because(manifest),
        portable=portable_because(manifest),
        built_in=statement(uses) if (uses := kernel_uses(model)) else None,
        memory=_memory(files, target, flash, ram),
        tflite=tflite_report(files),
    )


def _memory(files: BundleFiles, target: str | None, flash: int | None, ram: int | None) -> MemoryReport | None:
    if target is None:
        if flash is not None or ram is not None:
            raise InvalidInputError("--flash and --ram belong to a target; name one by --target")
        return None
    from qdeploy.export.c import program_files
    from qdeploy.export.c.generator import generate_program
    from qdeploy.export.c.memory_report import memory_report
    from qdeploy.export.c.targets import find_target

    program = generate_program(files.model, files.manifest, find_target(target))
    return memory_report(program, program_files(program, files.model)).limited(flash, ram)


def _border(manifest: Manifest) -> tuple[str, ...]:
    values: list[tuple[str, str, InputSpec | OutputSpec | StateSpec]] = []
    values += [("input", spec.name, spec) for spec in manifest.inputs]
    values += [("output", spec.name, spec) for spec in manifest.outputs]
    values += [("state", spec.input, spec) for spec in manifest.states]
    whole = [
        "whole sequences only: a layer reads from the end, or has its initial state from an input; calls keep no state"
    ]
    return tuple(whole if manifest.whole_sequences else []) + tuple(
        f"{kind} {name}: {spec.dtype}[{', '.join(map(str, spec.shape))}], {_meaning(spec)}"
        for kind, name, spec in values
    )


def _meaning(spec: InputSpec | OutputSpec | StateSpec) -> str:
    if spec.scale is None:
        return f"indices 0 to {(getattr(spec, 'vocabulary_size', None) or 1) - 1}"
    return f"scale {spec.scale:.6g}, zero point {spec.zero_point}"


def _functions(model: onnx.ModelProto) -> str:
    return f"{len(model.functions)} functions" if model.functions else "inlined"


def _layer(name: str, operator: str, extra: dict[str, Any]) -> LayerReport:
    def taken(key: str) -> Any:
        return extra.pop(key, None)

    return LayerReport(
        name=name,
        operator=operator,
        weight_bits=taken("weight_bits"),
        activation_bits=taken("activation_bits"),
        state_bits=taken("state_bits"),
        exact_grid=taken("exact_grid"),
        parameters=taken("parameters"),
        macs=taken("macs"),
        accumulator_bits=taken("accumulator_bits"),
        extra=extra,
    )


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) else None


def _product(sizes: list[int]) -> int:
    result = 1
    for size in sizes:
        result *= size
    return result
