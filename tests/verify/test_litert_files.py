"""``verify --runtime litert`` on a bundle's own file: one that is as it should be, one of another version, and those of others.

They run in a process of their own: what ends it is that voice's difference.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import onnx
import pytest

from qdeploy.export.tflite.generator import tflite_file
from qdeploy.export.tflite.writer import ModelWriter
from qdeploy.runtime.bundle import BundleFiles, read_bundle
from qdeploy.runtime.engines import open_engine
from qdeploy.runtime.errors import InvalidFileError
from qdeploy.tflite_file import NAME, trusted_tflite
from qdeploy.verify import verify
from qdeploy.verify.report import VerifyReport

pytestmark = pytest.mark.litert

BUNDLE = read_bundle(Path(__file__).parents[1] / "golden" / "bundles" / "mlp.zip")
RESOLVERS = ("default", "plain", "reference")
DIFFERS = "model.tflite is not what this version makes of model.onnx"


def with_file(content: bytes) -> BundleFiles:
    """The bundle, with this as its file for LiteRT."""
    return dataclasses.replace(BUNDLE, contents={**BUNDLE.contents, NAME: content})


def compared(files: BundleFiles) -> VerifyReport:
    return verify(files, runtimes=["litert"], samples=2)


def aborting_file() -> bytes:
    """A sum of two int8 without quantization, on which the runtime ends its process."""
    (spec,), (result,) = BUNDLE.manifest.inputs, BUNDLE.manifest.outputs
    width = [size for size in spec.shape if isinstance(size, int)]
    writer = ModelWriter("test")
    number, graph = writer.subgraph("serving_default")
    x = graph.input(spec.name, np.uint8, (1, *width))
    y = graph.tensor(result.name, np.int8, (1, *width))
    narrow = graph.add("CAST", [x], np.int8, (1, *width))
    graph.add_several("ADD", [narrow, narrow], [y])
    graph.output(y)
    writer.signature("serving_default", number, {spec.name: x}, {result.name: y})
    return writer.to_bytes()


def test_the_bundle_s_own_file_is_what_runs() -> None:
    report = compared(with_file(trusted_tflite(BUNDLE)))
    assert report.passed
    assert not any(DIFFERS in remark for remark in report.remarks)
    voices = {voice.name: voice for voice in report.voices}
    assert {f"litert, {resolver} kernels" for resolver in RESOLVERS} < voices.keys()
    assert all(voice.compared_integers > 100 for voice in report.voices if voice.name.startswith("litert"))


def test_a_file_of_another_version_is_compared_and_said_to_be_another() -> None:
    """Bytes that the runtime does not look at: the integers are the same, the file is not."""
    files = with_file(trusted_tflite(BUNDLE) + bytes(16))
    report = compared(files)
    assert report.passed
    assert any(
        DIFFERS in remark and "the bundle's own file is what was compared" in remark for remark in report.remarks
    )
    # Nothing else runs it, and what to do is said.
    with pytest.raises(InvalidFileError, match=r"nothing of it was run.*verify --runtime litert.*xport again"):
        open_engine("litert", files)


def test_another_model_s_integers_are_differences() -> None:
    model = onnx.ModelProto()
    model.CopyFrom(BUNDLE.model)
    bias = next(tensor for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.INT32)
    array = onnx.numpy_helper.to_array(bias)
    bias.CopyFrom(onnx.numpy_helper.from_array(array + np.int32(1 << 20), bias.name))
    report = compared(with_file(tflite_file(model, BUNDLE.manifest)))
    assert not report.passed
    assert any(DIFFERS in remark for remark in report.remarks)
    assert report.difference is not None
    assert report.difference.voice.startswith("litert, ")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(aborting_file(), r"the process of LiteRT died \(SIG[A-Z]+\)", id="ends its process"),
        pytest.param(b"TFL3" * 64, "cannot load model.tflite|died", id="no model"),
        pytest.param(trusted_tflite(BUNDLE)[:600], "model.tflite|died", id="cut off"),
    ],
)
def test_a_file_that_ends_its_process_is_its_voice_s_difference(content: bytes, said: str) -> None:
    report = compared(with_file(content))
    assert not report.passed
    failed = [voice for voice in report.voices if voice.difference is not None]
    assert [voice.name for voice in failed] == [f"litert, {resolver} kernels" for resolver in RESOLVERS]
    for voice in failed:
        assert voice.difference is not None
        assert re.search(f"could not run: .*({said})", voice.difference.problem or "")
    # The judge went on to its end.
    assert report.voices[0].compared_integers > 0


def test_a_file_that_is_cut_off_or_in_floating_point_is_said_to_be() -> None:
    def remarks(content: bytes) -> str:
        return " ".join(compared(with_file(content)).remarks)

    assert "model.tflite: found 4 bytes, expected a .tflite file" in remarks(b"TFL3")
    (spec,), (result,) = BUNDLE.manifest.inputs, BUNDLE.manifest.outputs
    writer = ModelWriter("test")
    number, graph = writer.subgraph("serving_default")
    x = graph.input(spec.name, np.float32, (1, 2))
    y = graph.tensor(result.name, np.float32, (1, 2))
    graph.add_several("ADD", [x, x], [y])
    graph.output(y)
    writer.signature("serving_default", number, {spec.name: x}, {result.name: y})
    said = remarks(writer.to_bytes())
    assert f"tensor 0 '{spec.name}' of subgraph 'serving_default' is float32, expected integers only" in said
    assert DIFFERS in said
    assert "expected integers only" not in remarks(trusted_tflite(BUNDLE) + bytes(16))
