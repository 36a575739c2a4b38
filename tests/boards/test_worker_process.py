"""A worker that dies, hangs or talks nonsense is an error with its name, and the next request starts another."""

from __future__ import annotations

import os
import sys

import pytest

from qdeploy.boards.worker_process import WorkerProcess
from qdeploy.runtime.errors import ContractError

NAME = "the process of LiteRT"


def test_it_answers_from_any_folder_whatever_lies_there(tmp_path, monkeypatch):
    """A folder of the user's may hold anything, also what is called as the modules of the worker are."""
    (tmp_path / "numpy.py").write_text("raise SystemExit(7)\n")
    monkeypatch.chdir(tmp_path)
    worker = WorkerProcess([sys.executable], sys.path, os.environ, NAME)
    try:
        reply, _ = worker.ask({"do": "packages"}, {})
        assert set(reply["packages"]) <= {"ai-edge-litert", "tflite-runtime"}
    finally:
        worker.close()


def test_one_that_does_not_answer_in_time_is_ended():
    worker = WorkerProcess([sys.executable], sys.path, os.environ, NAME, patience=0.01)
    process = worker.process
    with pytest.raises(ContractError, match=r"the process of LiteRT did not answer within 0 s"):
        worker.ask({"do": "available"}, {})
    assert process.returncode is not None
    assert not worker.runs(process)


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("echo no such kernel >&2; exit 3", r"died \(exit code 3\) while it computed: no such kernel$"),
        ("echo INFO: a delegate >&2; kill -ABRT $$", r"died \(SIGABRT\) while it computed$"),
        ("printf 'these are no frames at all'; cat >/dev/null", "gave a reply that is none"),
    ],
)
def test_what_it_died_of_is_told(program, said):
    worker = WorkerProcess(["/bin/sh", "-c", program], [], os.environ, NAME)
    with pytest.raises(ContractError, match=said):
        worker.ask({"do": "available"}, {})
