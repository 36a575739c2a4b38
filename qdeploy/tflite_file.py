"""A bundle's ``model.tflite``: written beside ``model.onnx``, and made anew before a runtime sees it.

LiteRT aborts the whole process on some files that are not as it expects. A bundle may come from anybody, so the file of a
bundle never runs in this process: what runs is made of its ``model.onnx``, and is the same to the byte. ``verify`` alone runs
the file itself, in a process of its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

import onnx

from qdeploy import __version__
from qdeploy.export.bundle import file_specs
from qdeploy.export.tflite.reader import check_integer_only, read_tflite
from qdeploy.export.tflite.traps import check_traps
from qdeploy.litert_claims import kernel_uses
from qdeploy.runtime.errors import (
    InvalidFileError,
    InvalidInputError,
    MissingRequirementError,
    UnsupportedModelError,
)
from qdeploy.runtime.litert_rules import claim, processor
from qdeploy.runtime.manifest import Manifest

if TYPE_CHECKING:
    from qdeploy.runtime.bundle import BundleFiles

__all__ = ["NAME", "check_kernels", "check_tflite_format", "trusted_tflite", "with_tflite"]

NAME = "model.tflite"


def check_tflite_format(*, inline: bool, float_io: bool) -> None:
    """Refuses what cannot be exported together with the format tflite.

    Raises:
        InvalidInputError: options that leave no layers, or no integers at the borders.
    """
    if inline:
        raise InvalidInputError(
            "--inline leaves no layers in model.onnx, of which model.tflite is made; leave one of the two out."
        )
    if float_io:
        raise InvalidInputError(
            "--float-io: model.tflite has integers at its borders; leave it or the format tflite out."
        )


def with_tflite(
    model: onnx.ModelProto, contents: Mapping[str, bytes], manifest: Manifest
) -> tuple[dict[str, bytes], Manifest]:
    """A bundle's files and manifest with ``model.tflite``.

    Raises:
        UnsupportedModelError: an operator that has no form for LiteRT.
        MissingRequirementError: flatbuffers is not installed.
    """
    everything = {**contents, NAME: _written(model, manifest)}
    return everything, dataclasses.replace(manifest, files=file_specs(everything))


def trusted_tflite(files: BundleFiles) -> bytes:
    """``model.tflite`` of a bundle, made of its ``model.onnx``; the bundle's own, if it has one, is compared.

    Raises:
        InvalidFileError: the bundle's file is not what its model gives, or none at all.
        UnsupportedModelError: an operator that has no form for LiteRT.
        MissingRequirementError: flatbuffers is not installed.
    """
    made = _written(files.model, files.manifest)
    found = files.contents.get(NAME, made)
    if found != made:
        raise InvalidFileError(
            f"{_difference(files, found)}; nothing of it was run. `qdeploy verify --runtime litert` compares its integers in a "
            "process of its own; or export again."
        )
    return made


def check_kernels(files: BundleFiles, runtime: str, resolver: str) -> None:
    """Refuses kernels that would compute other integers than the bundle's, of layers by LiteRT's own kernels.

    Args:
        files: the bundle.
        runtime: package and version.
        resolver: the kernel set.

    Raises:
        UnsupportedModelError: the bits are not claimed there; the message says why.
    """
    package, version = runtime.split()
    why = claim(kernel_uses(files.model), package, version, resolver, processor())
    if why is not None:
        raise UnsupportedModelError(
            f"{files.path}: {runtime} with its {resolver} kernels would compute other integers than the bundle's: {why}. Name "
            f"the kernels to run them all the same (--resolver {resolver}), or choose another runtime: onnxruntime, numpy, bodies"
        )


def _difference(files: BundleFiles, found: bytes) -> str:
    """Why the bundle's file is another one, as far as the file itself says it."""
    where = f"{files.path}: {NAME}"
    try:
        origin = read_tflite(found, where).origin()
    except InvalidFileError as error:
        return str(error)
    version, sha256 = origin.get("qdeploy"), origin.get("onnx_sha256")
    listed = files.manifest.files["model.onnx"].sha256
    if sha256 != listed:
        return f"{where} was made of a model.onnx with SHA-256 {sha256 or 'not given'}, the bundle's has {listed}"
    if version != __version__:
        return f"{where} was written by qdeploy {version or 'of no name'}, this is {__version__}, which writes other operators"
    return f"{where} is not what model.onnx gives"


def _written(model: onnx.ModelProto, manifest: Manifest) -> bytes:
    try:
        from qdeploy.export.tflite.generator import tflite_file
    except ImportError as error:
        raise MissingRequirementError(
            f"{NAME} cannot be written here ({error}); pip install 'qdeploy[litert]'"
        ) from error
    made = tflite_file(model, manifest)
    contents = read_tflite(made, NAME)
    check_integer_only(contents, NAME)
    check_traps(made, contents, NAME)
    return made
