"""Boards without the board: their processors emulated by qemu, with what they run made here.

A board of 64 bits runs a real arm64 Python with onnxruntime (``qdeploy.boards.sysroot``, made once by ``qdeploy board setup``).
``verify`` feeds it as it feeds the runtimes of this machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .machine import Machine

__all__ = ["open_board"]


def open_board(board: str) -> Machine:
    """The emulated board of that name.

    Raises:
        InvalidInputError: there is no such board.
        MissingRequirementError: this machine lacks what emulates it.
    """
    from .python_board import PythonBoard

    return PythonBoard(board)
