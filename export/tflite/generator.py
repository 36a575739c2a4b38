"""model.tflite of an integer model: the main subgraph over whole sequences, and one for a single step."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import onnx

from qdeploy.export.sample_graph import Graph, read_graph
from qdeploy.export.tflite.arithmetic import Code
from qdeploy.export.tflite.byte_tensor import ByteTensor
from qdeploy.export.tflite.emitter import emitter
from qdeploy.export.tflite.schema import METADATA
from qdeploy.export.tflite.site import Site, int32_of, open_shape
from qdeploy.export.tflite.writer import ModelWriter, Value
from qdeploy.runtime.litert_interpreter import SIGNATURE, STEP
from qdeploy.runtime.manifest import InputSpec, Manifest, StateSpec

__all__ = ["SIGNATURE", "STEP", "tflite_file"]


def tflite_file(model: onnx.ModelProto, manifest: Manifest) -> bytes:
    """``model.tflite`` of an integer model, for a batch of 1; the number of steps is open.

    Args:
        model: integer-only, with its operators (not inlined).
        manifest: the bundle's.

    Raises:
        UnsupportedModelError: an operator, or a use of it, has no form for LiteRT.
    """
    # Read step by step first: that says whether a sequence may be cut at all.
    stepwise = read_graph(model, manifest)
    writer = ModelWriter(f"Made by qdeploy {manifest.qdeploy} from an integer ONNX model.")
    _add_signature(writer, read_graph(model, manifest, at_once=True), SIGNATURE, single_step=False)
    if stepwise.timed and not stepwise.whole_sequences:
        _add_signature(writer, stepwise, STEP, single_step=True)
    listed = manifest.files.get("model.onnx")
    sha256 = listed.sha256 if listed else hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()
    origin = {"qdeploy": manifest.qdeploy, "onnx_sha256": sha256}
    writer.metadata(METADATA, json.dumps(origin, sort_keys=True).encode())
    return writer.to_bytes()


def _add_signature(writer: ModelWriter, graph: Graph, key: str, *, single_step: bool) -> None:
    number, subgraph = writer.subgraph(key)
    code = Code(subgraph)
    values: dict[str, Value] = {}
    byte_tensors: dict[str, ByteTensor] = {}
    inputs: dict[str, Value] = {}
    borders: list[tuple[str, InputSpec | StateSpec]] = [(spec.name, spec) for spec in graph.manifest.inputs]
    borders += [(spec.input, spec) for spec in graph.states]
    for name, spec in borders:
        tensor = graph.tensors[name]
        scale = None if spec.scale is None else float(np.float32(spec.scale))
        inputs[name] = subgraph.input(
            name, tensor.dtype, open_shape(tensor, single_step=single_step), scale=scale, zero_point=spec.zero_point
        )
        values[name] = code.cast(inputs[name], np.int32)
    for layer in graph.layers:
        emitter(layer.operator, layer.name)(Site(layer, graph, writer, code, values, single_step, byte_tensors))
    outputs: dict[str, Value] = {}
    scales = {spec.name: (spec.scale, spec.zero_point) for spec in graph.manifest.outputs}
    scales |= {spec.output: (spec.scale, spec.zero_point) for spec in graph.states}
    for name, (scale, zero_point) in scales.items():
        tensor = graph.tensors[name]
        held = code.reshape(
            int32_of(code, values, byte_tensors, graph.root(name)), open_shape(tensor, single_step=single_step)
        )
        outputs[name] = _named(code, held, name, tensor.dtype, float(np.float32(scale)), zero_point)
        subgraph.output(outputs[name])
    writer.signature(key, number, inputs, outputs)


def _named(code: Code, value: Value, name: str, dtype: np.dtype[np.int16], scale: float, zero_point: int) -> Value:
    """The output tensor, of its own type and with its scale."""
    result = code.subgraph.tensor(name, dtype, value.shape, scale=scale, zero_point=zero_point)
    if dtype == value.dtype:
        code.subgraph.add_several("ADD", [value, code.subgraph.constant(0)], [result])
    else:
        from qdeploy.export.tflite.schema import ELEMENT_TYPES

        types = {"in_type": ELEMENT_TYPES[value.dtype.name], "out_type": ELEMENT_TYPES[dtype.name]}
        code.subgraph.add_several("CAST", [value], [result], **types)
    return result
