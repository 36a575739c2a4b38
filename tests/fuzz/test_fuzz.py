"""A few hundred inputs of the fuzzing, and whether the fuzzing itself sees what it is there to see."""

from __future__ import annotations

import os
import time

import pytest

pytest.importorskip("torch")
pytest.importorskip("onnxruntime")

from . import campaign as campaign_module
from . import readers
from .campaign import Campaign
from .mutate_files import write_files
from .readers import READERS, Reader, make, outcome

INPUTS = 300


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """Where failing inputs are written."""
    monkeypatch.setattr(campaign_module, "BUILD", tmp_path / "kept")
    return tmp_path / "kept"


def test_mutated_inputs_are_read_or_refused(kept):
    whole = sum(reader.share for reader in READERS.values())
    said: list[str] = []
    with Campaign("test", said.append) as campaign:
        for name, reader in READERS.items():
            campaign.run(name, 0, -(-INPUTS * reader.share // whole))
    assert said == []
    kinds = sum((tally.kinds for tally in campaign.tallies.values()), start=type(campaign.tallies[name].kinds)())
    assert kinds["failed"] == 0
    # Mutations that every reader refused at the door, or that changed nothing, would try nothing.
    assert kinds["accepted"] > INPUTS // 20
    assert kinds["refused"] > INPUTS // 3


@pytest.mark.parametrize("name", list(READERS))
def test_inputs_without_a_mutation_are_accepted(name, tmp_path, monkeypatch):
    for function in [key for key in vars(readers) if key.startswith("mutate_")]:
        monkeypatch.setattr(readers, function, lambda _random, whole, *_: whole)
    write_files(tmp_path / "input", make(READERS[name], "whole", 1))
    assert outcome(READERS[name], tmp_path / "input") == ("accepted", "")


def test_the_same_number_gives_the_same_input():
    for reader in READERS.values():
        assert make(reader, "again", 7) == make(reader, "again", 7)
        assert any(make(reader, "again", 7) != make(reader, "again", index) for index in range(8, 12))


class TestWhatTheCampaignSees:
    """Readers that misbehave on purpose, in a child of the real kind."""

    @pytest.fixture
    def forked(self, kept, monkeypatch):
        """Runs one input of a reader of the given behaviour; the child inherits it by a module that it imports."""

        def run(behaviour: str, limit: float = 10.0):
            monkeypatch.setenv("QDEPLOY_FUZZ_MISBEHAVE", behaviour)
            monkeypatch.setattr(campaign_module, "TIME_LIMIT", limit)
            said: list[str] = []
            with Campaign("test", said.append) as campaign:
                tally = campaign.run("IDX data set", 0, 2)
            return tally, said

        return run

    @pytest.mark.parametrize(
        ("behaviour", "words"),
        [
            ("raise", "ZeroDivisionError"),
            ("crash", "died by SIGSEGV"),
            ("exit", "ended with exit code 3"),
            ("memory", "MiB"),
            ("allocate", "MemoryError"),
        ],
    )
    def test_a_misbehaving_reader_fails(self, forked, kept, behaviour, words):
        tally, said = forked(behaviour)
        assert tally.kinds == {"failed": 2}
        assert all(words in detail for detail in tally.failures)
        assert "python -m tests.fuzz 'IDX data set' --seed test --input 0" in said[0]
        assert sorted(folder.name for folder in kept.iterdir()) == ["IDX-data-set-test-0", "IDX-data-set-test-1"]
        assert (kept / "IDX-data-set-test-0" / "input" / "mnist").is_dir()

    def test_a_hang_fails(self, forked):
        begin = time.monotonic()
        tally, _ = forked("hang", limit=1.0)
        assert tally.kinds == {"failed": 2}
        assert "the process hangs" in tally.failures[0]
        assert "misbehave" in tally.failures[0]
        assert time.monotonic() - begin < 120


def test_a_reader_is_not_replaced_by_accident():
    assert "QDEPLOY_FUZZ_MISBEHAVE" not in os.environ
    assert all(isinstance(reader, Reader) for reader in READERS.values())
