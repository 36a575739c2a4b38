"""manifest.json: what a bundle holds, as frozen dataclasses, read strictly.

Every scale is the real value of one integer step: value = scale * (n - zero_point). Keys that this version does not
know are kept in ``extra`` and written back; a schema number that it does not know is refused.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeAlias

from qdeploy.runtime.errors import InvalidFileError
from qdeploy.runtime.indices import LARGEST_TABLE
from qdeploy.runtime.manifest_reader import Reader, Shape, no_constant, unique

__all__ = [
    "FileSpec",
    "InputSpec",
    "LayerSpec",
    "Manifest",
    "OutputSpec",
    "Shape",
    "StateSpec",
    "TensorSpec",
    "parse_manifest",
]

SCHEMA = 1
LARGEST_MANIFEST = 16 << 20
_LARGEST_FILE = 4 << 30
_DEEPEST = 5
"""Parts of a file's name, folders and all: an example of an Arduino library is c/arduino/examples/NAME/NAME.ino."""
_DTYPES = ("uint8", "int8", "int16", "int32", "int64", "float32")

Extra: TypeAlias = Mapping[str, Any]


def _axis(shape: Shape, name: str) -> int | None:
    return shape.index(name) if name in shape else None


@dataclass(frozen=True)
class InputSpec:
    """A graph input that the user feeds, in the layout of the user's own model.

    ``scale`` is None for indices of an embedding (int32 or int64), which count rows and mean no real value.
    """

    name: str
    float_name: str
    dtype: str
    shape: Shape
    scale: float | None
    zero_point: int
    time_axis: int | None = None
    batch_axis: int | None = None
    extra: Extra = field(default_factory=dict)

    @property
    def vocabulary_size(self) -> int | None:
        """Of indices, how many rows the table has: they are 0 to one less. None for values on a scale."""
        found = self.extra.get("vocabulary_size")
        return found if isinstance(found, int) and self.scale is None else None


@dataclass(frozen=True)
class OutputSpec:
    """A graph output that the user reads."""

    name: str
    dtype: str
    shape: Shape
    scale: float
    zero_point: int
    extra: Extra = field(default_factory=dict)

    @property
    def time_axis(self) -> int | None:
        """Where the steps lie, None for an output of the whole sequence."""
        return _axis(self.shape, "time")


@dataclass(frozen=True)
class StateSpec:
    """A recurrent layer's state: the graph input that takes it and the graph output that gives it back."""

    input: str
    output: str
    dtype: str
    shape: Shape
    scale: float
    zero_point: int
    bits: int
    extra: Extra = field(default_factory=dict)


@dataclass(frozen=True)
class TensorSpec:
    """An intermediate tensor; ``scale`` is None where none is known, a tuple where there is one per channel."""

    dtype: str
    scale: float | tuple[float, ...] | None
    zero_point: int
    bits: int
    extra: Extra = field(default_factory=dict)


@dataclass(frozen=True)
class LayerSpec:
    """One operator of the graph; what its kind reports besides stands in ``extra``."""

    name: str
    operator: str
    extra: Extra = field(default_factory=dict)


@dataclass(frozen=True)
class FileSpec:
    """A file of the bundle: its SHA-256 in hexadecimal and its size."""

    sha256: str
    bytes: int


@dataclass(frozen=True)
class Manifest:
    """The whole of manifest.json."""

    schema: int
    qdeploy: str
    created_from: Extra
    recipe: Extra
    rounding: str
    inputs: tuple[InputSpec, ...]
    outputs: tuple[OutputSpec, ...]
    states: tuple[StateSpec, ...]
    tensors: Mapping[str, TensorSpec]
    layers: tuple[LayerSpec, ...]
    files: Mapping[str, FileSpec]
    extra: Extra = field(default_factory=dict)

    @property
    def whole_sequences(self) -> bool:
        """Whether every call takes a whole sequence: a layer reads it from its end, or has its initial state from an input."""
        return self.extra.get("whole_sequences") is True

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries and lists, as they stand in the file."""
        plain: dict[str, Any] = _plain(self)
        return plain

    def to_json(self) -> str:
        """The file's text; ``parse_manifest`` gives the same manifest back."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "__dataclass_fields__"):
        known = {f.name: _plain(getattr(value, f.name)) for f in fields(value) if f.name != "extra"}
        return known | _plain(getattr(value, "extra", {}))
    return value


