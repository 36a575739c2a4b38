"""What a ``.tflite`` file says of itself, read from bytes that may come from anybody; nothing of it is run.

A runtime takes the numbers in a file at their word and ends the whole process on some that are wrong. This reader follows
none that it has not checked: offsets, numbers of tensors, buffers, operators and subgraphs, sizes of constants. What a
kernel makes of its inputs it does not check; so it is no leave to run a file from anybody.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from qdeploy.export.tflite.flat_tables import FlatBytes, Table
from qdeploy.export.tflite.schema import ELEMENT_TYPES, IDENTIFIER, METADATA, OPERATORS, SCHEMA_VERSION
from qdeploy.runtime.errors import InvalidFileError

__all__ = [
    "OperatorEntry",
    "SignatureEntry",
    "SubgraphEntry",
    "TensorEntry",
    "TfliteContents",
    "check_integer_only",
    "read_tflite",
]

_NAMES = {schema.code: name for name, schema in OPERATORS.items()}
_TYPES = {number: name for name, number in ELEMENT_TYPES.items()}
_INTEGERS = {name for name in ELEMENT_TYPES if np.dtype(name).kind in "iub"}
_CUSTOM = 32
_PRODUCTS = dict.fromkeys(("BATCH_MATMUL", "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"), range(2)) | {
    "UNIDIRECTIONAL_SEQUENCE_LSTM": range(1, 9)
}
"""By operator, which of its inputs are factors of a product, where they are constants."""
#: What reads a table: entries, or knots as integers of 32 bits.
_LOOK_UPS = {"GATHER", "CAST"}
#: Of an operator's input that is left out.
_LEFT_OUT = -1


@dataclass(frozen=True)
class TensorEntry:
    """A tensor of a subgraph.

    Attributes:
        name: empty for most tensors between operators.
        dtype: a NumPy name, or ``type N`` for one that qdeploy does not write.
        shape: with -1 for a size that is open.
        buffer: the number of its constant's bytes in the file, which tensors may share; 0 for a tensor that is computed.
        constant_start, constant_bytes: where in the file these begin, and how many they are.
        scales, zero_points: its quantization parameters, as many as it has channels; empty for none.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    buffer: int
    constant_start: int
    constant_bytes: int
    scales: tuple[float, ...]
    zero_points: tuple[int, ...]


