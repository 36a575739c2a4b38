"""A small recurrent bundle as files."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import parser

#: h' = (h + x) / 2, a running mean whose steps can be followed by hand; every engine but the reference reads it.
MODEL = """<ir_version: 10, opset_import: ["": 18, "qdeploy": 1]>
network (uint8[batch, time, 2] x, uint8[batch, 2] mean_state)
    => (uint8[batch, time, 2] y, uint8[batch, 2] mean_state_out) {
    steps = Transpose <perm = [1, 0, 2]> (x)
    all, mean_state_out = qdeploy.Mean(steps, mean_state)
    y = Transpose <perm = [1, 0, 2]> (all)
}
<domain: "qdeploy", opset_import: ["": 18]>
Mean (x, h0) => (y, last) {
    last8, y = Scan <num_scan_inputs = 1, body = step (h, v) => (n, o) {
        a = Cast <to = 6> (h)
        b = Cast <to = 6> (v)
        two = Constant <value = int32 {2}> ()
        sum = Add(a, b)
        half = Div(sum, two)
        n = Cast <to = 2> (half)
        o = Identity(n)
    }> (h0, x)
    last = Identity(last8)
}"""


def entry(**changes):
    return {"dtype": "uint8", "scale": 0.5, "zero_point": 10} | changes


@pytest.fixture(scope="session")
def model() -> onnx.ModelProto:
    return parser.parse_model(MODEL)


@pytest.fixture
def write_bundle(tmp_path, model):
    """``write_bundle()``: a folder; ``more`` adds files, ``change`` edits the manifest before it is written."""

    def write(more: dict[str, bytes] | None = None, change=None) -> Path:
        folder = tmp_path / "bundle"
        folder.mkdir()
        x = np.arange(12, dtype=np.uint8).reshape(2, 3, 2)
        vectors, baseline = io.BytesIO(), io.BytesIO()
        np.savez(
            vectors,
            **{
                "first/input/x": x,
                "first/output/y": x,
                "first/output/mean_state_out": x[:, -1],
                "input/x": x,
                "output/y": x,
            },
        )
        np.savez(baseline, data_sha256=np.array("cd" * 32), **{"logits/y": np.zeros((2, 3, 2), np.float32)})
        files = {"model.onnx": model.SerializeToString(), "vectors.npz": vectors.getvalue()}
        files |= {"baseline.npz": baseline.getvalue(), "example.py": b"raise SystemExit('never run')\n"} | (more or {})
        manifest = {
            "schema": 1,
            "qdeploy": "0.1.0",
            "created_from": {},
            "recipe": {},
            "rounding": "half_up",
            "inputs": [entry(name="x", float_name="pixels", shape=["batch", "time", 2], time_axis=1, batch_axis=0)],
            "outputs": [entry(name="y", shape=["batch", "time", 2])],
            "states": [entry(input="mean_state", output="mean_state_out", shape=["batch", 2], bits=8)],
            "tensors": {},
            "layers": [],
            "files": {n: {"sha256": hashlib.sha256(d).hexdigest(), "bytes": len(d)} for n, d in files.items()},
        }
        if change is not None:
            change(manifest)
        for name, data in files.items():
            (folder / name).write_bytes(data)
        (folder / "manifest.json").write_text(json.dumps(manifest))
        return folder

    return write


@pytest.fixture
def zipped():
    """``zipped(folder)``: its files as a .zip beside it; ``prefix`` is put before every name."""

    def make(folder: Path, prefix: str = "") -> Path:
        target = folder.with_suffix(".zip")
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted(folder.iterdir()):
                archive.write(file, prefix + file.name)
        return target

    return make
