"""What `--install` sends: all that a board needs, and no more."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from qdeploy.push.board import Board
from qdeploy.push.connection import RemoteResult
from qdeploy.push.install import install, own_files

CODE = """
import json, qdeploy
from qdeploy.push.install import own_files
print(json.dumps([qdeploy.__file__, sorted(own_files())]))
"""


def test_what_is_sent_can_send_itself_on(tmp_path):
    """An installed package is laid out otherwise than a checkout; both send the same files."""
    files = own_files()
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    words = [sys.executable, "-c", CODE]
    environment = {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    place, names = json.loads(done.stdout)
    assert place == str(tmp_path / "qdeploy" / "__init__.py")
    assert names == sorted(files)


def test_a_board_gets_no_networks_and_no_byte_code():
    files = own_files()
    assert not [name for name in files if name.startswith("qdeploy/models/") or name.endswith(".pyc")]
    assert {"qdeploy/runtime/bundle.py", "qdeploy/export/c/kernels/requantize_u8.c", "qdeploy/py.typed"} <= files.keys()
    assert sum(map(len, files.values())) < 8 << 20


@pytest.mark.parametrize(
    ("machine", "runtimes", "packages"),
    [
        ("aarch64", None, "numpy onnx click rich onnxruntime"),
        ("aarch64", ("litert", "c"), "numpy onnx click rich onnxruntime ai-edge-litert flatbuffers"),
        ("armv7l", ("litert",), "numpy onnx click rich flatbuffers"),
    ],
)
def test_pip_gets_what_the_runtimes_need_and_the_processor_has(machine, runtimes, packages):
    scripts = []

    class Connection:
        address = "pi"

        def run(self, script, **more):
            scripts.append(script)
            return RemoteResult(0, "", "")

    install(Connection(), Board(machine, "Linux", None, "/home/pi", python="python3"), timeout=1, runtimes=runtimes)
    assert f" --target /home/pi/.local/share/qdeploy/push {packages} <" in scripts[0]
