"""The Python call ``export_model``: every way in and every form out."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import qdeploy
from qdeploy.runtime.errors import InvalidInputError, UnsupportedModelError

from .quantize.networks import float_model
from .quantize.test_networks import MLP, QUATERNION, RNN, mlp_weights, pixels, quaternion_weights, rnn_weights


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Float models of the three kinds."""
    folder = tmp_path_factory.mktemp("float")
    onnx.save(float_model(MLP, mlp_weights()), folder / "mlp.onnx")
    onnx.save(float_model(QUATERNION % "blocked", quaternion_weights()), folder / "quaternion.onnx")
    onnx.save(float_model(RNN % ("relu", ""), rnn_weights(bits=4)), folder / "rnn.onnx")
    return folder


SAMPLES = {"mlp": (20, 16), "quaternion": (20, 16), "rnn": (20, 12, 1)}


def exported(files: Path, kind: str, target: Path, **options: Any) -> qdeploy.Bundle:
    time_axis = 0 if kind == "rnn" else None
    calibration = options.pop("calibration", {"x": pixels(SAMPLES[kind])})
    return qdeploy.export_model(files / f"{kind}.onnx", target, calibration=calibration, time_axis=time_axis, **options)


def outputs(bundle: qdeploy.Bundle, kind: str, **options: Any) -> np.ndarray:
    shape = (12, 5, 1) if kind == "rnn" else (5, 16)
    return next(iter(bundle.run(pixels(shape, seed=9), **options).values()))


FORMS: dict[str, dict[str, Any]] = {
    "inlined": {"inline": True},
    "expanded": {"storage": "expanded"},
    "archive": {"zip": True},
    "both": {"inline": True, "storage": "expanded"},
}


@pytest.mark.parametrize("kind", SAMPLES)
@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_bits(files: Path, tmp_path: Path, kind: str, form: str) -> None:
    plain = exported(files, kind, tmp_path / "plain")
    other = exported(files, kind, tmp_path / ("other.zip" if form == "archive" else "other"), **FORMS[form])
    for runtime in ("onnxruntime", "bodies") if "inline" in FORMS[form] else ("onnxruntime", "bodies", "numpy"):
        assert (outputs(plain, kind, raw=True) == outputs(other, kind, raw=True, runtime=runtime)).all()
    assert other.verify(samples=8).passed


@pytest.mark.parametrize("kind", SAMPLES)
def test_float_borders_compute_the_same_values(files: Path, tmp_path: Path, kind: str) -> None:
    plain, borders = exported(files, kind, tmp_path / "plain"), exported(files, kind, tmp_path / "float", float_io=True)
    assert (outputs(plain, kind) == outputs(borders, kind)).all()
    graph = borders.files.model.graph
    assert {value.type.tensor_type.elem_type for value in (*graph.input, *graph.output)} == {onnx.TensorProto.FLOAT}
    assert borders.verify(samples=8).passed


def test_a_dry_run_writes_nothing_and_still_runs(files: Path, tmp_path: Path) -> None:
    bundle = exported(files, "mlp", tmp_path / "out", dry_run=True)
    assert not list(tmp_path.iterdir())
    assert bundle.verify(samples=8).passed
    assert bundle.inspect().macs == 12 * 16 + 5 * 12


def test_batch_and_time_stay_dynamic(files: Path, tmp_path: Path) -> None:
    bundle = exported(files, "rnn", tmp_path / "out")
    assert bundle.manifest.inputs[0].shape == ("time", "batch", 1)
    for steps, batch in ((1, 1), (3, 7), (50, 2)):
        assert outputs_of(bundle, (steps, batch, 1)).shape == (batch, 5)


def outputs_of(bundle: qdeploy.Bundle, shape: tuple[int, ...]) -> np.ndarray:
    return bundle.run(pixels(shape))["y"]


def test_a_stream_of_single_steps_ends_where_the_whole_sequence_does(files: Path, tmp_path: Path) -> None:
    bundle = exported(files, "rnn", tmp_path / "out")
    x = pixels((12, 3, 1))
    whole = bundle.run(x, raw=True)["y"]
    session = bundle.session(raw=True)
    for step in range(12):
        last = session.run(x[step : step + 1])["y"]
    assert (last == whole).all()


