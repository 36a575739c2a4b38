"""Checkpoints: ``NAME.safetensors`` with the latent parameters, and ``NAME.json`` with what they are.

Nothing in a checkpoint is executed: tensors come as safetensors, or as ``.pt`` through torch's weights-only reader.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor, nn

from qdeploy.runtime.errors import InvalidFileError, InvalidInputError, QdeployError
from qdeploy.runtime.staging import errors_told, write_whole

from .masks import masked_products, stored
from .registry import build
from .torch_file import MAX_FILE_BYTES, read_torch_file

__all__ = [
    "MAX_FILE_BYTES",
    "SCHEMA_VERSION",
    "LoadedCheckpoint",
    "load_checkpoint",
    "read_checkpoint",
    "save_checkpoint",
    "save_tensors",
]

SCHEMA_VERSION = 1
MAX_JSON_BYTES = 1 << 20
HALF = "float16"


@dataclass(frozen=True)
class LoadedCheckpoint:
    """A module in evaluation mode with its trained weights, and what is known of it.

    ``metadata`` is the content of the JSON, or of a ``.pt`` file all but its ``state_dict``.
    """

    module: nn.Module
    metadata: dict[str, Any]


def save_checkpoint(path: str | Path, module: nn.Module, metadata: Mapping[str, Any]) -> Path:
    """Writes ``NAME.safetensors`` and ``NAME.json``; returns the path of the first.

    Args:
        path: names either file, or the stem.
        module: whose ``state_dict`` is stored, as it is (latent weights).
        metadata: as ``save_tensors`` takes it.

    Raises:
        InvalidInputError, MissingRequirementError: as ``save_tensors``.
    """
    return save_tensors(path, module.state_dict(), metadata)


def save_tensors(path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> Path:
    """Writes the state dict ``tensors`` as ``NAME.safetensors``, and ``NAME.json``; returns the path of the first.

    The two count from one moment on: the weights wait beside their place until the JSON that has their SHA-256 stands,
    and a reader who comes in between takes them from there.

    Args:
        path: names either file, or the stem.
        tensors: of a module, stored as they are, or rounded to ``float16`` where ``metadata`` says so in ``stored_as``; masks
            of pruned weights (``*_orig``, ``*_mask``) in the form of ``masks.stored``.
        metadata: at least ``architecture`` and ``hyperparameters``; by custom also ``input`` (``name``, ``shape`` of
            one sample, ``time_axis`` or null), ``dataset``, ``seed``, ``epochs``, ``metrics``, ``command``.
            ``schema_version``, ``torch_version`` and ``sha256`` are added.

    Raises:
        InvalidInputError: metadata without its two required keys or not representable in JSON; weights not finite;
            a place that cannot be written.
        MissingRequirementError: there is no room for the files.
    """
    tensors_path, json_path = _paths(Path(path))
    for key in ("architecture", "hyperparameters"):
        if key not in metadata:
            raise InvalidInputError(f"metadata of checkpoint {tensors_path.stem}: {key} is missing")
    kept = {name: value.detach().cpu().contiguous() for name, value in stored(tensors).items()}
    for name, value in kept.items():
        if not torch.isfinite(value).all():
            raise InvalidInputError(f"{name} holds NaN or infinity: such weights are not worth a checkpoint")
    if metadata.get("stored_as") == HALF:
        kept = {name: value.half() if value.dtype == torch.float32 else value for name, value in kept.items()}
        for name, value in kept.items():
            if not torch.isfinite(value).all():
                raise InvalidInputError(f"{name} holds numbers beyond float16's 65504: store it as float32")
    content = save_safetensors(kept)
    described = {
        "schema_version": SCHEMA_VERSION,
        **metadata,
        "torch_version": str(torch.__version__),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    try:
        text = json.dumps(described, indent=2, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"metadata of checkpoint {tensors_path.stem}: {error}") from error
    waiting = _waiting(tensors_path)
    try:
        write_whole(waiting, content)
        write_whole(json_path, text.encode())
    except QdeployError:
        waiting.unlink(missing_ok=True)
        raise
    with errors_told(tensors_path):
        waiting.replace(tensors_path)
    return tensors_path


def load_checkpoint(path: str | Path) -> LoadedCheckpoint:
    """The module of a checkpoint, in evaluation mode.

    Args:
        path: ``NAME.safetensors``, ``NAME.json`` or the stem; or a ``.pt`` or ``.pth`` written by
            ``torch.save({"architecture": ..., "hyperparameters": ..., "state_dict": ...})``.

    Raises:
        InvalidFileError: a file is missing, truncated, corrupted, too large, holds code, or does not fit its
            architecture.
        UnsupportedModelError: no architecture of this name.
    """
    given = Path(path)
    if given.suffix in (".pt", ".pth"):
        return _load_pickled(given)
    metadata, tensors = read_checkpoint(given)
    return LoadedCheckpoint(_restore(metadata, tensors, str(_paths(given)[0])), metadata)


def read_checkpoint(path: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The JSON and the tensors of ``NAME.safetensors`` and ``NAME.json``, as they are stored.

    Raises:
        InvalidFileError: a file is missing, truncated, corrupted or too large, or the two do not belong together.
    """
    tensors_path, json_path = _paths(Path(path))
    metadata = _read_json(json_path)
    expected = metadata.get("sha256")
    content = b""
    if _waiting(tensors_path).is_file():
        content = _read_bytes(_waiting(tensors_path), MAX_FILE_BYTES)
    if hashlib.sha256(content).hexdigest() != expected:
        content = _read_bytes(tensors_path, MAX_FILE_BYTES)
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise InvalidFileError(
            f"{tensors_path}: SHA-256 is {found}, but {json_path.name} says {expected}: "
            "the file is truncated or changed, or the two do not belong together; copy both again"
        )
    try:
        tensors = load_safetensors(content)
    except SafetensorError as error:
        raise InvalidFileError(f"{tensors_path}: not a safetensors file: {error}") from error
    return metadata, tensors


