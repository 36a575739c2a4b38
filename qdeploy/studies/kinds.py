"""A quaternion network beside its real twins: accuracy against epochs, and how fast each is trained.

The twins Real3 and Real4 see RGB and RGB + gray; the quaternion network's input is (R, G, B, gray). All are trained on the
same images, by the same recipe.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qdeploy.runtime.errors import InvalidInputError
from qdeploy.studies.variants import train_variant

if TYPE_CHECKING:
    from qdeploy.models.config import TrainingConfig

__all__ = ["KINDS", "KindsReport", "draw", "run", "write"]

KINDS = {"quaternion": "quaternion (R, G, B, gray)", "real4": "Real4 (RGB + gray)", "real3": "Real3 (RGB)"}
"""The first part of a configuration's name, and what people call such a network."""

SPEED_ROUNDS = 7
"""Batches of each network that are timed, in turns, so that whatever else the machine does meets all of them."""

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Row:
    """One network.

    Attributes:
        name: of the configuration.
        kind: of ``KINDS``.
        parameters: trained numbers.
        test_accuracy: after each epoch, on the test set.
        best_epoch: the one whose weights the checkpoint holds, chosen on held-out training images.
        batch_seconds: the median time of a training step.
        images_per_second: of a training at that speed.
    """

    name: str
    kind: str
    parameters: int
    test_accuracy: tuple[float, ...]
    best_epoch: int
    batch_seconds: float
    images_per_second: float


@dataclass(frozen=True)
class KindsReport:
    """The study's table.

    Attributes:
        network: what follows the kind in the configurations' names.
        data: the quaternion network's set.
        threads: of torch, in the timing.
        precision: of the products of the trainings.
        rows: by ``KINDS``.
    """

    network: str
    data: str
    threads: int
    precision: str
    rows: tuple[Row, ...]

    def to_dict(self) -> dict[str, Any]:
        """For ``--json`` and the file."""
        return asdict(self)

    def lines(self) -> list[str]:
        """For people."""
        lines = [
            f"{'network':28} {'parameters':>11} {'accuracy':>9} {'at epoch':>9} {'images a second':>16}  of Real4's"
        ]
        real = next(row for row in self.rows if row.kind == "real4")
        lines += [
            f"{row.name:28} {row.parameters:11,} {100 * row.test_accuracy[row.best_epoch - 1]:7.2f} % "
            f"{row.best_epoch:9} {row.images_per_second:16,.0f} {row.images_per_second / real.images_per_second:10.2f}"
            for row in self.rows
        ]
        lines += [
            "",
            f"training in {self.precision} with {self.threads} thread(s); accuracies of {self.data}'s test images",
        ]
        return lines


def run(network: str, folder: Path, *, epochs: int | None = None, progress: Progress | None = None) -> KindsReport:
    """Trains ``quaternion-``, ``real4-`` and ``real3-`` ``network``, and times a training step of each.

    Args:
        network: what follows the kind in the names of three training configurations, such as ``conv2-cifar10``.
        folder: where the trainings go, one folder each; what is there already goes on or is taken as it is.
        epochs: instead of the configurations'.
        progress: called as (stage, done, total).

    Raises:
        InvalidInputError: no such three configurations.
        MissingDataError: their images are not on this machine.
    """
    import dataclasses

    import torch

    from qdeploy.models.config import config_names, load_config

    names = {kind: f"{kind}-{network}" for kind in KINDS}
    shipped = set(config_names())
    if not set(names.values()) <= shipped:
        known = sorted(name.removeprefix("real3-") for name in shipped if name.startswith("real3-"))
        raise InvalidInputError(f"{network!r}: no network in the three kinds; expected one of {', '.join(known)}")
    configs = {kind: load_config(name) for kind, name in names.items()}
    if epochs is not None:
        configs = {kind: dataclasses.replace(config, epochs=epochs) for kind, config in configs.items()}
    histories = {}
    for done, (kind, config) in enumerate(configs.items()):
        if progress:
            progress("trainings", done, len(configs))
        histories[kind] = _history(train_variant(config, folder).parent / "metrics.jsonl")
    if progress:
        progress("trainings", len(configs), len(configs))
    seconds = seconds_a_batch(configs)
    rows = []
    for kind, config in configs.items():
        rows.append(
            Row(
                name=config.name,
                kind=kind,
                parameters=_parameters(config),
                test_accuracy=tuple(line["test_accuracy"] for line in histories[kind]),
                best_epoch=_best_epoch(folder / config.name / f"{config.name}.json"),
                batch_seconds=seconds[kind],
                images_per_second=config.batch_size / seconds[kind],
            )
        )
    first = configs["quaternion"]
    return KindsReport(network, first.dataset, torch.get_num_threads(), first.precision, tuple(rows))


