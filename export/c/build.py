"""From C sources to a library, an archive or a program of a target.

The system's compiler builds for this machine, ``zig cc`` for every board, offline. A build stands in a temporary folder
of its own until it is whole, reads nothing but the sources that it is given, and gives the same bytes each time.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Literal, TypeAlias

from qdeploy.export.c.targets import Target, find_target
from qdeploy.runtime.errors import BuildError, InvalidInputError, MissingRequirementError
from qdeploy.runtime.staging import NEW, put, staging, write_bytes

__all__ = ["WARNINGS", "Kind", "build", "build_file", "compiler", "compiler_version", "library_name"]

Kind: TypeAlias = Literal["library", "archive", "object", "program"]
"""A shared library; a static archive; one object; a program, which is static where zig builds it."""

WARNINGS = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror")
"""What generated sources are clean under, by gcc and by clang."""

TIME_LIMIT = 600.0
"""Seconds. The first static program for a board builds the C library itself, up to a minute of them."""

_SHOWN = 4000
"""Characters of a compiler's complaint."""

_OURS = ("CPATH", "C_INCLUDE_PATH", "LIBRARY_PATH", "COMPILER_PATH", "GCC_EXEC_PREFIX", "DEPENDENCIES_OUTPUT")
"""Variables by which a compiler takes files from elsewhere; a build has none of them."""


def library_name(target: str, *, kind: Kind | None = None) -> str:
    """What a bundle calls the target's library: ``libmodel.so``, for microcontrollers ``libmodel.a``."""
    archive = kind == "archive" or (kind is None and find_target(target).microcontroller)
    return "libmodel.a" if archive else "libmodel.so"


def compiler(target: str) -> list[str]:
    """The command that compiles C for ``target``.

    Raises:
        MissingRequirementError: this machine has no such compiler; the message says what to install.
    """
    chosen = find_target(target)
    if chosen.zig_target is None:
        for name in ("cc", "gcc", "clang"):
            found = shutil.which(name)
            if found is not None:
                return [found, *chosen.flags]
    if find_spec("ziglang") is None:
        if chosen.zig_target is None:
            raise MissingRequirementError(
                "found no C compiler (cc, gcc or clang) on this machine; install one (apt install gcc), or pip install "
                "'qdeploy[c]'"
            )
        raise MissingRequirementError(
            f"found no compiler for the target {target}: ziglang is not installed; pip install 'qdeploy[c]'"
        )
    command = [sys.executable, "-m", "ziglang", "cc"]
    if chosen.zig_target is not None:
        command += ["-target", chosen.zig_target]
    elif not chosen.builds_here:
        # Without a target's name zig takes this machine and all that its processor can do.
        command += ["-mcpu=baseline"]
    return command + ([f"-mcpu={chosen.zig_cpu}"] if chosen.zig_cpu else []) + list(chosen.flags)


@cache
def compiler_version(target: str) -> str:
    """The first line that the target's compiler says of itself.

    Raises:
        MissingRequirementError: as :func:`compiler`.
    """
    # Not compiler(): zig says its version without a target.
    command = [word for word in compiler(target) if not word.startswith("-m") or word == "-m"]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        said = subprocess.run([*command, "--version"], capture_output=True, text=True, timeout=30, check=False)  # noqa: S603 - our own words
        if said.stdout.strip():
            return said.stdout.strip().splitlines()[0]
    return " ".join(command)


def build(
    sources: Mapping[str, bytes],
    target: str,
    kind: Kind,
    *,
    flags: Sequence[str] = (),
    command: Sequence[str] | None = None,
    time_limit: float = TIME_LIMIT,
) -> bytes:
    """Compiles ``sources`` and gives back the library, the archive, the object or the program.

    Args:
        sources: file name to text; each ``.c`` and ``.S`` is compiled, the others can be included. A name may lead into a
            folder, none leads out.
        target: a name of ``TARGETS``.
        kind: what to make.
        flags: the compiler is told these last, so they win: ``-O1``, ``-Wconversion``, a linker script.
        command: another compiler, instead of the one of :func:`compiler`.
        time_limit: seconds for each call of the compiler.

    Raises:
        InvalidInputError: an unknown target, or a shared library for a microcontroller.
        MissingRequirementError: no compiler for the target on this machine.
        BuildError: the compiler refused the sources, in its own words, or took too long.
    """
    chosen = find_target(target)
    if chosen.microcontroller and kind == "library":
        raise InvalidInputError(f"target {target}: a microcontroller loads no shared library; expected kind='archive'")
    words = list(command) if command is not None else compiler(target)
    zig = "ziglang" in words
    with tempfile.TemporaryDirectory(prefix="qdeploy-c-") as name:
        place = Path(name)
        units = _write(place, sources)
        options = ["-O2" if chosen.microcontroller else "-O3", "-std=c99", "-g0"]
        if chosen.microcontroller:
            # What a program does not call is left out of its flash.
            options += ["-ffunction-sections", "-fdata-sections", "-fomit-frame-pointer"]
            # zig takes these targets for freestanding, where a memcpy of four bytes would be a call.
            options += ["-fhosted"] if zig else []
        options += _library_header(place, zig=zig, kind=kind, target=chosen)
        run = _Compiler(target, place, time_limit)
        made = {"library": "libmodel.so", "archive": "libmodel.a", "object": "model.o", "program": "program"}[kind]
        if kind in ("library", "program"):
            if kind == "library":
                options += ["-shared", "-fPIC", f"-Wl,-soname,{made}"]
            elif zig and not chosen.microcontroller and chosen.zig_target is not None:
                words = _musl(words)
                options += ["-static"]
            run([*words, *options, *units, "-o", made, "-Wl,--build-id=none", *flags])
        else:
            if kind == "object" and len(units) != 1:
                raise InvalidInputError(f"found {len(units)} sources ({', '.join(units)}), expected one for an object")
            objects = [f"{number}.o" for number in range(len(units))] if kind == "archive" else [made]
            for unit, result in zip(units, objects, strict=True):
                run([*words, *options, "-fPIC", "-c", unit, "-o", result, *flags])
            if kind == "archive":
                # D: no clock, no user, the same bytes each time.
                run([*_archiver(zig=zig), "rcsD", made, *objects])
        return (place / made).read_bytes()


