"""Runs the judge and the voices over all cases and compares."""

from __future__ import annotations

import contextlib
import os
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from qdeploy.boards.machine import Here
from qdeploy.litert_claims import kernel_uses, statement
from qdeploy.runtime.errors import InvalidInputError, QdeployError
from qdeploy.runtime.litert_options import LitertOptions
from qdeploy.runtime.reference import ReferenceModel
from qdeploy.runtime.standard import BodyModel
from qdeploy.strictness import not_strict, remark

from .cases import EXTREMES, Case, CaseMaker
from .compare import Axes, Mismatch, count_mismatches, find_axes, first_mismatch
from .cuts import make_cuts, run_pieces
from .instrument import Producer, constants_model, has_operators, producers, show
from .locate import locate_in_body
from .report import Difference, VerifyReport, VoiceReport
from .samples import read_samples
from .voices import Voice, make_voices

if TYPE_CHECKING:
    import onnx

    from qdeploy.boards.machine import Machine
    from qdeploy.progress import Progress
    from qdeploy.runtime.bundle import BundleFiles

__all__ = ["verify"]

Array = npt.NDArray[Any]

#: Random samples are chosen so that a voice compares about so many integers, unless ``samples`` says otherwise.
_DEFAULT_INTEGERS = 1_500_000
_MOST_DEFAULT_SAMPLES = 4096
#: How many times fewer on an emulated board, which is about as many times as slow.
_EMULATED = 10
#: A chunk's tensors stay within this many elements, and a batch within its own bound.
_CHUNK_ELEMENTS = 4_000_000
_LARGEST_BATCH = 256
_DEFAULT_STEPS = 32
_MOST_DATA = 64
_REFERENCE = "the reference"


def verify(
    files: BundleFiles,
    *,
    runtimes: Sequence[str] | None = None,
    samples: int | None = None,
    seed: int = 0,
    data: Any = None,
    progress: Progress | None = None,
    case: str | None = None,
    board: str | Sequence[str] | None = None,
    litert: LitertOptions | None = None,
) -> VerifyReport:
    """Compares every output and every tensor between layers, bit for bit, between the reference and all runtimes.

    Args:
        files: an opened bundle.
        runtimes: names of engines; all that are installed where None.
        samples: random sequences or samples; by default as many as make about one and a half million integers a voice.
        seed: of the random integers.
        data: real samples: arrays by input name, one array, or what names them (a file, a data set).
        progress: called as ``(stage, done, total)``.
        case: only this case, or this kind of case ("random/3", "random").
        board: one or more emulated boards that run the runtimes instead of this machine, C unless others are named; a tenth
            of the random samples by default.
        litert: only these kernels of LiteRT, or all with this delegate.

    Returns:
        A report whose ``passed`` says whether not one integer differs.

    Raises:
        MissingRequirementError: a runtime that was named is missing, or what emulates the board.
        ContractError: the reference itself refuses what the model computes (an accumulator that overflows).
        InvalidInputError: data that do not fit the model's inputs, or a case that does not exist.
    """
    boards = (board,) if isinstance(board, str) else tuple(board or ())
    with contextlib.ExitStack() as stack:
        machines: list[Machine] = [stack.enter_context(contextlib.closing(Here()))]
        if boards:
            from qdeploy.boards import open_board

            runtimes = tuple(runtimes or ("c",))
            machines = [stack.enter_context(contextlib.closing(open_board(name, runtimes))) for name in boards]
        return _Verification(files, runtimes, samples, seed, data, case, machines, litert).report(progress)


class _Judge(Protocol):
    """Gives every tensor of a call, and how many values each node clipped."""

    def __call__(self, feeds: Mapping[str, Array], /) -> tuple[dict[str, Array], Mapping[str, int]]: ...


def _remarks(files: BundleFiles) -> tuple[str, ...]:
    layers, uses = not_strict(files.manifest), kernel_uses(files.model)
    return (*((remark(layers),) if layers else ()), *((statement(uses),) if uses else ()))


def _make_judge(model: onnx.ModelProto) -> tuple[str, _Judge]:
    """The reference; for a file without layer-sized operators (inlined), the executor of standard operators."""
    if has_operators(model):
        reference = ReferenceModel(model)

        def judge(feeds: Mapping[str, Array]) -> tuple[dict[str, Array], Mapping[str, int]]:
            result = reference.run(feeds, keep=True)
            return {**result.tensors, **result.outputs}, result.saturations

        return "numpy", judge
    bodies = BodyModel(model)
    return "bodies", lambda feeds: (bodies.run(feeds), {})