def _paths(path: Path) -> tuple[Path, Path]:
    """``NAME.safetensors`` and ``NAME.json`` from either, or from the stem (which may hold dots)."""
    stem = path.with_suffix("") if path.suffix in (".safetensors", ".json") else path
    return stem.with_name(stem.name + ".safetensors"), stem.with_name(stem.name + ".json")


def _waiting(tensors_path: Path) -> Path:
    """Where new weights wait for their JSON; a process that was killed there leaves them."""
    return tensors_path.with_name(f".{tensors_path.name}.waiting")


def _read_bytes(path: Path, limit: int) -> bytes:
    if not path.is_file():
        raise InvalidFileError(
            f"{path}: no such file; a checkpoint is NAME.safetensors and NAME.json in the same folder"
        )
    size = path.stat().st_size
    if size > limit:
        raise InvalidFileError(f"{path}: {size} bytes, expected at most {limit}")
    return path.read_bytes()


def _read_json(path: Path) -> dict[str, Any]:
    content = _read_bytes(path, MAX_JSON_BYTES)
    try:
        metadata = json.loads(content.decode())
    except (ValueError, RecursionError) as error:
        raise InvalidFileError(f"{path}: not a JSON file: {error}") from error
    if not isinstance(metadata, dict):
        raise InvalidFileError(f"{path}: found {type(metadata).__name__}, expected a JSON object")
    version = metadata.get("schema_version")
    if version != SCHEMA_VERSION:
        raise InvalidFileError(f"{path}: schema_version={version!r}, this release reads {SCHEMA_VERSION}")
    return metadata


def _load_pickled(path: Path) -> LoadedCheckpoint:
    expected = "a dict of architecture, hyperparameters and state_dict, written by torch.save"
    content = read_torch_file(path, expected)
    if not isinstance(content, dict) or not {"architecture", "hyperparameters", "state_dict"} <= set(content):
        raise InvalidFileError(f"{path}: expected a dict of architecture, hyperparameters and state_dict")
    tensors = content["state_dict"]
    if not isinstance(tensors, dict) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise InvalidFileError(f"{path}: state_dict is not a dict of tensors")
    metadata = {key: value for key, value in content.items() if key != "state_dict"}
    return LoadedCheckpoint(_restore(metadata, tensors, str(path)), metadata)


def _restore(metadata: Mapping[str, Any], tensors: Mapping[str, Tensor], source: str) -> nn.Module:
    """The module that ``metadata`` describes, with ``tensors`` in it, once these are known to fit."""
    architecture, hyperparameters = metadata.get("architecture"), metadata.get("hyperparameters")
    if not isinstance(architecture, str) or not isinstance(hyperparameters, dict):
        raise InvalidFileError(
            f"{source}: architecture={architecture!r}, hyperparameters={hyperparameters!r}, "
            "expected a name and an object"
        )
    try:
        # Shapes alone: a file that asks for a huge network costs no memory before its tensors are seen to fit it.
        with torch.device("meta"):
            module = build(architecture, hyperparameters)
    except InvalidInputError as error:
        raise InvalidFileError(f"{source}: {error}") from error
    tensors = masked_products(tensors, source)
    expected = module.state_dict()
    if metadata.get("stored_as") == HALF:
        tensors = {name: value.float() if value.dtype == torch.float16 else value for name, value in tensors.items()}
    missing, unexpected = sorted(set(expected) - set(tensors)), sorted(set(tensors) - set(expected))
    if missing or unexpected:
        raise InvalidFileError(
            f"{source}: tensors missing: {', '.join(missing) or 'none'}; not of {architecture}: "
            f"{', '.join(unexpected) or 'none'}"
        )
    for name, parameter in expected.items():
        tensor = tensors[name]
        if tensor.shape != parameter.shape or tensor.dtype != parameter.dtype:
            raise InvalidFileError(
                f"{source}: {name} is {tensor.dtype} {list(tensor.shape)}, expected {parameter.dtype} "
                f"{list(parameter.shape)} by its hyper-parameters"
            )
        if not torch.isfinite(tensor).all():
            raise InvalidFileError(f"{source}: {name} holds NaN or infinity: the training that made it had diverged")
    module = module.to_empty(device="cpu")
    module.load_state_dict(dict(tensors))
    return module.eval()
