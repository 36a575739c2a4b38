"""Boards without the board: their processors emulated by qemu, with what they run made here.

A board of 64 bits runs a real arm64 Python with onnxruntime (``qdeploy.boards.sysroot``) and LiteRT, one of 32 bits LiteRT alone
(``qdeploy.boards.litert_sysroot``), made once by ``qdeploy board setup``. ``verify`` feeds them as it feeds the runtimes of this
machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .machine import Machine

__all__ = ["open_board"]


def open_board(board: str, runtimes: Sequence[str]) -> Machine:
    """The emulated board of that name, with all that ``runtimes`` need: C, LiteRT, or a Python for the others.

    Raises:
        InvalidInputError: there is no such board, or it does not run such a thing.
        MissingRequirementError: this machine lacks what emulates it, or the compiler.
    """
    from .overview import check_board

    check_board(board)
    machines: list[Machine] = []
    if "c" in runtimes:
        from .c_board import CBoard

        machines.append(CBoard(board))
    if "litert" in runtimes:
        from .litert_board import LitertBoard

        machines.append(LitertBoard(board))
    if set(runtimes) - {"c", "litert"}:
        from .python_board import PythonBoard

        machines.append(PythonBoard(board))
    if len(machines) == 1:
        return machines[0]
    from .machine import Both

    return Both(machines)
