"""Whether a training's state fits the training that wants to go on from it."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from qdeploy.runtime.errors import InvalidFileError

from .config import TrainingConfig
from .optimizer import make_optimizer

__all__ = ["check_state"]

#: Beyond every number of epochs, seconds and rates.
_LARGEST = 1e300
_ADVICE = "remove it to begin anew, or do not resume"


def check_state(
    state: Mapping[str, Any], config: TrainingConfig, module: nn.Module, report: type[Any], path: Path
) -> None:
    """Every value of ``state`` has the type, the shape and the bounds that ``config``'s training would have written.

    Args:
        state: as ``read_state`` gave it, of this configuration.
        config: of the training.
        module: of the training; it is not changed.
        report: the dataclass of an epoch's line in ``history``.
        path: names the file in messages.

    Raises:
        InvalidFileError: with the first place that does not fit.
    """
    epoch, history = state["epoch"], state["history"]
    if type(epoch) is not int or not 1 <= epoch or not isinstance(history, list) or len(history) != epoch:
        _fail(path, "epoch, history", "a number of epochs and as many lines")
    for line in (*history, state["best"]):
        _check_line(line, report, path)
    for key in ("module", "best_weights"):
        _compare(state[key], module.state_dict(), key, path)
    _check_optimizer(state["optimizer"], _optimizer_state(config, module), "optimizer", path)


def _fail(path: Path, place: str, expected: str) -> None:
    raise InvalidFileError(f"{path}: {place[:120]} is not {expected}; {_ADVICE}")


def _check_line(line: Any, report: type[Any], path: Path) -> None:
    fields = {item.name: str(item.type) for item in dataclasses.fields(report)}
    required = {item.name for item in dataclasses.fields(report) if item.default is dataclasses.MISSING}
    if not isinstance(line, dict) or not required <= set(line) <= set(fields):
        _fail(path, "history", "a line of an epoch")
    kinds: dict[str, tuple[type, ...]] = {
        "int": (int,),
        "float": (int, float),
        "float | None": (int, float, type(None)),
    }
    for name, value in line.items():
        kind = fields[name]
        if isinstance(value, bool) or not isinstance(value, kinds[kind]) or not _finite(value):
            _fail(path, f"history: {name}", kind)


def _finite(value: Any) -> bool:
    # math.isfinite cannot hold an int of any size; NaN compares false.
    return not isinstance(value, int | float) or abs(value) < _LARGEST


def _optimizer_state(config: TrainingConfig, module: nn.Module) -> dict[str, Any]:
    """What the optimizer's state looks like after a step, from a copy of the module."""
    module = copy.deepcopy(module)
    optimizer = make_optimizer(module, config)
    for parameter in module.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    expected: dict[str, Any] = optimizer.state_dict()
    return expected


def _check_optimizer(found: Any, expected: Mapping[str, Any], place: str, path: Path) -> None:
    """As ``_compare``, but before the first step an optimizer has no state."""
    if not isinstance(found, dict) or set(found) != set(expected):
        _fail(path, place, "an optimizer's state")
    for key, value in expected.items():
        if key == "state" and found[key] == {}:
            continue
        nested = isinstance(value, dict) and "param_groups" in value
        (_check_optimizer if nested else _compare)(found[key], value, f"{place}.{key}", path)


def _compare(found: Any, expected: Any, place: str, path: Path) -> None:
    """The same keys, types, shapes and lengths; numbers are finite."""
    if isinstance(expected, Tensor):
        fits = isinstance(found, Tensor) and found.shape == expected.shape and found.dtype == expected.dtype
        if not fits or not bool(torch.isfinite(found).all()):
            _fail(path, place, f"a finite tensor {expected.dtype} {list(expected.shape)}")
    elif isinstance(expected, Mapping):
        if not isinstance(found, Mapping) or set(found) != set(expected):
            _fail(path, place, f"a dict of {', '.join(map(str, expected))}")
        for key, value in expected.items():
            _compare(found[key], value, f"{place}.{key}", path)
    elif isinstance(expected, list | tuple):
        if not isinstance(found, list | tuple) or len(found) != len(expected):
            _fail(path, place, f"a list of {len(expected)}")
        for index, (one, other) in enumerate(zip(found, expected, strict=True)):
            _compare(one, other, f"{place}[{index}]", path)
    elif type(found) is not type(expected) or not _finite(found):
        _fail(path, place, f"{type(expected).__name__}, finite")
