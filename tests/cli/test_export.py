"""`qdeploy export`: what goes in, what comes out, and what is refused with nothing written."""

from __future__ import annotations

import errno
import json
import os
import pickle
import shutil
import sys

import numpy as np
import onnx
import pytest

from .conftest import dense_model, dense_samples


@pytest.fixture
def folder(tmp_path):
    """A folder with a float model and calibration data."""
    onnx.save(dense_model(), tmp_path / "net.onnx")
    np.savez(tmp_path / "data.npz", x=dense_samples())
    return tmp_path


def left_in(folder) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"net.onnx", "data.npz"}


def test_bundle_is_whole(qdeploy_command, folder):
    done = qdeploy_command("export", folder / "net.onnx", "--calibration", folder / "data.npz", "-o", folder / "out")
    assert done.code == 0, done.err
    assert f"qdeploy verify {folder / 'out'}" in done.err
    files = {path.name for path in (folder / "out").iterdir()}
    assert {"model.onnx", "manifest.json", "vectors.npz", "example.py"} <= files
    assert left_in(folder) == {"out"}


def test_json(qdeploy_command, folder):
    done = qdeploy_command(
        "export", folder / "net.onnx", "--calibration", folder / "data.npz", "-o", folder / "out", "--json"
    )
    assert json.loads(done.out)["path"] == str(folder / "out")


def test_npy_is_the_only_input(qdeploy_command, folder):
    np.save(folder / "x.npy", dense_samples())
    done = qdeploy_command("export", folder / "net.onnx", "--calibration", folder / "x.npy", "-o", folder / "out", "-q")
    assert (done.code, done.out, done.err) == (0, "", "")


def test_dry_run_writes_nothing(qdeploy_command, folder):
    done = qdeploy_command("export", folder / "net.onnx", "--calibration", folder / "data.npz", "--dry-run")
    assert done.code == 0, done.err
    assert "nothing written" in done.err
    assert left_in(folder) == set()


def test_what_is_there_is_not_replaced_unless_told(qdeploy_command, folder):
    arguments = ("export", folder / "net.onnx", "--calibration", folder / "data.npz", "-o", folder / "out", "-q")
    (folder / "out").mkdir()
    (folder / "out" / "mine.txt").write_text("keep me")
    done = qdeploy_command(*arguments)
    assert done.code == 2
    assert "--force" in done.err
    assert (folder / "out" / "mine.txt").read_text() == "keep me"
    shutil.rmtree(folder / "out")
    assert qdeploy_command(*arguments).code == 0
    assert qdeploy_command(*arguments).code == 2
    assert qdeploy_command(*arguments, "--force").code == 0


@pytest.mark.parametrize(
    "options",
    [
        ["--weight-bits", 4],
        ["--activation-bits", 6],
        ["--multiplier-bits", 31],
        ["--multiplier-bits", 1],
        ["--recipe", "precise"],
        ["--inline"],
        ["--storage", "expanded"],
        ["--float-io"],
        ["--limit", 5],
        ["--tflite-kernels", "builtin", "--multiplier-bits", 1, "--inline"],
        ["--tflite-kernels", "builtin", "--activation-bits", 6, "--format", "onnx,tflite"],
    ],
    ids=lambda options: " ".join(map(str, options)),
)
def test_options_give_bundles_that_verify(qdeploy_command, folder, options):
    done = qdeploy_command(
        "export", folder / "net.onnx", "--calibration", folder / "data.npz", "-o", folder / "out", "-q", *options
    )
    assert done.code == 0, done.err
    assert qdeploy_command("verify", folder / "out", "--samples", 4, "-q").code == 0


def test_kernels_of_litert_itself_by_name_only(qdeploy_command, folder):
    given = ("export", folder / "net.onnx", "--calibration", folder / "data.npz", "-o", folder / "out")
    done = qdeploy_command(*given, "--tflite-kernels", "builtin")
    assert done.code == 0, done.err
    assert "1 of its layers rounds as LiteRT's own kernels do (half_even)" in done.out
    assert "stays portable: it takes uint8 and gives int16" in done.out
    done = qdeploy_command(*given, "--force", "--tflite-kernels", "builtin", "--conv-kernels", "qlinear")
    assert done.code == 2
    assert "leave one of the two as it is" in done.err
    done = qdeploy_command(*given, "--force")
    assert "LiteRT's own kernels" not in done.out


