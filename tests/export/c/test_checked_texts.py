"""A bundle's names are names, whatever somebody put there: generated C is compiled and run by whoever verifies it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from qdeploy.export.c import c_files
from qdeploy.runtime.bundle import BundleFiles
from qdeploy.runtime.engines import open_engine
from qdeploy.runtime.errors import InvalidFileError, QdeployError

from .running import golden

CODE = '__attribute__((constructor)) static void f(void) {{ fopen("{mark}", "w"); }}'
NAMES = [
    "x */ {code} /*",
    'x" {code} "',
    "x\n{code}",
    "x ??/\n{code}",
    "x /* {code}",
    "x \u2028{code}",
    "x\\",
]


def renamed(model: onnx.ModelProto, old: str, new: str) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for node in copy.graph.node:
        for names in (node.input, node.output):
            names[:] = [new if name == old else name for name in names]
    for value in (*copy.graph.input, *copy.graph.output, *copy.graph.initializer):
        value.name = new if value.name == old else value.name
    return copy


def of_input(files: BundleFiles, name: str) -> BundleFiles:
    (spec,) = files.manifest.inputs
    manifest = dataclasses.replace(files.manifest, inputs=(dataclasses.replace(spec, name=name),))
    return dataclasses.replace(files, model=renamed(files.model, spec.name, name), manifest=manifest)


def of_node(files: BundleFiles, name: str) -> BundleFiles:
    model = onnx.ModelProto()
    model.CopyFrom(files.model)
    for node in model.graph.node:
        node.name = name
    return dataclasses.replace(files, model=model)


def of_constant(files: BundleFiles, name: str) -> BundleFiles:
    return dataclasses.replace(files, model=renamed(files.model, files.model.graph.initializer[0].name, name))


def of_version(files: BundleFiles, name: str) -> BundleFiles:
    return dataclasses.replace(files, manifest=dataclasses.replace(files.manifest, qdeploy=name))


def of_dimension(files: BundleFiles, name: str) -> BundleFiles:
    (spec,) = files.manifest.outputs
    shape = (name, *spec.shape[1:])
    manifest = dataclasses.replace(files.manifest, outputs=(dataclasses.replace(spec, shape=shape),))
    return dataclasses.replace(files, manifest=manifest)


@pytest.mark.parametrize("place", [of_input, of_node, of_constant, of_version, of_dimension])
@pytest.mark.parametrize("text", NAMES)
def test_a_name_that_would_be_code_is_refused(
    place: Callable[[BundleFiles, str], BundleFiles], text: str, tmp_path: Path
) -> None:
    mark = tmp_path / "ran"
    files = place(golden("mlp"), text.format(code=CODE.format(mark=mark)))
    with pytest.raises(InvalidFileError, match="cannot stand in C"):
        c_files(files.model, files.manifest)
    with pytest.raises(QdeployError):
        open_engine("c", files)
    assert not mark.exists()


def test_an_attribute_that_is_a_text_is_refused() -> None:
    files = golden("rnn-relu-state8")
    model = onnx.ModelProto()
    model.CopyFrom(files.model)
    node = next(node for node in model.graph.node if any(a.type == onnx.AttributeProto.STRING for a in node.attribute))
    attribute = next(a for a in node.attribute if a.type == onnx.AttributeProto.STRING)
    attribute.s = b"relu); f("
    with pytest.raises(InvalidFileError, match=f"{attribute.name} of .*cannot stand in C"):
        c_files(model, files.manifest)


@pytest.mark.cc
@pytest.mark.parametrize("name", ["/layers.0/Gemm: x//y; z", "états", "uint8_t", "states", "advance"])
def test_odd_names_that_are_names_compile(name: str) -> None:
    files = of_node(of_input(golden("mlp"), name), name)
    vector = next(iter(golden("mlp").vectors().values()))
    (x,), ((output, expected),) = vector.inputs.values(), vector.outputs.items()
    assert (open_engine("c", files).run({name: x})[output] == expected).all()
