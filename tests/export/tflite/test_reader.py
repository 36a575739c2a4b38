"""The reader of .tflite files: what stands in ours, and every kind of file that is none of ours, or was altered."""

from __future__ import annotations

import dataclasses
import math
import random
from functools import cache
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import onnx
import pytest

from qdeploy.export.tflite import writer as writer_module
from qdeploy.export.tflite.flat_tables import FlatBytes, Table
from qdeploy.export.tflite.generator import tflite_file
from qdeploy.export.tflite.reader import TfliteContents, check_integer_only, read_tflite
from qdeploy.export.tflite.schema import METADATA
from qdeploy.export.tflite.writer import ModelWriter
from qdeploy.runtime.bundle import BundleFiles, read_bundle
from qdeploy.runtime.errors import InvalidFileError
from qdeploy.tflite_file import NAME, trusted_tflite
from qdeploy.tflite_report import tflite_report

pytestmark = pytest.mark.needs("flatbuffers")

FOLDER = Path(__file__).parents[2] / "golden" / "bundles"


@cache
def bundle(name: str = "rnn-relu-state12") -> BundleFiles:
    """A golden bundle with the file that its model gives."""
    files = read_bundle(FOLDER / f"{name}.zip")
    return dataclasses.replace(files, contents={**files.contents, NAME: tflite_file(files.model, files.manifest)})


def content() -> bytes:
    """A file with a loop, two signatures, states and metadata."""
    return bundle().contents[NAME]


def read(data: bytes) -> TfliteContents:
    """Reads bytes under the name that the messages must have."""
    return read_tflite(data, "out: model.tflite")


def one_add(dtype: Any = np.int32) -> bytes:
    """A file with one ADD."""
    model = ModelWriter("small")
    _, graph = model.subgraph("main")
    x = graph.input("x", dtype, (1, 2))
    y = graph.add("ADD", [x, x], dtype, (1, 2), "y")
    graph.output(y)
    model.signature("serving_default", 0, {"x": x}, {"y": y})
    return model.to_bytes()


def parts(kind: int) -> list[Table]:
    """The tables of the main subgraph: its tensors (0) or operators (3)."""
    return FlatBytes(content(), "").root().tables(2, "subgraph")[0].tables(kind, "part")


def changed(position: int | None, value: int) -> bytes:
    """The file with another number of 32 bits at a position."""
    assert position is not None
    return content()[:position] + (value % 2**32).to_bytes(4, "little") + content()[position + 4 :]


def test_it_reads_what_was_written() -> None:
    found = read(content())
    manifest = bundle().manifest
    assert {signature.key for signature in found.signatures} == {"serving_default", "step"}
    main = found.subgraphs[0]
    names = [spec.name for spec in manifest.inputs] + [spec.input for spec in manifest.states]
    assert list(found.signatures[0].inputs) == names
    (spec,) = manifest.inputs
    tensor = main.tensors[found.signatures[0].inputs[spec.name]]
    assert (tensor.name, tensor.dtype) == (spec.name, spec.dtype)
    assert tensor.shape == tuple({"time": -1, "batch": 1}.get(str(size), size) for size in spec.shape)
    assert tensor.scales == (float(np.float32(spec.scale or 0)),)
    assert tensor.zero_points == ((spec.zero_point,) if spec.zero_point else (0,))
    assert found.operators()["WHILE", 1] == 1
    assert found.operators()["BATCH_MATMUL", 3] > 0
    assert found.origin() == {"qdeploy": manifest.qdeploy, "onnx_sha256": manifest.files["model.onnx"].sha256}
    constants = found.constants_by_use()
    weights = [t for t in bundle().model.graph.initializer if t.data_type == onnx.TensorProto.INT8]
    assert constants["weights"] == sum(math.prod(weight.dims) for weight in weights) > 0
    assert constants["tables"] == 0
    assert 0 < constants["others"] < len(content()) - constants["weights"]
    check_integer_only(found, "out")


