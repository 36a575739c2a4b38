"""Embeddings as integers: on their own grid or row by row, in every runtime, call by call, from the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import qdeploy
from qdeploy.capture import FloatSession
from qdeploy.cli.group import run as command_line
from qdeploy.quantize import Recipe
from qdeploy.runtime.bundle import read_bundle
from qdeploy.runtime.errors import InvalidInputError
from qdeploy.runtime.reference import ReferenceModel

from .networks import float_model

ROWS, SIZE, UNITS, STEPS = 9, 6, 8, 12
TOKENS = np.random.default_rng(3).integers(0, ROWS, (16, STEPS))
NETWORK = """
g (int64[batch, time] tokens) => (float[batch, time, 3] y)
{
  rows = qdeploy.float.Embedding (tokens, t)
  turned = Transpose <perm = [1, 0, 2]> (rows)
  states, last = qdeploy.float.GRU <hidden_size = 8> (turned, u, w, b, r)
  back = Transpose <perm = [1, 0, 2]> (states)
  y = qdeploy.float.Linear (back, v, c)
}"""
ALONE = "g (int64[batch] tokens) => (float[batch, 6] y) { y = qdeploy.float.Embedding (tokens, t) }"

NAME = "embedding_0"
"""Of the node, and of what it gives."""


def a_table(grid: int | None = None) -> np.ndarray:
    """The first row is a padding, of zeros; rows of different size, so that a scale for each is worth something."""
    generator = np.random.default_rng(2)
    table = generator.standard_normal((ROWS, SIZE)) * np.linspace(0.2, 1.0, ROWS)[:, None]
    if grid is not None:
        half = 2 ** (grid - 1)
        table = generator.integers(-half, half, (ROWS, SIZE)) * (0.7 / half)
        table[1, 0] = -0.7
    table[0] = 0
    return table.astype(np.float32)


def network(table: np.ndarray) -> onnx.ModelProto:
    """A GRU behind a table."""
    generator = np.random.default_rng(4)
    shapes = {"u": (24, SIZE), "w": (24, UNITS), "b": (24,), "r": (UNITS,), "v": (3, UNITS), "c": (3,)}
    return float_model(
        NETWORK, {name: generator.standard_normal(shape) / 2 for name, shape in shapes.items()} | {"t": table}
    )


def exported(
    model: onnx.ModelProto,
    folder: Path,
    recipe: dict[str, Any] | None = None,
    tokens: np.ndarray = TOKENS,
    **options: Any,
) -> qdeploy.Bundle:
    onnx.save(model, folder / "float.onnx")
    chosen = Recipe("r", "d", **(recipe or {}))
    return qdeploy.export_model(
        folder / "float.onnx", folder / "bundle", calibration={"tokens": tokens}, recipe=chosen, **options
    )


def looked_up(bundle: qdeploy.Bundle) -> np.ndarray:
    """Every row of the table, as the integers mean it."""
    reference = ReferenceModel(read_bundle(bundle.path).model)
    states = {spec.input: np.zeros((1, UNITS), spec.dtype) for spec in bundle.manifest.states}
    found = reference.run({"tokens": np.arange(ROWS)[None], **states}, keep=True).tensors[NAME]
    spec = bundle.manifest.tensors[NAME]
    assert isinstance(spec.scale, float)
    return (found[0].astype(np.int64) - spec.zero_point) * spec.scale


def record(bundle: qdeploy.Bundle) -> dict[str, Any]:
    return next(dict(layer.extra) for layer in bundle.manifest.layers if layer.operator == "Embedding")


@pytest.mark.parametrize("grid", [2, 4, 8])
def test_a_table_on_a_grid_comes_back_exactly(grid: int, tmp_path: Path) -> None:
    table = a_table(grid)
    bundle = exported(network(table), tmp_path)
    assert record(bundle)["exact_grid"]
    assert record(bundle)["weight_bits"] == grid
    assert np.array_equal(looked_up(bundle).astype(np.float32), table)
    assert bundle.verify(samples=2).passed


@pytest.mark.parametrize(
    ("recipe", "levels"),
    [
        ({}, 127),
        ({"weight_bits": 4}, 7),
        ({"weight_bits": 4, "weight_granularity": "per_tensor"}, 7),
        ({"weight_bits": 1}, 1),
        ({"weight_bits": 8, "activation_bits": 5}, 15),
        ({"weight_bits": 3, "multiplier_bits": 31}, 3),
        ({"weight_bits": 4, "multiplier_bits": 1}, 3.5),
    ],
)
def test_rows_are_as_near_as_their_bits_allow(recipe: dict[str, Any], levels: float, tmp_path: Path) -> None:
    real = a_table()
    bundle = exported(network(real), tmp_path, recipe)
    found = looked_up(bundle)
    by_row = recipe.get("weight_bits", 8) < recipe.get("activation_bits", 8) and "weight_granularity" not in recipe
    largest = np.abs(real).max(axis=1, keepdims=True) if by_row else np.abs(real).max()
    # Half a step of the table, and where its rows have scales of their own half a step of the activations, and their bias.
    second = bundle.manifest.tensors[NAME].scale if by_row else 0.0
    assert (np.abs(found - real) <= 0.5 * largest / levels + 0.51 * second + 1e-6).all()
    assert not found[0].any()
    assert bundle.verify(samples=2).passed


def test_rows_of_their_own_scale_are_nearer(tmp_path: Path) -> None:
    real = a_table()
    errors = [
        np.abs(
            looked_up(exported(network(real), tmp_path, {"weight_bits": 4, "weight_granularity": kind}, force=True))
            - real
        ).mean()
        for kind in ("per_channel", "per_tensor")
    ]
    assert errors[0] < 0.8 * errors[1]


def test_a_table_that_leaves_the_network_keeps_its_steps(tmp_path: Path) -> None:
    real = a_table()
    bundle = exported(float_model(ALONE, {"t": real}), tmp_path, tokens=TOKENS[:, 0])
    (found,) = bundle.run(np.arange(ROWS)).values()
    assert np.abs(found - real).max() <= 0.5001 * np.abs(real).max() / 127
    assert bundle.manifest.outputs[0].dtype == "int16"
    assert bundle.verify(samples=2).passed


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> qdeploy.Bundle:
    return exported(network(a_table()), tmp_path_factory.mktemp("embedding"))


def test_integers_follow_the_float_network(bundle: qdeploy.Bundle) -> None:
    expected = FloatSession(network(a_table())).run({"tokens": TOKENS})["y"]
    for given in (TOKENS, TOKENS.astype(np.int32), TOKENS.astype(np.uint8)):
        (found,) = bundle.run(given).values()
        assert np.abs(found - expected).max() < 0.02 * np.ptp(expected)


def test_the_manifest_says_what_goes_in(bundle: qdeploy.Bundle) -> None:
    (spec,) = bundle.manifest.inputs
    assert (spec.dtype, spec.scale, spec.vocabulary_size, spec.shape) == ("int64", None, ROWS, ("batch", "time"))
    assert f"input tokens: int64[batch, time], indices 0 to {ROWS - 1}" in bundle.inspect().lines()


def test_a_stream_goes_on_where_it_stopped(bundle: qdeploy.Bundle, tmp_path: Path) -> None:
    (whole,) = bundle.run(TOKENS, raw=True).values()
    session = bundle.session(raw=True)
    for step in range(5):
        (found,) = session.step(TOKENS[:, step]).values()
        assert np.array_equal(found, whole[:, step])
    session.save_state(tmp_path / "state.npz")
    later = bundle.session(raw=True, runtime="numpy")
    later.load_state(tmp_path / "state.npz")
    (rest,) = later.run(TOKENS[:, 5:]).values()
    assert np.array_equal(rest, whole[:, 5:])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (TOKENS + 1, rf"input 'tokens': found index {ROWS} at \[\d+, \d+\], expected 0 … {ROWS - 1}"),
        (-TOKENS, "found index -"),
        (TOKENS.astype(np.float32), "found type float32, expected integers"),
    ],
)
def test_indices_outside_are_refused_before_anything_runs(
    bundle: qdeploy.Bundle, given: np.ndarray, words: str
) -> None:
    for runtime in ("numpy", "onnxruntime", "bodies"):
        session = bundle.session(runtime=runtime)
        with pytest.raises(InvalidInputError, match=words):
            session.run(given)
    with pytest.raises(InvalidInputError, match=words):
        bundle.verify(data={"tokens": given})


def test_float_borders_leave_indices_alone(tmp_path: Path) -> None:
    bundle = exported(network(a_table()), tmp_path, float_io=True)
    assert [spec.dtype for spec in (*bundle.manifest.inputs, *bundle.manifest.outputs)] == ["int64", "float32"]
    assert bundle.verify(samples=2).passed


def test_the_commands_take_indices(bundle: qdeploy.Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "x.npy", TOKENS)
    np.savez(tmp_path / "labelled.npz", x=TOKENS, y=TOKENS % 3)
    compared = ["--float", str(bundle.path.parent / "float.onnx")]
    labelled = ["--data", str(tmp_path / "labelled.npz")]
    for arguments in (
        ["run", "--input", str(tmp_path / "x.npy")],
        ["validate", *labelled],
        ["validate", *labelled, *compared],
        ["debug", *labelled, *compared],
        ["bench", *compared, "--calls", "3"],
        ["verify", *labelled],
    ):
        code = command_line([arguments[0], str(bundle.path), *arguments[1:]])
        assert code == 0, (arguments, capsys.readouterr())
    capsys.readouterr()
    assert command_line(["validate", str(bundle.path), *labelled, *compared, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["float_value"] is not None


def test_the_example_beside_the_model_takes_indices(bundle: qdeploy.Bundle, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", TOKENS)
    np.save(tmp_path / "outside.npy", TOKENS + 1)
    for arguments, code, words in (
        ([], 0, "the same state bits: True"),
        (["x.npy"], 0, "the same state bits: True"),
        (["outside.npy"], 1, f"expected integers 0 to {ROWS - 1}"),
    ):
        done = subprocess.run(
            [sys.executable, bundle.path / "example.py", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stderr
        assert words in done.stdout + done.stderr
