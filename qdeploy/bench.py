"""How fast a bundle runs here: every runtime and the float model in turns, in one process, one thread, batch 1."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .runtime.errors import InvalidInputError

if TYPE_CHECKING:
    import onnx

    from .runtime.bundle import BundleFiles
    from .runtime.litert_options import LitertOptions

__all__ = ["BenchReport", "BenchRow", "bench", "measure"]

STEPS = 784
"""Time steps of a call unless told otherwise: sequential MNIST's."""
SECONDS = 3.0
"""How long all contestants together are measured when no number of calls is given."""
CALLS = (5, 2000)
"""Fewest and most measured calls of each contestant then."""

INT32 = 6
"""ONNX element type of 32-bit integers."""

LARGEST_FEED = 1 << 26
"""Numbers of one input of a float model; more are a corrupted file's."""


@dataclass(frozen=True)
class BenchRow:
    """One contestant: microseconds a unit (time step or sample), and its median's ratio to the float model's."""

    name: str
    best: float
    median: float
    p95: float
    p99: float
    ratio: float | None


@dataclass(frozen=True)
class BenchReport:
    """All contestants of one run."""

    unit: str
    steps: int | None
    calls: int
    rows: tuple[BenchRow, ...]

    def row(self, name: str) -> BenchRow:
        """Return one contestant's row; the float model's is named ``float``."""
        return next(row for row in self.rows if row.name == name)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Lines for people."""
        calls = f"{self.calls} calls each" + (f" of {self.steps} time steps" if self.steps else "")
        lines = [
            f"µs a {self.unit}, one thread, batch 1, {calls}, in turns",
            f"{'':<14}{'best':>10}{'median':>10}{'p95':>10}{'p99':>10}  against float",
        ]
        for row in self.rows:
            ratio = f"{row.ratio:.2f}×" if row.ratio is not None else ""
            times = "".join(f"{value:>10.2f}" for value in (row.best, row.median, row.p95, row.p99))
            lines.append(f"{row.name:<14}{times}  {ratio}".rstrip())
        return lines


def bench(
    files: BundleFiles,
    *,
    runtimes: Sequence[str] | None = None,
    float_model: str | Path | onnx.ModelProto | None = None,
    steps: int | None = None,
    calls: int | None = None,
    seed: int = 0,
    litert: LitertOptions | None = None,
) -> BenchReport:
    """Measure the bundle in ``runtimes`` (all that are installed), and a float ONNX model beside it.

    Args:
        files: an opened bundle.
        runtimes: names of engines.
        float_model: the float model as ONNX, run by onnxruntime.
        steps: time steps in a call, for recurrent models.
        calls: measured calls of each; without it, about three seconds are spent.
        seed: of the random inputs.
        litert: kernels and delegate of the runtime litert.

    Raises:
        InvalidInputError: ``steps`` for a model without time, ``litert`` where it is none of the runtimes.

    """
    from .runtime.engines import check_litert_options, open_engine
    from .runtime.model_file import load_model

    manifest = files.manifest
    recurrent = any(value.time_axis is not None for value in manifest.inputs)
    if steps is not None and not recurrent:
        raise InvalidInputError("--steps: this model has no time axis; leave it out")
    length = (steps or STEPS) if recurrent else 1
    feeds = _integer_feeds(manifest, length, np.random.default_rng(seed))
    contestants: dict[str, Callable[[], object]] = {}
    if float_model is not None:
        model = load_model(Path(float_model)) if isinstance(float_model, str | Path) else float_model
        engine = open_engine("onnxruntime", model, threads=1)
        indices = {value.float_name: value.vocabulary_size for value in manifest.inputs if value.scale is None}
        float_feeds = _float_feeds(model, length, np.random.default_rng(seed), indices)
        contestants["float"] = _call(engine.run, float_feeds)
    chosen = runtimes or _installed()
    check_litert_options(litert, chosen)
    for name in chosen:
        options = litert if name == "litert" else None
        contestants[name] = _call(open_engine(name, files, threads=1, litert=options).run, feeds)
    times = measure(contestants, calls)
    base = float(np.median(times["float"])) if "float" in times else None
    rows = tuple(_row(name, values / length, base and base / length) for name, values in times.items())
    return BenchReport("step" if recurrent else "sample", length if recurrent else None, len(times[rows[0].name]), rows)


def measure(contestants: Mapping[str, Callable[[], object]], calls: int | None = None) -> dict[str, np.ndarray]:
    """Call all contestants in turns and return each one's microseconds a call, after one call that is not counted."""
    for contestant in contestants.values():
        contestant()
    taken: dict[str, list[int]] = {name: [] for name in contestants}
    start = time.perf_counter()
    rounds = 0
    while rounds < (calls or CALLS[0]) or (
        calls is None and rounds < CALLS[1] and time.perf_counter() - start < SECONDS
    ):
        for name, contestant in contestants.items():
            before = time.perf_counter_ns()
            contestant()
            taken[name].append(time.perf_counter_ns() - before)
        rounds += 1
    return {name: np.array(values) / 1000 for name, values in taken.items()}


def _call(run: Callable[[Mapping[str, Any]], object], feeds: Mapping[str, Any]) -> Callable[[], object]:
    return lambda: run(feeds)


def _row(name: str, values: np.ndarray, base: float | None) -> BenchRow:
    median, p95, p99 = (float(value) for value in np.percentile(values, [50, 95, 99]))
    return BenchRow(name, float(values.min()), median, p95, p99, None if base is None else median / base)


def _installed() -> list[str]:
    from .runtime.engines import DEFAULTS, available

    installed = available()
    return [name for name in DEFAULTS if installed[name] is not None]


def _integer_feeds(manifest: Any, length: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Random inputs over the whole range of their type; states at zero."""
    feeds = {}
    for value in manifest.inputs:
        shape = _shape(value.shape, length)
        if value.scale is None:
            feeds[value.name] = rng.integers(0, value.vocabulary_size, shape, dtype=value.dtype)
            continue
        if value.dtype == "float32":  # behind float borders
            feeds[value.name] = rng.random(shape, dtype=np.float32)
            continue
        limits = np.iinfo(value.dtype)
        feeds[value.name] = rng.integers(limits.min, limits.max, shape, dtype=value.dtype, endpoint=True)
    for state in manifest.states:
        feeds[state.input] = np.full(_shape(state.shape, length), state.zero_point, dtype=state.dtype)
    return feeds


def _float_feeds(
    model: onnx.ModelProto, length: int, rng: np.random.Generator, indices: Mapping[str, int | None]
) -> dict[str, np.ndarray]:
    """Random numbers in [0, 1); ``indices`` says of which inputs the numbers are rows of a table, and of how many."""
    constants = {tensor.name for tensor in model.graph.initializer}
    feeds = {}
    for value in model.graph.input:
        if value.name not in constants:
            dims = [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
            shape = _shape(dims, length)
            if math.prod(shape) > LARGEST_FEED:
                raise InvalidInputError(
                    f"--float: input {value.name} has {math.prod(shape)} numbers, expected at most {LARGEST_FEED}; export the "
                    "model with free dimensions"
                )
            rows = indices.get(value.name)
            if rows is None:
                feeds[value.name] = rng.random(shape, dtype=np.float32)
            else:
                kind = np.int32 if value.type.tensor_type.elem_type == INT32 else np.int64
                feeds[value.name] = rng.integers(0, rows, shape).astype(kind)
    return feeds


def _shape(dims: Sequence[str | int], length: int) -> list[int]:
    """Batch 1, the given number of time steps."""
    return [length if dim == "time" else 1 if isinstance(dim, str) else dim for dim in dims]
