"""Two processes on this machine train as one does."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import qdeploy.training
from qdeploy.cli.group import cli
from qdeploy.models.checkpoint import load_checkpoint
from qdeploy.models.config import TrainingConfig
from qdeploy.models.processes import Processes, choose_device, processes
from qdeploy.models.training import TrainingData, train
from qdeploy.models.training_report import EpochReport, TrainReport
from qdeploy.runtime.errors import InvalidInputError, MissingRequirementError

# Seven rows a batch: the shares are of four and three.
BATCH = 7


def recipe(**changes):
    hyperparameters = {"input_size": 1, "hidden_size": 8, "num_classes": 3, **changes.pop("hyperparameters", {})}
    return TrainingConfig(
        name="tiny",
        dataset="none",
        architecture="orthogonal-classifier",
        hyperparameters=hyperparameters,
        epochs=3,
        batch_size=BATCH,
        learning_rate=0.01,
        recurrent_learning_rate=0.002,
        clip_norm=1.0,
        validation=8,
        seed=3,
        **changes,
    )


CONFIGS = {
    "float": recipe(input_noise=0.01),
    "bjorck": recipe(hyperparameters={"weight_bits": 4}),
    "projunn": recipe(hyperparameters={"orthogonal": "projunn-d"}),
    "frozen": recipe(hyperparameters={"weight_bits": 4, "activation": "modrelu"}, input_learning_rate=0.0),
    "resumed": recipe(hyperparameters={"weight_bits": 4, "orthogonal": "projunn-t"}),
}

MOVED = recipe(hyperparameters={"weight_bits": 4, "orthogonal": "projunn-d"})


def pulses():
    generator = np.random.default_rng(0)
    y = generator.integers(0, 3, 64)
    x = generator.uniform(0, 0.1, (64, 3, 1)).astype(np.float32)
    x[np.arange(64), y] = 1.0
    return TrainingData(x[:47], y[:47], x[47:], y[47:], 0)


class Interruption(Exception):  # noqa: N818 - no error
    pass


# One start of torchrun for all configurations: starting it takes most of the time.
PROGRAM = """
import sys
from pathlib import Path
import torch
from torch import distributed
sys.path.insert(0, sys.argv[2])
import test_processes as cases
from qdeploy.models import training
torch.set_num_threads(1)
training.WRITE_INTERVAL = 0.0
folder = Path(sys.argv[1])
keep = training._Run.report
seen = []
training._Run.report = lambda run: (seen.append(run), keep(run))[1]
calls = []
for name, config in [*cases.CONFIGS.items(), ("moved", cases.MOVED)]:
    if name in ("resumed", "moved"):
        # All processes stop at the same batch, as all of them do when one is killed.
        count = training._Run.train_batch
        def stop(run, x, y):
            if run.epoch == 1:
                raise cases.Interruption
            return count(run, x, y)
        training._Run.train_batch = stop
        try:
            training.train(config, cases.pulses(), folder / name)
        except cases.Interruption:
            pass
        training._Run.train_batch = count
    if name == "moved":
        continue
    report = training.train(config, cases.pulses(), folder / name, progress=lambda words, done: calls.append(done))
    run = seen[-1]
    rank = run.place.rank
    torch.save(
        {"weights": run.module.state_dict(), "history": [vars(line) for line in run.history], "calls": len(calls),
         "count": run.place.count, "epochs": report.epochs},
        folder / f"{name}-{rank}.pt",
    )
