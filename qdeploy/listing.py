"""What is there, from the registries: nothing in this file is a list kept by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .runtime.errors import InvalidInputError, MissingRequirementError

__all__ = ["Entry", "listing", "missing_dataset", "missing_datasets"]


@dataclass(frozen=True)
class Entry:
    """A name and what it is, in a line; ``details`` differ by kind, and ``family`` says what it belongs to."""

    name: str
    description: str
    details: dict[str, Any]
    family: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        family = {"family": self.family} if self.family else {}
        return {"name": self.name, **family, "description": self.description, **self.details}


def listing(kind: str) -> list[Entry]:
    """Return the entries of ``operators``, ``recipes``, ``runtimes``, ``targets``, ``models`` or ``datasets``."""
    if kind not in _KINDS:
        raise InvalidInputError(f"no list of {kind!r}; there are {', '.join(_KINDS)}")
    return _KINDS[kind]()


def _operators() -> list[Entry]:
    from .runtime.ops import OPERATORS

    return [
        Entry(
            name,
            operator.summary,
            {
                "inputs": list(operator.inputs),
                "optional": sorted(operator.optional),
                "attributes": list(operator.attributes),
                "outputs": list(operator.outputs),
            },
            _operator_family(name, operator.inputs),
        )
        for name, operator in sorted(OPERATORS.items())
    ]


def _operator_family(name: str, inputs: tuple[str, ...]) -> str:
    """By what the registry knows of it: whether it has a state, reads all steps, or reads no activation."""
    from .runtime.ops import RECURRENT, WHOLE_SEQUENCE

    if name in RECURRENT:
        return "recurrent"
    if name in WHOLE_SEQUENCE:
        return "sequence"
    return "layer" if {"x", "a"} & set(inputs) else "weights"


def _recipes() -> list[Entry]:
    return [Entry(name, values.get("description", ""), values) for name, values in _json_files("qdeploy", "recipes")]


def _runtimes() -> list[Entry]:
    from .runtime.engines import available

    entries = []
    for name, version in available().items():
        summary = (import_module(f"qdeploy.runtime.engines.{name}").__doc__ or "").partition("\n")[0]
        state = f"version {version}" if version else "not installed"
        entries.append(Entry(name, f"{state}: {summary.partition(': ')[2]}", {"version": version}))
    return entries


def _targets() -> list[Entry]:
    from .export.c.artifacts import has_library
    from .export.c.build import library_name
    from .export.c.targets import TARGETS

    entries = []
    for name, target in TARGETS.items():
        memory = (
            ""
            if target.flash is None or target.ram is None
            else f", {target.flash >> 10} KiB flash, {target.ram >> 10} KiB RAM"
        )
        details = {
            "tile": target.tile,
            "offset": target.offset,
            "library": library_name(name) if has_library(name) else None,
            "processor": target.zig_cpu,
            "emulator": list(target.emulator or target.machine or ()),
            "flash": target.flash,
            "ram": target.ram,
        }
        entries.append(Entry(name, f"{target.description}{memory}", details))
    return entries


def _models() -> list[Entry]:
    entries = []
    for name, values in _json_files("qdeploy.models", "checkpoints"):
        entries.append(Entry(name, _model_line(values), {"shipped": True, **values}, _model_family(values)))
    shipped = {entry.name for entry in entries}
    for name, values in _json_files("qdeploy.models", "configs"):
        if name not in shipped:
            line = f"to train: {values.get('description', '')}"
            entries.append(Entry(name, line, {"shipped": False, **values}, _model_family(values)))
    return entries


def _model_family(values: dict[str, Any]) -> str:
    """The architecture, or of one that takes any cell the cell."""
    return str(values.get("hyperparameters", {}).get("cell", values.get("architecture", "")))


def _model_line(values: dict[str, Any]) -> str:
    metrics = values.get("metrics", {})
    if "test_accuracy" not in metrics:
        return str(values.get("description", ""))
    data = f"{metrics.get('test_samples', 0):,} test samples of {values.get('dataset')}"
    if "test_bits_per_character" in metrics:
        return f"{values.get('description')}: {metrics['test_bits_per_character']:.3f} bits per character in float on {data}"
    return f"{values.get('description')}: float accuracy {metrics['test_accuracy']:.2%} on {data}"


def _datasets() -> list[Entry]:
    from . import datasets

    entries = []
    for name in datasets.names():
        try:
            test = datasets.load(name, "test")
        except MissingRequirementError as error:
            line = "not on this machine: qdeploy doctor says where its files belong"
            entries.append(Entry(name, line, {"present": False, "problem": str(error)}))
        else:
            time = "" if test.time_axis is None else f", {test.x.shape[1 + test.time_axis]} time steps"
            shape = ", ".join(str(size) for size in test.x.shape[1:])
            details = {"present": True, "test_samples": len(test.x), "shape": list(test.x.shape[1:])}
            entries.append(Entry(name, f"{len(test.x):,} test samples of [{shape}]{time}", details))
    return entries


def missing_dataset(name: str) -> str | None:
    """Why a named data set cannot be used here, or None where it can."""
    from . import datasets

    try:
        datasets.require(name)
    except MissingRequirementError as error:
        return str(error)
    return None


def missing_datasets(names: Iterable[str]) -> dict[str, str]:
    """Of named data sets those that cannot be used here, and why."""
    found = {name: missing_dataset(name) for name in sorted(set(names))}
    return {name: problem for name, problem in found.items() if problem is not None}


def _json_files(package: str, folder: str) -> list[tuple[str, dict[str, Any]]]:
    """The JSON files of a folder of package data, by their names. Nothing is imported: models may need torch."""
    spec = find_spec(package)
    locations = spec.submodule_search_locations if spec else None
    return [
        (path.stem, json.loads(path.read_text(encoding="utf-8")))
        for location in locations or []
        for path in sorted(Path(location).glob(f"{folder}/*.json"))
    ]


_KINDS: dict[str, Callable[[], list[Entry]]] = {
    "operators": _operators,
    "recipes": _recipes,
    "runtimes": _runtimes,
    "targets": _targets,
    "models": _models,
    "datasets": _datasets,
}
