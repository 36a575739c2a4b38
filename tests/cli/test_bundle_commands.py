"""`qdeploy verify`, `validate`, `inspect` and `bench` on small bundles."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator

from .conftest import dense_samples

READERS = ("verify", "validate", "inspect", "bench", "run")


def arguments_of(command: str, bundle, data) -> list[object]:
    more = {"validate": ["--data", data], "run": ["--input", data], "bench": ["--calls", 3], "verify": ["--samples", 4]}
    return [command, bundle, *more.get(command, [])]


def test_verify_counts_what_it_compared(qdeploy_command, recurrent):
    done = qdeploy_command("verify", recurrent.bundle, "--samples", 8, "--json")
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert report["passed"]
    assert report["mismatched_integers"] == 0
    assert report["compared_integers"] > 1000
    assert {voice["name"].partition(",")[0] for voice in report["voices"]} >= {"bodies", "onnxruntime"}


def test_verify_for_people(qdeploy_command, dense):
    done = qdeploy_command("verify", dense.bundle, "--samples", 4)
    assert done.code == 0
    assert "passed" in done.out


def test_verify_with_data_and_one_runtime(qdeploy_command, dense):
    done = qdeploy_command(
        "verify", dense.bundle, "--samples", 4, "--data", dense.data, "--runtime", "bodies", "--json"
    )
    assert done.code == 0, done.err
    assert json.loads(done.out)["cases"]["data"] == 1


@pytest.mark.parametrize("command", ["verify", "bench", "validate", "run"])
def test_unknown_runtime_is_usage(qdeploy_command, dense, command):
    done = qdeploy_command(*arguments_of(command, dense.bundle, dense.data), "--runtime", "abacus")
    assert done.code == 2, done
    assert "abacus" in done.err
    assert "onnxruntime" in done.err


@pytest.mark.parametrize("command", READERS)
def test_bundle_that_is_not_there(qdeploy_command, tmp_path, dense, command):
    done = qdeploy_command(*arguments_of(command, tmp_path / "absent", dense.data))
    assert done.code == 2, done
    assert "absent" in done.err


@pytest.mark.parametrize("command", READERS)
@pytest.mark.parametrize("file", ["model.onnx", "manifest.json", "vectors.npz"])
def test_altered_or_truncated_bundle_is_not_opened(qdeploy_command, tmp_path, dense, command, file):
    bundle = tmp_path / "out"
    for damage in (lambda content: content[:-20], lambda content: content + b"x", lambda content: b""):
        shutil.copytree(dense.bundle, bundle)
        (bundle / file).write_bytes(damage((bundle / file).read_bytes()))
        done = qdeploy_command(*arguments_of(command, bundle, dense.data))
        assert done.code == 2, done
        assert file in done.err
        shutil.rmtree(bundle)


def validation_data(folder, bundle, qdeploy_command):
    """Samples with the classes that the integer model itself gives."""
    np.savez(folder / "x.npz", x=dense_samples())
    assert qdeploy_command("run", bundle, "--input", folder / "x.npz", "--output", folder / "y.npz", "-q").code == 0
    classes = np.load(folder / "y.npz")["logits"].argmax(axis=1)
    np.savez(folder / "labelled.npz", x=dense_samples(), y=classes)
    return folder / "labelled.npz"


def test_validate(qdeploy_command, tmp_path, dense):
    data = validation_data(tmp_path, dense.bundle, qdeploy_command)
    done = qdeploy_command("validate", dense.bundle, "--data", data, "--float", dense.model, "--json")
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert report["samples"] == 64
    assert report["integer_value"] == 1.0
    assert 0 <= report["disagreements"] <= 6
    assert report["passed"]


@pytest.mark.parametrize("runtime", ["numpy", "bodies", "onnxruntime"])
def test_validate_gives_the_same_in_every_runtime(qdeploy_command, tmp_path, dense, runtime):
    data = validation_data(tmp_path, dense.bundle, qdeploy_command)
    done = qdeploy_command(
        "validate", dense.bundle, "--data", data, "--float", dense.model, "--runtime", runtime, "--json"
    )
    assert json.loads(done.out)["integer_value"] == 1.0


def test_validate_fails_when_too_much_is_lost(qdeploy_command, tmp_path, dense):
    """Labels are the float model's classes, and one-bit weights are too few for them."""
    float_model = ReferenceEvaluator(str(dense.model))
    labels = float_model.run(None, {"x": dense_samples()})[0].argmax(axis=1)
    np.savez(tmp_path / "labelled.npz", x=dense_samples(), y=labels)
    coarse = tmp_path / "coarse"
    options = ("--calibration", dense.data, "--weight-bits", 1, "--activation-bits", 2, "-q")
    assert qdeploy_command("export", dense.model, "-o", coarse, *options).code == 0
    arguments = ("validate", coarse, "--data", tmp_path / "labelled.npz", "--float", dense.model, "--json")
    done = qdeploy_command(*arguments, "--max-drop", "1")
    report = json.loads(done.out)
    assert report["float_value"] == 1.0
    assert report["integer_value"] < 0.99
    assert (done.code, report["passed"]) == (1, False)
    assert qdeploy_command(*arguments, "--max-drop", "100").code == 0


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"y": np.zeros(64, int)}, "x"),
        ({"x": dense_samples(), "y": np.zeros(3, int)}, "64"),
        ({"x": dense_samples()[:, :5], "y": np.zeros(64, int)}, "x"),
        ({"x": dense_samples() * np.nan, "y": np.zeros(64, int)}, "nan"),
        ({"x": dense_samples()[:0], "y": np.zeros(0, int)}, "x"),
    ],
    ids=["no samples", "lengths", "width", "NaN", "empty"],
)
def test_validate_refuses_data_that_cannot_be(qdeploy_command, tmp_path, dense, arrays, words):
    np.savez(tmp_path / "data.npz", **arrays)
    done = qdeploy_command("validate", dense.bundle, "--data", tmp_path / "data.npz", "--float", dense.model)
    assert done.code == 2, done
    assert words in done.err


