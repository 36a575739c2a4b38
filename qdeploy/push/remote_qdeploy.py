"""The commands of qdeploy on the board, by its Python, and their reports."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from qdeploy.runtime.errors import InvalidInputError, MissingRequirementError, UnsupportedModelError

from .board import private_path

if TYPE_CHECKING:
    from .board import Board
    from .remote_folder import RemoteFolder

__all__ = ["RemoteQdeploy"]


_ERRORS = {2: InvalidInputError, 3: UnsupportedModelError}
"""What an exit code there means here; all others are that the board lacks something."""


class RemoteQdeploy:
    """``qdeploy`` there, for one bundle."""

    def __init__(self, place: RemoteFolder, board: Board, bundle: str) -> None:
        self._place = place
        self._board = board
        self._bundle = bundle

    def verify(self, runtimes: Sequence[str] | None, samples: int | None) -> dict[str, Any]:
        """What ``qdeploy verify --json`` prints, whether it passed or not.

        Raises:
            InvalidInputError, UnsupportedModelError, MissingRequirementError: it could not verify; as its exit code says.
        """
        more = ["--samples", str(samples)] if samples is not None else []
        return self._command("verify", runtimes, more, codes=(0, 1))

    def bench(self, runtimes: Sequence[str] | None) -> dict[str, Any]:
        """What ``qdeploy bench --json`` prints.

        Raises:
            InvalidInputError, UnsupportedModelError, MissingRequirementError: it could not measure; as its exit code says.
        """
        return self._command("bench", runtimes, [], codes=(0,))

    def _command(
        self, verb: str, runtimes: Sequence[str] | None, more: list[str], codes: tuple[int, ...]
    ) -> dict[str, Any]:
        words = [str(self._board.python), "-m", "qdeploy", verb, self._bundle, "--json", *more]
        for name in runtimes or ():
            words += ["--runtime", name]
        done = self._place.run(words, python_path=private_path(self._board.home))
        where = self._place.connection.address
        said = " ".join((done.err.strip() or done.out.strip() or "nothing").splitlines()[-3:])
        if done.code not in codes or (done.code and not done.out.strip()):
            raise _ERRORS.get(done.code, MissingRequirementError)(
                f"{where}: qdeploy {verb} ended with exit code {done.code} there: {said}"
            )
        try:
            report = json.loads(done.out)
        except ValueError:
            report = None
        if not isinstance(report, dict):
            raise MissingRequirementError(
                f"{where}: qdeploy {verb} printed no report there (found: {said}); is it of this version?"
            )
        return report
