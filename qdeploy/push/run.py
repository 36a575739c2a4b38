"""The verb ``push``: send, verify there, measure there, bring the report back."""

from __future__ import annotations

import posixpath
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qdeploy.runtime.errors import InvalidInputError, MissingRequirementError

from .address import Address
from .board import Board, examine_board, private_path
from .connection import Connection, connect
from .install import check_python, how_to_install, install
from .remote_folder import RemoteFolder, remote_folder
from .remote_qdeploy import RemoteQdeploy
from .report import PushReport, compared_times, verify_lines
from .self_test import SelfTest, chosen_target, self_test_here, self_test_there

if TYPE_CHECKING:
    from qdeploy.runtime.bundle import BundleFiles

__all__ = ["TIMEOUT", "Plan", "plan_of", "push"]

TIMEOUT = 900.0
"""Seconds for each part there: the largest shipped network verifies on a slow board in a few minutes."""

_QUICK = 60.0
"""Seconds for what only looks or tidies."""

Say = Callable[[str], None]


def push(
    path: str | Path,
    address: str,
    *,
    port: int | None = None,
    identity: Path | None = None,
    config: Path | None = None,
    python: str | None = None,
    no_python: bool = False,
    target: str | None = None,
    runtimes: Sequence[str] | None = None,
    samples: int | None = None,
    bench: bool = True,
    install_there: bool = False,
    keep: bool = False,
    folder: str | None = None,
    force: bool = False,
    timeout: float = TIMEOUT,
    say: Say | None = None,
) -> PushReport:
    """Copies a bundle to a board, verifies it there, measures it there and here, and takes it away again.

    Nothing of the bundle is executed here.

    Args:
        path: the bundle, a folder or a .zip.
        address: ``user@host``.
        port, identity, config: of ssh.
        python: the interpreter there, by name or path.
        no_python: use none; a self-test program in C checks the golden vectors instead.
        target: of that program, which then runs in any case; by default that of the board's processor.
        runtimes: names of engines to verify and measure; None for all that are there.
        samples: how many sequences or samples ``verify`` runs there.
        bench: whether to measure.
        install_there: put qdeploy into a private folder there if need be.
        keep: leave the bundle there when it passed.
        folder: where, relative to the home folder there; by default the bundle's own name.
        force: replace a bundle that is there.
        timeout: seconds for each part there.
        say: gets a line for each part.

    Raises:
        InvalidInputError, InvalidFileError: an argument or the bundle cannot be used.
        UnsupportedModelError: C that the model has no form in.
        MissingRequirementError: the board cannot be reached, refuses, or lacks something.
    """
    from qdeploy.runtime.bundle import read_bundle

    where = Address.parse(address)
    files = read_bundle(path, everything=True)
    if target is not None:
        chosen_target(None, target)  # a wrong name is an error before anything is sent
    said: Say = say if say is not None else lambda _: None
    clock = _Clock()
    with connect(where, port=port, identity=identity, config=config) as connection:
        with clock.part("examine"):
            board = examine_board(
                connection, python=python, look_for_python=not no_python, timeout=min(timeout, _QUICK)
            )
        plan = plan_of(board, runtimes, target=target, no_python=no_python)
        if plan.python:
            board = _with_qdeploy(connection, board, plan.runtimes, python, install_there, timeout, said)
        final = _final_folder(board, folder, Path(path)) if keep or folder is not None else None
        parents = (posixpath.dirname(final),) if final is not None else (board.home, "/tmp", "/var/tmp")  # noqa: S108 - mktemp
        with remote_folder(connection, parents, timeout=timeout) as place:
            visit = _Visit(place, board, files, clock, said, measure=bench)
            with clock.part("send"):
                said(f"{where}: sending {sum(map(len, files.contents.values())):,} bytes")
                bundle = place.send(files.contents, "bundle")
            if plan.python:
                visit.by_python(bundle, plan.runtimes, samples)
            if plan.self_test and visit.passed:
                visit.by_self_test(target)
            if final is not None and visit.passed:
                place.keep("bundle", final, force=force)
    return PushReport(
        bundle=str(path),
        model_sha256=files.manifest.files["model.onnx"].sha256,
        address=str(where),
        board=board,
        passed=visit.passed,
        verify=visit.verify,
        verify_text=() if visit.verify is None else verify_lines(visit.verify),
        bench=visit.bench,
        bench_here=visit.bench_here,
        self_test=visit.self_test,
        self_test_here=visit.self_test_here,
        times=compared_times(visit.bench, visit.bench_here, visit.self_test, visit.self_test_here),
        kept=final if visit.passed else None,
        seconds=clock.seconds,
    )


