"""``qdeploy train``: a configuration's data set and its training, joined."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from qdeploy import datasets
from qdeploy.runtime.errors import InvalidInputError, MissingRequirementError

if TYPE_CHECKING:
    from qdeploy.models.training import TrainReport

__all__ = ["train"]


def train(
    config_name_or_path: str | Path,
    output: str | Path,
    *,
    resume: bool = True,
    seed: int | None = None,
    epochs: int | None = None,
    progress: bool | Callable[[str, float], None] = False,
) -> TrainReport:
    """Trains one of the models by a named configuration, or by one in a file.

    Args:
        config_name_or_path: a name that ``qdeploy.models.config.config_names`` lists, or the path of a JSON file.
        output: the folder for checkpoint, metrics, learning curve and state.
        resume: go on where an interrupted training in ``output`` stopped.
        seed: instead of the configuration's.
        epochs: instead of the configuration's.
        progress: ``True`` for a bar on the terminal (standard error), or a function of a line of words and the part
            done, 0 to 1.

    Raises:
        InvalidInputError: no such configuration, or values in it that cannot be.
        MissingDataError: its data set is not on this machine.
        MissingRequirementError: torch is not installed.
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
        from qdeploy.models.training import TrainingData
        from qdeploy.models.training import train as run
    except ModuleNotFoundError as error:
        raise MissingRequirementError(
            f"training needs {error.name}, which is not installed: pip install 'qdeploy[torch]'"
        ) from error
    learn, check = datasets.load(config.dataset, "train"), datasets.load(config.dataset, "test")
    command = _command(config_name_or_path, Path(output), seed, epochs)
    data = TrainingData(learn.x, learn.y, check.x, check.y, learn.time_axis)
    if not isinstance(progress, bool):
        return run(config, data, output, resume=resume, progress=progress, command=command)
    if not progress:
        return run(config, data, output, resume=resume, command=command)
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task(config.name, total=1.0)
        return run(
            config,
            data,
            output,
            resume=resume,
            progress=lambda words, done: bar.update(task, completed=done, description=words),
            command=command,
        )


def _command(config: str | Path, output: Path, seed: int | None, epochs: int | None) -> str:
    """The command line of this training, with the last part of each path: the folders above are the user's affair."""
    words = ["qdeploy", "train", Path(config).name, "--output", output.name or "."]
    if seed is not None:
        words += ["--seed", str(seed)]
    if epochs is not None:
        words += ["--epochs", str(epochs)]
    return shlex.join(words)