def test_zip_is_one_file(qdeploy_command, folder):
    done = qdeploy_command(
        "export", folder / "net.onnx", "--calibration", folder / "data.npz", "-o", folder / "out.zip", "--zip", "-q"
    )
    assert done.code == 0, done.err
    assert (folder / "out.zip").is_file()
    assert qdeploy_command("verify", folder / "out.zip", "--samples", 4, "-q").code == 0


def test_module_of_one_s_own(qdeploy_command, folder, monkeypatch):
    torch = pytest.importorskip("torch")
    (folder / "own_network_for_test.py").write_text(
        "from torch import nn\n\ndef build():\n    return nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3))\n"
    )
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    import own_network_for_test

    torch.save(own_network_for_test.build().state_dict(), folder / "weights.pt")
    done = qdeploy_command(
        "export",
        "--entry",
        "own_network_for_test:build",
        "--weights",
        "weights.pt",
        "--calibration",
        "data.npz",
        "-o",
        "out",
        "-q",
    )
    assert done.code == 0, done.err
    assert qdeploy_command("verify", "out", "--samples", 4, "-q").code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "MODEL or --entry"),
        (["net.onnx", "--entry", "a:b"], "MODEL or --entry"),
        (["net.onnx", "--weights", "w.pt", "-o", "out"], "--weights belongs to --entry"),
        (["net.onnx", "--calibration", "data.npz"], "-o FOLDER"),
        (["net.onnx", "--calibration", "absent.npz", "-o", "out"], "absent.npz"),
        (["net.onnx", "--calibration", "no-such-set", "-o", "out"], "no-such-set"),
        (["absent.onnx", "--calibration", "data.npz", "-o", "out"], "absent.onnx"),
        pytest.param(
            ["no-such-network", "--calibration", "data.npz", "-o", "out"],
            "no-such-network",
            marks=pytest.mark.needs("torch"),
        ),
        (["net.onnx", "--calibration", "data.npz", "-o", "out", "--recipe", "none"], "none"),
        (["net.onnx", "--calibration", "data.npz", "-o", "out", "--format", "elf"], "elf"),
        (["net.onnx", "--calibration", "data.npz", "-o", "out", "--weight-bits", "9"], "9"),
        (["net.onnx", "--calibration", "data.npz", "-o", "out", "--multiplier-bits", "16"], "16"),
        pytest.param(
            ["--entry", "absent_module_for_test:build", "--calibration", "data.npz", "-o", "out"],
            "absent_module_for_test",
            marks=pytest.mark.needs("torch"),
        ),
        pytest.param(
            ["--entry", "json", "--calibration", "data.npz", "-o", "out"],
            "module:function",
            marks=pytest.mark.needs("torch"),
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_usage(qdeploy_command, folder, monkeypatch, arguments, words):
    monkeypatch.chdir(folder)
    done = qdeploy_command("export", *arguments)
    assert done.code == 2, done
    assert words in done.err
    assert left_in(folder) == set()


def with_nan(values: np.ndarray) -> np.ndarray:
    values = values.copy()
    values.flat[5] = np.nan
    return values


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        (with_nan(dense_samples()), "nan"),
        (dense_samples()[:0], "sample"),
        (dense_samples()[:, :5], "x"),
        (dense_samples()[:, 0], "x"),
        (np.array([["a"] * 8]), "x"),
    ],
    ids=["NaN", "empty", "width", "rank", "text"],
)
def test_calibration_that_cannot_be(qdeploy_command, folder, samples, words):
    np.savez(folder / "data.npz", x=samples)
    done = qdeploy_command("export", folder / "net.onnx", "--calibration", folder / "data.npz", "-o", folder / "out")
    assert done.code == 2, done
    assert words in done.err
    assert left_in(folder) == set()


def test_nan_in_weights(qdeploy_command, folder):
    onnx.save(dense_model(first=np.full((8, 8), np.nan)), folder / "net.onnx")
    done = qdeploy_command("export", folder / "net.onnx", "--calibration", folder / "data.npz", "-o", folder / "out")
    assert done.code == 2, done
    assert "first" in done.err
    assert left_in(folder) == set()


