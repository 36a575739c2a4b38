"""Opening a bundle, a folder or one .zip: everything is checked, nothing is executed.

Every problem is an InvalidFileError that names the file, what was found and what was expected.
"""

from __future__ import annotations

import hashlib
import re
import stat
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import onnx

from qdeploy.runtime.errors import InvalidFileError
from qdeploy.runtime.manifest import LARGEST_MANIFEST, FileSpec, Manifest, parse_manifest
from qdeploy.runtime.model_file import parse_model
from qdeploy.runtime.npz import ARCHIVE_ERRORS, METHODS, read_npz

if TYPE_CHECKING:
    import os

__all__ = ["LARGEST_BUNDLE", "Baseline", "BundleFiles", "Vector", "group_vectors", "read_bundle"]

#: Bound on the bytes of all files of a bundle together.
LARGEST_BUNDLE = 512 << 20
_MOST_MEMBERS = 1000
_MODEL, _VECTORS, _BASELINE, _MANIFEST = "model.onnx", "vectors.npz", "baseline.npz", "manifest.json"
_READ = {_MODEL, _VECTORS, _BASELINE, "model.c", "model.h", "model.tflite"}
_LIBRARIES = "lib/"
_ADVICE = "the bundle is incomplete or was altered; export again"

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Vector:
    """One golden case: integer inputs and the outputs that every runtime must give."""

    name: str
    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]


@dataclass(frozen=True)
class Baseline:
    """The float model's outputs on the evaluation data, which ``data_sha256`` identifies."""

    data_sha256: str
    logits: Mapping[str, Array]


@dataclass(frozen=True)
class BundleFiles:
    """An opened bundle; ``contents`` holds the checked bytes of the files that qdeploy itself reads, or of all of them.

    ``trusted``: whether whoever opened it lets its compiled libraries run.
    """

    path: Path
    manifest: Manifest
    model: onnx.ModelProto
    contents: Mapping[str, bytes] = field(repr=False)
    trusted: bool = False

    def vectors(self) -> dict[str, Vector]:
        """The golden vectors by case name, empty where the bundle has none."""
        if _VECTORS not in self.contents:
            return {}
        where = f"{self.path}: {_VECTORS}"
        return group_vectors(read_npz(self.contents[_VECTORS], where), where)

    def baseline(self) -> Baseline | None:
        """The float model's outputs, None where the bundle has none."""
        if _BASELINE not in self.contents:
            return None
        arrays = read_npz(self.contents[_BASELINE], f"{self.path}: {_BASELINE}")
        digest = arrays.pop("data_sha256", None)
        logits = {key.removeprefix("logits/"): array for key, array in arrays.items() if key.startswith("logits/")}
        if (
            digest is None
            or digest.ndim != 0
            or digest.dtype.kind != "U"
            or len(logits) != len(arrays)
            or not logits
            or not _are_outputs(logits)
        ):
            found = ", ".join(f"{key} {array.dtype}{list(array.shape)}" for key, array in sorted(arrays.items()))
            msg = f"{self.path}: {_BASELINE}: found {found}, expected data_sha256 and logits/NAME, floats of as many samples"
            raise InvalidFileError(f"{msg}; {_ADVICE}")
        return Baseline(str(digest), logits)


def group_vectors(arrays: Mapping[str, Array], where: str) -> dict[str, Vector]:
    """The arrays of a vectors.npz as golden vectors by case name.

    Raises:
        InvalidFileError: names that are none of golden vectors; ``where`` stands before the message.
    """
    inputs: dict[str, dict[str, Array]] = {}
    outputs: dict[str, dict[str, Array]] = {}
    for key, array in arrays.items():
        match = re.fullmatch(r"(?:([^/]+)/)?(input|output)/(.+)", key)
        if match is None:
            msg = f"{where}: found the key {key!r}, expected CASE/input/NAME or CASE/output/NAME; "
            raise InvalidFileError(msg + _ADVICE)
        case, kind, name = match[1] or "golden", match[2], match[3]
        (inputs if kind == "input" else outputs).setdefault(case, {})[name] = array
    if inputs.keys() != outputs.keys():
        odd = min(inputs.keys() ^ outputs.keys())
        msg = f"{where}: case {odd!r} has inputs or outputs only; {_ADVICE}"
        raise InvalidFileError(msg)
    return {case: Vector(case, inputs[case], outputs[case]) for case in inputs}


