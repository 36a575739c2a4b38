"""A deployed character model as a stream: characters go in one at a time, what may come next comes out.

``python -m qdeploy.character_stream BUNDLE TEXT`` goes on with a text. It needs numpy and the bundle's runtime, no torch.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from .bundle import Bundle, load
from .datasets import Vocabulary
from .runtime.errors import InvalidInputError, QdeployError, UnsupportedModelError

__all__ = ["CharacterStream", "main"]


class CharacterStream:
    """A session of a character model; every method goes on from where the last one stopped."""

    def __init__(self, bundle: Bundle, runtime: str = "onnxruntime") -> None:
        """Opens a session of ``bundle`` at the zero state.

        Raises:
            UnsupportedModelError: the bundle is of no character model.
            MissingRequirementError: the runtime is not installed.
        """
        found = bundle.manifest.created_from.get("vocabulary")
        if found is None:
            raise UnsupportedModelError(
                f"{bundle.path}: its manifest has no vocabulary; expected a bundle of a character model, as "
                "`qdeploy export qornn-characters` makes one"
            )
        self.vocabulary = Vocabulary.from_json(found)
        self._session = bundle.session(runtime=runtime)
        self._output = bundle.manifest.outputs[0].name
        self._indices = bundle.manifest.inputs[0].vocabulary_size is not None

    def feed(self, text: str) -> NDArray[np.float64]:
        """Takes ``text`` character by character; probabilities [len(text), V] of what follows each of them."""
        if not text:
            raise InvalidInputError("no text: expected at least one character")
        tokens = self.vocabulary.encode(text)
        rows = tokens if self._indices else self.vocabulary.one_hot(tokens)
        scores = [self._session.step(row[np.newaxis])[self._output][0] for row in rows]
        return np.stack([_softmax(score, 1.0) for score in scores])

    def bits(self, text: str) -> float:
        """What a character of ``text`` after the first costs, in bits on average; at least two characters."""
        if len(text) < 2:
            raise InvalidInputError(f"a text of {len(text)} characters: expected at least 2")
        following = self.vocabulary.encode(text)[1:]
        probabilities = self.feed(text)[:-1]
        return float(-np.log2(probabilities[np.arange(len(following)), following]).mean())

    def complete(self, text: str, count: int, temperature: float = 0.5, seed: int = 0) -> str:
        """``count`` characters that follow ``text``, each drawn from its probabilities to the power 1/temperature.

        A temperature of 0 takes the most probable character, the first of several. The unknown character is never drawn.
        """
        if count < 1 or not temperature >= 0:
            raise InvalidInputError(f"count={count}, temperature={temperature}: expected at least 1, and at least 0")
        generator = np.random.default_rng(seed)
        probabilities = self.feed(text)[-1]
        drawn: list[str] = []
        while True:
            known = np.log(np.maximum(probabilities[1:], np.finfo(np.float64).tiny))
            choice = int(known.argmax())
            if temperature > 0:
                choice = int(generator.choice(len(known), p=_softmax(known, temperature)))
            drawn.append(self.vocabulary.characters[1 + choice])
            if len(drawn) == count:
                return "".join(drawn)
            probabilities = self.feed(drawn[-1])[-1]


def _softmax(scores: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    # The largest is 0 before the division, which may overflow for all others: they are then never drawn.
    with np.errstate(over="ignore"):
        powers = np.exp((scores - scores.max()).astype(np.float64) / temperature)
    probabilities: NDArray[np.float64] = powers / powers.sum()
    return probabilities


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("text")
@click.option("--count", type=click.IntRange(1), default=200, show_default=True, help="Characters to write.")
@click.option("--temperature", type=click.FloatRange(0.0), default=0.5, show_default=True, help="0: the most probable.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of what is random.")
@click.option("--runtime", default="onnxruntime", show_default=True, help="Runtime that computes.")
def main(bundle: Path, text: str, count: int, temperature: float, seed: int, runtime: str) -> None:
    """Go on with TEXT by the character model in BUNDLE."""
    try:
        stream = CharacterStream(load(bundle), runtime)
        click.echo(text + stream.complete(text, count, temperature, seed))
    except QdeployError as error:
        click.echo(f"qdeploy: {error}", err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
