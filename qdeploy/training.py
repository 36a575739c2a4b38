"""``qdeploy train``: a configuration's data set and its training, joined."""

from __future__ import annotations

import dataclasses
import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from qdeploy import datasets
from qdeploy.datasets.entropy import bigram_bits, unigram_bits
from qdeploy.runtime.errors import InvalidInputError, MissingRequirementError

if TYPE_CHECKING:
    from qdeploy.datasets.characters import CharacterSet
    from qdeploy.models.config import TrainingConfig
    from qdeploy.models.training import TrainingData, TrainReport

__all__ = ["is_first_process", "train"]


def is_first_process() -> bool:
    """Whether this process writes and prints: all do but those that ``torchrun`` started beside the first."""
    return os.environ.get("RANK", "0") == "0"


def train(
    config_name_or_path: str | Path,
    output: str | Path,
    *,
    resume: bool = True,
    seed: int | None = None,
    epochs: int | None = None,
    data: Sequence[str | Path] = (),
    device: str = "cpu",
    progress: bool | Callable[[str, float], None] = False,
) -> TrainReport:
    """Trains one of the models by a named configuration, or by one in a file.

    Args:
        config_name_or_path: a name that ``qdeploy.models.config.config_names`` lists, or the path of a JSON file.
        output: the folder for checkpoint, metrics, learning curve and state.
        resume: go on where an interrupted training in ``output`` stopped.
        seed: instead of the configuration's.
        epochs: instead of the configuration's.
        data: text files, or one folder of Penn Treebank's files, in place of the text of the configuration, whose network
            becomes as wide at both ends as the text's vocabulary.
        device: ``cpu``, ``cuda``, ``cuda:N``, or ``auto`` for a GPU where there is one.
        progress: ``True`` for a bar on the terminal (standard error), or a function of a line of words and the part
            done, 0 to 1.

    Raises:
        InvalidInputError: no such configuration, or values in it that cannot be; a text that is too short.
        InvalidFileError: a text file that is not UTF-8, or too large.
        MissingDataError: its data set is not on this machine.
        MissingRequirementError: torch is not installed, or no such device.
    """
    from qdeploy.models.config import load_config

    config = load_config(config_name_or_path)
    if seed is not None:
        config = dataclasses.replace(config, seed=seed)
    if epochs is not None:
        if epochs < 1:
            raise InvalidInputError(f"epochs={epochs}: expected at least 1")
        config = dataclasses.replace(config, epochs=epochs)
    try:
        if config.pruning_iterations:
            from qdeploy.models.pruning import train_pruned as run
        else:
            from qdeploy.models.training import train as run
    except ModuleNotFoundError as error:
        raise MissingRequirementError(
            f"training needs {error.name}, which is not installed: pip install 'qdeploy[torch]'"
        ) from error
    samples, config = _samples(config, data)
    command = _command(config_name_or_path, Path(output), seed, epochs, data)
    if not isinstance(progress, bool):
        return run(config, samples, output, resume=resume, progress=progress, command=command, device=device)
    if not progress or not is_first_process():
        return run(config, samples, output, resume=resume, command=command, device=device)
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task(config.name, total=1.0)
        return run(
            config,
            samples,
            output,
            resume=resume,
            progress=lambda words, done: bar.update(task, completed=done, description=words),
            command=command,
            device=device,
        )


def _samples(config: TrainingConfig, data: Sequence[str | Path]) -> tuple[TrainingData, TrainingConfig]:
    """The samples of a training, and its configuration as these want it."""
    from qdeploy.models.training import TrainingData

    text = datasets.load_characters(config.dataset)
    if data:
        if text is None:
            raise InvalidInputError(
                f"{config.name} trains on {config.dataset}, which is no text; --data is of configurations of character "
                "models, such as qornn-characters"
            )
        text = datasets.load_characters(data)
        config = dataclasses.replace(config, dataset=", ".join(Path(path).name for path in data))
    if text is None:
        learn, check = datasets.load(config.dataset, "train"), datasets.load(config.dataset, "test")
        return TrainingData(learn.x, learn.y, check.x, check.y, learn.time_axis), config
    size = len(text.vocabulary)
    sizes = {"input_size": size, "num_classes": size}
    config = dataclasses.replace(config, hyperparameters={**config.hyperparameters, **sizes})
    return _characters(text, TrainingData), config


def _characters(text: CharacterSet, kind: type[TrainingData]) -> TrainingData:
    size = len(text.vocabulary)
    return kind(
        *text.split("train"),
        *text.split("test"),
        time_axis=0,
        held_out=text.split("valid"),
        vocabulary=text.vocabulary.characters,
        references={
            "unigram_bits_per_character": round(unigram_bits(text.train, text.test, size), 4),
            "bigram_bits_per_character": round(bigram_bits(text.train, text.test, size), 4),
        },
    )


def _command(config: str | Path, output: Path, seed: int | None, epochs: int | None, data: Sequence[str | Path]) -> str:
    """The command line of this training, with the last part of each path: the folders above are the user's affair."""
    words = ["qdeploy", "train", Path(config).name, "--output", output.name or "."]
    if seed is not None:
        words += ["--seed", str(seed)]
    if epochs is not None:
        words += ["--epochs", str(epochs)]
    for path in data:
        words += ["--data", Path(path).name]
    return shlex.join(words)
