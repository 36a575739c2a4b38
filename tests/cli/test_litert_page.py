"""The page about LiteRT: its code runs as it stands there, where qdeploy is not."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import qdeploy

pytestmark = [
    pytest.mark.litert,
    pytest.mark.needs("flatbuffers"),
    pytest.mark.needs("torch"),
    pytest.mark.needs("sklearn"),
]

PAGE = (Path(__file__).parents[2] / "docs" / "litert.md").read_text(encoding="utf-8")
WITHOUT_QDEPLOY = (
    "import sys\nsys.modules['qdeploy'] = None\nassert 'torch' not in sys.modules and 'onnx' not in sys.modules\n"
)


def code(part: str) -> str:
    """The block of Python that has these words, for the package that is installed."""
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.partition("## In your own code")[2], re.MULTILINE | re.DOTALL)
    (block,) = [block for block in blocks if part in block]
    return block if find_spec("ai_edge_litert") else block.replace("ai_edge_litert.", "tflite_runtime.")


def ran(folder: Path, part: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_QDEPLOY + code(part)], cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the page's reader has exported a network that reads digits pixel by pixel, with a state."""
    place = tmp_path_factory.mktemp("litert")
    qdeploy.export_model("qornn-digits", place / "out", formats=("onnx", "tflite"), limit=32)
    return place


def test_the_golden_vectors_are_proven_in_fifteen_lines(folder: Path) -> None:
    found = ran(folder, "vectors.npz")
    assert found.returncode == 0, found.stderr
    assert found.stdout == "the same integers\n"
    statements = [line for line in code("vectors.npz").splitlines() if line]
    assert len(statements) <= 16


def test_another_integer_is_seen(folder: Path, tmp_path: Path) -> None:
    vectors = dict(np.load(folder / "out" / "vectors.npz"))
    vectors["samples/output/output"][1, 3] += 1
    (tmp_path / "out").mkdir()
    for name in ("model.tflite", "manifest.json"):
        (tmp_path / "out" / name).write_bytes((folder / "out" / name).read_bytes())
    np.savez(tmp_path / "out" / "vectors.npz", **vectors)
    found = ran(tmp_path, "vectors.npz")
    assert found.returncode == 1
    assert "samples, sample 1: output" in found.stderr


def test_a_stream_gives_what_the_session_gives(folder: Path) -> None:
    pixels = np.random.default_rng(3).random(20).astype(np.float32)
    np.save(folder / "pixels.npy", pixels)
    found = ran(folder, '"step"')
    assert found.returncode == 0, found.stderr
    bundle = qdeploy.load(folder / "out")
    wanted = bundle.run(pixels.reshape(1, -1, 1))["output"]
    # The file's scales are float32, as LiteRT has them.
    shown = np.fromstring(found.stdout.replace("[", "").replace("]", ""), sep=" ")
    np.testing.assert_allclose(shown, wanted[0], rtol=1e-4)
    session = bundle.session(runtime="litert", raw=True, litert=qdeploy.LitertOptions(resolver="plain"))
    for pixel in pixels:
        last = session.step(np.array([[pixel]], np.float32))
    assert (last["output"] == bundle.run(pixels.reshape(1, -1, 1), raw=True)["output"]).all()


def test_the_page_names_the_api(folder: Path) -> None:
    session = eval(code("qdeploy.load").partition("=")[2], {"qdeploy": _In(folder)})  # noqa: S307 - the page's own line
    assert session.engine.name == "litert"


class _In:
    """The package, with paths that begin at a folder."""

    LitertOptions = qdeploy.LitertOptions

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, path: str) -> qdeploy.Bundle:
        return qdeploy.load(self._folder / path)
