"""A bundle's network as a compiled library for this machine: sources made anew from ``model.onnx``, never the bundle's own.

A bundle may come from anybody, and C can do anything. So nothing that stands in a bundle is compiled or loaded, unless whoever
opened it said so (``qdeploy.load(path, trust=True)``, ``--trust``): then the library that the bundle holds for this machine runs.
"""

from __future__ import annotations

import hashlib
import math
import platform
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from qdeploy.runtime.c_library import CLibrary, header_constants
from qdeploy.runtime.errors import BuildError, ContractError, InvalidFileError, MissingRequirementError
from qdeploy.runtime.reference import ReferenceModel
from qdeploy.verify.cases import CaseMaker

if TYPE_CHECKING:
    from qdeploy.export.c import Program
    from qdeploy.runtime.bundle import BundleFiles
    from qdeploy.runtime.manifest import InputSpec, OutputSpec, StateSpec

__all__ = ["c_library", "compiler_version", "machine_targets", "remade_sources"]

_SOURCES = ("model.h", "model.c")
_BUILT: dict[str, bytes] = {}
"""What this process has built, by the sources' SHA-256: commands open the same network several times."""


def compiler_version() -> str:
    """What this machine's C compiler says of itself.

    Raises:
        MissingRequirementError: there is none.
    """
    from qdeploy.export.c.build import compiler_version as said

    return said("host")


def c_library(files: BundleFiles, max_steps: int | None = None) -> CLibrary:
    """The network of a bundle, compiled for this machine.

    ``max_steps``: the longest sequence of a network that takes whole ones, the calibration's by default; a library of the bundle
    has its own.

    Raises:
        InvalidFileError: the bundle's C sources are not those that its ``model.onnx`` gives.
        UnsupportedModelError: an operator that has no form in C.
        MissingRequirementError: no C compiler, or one that refuses the sources.
    """
    prebuilt = _prebuilt(files)
    if prebuilt is not None and files.trusted:
        return prebuilt
    try:
        return _built(files, max_steps)
    except BuildError:
        raise
    except MissingRequirementError as error:
        if prebuilt is None:
            raise
        raise MissingRequirementError(f"{error}; or let {prebuilt.origin} run, with --trust") from error


def remade_sources(files: BundleFiles, target: str) -> dict[str, bytes]:
    """``model.h`` and ``model.c`` of a target, made from ``model.onnx``; the bundle's, if it has any, are compared first.

    Raises:
        InvalidFileError: the bundle's differ from what its model gives, or its manifest from its model.
        UnsupportedModelError: an operator that has no form in C.
    """
    present = [name for name in _SOURCES if name in files.contents]
    if present:
        packed_for = _packed_for(files)
        expected = _sources(files, packed_for)
        for name in present:
            if files.contents[name] != expected[name]:
                versions = f"the bundle is of qdeploy {files.manifest.qdeploy}, this is {_version()}"
                by = "" if files.manifest.qdeploy == _version() else f" ({versions})"
                raise InvalidFileError(
                    f"{files.path}: {name} is not what model.onnx gives for the target {packed_for}{by}; nothing of it was "
                    "run. Export again, or delete the C files and their lines in manifest.json."
                )
        if packed_for == target:
            return expected
    return _sources(files, target)


def _sources(files: BundleFiles, target: str, max_steps: int | None = None) -> dict[str, bytes]:
    from qdeploy.export.c import program_files
    from qdeploy.export.c.generator import generate_program
    from qdeploy.export.c.targets import find_target

    _check_indices(files)
    program = generate_program(files.model, files.manifest, find_target(target), max_steps)
    _check_borders(files, program)
    return program_files(program, files.model)


def _check_indices(files: BundleFiles) -> None:
    """The largest index that the manifest allows has its row in every table that it goes into: C would read beside it."""
    if all(spec.scale is not None for spec in files.manifest.inputs):
        return
    largest = CaseMaker(files.manifest, files.model, steps=2, seed=0).extreme("high", 1)
    try:
        ReferenceModel(files.model).run(dict(largest.feeds))
    except ContractError as error:
        raise InvalidFileError(
            f"{files.path}: the indices that manifest.json allows do not fit model.onnx ({error}); export again"
        ) from error


