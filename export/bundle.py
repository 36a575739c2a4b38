"""Writing a bundle: everything under a temporary name beside the target, renamed when it is whole."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdeploy.runtime.errors import InvalidInputError, MissingRequirementError
from qdeploy.runtime.manifest import FileSpec, Manifest

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
    """Refuses a target that exists, unless it is a bundle and ``force`` is given; nothing is written.

    Raises:
        InvalidInputError: the target exists, or its parent cannot hold it.
    """
    if not target.name:
        raise InvalidInputError(f"{target} is no name for a bundle; expected a new folder or .zip.")
    if target.parent.exists() and not target.parent.is_dir():
        raise InvalidInputError(f"{target.parent} is a file; expected a folder that the bundle can stand in.")
    if not target.exists() and not target.is_symlink():
        return
    if not force:
        raise InvalidInputError(f"{target} exists; choose another name, or replace it with --force.")
    if target.is_dir() and not (target / "manifest.json").is_file() and any(target.iterdir()):
        raise InvalidInputError(f"{target} holds something else than a bundle; --force replaces bundles only.")


def write_bundle(target: Path, manifest: Manifest, contents: Mapping[str, bytes], *, zipped: bool, force: bool) -> None:
    """Writes the files and ``manifest.json``; the target is whole or absent, the previous one unharmed until then.

    Args:
        target: a folder, or a .zip with ``zipped``.
        manifest: whose ``files`` describe ``contents``.
        contents: file name to bytes.
        zipped: one archive instead of a folder.
        force: replace a bundle that is there.

    Raises:
        InvalidInputError: the target exists or cannot be written.
        MissingRequirementError: the disk is full.
    """
    check_target(target, force=force)
    everything = {**contents, "manifest.json": manifest.to_json().encode()}
    with _temporary(target) as place:
        written = place / "bundle"
        if zipped:
            written.write_bytes(_archive(everything))
        else:
            written.mkdir()
            for name, data in everything.items():
                (written / name).write_bytes(data)
        _flush(written)
        _replace(written, target, place / "previous")


@contextlib.contextmanager
def _temporary(target: Path) -> Iterator[Path]:
    """A folder beside the target, on the same disk, gone at the end whatever happens."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        place = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise InvalidInputError(f"{target.parent} cannot be written: {error.strerror}.") from error
    try:
        yield place
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise MissingRequirementError(
                f"no room for {target} on its disk; nothing was written. Free some and repeat."
            ) from error
        raise InvalidInputError(
            f"{target} cannot be written: {error.strerror or error}; nothing was written."
        ) from error
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _replace(written: Path, target: Path, previous: Path) -> None:
    """Puts ``written`` at ``target``. A folder that is there is moved aside first, and back if that fails."""
    if (target.is_dir() and not target.is_symlink()) or (written.is_dir() and (target.exists() or target.is_symlink())):
        target.rename(previous)
        try:
            written.rename(target)
        except OSError:
            previous.rename(target)
            raise
    else:
        written.replace(target)


def _flush(written: Path) -> None:
    """Brings the bytes to the disk before the rename makes them visible."""
    for path in [*(written.iterdir() if written.is_dir() else []), written]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _archive(contents: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in contents.items():
            info = zipfile.ZipInfo(name, _FIXED_TIME)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            archive.writestr(info, data)
    return stream.getvalue()
