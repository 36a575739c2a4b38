"""Sequences in several calls and batches sample by sample: what comes out must be the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

if TYPE_CHECKING:
    from qdeploy.runtime.bundle import Vector
    from qdeploy.runtime.manifest import Manifest

    from .cases import CaseMaker

__all__ = ["Cut", "make_cuts", "run_pieces"]

Array = npt.NDArray[Any]

#: Steps and samples of random cuts: each piece is a call.
_STEPS, _SAMPLES = 24, 3


@dataclass(frozen=True)
class Cut:
    """One call's ``feeds``, and along which axis ("batch" or "time") it is cut into pieces of which sizes."""

    name: str
    feeds: Mapping[str, Array]
    symbol: str
    sizes: list[int]


def make_cuts(maker: CaseMaker, manifest: Manifest, vectors: Mapping[str, Vector]) -> list[Cut]:
    """Cuts of random integers, and of the first sample of each of ``vectors`` into single steps."""
    steps, batch = min(maker.steps, _STEPS), _SAMPLES if maker.batched else 1
    whole = maker.random("cut/whole", batch, steps).feeds
    cuts: list[Cut] = []
    if maker.batched:
        cuts.append(Cut("cut/samples", whole, "batch", [1] * batch))
    if manifest.states and maker.timed and not manifest.whole_sequences:
        if steps > 1:
            cuts.append(Cut("cut/steps", whole, "time", [1] * steps))
            cuts.append(Cut("cut/random", whole, "time", maker.split(steps)))
        for name, vector in vectors.items():
            feeds = maker.with_zero_state(vector.inputs)
            first = next(maker.slices(feeds, "batch", [1])) if maker.batched else feeds
            spec = next(spec for spec in manifest.inputs if "time" in spec.shape)
            cuts.append(Cut(f"cut/{name}", first, "time", [1] * first[spec.name].shape[spec.shape.index("time")]))
    return cuts


def run_pieces(
    run: Callable[[Mapping[str, Array]], dict[str, Array]],
    pieces: Iterator[dict[str, Array]],
    symbol: str,
    states: Mapping[str, str],
) -> list[dict[str, Array]]:
    """Runs piece after piece; cut along time, each goes on from the state in which the last one ended."""
    results: list[dict[str, Array]] = []
    for piece in pieces:
        feeds = piece
        if symbol == "time" and results:
            feeds = piece | {name: results[-1][output] for name, output in states.items()}
        results.append(run(feeds))
    return results
