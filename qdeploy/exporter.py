"""The verb ``export``: capture, calibrate, quantize, attach bodies, check, prove, write."""

from __future__ import annotations

import dataclasses
import importlib.resources
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from numpy.typing import NDArray

from qdeploy.bundle import Bundle
from qdeploy.c_export import check_formats, with_c
from qdeploy.calibration import calibrate
from qdeploy.evaluation import Samples, data_sha256, evaluation_samples, load_samples, run_float
from qdeploy.export_manifest import is_strict, make_manifest
from qdeploy.golden_vectors import golden_vectors
from qdeploy.quantize import IntegerModel, Recipe, load_recipe, quantize
from qdeploy.runtime.bundle import BundleFiles
from qdeploy.runtime.errors import InvalidInputError
from qdeploy.runtime.manifest import Manifest
from qdeploy.text_form import TextForm
from qdeploy.tflite_file import check_tflite_format, with_tflite

if TYPE_CHECKING:
    from qdeploy.capture.captured import CapturedModel
    from qdeploy.quantize.tensor_type import TensorType

Progress = Callable[[str, int, int], None]

CALIBRATION_SAMPLES = 256
"""Taken from the calibration data unless ``limit`` says otherwise: ranges settle well before."""

EVALUATION_SAMPLES = 10_000


