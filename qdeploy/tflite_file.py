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

from qdeploy.export.bundle import file_specs
from qdeploy.runtime.errors import InvalidFileError, InvalidInputError, MissingRequirementError
from qdeploy.runtime.manifest import Manifest

if TYPE_CHECKING:
    from qdeploy.runtime.bundle import BundleFiles

__all__ = ["NAME", "check_tflite_format", "trusted_tflite", "with_tflite"]

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
        InvalidFileError: the bundle's file is not what its model gives.
        UnsupportedModelError: an operator that has no form for LiteRT.
        MissingRequirementError: flatbuffers is not installed.
    """
    made = _written(files.model, files.manifest)
    if files.contents.get(NAME, made) != made:
        raise InvalidFileError(
            f"{files.path}: {NAME} is not what model.onnx gives (the bundle is of qdeploy {files.manifest.qdeploy}); nothing "
            "of it was run. `qdeploy verify --runtime litert` compares its integers in a process of its own; or export again."
        )
    return made


def _written(model: onnx.ModelProto, manifest: Manifest) -> bytes:
    try:
        from qdeploy.export.tflite.generator import tflite_file
    except ImportError as error:
        raise MissingRequirementError(
            f"{NAME} cannot be written here ({error}); pip install 'qdeploy[litert]'"
        ) from error
    return tflite_file(model, manifest)