def test_the_example_needs_numpy_and_onnxruntime_only(files: Path, tmp_path: Path) -> None:
    bundle = exported(files, "rnn", tmp_path / "out")
    np.save(tmp_path / "x.npy", pixels((12, 3, 1)))
    # A finder that refuses everything else of ours stands in for a machine without it.
    guard = (
        "import runpy, sys\n"
        "class Guard:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in ('qdeploy', 'torch', 'onnx', 'click', 'rich'): raise ImportError(name)\n"
        "sys.meta_path.insert(0, Guard())\n"
        f"sys.argv = ['example.py', {str(tmp_path / 'x.npy')!r}]\n"
        f"runpy.run_path({str(bundle.path / 'example.py')!r}, run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, "-c", guard], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "streamed step by step: the same state bits: True" in done.stdout


def test_the_baseline_belongs_to_its_data(files: Path, tmp_path: Path) -> None:
    x, other = pixels((20, 16)), pixels((30, 16), seed=8)
    labels = np.arange(20) % 5
    bundle = exported(files, "mlp", tmp_path / "out", evaluation={"x": x, "y": labels})
    assert bundle.validate({"x": x, "y": labels}).float_source == "baseline"
    assert bundle.validate({"x": other, "y": np.arange(30) % 5}).float_source is None
    named = bundle.validate({"x": other, "y": np.arange(30) % 5}, float_model=files / "mlp.onnx")
    assert named.float_source is not None
    assert named.disagreements is not None


def test_a_limit_takes_the_baseline_only_as_far_as_it_goes(files: Path, tmp_path: Path) -> None:
    data = {"x": pixels((40, 16)), "y": np.arange(40) % 5}
    bundle = exported(files, "mlp", tmp_path / "out", evaluation={name: array[:20] for name, array in data.items()})
    assert bundle.validate(data, limit=10).float_source == "baseline"
    assert bundle.validate(data, limit=20).float_source == "baseline"
    beyond = bundle.validate(data, limit=30)
    assert (beyond.samples, beyond.float_source) == (30, None)


@pytest.mark.parametrize("metric", ["mse", "mae", "sqnr"])
def test_distances_to_the_float_model(files: Path, tmp_path: Path, metric: str) -> None:
    report = exported(files, "mlp", tmp_path / "out").validate({"x": pixels((20, 16))}, metric=metric)
    assert report.integer_value is not None
    assert report.integer_value > 25 if metric == "sqnr" else 0 < report.integer_value < 0.02


def test_max_drop_fails_a_worse_model(files: Path, tmp_path: Path) -> None:
    x = pixels((200, 16))
    coarse = exported(files, "mlp", tmp_path / "out", weight_bits=1, activation_bits=2, evaluation={"x": x})
    answers = qdeploy.load(exported(files, "mlp", tmp_path / "good", evaluation={"x": x}).path).files.baseline()
    assert answers is not None
    data = {"x": x, "y": answers.logits["y"].argmax(axis=1)}
    assert not coarse.validate(data, max_drop=1.0).passed
    assert coarse.validate(data, max_drop=100.0).passed


def test_the_same_call_writes_the_same_bytes(files: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        exported(files, "rnn", tmp_path / name)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


def test_archives_hold_what_folders_hold(files: Path, tmp_path: Path) -> None:
    exported(files, "mlp", tmp_path / "folder")
    exported(files, "mlp", tmp_path / "one.zip", zip=True)
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {
            path.name: path.read_bytes() for path in (tmp_path / "folder").iterdir()
        }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"storage": "tiny"}, "compact"),
        ({"formats": ("pb",)}, "expected some of onnx, tflite, c"),
        ({"recipe": "nosuch"}, "no recipe is named"),
        ({"weight_bits": 9}, "weight_bits=9"),
        ({"calibration": None}, "no calibration data"),
        ({"calibration": {"x": np.zeros((0, 16), np.float32)}}, "at least one sample"),
        ({"calibration": {"x": np.full((4, 16), np.nan, np.float32)}}, "holds nan"),
        ({"calibration": {"x": np.array([["a"]])}}, "expected numbers"),
        ({"calibration": {"x": np.zeros((4, 15), np.float32)}}, "15"),
        ({"calibration": {"z": np.zeros((4, 16), np.float32), "q": np.zeros((4, 16), np.float32)}}, "x"),
    ],
)
def test_unusable_arguments_say_what_is_expected(
    files: Path, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        exported(files, "mlp", tmp_path / "out", **options)
    assert not list(tmp_path.iterdir())


def test_the_manifest_describes_the_file(files: Path, tmp_path: Path) -> None:
    bundle = exported(files, "rnn", tmp_path / "out", state_bits=10)
    manifest = json.loads((bundle.path / "manifest.json").read_text())
    assert manifest["states"][0]["bits"] == 10
    assert manifest["recipe"]["state_bits"] == 10
    props = {entry.key: entry.value for entry in bundle.files.model.metadata_props}
    assert props["x"] == f"scale={manifest['inputs'][0]['scale']!r} zero_point=0"
    packed = [entry["bits"] for name, entry in manifest["tensors"].items() if name.endswith(".packed")]
    # U and V have 4 bits; W, a signed permutation, needs two.
    assert sorted(packed) == [2, 4, 4]


def test_a_files_graph_shows_where_its_time_axis_is(files: Path, tmp_path: Path) -> None:
    bundle = qdeploy.export_model(files / "rnn.onnx", tmp_path / "out", calibration={"x": pixels((20, 12, 1))})
    assert (bundle.manifest.inputs[0].time_axis, bundle.manifest.inputs[0].batch_axis) == (0, 1)
    swapped = "swapped = Transpose <perm = [1, 0, 2]> (x)\n  states, last"
    text = (RNN % ("relu", "")).replace("[time, batch, 1]", "[batch, time, 1]").replace("states, last", swapped, 1)
    onnx.save(float_model(text.replace("(x, u", "(swapped, u"), rnn_weights(bits=4)), tmp_path / "batch_first.onnx")
    other = qdeploy.export_model(
        tmp_path / "batch_first.onnx", tmp_path / "other", calibration={"x": pixels((20, 12, 1))}
    )
    assert (other.manifest.inputs[0].time_axis, other.manifest.inputs[0].batch_axis) == (1, 0)
    x = pixels((12, 5, 1), seed=9)
    assert (bundle.run(x, raw=True)["y"] == other.run(x.transpose(1, 0, 2), raw=True)["y"]).all()


@pytest.mark.cc
def test_c_beside_onnx_changes_no_bit(files: Path, tmp_path: Path) -> None:
    plain = exported(files, "rnn", tmp_path / "plain")
    both = exported(files, "rnn", tmp_path / "both", formats=("onnx", "c"), targets=("host", "generic"))
    assert both.files.contents["model.onnx"] == plain.files.contents["model.onnx"]
    added = {"model.c", "model.h", "example.c", "golden.h", "selftest.c", "CMakeLists.txt", "lib/host/libmodel.so"}
    assert both.manifest.files.keys() - plain.manifest.files.keys() == added
    assert (outputs(both, "rnn", runtime="c", raw=True) == outputs(plain, "rnn", raw=True)).all()
    assert both.verify(runtimes=["c"], samples=2).passed
    again = exported(files, "rnn", tmp_path / "again.zip", formats=("onnx", "c"), targets=("host", "generic"), zip=True)
    assert again.manifest.files == both.manifest.files


@pytest.mark.needs("ziglang")
def test_a_board_with_too_little_memory_is_refused_with_figures(files: Path, tmp_path: Path) -> None:
    c = {"formats": ("onnx", "c"), "targets": ("cortex-m0plus",)}
    with pytest.raises(
        UnsupportedModelError, match=r"flash: needs [\d,]+ bytes .* expected at most 100; RAM: .* at most 50"
    ):
        exported(files, "mlp", tmp_path / "out", **c, flash=100, ram=50)
    assert not (tmp_path / "out").exists()
    bundle = exported(files, "mlp", tmp_path / "out", **c, flash=1 << 16)
    memory = bundle.inspect(target="cortex-m0plus").memory
    assert memory is not None
    with pytest.raises(UnsupportedModelError, match=f"flash: needs {memory.flash:,} bytes"):
        exported(files, "mlp", tmp_path / "other", **c, flash=memory.flash - 1)
    exported(files, "mlp", tmp_path / "other", **c, flash=memory.flash, ram=memory.ram)


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"formats": ("onnx", "pb")}, "expected some of onnx, tflite, c"),
        ({"formats": ()}, "expected some of onnx, tflite, c"),
        ({"targets": ("pi4",)}, "--target belongs to the format c"),
        ({"c_library": "arduino"}, "--c-library belongs to the format c"),
        ({"formats": ("onnx", "c"), "c_library": "mbed"}, "expected one of arduino, platformio"),
        ({"formats": ("onnx", "c"), "targets": ("pi9",)}, "found the target 'pi9'"),
        ({"flash": 1 << 16}, "--flash belongs to the format c"),
        ({"max_steps": 9}, "--max-steps belongs to the format c"),
        ({"formats": ("onnx", "c"), "ram": 1 << 16}, "belong to a board"),
        ({"formats": ("onnx", "c"), "inline": True}, "leaves no layers"),
        ({"formats": ("onnx", "c"), "float_io": True}, "integers at its borders"),
    ],
)
def test_what_c_does_not_go_with_is_refused_at_once(
    files: Path, tmp_path: Path, options: dict[str, Any], found: str
) -> None:
    with pytest.raises(InvalidInputError, match=found):
        exported(files, "mlp", tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()
