"""Training configurations: small JSON files with a strict schema, some of them shipped under ``configs/``."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qdeploy.runtime.errors import InvalidFileError, InvalidInputError

__all__ = ["PRECISIONS", "ROUNDINGS", "SCHEDULES", "TrainingConfig", "config_names", "load_config", "parse_config"]

CONFIG_FOLDER = Path(__file__).parent / "configs"
SCHEDULES = ("constant", "cosine")
# Names only: this module is read without torch.
AUGMENTATIONS = ("flip-shift",)
ROUNDINGS = ("nearest", "shaped")
PRECISIONS = ("float32", "bfloat16")
STORED_AS = ("float32", "float16")
MAX_FILE_BYTES = 1 << 20
_LARGEST_EPOCH = 100_000
# File systems take 255 bytes; the names of a training's files are longer than the configuration's.
_LONGEST_NAME = 100


@dataclass(frozen=True)
class TrainingConfig:
    """What a training needs to be repeated, apart from the data themselves.

    Attributes:
        name: of the configuration, and of the checkpoint that it gives.
        description: one line for people.
        dataset: a name that ``qdeploy.datasets.load`` knows.
        architecture: a name that ``qdeploy.models.build`` knows.
        hyperparameters: keyword arguments of the architecture.
        epochs: passes over the training samples.
        batch_size: sequences or samples a step; the rest of an epoch that does not fill a batch is left out.
        learning_rate: Adam's, at the start.
        recurrent_learning_rate: the same for the latent recurrent weight, which wants less; ``None``: the same (with
            projUNN a 32nd of it); 0 leaves it as it begins, and saves a third of the time.
        input_learning_rate: the same for the latent input weight; 0 leaves its integers alone, so that the rest can
            settle.
        bias_learning_rate: the same for the recurrent bias, whose effect adds up over the steps; ``None``: the same.
        projunn_rank: of the steps of projUNN, where the hyper-parameter ``orthogonal`` asks for it.
        schedule: ``cosine`` (to a hundredth of the start) or ``constant``.
        clip_norm: bound of the gradient's Euclidean norm over all parameters, or ``None``.
        weight_decay: Adam's decoupled decay, 0 for none.
        input_noise: standard deviation of the normal noise that each training input gets, 0 for none.
        state_noise: standard deviation of the normal noise that the states get before the output layer, as a part of
            their root mean square over the batch. A linear loop adds up the roundings of its integer states; this makes
            the network spend its range on what tells classes apart. 0 for none.
        validation: so many training samples, the last ones, are held out to choose the best epoch; 0: the last.
        quantization_ramp: ``[a, b]`` in epochs: the quantization error of the weights is applied in part, from
            nothing at epoch ``a`` to all of it at ``b``. ``None``: all of it from the start.
        initial_checkpoint: a shipped checkpoint, by its name, whose weights are the initial ones.
        initial_cycles: lengths of the cycles of the initial recurrent weight, see ``OrthogonalRNN.reset_parameters``;
            what these four leave out stays at that function's default.
        initial_resting_state: the state about which a ReLU recurrence starts linear.
        initial_input_range: the initial input weights are uniform in +- this.
        initial_phases: eigenvalues of the initial recurrent weight, an object with the fields of ``phases.Phases``.
        recurrent_rounding: how the recurrent weight of a float ``initial_checkpoint`` comes to the q_k grid, ``shaped``
            or ``nearest`` (see ``shaped_rounding``); the other weights start at the float ones.
        initial_random: the initial recurrent weight is a random orthogonal matrix in place of cycles.
        pruning_iterations: how often weights are cut and rewound, see ``pruning.train_pruned``; each iteration trains for
            ``epochs``. 0: not pruned.
        pruning_part: of the remaining weights, what an iteration cuts.
        augmentation: how training images vary, ``flip-shift`` (mirrored, moved by up to an eighth of the side) or
            ``None``.
        precision: ``bfloat16`` makes the products of a training in it, where torch's autocast does; weights, optimizer and
            evaluations stay float32. Twice as fast for convolutions on processors that have it.
        stored_as: ``float16`` halves the checkpoint; accuracies are then those of the rounded weights.
        seed: of the initial weights and of the order of samples.
    """

    name: str
    dataset: str
    architecture: str
    hyperparameters: dict[str, Any]
    epochs: int
    batch_size: int
    learning_rate: float
    description: str = ""
    recurrent_learning_rate: float | None = None
    input_learning_rate: float | None = None
    bias_learning_rate: float | None = None
    projunn_rank: int = 1
    schedule: str = "cosine"
    clip_norm: float | None = None
    weight_decay: float = 0.0
    input_noise: float = 0.0
    state_noise: float = 0.0
    validation: int = 0
    quantization_ramp: tuple[float, float] | None = None
    initial_checkpoint: str | None = None
    initial_cycles: tuple[int, ...] | None = None
    initial_resting_state: float | None = None
    initial_input_range: float | None = None
    initial_random: bool = False
    initial_phases: dict[str, Any] | None = None
    recurrent_rounding: str | None = None
    pruning_iterations: int = 0
    pruning_part: float = 0.2
    augmentation: str | None = None
    precision: str = "float32"
    stored_as: str = "float32"
    seed: int = 0
    schema_version: int = field(default=1)

    def as_dict(self) -> dict[str, Any]:
        """The configuration as JSON holds it."""
        values = dataclasses.asdict(self)
        # JSON has no tuples.
        return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}


def config_names() -> list[str]:
    """Names of the shipped configurations."""
    return sorted(path.stem for path in CONFIG_FOLDER.glob("*.json"))


def load_config(name_or_path: str | Path) -> TrainingConfig:
    """A shipped configuration by its name, or any by the path of its JSON file.

    Raises:
        InvalidInputError: neither a shipped name nor a file.
        InvalidFileError: the file is not such a configuration; the message names the key.
    """
    text = str(name_or_path)
    shipped = CONFIG_FOLDER / f"{text}.json"
    # A name never holds a separator, so that it cannot point out of the folder.
    path = shipped if Path(text).name == text and shipped.is_file() else Path(name_or_path)
    if not path.is_file():
        raise InvalidInputError(
            f"training configuration {text!r}: no file of this path and no shipped configuration of this name; "
            f"shipped are {', '.join(config_names())}"
        )
    if path.stat().st_size > MAX_FILE_BYTES:
        raise InvalidFileError(f"{path}: {path.stat().st_size} bytes, expected a configuration of at most 1 MiB")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    # A ValueError is no JSON, no UTF-8, or an integer of more digits than Python reads.
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidFileError(f"{path}: not a JSON file: {error}") from error
    if isinstance(values, dict):
        values.setdefault("name", path.stem)
    return parse_config(values, source=str(path))


def parse_config(values: Any, source: str = "training configuration") -> TrainingConfig:
    """A configuration from the value of its JSON file; ``source`` names it in messages.

    Raises:
        InvalidFileError: unknown, missing or ill-typed keys, values out of bounds.
    """
    if not isinstance(values, dict):
        raise InvalidFileError(f"{source}: found {type(values).__name__}, expected a JSON object")
    known = {item.name: item for item in dataclasses.fields(TrainingConfig)}
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise InvalidFileError(f"{source}: unknown keys {', '.join(unknown)}; known are {', '.join(known)}")
    missing = [
        name
        for name, item in known.items()
        if name not in values and item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise InvalidFileError(f"{source}: missing keys {', '.join(missing)}")
    checked = _Reader(values, source)
    config = TrainingConfig(
        schema_version=checked.integer("schema_version", 1, 1, default=1),
        name=checked.text("name"),
        description=checked.text("description", default=""),
        dataset=checked.text("dataset"),
        architecture=checked.text("architecture"),
        hyperparameters=checked.mapping("hyperparameters"),
        epochs=checked.integer("epochs", 1, _LARGEST_EPOCH),
        batch_size=checked.integer("batch_size", 1, 1_000_000),
        learning_rate=checked.real("learning_rate", 0.0, 10.0),
        recurrent_learning_rate=checked.optional_real("recurrent_learning_rate", 0.0, 10.0),
        input_learning_rate=checked.optional_real("input_learning_rate", 0.0, 10.0),
        bias_learning_rate=checked.optional_real("bias_learning_rate", 0.0, 10.0),
        projunn_rank=checked.integer("projunn_rank", 1, 1_000_000, default=1),
        schedule=checked.text("schedule", default="cosine"),
        clip_norm=checked.optional_real("clip_norm", 0.0, 1e9),
        weight_decay=checked.real("weight_decay", 0.0, 10.0, default=0.0),
        input_noise=checked.real("input_noise", 0.0, 1e3, default=0.0),
        state_noise=checked.real("state_noise", 0.0, 1e3, default=0.0),
        validation=checked.integer("validation", 0, 1_000_000_000, default=0),
        quantization_ramp=checked.ramp("quantization_ramp"),
        initial_checkpoint=None if values.get("initial_checkpoint") is None else checked.text("initial_checkpoint"),
        initial_cycles=checked.lengths("initial_cycles"),
        initial_resting_state=checked.optional_real("initial_resting_state", 0.0, 1e3),
        initial_input_range=checked.optional_real("initial_input_range", 0.0, 1e3),
        initial_random=checked.boolean("initial_random", default=False),
        initial_phases=None if values.get("initial_phases") is None else checked.mapping("initial_phases"),
        recurrent_rounding=None if values.get("recurrent_rounding") is None else checked.text("recurrent_rounding"),
        pruning_iterations=checked.integer("pruning_iterations", 0, 1000, default=0),
        pruning_part=checked.real("pruning_part", 0.0, 1.0, default=0.2),
        augmentation=checked.choice("augmentation", (None, *AUGMENTATIONS)),
        precision=checked.choice("precision", PRECISIONS, default="float32"),
        stored_as=checked.choice("stored_as", STORED_AS, default="float32"),
        seed=checked.integer("seed", 0, 2**31 - 1, default=0),
    )
    if config.schedule not in SCHEDULES:
        raise InvalidFileError(f"{source}: schedule={config.schedule!r}, expected one of {', '.join(SCHEDULES)}")
    if config.recurrent_rounding not in (None, *ROUNDINGS):
        raise InvalidFileError(
            f"{source}: recurrent_rounding={config.recurrent_rounding[:40]!r}, expected one of {', '.join(ROUNDINGS)}"
        )
    plain = config.name.isprintable() and Path(config.name).name == config.name and not config.name.startswith(".")
    if not config.name or not plain or len(config.name.encode()) > _LONGEST_NAME:
        raise InvalidFileError(
            f"{source}: name={config.name[:_LONGEST_NAME]!r}, expected a plain file name of at most {_LONGEST_NAME} bytes"
        )
    return config


class _Reader:
    """Typed reads of a JSON object, whose errors name the key."""

    def __init__(self, values: dict[str, Any], source: str) -> None:
        self._values = values
        self._source = source

    def _fail(self, key: str, expected: str) -> InvalidFileError:
        return InvalidFileError(f"{self._source}: {key}={repr(self._values.get(key))[:200]}, expected {expected}")

    def text(self, key: str, default: str | None = None) -> str:
        value = self._values.get(key, default)
        if not isinstance(value, str):
            raise self._fail(key, "a string")
        return value

    def choice(self, key: str, values: tuple[Any, ...], default: str | None = None) -> Any:
        value = self._values.get(key, default)
        if (value is not None and not isinstance(value, str)) or value not in values:
            raise self._fail(key, "one of " + ", ".join("null" if item is None else item for item in values))
        return value

    def mapping(self, key: str) -> dict[str, Any]:
        value = self._values[key]
        if not isinstance(value, dict):
            raise self._fail(key, "an object")
        return value

    def integer(self, key: str, low: int, high: int, default: int | None = None) -> int:
        value = self._values.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self._fail(key, f"an integer in [{low}, {high}]")
        return value

    def boolean(self, key: str, *, default: bool) -> bool:
        value = self._values.get(key, default)
        if not isinstance(value, bool):
            raise self._fail(key, "true or false")
        return value

    def real(self, key: str, low: float, high: float, default: float | None = None) -> float:
        value = self._values.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._fail(key, f"a number in [{low}, {high}]")
        if not low <= value <= high:
            raise self._fail(key, f"a number in [{low}, {high}]")
        return float(value)

    def optional_real(self, key: str, low: float, high: float) -> float | None:
        return None if self._values.get(key) is None else self.real(key, low, high)

    def lengths(self, key: str) -> tuple[int, ...] | None:
        value = self._values.get(key)
        if value is None:
            return None
        if not isinstance(value, list) or not value or not all(type(item) is int and item > 0 for item in value):
            raise self._fail(key, "null or a list of positive integers")
        return tuple(value)

    def ramp(self, key: str) -> tuple[float, float] | None:
        value = self._values.get(key)
        if value is None:
            return None
        expected = "null or two epochs [a, b] with 0 <= a <= b"
        if not isinstance(value, list) or len(value) != 2:
            raise self._fail(key, expected)
        if any(isinstance(item, bool) or not isinstance(item, int | float) for item in value):
            raise self._fail(key, expected)
        # Compared before the conversion: an integer may be too large for a float. NaN compares false.
        if not 0 <= value[0] <= value[1] <= _LARGEST_EPOCH:
            raise self._fail(key, expected)
        return float(value[0]), float(value[1])
