"""A push to an emulated Raspberry Pi 4: another processor, its own Python with onnxruntime, and no qdeploy on it before."""

from __future__ import annotations

import json

import pytest

from qdeploy.cli.group import run

from .conftest import folders_left
from .emulated import litert_sites, start_emulated_board

pytestmark = [
    pytest.mark.program("sshd"),
    pytest.mark.program("qemu-aarch64"),
    pytest.mark.needs("ziglang"),
]


@pytest.fixture(scope="module")
def pi(arm64_python, tmp_path_factory):
    started = start_emulated_board(tmp_path_factory.mktemp("pi") / "pi")
    yield started
    started.stop()


def test_installs_verifies_and_reports(pi, bundle, tmp_path):
    words = ["push", bundle, "board", "--ssh-config", pi.config, "--install", "--runtime", "onnxruntime"]
    words += ["--samples", 1, "--no-bench", "-q", "-o", tmp_path / "report.json"]
    assert run([str(word) for word in words]) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["passed"] is True
    assert report["board"]["machine"] == "aarch64"
    assert report["board"]["compiler"] == "cc"
    names = [voice["name"] for voice in report["verify"]["voices"]]
    assert "onnxruntime, optimized, 2 threads" in names
    assert report["verify"]["mismatched_integers"] == 0
    assert (pi.home / ".local/share/qdeploy/push/qdeploy/__init__.py").exists()
    assert folders_left(pi) == []


def test_litert_runs_there_in_a_process_of_its_own(pi, bundle, tmp_path):
    if litert_sites() == []:
        pytest.skip("no LiteRT for emulated boards (qdeploy board setup makes it)")
    words = ["push", bundle, "board", "--ssh-config", pi.config, "--install", "--runtime", "litert"]
    words += ["--samples", 1, "--no-bench", "-q", "-o", tmp_path / "report.json"]
    assert run([str(word) for word in words]) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["board"]["packages"]["ai-edge-litert"]
    names = [voice["name"] for voice in report["verify"]["voices"]]
    assert [name for name in names if name.startswith("litert")] == [
        f"litert, {kernels} kernels" for kernels in ("default", "plain", "reference")
    ]
    assert report["passed"] is True
