"""Writing a bundle: everything in a staging folder beside the target, put in place when it is whole."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdeploy.runtime.errors import InvalidInputError
from qdeploy.runtime.manifest import FileSpec, Manifest
from qdeploy.runtime.staging import NEW, put, recover, staging, write_bytes

_FIXED_TIME = (1980, 1, 1, 0, 0, 0)
"""Archives carry no clock: the same model gives the same bytes."""


def file_specs(contents: Mapping[str, bytes]) -> dict[str, FileSpec]:
    """SHA-256 and size of every file, for the manifest."""
    return {name: FileSpec(hashlib.sha256(data).hexdigest(), len(data)) for name, data in contents.items()}


def npz_bytes(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """An .npz archive, compressed, the same bytes for the same arrays."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy", _FIXED_TIME)
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, member.getvalue())
    return stream.getvalue()


def check_target(target: Path, *, force: bool) -> None:
    """Refuses a target that exists, unless it is a bundle and ``force`` is given.

    Nothing is written; what a killed export left beside the target is taken away.

    Raises:
        InvalidInputError: the target exists, or its parent cannot hold it.
    """
    if not target.name:
        raise InvalidInputError(f"{target} is no name for a bundle; expected a new folder or .zip.")
    if target.parent.exists() and not target.parent.is_dir():
        raise InvalidInputError(f"{target.parent} is a file; expected a folder that the bundle can stand in.")
    recover(target)
    if not target.exists() and not target.is_symlink():
        return
    if not force:
        raise InvalidInputError(f"{target} exists; choose another name, or replace it with --force.")
    if target.is_dir() and not (target / "manifest.json").is_file() and any(target.iterdir()):
        raise InvalidInputError(f"{target} holds something else than a bundle; --force replaces bundles only.")


def write_bundle(target: Path, manifest: Manifest, contents: Mapping[str, bytes], *, zipped: bool, force: bool) -> None:
    """Writes the files and ``manifest.json``; the target is whole or absent at every moment, or the previous one.

    Args:
        target: a folder, or a .zip with ``zipped``.
        manifest: whose ``files`` describe ``contents``.
        contents: file name to bytes.
        zipped: one archive instead of a folder.
        force: replace a bundle that is there.

    Raises:
        InvalidInputError: the target exists or cannot be written.
        MissingRequirementError: no room on the disk.
    """
    check_target(target, force=force)
    everything = {**contents, "manifest.json": manifest.to_json().encode()}
    with staging(target) as place:
        written = place / NEW
        if zipped:
            write_bytes(written, _archive(everything))
        else:
            written.mkdir()
            for name, data in everything.items():
                (written / name).parent.mkdir(parents=True, exist_ok=True)
                write_bytes(written / name, data)
        put(written, target, force=force)


def _archive(contents: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in contents.items():
            info = zipfile.ZipInfo(name, _FIXED_TIME)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            archive.writestr(info, data)
    return stream.getvalue()