def export_model(
    model: Any,
    output: str | Path,
    *,
    calibration: Any = None,
    evaluation: Any = None,
    weights: str | Path | None = None,
    architecture: str | Path | None = None,
    recipe: str | Path | Recipe = "default",
    weight_bits: int | None = None,
    activation_bits: int | None = None,
    state_bits: int | None = None,
    multiplier_bits: int | None = None,
    state_range: str | None = None,
    recurrent_rounding: str | None = None,
    batch_norm: str | None = None,
    conv_kernels: str | None = None,
    tflite_kernels: str | None = None,
    time_axis: int | None = None,
    inline: bool = False,
    storage: str = "compact",
    float_io: bool = False,
    formats: tuple[str, ...] = ("onnx",),
    targets: tuple[str, ...] = (),
    c_library: str | None = None,
    flash: int | None = None,
    ram: int | None = None,
    max_steps: int | None = None,
    zip: bool = False,  # noqa: A002 - the option's name on the command line
    force: bool = False,
    dry_run: bool = False,
    limit: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Bundle:
    """Turns a trained model into an integer-only bundle.

    Args:
        model: a ``torch.nn.Module``, one of our checkpoints (path or shipped name), or the path of a float ``.onnx``.
        output: the bundle's folder, or its ``.zip``.
        calibration: real samples: arrays by input name (axis 0 is samples), one array, an ``.npy`` or ``.npz`` file, or the
            name of a data set; by default the set that a checkpoint of ours was trained on.
        evaluation: samples whose float outputs the bundle keeps, so that ``validate`` counts disagreements without torch;
            by default the test split of a named calibration set, else the calibration samples.
        weights: a state dict for ``model`` when it is a module.
        architecture: the JSON that describes ``model`` when that is a state dict of another library (``docs/importing.md``).
        recipe: a recipe, its name (``qdeploy list recipes``) or its file; the ``*_bits``, ``state_range``,
            ``recurrent_rounding``, ``batch_norm``, ``conv_kernels`` and ``tflite_kernels`` replace its values.
        time_axis: the axis of time in the input, by default 1 for recurrent networks.
        inline: write the file without functions.
        storage: ``compact`` keeps quaternion components, ``expanded`` writes real matrices.
        float_io: float32 inputs and outputs around the integer graph.
        formats: ``("onnx",)``, with ``"c"`` for C sources (docs/c_export.md), with ``"tflite"`` for LiteRT (docs/litert.md).
        targets: boards that a compiled library is made for (``qdeploy list targets``); the sources have the first one's layout.
        c_library: ``arduino`` or ``platformio``: the sources as such a library too.
        flash, ram: bytes that the boards have, instead of what their targets say; a larger model is refused.
        max_steps: the longest sequence that the C of a network takes which needs whole ones; by default the calibration's.
        zip: write one archive.
        force: replace a bundle that is there.
        dry_run: do everything but write.
        limit: at most so many samples of calibration and evaluation.
        seed: of the golden vectors.
        progress: called as (stage, done, total).

    Returns:
        The bundle, opened.

    Raises:
        InvalidInputError, InvalidFileError: arguments, samples or files that cannot be used.
        UnsupportedModelError: a layer that has no integer form, an accumulator that could overflow.
        MissingDataError, MissingRequirementError: a data set or a package that is not here.
    """
    from qdeploy.export.bundle import check_target, write_bundle

    target = Path(output)
    if "tflite" in formats:
        check_tflite_format(inline=inline, float_io=float_io)
    check_formats(
        formats, targets, c_library, inline=inline, float_io=float_io, memory=(flash, ram), max_steps=max_steps
    )
    if storage not in ("compact", "expanded"):
        raise InvalidInputError(f"storage={storage!r}; expected 'compact' or 'expanded'.")
    if not dry_run:
        check_target(target, force=force)
    chosen = (recipe if isinstance(recipe, Recipe) else load_recipe(recipe)).changed(
        weight_bits=weight_bits,
        activation_bits=activation_bits,
        state_bits=state_bits,
        multiplier_bits=multiplier_bits,
        state_range=state_range,
        recurrent_rounding=recurrent_rounding,
        batch_norm=batch_norm,
        conv_kernels=conv_kernels,
        tflite_kernels=tflite_kernels,
    )
    said = progress or _silent
    if architecture is not None:
        model, dataset = _foreign(model, architecture)
        calibration = dataset if calibration is None else calibration
    form = TextForm.of_model(model)
    data = _default_data(model) if calibration is None else calibration
    samples = load_samples(data, "train", limit or CALIBRATION_SAMPLES, form)

    from qdeploy.capture import capture

    said("capture", 0, 1)
    captured = capture(model, samples.inputs, weights=weights, time_axis=time_axis)
    said("capture", 1, 1)
    feeds = captured.arrange(samples.named(captured))
    statistics = calibrate(captured.model, feeds, {s.name: s.batch_axis for s in captured.inputs}, progress=progress)
    integers = quantize(captured.model, statistics, chosen, storage=storage)
    finished = finish(integers, inline=inline, float_io=float_io)
    said("evaluate the float model", 0, 1)
    baseline = _baseline(captured, evaluation_samples(samples, evaluation, limit or EVALUATION_SAMPLES), said)
    contents, manifest = _assemble(captured, integers, finished, chosen, feeds, baseline, float_io=float_io, seed=seed)
    if form.vocabulary is not None:
        origin = {**manifest.created_from, "vocabulary": list(form.vocabulary)}
        manifest = dataclasses.replace(manifest, created_from=origin)
    if "tflite" in formats:
        contents, manifest = with_tflite(finished, contents, manifest)
    if "c" in formats:
        contents, manifest = with_c(
            finished, contents, manifest, targets, c_library, progress, memory=(flash, ram), max_steps=max_steps
        )
    if not dry_run:
        write_bundle(target, manifest, contents, zipped=zip, force=force)
        from qdeploy.bundle import load

        return load(target)
    return Bundle(BundleFiles(target, manifest, finished, contents))


def _silent(stage: str, done: int, total: int) -> None:
    """Nobody listens."""
    del stage, done, total


def _foreign(model: Any, architecture: str | Path) -> tuple[Any, str | None]:
    """The module of another library's checkpoint, and the data set that its side-car names."""
    if not isinstance(model, str | Path):
        raise InvalidInputError(
            f"architecture={str(architecture)!r} describes a checkpoint; found a {type(model).__name__}."
        )
    from qdeploy.capture.checkpoint_source import load_foreign

    found = load_foreign(model, architecture)
    return found.module, found.dataset


def _default_data(model: Any) -> str:
    """The data set that a checkpoint of ours was trained on."""
    if isinstance(model, str | Path) and Path(model).suffix != ".onnx":
        from qdeploy.capture.checkpoint_source import checkpoint_dataset

        found = checkpoint_dataset(model)
        if found:
            return found
    raise InvalidInputError(
        "no calibration data: quantization needs real samples. Give an .npy or .npz file (keys: the inputs' names, axis 0: "
        "samples) or the name of a data set (qdeploy list datasets)."
    )


def finish(integers: IntegerModel, *, inline: bool = False, float_io: bool = False) -> onnx.ModelProto:
    """What ``model.onnx`` holds: bodies, borders, the flat form; and the check that the claim holds."""
    from qdeploy.export.onnx import add_float_borders, attach_bodies, check_integer_only
    from qdeploy.export.onnx import inline as inlined

    model = integers.model
    if float_io:
        types = integers.graph.types
        crossing = [name for name in (*integers.inputs, *integers.outputs) if not types[name].is_index]
        scales = {name: (types[name].scale, types[name].zero_point) for name in crossing}
        for state in integers.graph.states:
            scales[state.input] = scales[state.output] = (state.type.scale, state.type.zero_point)
        model = add_float_borders(model, scales)
    model = attach_bodies(model)
    _add_metadata(model, integers)
    if inline:
        model = inlined(model)
    check_integer_only(model, float_io=float_io, qlinear=not is_strict(integers))
    onnx.checker.check_model(model)
    return model


def _add_metadata(model: onnx.ModelProto, integers: IntegerModel) -> None:
    """Scale and zero point of what crosses the model's border, for whoever has the file alone."""
    types = integers.graph.types
    borders = {name: types[name] for name in (*integers.inputs, *integers.outputs)}
    borders.update({state.input: state.type for state in integers.graph.states})
    onnx.helper.set_model_props(model, {name: _said_of(found) for name, found in borders.items()})


def _said_of(found: TensorType) -> str:
    if found.is_index:
        return f"indices from {found.low} to {found.high}"
    return f"scale={found.scale!r} zero_point={found.zero_point}"


def _baseline(captured: CapturedModel, samples: Samples, said: Progress) -> dict[str, NDArray[Any]]:
    """The float model's outputs on the evaluation samples."""
    outputs = run_float(captured.model, captured.arrange(samples.named(captured)), captured, progress=said)
    return {
        "data_sha256": np.array(data_sha256(samples.inputs)),
        **{f"logits/{name}": outputs[name].astype(np.float32) for name in captured.outputs if name in outputs},
    }


def _assemble(
    captured: CapturedModel,
    integers: IntegerModel,
    finished: onnx.ModelProto,
    recipe: Recipe,
    feeds: Mapping[str, NDArray[Any]],
    baseline: Mapping[str, NDArray[Any]],
    *,
    float_io: bool,
    seed: int,
) -> tuple[dict[str, bytes], Manifest]:
    from qdeploy.export.bundle import file_specs, npz_bytes
    from qdeploy.export.onnx import attach_bodies

    example = importlib.resources.files("qdeploy.export").joinpath("example.py.txt").read_bytes()
    layered = attach_bodies(integers.model) if not float_io else finished
    vectors = golden_vectors(layered, captured, integers, feeds, float_io=float_io, seed=seed)
    kept = {
        name: array
        for name, array in baseline.items()
        if name == "data_sha256" or name.removeprefix("logits/") in integers.outputs
    }
    contents = {
        "model.onnx": finished.SerializeToString(),
        "vectors.npz": npz_bytes(vectors),
        "baseline.npz": npz_bytes(kept),
        "example.py": example,
    }
    return contents, make_manifest(captured, integers, recipe, file_specs(contents), float_io=float_io)