def build_file(
    sources: Mapping[str, bytes],
    target: str,
    kind: Kind,
    output: Path,
    *,
    flags: Sequence[str] = (),
    command: Sequence[str] | None = None,
    time_limit: float = TIME_LIMIT,
) -> None:
    """As :func:`build`; the result is put at ``output``, whole or not at all. A program can be executed.

    Raises:
        InvalidInputError: as :func:`build`, or ``output`` cannot be written.
        MissingRequirementError, BuildError: as :func:`build`.
    """
    made = build(sources, target, kind, flags=flags, command=command, time_limit=time_limit)
    with staging(output) as place:
        write_bytes(place / NEW, made)
        if kind == "program":
            (place / NEW).chmod(0o755)
        put(place / NEW, output, force=False)


def _write(place: Path, sources: Mapping[str, bytes]) -> list[str]:
    """Writes the sources into ``place``; the names of those that are compiled, in their order."""
    units: list[str] = []
    for name, text in sources.items():
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or name.startswith("-"):
            raise InvalidInputError(f"found the source file {name!r}, expected a name inside its folder")
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_bytes(text)
        if path.suffix in (".c", ".S"):
            units.append(name)
    if not units:
        raise InvalidInputError(f"found no C source among {', '.join(sources) or 'nothing'}; expected model.c")
    return units


def _library_header(place: Path, *, zig: bool, kind: Kind, target: Target) -> list[str]:
    """Options by which a build without a C library of its own finds ``string.h``."""
    if not zig or (kind == "program" and not target.microcontroller):
        return []
    folder = place / "include"
    folder.mkdir(exist_ok=True)
    header = files("qdeploy.export.c").joinpath("include/string.h").read_bytes()
    (folder / "string.h").write_bytes(header)
    # A shared library finds memcpy where its process has it; linking needs no C library, which zig would build first.
    return ["-isystem", "include", *([] if kind in ("archive", "object") else ["-nostdlib"])]


def _musl(words: Sequence[str]) -> list[str]:
    """zig links static programs against musl alone."""
    swapped = []
    for word in words:
        changed = word
        if word.endswith(("-linux-gnu.2.31", "-linux-gnueabihf.2.31")):
            changed = word.removesuffix(".2.31").replace("-gnueabihf", "-musleabihf").replace("-gnu", "-musl")
        swapped.append(changed)
    return swapped


def _archiver(*, zig: bool) -> list[str]:
    found = shutil.which("ar")
    if zig or found is None:
        if find_spec("ziglang") is None:
            raise MissingRequirementError(
                "found no archiver (ar) on this machine; install one (apt install binutils), or pip install 'qdeploy[c]'"
            )
        return [sys.executable, "-m", "ziglang", "ar"]
    return [found]


class _Compiler:
    """Runs commands in a build's folder."""

    def __init__(self, target: str, place: Path, time_limit: float) -> None:
        self._target = target
        self._place = place
        self._limit = time_limit
        self._environment = {name: value for name, value in os.environ.items() if name not in _OURS}
        # Complaints in English, whatever the user speaks; zig's own notes stay with the build.
        self._environment |= {"LC_ALL": "C", "ZIG_LOCAL_CACHE_DIR": str(place / ".zig")}

    def __call__(self, command: Sequence[str]) -> None:
        said = "build.log"
        with (self._place / said).open("wb") as log, self._running(command, log.fileno()) as process:
            try:
                code = process.wait(self._limit)
            except subprocess.TimeoutExpired as error:
                raise BuildError(
                    f"target {self._target}: the compiler was stopped after {self._limit:g} seconds "
                    f"({' '.join(command)}); give it more time, or a smaller model"
                ) from error
        if code:
            words = (self._place / said).read_text(encoding="utf-8", errors="replace").strip()
            cause = words[:_SHOWN] or f"nothing, and ended with {code}"
            raise BuildError(f"target {self._target}: {' '.join(command)}\nsays:\n{cause}")

    @contextlib.contextmanager
    def _running(self, command: Sequence[str], log: int) -> Iterator[subprocess.Popen[bytes]]:
        """A process in a group of its own: compilers start others, which must not outlive a build."""
        try:
            process = subprocess.Popen(  # noqa: S603 - words of ours, no shell
                list(command),
                cwd=self._place,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise MissingRequirementError(
                f"target {self._target}: {command[0]} cannot be started ({error.strerror or error})"
            ) from error
        try:
            yield process
        finally:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
