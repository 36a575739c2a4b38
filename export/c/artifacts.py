"""All files of C in a bundle: sources, libraries by target, an example, and what build systems take."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import onnx
from numpy.typing import NDArray

from qdeploy.export.c import program_files
from qdeploy.export.c.build import build, compiler_version, library_name
from qdeploy.export.c.example import example, golden_header, sketch
from qdeploy.export.c.generator import generate_program
from qdeploy.export.c.library_folder import cmake_lists, library_folder
from qdeploy.export.c.memory_report import memory_report
from qdeploy.export.c.selftest import SELFTEST, selftest_c
from qdeploy.export.c.targets import find_target, source_target
from qdeploy.runtime.bundle import group_vectors
from qdeploy.runtime.errors import InvalidInputError
from qdeploy.runtime.manifest import Manifest

__all__ = ["c_artifacts", "has_library"]


def has_library(target: str) -> bool:
    """Whether a bundle carries a library for the target; ``generic`` is for compilers that nobody knows here."""
    found = find_target(target)
    return found.builds_here or found.zig_target is not None


def c_artifacts(
    model: onnx.ModelProto,
    manifest: Manifest,
    vectors: Mapping[str, NDArray[Any]],
    targets: Sequence[str],
    library: str | None = None,
    processor: str | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    *,
    flash: int | None = None,
    ram: int | None = None,
    max_steps: int | None = None,
) -> tuple[dict[str, bytes], dict[str, Any]]:
    """The files of C by name, and what the manifest says of them (its key ``c``).

    ``model.h`` and ``model.c`` have the first target's layout of weights; every compiler takes them, and other processors
    compute the same bits more slowly. Each target's library is built from sources of its own layout.

    Args:
        model: integer-only, with its operators.
        manifest: the bundle's; of its files it must know ``model.onnx``.
        vectors: the arrays of vectors.npz.
        targets: names; the first is whose sources the bundle holds.
        library: one of ``library_folder.SHAPES``, for a library folder besides.
        processor: this machine's, for the manifest: the library for ``host`` may have instructions that others lack.
        progress: called as (stage, done, total).
        flash, ram: bytes that the boards have, instead of what their targets say.
        max_steps: the longest sequence of a network that takes whole ones, instead of the calibration's.

    Raises:
        InvalidInputError: an unknown target; ``max_steps`` of a network that takes any number of steps.
        UnsupportedModelError: an operator that has no form in C, or more memory than a target has.
        MissingRequirementError, BuildError: no compiler, or one that refuses.
    """
    packed_for = source_target(targets[0])
    program = generate_program(model, manifest, find_target(packed_for), max_steps)
    if max_steps is not None and not program.graph.whole_sequences:
        raise InvalidInputError(
            f"--max-steps {max_steps}: this network does not take whole sequences, its memory is the same for any number of "
            "steps; leave the option out."
        )
    sources = program_files(program, model)
    golden, run = golden_header(program, vectors), example(program)
    test = selftest_c(program, group_vectors(vectors, "vectors.npz"))
    files = {**sources, "golden.h": golden, "example.c": run, SELFTEST: test, "CMakeLists.txt": cmake_lists()}
    if library is not None:
        files |= library_folder(library, sources, golden, run, sketch(program), manifest.qdeploy)
    built: dict[str, Any] = {}
    wanted = [target for target in dict.fromkeys(targets) if has_library(target)]
    for done, target in enumerate(wanted):
        if progress is not None:
            progress("compile C", done, len(wanted))
        own = source_target(target)
        layout = program if own == packed_for else generate_program(model, manifest, find_target(own), max_steps)
        text = program_files(layout, model)
        if flash is not None or ram is not None or find_target(target).microcontroller:
            memory_report(layout, text).limited(flash, ram).check()
        name = f"lib/{target}/{library_name(target)}"
        kind = "archive" if find_target(target).microcontroller else "library"
        files[name] = build(text, target, "archive" if kind == "archive" else "library")
        built[target] = {"library": name, "compiler": compiler_version(target)}
        if find_target(target).builds_here and processor is not None:
            built[target]["processor"] = processor
    if progress is not None and wanted:
        progress("compile C", len(wanted), len(wanted))
    asked = {} if max_steps is None else {"max_steps": max_steps}
    return files, {"sources": packed_for, "targets": built, **asked}