def _are_outputs(logits: Mapping[str, Array]) -> bool:
    """Whether all are finite floats [samples, ...] of one number of samples."""
    for array in logits.values():
        if array.dtype.kind != "f" or array.ndim < 2 or array.size == 0 or not np.isfinite(array).all():
            return False
    return len({len(array) for array in logits.values()}) == 1


def read_bundle(
    path: str | os.PathLike[str], *, limit: int = LARGEST_BUNDLE, everything: bool = False, trust: bool = False
) -> BundleFiles:
    """Opens and checks a bundle: every listed file exists with its size and SHA-256, model and manifest agree.

    With ``everything``, ``contents`` holds all files, ``manifest.json`` too: what a copy of the bundle needs.

    Nothing of it is executed, now or later, but for this: with ``trust`` the engine c takes the compiled library that the
    bundle holds for this machine, instead of building one.

    Raises InvalidFileError for anything missing, truncated, altered, larger than ``limit`` bytes in all, or unsafe
    (names that leave the folder, links, encrypted members).
    """
    where = Path(path)
    if where.is_dir():
        return _open(where, lambda name, size: _read_file(where, name, size), limit, everything=everything, trust=trust)
    if not where.exists():
        msg = f"{where}: does not exist; expected a bundle, a folder or a .zip made by qdeploy export"
        raise InvalidFileError(msg)
    # A pipe or a device has no end, and is no archive.
    if not where.is_file() or not zipfile.is_zipfile(where):
        msg = f"{where}: is neither a folder nor a whole .zip; expected a bundle made by qdeploy export"
        raise InvalidFileError(msg)
    try:
        with zipfile.ZipFile(where) as archive:
            members = _members(archive, where, limit)

            def read(name: str, size: int) -> bytes:
                return _read_member(archive, members, where, name, size)

            return _open(where, read, limit, everything=everything, trust=trust)
    except InvalidFileError:
        raise
    except ARCHIVE_ERRORS as error:
        msg = f"{where}: the archive cannot be read ({str(error)[:200]}); {_ADVICE}"
        raise InvalidFileError(msg) from error


#: Reads the named file: at most so many bytes, an InvalidFileError where it is missing or larger.
_Read = Callable[[str, int], bytes]


def _open(where: Path, read: _Read, limit: int, *, everything: bool, trust: bool) -> BundleFiles:
    text = read(_MANIFEST, LARGEST_MANIFEST)
    manifest = parse_manifest(text, name=f"{where}: {_MANIFEST}")
    if _MODEL not in manifest.files:
        msg = f"{where}: {_MANIFEST} lists no {_MODEL}; {_ADVICE}"
        raise InvalidFileError(msg)
    total = sum(spec.bytes for spec in manifest.files.values())
    if total > limit:
        msg = f"{where}: {_MANIFEST} lists {total} bytes of files, expected at most {limit}; {_ADVICE}"
        raise InvalidFileError(msg)
    contents: dict[str, bytes] = {_MANIFEST: text} if everything else {}
    for name, spec in manifest.files.items():
        data = _checked(where, name, spec, read(name, spec.bytes))
        if everything or name in _READ or name.startswith(_LIBRARIES):
            contents[name] = data
    model = parse_model(contents[_MODEL], f"{where}: {_MODEL}")
    _check_graph(where, manifest, model)
    return BundleFiles(where, manifest, model, contents, trust)


def _checked(where: Path, name: str, spec: FileSpec, data: bytes) -> bytes:
    if len(data) != spec.bytes:
        msg = f"{where}: {name}: found {len(data)} bytes, {_MANIFEST} says {spec.bytes}; {_ADVICE}"
        raise InvalidFileError(msg)
    digest = hashlib.sha256(data).hexdigest()
    if digest != spec.sha256:
        msg = f"{where}: {name}: found SHA-256 {digest}, {_MANIFEST} says {spec.sha256}; {_ADVICE}"
        raise InvalidFileError(msg)
    return data


def _read_file(folder: Path, name: str, size: int) -> bytes:
    file = folder / name
    try:
        for place in list(file.parents)[: name.count("/")]:
            if not stat.S_ISDIR(place.lstat().st_mode):
                msg = f"{folder}: {place.name}: is a link or no folder; expected a folder of the bundle; {_ADVICE}"
                raise InvalidFileError(msg)
        # A link could lead out of the folder, a device could have no end.
        if not stat.S_ISREG(file.lstat().st_mode):
            msg = f"{folder}: {name}: is a link or not a plain file; expected a file of the bundle; {_ADVICE}"
            raise InvalidFileError(msg)
        with file.open("rb") as stream:
            data = stream.read(size + 1)
    except OSError as error:
        msg = f"{folder}: {name}: cannot be read ({error.strerror or error}); {_ADVICE}"
        raise InvalidFileError(msg) from error
    return _bounded(folder, name, data, size)