@dataclass
class _Visit:
    """One stay on a board: how it is used, and what came back so far."""

    place: RemoteFolder
    board: Board
    files: BundleFiles
    clock: _Clock
    say: Say
    measure: bool
    verify: dict[str, Any] | None = None
    bench: dict[str, Any] | None = None
    bench_here: dict[str, Any] | None = None
    self_test: SelfTest | None = None
    self_test_here: SelfTest | None = None

    @property
    def passed(self) -> bool:
        """Nothing that ran found a difference."""
        by_python = self.verify is None or self.verify.get("passed") is True
        return by_python and (self.self_test is None or self.self_test.passed)

    def by_python(self, bundle: str, runtimes: Sequence[str] | None, samples: int | None) -> None:
        """qdeploy's own commands there."""
        where = self.place.connection.address
        there = RemoteQdeploy(self.place, self.board, bundle)
        with self.clock.part("verify"):
            self.say(f"{where}: qdeploy verify")
            self.verify = there.verify(runtimes, samples)
        if self.measure and self.passed:
            with self.clock.part("bench"):
                self.say(f"{where}: qdeploy bench")
                self.bench = there.bench(runtimes)
            with self.clock.part("bench here"):
                self.say("here: qdeploy bench")
                self.bench_here = _bench_here(self.files, self.bench)

    def by_self_test(self, target: str | None) -> None:
        """The program in C."""
        chosen = chosen_target(self.board, target)
        with self.clock.part("self-test"):
            self.say(f"{self.place.connection.address}: self-test in C for {chosen}")
            self.self_test = self_test_there(self.place, self.board, self.files, chosen, measure=self.measure)
        if self.measure and self.passed:
            with self.clock.part("self-test here"):
                self.say("here: self-test in C")
                self.self_test_here = self_test_here(self.files)


@dataclass(frozen=True)
class Plan:
    """Which ways are taken: by the board's Python in which runtimes (None: all), and by the self-test program."""

    python: bool
    runtimes: tuple[str, ...] | None
    self_test: bool


def plan_of(board: Board, runtimes: Sequence[str] | None, *, target: str | None, no_python: bool) -> Plan:
    """C is qdeploy's own runtime where the board has Python and a compiler, and the self-test program elsewhere.

    Raises:
        InvalidInputError: runtimes of Python, without Python.
    """
    names = tuple(runtimes) if runtimes is not None else None
    if no_python:
        if names is not None and names != ("c",):
            raise InvalidInputError(f"--no-python: found --runtime {', '.join(names)}; without Python there is c alone")
        return Plan(python=False, runtimes=None, self_test=True)
    without_compiler = names is not None and "c" in names and board.compiler is None
    if without_compiler and names is not None:
        names = tuple(name for name in names if name != "c")
    return Plan(python=names != (), runtimes=names, self_test=target is not None or without_compiler)


def _with_qdeploy(
    connection: Connection,
    board: Board,
    runtimes: Sequence[str] | None,
    python: str | None,
    install_there: bool,
    timeout: float,
    said: Say,
) -> Board:
    """The board, after qdeploy was put there if that was asked for."""
    check_python(board, connection.address)
    if board.has_qdeploy and not install_there:
        return board
    if not install_there:
        raise MissingRequirementError(how_to_install(board, connection.address))
    said(f"{connection.address}: installing qdeploy into {private_path(board.home)}")
    install(connection, board, timeout=timeout, runtimes=runtimes)
    after = examine_board(connection, python=python, look_for_python=True, timeout=min(timeout, _QUICK))
    if not after.has_qdeploy:
        raise MissingRequirementError(
            f"{connection.address}: qdeploy was put into {private_path(board.home)}, and {after.python} still lacks "
            f"{', '.join(after.lacking()) or 'it'}; look there with {after.python} -m pip list"
        )
    return after


def _final_folder(board: Board, folder: str | None, path: Path) -> str:
    """Where the bundle is to stay: a new name in the home folder unless said otherwise."""
    name = folder if folder is not None else path.resolve().name.removesuffix(".zip")
    name = name.removeprefix("~/")
    if not name.strip("/") or any(ord(letter) < 32 or ord(letter) == 127 for letter in name):
        raise InvalidInputError(
            f"--folder {name!r}: expected the name of a new folder there, such as models/{path.stem or 'net'}"
        )
    return posixpath.normpath(posixpath.join(board.home, name))


def _bench_here(files: BundleFiles, there: dict[str, Any]) -> dict[str, Any] | None:
    """The same runtimes on this machine, as far as they are here."""
    from qdeploy.bench import bench
    from qdeploy.runtime.engines import available

    names = [name for name in (time.name for time in compared_times(there, None)) if available().get(name) is not None]
    return bench(files, runtimes=names).to_dict() if names else None


class _Clock:
    """Seconds of each part."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = round(time.perf_counter() - start, 2)
