"""Whole or absent: what is written stands in a staging folder beside its target until one rename puts it in place.

The folder ``.NAME.qdeploy-XXXXXXXX`` is locked while its maker lives. A maker that was killed leaves it behind, unlocked:
the next writing to the same target takes it away. Nothing in it is ever taken for the target.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from qdeploy.runtime.errors import InvalidInputError, MissingRequirementError

__all__ = ["NEW", "NO_ROOM", "errors_told", "put", "recover", "staging", "write_bytes", "write_whole"]

NEW, _PREVIOUS = "new", "previous"
"""What stands in a staging folder: what is being written, and the target's previous content while it is replaced."""

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system says of a full disk, a used-up quota and a file that grew too large."""

_NO_EXCHANGE = (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP)
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
"""Of Linux' fcntl.h and fs.h, for renameat2(2)."""


@contextlib.contextmanager
def staging(target: Path) -> Iterator[Path]:
    """A new folder beside ``target``, on the same disk, gone at the end whatever happens but the death of the process.

    The folder of ``target`` is made if need be; what killed processes left for this target is taken away.

    Raises:
        MissingRequirementError: an OSError inside said that the disk is full or the file too large for it.
        InvalidInputError: any other OSError: the place cannot be written.
    """
    with errors_told(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        recover(target)
        place, lock = _locked_folder(target)
        try:
            yield place
        finally:
            _take_away(place, target)
            os.close(lock)


@contextlib.contextmanager
def errors_told(target: Path) -> Iterator[None]:
    """Turns the system's errors into ours, as :func:`staging` says."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno in NO_ROOM:
            raise MissingRequirementError(
                f"no room for {target} ({reason}); what was there is unharmed. Free some space on its disk and repeat."
            ) from error
        raise InvalidInputError(f"{target} cannot be written: {reason}; what was there is unharmed.") from error


def put(written: Path, target: Path, *, force: bool, flush: bool = True) -> None:
    """Puts ``written``, which stands in a staging folder, at ``target``, in one step that can not be seen half done.

    Args:
        written: a file or a folder, brought to the disk before the rename makes it visible.
        target: its place. A plain file there is replaced.
        force: replace whatever is there, folders too. The two are exchanged, where the system can (Linux); elsewhere the old
            one is moved aside first, and moved back when the second step fails: at once, or by the next :func:`recover`
            if the process dies in between.
        flush: file by file; whoever writes thousands has them flushed together (os.sync), which takes a second, not minutes.

    Raises:
        OSError: something is there that cannot be replaced.
    """
    if flush:
        _flush(written)
    folders = written.is_dir() or (target.is_dir() and not target.is_symlink())
    if force and folders and os.path.lexists(target):
        if not _exchange(written, target):
            target.rename(written.with_name(_PREVIOUS))
            written.rename(target)
    else:
        written.replace(target)
    # The new name is in place whatever this says.
    with contextlib.suppress(OSError):
        _sync(target.parent)


def recover(target: Path) -> None:
    """Takes away what killed processes left beside ``target``, and moves back what one of them had moved aside."""
    for place in sorted(target.parent.glob(f".{_escaped(target.name)}.qdeploy-*")):
        lock = _lock(place)
        if lock is not None:
            _take_away(place, target)
            os.close(lock)


def _take_away(place: Path, target: Path) -> None:
    """Removes a staging folder; what it moved aside goes back first, if nothing took its place."""
    # A left-over that stays is no reason to fail: the next writing sees it again.
    with contextlib.suppress(OSError):
        if {path.name for path in place.iterdir()} <= {NEW, _PREVIOUS}:
            if os.path.lexists(place / _PREVIOUS) and not os.path.lexists(target):
                (place / _PREVIOUS).rename(target)
            shutil.rmtree(place)


def write_whole(target: Path, content: bytes) -> None:
    """Writes a file, whole or not at all; a previous one stays until the new one takes its place.

    Raises:
        InvalidInputError, MissingRequirementError: as :func:`staging`.
    """
    with staging(target) as place:
        write_bytes(place / NEW, content)
        put(place / NEW, target, force=False)


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a new file."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    finally:
        os.close(descriptor)


def _locked_folder(target: Path) -> tuple[Path, int]:
    while True:
        place = Path(tempfile.mkdtemp(prefix=f".{target.name}.qdeploy-", dir=target.parent))
        lock = _lock(place, wait=True)
        if lock is not None:
            return place, lock
        # Somebody took it for a left-over before it was locked.


def _lock(place: Path, *, wait: bool = False) -> int | None:
    """The descriptor that holds the lock of ``place``; None where another process has it, or the folder is gone.

    File systems without locks: nothing there is known to be left over, and a maker goes on without (``wait``).
    """
    try:
        descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        if wait:
            return descriptor
        os.close(descriptor)
        return None
    if not place.exists():
        os.close(descriptor)
        return None
    return descriptor


def _exchange(one: Path, other: Path) -> bool:
    """Exchanges two names in one step; False where the system or the disk cannot."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        return False
    if renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in _NO_EXCHANGE:
        return False
    raise OSError(code, os.strerror(code), str(one), None, str(other))


def _flush(written: Path) -> None:
    """Brings the bytes to the disk, so that no loss of power leaves a name without its content."""
    for path in [*(sorted(written.rglob("*"), reverse=True) if written.is_dir() else []), written]:
        _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _escaped(name: str) -> str:
    """``name`` for a glob."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)
