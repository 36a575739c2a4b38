"""A bundle and its verbs: run, session, verify, validate, debug, inspect, bench, push."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from .bench import BenchReport
    from .debug import DebugReport
    from .inspect import InspectReport
    from .progress import Progress
    from .push import PushReport
    from .runtime.bundle import BundleFiles
    from .runtime.litert_options import LitertOptions
    from .runtime.manifest import Manifest
    from .runtime.session import Session
    from .validate import ValidateReport
    from .verify import VerifyReport

__all__ = ["Bundle", "load"]


def load(path: str | Path, *, trust: bool = False) -> Bundle:
    """Open a bundle, a folder or a ``.zip``; every file is checked against the manifest's SHA-256. No code is run.

    ``trust`` lets the runtime c take the compiled library that the bundle holds for this machine; without it that runtime
    makes the C sources anew from ``model.onnx`` and builds them.

    Raises:
        InvalidFileError: something is missing, truncated, altered, or would be unsafe to read.

    """
    from .runtime.bundle import read_bundle

    return Bundle(read_bundle(Path(path), trust=trust))


class Bundle:
    """An integer-only model with its manifest, golden vectors and float baseline, as ``load`` opened it.

    Each verb imports what it needs when it is called: a board without torch runs them all.
    """

    def __init__(self, files: BundleFiles) -> None:
        self.files = files

    @property
    def path(self) -> Path:
        """The folder or the ``.zip``."""
        return self.files.path

    @property
    def manifest(self) -> Manifest:
        """What ``manifest.json`` says."""
        return self.files.manifest

    def __repr__(self) -> str:
        return f"Bundle({str(self.path)!r})"

    def session(
        self,
        *,
        runtime: str = "onnxruntime",
        raw: bool = False,
        threads: int = 1,
        litert: LitertOptions | None = None,
    ) -> Session:
        """Open the model in a runtime; the session keeps the state between calls.

        ``raw`` leaves outputs integer instead of scale·(n − zero_point). ``litert``: kernels and delegate of the runtime litert.
        """
        from .runtime.session import Session

        return Session(self.files, runtime=runtime, raw=raw, threads=threads, litert=litert)

    def run(
        self,
        inputs: Mapping[str, NDArray[Any]] | NDArray[Any],
        *,
        runtime: str = "onnxruntime",
        state: Mapping[str, NDArray[Any]] | None = None,
        raw: bool = False,
        litert: LitertOptions | None = None,
    ) -> dict[str, NDArray[Any]]:
        """Compute once; a zero state unless ``state`` (the last states by their names) is given.

        Float inputs are quantized as ONNX QuantizeLinear does, integers are taken as they are.
        """
        session = self.session(runtime=runtime, raw=raw, litert=litert)
        if state is not None:
            session.state = dict(state)
        return session.run(inputs)

    def verify(
        self,
        *,
        runtimes: Sequence[str] | None = None,
        samples: int | None = None,
        seed: int = 0,
        data: Any = None,
        case: str | None = None,
        board: str | Sequence[str] | None = None,
        progress: Progress | None = None,
        litert: LitertOptions | None = None,
    ) -> VerifyReport:
        """Compare every output and state between reference, bodies and runtimes, bit for bit.

        ``board``: one or more emulated boards that run the runtimes instead of this machine, C unless others are named.
        ``litert``: only these kernels of LiteRT, or all with this delegate.
        """
        from .verify import verify

        return verify(
            self.files,
            runtimes=runtimes,
            samples=samples,
            seed=seed,
            data=data,
            case=case,
            board=board,
            progress=progress,
            litert=litert,
        )

    def validate(
        self,
        data: Any,
        *,
        float_model: Any = None,
        runtime: str = "onnxruntime",
        metric: str = "accuracy",
        max_drop: float | None = None,
        limit: int | None = None,
        progress: Progress | None = None,
        litert: LitertOptions | None = None,
    ) -> ValidateReport:
        """Compare with the float model (the bundle's baseline if none is given) on data with known answers."""
        from .validate import validate

        return validate(
            self.files,
            data,
            float_model=float_model,
            runtime=runtime,
            metric=metric,
            max_drop=max_drop,
            limit=limit,
            progress=progress,
            litert=litert,
        )

    def debug(
        self,
        data: Any,
        *,
        float_model: Any = None,
        runtime: str | None = None,
        limit: int | None = None,
        progress: Progress | None = None,
    ) -> DebugReport:
        """Compare every tensor with the float model's, hidden and cell states at every step.

        ``runtime``: one that must compute the same integers on these data.
        """
        from .debug import debug

        return debug(self.files, data, float_model=float_model, runtime=runtime, limit=limit, progress=progress)

    def inspect(self, *, target: str | None = None, flash: int | None = None, ram: int | None = None) -> InspectReport:
        """Operators, bits, bytes against float, multiply-accumulates, memory, accumulator head-room.

        With ``target`` also what its C takes of that board's flash and RAM, of which ``flash`` and ``ram`` bytes are there.
        """
        from .inspect import inspect

        return inspect(self.files, target=target, flash=flash, ram=ram)

    def bench(
        self,
        *,
        runtimes: Sequence[str] | None = None,
        float_model: str | Path | None = None,
        steps: int | None = None,
        calls: int | None = None,
        seed: int = 0,
        litert: LitertOptions | None = None,
    ) -> BenchReport:
        """Microseconds a time step (recurrent models) or sample: one thread, batch 1, all runtimes in turns."""
        from .bench import bench

        return bench(
            self.files, runtimes=runtimes, float_model=float_model, steps=steps, calls=calls, seed=seed, litert=litert
        )

    def push(self, address: str, **options: Any) -> PushReport:
        """Copy the bundle to a board (``user@host``), verify and measure it there.

        ``options`` are those of :func:`qdeploy.push.push`.
        """
        from .push import push

        return push(self.path, address, **options)