def parse_manifest(text: str | bytes, *, name: str = "manifest.json") -> Manifest:
    """Reads and checks a manifest.

    Raises InvalidFileError, which names the place (``inputs[0].scale``), what was found and what was expected.
    """
    if len(text) > LARGEST_MANIFEST:
        msg = f"{name}: found {len(text)} bytes, expected at most {LARGEST_MANIFEST}; export again"
        raise InvalidFileError(msg)
    try:
        root = json.loads(text, object_pairs_hook=unique, parse_constant=no_constant)
    except (ValueError, RecursionError) as error:
        msg = f"{name}: is not JSON ({error}); export again"
        raise InvalidFileError(msg) from error
    reader = Reader(root, name, "")
    schema = reader.integer("schema", 0, 1 << 31)
    if schema != SCHEMA:
        msg = f"{name}: found schema {schema}, this version reads schema {SCHEMA}; update qdeploy or export again"
        raise InvalidFileError(msg)
    manifest = Manifest(
        schema=schema,
        qdeploy=reader.string("qdeploy"),
        created_from=_origin(reader),
        recipe=reader.mapping("recipe"),
        rounding=reader.string("rounding"),
        inputs=tuple(_input(item) for item in reader.items("inputs")),
        outputs=tuple(_output(item) for item in reader.items("outputs")),
        states=tuple(_state(item) for item in reader.items("states")),
        tensors={key: _tensor(item) for key, item in reader.entries("tensors")},
        layers=tuple(_layer(item) for item in reader.items("layers")),
        files={key: _file(key, item) for key, item in reader.entries("files")},
        extra=reader.rest(),
    )
    if not manifest.inputs or not manifest.outputs:
        reader.fail("inputs" if not manifest.inputs else "outputs", "none", "at least one")
    inputs = [i.name for i in manifest.inputs] + [s.input for s in manifest.states]
    outputs = [o.name for o in manifest.outputs] + [s.output for s in manifest.states]
    for key, names in (("inputs", inputs), ("outputs", outputs)):
        repeated, count = Counter(names).most_common(1)[0]
        if count > 1:
            reader.fail(key, f"the name {repeated!r} twice", "one input, output or state of a name")
    return manifest


def _origin(reader: Reader) -> dict[str, Any]:
    """What the bundle was made from: free, but for the sizes that are shown as numbers."""
    origin = reader.mapping("created_from")
    sizes = Reader(origin, reader.file, "created_from")
    for key in origin.keys() & {"float_parameters", "float_bytes_expanded"}:
        sizes.optional_integer(key, 0, 1 << 62)
    return origin


def _input(reader: Reader) -> InputSpec:
    name, shape = reader.string("name"), reader.shape("shape")
    float_name, dtype = reader.string("float_name"), reader.choice("dtype", _DTYPES)
    scale = None if reader.is_null("scale") else reader.scale("scale")
    if scale is None:
        # The size stays among what is kept beside the fields, so that other inputs do without.
        reader.peek_integer("vocabulary_size", 1, LARGEST_TABLE)
        if dtype not in {"int32", "int64"}:
            reader.fail(
                "scale", f"null with the type {dtype}", "a positive number; only int32 and int64 indices have none"
            )
    return InputSpec(
        name=name,
        float_name=float_name,
        dtype=dtype,
        shape=shape,
        scale=scale,
        zero_point=reader.integer("zero_point", -(1 << 31), 1 << 31),
        time_axis=reader.axis("time_axis", shape),
        batch_axis=reader.axis("batch_axis", shape),
        extra=reader.rest(),
    )