def _history(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _best_epoch(path: Path) -> int:
    return int(json.loads(path.read_text(encoding="utf-8"))["metrics"]["best_epoch"])


def _parameters(config: TrainingConfig) -> int:
    import torch

    from qdeploy.models.registry import build

    with torch.device("meta"):
        module = build(config.architecture, config.hyperparameters)
    return sum(parameter.numel() for parameter in module.parameters())


def seconds_a_batch(configs: dict[str, TrainingConfig]) -> dict[str, float]:
    """The median time of a training step of each network on random images, taken in turns."""
    import torch

    from qdeploy.models.optimizer import make_optimizer
    from qdeploy.models.registry import build

    def step_of(config: TrainingConfig) -> Callable[[], None]:
        module = build(config.architecture, config.hyperparameters).train()
        optimizer = make_optimizer(module, config)
        side = config.hyperparameters.get("image_size", 32)
        x = torch.rand(config.batch_size, config.hyperparameters["in_channels"], side, side)
        x = x.contiguous(memory_format=torch.channels_last)
        y = torch.randint(0, config.hyperparameters["num_classes"], (config.batch_size,))

        def step() -> None:
            with torch.autocast("cpu", torch.bfloat16, enabled=config.precision == "bfloat16"):
                logits = module(x)
            loss = torch.nn.functional.cross_entropy(logits.float(), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

        return step

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        steps = {kind: step_of(config) for kind, config in configs.items()}
        times: dict[str, list[float]] = {kind: [] for kind in steps}
        # The first round lets every library choose its kernels.
        for turn in range(SPEED_ROUNDS + 1):
            for kind, step in steps.items():
                begin = time.perf_counter()
                step()
                if turn:
                    times[kind].append(time.perf_counter() - begin)
    return {kind: statistics.median(found) for kind, found in times.items()}


def write(report: KindsReport, folder: Path) -> list[Path]:
    """Writes ``kinds-NETWORK.json`` and ``.png`` into ``folder``, and returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    table, picture = folder / f"kinds-{report.network}.json", folder / f"kinds-{report.network}.png"
    table.write_text(json.dumps(report.to_dict(), indent=2) + "\n", encoding="utf-8")
    draw(report, picture)
    return [table, picture]


def draw(report: KindsReport, path: Path) -> None:
    """A PNG at ``path``: accuracy against epochs, a line a kind, and beside it the images that are trained a second."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    curves, speed = figure.subplots(1, 2, width_ratios=(3, 2))
    for index, row in enumerate(report.rows):
        epochs = range(1, len(row.test_accuracy) + 1)
        label = f"{KINDS[row.kind]}, {row.parameters / 1e6:.2f} M parameters"
        curves.plot(
            epochs,
            [100 * value for value in row.test_accuracy],
            color=f"C{index}",
            marker="o",
            markersize=3,
            label=label,
        )
    curves.set_xlabel("epoch")
    curves.set_ylabel("test accuracy, %")
    curves.set_title(f"{report.network}: accuracy", fontsize=10)
    curves.grid(visible=True, alpha=0.25)
    curves.legend(fontsize=8, loc="lower right", framealpha=0.9)
    places = range(len(report.rows))
    bars = speed.barh(
        places, [row.images_per_second for row in report.rows], color=[f"C{index}" for index in places], height=0.6
    )
    speed.bar_label(bars, fmt="{:,.0f}", padding=3, fontsize=8)
    speed.set_yticks(places, [row.kind for row in report.rows])
    speed.invert_yaxis()
    speed.margins(x=0.18)
    speed.set_xlabel("training images a second")
    speed.set_title(f"training speed, {report.precision}, {report.threads} thread(s)", fontsize=10)
    for axes in (curves, speed):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, format="png", dpi=110)