def test_validate_without_labels_counts_disagreements_alone(qdeploy_command, dense):
    """Of the calibration data the bundle keeps the float model's outputs."""
    done = qdeploy_command("validate", dense.bundle, "--data", dense.data, "--json")
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert (report["integer_value"], report["float_value"], report["float_source"]) == (None, None, "baseline")
    assert 0 <= report["disagreements"] <= 6


def test_validate_runs_the_float_model_in_the_bundle_s_layout(qdeploy_command, recurrent):
    """Time is axis 0 there: a float model run in another layout would disagree everywhere."""
    reports = [
        json.loads(qdeploy_command("validate", recurrent.bundle, "--data", recurrent.data, *options, "--json").out)
        for options in ([], ["--float", recurrent.model])
    ]
    assert reports[0]["disagreements"] == reports[1]["disagreements"]


def test_validate_without_labels_or_float_model(qdeploy_command, tmp_path, dense):
    np.savez(tmp_path / "other.npz", x=dense_samples()[::-1])
    done = qdeploy_command("validate", dense.bundle, "--data", tmp_path / "other.npz")
    assert done.code == 2, done
    assert "labels" in done.err


@pytest.mark.parametrize(("metric", "bounds"), [("mse", (0, 1)), ("mae", (0, 1)), ("sqnr", (20, 80))])
def test_validate_by_distance(qdeploy_command, dense, metric, bounds):
    done = qdeploy_command("validate", dense.bundle, "--data", dense.data, "--metric", metric, "--json")
    assert done.code == 0, done.err
    assert bounds[0] < json.loads(done.out)["integer_value"] < bounds[1]


def test_example_needs_numpy_and_onnxruntime_only(recurrent):
    """Run with qdeploy and onnx kept out of reach."""
    code = (
        "import runpy, sys; sys.modules.update(qdeploy=None, onnx=None, torch=None); "
        f"runpy.run_path({str(recurrent.bundle / 'example.py')!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_inspect(qdeploy_command, recurrent):
    done = qdeploy_command("inspect", recurrent.bundle)
    assert done.code == 0
    assert "RNN" in done.out
    assert "input x: uint8[time, batch, 1]" in done.out
    assert "output logits: int16[time, batch, 3]" in done.out
    report = json.loads(qdeploy_command("inspect", recurrent.bundle, "--json").out)
    assert isinstance(report, dict)
    assert "RNN" in json.dumps(report)


def test_inspect_for_a_board(qdeploy_command, recurrent):
    done = qdeploy_command("inspect", recurrent.bundle, "--target", "cortex-m4", "--json")
    assert done.code == 0, done.err
    memory = json.loads(done.out)["memory"]
    assert memory["target"] == "cortex-m4"
    assert (
        memory["flash"]
        >= memory["constants"]
        == pytest.approx(sum(layer["constants"] for layer in memory["layers"]), abs=256)
    )
    assert memory["ram"] >= memory["state_size"] > 0
    small = qdeploy_command("inspect", recurrent.bundle, "--target", "cortex-m4", "--flash", "1K", "--ram", "100")
    assert small.code == 0
    assert "% of 1,024" in small.out
    assert "% of 100: TOO MUCH" in small.out
    assert json.loads(qdeploy_command("inspect", recurrent.bundle, "--json").out)["memory"] is None


@pytest.mark.parametrize(
    "options", [("--target", "abacus"), ("--flash", "64K"), ("--target", "cortex-m4", "--ram", "64X"), ("--ram", "0")]
)
def test_inspect_for_no_board(qdeploy_command, recurrent, options):
    assert qdeploy_command("inspect", recurrent.bundle, *options).code == 2


def test_bench(qdeploy_command, recurrent):
    done = qdeploy_command("bench", recurrent.bundle, "--steps", 5, "--calls", 3, "--float", recurrent.model, "--json")
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert (report["unit"], report["steps"], report["calls"]) == ("step", 5, 3)
    rows = {row["name"]: row for row in report["rows"]}
    assert set(rows) == {"float", "numpy", "bodies", "onnxruntime"}
    assert rows["float"]["ratio"] == 1.0
    assert all(0 < row["best"] <= row["median"] <= row["p95"] <= row["p99"] for row in rows.values())


def test_bench_of_a_model_without_time(qdeploy_command, dense):
    done = qdeploy_command("bench", dense.bundle, "--calls", 3, "--runtime", "onnxruntime")
    assert done.code == 0, done.err
    assert "µs a sample" in done.out
    done = qdeploy_command("bench", dense.bundle, "--steps", 5)
    assert done.code == 2
    assert "no time axis" in done.err
