"""The voices: every way of computing the model that this machine has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onnx import inliner

from qdeploy.boards.machine import HERE
from qdeploy.runtime.engines import DEFAULTS, check_litert_options, onnxruntime, open_engine
from qdeploy.runtime.errors import InvalidInputError

from .instrument import has_operators
from .litert import litert_engines, shipped_tflite

if TYPE_CHECKING:
    import onnx

    from qdeploy.boards.machine import Machine
    from qdeploy.runtime.bundle import BundleFiles
    from qdeploy.runtime.engines import Engine
    from qdeploy.runtime.litert_options import LitertOptions

    from .report import Difference

__all__ = ["Voice", "make_voices"]

#: The slow executor runs one of so many random chunks.
_SLOW = 4


@dataclass
class Voice:
    """One engine on one form of the model, with its counters.

    ``shipped``: the file as it is, outputs only; else the copy that shows every tensor. ``every``: of the random
    chunks, it takes part in one of so many. ``judge``: the judge itself, compared with golden vectors and in pieces.
    ``machine``: where the engine computes.
    """

    name: str
    runtime: str
    engine: Engine
    shipped: bool
    threads: int
    optimize: bool
    every: int = 1
    judge: bool = False
    machine: Machine = HERE
    compared: int = 0
    mismatched: int = 0
    difference: Difference | None = field(default=None)

    def open(self, model: onnx.ModelProto) -> Engine:
        """Another model in the same engine, with the same options."""
        return self.machine.open(self.runtime, model, threads=self.threads, optimize=self.optimize)


def make_voices(
    files: BundleFiles,
    shown: onnx.ModelProto,
    runtimes: Sequence[str] | None,
    machines: Sequence[Machine] = (HERE,),
    litert: LitertOptions | None = None,
) -> tuple[list[Voice], list[str], list[str]]:
    """All voices of ``runtimes`` (those installed where None, but for C), a reason for each runtime that is left out, remarks.

    ``machines``: where they compute, this machine or emulated boards; the judge computes here. ``litert``: only these kernels of
    LiteRT, or all with this delegate.

    Raises MissingRequirementError for a runtime that was named and is missing, InvalidInputError for an unknown one.
    """
    check_litert_options(litert, runtimes or ())
    voices: list[Voice] = []
    left_out: list[str] = []
    remarks: list[str] = []
    tflite: tuple[bytes, str | None] | None = None
    if has_operators(files.model):
        judge = open_engine("numpy", files.model)
        voices.append(Voice("numpy, golden and in pieces", "numpy", judge, True, 1, True, judge=True))
    for machine in machines:
        installed = machine.available()
        defaults = [name for name in installed if name in DEFAULTS]
        for name in runtimes or ():
            if name not in installed:
                msg = f"found the runtime {name!r}, expected some of {', '.join(installed)}{_where(machine)}"
                raise InvalidInputError(msg)
        chosen = list(dict.fromkeys(runtimes)) if runtimes else [name for name in defaults if installed[name]]
        left_out += [f"{name} is not installed" for name in defaults if not runtimes and installed[name] is None]
        found = _machine_voices(files, shown, chosen, machine)
        if "litert" in chosen:
            if tflite is None:
                tflite = shipped_tflite(files)
                remarks += [tflite[1]] if tflite[1] else []
            found += [
                Voice(f"litert{_where(machine)}, {how}", "litert", engine, True, 1, True, machine=machine)
                for how, engine in litert_engines(files, *tflite, machine, remarks, litert)
            ]
        if not found and "litert" in chosen:
            msg = "the bits of this bundle are claimed for no kernel set of LiteRT here:\n" + "\n".join(remarks)
            raise InvalidInputError(msg)
        if not found:
            msg = (
                f"found the runtimes {', '.join(chosen)}, expected one besides the judge numpy: bodies, onnxruntime, "
                "litert, c"
            )
            raise InvalidInputError(msg)
        voices += found
    return voices, left_out, remarks


def _machine_voices(files: BundleFiles, shown: onnx.ModelProto, chosen: Sequence[str], machine: Machine) -> list[Voice]:
    """The voices of one machine."""
    shipped = files.model
    voices: list[Voice] = []
    if "bodies" in chosen:
        voices.append(_voice("bodies", shown, machine, every=_SLOW))
        if _keeps_states_back(shipped):
            voices.append(_voice("bodies", shipped, machine, "file as shipped", shipped=True, every=_SLOW))
    if "onnxruntime" in chosen:
        for optimize in (False, True):
            for threads in (1, 2):
                how = f"{'optimized' if optimize else 'plain'}, {threads} thread{'s' * (threads > 1)}"
                voices.append(_voice("onnxruntime", shown, machine, how, threads=threads, optimize=optimize))
        voices.append(_voice("onnxruntime", shipped, machine, "file as shipped", shipped=True))
    if "c" in chosen:
        # It stands for nothing but outputs and states: what lies between layers has no place in C.
        compiled = machine.open("c", files, threads=1, optimize=True)
        how = "trusted library" if files.trusted and machine.board is None else "compiled"
        voices.append(Voice(f"c{_where(machine)}, {how}", "c", compiled, True, 1, True, machine=machine))
    return voices


def _where(machine: Machine) -> str:
    return "" if machine.board is None else f" on {machine.board}"


def _voice(
    runtime: str,
    model: onnx.ModelProto,
    machine: Machine,
    how: str = "",
    *,
    shipped: bool = False,
    threads: int = 1,
    optimize: bool = True,
    every: int = 1,
) -> Voice:
    if runtime == "onnxruntime" and not shipped and onnxruntime.ambiguous_functions(model):
        # Files of others may have overloads; a version that ignores them gets the copy flat.
        version = machine.available()[runtime]
        model = inliner.inline_local_functions(model) if onnxruntime.ignores_overloads(version or "") else model
    engine = machine.open(runtime, model, threads=threads, optimize=optimize)
    name = f"{runtime}{_where(machine)}{', ' if how else ''}{how}"
    return Voice(name, runtime, engine, shipped, threads, optimize, every, machine=machine)


def _keeps_states_back(model: onnx.ModelProto) -> bool:
    return any(node.output and not node.output[0] for node in model.graph.node)
