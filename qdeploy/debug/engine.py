"""Whether a runtime computes the integers that debug speaks of, on the data that it speaks of."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from qdeploy.runtime.engines import open_engine
from qdeploy.runtime.errors import CheckFailedError

if TYPE_CHECKING:
    from qdeploy.runtime.bundle import BundleFiles
    from qdeploy.verify.cases import CaseMaker

__all__ = ["check_engine"]

Array = NDArray[Any]


def check_engine(
    files: BundleFiles,
    runtime: str,
    maker: CaseMaker,
    feeds: Mapping[str, Array],
    outputs: Mapping[str, Array],
    states: Mapping[str, Array],
) -> None:
    """Runs the data in a runtime, at once and step by step, and compares with the reference.

    Args:
        files: an opened bundle.
        runtime: an engine's name.
        maker: cuts sequences into steps.
        feeds: graph inputs, states included.
        outputs: the reference's graph outputs.
        states: the reference's states after every step, [time, ...] by the graph output's name; empty where there are none.

    Raises:
        CheckFailedError: an integer differs; the message names the first and the command that looks closer.
        MissingRequirementError, UnsupportedModelError, InvalidInputError: as ``open_engine``.
    """
    engine = open_engine(runtime, files)
    advice = f"qdeploy verify {os.fspath(files.path)} --runtime {runtime} --data DATA tells where they part"
    for name, found in engine.run(feeds).items():
        _compare(runtime, name, "", outputs[name], found, advice)
    if not states:
        return
    steps = len(next(iter(states.values())))
    held = {spec.input: feeds[spec.input] for spec in files.manifest.states}
    moving = {name: array for name, array in feeds.items() if name not in held}
    for step, piece in enumerate(maker.slices(moving, "time", [1] * steps)):
        results = engine.run(piece | held)
        for spec in files.manifest.states:
            _compare(
                runtime, spec.output, f" after step {step}", states[spec.output][step], results[spec.output], advice
            )
            held[spec.input] = results[spec.output]


def _compare(runtime: str, name: str, when: str, expected: Array, found: Array, advice: str) -> None:
    if expected.dtype == found.dtype and np.array_equal(expected, found):
        return
    if expected.shape != found.shape or expected.dtype != found.dtype:
        what = f"found {found.dtype}{list(found.shape)}, the reference gives {expected.dtype}{list(expected.shape)}"
    else:
        index = tuple(int(i) for i in np.argwhere(expected != found)[0])
        what = f"found {found[index]} at {list(index)}, the reference gives {expected[index]}"
    raise CheckFailedError(f"{runtime}: {name}{when}: {what}; {advice}")
