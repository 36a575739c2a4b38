"""The format ``c`` of an export: sources, compiled libraries and an example beside ``model.onnx``."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import onnx

from qdeploy.doctor import processor_features
from qdeploy.export.bundle import file_specs
from qdeploy.export.c.artifacts import c_artifacts, has_library
from qdeploy.export.c.build import compiler
from qdeploy.export.c.library_folder import SHAPES
from qdeploy.export.c.targets import find_target
from qdeploy.runtime.errors import InvalidInputError
from qdeploy.runtime.manifest import Manifest
from qdeploy.runtime.npz import read_npz

__all__ = ["FORMATS", "check_formats", "with_c"]

FORMATS = ("onnx", "tflite", "c")
"""What a bundle can hold. ``model.onnx`` is always there: all else is made of it."""

_DEFAULT_TARGET = "generic"


def check_formats(
    formats: Sequence[str],
    targets: Sequence[str],
    c_library: str | None,
    *,
    inline: bool,
    float_io: bool,
    memory: tuple[int | None, int | None] = (None, None),
    max_steps: int | None = None,
) -> None:
    """Refuses what cannot be exported together, before anything is computed.

    Raises:
        InvalidInputError: an unknown format, target or library shape, options of C without C, or C with options that it lacks.
        MissingRequirementError: no compiler for a target on this machine.
    """
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        raise InvalidInputError(f"formats={tuple(formats)!r}: expected some of {', '.join(FORMATS)}.")
    if "c" not in formats:
        sizes = zip(("--flash", "--ram"), memory, strict=True)
        others = (("--target", targets), ("--c-library", c_library), ("--max-steps", max_steps))
        for option, given in (*others, *sizes):
            if given:
                raise InvalidInputError(
                    f"{option} belongs to the format c, which is not asked for; add --format onnx,c."
                )
        return
    if c_library is not None and c_library not in SHAPES:
        raise InvalidInputError(f"c_library={c_library!r}; expected one of {', '.join(SHAPES)}.")
    if inline:
        raise InvalidInputError(
            "--inline leaves no layers in model.onnx, of which C is made; leave one of the two out."
        )
    if float_io:
        raise InvalidInputError("--float-io: generated C has integers at its borders; leave it or the format c out.")
    if memory != (None, None) and not any(has_library(target) for target in targets):
        raise InvalidInputError("--flash and --ram belong to a board; name one by --target.")
    for target in targets:
        find_target(target)
        if has_library(target):
            compiler(target)


def with_c(
    model: onnx.ModelProto,
    contents: Mapping[str, bytes],
    manifest: Manifest,
    targets: Sequence[str],
    c_library: str | None,
    progress: Callable[[str, int, int], None] | None = None,
    *,
    memory: tuple[int | None, int | None] = (None, None),
    max_steps: int | None = None,
) -> tuple[dict[str, bytes], Manifest]:
    """A bundle's files and manifest with those of C.

    Raises:
        UnsupportedModelError: an operator that has no form in C, or more memory than a board has; ``memory`` says that of
            flash and RAM where the target's is not right.
        InvalidInputError: ``max_steps``, the longest whole sequence, of a network that takes any number of steps.
        MissingRequirementError, BuildError: no compiler, or one that refuses the sources.
    """
    vectors = read_npz(contents["vectors.npz"], "vectors.npz")
    wanted = tuple(targets) or (_DEFAULT_TARGET,)
    flash, ram = memory
    files, said = c_artifacts(
        model,
        manifest,
        vectors,
        wanted,
        c_library,
        processor_features()[0],
        progress,
        flash=flash,
        ram=ram,
        max_steps=max_steps,
    )
    everything = {**contents, **files}
    return everything, dataclasses.replace(manifest, files=file_specs(everything), extra={**manifest.extra, "c": said})