def test_every_cut_is_refused() -> None:
    data = content()
    for size in [*range(300), *range(300, len(data), 101)]:
        with pytest.raises(InvalidFileError, match=r"out: model\.tflite: "):
            read(data[:size])


def test_altered_bytes_are_read_or_refused() -> None:
    data = bundle("mlp").contents[NAME]
    source = random.Random(1)  # noqa: S311 - repeatable on purpose
    refused = 0
    for _ in range(600):
        altered = bytearray(data)
        for _ in range(source.randrange(1, 6)):
            altered[source.randrange(len(altered))] = source.choice((0, 1, 127, 128, 255, source.randrange(256)))
        try:
            read(bytes(altered))
        except InvalidFileError:
            refused += 1
    assert 100 < refused < 600


@pytest.mark.parametrize("data", [b"", b"TFL3", b"\0\0\0\0TFL3", b"\xff" * 100, b"\x10\0\0\0TFL3" + b"\xff" * 60])
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidFileError, match=r"^out: model\.tflite: "):
        read(data)


def test_another_identifier_is_named() -> None:
    with pytest.raises(InvalidFileError, match=r"found the identifier b'TFL2', expected a \.tflite file"):
        read(content()[:4] + b"TFL2" + content()[8:])


def test_another_version_of_the_schema_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "SCHEMA_VERSION", 4)
    with pytest.raises(InvalidFileError, match=r"found version 4 of the schema of \.tflite files, expected 3"):
        read(one_add())


def test_a_buffer_that_is_not_there_is_named() -> None:
    place = next(place for tensor in parts(0) if (place := tensor._place(2, 4, "buffer")) is not None)
    with pytest.raises(
        InvalidFileError, match=r"buffer of tensor \d+ of subgraph 0 is 999, and the file has \d+ buffers"
    ):
        read(changed(place, 999))


@pytest.mark.parametrize(
    ("size", "words"), [(-1, "expected no size below 0"), (99, r"in \d+ bytes, expected \d+; the file is incomplete")]
)
def test_shapes_that_cannot_be_are_named(size: int, words: str) -> None:
    constant = next(tensor for tensor in parts(0) if tensor._place(2, 4, "buffer") is not None)
    start, count = constant.span(0, 4, "shape")
    assert count
    with pytest.raises(InvalidFileError, match=words):
        read(changed(start, size))


@pytest.mark.parametrize(("slot", "number"), [(1, 9999), (1, -2), (2, 9999), (2, -1)])
def test_operators_name_tensors_that_are_there(slot: int, number: int) -> None:
    kind = {1: "inputs", 2: "outputs"}[slot]
    start, _ = parts(3)[0].span(slot, 4, kind)
    with pytest.raises(InvalidFileError, match=f"of subgraph 0 is {number}, and the file has .* tensors"):
        read(changed(start, number))


@pytest.mark.parametrize("slot", [0, 1])
def test_a_loop_names_subgraphs_that_are_there(slot: int) -> None:
    (place,) = [
        options._place(slot, 4, "subgraph")
        for entry, operator in zip(parts(3), read(content()).subgraphs[0].operators, strict=True)
        if operator.name == "WHILE" and (options := entry.table(4, "options")) is not None
    ]
    with pytest.raises(InvalidFileError, match=r"of operator \d+ of subgraph 0 is 77, and the file has \d subgraphs"):
        read(changed(place, 77))


