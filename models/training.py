"""Training of one of the architectures on arrays: deterministic by its seed, and resumable after any interruption.

An epoch is the unit of everything: after one the state file, the metrics and the best checkpoint are written, whole or
not at all, so that a stopped training goes on from the last one written and ends in the same bits.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from qdeploy.runtime.errors import InvalidInputError, QdeployError

from .atomic import write_atomically
from .augmentation import flipped_and_shifted
from .checkpoint import save_tensors
from .config import TrainingConfig
from .evaluation import count_right
from .initialization import initial_module
from .learning_curve import draw_learning_curve
from .masks import apply_masks, masks_of
from .optimizer import cosine_factor, make_optimizer
from .orthogonal_classifier import OrthogonalClassifier
from .processes import Processes, processes
from .resumption import check_state
from .training_report import EpochReport, TrainReport
from .training_state import read_state, write_state

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .pruning import Pruning

__all__ = ["EpochReport", "TrainReport", "TrainingData", "train"]

# Seconds between two writings of the files: the epochs of small sets take less time than their learning curve.
WRITE_INTERVAL = 10.0


@dataclass(frozen=True)
class TrainingData:
    """Training and test samples of a set.

    Attributes:
        train_x, test_x: float32 [N, ...], one sample a row; of a text uint8 [N, T], indices of ``vocabulary``, which
            a network takes as they are or one-hot [N, T, V], made a batch at a time.
        train_y, test_y: integers [N], or [N, T] where every step has a class.
        time_axis: which axis of a sample is time (0 is the first after N), or ``None``.
        held_out: ``x`` and ``y`` to choose the best epoch on, in place of the last training samples.
        vocabulary: the characters of a text, by index.
        references: figures of the data, for the metrics in the checkpoint's JSON.
    """

    train_x: NDArray[Any]
    train_y: NDArray[Any]
    test_x: NDArray[Any]
    test_y: NDArray[Any]
    time_axis: int | None = None
    held_out: tuple[NDArray[Any], NDArray[Any]] | None = None
    vocabulary: tuple[str, ...] | None = None
    references: Mapping[str, float] = field(default_factory=dict)


def train(
    config: TrainingConfig,
    data: TrainingData,
    output: str | Path,
    *,
    resume: bool = True,
    progress: Callable[[str, float], None] | None = None,
    command: str | None = None,
    device: str = "cpu",
    pruning: Pruning | None = None,
) -> TrainReport:
    """Trains, and leaves its results in a folder.

    These are ``NAME.safetensors`` and ``NAME.json`` (weights of the best epoch), ``metrics.jsonl`` (one line an epoch),
    ``learning-curve.png`` and ``training-state.pt`` (all that going on needs).

    The best epoch is chosen on held-out training samples, never on the test set, and among epochs whose weights are
    wholly on their grid. Where no samples are held out it is the last one.

    Among processes that ``torchrun`` started, ``config.batch_size`` is that of all of them together: each takes its part
    of every batch, gradients are averaged, and all make the same step. The first process writes the files and calls
    ``progress``; all return the report. The results are those of one process up to the rounding of sums.

    Args:
        config: the recipe.
        data: samples as arrays.
        output: a folder, made if need be.
        resume: go on from ``training-state.pt`` if there is one, which must be of the same configuration.
        progress: called with a line of words and the part done (0 to 1) after each batch.
        command: what the checkpoint's JSON names as the command that repeats the training.
        device: ``cpu``, ``cuda``, ``cuda:N`` or ``auto``, see ``processes.choose_device``.
        pruning: weights that are 0 and stay so; the checkpoint holds the masks beside the weights.

    Raises:
        InvalidInputError: data that do not fit the configuration, or a state of another configuration or other masks.
        MissingRequirementError: no such device.
        InvalidFileError: a state file that is not readable.
        QdeployError: the loss became NaN or infinite.
    """
    folder = Path(output)
    _check_data(config, data)
    place = processes(device)
    with _flushed_denormals():
        run = _Run(config, data, folder, progress if place.first else None, command, place, pruning)
        if resume:
            run.restore()
        while run.epoch < config.epochs:
            run.train_epoch()
        return run.report()


@contextmanager
def _flushed_denormals() -> Iterator[None]:
    """Gradients that fade into denormal numbers over hundreds of steps make a batch four times slower."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def _check_data(config: TrainingConfig, data: TrainingData) -> None:
    for split, x, y in (("train", data.train_x, data.train_y), ("test", data.test_x, data.test_y)):
        if len(x) != len(y) or len(x) == 0:
            raise InvalidInputError(f"{split} data: {len(x)} samples and {len(y)} labels, expected as many, not none")
    if config.augmentation is not None and data.train_x.ndim != 4:
        raise InvalidInputError(
            f"{config.name}: augmentation {config.augmentation} is of images [N, C, H, W], found samples of shape "
            f"{list(data.train_x.shape[1:])}"
        )
    kept = len(data.train_x) - (0 if data.held_out else config.validation)
    if kept < config.batch_size:
        raise InvalidInputError(
            f"{len(data.train_x)} training samples less {config.validation} for validation leave {kept}: "
            f"less than one batch of {config.batch_size}"
        )