def _bounded(where: Path, name: str, data: bytes, size: int) -> bytes:
    if len(data) > size:
        msg = f"{where}: {name}: holds more than the expected {size} bytes; {_ADVICE}"
        raise InvalidFileError(msg)
    return data


def _members(archive: zipfile.ZipFile, where: Path, limit: int) -> dict[str, zipfile.ZipInfo]:
    """The archive's files by name, from its directory alone; one common folder around them is taken off."""
    entries = archive.infolist()
    total = sum(entry.file_size for entry in entries)
    if len(entries) > _MOST_MEMBERS or total > limit:
        msg = (
            f"{where}: found {len(entries)} members of {total} bytes, "
            f"expected at most {_MOST_MEMBERS} of {limit}; {_ADVICE}"
        )
        raise InvalidFileError(msg)
    members: dict[str, zipfile.ZipInfo] = {}
    for entry in entries:
        name = entry.filename
        parts = name.split("/")
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if name.startswith("/") or "\\" in name or ":" in name or ".." in parts:
            msg = f"{where}: found a member {name!r} that leaves the bundle; this archive is not safe"
            raise InvalidFileError(msg)
        if kind not in {0, stat.S_IFREG, stat.S_IFDIR} or entry.flag_bits & 1:
            msg = f"{where}: member {name!r} is a link, a device or encrypted; expected plain files; {_ADVICE}"
            raise InvalidFileError(msg)
        if entry.compress_type not in METHODS:
            msg = f"{where}: member {name!r} is compressed in an unusual way, expected stored or deflated; {_ADVICE}"
            raise InvalidFileError(msg)
        if entry.is_dir():
            continue
        if name in members:
            msg = f"{where}: found two members {name!r}; {_ADVICE}"
            raise InvalidFileError(msg)
        members[name] = entry
    folders = {name.split("/")[0] for name in members if "/" in name}
    if _MANIFEST not in members and len(folders) == 1:
        (folder,) = folders
        return {name.removeprefix(f"{folder}/"): entry for name, entry in members.items()}
    return members


def _read_member(
    archive: zipfile.ZipFile, members: Mapping[str, zipfile.ZipInfo], where: Path, name: str, size: int
) -> bytes:
    if name not in members:
        msg = f"{where}: {name}: is missing; the archive holds {', '.join(sorted(members)) or 'nothing'}; {_ADVICE}"
        raise InvalidFileError(msg)
    with archive.open(members[name]) as stream:
        return _bounded(where, name, stream.read(size + 1), size)


def _check_graph(where: Path, manifest: Manifest, model: onnx.ModelProto) -> None:
    """The graph's inputs and outputs are those of the manifest, with its types and ranks."""
    initializers = {tensor.name for tensor in model.graph.initializer}
    graph_inputs = [value for value in model.graph.input if value.name not in initializers]
    inputs = {i.name: (i.dtype, len(i.shape)) for i in manifest.inputs}
    inputs |= {s.input: (s.dtype, len(s.shape)) for s in manifest.states}
    outputs = {o.name: (o.dtype, len(o.shape)) for o in manifest.outputs}
    outputs |= {s.output: (s.dtype, len(s.shape)) for s in manifest.states}
    for kind, listed, present in (("input", inputs, graph_inputs), ("output", outputs, list(model.graph.output))):
        found = {value.name: _type_and_rank(value) for value in present}
        for name in sorted(listed.keys() ^ found.keys()):
            place = _MANIFEST if name in listed else _MODEL
            msg = f"{where}: the {kind} {name!r} stands in {place} only; {_ADVICE}"
            raise InvalidFileError(msg)
        for name, (dtype, rank) in listed.items():
            if found[name][0] != dtype or found[name][1] not in {None, rank}:
                msg = (
                    f"{where}: {kind} {name!r} is {found[name][0]} of rank {found[name][1]} in {_MODEL}, "
                    f"{dtype} of rank {rank} in {_MANIFEST}; {_ADVICE}"
                )
                raise InvalidFileError(msg)


def _type_and_rank(value: onnx.ValueInfoProto) -> tuple[str, int | None]:
    tensor = value.type.tensor_type
    try:
        dtype = str(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))
    except KeyError:
        dtype = f"type {tensor.elem_type}"
    return dtype, len(tensor.shape.dim) if tensor.HasField("shape") else None
