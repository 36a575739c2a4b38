"""A machine: what verify asks for engines. This one, or an emulated board."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from qdeploy.runtime.engines import available, open_engine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qdeploy.runtime.engines import Engine
    from qdeploy.runtime.model_source import ModelSource

    from .litert_process import LitertProcess

__all__ = ["HERE", "Both", "Here", "Machine"]


class Machine(Protocol):
    """Opens models in the engines that it has."""

    @property
    def board(self) -> str | None:
        """The board's name, None for this machine."""
        ...

    def available(self) -> dict[str, str | None]:
        """Each engine with its version, None where it is missing."""
        ...

    def open(self, runtime: str, model: ModelSource, *, threads: int, optimize: bool) -> Engine:
        """A model in an engine; C needs a whole bundle."""
        ...

    def litert(self) -> LitertProcess | None:
        """The process that runs .tflite files, None where this machine runs none."""
        ...

    def close(self) -> None:
        """Ends what was started."""
        ...


class Here:
    """This machine. LiteRT runs in a child process, which starts when it is first asked for: it may end its process."""

    board = None

    def __init__(self) -> None:
        self._litert: LitertProcess | None = None

    def available(self) -> dict[str, str | None]:
        """Each engine with its version."""
        return available()

    def open(self, runtime: str, model: ModelSource, *, threads: int, optimize: bool) -> Engine:
        """A model in this very process."""
        return open_engine(runtime, model, threads=threads, optimize=optimize)

    def litert(self) -> LitertProcess:
        """The child process."""
        if self._litert is None:
            from .litert_process import litert_here

            self._litert = litert_here()
        return self._litert

    def close(self) -> None:
        """Ends the child process."""
        if self._litert is not None:
            self._litert.close()


HERE: Machine = Here()


class Both:
    """A board that computes in several ways: each runtime in the machine that has it."""

    def __init__(self, machines: Sequence[Machine]) -> None:
        self._machines = machines
        self.board = machines[0].board

    def available(self) -> dict[str, str | None]:
        """The engines of all."""
        return {name: version for machine in self._machines for name, version in machine.available().items()}

    def open(self, runtime: str, model: ModelSource, *, threads: int, optimize: bool) -> Engine:
        """A model in the machine that has this engine."""
        machine = next(machine for machine in self._machines if machine.available().get(runtime) is not None)
        return machine.open(runtime, model, threads=threads, optimize=optimize)

    def litert(self) -> LitertProcess | None:
        """Of the machine that has it."""
        return next((found for machine in self._machines if (found := machine.litert()) is not None), None)

    def close(self) -> None:
        """Ends all."""
        for machine in self._machines:
            machine.close()
