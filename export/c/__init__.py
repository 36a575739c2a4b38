"""An integer model as C99: generated, readable, without memory allocation and without floating point.

:func:`c_files` makes ``model.h`` and ``model.c``. The way: ``export.sample_graph`` reads the model, ``generator`` plans the
memory and has every operator's emitter (one file an operator) write a function, ``text`` puts the two files together; kernels
are pasted in, so that ``model.c`` needs no other file.
"""

from __future__ import annotations

import hashlib

import onnx

from qdeploy.export.c.generator import Program, generate_program
from qdeploy.export.c.targets import find_target
from qdeploy.export.c.text import header, source
from qdeploy.runtime.manifest import Manifest

__all__ = ["Program", "c_files", "program_files"]


def c_files(
    model: onnx.ModelProto, manifest: Manifest, target: str = "generic", *, max_steps: int | None = None
) -> dict[str, bytes]:
    """``model.h`` and ``model.c`` of an integer model.

    Args:
        model: integer-only, with its operators (not inlined).
        manifest: the bundle's.
        target: a name of ``targets``: how the weights are laid out.
        max_steps: the longest sequence of a network that takes whole sequences; None for the length of the calibration.

    Raises:
        UnsupportedModelError: an operator, or a use of it, has no form in C.
        InvalidInputError: there is no such target.
    """
    return program_files(generate_program(model, manifest, find_target(target), max_steps), model)


def program_files(program: Program, model: onnx.ModelProto) -> dict[str, bytes]:
    """The two files of a program that was made of ``model``."""
    manifest = program.graph.manifest
    listed = manifest.files.get("model.onnx")
    sha256 = (
        listed.sha256 if listed is not None else hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()
    )
    return {
        "model.h": header(program, sha256=sha256, version=manifest.qdeploy).encode(),
        "model.c": source(program, version=manifest.qdeploy).encode(),
    }