def _output(reader: Reader) -> OutputSpec:
    return OutputSpec(
        name=reader.string("name"),
        dtype=reader.choice("dtype", _DTYPES),
        shape=reader.shape("shape"),
        scale=reader.scale("scale"),
        zero_point=reader.integer("zero_point", -(1 << 31), 1 << 31),
        extra=reader.rest(),
    )


def _state(reader: Reader) -> StateSpec:
    return StateSpec(
        input=reader.string("input"),
        output=reader.string("output"),
        dtype=reader.choice("dtype", _DTYPES),
        shape=reader.shape("shape"),
        scale=reader.scale("scale"),
        zero_point=reader.integer("zero_point", -(1 << 31), 1 << 31),
        bits=reader.integer("bits", 1, 32),
        extra=reader.rest(),
    )


def _tensor(reader: Reader) -> TensorSpec:
    return TensorSpec(
        dtype=reader.choice("dtype", _DTYPES),
        scale=reader.scales("scale"),
        zero_point=reader.integer("zero_point", -(1 << 31), 1 << 31),
        bits=reader.integer("bits", 1, 64),
        extra=reader.rest(),
    )


#: What layers report besides, where they do: the kinds that ``inspect`` shows as numbers, and what comes together.
_LAYER_INTEGERS = (
    "weight_bits",
    "activation_bits",
    "state_bits",
    "parameters",
    "macs",
    "accumulator_bits",
    "calibrated_steps",
    "calibrated_samples",
    "multiplier_bits",
    "cell_bits",
)
_LAYER_NUMBERS = (
    "cell_scale",
    "gain_error",
    "orthogonality_float",
    "orthogonality_integer",
    "orthogonality_frobenius_float",
    "orthogonality_frobenius_integer",
    "state_percentile",
    "state_largest_integer_means",
    "state_largest_float",
    "state_saturated_share",
)
_LAYER_RANGES = ("singular_values_float", "singular_values_integer")
_LAYER_GROUPS = (
    (*_LAYER_RANGES, "orthogonality_frobenius_float", "orthogonality_frobenius_integer"),
    ("state_range", "state_largest_integer_means", "state_largest_float", "state_saturated_share"),
)


def _layer(reader: Reader) -> LayerSpec:
    name, operator = reader.string("name"), reader.string("operator")
    extra = reader.rest()
    for key in extra.keys() & set(_LAYER_INTEGERS):
        reader.optional_integer(key, 0, 1 << 62)
    for key in extra.keys() & set(_LAYER_NUMBERS):
        reader.optional_number(key)
    for key in extra.keys() & set(_LAYER_RANGES):
        reader.interval(key)
    for key in extra.keys() & {"exact_grid", "shaped_rounding"}:
        reader.get(key, (bool,), "true, false or null", optional=True)
    if extra.get("calibrated_ranges") is not None:
        ranges = Reader(extra["calibrated_ranges"], reader.file, f"layer {name!r}: calibrated_ranges")
        for part in extra["calibrated_ranges"]:
            ranges.interval(part)
    for key in extra.keys() & {"state_range"}:
        reader.string(key)
    for group in _LAYER_GROUPS:
        missing = sorted(set(group) - extra.keys())
        # One that is null is no better than one that is missing.
        unknown = [key for key in group if extra.get(key) is None]
        if len(missing) < len(group) and unknown:
            reader.fail(unknown[0], "nothing", f"a value beside those of {', '.join(group)}")
    for key in ("gain_error", "cell_scale"):
        if key in extra and extra[key] is None:
            reader.fail(key, "null", "a number")
    return LayerSpec(name=name, operator=operator, extra=extra)


def _file(key: str, reader: Reader) -> FileSpec:
    parts = key.split("/")
    plain = all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,127}", part) and ".." not in part for part in parts)
    if not plain or len(parts) > _DEEPEST:
        reader.fail(
            "", f"the file name {key!r}", "a plain name such as model.onnx, or one in a folder, lib/pi4/libmodel.so"
        )
    sha256 = reader.string("sha256")
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        reader.fail("sha256", repr(sha256[:80]), "64 hexadecimal digits")
    return FileSpec(sha256=sha256, bytes=reader.integer("bytes", 0, _LARGEST_FILE))