def test_a_table_that_is_named_over_and_over_is_no_work() -> None:
    """3,000 times the same subgraph of 3,000 times the same tensor: nine million of them in 24 KB."""
    builder, count = flatbuffers.Builder(1024), 3000

    def table(**slots: int) -> int:
        builder.StartObject(8)
        for slot, target in slots.items():
            builder.PrependUOffsetTRelativeSlot(int(slot[1:]), target, 0)
        return int(builder.EndObject())

    def vector(target: int, size: int) -> int:
        builder.StartVector(4, size, 4)
        for _ in range(size):
            builder.PrependUOffsetTRelative(target)
        return int(builder.EndVector())

    buffers = vector(table(), 1)
    graphs = vector(table(_0=vector(table(), count)), count)
    builder.StartObject(8)
    builder.PrependUint32Slot(0, 3, 0)
    builder.PrependUOffsetTRelativeSlot(2, graphs, 0)
    builder.PrependUOffsetTRelativeSlot(4, buffers, 0)
    builder.Finish(builder.EndObject(), file_identifier=b"TFL3")
    with pytest.raises(InvalidFileError, match=r"names more than a file of 24\d\d\d bytes can hold"):
        read(bytes(builder.Output()))


def test_a_tensor_in_floating_point_is_named() -> None:
    with pytest.raises(InvalidFileError, match="tensor 0 'x' of subgraph 'main' is float32, expected integers only"):
        check_integer_only(read(one_add(np.float32)), "out")


class TestOfABundle:
    def altered(self, data: bytes) -> BundleFiles:
        return dataclasses.replace(bundle(), contents={**bundle().contents, NAME: data})

    def refusal(self, data: bytes) -> str:
        with pytest.raises(InvalidFileError) as error:
            trusted_tflite(self.altered(data))
        assert str(error.value).startswith(f"{bundle().path}: model.tflite")
        return str(error.value)

    def test_the_file_that_the_model_gives_is_taken(self) -> None:
        assert trusted_tflite(bundle()) == content()

    def test_a_cut_file_says_so(self) -> None:
        assert "the file is incomplete or was altered" in self.refusal(content()[:-1000])

    def test_another_model_s_file_says_whose_it_is(self) -> None:
        other = bundle("mlp")
        said = self.refusal(other.contents[NAME])
        assert "was made of a model.onnx with SHA-256 " + other.manifest.files["model.onnx"].sha256 in said
        assert "nothing of it was run" in said

    def test_another_version_s_file_says_whose_it_is(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("qdeploy.tflite_file.__version__", "9.9")
        # As if that version wrote one constant elsewhere.
        index = content().index(b"Made by qdeploy")
        said = self.refusal(content()[:index] + b"MADE" + content()[index + 4 :])
        assert f"was written by qdeploy {bundle().manifest.qdeploy}, this is 9.9" in said

    def test_a_file_with_another_weight_says_that_it_is_not_what_the_model_gives(self) -> None:
        index = content().index(b"Made by qdeploy")
        said = self.refusal(content()[:index] + b"MADE" + content()[index + 4 :])
        assert "is not what model.onnx gives" in said

    def test_inspect_reads_it(self) -> None:
        report = tflite_report(bundle())
        assert report is not None
        assert report.of_this_model
        assert report.operators["WHILE"] == 1
        assert report.versions == {"BATCH_MATMUL": 3}
        (spec,) = bundle().manifest.inputs
        assert "time" in report.signatures["serving_default"]["inputs"][spec.name]
        assert "time" not in report.signatures["step"]["inputs"][spec.name]
        assert "integers only" in report.lines()[0]
        assert report.constants["weights"] > 0
        assert "operators and tensors" in report.lines()[1]

    def test_inspect_refuses_what_is_no_such_file(self) -> None:
        with pytest.raises(InvalidFileError, match=r"found 4 bytes, expected a \.tflite file"):
            tflite_report(self.altered(b"TFL3"))

    def test_inspect_says_that_it_is_of_another_model(self) -> None:
        report = tflite_report(self.altered(bundle("mlp").contents[NAME]))
        assert report is not None
        assert not report.of_this_model
        assert "was made of another model.onnx" in report.lines()[-1]

    def test_a_bundle_without_it_has_no_report(self) -> None:
        assert tflite_report(read_bundle(FOLDER / "mlp.zip")) is None


def test_metadata_that_are_no_json_say_nothing() -> None:
    model = ModelWriter("small")
    model.subgraph("main")
    model.metadata(METADATA, b"[1")
    assert read(model.to_bytes()).origin() == {}