@dataclass(frozen=True)
class OperatorEntry:
    """An operator: its name or ``operator N``, its version, and the numbers of its tensors (-1: left out)."""

    name: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class SubgraphEntry:
    """A subgraph: the main one, one of another signature, or a condition or body of a loop."""

    name: str
    tensors: tuple[TensorEntry, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    operators: tuple[OperatorEntry, ...]


@dataclass(frozen=True)
class SignatureEntry:
    """A signature: the numbers of a subgraph's tensors by the names under which users give and get them."""

    key: str
    subgraph: int
    inputs: dict[str, int]
    outputs: dict[str, int]


@dataclass(frozen=True)
class TfliteContents:
    """What stands in a file.

    Attributes:
        description: a line about the file.
        subgraphs: the first is the main one.
        signatures: in the file's order.
        metadata: named bytes that no runtime reads.
    """

    description: str
    subgraphs: tuple[SubgraphEntry, ...]
    signatures: tuple[SignatureEntry, ...]
    metadata: dict[str, bytes]

    def operators(self) -> Counter[tuple[str, int]]:
        """How often each operator occurs, by its name and version."""
        return Counter((entry.name, entry.version) for graph in self.subgraphs for entry in graph.operators)

    def constants_by_use(self) -> dict[str, int]:
        """Bytes of constants, shared ones once: ``weights`` of products, ``tables``, ``others`` (biases, multipliers)."""
        sizes = {t.buffer: t.constant_bytes for graph in self.subgraphs for t in graph.tensors}
        uses: dict[int, str] = {}
        for graph in self.subgraphs:
            # A factor may stand in fewer bits, too.
            factors = {number for entry in graph.operators if entry.name == "MUL" for number in entry.inputs}
            parts = [entry for entry in graph.operators if entry.name == "SPLIT_V"]
            factors |= {entry.inputs[0] for entry in parts if factors.intersection(entry.outputs)}
            for entry in graph.operators:
                for place, number in enumerate(entry.inputs):
                    if place in _PRODUCTS.get(entry.name, ()) and number != _LEFT_OUT:
                        uses[graph.tensors[number].buffer] = "weights"
                    elif entry.name in _LOOK_UPS and place == 0 and not factors.intersection(entry.outputs):
                        uses.setdefault(graph.tensors[number].buffer, "tables")
        found = dict.fromkeys(("weights", "tables", "others"), 0)
        for buffer, size in sizes.items():
            found[uses.get(buffer, "others")] += size
        return found

    def origin(self) -> dict[str, str]:
        """The metadata of qdeploy: ``qdeploy``, the version that wrote the file, and ``onnx_sha256`` of its model; else empty."""
        try:
            said: Any = json.loads(self.metadata.get(METADATA, b"{}"))
        except (ValueError, RecursionError):
            return {}
        return {key: value for key, value in said.items() if isinstance(value, str)} if isinstance(said, dict) else {}


def read_tflite(content: bytes, where: str) -> TfliteContents:
    """Reads a file without following a number that is not checked.

    Args:
        content: the bytes.
        where: the file's name, for messages.

    Raises:
        InvalidFileError: no such file (identifier ``TFL3``, schema version 3), or one that is truncated or altered.
    """
    if content[4:8] != IDENTIFIER:
        found = f"the identifier {content[4:8]!r}" if len(content) >= 8 else f"{len(content)} bytes"
        raise InvalidFileError(f"{where}: found {found}, expected a .tflite file, which has {IDENTIFIER!r} at byte 4")
    source = FlatBytes(content, where)
    root = source.root()
    version = root.number(0, "uint32", "schema version")
    if version != SCHEMA_VERSION:
        raise InvalidFileError(
            f"{where}: found version {version} of the schema of .tflite files, expected {SCHEMA_VERSION}; export again"
        )
    buffers = [_buffer(source, table) for table in root.tables(4, "buffer")]
    codes = [_operator_code(table) for table in root.tables(1, "operator code")]
    tables = root.tables(2, "subgraph")
    if not tables:
        raise source.error("found no subgraph, expected at least one")
    subgraphs = tuple(_subgraph(source, table, buffers, codes, len(tables)) for table in tables)
    return TfliteContents(
        root.text(3, "description"),
        subgraphs,
        tuple(_signature(source, table, subgraphs) for table in root.tables(7, "signature")),
        dict(_metadata(source, table, buffers) for table in root.tables(6, "metadata")),
    )


def check_integer_only(contents: TfliteContents, where: str) -> None:
    """Every tensor of every subgraph is of integers or truth values, so nothing is computed in floating point.

    Raises:
        InvalidFileError: one is not; the message names it.
    """
    for graph in contents.subgraphs:
        for number, tensor in enumerate(graph.tensors):
            if tensor.dtype not in _INTEGERS:
                raise InvalidFileError(
                    f"{where}: tensor {number} {tensor.name!r} of subgraph {graph.name!r} is {tensor.dtype}, expected "
                    "integers only; export again, and report it if it stays so"
                )


def _buffer(source: FlatBytes, table: Table) -> tuple[int, int]:
    """Where a buffer's bytes begin, and how many they are."""
    start, size = table.span(0, 1, "data")
    # Files beyond 2 GiB keep their buffers behind the tables.
    far, far_size = table.number(1, "uint64", "offset"), table.number(2, "uint64", "size")
    if far > 1:
        if far + far_size > len(source.content):
            raise source.error(
                f"{table.what}: {far_size} bytes at byte {far}, beyond the {len(source.content)} of the file"
            )
        return far, far_size
    return start, size


def _operator_code(table: Table) -> tuple[str, int]:
    """Name and version. Old files have the code as a byte only, new ones the larger number."""
    code = max(table.number(0, "int8", "old code"), table.number(3, "int32", "code"))
    name = f"custom operator {table.text(1, 'name')!r}" if code == _CUSTOM else _NAMES.get(code, f"operator {code}")
    return name, table.number(2, "int32", "version") or 1


def _subgraph(
    source: FlatBytes, table: Table, buffers: list[tuple[int, int]], codes: list[tuple[str, int]], subgraphs: int
) -> SubgraphEntry:
    tensors = tuple(_tensor(source, entry, buffers) for entry in table.tables(0, "tensor"))

    def numbers(owner: Table, slot: int, name: str, lowest: int = 0) -> tuple[int, ...]:
        found = owner.numbers(slot, np.int32, name)
        return tuple(
            _checked(source, f"{name} of {owner.what}", int(n), len(tensors), "tensors", lowest) for n in found
        )

    operators = []
    for entry in table.tables(3, "operator"):
        code = _checked(
            source, f"code of {entry.what}", entry.number(0, "uint32", "code"), len(codes), "operator codes"
        )
        name, version = codes[code]
        for slot, part in enumerate(("condition", "body")) if name == "WHILE" else ():
            options = entry.table(4, "options")
            if options is not None:
                _checked(source, f"{part} of {entry.what}", options.number(slot, "int32", part), subgraphs, "subgraphs")
        inputs, outputs = numbers(entry, 1, "inputs", _LEFT_OUT), numbers(entry, 2, "outputs")
        operators.append(OperatorEntry(name, version, inputs, outputs))
    return SubgraphEntry(
        table.text(4, "name"), tensors, numbers(table, 1, "inputs"), numbers(table, 2, "outputs"), tuple(operators)
    )


def _tensor(source: FlatBytes, table: Table, buffers: list[tuple[int, int]]) -> TensorEntry:
    number = table.number(1, "int8", "type")
    dtype = _TYPES.get(number, f"type {number}")
    shape = tuple(int(size) for size in table.numbers(0, np.int32, "shape"))
    if any(size < 0 for size in shape):
        raise source.error(f"{table.what} has the shape {list(shape)}, expected no size below 0")
    buffer = _checked(source, f"buffer of {table.what}", table.number(2, "uint32", "buffer"), len(buffers), "buffers")
    start, constant = buffers[buffer]
    if constant and dtype in ELEMENT_TYPES:
        expected = math.prod(shape) * np.dtype(dtype).itemsize
        if constant != expected:
            raise source.error(f"{table.what} is {dtype}{list(shape)} in {constant} bytes, expected {expected}")
    open_sizes = tuple(int(size) for size in table.numbers(7, np.int32, "open shape"))
    if open_sizes and len(open_sizes) != len(shape):
        raise source.error(f"{table.what} has the shapes {list(shape)} and {list(open_sizes)}, expected one rank")
    quantization = table.table(4, "quantization")
    scales = () if quantization is None else quantization.numbers(2, np.float32, "scales")
    zero_points = () if quantization is None else quantization.numbers(3, np.int64, "zero points")
    return TensorEntry(
        table.text(3, "name"),
        dtype,
        open_sizes or shape,
        buffer,
        start,
        constant,
        tuple(float(scale) for scale in scales),
        tuple(int(zero_point) for zero_point in zero_points),
    )


def _signature(source: FlatBytes, table: Table, subgraphs: tuple[SubgraphEntry, ...]) -> SignatureEntry:
    subgraph = _checked(
        source, f"subgraph of {table.what}", table.number(4, "uint32", "subgraph"), len(subgraphs), "subgraphs"
    )
    tensors = len(subgraphs[subgraph].tensors)

    def named() -> Iterator[dict[str, int]]:
        for slot, kind in enumerate(("input", "output")):
            entries = table.tables(slot, kind)
            yield {
                entry.text(0, "name"): _checked(
                    source, f"tensor of {entry.what}", entry.number(1, "uint32", "tensor"), tensors, "tensors"
                )
                for entry in entries
            }

    inputs, outputs = named()
    return SignatureEntry(table.text(2, "key"), subgraph, inputs, outputs)


def _metadata(source: FlatBytes, table: Table, buffers: list[tuple[int, int]]) -> tuple[str, bytes]:
    number = _checked(source, f"buffer of {table.what}", table.number(1, "uint32", "buffer"), len(buffers), "buffers")
    start, size = buffers[number]
    return table.text(0, "name"), source.content[start : start + size]


def _checked(source: FlatBytes, what: str, number: int, count: int, kind: str, lowest: int = 0) -> int:
    if not lowest <= number < count:
        raise source.error(f"{what} is {number}, and the file has {count} {kind} there")
    return number
