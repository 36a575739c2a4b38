"""What the manifest of a bundle says: written down from the captured float model and the integer model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from qdeploy.quantize.quantizer import dimensions, of_whole_sequences
from qdeploy.runtime.manifest import FileSpec, InputSpec, LayerSpec, Manifest, OutputSpec, StateSpec, TensorSpec
from qdeploy.runtime.ops import NOT_STRICT

if TYPE_CHECKING:
    from qdeploy.capture.captured import CapturedModel
    from qdeploy.quantize import IntegerModel, Recipe

__all__ = ["is_strict", "make_manifest"]


def is_strict(integers: IntegerModel) -> bool:
    """Whether every operator of the model computes in integers alone."""
    return not any(layer["operator"] in NOT_STRICT for layer in integers.graph.layers)


def make_manifest(
    captured: CapturedModel,
    integers: IntegerModel,
    recipe: Recipe,
    files: Mapping[str, FileSpec],
    *,
    float_io: bool,
) -> Manifest:
    """The manifest of a bundle with these files.

    Args:
        captured: the float model: what its inputs are called, and where their axes of time and batch lie.
        integers: the integer model: types of its borders, tensors and layers.
        recipe: that it was made by.
        files: of the bundle.
        float_io: whether the model's borders are float32.
    """
    import qdeploy

    graph = integers.graph
    extra: dict[str, Any] = {"storage": graph.storage, "float_io": float_io}
    if not is_strict(integers):
        extra["integer_only"] = False
    if graph.whole_sequences:
        extra["whole_sequences"] = True
    if graph.activation_bytes is not None:
        extra["activation_bytes"] = graph.activation_bytes
    return Manifest(
        schema=1,
        qdeploy=qdeploy.__version__,
        created_from={
            "source": captured.source,
            "float_parameters": _float_parameters(captured.model) - _implied(graph.layers),
            "float_bytes_expanded": _float_parameters(captured.model, expanded=True) * 4,
            "notes": list(captured.notes),
        },
        recipe=recipe.to_dict(),
        rounding=recipe.rounding,
        inputs=_inputs(captured, integers, float_io=float_io),
        outputs=_outputs(integers, float_io=float_io),
        states=_states(integers, float_io=float_io),
        tensors=_tensors(integers),
        layers=_layers(graph.layers),
        files=files,
        extra=extra,
    )


def _outside(dtype: str, *, float_io: bool) -> str:
    return "float32" if float_io else dtype


def _inputs(captured: CapturedModel, integers: IntegerModel, *, float_io: bool) -> tuple[InputSpec, ...]:
    by_name = {spec.name: spec for spec in captured.inputs}
    found = []
    for name in integers.inputs:
        spec, kind = by_name[name], integers.graph.types[name]
        found.append(
            InputSpec(
                name=name,
                float_name=name,
                # Indices of a table stay what they are.
                dtype=kind.dtype if kind.is_index else _outside(kind.dtype, float_io=float_io),
                shape=spec.shape,
                scale=None if kind.is_index else kind.scale,
                zero_point=kind.zero_point,
                time_axis=spec.time_axis,
                batch_axis=spec.batch_axis,
                extra={"vocabulary_size": kind.high + 1} if kind.is_index else {},
            )
        )
    return tuple(found)


def _outputs(integers: IntegerModel, *, float_io: bool) -> tuple[OutputSpec, ...]:
    whole = of_whole_sequences(integers.model)
    shapes = {value.name: tuple(dimensions(value)) for value in integers.model.graph.output}
    types = integers.graph.types
    return tuple(
        OutputSpec(
            name=name,
            dtype=_outside(types[name].dtype, float_io=float_io),
            shape=shapes[name],
            scale=types[name].scale,
            zero_point=types[name].zero_point,
            extra={"whole_sequence": True} if name in whole else {},
        )
        for name in integers.outputs
    )


def _states(integers: IntegerModel, *, float_io: bool) -> tuple[StateSpec, ...]:
    return tuple(
        StateSpec(
            input=state.input,
            output=state.output,
            dtype=_outside(state.type.dtype, float_io=float_io),
            shape=("batch", state.size),
            scale=state.type.scale,
            zero_point=state.type.zero_point,
            bits=state.type.bits,
        )
        for state in integers.graph.states
    )


def _tensors(integers: IntegerModel) -> dict[str, TensorSpec]:
    """Activations, and of the constants those that are integers."""
    tensors = {
        name: TensorSpec(found.dtype, None if found.is_index else found.scale, found.zero_point, found.bits)
        for name, found in integers.graph.types.items()
    }
    for name, info in integers.graph.constants_info.items():
        if info["dtype"] in ("uint8", "int8", "int16", "int32"):
            scale = tuple(info["scale"]) if isinstance(info["scale"], list) else info["scale"]
            tensors[name] = TensorSpec(info["dtype"], scale, info["zero_point"], info["bits"])
    return tensors


def _layers(layers: Iterable[Mapping[str, Any]]) -> tuple[LayerSpec, ...]:
    return tuple(
        LayerSpec(
            str(layer["name"]),
            str(layer["operator"]),
            {key: value for key, value in layer.items() if key not in ("name", "operator")},
        )
        for layer in layers
    )


def _float_parameters(model: onnx.ModelProto, *, expanded: bool = False) -> int:
    """How many trained numbers the float model has; with ``expanded``, quaternion matrices written in full."""
    dimensions = {t.name: list(t.dims) for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT}
    sizes = {name: int(np.prod(dims)) for name, dims in dimensions.items()}
    total = sum(sizes.values())
    if expanded:
        for node in model.graph.node:
            if node.op_type == "HamiltonMatrix":
                total += 3 * sum(sizes.get(name, 0) for name in node.input)
            elif node.op_type == "HypercomplexMatrix":
                a, s = (dimensions[name] for name in node.input)
                total += a[1] * a[2] * (sizes[node.input[1]] // s[0]) - sizes[node.input[0]] - sizes[node.input[1]]
    return total


def _implied(layers: Iterable[Mapping[str, Any]]) -> int:
    """How many entries of Hadamard matrices the float model writes out that were never trained: all but a sign a unit."""
    return sum(int(layer["macs"]) - int(layer["parameters"]) for layer in layers if "hadamard_block" in layer)