class _Verification:
    def __init__(
        self,
        files: BundleFiles,
        runtimes: Sequence[str] | None,
        samples: int | None,
        seed: int,
        data: Any,
        only: str | None,
        machines: Sequence[Machine],
        litert: LitertOptions | None,
    ) -> None:
        self._started = time.perf_counter()
        self._files = files
        self._seed = seed
        self._only = only
        self._shown = show(files.model)
        self._judge_name, self._judge = _make_judge(self._shown)
        self._voices, self._left_out, self._remarks = make_voices(files, self._shown, runtimes, machines, litert)
        self._litert = litert or LitertOptions()
        self._runtimes = runtimes
        self._producers = producers(self._shown)
        self._vectors = files.vectors()
        self._maker = CaseMaker(files.manifest, files.model, steps=self._nominal_steps(), seed=seed)
        self._axes, per_sample = self._probe()
        self._per_chunk = max(1, min(_LARGEST_BATCH, _CHUNK_ELEMENTS // per_sample)) if self._maker.batched else 1
        emulated = any(voice.machine.board is not None for voice in self._voices)
        integers = _DEFAULT_INTEGERS // (_EMULATED if emulated else 1)
        wanted = max(4, min(_MOST_DEFAULT_SAMPLES, -(-integers // per_sample)))
        self._samples = samples if samples is not None else wanted
        self._per_chunk = min(self._per_chunk, self._samples)
        self._data = read_samples(data, files.manifest, samples or _MOST_DATA) if data is not None else None
        self._counts: dict[str, int] = {}
        self._saturations: dict[str, int] = {}
        self._saturation_samples = 0

    def report(self, progress: Progress | None) -> VerifyReport:
        chunks = -(-self._samples // self._per_chunk)
        total = len(self._vectors) + (self._data is not None) + len(EXTREMES) + chunks + 3
        done = 0
        if self._wanted("constants"):
            self._compare_constants()
        for index, case in enumerate(self._cases(chunks)):
            self._compare_case(case)
            done = index + 1
            if progress is not None:
                progress("verify", min(done, total), total)
        self._compare_cuts()
        if progress is not None:
            progress("verify", total, total)
        if not self._counts:
            kinds = ", ".join(self._kinds())
            msg = f"found no case {self._only!r}, expected one of {kinds}, or one of them with its number"
            raise InvalidInputError(msg)
        return VerifyReport(
            bundle=str(self._files.path),
            judge=self._judge_name,
            seed=self._seed,
            samples=self._samples,
            cases=self._counts,
            voices=tuple(
                VoiceReport(v.name, v.engine.version, v.compared, v.mismatched, v.difference) for v in self._voices
            ),
            saturations=dict(sorted(self._saturations.items(), key=lambda item: -item[1])),
            saturation_samples=self._saturation_samples,
            left_out=tuple(self._left_out),
            seconds=time.perf_counter() - self._started,
            remarks=(*_remarks(self._files), *self._remarks),
        )

    @staticmethod
    def _kinds() -> tuple[str, ...]:
        return ("constants", "golden", "data", "extreme", "one-step", "random", "cut")

    def _wanted(self, name: str) -> bool:
        return self._only is None or name == self._only or name.startswith(f"{self._only}/")

    def _nominal_steps(self) -> int:
        """As many steps as the golden vectors have."""
        for vector in self._vectors.values():
            for spec in self._files.manifest.inputs:
                if "time" in spec.shape and spec.name in vector.inputs:
                    return int(vector.inputs[spec.name].shape[spec.shape.index("time")])
        return _DEFAULT_STEPS

    def _probe(self) -> tuple[dict[str, Axes], int]:
        """Where each tensor's batch and time lie, and how many integers one sample of full length makes."""
        maker = self._maker
        first, batch = (2, 3) if maker.batched else (1, 1)
        base, _ = self._judge(maker.random("probe", first, 2).feeds)
        wider, _ = self._judge(maker.random("probe", batch, 2).feeds)
        longer = self._judge(maker.random("probe", first, 3).feeds)[0] if maker.timed else None
        axes = find_axes(base, wider, longer)
        per_sample = 0
        for name in self._shown.graph.output:
            tensor = base[name.name]
            steps = maker.steps / 2 if axes[name.name].time is not None else 1
            per_sample += int(tensor.size * steps / (first if axes[name.name].batch is not None else 1))
        return axes, max(per_sample, 1)

    def _cases(self, chunks: int) -> Iterator[Case]:
        """In the order in which a reader would try them: what is known, what is extreme, what is random."""
        maker = self._maker
        for name, vector in self._vectors.items():
            if self._wanted(f"golden/{name}"):
                yield Case(f"golden/{name}", maker.with_zero_state(vector.inputs), vector.outputs)
        if self._data is not None:
            feeds = maker.with_zero_state(maker.quantized(self._data))
            symbol = next((s for s in self._files.manifest.inputs if "batch" in s.shape), None)
            count = feeds[symbol.name].shape[symbol.shape.index("batch")] if symbol else 1
            sizes = [min(self._per_chunk, count - i) for i in range(0, count, self._per_chunk)]
            for index, piece in enumerate(maker.slices(feeds, "batch", sizes) if symbol else [feeds]):
                if self._wanted(f"data/{index}"):
                    yield Case(f"data/{index}", piece)
        for kind in EXTREMES:
            if self._wanted(f"extreme/{kind}"):
                yield maker.extreme(kind, 2 if maker.batched else 1)
        if maker.timed and self._wanted("one-step/0"):
            yield maker.random("one-step/0", min(self._per_chunk, 8), 1)
        for chunk in range(chunks):
            if self._wanted(f"random/{chunk}"):
                # The last chunk may be smaller.
                batch = min(self._per_chunk, self._samples - chunk * self._per_chunk)
                yield maker.random(f"random/{chunk}", batch)

    def _compare_case(self, case: Case) -> None:
        tensors, saturations = self._judge(case.feeds)
        self._count(case)
        if case.kind in {"golden", "data"}:
            for node, count in saturations.items():
                self._saturations[node] = self._saturations.get(node, 0) + count
            self._saturation_samples += self._batch_of(case.feeds)
        number = int(case.name.rpartition("/")[2]) if case.kind == "random" else 0
        for voice in self._voices:
            if (number % voice.every and self._only is None) or (voice.judge and case.kind != "golden"):
                continue
            found = self._run(voice, case)
            if found is not None:
                self._compare(voice, case, {name: tensors[name] for name in found}, found)
                if case.expected:
                    # These come from the machine that exported; the judge's are made here.
                    self._compare(voice, case, case.expected, found, judge="the golden vector")

    def _count(self, case: Case) -> None:
        self._counts[case.kind] = self._counts.get(case.kind, 0) + 1

    def _batch_of(self, feeds: Mapping[str, Array]) -> int:
        spec = self._files.manifest.inputs[0]
        return int(feeds[spec.name].shape[spec.shape.index("batch")]) if "batch" in spec.shape else 1

    def _run(self, voice: Voice, case: Case) -> dict[str, Array] | None:
        """None where the voice gave nothing; its complaint is then its difference."""
        try:
            return voice.engine.run(case.feeds)
        except QdeployError as error:
            voice.mismatched += 1
            if voice.difference is None:
                voice.difference = self._difference(
                    voice, case, "", Mismatch(None, None, (), None, None, f"could not run: {error}"), None
                )
            return None

    def _compare(
        self,
        voice: Voice,
        case: Case,
        expected: Mapping[str, Array],
        found: Mapping[str, Array],
        *,
        judge: str = _REFERENCE,
        step: int | None = None,
    ) -> None:
        """Counts what differs; ``step`` is the one after which tensors without time were taken."""
        wrong: list[str] = []
        for name, array in expected.items():
            voice.compared += array.size
            if name not in found:
                continue
            count = count_mismatches(array, found[name])
            if count:
                voice.mismatched += count
                wrong.append(name)
        if wrong and voice.difference is None:
            name = min(wrong, key=self._order)
            mismatch = first_mismatch(expected[name], found[name], self._axes.get(name, Axes()))
            if step is not None:
                mismatch = replace(mismatch, step=step)
            body = None
            alone = judge == _REFERENCE and case.kind not in {"cut", "constants"} and not voice.judge
            if alone and name in self._producers and mismatch.problem is None:
                model = self._files.model if voice.shipped else self._shown
                body = locate_in_body(model, self._producers[name].position, self._judge, case.feeds, voice)
            voice.difference = self._difference(voice, case, name, mismatch, body, judge=judge)

    def _order(self, name: str) -> tuple[int, int]:
        producer = self._producers.get(name)
        return (producer.position, producer.output) if producer else (len(self._producers), 0)

    def _difference(
        self,
        voice: Voice,
        case: Case,
        name: str,
        mismatch: Mismatch,
        body: str | None,
        *,
        judge: str = _REFERENCE,
    ) -> Difference:
        producer = self._producers.get(name, Producer(0, "-", "-", 0))
        return Difference(
            voice=voice.name,
            judge=judge,
            case=case.name,
            node=producer.node,
            operator=producer.operator,
            tensor=name or "-",
            sample=mismatch.sample,
            step=mismatch.step,
            index=mismatch.index,
            expected=mismatch.expected,
            found=mismatch.found,
            body=body,
            problem=mismatch.problem,
            command=self._command(voice, case),
        )

    def _command(self, voice: Voice, case: Case) -> str:
        words = ["qdeploy", "verify", os.fspath(self._files.path), "--case", case.name, "--seed", str(self._seed)]
        words += ["--samples", str(self._samples), "--runtime", voice.runtime]
        if voice.machine.board is not None:
            words += ["--board", voice.machine.board]
        if voice.runtime == "litert":
            words += self._litert.words()
        if case.kind == "data":
            words += ["--data", "DATA"]
        return shlex.join(words)

    def _compare_constants(self) -> None:
        """Unpacked weights and Hamilton matrices, once for each voice's runtime."""
        model = constants_model(self._shown)
        if model is None:
            return
        case = Case("constants/0", {})
        expected, _ = _make_judge(model)[1]({})
        names = [value.name for value in model.graph.output]
        self._count(case)
        for voice in self._voices:
            if voice.shipped:
                continue
            try:
                found = voice.open(model).run({})
            except QdeployError as error:
                voice.mismatched += 1
                problem = Mismatch(None, None, (), None, None, f"could not run: {error}")
                voice.difference = voice.difference or self._difference(voice, case, "", problem, None)
                continue
            self._compare(voice, case, {name: expected[name] for name in names}, found)

    def _compare_cuts(self) -> None:
        """One call equals the same steps in several calls, every state after each of them too; a batch equals its samples alone.

        An output that the manifest calls one of the whole sequence, such as a mean over time, is not compared across calls.
        """
        maker, manifest = self._maker, self._files.manifest
        states = {state.input: state.output for state in manifest.states}
        whole_only = {output.name for output in manifest.outputs if output.extra.get("whole_sequence") is True}
        # Each kernel set of LiteRT is a program of its own.
        engines = {
            v.name if v.runtime == "litert" else (v.runtime, v.machine.board): v
            for v in self._voices
            if v.shipped or v.runtime == "bodies"
        }
        # Of ONNX on this machine the golden vectors' states are compared at every step in the copy that shows them.
        hidden = any(v.machine.board is not None or v.runtime == "litert" for v in self._voices)
        vectors = self._vectors if hidden else {}
        for cut in make_cuts(maker, manifest, vectors):
            if not self._wanted(cut.name):
                continue
            symbol, sizes = cut.symbol, cut.sizes
            case = Case(cut.name, cut.feeds)
            self._count(case)
            tensors, _ = self._judge(cut.feeds)
            judged = (
                run_pieces(lambda f: self._judge(f)[0], maker.slices(cut.feeds, symbol, sizes), symbol, states)
                if symbol == "time"
                else []
            )
            for voice in engines.values():
                try:
                    pieces = run_pieces(voice.engine.run, maker.slices(cut.feeds, symbol, sizes), symbol, states)
                except QdeployError as error:
                    voice.mismatched += 1
                    problem = Mismatch(None, None, (), None, None, f"could not run: {error}")
                    voice.difference = voice.difference or self._difference(voice, case, "", problem, None)
                    continue
                if symbol == "time":
                    # Before what they lead to: the earliest step is the one that is told.
                    for last, after, computed in zip(np.cumsum(sizes) - 1, judged, pieces, strict=True):
                        taken = {tensor: after[tensor] for tensor in states.values()}
                        self._compare(voice, case, taken, computed, step=int(last))
                expected, found = {}, {}
                compared = [
                    output.name for output in manifest.outputs if symbol == "batch" or output.name not in whole_only
                ]
                for tensor in [*compared, *states.values()]:
                    axis = self._axes[tensor].batch if symbol == "batch" else self._axes[tensor].time
                    expected[tensor] = tensors[tensor]
                    found[tensor] = (
                        np.concatenate([p[tensor] for p in pieces], axis) if axis is not None else pieces[-1][tensor]
                    )
                self._compare(voice, case, expected, found)
