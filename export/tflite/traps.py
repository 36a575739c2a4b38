"""What ends a runtime's process, or is wrong there without a word: no file of ours has it.

Measured with ai-edge-litert 1.0.1 to 2.3.0 and tflite-runtime 2.14.0, on x86-64, arm64 and armv7.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from qdeploy.export.tflite.reader import OperatorEntry, SubgraphEntry, TensorEntry, TfliteContents
from qdeploy.runtime.errors import InvalidFileError

__all__ = ["check_traps"]

_ELEMENT_WISE = {
    *("ADD", "SUB", "MUL", "MAXIMUM", "MINIMUM", "RIGHT_SHIFT", "FLOOR_DIV"),
    *("LESS", "LESS_EQUAL", "GREATER", "GREATER_EQUAL", "EQUAL", "NOT_EQUAL"),
}
_QUANTIZED = {"FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D"}
_LOWEST = -128


def check_traps(content: bytes, contents: TfliteContents, where: str) -> None:
    """No operator of a file is one on which a runtime aborts, or computes garbage, with the types that it has there.

    Args:
        content: the file.
        contents: what :func:`~qdeploy.export.tflite.reader.read_tflite` gave for it.
        where: its name, for messages.

    Raises:
        InvalidFileError: the operator, its place and what is wrong with it.
    """
    for graph in contents.subgraphs:
        for number, operator in enumerate(graph.operators):
            for trap in _traps(content, graph, operator):
                raise InvalidFileError(
                    f"{where}: operator {number} of subgraph {graph.name!r}, {operator.name}: {trap}; export again, and report "
                    "it if it stays so"
                )


def _traps(content: bytes, graph: SubgraphEntry, operator: OperatorEntry) -> Iterator[str]:
    inputs = [graph.tensors[number] for number in operator.inputs if number >= 0]
    outputs = [graph.tensors[number] for number in operator.outputs]
    if operator.name in _ELEMENT_WISE:
        bare = [tensor for tensor in inputs if tensor.dtype in {"int8", "uint8"} and not tensor.scales]
        if bare:
            yield f"found {bare[0].dtype} without a scale, which ends the process; expected int32"
    elif operator.name == "BATCH_MATMUL":
        found = [tensor.dtype for tensor in (*inputs, *outputs)]
        if found != ["int8", "int8", "int32"]:
            yield f"found {', '.join(found)}; expected the raw accumulator, int8 times int8 into int32"
        # Two products of -128 and -128 overflow the 16 bits that some processors add them in.
        if any(tensor.constant_bytes and (_values(content, tensor) == _LOWEST).any() for tensor in inputs):
            yield f"found a weight of {_LOWEST}, whose products overflow on some processors; expected -127 to 127"
    elif operator.name in _QUANTIZED:
        if [tensor.dtype for tensor in (inputs[0], outputs[0])] != ["int8", "int8"]:
            yield (
                f"found {inputs[0].dtype} into {outputs[0].dtype}, which is refused or wrong without a word; expected int8 "
                "into int8"
            )
        if not all(tensor.scales for tensor in (inputs[0], inputs[1], outputs[0])):
            yield "found a tensor without a scale; expected one for its input, weight and output"


def _values(content: bytes, tensor: TensorEntry) -> np.ndarray[tuple[int], np.dtype[np.int8]]:
    return np.frombuffer(content, np.int8, tensor.constant_bytes, tensor.constant_start)