def _check_borders(files: BundleFiles, program: Program) -> None:
    """C reads and writes as much as the model says, into memory that is as large as the manifest says."""
    manifest, graph = files.manifest, program.graph
    specs: list[tuple[str, InputSpec | OutputSpec | StateSpec]] = [(spec.name, spec) for spec in manifest.inputs]
    specs += [(spec.name, spec) for spec in manifest.outputs]
    specs += [(name, spec) for spec in manifest.states for name in (spec.input, spec.output)]
    for name, spec in specs:
        tensor = graph.tensors.get(name)
        entries = math.prod(d for d in spec.shape if isinstance(d, int))
        expected = (spec.dtype, entries, "time" in spec.shape)
        if tensor is None or (str(tensor.dtype), tensor.entries, tensor.time_axis is not None) != expected:
            found = "nothing" if tensor is None else f"{tensor.dtype}{list(tensor.shape)} for one sample and one step"
            raise InvalidFileError(
                f"{files.path}: {name!r} is {spec.dtype}[{', '.join(map(str, spec.shape))}] in manifest.json, model.onnx gives "
                f"{found}; export again"
            )


def _version() -> str:
    from qdeploy import __version__

    return __version__


def _packed_for(files: BundleFiles) -> str:
    """The target whose sources the bundle holds."""
    from qdeploy.export.c.targets import TARGETS

    said = files.manifest.extra.get("c")
    target = said.get("sources") if isinstance(said, Mapping) else None
    if not isinstance(target, str) or target not in TARGETS:
        raise InvalidFileError(
            f"{files.path}: manifest.json: c.sources: found {target!r}, expected the target that model.c was made for "
            f"({', '.join(TARGETS)}); export again"
        )
    return target


def _built(files: BundleFiles, max_steps: int | None) -> CLibrary:
    from qdeploy.export.c.build import build
    from qdeploy.export.c.targets import host_twin

    sources = remade_sources(files, host_twin())
    if max_steps is not None:
        sources = _sources(files, host_twin(), max_steps)
    key = hashlib.sha256(b"".join(name.encode() + b"\0" + sources[name] for name in sorted(sources))).hexdigest()
    if key not in _BUILT:
        _BUILT[key] = build(sources, "host", "library")
    return CLibrary(_BUILT[key], header_constants(sources["model.h"]), compiler_version())


def _prebuilt(files: BundleFiles) -> CLibrary | None:
    """The bundle's own library for this machine, where it has one."""
    for target in machine_targets():
        name = f"lib/{target}/libmodel.so"
        if name in files.contents and not (target == "host" and _of_another_processor(files)):
            constants = header_constants(files.contents.get("model.h", b""))
            return CLibrary(files.contents[name], constants, f"{name} of the bundle")
    return None


def _of_another_processor(files: BundleFiles) -> bool:
    """Whether the library for ``host`` was built elsewhere: with instructions that this processor may lack."""
    from qdeploy.doctor import processor_features

    place: Any = files.manifest.extra
    for key in ("c", "targets", "host", "processor"):
        place = place.get(key) if isinstance(place, Mapping) else None
    return place is not None and place != processor_features()[0]


def machine_targets() -> tuple[str, ...]:
    """The targets whose libraries this machine can run, the fastest first."""
    from qdeploy.doctor import processor_features

    machine = platform.machine().lower()
    if machine in ("x86_64", "amd64"):
        return ("host", "x86-64")
    if machine in ("aarch64", "arm64"):
        arm64 = ("pi4", "pi3", "pi-zero2")
        return ("host", "pi5", *arm64) if "dot product" in processor_features()[1] else ("host", *arm64)
    if machine in ("armv7l", "armv8l"):
        return ("host", "pi2", "pi-zero")
    return ("host", "pi-zero") if machine == "armv6l" else ("host",)