class _Run:
    """A training in progress: module, optimizer, history."""

    def __init__(
        self,
        config: TrainingConfig,
        data: TrainingData,
        folder: Path,
        progress: Callable[[str, float], None] | None,
        command: str | None,
        place: Processes,
        pruning: Pruning | None,
    ) -> None:
        if config.batch_size < place.count:
            raise InvalidInputError(
                f"batch_size={config.batch_size} is that of all {place.count} processes together: start at most as many"
            )
        self.config = config
        self.place = place
        self.vocabulary = data.vocabulary
        self.references = data.references
        self.command = command
        self.folder = folder
        self.progress = progress
        self.state_path = folder / "training-state.pt"
        kept = len(data.train_x) - (0 if data.held_out else config.validation)
        train_x, train_y = torch.from_numpy(data.train_x), torch.from_numpy(data.train_y)
        self.x, self.y = train_x[:kept], train_y[:kept]
        self.validation = (train_x[kept:], train_y[kept:]) if kept < len(train_x) else None
        if data.held_out:
            self.validation = (torch.from_numpy(data.held_out[0]), torch.from_numpy(data.held_out[1]))
        self.test = (torch.from_numpy(data.test_x), torch.from_numpy(data.test_y))
        self.time_axis = data.time_axis
        # The caller's random numbers are left as they were.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.module = initial_module(config).to(place.device)
        self.pruning = pruning
        if pruning is not None:
            apply_masks(self.module, pruning.masks)
        self.module.train()
        self.optimizer = make_optimizer(self.module, config)
        # After the optimizer has said which weights rest.
        self.forward = place.wrapped(self.module)
        self.rates = [float(group["lr"]) for group in self.optimizer.param_groups]
        self.epoch = 0
        self.history: list[EpochReport] = []
        self.best: EpochReport | None = None
        self.best_weights: dict[str, Tensor] = {}
        self.written = time.monotonic()

    def restore(self) -> None:
        """Module, optimizer and history from the state file, if there is one beside the first process."""
        state = self.place.from_first(lambda: read_state(self.state_path) if self.state_path.is_file() else None)
        if state is None:
            return
        if state["config"] != self.config.as_dict():
            raise InvalidInputError(
                f"{self.state_path} belongs to another configuration than {self.config.name}; "
                "give another output folder, or do not resume"
            )
        check_state(state, self.config, self.module, EpochReport, self.state_path)
        for name, mask in masks_of(state["module"]).items():
            if self.pruning is None or not torch.equal(mask == 1, self.pruning.masks[name] == 1):
                raise InvalidInputError(
                    f"{self.state_path} belongs to a training with another mask of {name}; give another output folder, or "
                    "do not resume"
                )
        self.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.epoch = state["epoch"]
        self.history = [EpochReport(**line) for line in state["history"]]
        self.best = EpochReport(**state["best"])
        self.best_weights = state["best_weights"]

    def strength(self, epochs_done: float) -> float:
        """Part of the quantization error that is applied after ``epochs_done``."""
        ramp = self.config.quantization_ramp
        if ramp is None or epochs_done >= ramp[1]:
            return 1.0
        return max(0.0, (epochs_done - ramp[0]) / (ramp[1] - ramp[0]))

    def train_epoch(self) -> None:
        """One pass over the training samples, the evaluations, and all files."""
        begin = time.perf_counter()
        config = self.config
        # Seeded by the epoch, so that a resumed training needs no state of a generator.
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + self.epoch)
        order = torch.randperm(len(self.x), generator=generator)
        batches = len(self.x) // config.batch_size
        loss_sum, right = 0.0, 0
        for batch in range(batches):
            done = self.epoch + batch / batches
            self.set_progress(done)
            rows = order[batch * config.batch_size : (batch + 1) * config.batch_size]
            x = self.inputs(self.x[rows])
            if config.augmentation == "flip-shift":
                x = flipped_and_shifted(x, generator)
            if config.input_noise > 0.0:
                # Of the whole batch in every process: the noise does not depend on their number.
                x = x + config.input_noise * torch.randn(x.shape, generator=generator)
            if config.state_noise > 0.0:
                # Drawn where the states are; each process has its own.
                seed = ((config.seed * 1_000_003 + self.epoch) * batches + batch) * self.place.count + self.place.rank
                torch.manual_seed(seed % 2**63)
            loss, right_now = self.train_batch(x, self.y[rows])
            loss_sum += loss
            right += right_now
            if self.progress is not None:
                words = f"epoch {self.epoch + 1}/{config.epochs}, loss {loss:.3f}"
                self.progress(words, (done + 1 / batches) / config.epochs)
        self.epoch += 1
        # An epoch is judged with the strength that it ended with; the ramp's end counts as whole.
        self.set_strength(self.strength(self.epoch))
        self.finish_epoch(
            loss_sum / batches, right / (batches * config.batch_size * self.y[0].numel()), time.perf_counter() - begin
        )

    def inputs(self, rows: Tensor) -> Tensor:
        """What the module takes, of rows of samples: those themselves, or the characters of a text.

        Of a text, indices [B, T] where the network begins with an embedding, else one-hot [B, T, V].
        """
        if rows.ndim == 4:
            # Convolutions are faster so, and a batch normalization reads channels side by side.
            return rows.contiguous(memory_format=torch.channels_last)
        if self.vocabulary is None:
            return rows
        if self.config.hyperparameters.get("embedding_size") is not None:
            return rows.long()
        return nn.functional.one_hot(rows.long(), len(self.vocabulary)).float()

    def set_strength(self, strength: float) -> None:
        if isinstance(self.module, OrthogonalClassifier):
            self.module.recurrent.quantization_strength = strength

    def set_progress(self, done: float) -> None:
        """Learning rates and quantization strength at ``done`` epochs."""
        self.set_strength(self.strength(done))
        if self.config.schedule == "cosine":
            factor = cosine_factor(done / self.config.epochs)
            for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
                group["lr"] = rate * factor

    def train_batch(self, x: Tensor, y: Tensor) -> tuple[float, int]:
        """One step of the optimizer; the loss and the number of right classes before it, of the whole batch."""
        mine = self.place.share(y).long()
        with self.place.products_in(self.config.precision):
            logits: Tensor = self.forward(self.place.share(x)).float()
        # The mean over processes of these is the mean over the batch, whose parts may differ by a row.
        part = len(mine) * self.place.count / len(y)
        loss = part * nn.functional.cross_entropy(logits.flatten(0, -2), mine.flatten())
        right = int((logits.detach().argmax(dim=-1) == mine).sum())
        total, right_sum = self.place.sums(float(loss.detach()), right)
        value = total / self.place.count
        if not math.isfinite(value):
            raise QdeployError(
                f"training {self.config.name}: the loss is {value} in epoch {self.epoch + 1}; "
                "lower learning_rate and recurrent_learning_rate, or set clip_norm"
            )
        self.optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.module.parameters(), self.config.clip_norm or math.inf)
        # A gradient through hundreds of steps overflows now and then, and Adam would keep the infinity for good.
        if bool(torch.isfinite(norm)):
            self.optimizer.step()
            if isinstance(self.module, OrthogonalClassifier):
                self.module.recurrent.retract()
        return value, int(right_sum)

    def finish_epoch(self, loss: float, train_accuracy: float, seconds: float) -> None:
        """Evaluates, keeps the best weights, writes the files."""
        self.place.check_equal(self.module)
        with self.stored_weights():
            validation, validation_bits = (None, None) if self.validation is None else self.measure(*self.validation)
            test, test_bits = self.measure(*self.test)
        strength = self.strength(self.epoch)
        line = EpochReport(
            epoch=self.epoch,
            loss=loss,
            train_accuracy=train_accuracy,
            validation_accuracy=validation,
            test_accuracy=test,
            quantization_strength=strength,
            learning_rate=float(self.optimizer.param_groups[0]["lr"]),
            seconds=round(seconds, 2),
            validation_bits=validation_bits,
            test_bits=test_bits,
        )
        self.history.append(line)
        if self.best is None or line.is_better_than(self.best):
            self.best = line
            self.best_weights = {name: value.cpu().clone() for name, value in self.module.state_dict().items()}
        if self.place.first and (self.epoch == self.config.epochs or time.monotonic() - self.written >= WRITE_INTERVAL):
            self.write_files()
            self.written = time.monotonic()

    @contextmanager
    def stored_weights(self) -> Iterator[None]:
        """The module with the weights that its checkpoint would hold."""
        if self.config.stored_as == "float32":
            yield
            return
        exact = [parameter.detach().clone() for parameter in self.module.parameters()]
        with torch.no_grad():
            for parameter in self.module.parameters():
                parameter.copy_(parameter.half())
        try:
            yield
        finally:
            with torch.no_grad():
                for parameter, value in zip(self.module.parameters(), exact, strict=True):
                    parameter.copy_(value)

    def measure(self, x: Tensor, y: Tensor) -> tuple[float, float | None]:
        """Accuracy, and of a text the bits per character; each process counts its share of the samples."""
        right, bits = count_right(
            self.module, self.place.share(x), self.place.share(y), lambda rows: self.inputs(rows).to(self.place.device)
        )
        right_sum, bits_sum = self.place.sums(right, bits)
        return right_sum / y.numel(), None if self.vocabulary is None else bits_sum / y.numel()

    def write_files(self) -> None:
        state = {
            "config": self.config.as_dict(),
            "module": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "epoch": self.epoch,
            "history": [vars(line) for line in self.history],
            "best": None if self.best is None else vars(self.best),
            "best_weights": self.best_weights,
        }
        lines = "".join(json.dumps(vars(line)) + "\n" for line in self.history)
        self.write_checkpoint()
        write_atomically(self.folder / "metrics.jsonl", lambda path: _write_text(path, lines))
        curve = [vars(line) for line in self.history]
        write_atomically(self.folder / "learning-curve.png", lambda path: draw_learning_curve(curve, path))
        # Last: a state that says "epoch 7" stands beside the files of epoch 7.
        write_state(self.state_path, state)

    @property
    def checkpoint_path(self) -> Path:
        return self.folder / f"{self.config.name}.safetensors"

    def write_checkpoint(self) -> None:
        if self.best is None:
            return
        save_tensors(self.checkpoint_path, self.best_weights, self.metadata(self.best))

    def metadata(self, best: EpochReport) -> Mapping[str, Any]:
        """The JSON beside the weights."""
        return {
            "name": self.config.name,
            "description": self.config.description,
            "architecture": self.config.architecture,
            "hyperparameters": self.config.hyperparameters,
            **({} if self.config.stored_as == "float32" else {"stored_as": self.config.stored_as}),
            "input": {"name": "x", "shape": list(self.inputs(self.x[:1]).shape[1:]), "time_axis": self.time_axis},
            "dataset": self.config.dataset,
            **({} if self.vocabulary is None else {"vocabulary": list(self.vocabulary)}),
            "seed": self.config.seed,
            **({} if self.pruning is None else {"pruning": self.pruning.record()}),
            "epochs": self.epoch,
            "metrics": {
                "best_epoch": best.epoch,
                "train_accuracy": round(best.train_accuracy, 6),
                "validation_accuracy": None if best.validation_accuracy is None else round(best.validation_accuracy, 6),
                "test_accuracy": round(best.test_accuracy, 6),
                "test_samples": len(self.test[0]),
                **({} if best.test_bits is None else {"test_bits_per_character": round(best.test_bits, 4)}),
                **self.references,
            },
            "command": self.command,
            "config": self.config.as_dict(),
        }

    def report(self) -> TrainReport:
        if self.best is None:
            raise InvalidInputError(f"training {self.config.name}: no epoch was run")
        return TrainReport(
            self.checkpoint_path, self.epoch, replace(self.best), replace(self.history[-1]), self.references
        )


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