def test_unsupported_activation_is_named_with_what_is_supported(qdeploy_command, folder):
    model = dense_model()
    model.graph.node[1].op_type = "Hardmax"
    onnx.save(model, folder / "net.onnx")
    done = qdeploy_command("export", folder / "net.onnx", "--calibration", folder / "data.npz", "-o", folder / "out")
    assert done.code == 3, done
    assert "Hardmax" in done.err
    assert "Relu" in done.err
    assert left_in(folder) == set()


@pytest.mark.parametrize("kept", [0, 10, 300])
def test_truncated_model(qdeploy_command, folder, kept):
    (folder / "net.onnx").write_bytes((folder / "net.onnx").read_bytes()[:kept])
    done = qdeploy_command("export", folder / "net.onnx", "--calibration", folder / "data.npz", "-o", folder / "out")
    assert done.code == 2, done
    assert "net.onnx" in done.err
    assert left_in(folder) == set()


class Payload:
    """A pickle of it would make a folder when it is read."""

    def __init__(self, folder) -> None:
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder / "code-was-run"),)


def test_checkpoint_with_code_runs_nothing(qdeploy_command, folder):
    pytest.importorskip("torch")
    (folder / "net.pt").write_bytes(pickle.dumps(Payload(folder)))
    done = qdeploy_command("export", folder / "net.pt", "--calibration", folder / "data.npz", "-o", folder / "out")
    assert done.code == 2, done
    assert left_in(folder) == {"net.pt"}


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", bytes(4096)])
@pytest.mark.parametrize("name", ["net.pt", "net.safetensors"])
def test_broken_checkpoint(qdeploy_command, folder, name, content):
    pytest.importorskip("torch")
    (folder / name).write_bytes(content)
    done = qdeploy_command("export", folder / name, "--calibration", folder / "data.npz", "-o", folder / "out")
    assert done.code == 2, done
    assert left_in(folder) == {name}


def test_missing_data_set_says_where_to_put_it(qdeploy_command, folder, monkeypatch):
    monkeypatch.setenv("QDEPLOY_DATA", str(folder / "empty"))
    done = qdeploy_command("export", folder / "net.onnx", "--calibration", "mnist", "-o", folder / "out")
    assert done.code == 4, done
    assert str(folder / "empty" / "mnist") in done.err
    assert left_in(folder) == set()


def test_place_that_cannot_be_written(qdeploy_command, folder):
    (folder / "file").write_text("in the way")
    done = qdeploy_command(
        "export", folder / "net.onnx", "--calibration", folder / "data.npz", "-o", folder / "file" / "out"
    )
    assert done.code == 2, done
    assert left_in(folder) == {"file"}


@pytest.mark.parametrize(
    ("error", "code"),
    [(KeyboardInterrupt(), 130), (OSError(errno.ENOSPC, "no space"), 4), (OSError(errno.EIO, "disk error"), 2)],
    ids=["interrupted", "disk full", "disk error"],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_writing_that_stops_leaves_nothing(qdeploy_command, folder, monkeypatch, error, code, zipped):
    """It stops when all files are written, before the rename."""

    def stop(path):
        raise error

    monkeypatch.setattr("qdeploy.runtime.staging._flush", stop)
    arguments = ["--calibration", folder / "data.npz", "-o", folder / "out", *(["--zip"] if zipped else [])]
    done = qdeploy_command("export", folder / "net.onnx", *arguments)
    assert done.code == code, done
    assert left_in(folder) == set()


def test_failed_replacement_keeps_the_bundle_that_is_there(qdeploy_command, folder, monkeypatch):
    arguments = ("export", folder / "net.onnx", "--calibration", folder / "data.npz", "-o", folder / "out", "-q")
    assert qdeploy_command(*arguments).code == 0

    def stop(path):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("qdeploy.runtime.staging._flush", stop)
        assert qdeploy_command(*arguments, "--force").code == 130
    assert left_in(folder) == {"out"}
    assert qdeploy_command("verify", folder / "out", "--samples", 4, "-q").code == 0
