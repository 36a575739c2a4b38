"""The verb ``push``: send, verify there, measure there, bring the report back."""

from __future__ import annotations

import json
import posixpath
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qdeploy.runtime.errors import InvalidInputError, MissingRequirementError

from .address import Address
from .board import Board, examine_board, private_path
from .connection import Connection, connect
from .install import check_python, how_to_install, install
from .remote_folder import RemoteFolder, remote_folder
from .report import PushReport, compared_times, verify_lines

if TYPE_CHECKING:
    from qdeploy.runtime.bundle import BundleFiles

__all__ = ["TIMEOUT", "push"]

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
        MissingRequirementError: the board cannot be reached, refuses, or lacks something.
    """
    from qdeploy.runtime.bundle import read_bundle

    target = Address.parse(address)
    files = read_bundle(path, everything=True)
    said: Say = say if say is not None else lambda _: None
    clock = _Clock()
    with connect(target, port=port, identity=identity, config=config) as connection:
        with clock.part("examine"):
            board = examine_board(connection, python=python, look_for_python=True, timeout=min(timeout, _QUICK))
        board = _with_qdeploy(connection, board, python, install_there, timeout, said)
        final = _final_folder(board, folder, Path(path)) if keep or folder is not None else None
        parents = (posixpath.dirname(final),) if final is not None else (board.home, "/tmp", "/var/tmp")  # noqa: S108 - mktemp
        with remote_folder(connection, parents, timeout=timeout) as place:
            with clock.part("send"):
                said(f"{target}: sending {sum(map(len, files.contents.values())):,} bytes")
                bundle = place.send(files.contents, "bundle")
            runner = _Runner(place, board, bundle)
            with clock.part("verify"):
                said(f"{target}: qdeploy verify")
                verdict = runner.verify(runtimes, samples)
            measured = here = None
            if bench and verdict.get("passed") is True:
                with clock.part("bench"):
                    said(f"{target}: qdeploy bench")
                    measured = runner.bench(runtimes)
                with clock.part("bench here"):
                    said("here: qdeploy bench")
                    here = _bench_here(files, measured)
            if final is not None and verdict.get("passed") is True:
                place.keep("bundle", final, force=force)
    passed = verdict.get("passed") is True
    return PushReport(
        bundle=str(path),
        model_sha256=files.manifest.files["model.onnx"].sha256,
        address=str(target),
        board=board,
        passed=passed,
        verify=verdict,
        verify_text=runner.verify_text,
        bench=measured,
        bench_here=here,
        times=compared_times(measured, here),
        kept=final if passed else None,
        seconds=clock.seconds,
    )


def _with_qdeploy(
    connection: Connection, board: Board, python: str | None, install_there: bool, timeout: float, said: Say
) -> Board:
    """The board, after qdeploy was put there if that was asked for."""
    check_python(board, connection.address)
    if board.has_qdeploy and not install_there:
        return board
    if not install_there:
        raise MissingRequirementError(how_to_install(board, connection.address))
    said(f"{connection.address}: installing qdeploy into {private_path(board.home)}")
    install(connection, board, timeout=timeout)
    after = examine_board(connection, python=python, look_for_python=True, timeout=min(timeout, _QUICK))
    if not after.has_qdeploy:
        raise MissingRequirementError(
            f"{connection.address}: qdeploy was put into {private_path(board.home)}, and {after.python} still lacks "
            f"{', '.join(after.lacking) or 'it'}; look there with {after.python} -m pip list"
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


class _Runner:
    """The commands of qdeploy there."""

    def __init__(self, place: RemoteFolder, board: Board, bundle: str) -> None:
        self._place = place
        self._board = board
        self._bundle = bundle
        self.verify_text: tuple[str, ...] = ()

    def verify(self, runtimes: Sequence[str] | None, samples: int | None) -> dict[str, Any]:
        more = ["--samples", str(samples)] if samples is not None else []
        report = self._command("verify", runtimes, more, codes=(0, 1))
        self.verify_text = verify_lines(report)
        return report

    def bench(self, runtimes: Sequence[str] | None) -> dict[str, Any]:
        return self._command("bench", runtimes, [], codes=(0,))

    def _command(
        self, verb: str, runtimes: Sequence[str] | None, more: list[str], codes: tuple[int, ...]
    ) -> dict[str, Any]:
        words = [str(self._board.python), "-m", "qdeploy", verb, self._bundle, "--json", *more]
        for name in runtimes or ():
            words += ["--runtime", name]
        environment = {"PYTHONPATH": private_path(self._board.home), "ORT_DISABLE_TELEMETRY": "1"}
        done = self._place.run(words, environment=environment)
        where = self._place.connection.address
        said = " ".join((done.err.strip() or done.out.strip() or "nothing").splitlines()[-3:])
        if done.code not in codes or (done.code and not done.out.strip()):
            error = InvalidInputError if done.code == 2 else MissingRequirementError
            raise error(f"{where}: qdeploy {verb} ended with exit code {done.code} there: {said}")
        try:
            report = json.loads(done.out)
        except ValueError:
            report = None
        if not isinstance(report, dict):
            raise MissingRequirementError(
                f"{where}: qdeploy {verb} printed no report there (found: {said}); is it of this version?"
            )
        return report


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