# No wrapped module outlives the connection.
seen.clear()
del run
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What two processes left."""
    place = tmp_path_factory.mktemp("processes")
    program = place / "program.py"
    program.write_text(PROGRAM)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1"}
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*torchrun, str(program), str(place), str(Path(__file__).parent)]
    # In a session of their own, so that none of them outlives a test that took too long.
    started = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        _, words = started.communicate(timeout=120)
    finally:
        if started.returncode is None:
            os.killpg(started.pid, signal.SIGKILL)
    assert started.returncode == 0, words
    return place


def left(folder, name, rank):
    return torch.load(folder / f"{name}-{rank}.pt", weights_only=True)


@pytest.mark.parametrize("name", CONFIGS)
def test_both_processes_have_the_same_bits(folder, name):
    first, second = left(folder, name, 0), left(folder, name, 1)
    assert (first["count"], second["count"]) == (2, 2)
    assert all(torch.equal(value, second["weights"][key]) for key, value in first["weights"].items())

    def without_time(lines):
        return [{**line, "seconds": 0} for line in lines]

    assert without_time(first["history"]) == without_time(second["history"])


@pytest.mark.parametrize("name", CONFIGS)
def test_the_result_is_that_of_one_process(folder, tmp_path, name):
    train(CONFIGS[name], pulses(), tmp_path)
    alone = torch.load(tmp_path / "training-state.pt", weights_only=True)
    together = torch.load(folder / name / "training-state.pt", weights_only=True)
    assert together["epoch"] == alone["epoch"] == 3
    for key, value in alone["module"].items():
        # Sums of gradients in another order, through 15 steps: 2.4e-7 were seen.
        assert torch.allclose(value, together["module"][key], rtol=0, atol=1e-5), key
    for one, two in zip(alone["history"], together["history"], strict=True):
        assert one["loss"] == pytest.approx(two["loss"], abs=1e-5)
        assert one["test_accuracy"] == pytest.approx(two["test_accuracy"], abs=1 / 17 + 1e-9)


@pytest.mark.parametrize("name", CONFIGS)
def test_the_first_process_writes_the_files(folder, name):
    files = sorted(path.name for path in (folder / name).iterdir())
    assert files == ["learning-curve.png", "metrics.jsonl", "tiny.json", "tiny.safetensors", "training-state.pt"]
    assert len((folder / name / "metrics.jsonl").read_text().splitlines()) == 3
    assert load_checkpoint(folder / name / "tiny.json").metadata["epochs"] == 3
    assert left(folder, name, 0)["calls"] > 0
    assert left(folder, name, 1)["calls"] == 0


def test_interrupted_processes_went_on(folder):
    lines = [json.loads(line) for line in (folder / "resumed" / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3]


def test_one_process_goes_on_with_what_two_began(folder, tmp_path):
    moved, whole = tmp_path / "moved", tmp_path / "whole"
    shutil.copytree(folder / "moved", moved)
    assert len((moved / "metrics.jsonl").read_text().splitlines()) == 1
    epochs = []
    train(MOVED, pulses(), moved, progress=lambda words, done: epochs.append(words.split(",")[0]))
    assert epochs[0] == "epoch 2/3"
    train(MOVED, pulses(), whole)
    found, expected = (load_checkpoint(place / "tiny.json").module.state_dict() for place in (moved, whole))
    assert all(torch.allclose(value, found[key], rtol=0, atol=1e-5) for key, value in expected.items())


def test_a_batch_for_each_process():
    place = Processes(1, 9, torch.device("cpu"))
    data = pulses()
    from qdeploy.models.training import _Run

    with pytest.raises(InvalidInputError, match="batch_size=7 is that of all 9 processes"):
        _Run(CONFIGS["float"], data, None, None, None, place, None)


def test_the_first_process_prints(monkeypatch):
    line = EpochReport(1, 1.0, 0.5, None, 0.25, 1.0, 0.01, 1.0, None, 2.5)
    references = {"unigram_bits_per_character": 4.0, "bigram_bits_per_character": 3.0}
    given = {}

    def trained(config, folder, **options):
        given.update(options)
        return TrainReport(Path("net.safetensors"), 1, line, line, references)

    monkeypatch.setattr(qdeploy.training, "train", trained)
    words = ["train", "qornn-characters", "-o", "net", "--data", "a.txt", "--data", "b.txt", "--device", "cuda:1"]
    done = CliRunner().invoke(cli, words)
    assert "test accuracy   0.2500\ntest bits       2.500 per character; counting gives 4.000" in done.output
    assert (given["data"], given["device"]) == (("a.txt", "b.txt"), "cuda:1")
    monkeypatch.setenv("RANK", "1")
    assert CliRunner().invoke(cli, words).output == ""


def test_shares_are_the_batch():
    batch = torch.arange(10).reshape(5, 2)
    shares = [Processes(rank, 3, torch.device("cpu")).share(batch) for rank in range(3)]
    assert [len(share) for share in shares] == [2, 2, 1]
    assert torch.equal(torch.cat(shares), batch)


def test_one_process_needs_no_connection():
    place = processes()
    assert (place.rank, place.count, place.first) == (0, 1, True)
    assert place.sums(1.5, 2.0) == (1.5, 2.0)
    module = torch.nn.Linear(2, 2)
    assert place.wrapped(module) is module
    assert place.from_first(lambda: 3) == 3
    place.check_equal(module)
    assert not torch.distributed.is_initialized()


def test_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto", 1) == torch.device("cuda", 1)
    assert choose_device("cuda:0", 1) == torch.device("cuda", 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == torch.device("cpu")
    assert choose_device("cpu", 3) == torch.device("cpu")
    with pytest.raises(MissingRequirementError, match="PyTorch sees 0 GPUs here"):
        choose_device("cuda")
    for wrong in ("gpu", "cuda:", "cuda:x", "cpu:0", "cuda:-1"):
        with pytest.raises(InvalidInputError, match="expected auto, cpu, cuda or cuda:N"):
            choose_device(wrong)
