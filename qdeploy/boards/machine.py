"""A machine: what verify asks for engines. This one, or an emulated board."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from qdeploy.runtime.engines import available, open_engine

if TYPE_CHECKING:
    import onnx

    from qdeploy.runtime.engines import Engine

__all__ = ["HERE", "Machine"]


class Machine(Protocol):
    """Opens models in the engines that it has."""

    @property
    def board(self) -> str | None:
        """The board's name, None for this machine."""
        ...

    def available(self) -> dict[str, str | None]:
        """Each engine with its version, None where it is missing."""
        ...

    def open(self, runtime: str, model: onnx.ModelProto, *, threads: int, optimize: bool) -> Engine:
        """A model in an engine."""
        ...

    def close(self) -> None:
        """Ends what was started."""
        ...


class _Here:
    board = None

    def available(self) -> dict[str, str | None]:
        return available()

    def open(self, runtime: str, model: onnx.ModelProto, *, threads: int, optimize: bool) -> Engine:
        return open_engine(runtime, model, threads=threads, optimize=optimize)

    def close(self) -> None:
        """Nothing was started."""


HERE: Machine = _Here()
