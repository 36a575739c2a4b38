"""What qdeploy reads: for each reader the seeds, the mutations, and the call that reads."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Any

from . import seeds
from .mutate_arrays import (
    mutate_idx,
    mutate_manifested,
    mutate_npy,
    mutate_npz,
    mutate_safetensors,
    mutate_torch,
    mutate_zip,
    npy,
    zipped,
)
from .mutate_bytes import mutate_bytes, mutate_words
from .mutate_files import Files, Link, mutate_files
from .mutate_json import mutate_json
from .mutate_onnx import mutate_onnx


class Refused(Exception):  # noqa: N818 - what a reader may do, not an error of the fuzzing
    """The command line refused the input as it should."""


class MisbehavedError(AssertionError):
    """The command line ended in a way that it must not."""


@dataclass(frozen=True)
class Reader:
    """One way by which files enter qdeploy.

    Attributes:
        make: a mutated input from a source of randomness; the same source gives the same input.
        read: reads the input from its folder; raises a QdeployError or ``Refused`` where qdeploy refuses it.
        share: how many of 1,000 inputs of a campaign are this reader's.
    """

    name: str
    make: Callable[[Random], Files]
    read: Callable[[Path], None]
    share: int


READERS: dict[str, Reader] = {}


def _reader(
    name: str, share: int, make: Callable[[Random], Files]
) -> Callable[[Callable[[Path], None]], Callable[[Path], None]]:
    def register(read: Callable[[Path], None]) -> Callable[[Path], None]:
        READERS[name] = Reader(name, make, read, share)
        return read

    return register


_LONGEST_MESSAGE = 4000
_UNPRINTABLE = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def command(*arguments: object) -> str:
    """What ``qdeploy ARGUMENTS`` prints.

    Raises:
        Refused: it ended with one of the documented exit codes and one paragraph on stderr.
        MisbehavedError: it ended otherwise; an exception that is not ours comes through as it is (``-v``).
    """
    from qdeploy.cli.group import run

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run([*map(str, arguments), "-v"])
    said = err.getvalue().strip()
    if _UNPRINTABLE.search(said) or _UNPRINTABLE.search(out.getvalue()):
        raise MisbehavedError(f"control characters reach the terminal: {said[:300]!r}")
    if code == 0:
        return out.getvalue()
    if code not in {1, 2, 3, 4} or (code != 1 and not said):
        raise MisbehavedError(f"exit code {code}: {said[:300]!r}")
    if "\n\n" in said or len(said) > _LONGEST_MESSAGE or "out of memory" in said or "Traceback" in said:
        raise MisbehavedError(f"exit code {code} with {len(said)} characters: {said[:600]!r}")
    raise Refused(said)


def _one_of(random: Random, *mutations: Callable[[Random], Files]) -> Files:
    return random.choice(mutations)(random)


# Float ONNX models.


def _float_model(random: Random) -> Files:
    files: Files = dict(random.choice(seeds.float_models()))
    if random.random() < 0.04:
        return mutate_files(random, files)
    files["model.onnx"] = mutate_onnx(random, _bytes(files["model.onnx"]))
    if "data.bin" in files and random.random() < 0.3:
        files["data.bin"] = mutate_bytes(random, _bytes(files["data.bin"]))
    if random.random() < 0.02:
        files["link.bin"] = Link("/etc/passwd")
    return files


@_reader("float ONNX: export", 170, _float_model)
def _export(folder: Path) -> None:
    arguments = ("--calibration", folder / "x.npz", "--recipe", _recipe(folder), "-o", folder / "out")
    command("export", folder / "model.onnx", *arguments)


def _recipe(folder: Path) -> str:
    return str(folder / "recipe.json") if (folder / "recipe.json").exists() else "default"


def _beside_bundle(random: Random) -> Files:
    """A whole bundle in a folder of its own, and a mutated float model beside it."""
    index = random.choice((0, 1, 4))
    model = mutate_onnx(random, seeds.float_models()[index % 4]["model.onnx"])
    return {**_inside(dict(seeds.bundles()[index])), "float.onnx": model}


@_reader("float ONNX: bench --float", 20, _beside_bundle)
def _bench(folder: Path) -> None:
    command("bench", folder / "bundle", "--float", folder / "float.onnx", "--calls", 3, "--runtime", "numpy")


@_reader("recipe", 35, lambda random: {**seeds.float_models()[0], "recipe.json": mutate_json(random, seeds.recipe())})
def _recipes(folder: Path) -> None:
    _export(folder)


def _calibration(random: Random) -> Files:
    files: Files = dict(random.choice(seeds.float_models()))
    files["x.npz"] = mutate_npz(random, _bytes(files["x.npz"]))
    return files


@_reader("calibration .npz", 35, _calibration)
def _calibrate(folder: Path) -> None:
    _export(folder)


# Bundles.


def _signed(files: Files) -> Files:
    """The manifest lists every file's size and hash as they are now, so that what was changed is read."""
    try:
        manifest = json.loads(_bytes(files["manifest.json"]))
        listed = manifest["files"]
        for name, data in files.items():
            if name in listed and isinstance(data, bytes):
                listed[name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        return {**files, "manifest.json": json.dumps(manifest).encode()}
    except (ValueError, KeyError, TypeError, RecursionError):
        return files


def _mutated_bundle(random: Random) -> Files:
    files: Files = dict(random.choice(seeds.bundles()))
    kind = random.random()
    if kind < 0.35:
        files["manifest.json"] = mutate_json(random, _bytes(files["manifest.json"]))
    elif kind < 0.45:
        files["manifest.json"] = mutate_manifested(random, _bytes(files["manifest.json"]))
        files["model.onnx"] = mutate_onnx(random, _bytes(files["model.onnx"]))
        files = _signed(files)
    elif kind < 0.75:
        files["model.onnx"] = mutate_onnx(random, _bytes(files["model.onnx"]))
        files = _signed(files)
    elif kind < 0.9:
        name = random.choice(("vectors.npz", "baseline.npz"))
        files[name] = mutate_npz(random, _bytes(files[name]))
        files = _signed(files)
    elif kind < 0.95:
        files = mutate_files(random, files)
    else:
        name = random.choice(sorted(files))
        files[name] = mutate_bytes(random, _bytes(files[name]))
    return {f"bundle/{name}": data for name, data in files.items()}


def _bytes(data: Any) -> bytes:
    return data if isinstance(data, bytes) else b""


@_reader("bundle: inspect, vectors, baseline", 190, _mutated_bundle)
def _inspect(folder: Path) -> None:
    import qdeploy

    command("inspect", folder / "bundle")
    command("inspect", folder / "bundle", "--json")
    files = qdeploy.load(folder / "bundle").files
    files.vectors()
    files.baseline()


def _zipped_bundle(random: Random) -> Files:
    members = [(name, _bytes(data)) for name, data in random.choice(seeds.bundles()).items()]
    if random.random() < 0.2:
        members = [(f"folder/{name}", data) for name, data in members]
    return {"bundle.zip": mutate_zip(random, zipped(members))}


@_reader("bundle: .zip", 80, _zipped_bundle)
def _inspect_zip(folder: Path) -> None:
    import qdeploy

    command("inspect", folder / "bundle.zip")
    qdeploy.load(folder / "bundle.zip").files.vectors()


_INPUTS = {"x.npz": seeds.npz({"x": seeds.bundle_input(1)}), "flat.npz": seeds.npz({"x": seeds.bundle_input(0)})}


def _run_case(random: Random) -> Files:
    return {**_mutated_bundle(random), **_INPUTS}


@_reader("bundle: run, numpy", 60, _run_case)
def _run_numpy(folder: Path) -> None:
    _run(folder, "numpy")


@_reader("bundle: run, bodies", 60, _run_case)
def _run_bodies(folder: Path) -> None:
    _run(folder, "bodies")


@_reader("bundle: run, onnxruntime", 60, _run_case)
def _run_onnxruntime(folder: Path) -> None:
    _run(folder, "onnxruntime")


def _run(folder: Path, runtime: str) -> None:
    """With the input of each rank; one of them fits."""
    refusals = 0
    for name in _INPUTS:
        try:
            arguments = ("--runtime", runtime, "--save-state", folder / "state.npz")
            command("run", folder / "bundle", "--input", folder / name, *arguments)
        except Refused as refused:
            refusals += 1
            last = refused
    if refusals == len(_INPUTS):
        raise last


@_reader("bundle: verify", 22, _mutated_bundle)
def _verify(folder: Path) -> None:
    command("verify", folder / "bundle", "--samples", 2, "--runtime", "bodies", "--runtime", "onnxruntime")


def _inside(files: Files) -> Files:
    return {f"bundle/{name}": data for name, data in files.items()}


def _validation(random: Random) -> Files:
    index = random.randrange(5)
    files: Files = dict(seeds.bundles()[index])
    data = seeds.npz(seeds.bundle_samples(index))
    if random.random() < 0.6:
        return {**_inside(files), "data.npz": mutate_npz(random, data)}
    if random.random() < 0.5:
        files["baseline.npz"] = mutate_npz(random, _bytes(files["baseline.npz"]))
    else:
        files["manifest.json"] = mutate_manifested(random, _bytes(files["manifest.json"]))
    return {**_inside(_signed(files)), "data.npz": data}


@_reader("bundle: validate --data", 40, _validation)
def _validate(folder: Path) -> None:
    data = folder / "data.npz"
    metric = ("accuracy", "bits", "mse", "sqnr")[data.stat().st_size % 4]
    command("validate", folder / "bundle", "--data", data, "--metric", metric, "--runtime", "bodies")


def _run_input(random: Random) -> Files:
    index = random.randrange(5)
    array = seeds.bundle_input(index)
    as_npz = random.random() < 0.5
    data = mutate_npz(random, seeds.npz({"x": array})) if as_npz else mutate_npy(random, npy(array))
    files: Files = {"input.npz" if as_npz else "input.npy": data}
    if random.random() < 0.04:
        files = mutate_files(random, files)
    return {**_inside(dict(seeds.bundles()[index])), **files}


@_reader("input .npy, .npz: run", 60, _run_input)
def _read_input(folder: Path) -> None:
    name = "input.npz" if (folder / "input.npz").is_symlink() or (folder / "input.npz").exists() else "input.npy"
    # The bodies, as inlined bundles have no operators.
    command("run", folder / "bundle", "--input", folder / name, "--runtime", "bodies")


def _state(random: Random) -> Files:
    import numpy as np

    files: Files = dict(seeds.bundles()[1])
    identity = hashlib.sha256(_bytes(files["model.onnx"])).hexdigest()
    manifest = json.loads(_bytes(files["manifest.json"]))
    spec = manifest["states"][0]
    shape = [seeds.SAMPLES if isinstance(size, str) else size for size in spec["shape"]]
    state = {"model": np.array(identity), f"state/{spec['input']}": np.zeros(shape, spec["dtype"])}
    return {**_inside(files), **_INPUTS, "state.npz": mutate_npz(random, seeds.npz(state))}


@_reader("stream state: run --state", 35, _state)
def _read_state(folder: Path) -> None:
    command(
        "run", folder / "bundle", "--input", folder / "x.npz", "--state", folder / "state.npz", "--runtime", "numpy"
    )


def _tflite(random: Random) -> Files:
    files: Files = dict(seeds.litert_bundle())
    mutate = random.choice((mutate_bytes, mutate_words, mutate_words))
    return _inside(_signed({**files, "model.tflite": mutate(random, _bytes(files["model.tflite"]))}))


if find_spec("flatbuffers") is not None:

    @_reader("bundle: model.tflite", 60, _tflite)
    def _read_tflite(folder: Path) -> None:
        import qdeploy
        from qdeploy.runtime.errors import InvalidFileError
        from qdeploy.tflite_file import trusted_tflite

        command("inspect", folder / "bundle")
        # What can be read is still not run, unless it is what the model gives.
        with contextlib.suppress(InvalidFileError):
            trusted_tflite(qdeploy.load(folder / "bundle").files)


# Checkpoints, weights, trainings.


def _checkpoint(random: Random) -> Files:
    files: Files = {
        name: data for name, data in seeds.checkpoint().items() if name in {"small.json", "small.safetensors"}
    }
    kind = random.random()
    if kind < 0.4:
        files["small.json"] = mutate_json(random, _bytes(files["small.json"]))
    elif kind < 0.9:
        tensors = mutate_safetensors(random, _bytes(files["small.safetensors"]))
        metadata = json.loads(_bytes(files["small.json"])) | {"sha256": hashlib.sha256(tensors).hexdigest()}
        files = {"small.safetensors": tensors, "small.json": json.dumps(metadata).encode()}
    else:
        files = mutate_files(random, files)
    return files


@_reader("checkpoint .safetensors + .json", 60, _checkpoint)
def _load_checkpoint(folder: Path) -> None:
    from qdeploy.capture.checkpoint_source import checkpoint_dataset
    from qdeploy.models import load_checkpoint

    load_checkpoint(folder / "small.safetensors")
    checkpoint_dataset(folder / "small")


@_reader("checkpoint .pt", 25, lambda random: {"small.pt": mutate_torch(random, seeds.checkpoint()["small.pt"])})
def _load_pickled(folder: Path) -> None:
    from qdeploy.models import load_checkpoint

    load_checkpoint(folder / "small.pt")


def _weights(random: Random) -> Files:
    if random.random() < 0.6:
        name = random.choice(("state.pt", "pruned.pt"))
        return {name: mutate_torch(random, seeds.checkpoint()[name])}
    return {"state.safetensors": mutate_safetensors(random, seeds.checkpoint()["state.safetensors"])}


@_reader("weights of --entry", 40, _weights)
def _load_weights(folder: Path) -> None:
    from qdeploy.capture import load_weights
    from qdeploy.models import build

    (path,) = folder.iterdir()
    load_weights(build("orthogonal-classifier", seeds.HYPERPARAMETERS), path)


@_reader("training state", 30, lambda random: {"training-state.pt": mutate_torch(random, seeds.training_state())})
def _resume(folder: Path) -> None:
    from qdeploy.models.config import parse_config
    from qdeploy.models.training import train

    train(parse_config(seeds.CONFIG), seeds.training_data(), folder)


@_reader("training configuration", 60, lambda random: {"config.json": mutate_json(random, seeds.config())})
def _load_config(folder: Path) -> None:
    from qdeploy import datasets
    from qdeploy.models.config import load_config
    from qdeploy.models.initialization import initial_module
    from qdeploy.models.registry import check_hyperparameters
    from qdeploy.runtime.errors import InvalidInputError

    config = load_config(folder / "config.json")
    check_hyperparameters(config.architecture, config.hyperparameters)
    if config.dataset not in datasets.names():
        raise InvalidInputError("no such data set")
    if config.hyperparameters.get("hidden_size", 0) <= 256:
        initial_module(config)
    (folder / f"{config.name}.safetensors").write_bytes(b"")


# Networks of other libraries.


def _foreign(random: Random) -> Files:
    files: Files = dict(seeds.foreign())
    kind = random.random()
    if kind < 0.5:
        return {**files, "net.json": mutate_json(random, _bytes(files["net.json"]))}
    if kind < 0.95:
        return {**files, "net.safetensors": mutate_safetensors(random, _bytes(files["net.safetensors"]))}
    return mutate_files(random, files)


@_reader("architecture + state dict", 40, _foreign)
def _import_foreign(folder: Path) -> None:
    from qdeploy.models.importers.foreign import import_foreign

    import_foreign(folder / "net.safetensors", folder / "net.json")


def _keras(random: Random) -> Files:
    files: Files = dict(seeds.keras())
    return {**files, "net.h5": mutate_bytes(random, _bytes(files["net.h5"]))}


if find_spec("h5py") is not None:

    @_reader("architecture + Keras .h5", 25, _keras)
    def _import_keras(folder: Path) -> None:
        from qdeploy.models.importers.foreign import import_foreign

        import_foreign(folder / "net.h5", folder / "net.json")


def _mnist(random: Random) -> Files:
    files: Files = dict(seeds.mnist())
    if random.random() < 0.05:
        return mutate_files(random, files)
    name = random.choice(sorted(files))
    data = mutate_idx(random, _bytes(files[name]))
    if random.random() < 0.1:
        del files[name]
        name = name.removesuffix(".gz")
    return {**files, name: data}


@_reader("IDX data set", 38, _mnist)
def _load_mnist(folder: Path) -> None:
    from qdeploy import datasets

    before = os.environ.get("QDEPLOY_DATA")
    os.environ["QDEPLOY_DATA"] = str(folder)
    try:
        datasets.load("mnist", "test")
    finally:
        del os.environ["QDEPLOY_DATA"]
        if before is not None:
            os.environ["QDEPLOY_DATA"] = before


def _texts(random: Random) -> Files:
    files: Files = dict(random.choice(seeds.texts()))
    if random.random() < 0.1:
        return mutate_files(random, files)
    name = random.choice(sorted(files))
    changed = _bytes(files[name])
    for _ in range(random.choice((1, 1, 5))):
        changed = mutate_bytes(random, changed)
    return {**files, name: changed}


@_reader("text data set", 25, _texts)
def _load_texts(folder: Path) -> None:
    from qdeploy.datasets.characters import from_files

    plain = sorted(folder.glob("*.txt"))
    read = from_files(plain or [folder / "ptb"])
    for split in ("train", "valid", "test"):
        read.split(split)


def outcome(reader: Reader, folder: Path) -> tuple[str, str]:
    """``accepted`` or ``refused`` with the message; every other exception comes through."""
    from qdeploy.runtime.errors import QdeployError

    try:
        reader.read(folder)
    except (QdeployError, Refused) as error:
        return "refused", f"{type(error).__name__}: {error}"
    return "accepted", ""


def make(reader: Reader, campaign: Any, index: int) -> Files:
    """The input of this number: the same on every machine."""
    return reader.make(Random(f"{campaign}/{reader.name}/{index}"))  # noqa: S311 - repeatable on purpose
