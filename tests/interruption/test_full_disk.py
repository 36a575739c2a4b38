"""A disk that is full, at any step: an error of ours with its exit code, and what stood there unharmed."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from qdeploy.runtime import staging
from qdeploy.runtime.bundle import read_bundle
from qdeploy.runtime.errors import InvalidInputError, MissingRequirementError

from ..export.test_bundle_writer import everything
from ..quantize.networks import float_model
from ..quantize.test_networks import MLP, mlp_weights, pixels
from .steps import CHANGES, Steps, Writing, bundles, checkpoints

NEEDS_ROOM = ("mkdir", "open", "write", "fsync", "close", "rename", "replace", "exchange")


def failing(patch: pytest.MonkeyPatch, chosen: Callable[[int], bool], code: int = errno.ENOSPC) -> Steps:
    """Lets the chosen ones of the calls that need room on the disk fail; what gives room back goes on."""

    written: set[int] = set()

    def happen(name: str, call: Callable[[], Any], arguments: tuple[Any, ...]) -> Any:
        needs_room = name in NEEDS_ROOM
        if name == "open":
            needs_room = bool(arguments[1] & os.O_CREAT)
        elif name == "close":
            # Closed it is, even when it tells that the last bytes found no room.
            call()
            needs_room = arguments[0] in written
        if needs_room:
            raise OSError(code, os.strerror(code))
        return None if name == "close" else call()

    steps = Steps(chosen, happen)
    real_open = os.open

    def noted(path: Any, flags: int, *arguments: Any, **options: Any) -> int:
        descriptor = real_open(path, flags, *arguments, **options)
        (written.add if flags & os.O_CREAT else written.discard)(descriptor)
        return descriptor

    patch.setattr(os, "open", noted)
    for name in CHANGES:
        patch.setattr(os, name, steps.counted(name, getattr(os, name)))
    patch.setattr(os, "fsync", steps.counted("fsync", lambda descriptor: None))
    patch.setattr(staging, "_exchange", steps.counted("exchange", staging._exchange))
    return steps


def every_failure(
    writing: Writing,
    folder: Path,
    *,
    for_good: bool,
    expected: type[Exception],
    code: int = errno.ENOSPC,
    seen: Callable[[Path], Any] = everything,
) -> int:
    """Fails at the first step, at the second and so on until none is left; returns how many failures were told."""
    prepare, act = writing
    failures = 0
    for step in range(1, 200):
        case = folder / str(step)
        case.mkdir()
        prepare(case)
        before = seen(case)
        told = None
        with pytest.MonkeyPatch.context() as patch:
            steps = failing(patch, step.__le__ if for_good else step.__eq__, code)
            try:
                act(case)
            except expected as error:
                told = error
        # Where even moving back failed, the next writing does it.
        staging.recover(case / "out")
        after = seen(case)
        if told is None:
            assert after != before
        else:
            failures += 1
            assert after == before, f"step {step}, {steps.taken[step - 1]}"
            assert "unharmed" in str(told)
        assert not [path for path in case.iterdir() if ".qdeploy-" in path.name]
        if len(steps.taken) < step:
            return failures
    raise AssertionError("more steps than anybody expected")


@pytest.mark.parametrize("for_good", [False, True], ids=["once", "for good"])
@pytest.mark.parametrize("kind", bundles())
def test_a_full_disk_is_what_the_machine_lacks(tmp_path: Path, kind: str, for_good: bool) -> None:
    assert every_failure(bundles()[kind], tmp_path, for_good=for_good, expected=MissingRequirementError) >= 6


@pytest.mark.parametrize("kind", ["folder over folder", "archive over archive"])
def test_a_broken_disk_is_told_as_what_it_is(tmp_path: Path, kind: str) -> None:
    assert every_failure(bundles()[kind], tmp_path, for_good=True, expected=InvalidInputError, code=errno.EIO) >= 6


@pytest.mark.needs("torch")
@pytest.mark.parametrize("kind", ["checkpoint", "checkpoint over checkpoint", "state", "state over state"])
def test_files_of_a_training_too(tmp_path: Path, kind: str) -> None:
    prepare, act = checkpoints()[kind]
    act(tmp_path)
    new = trained(tmp_path)

    def seen(folder: Path) -> float:
        # Once the JSON stands, the new weights count, even if they could not be moved from where they wait.
        value = trained(folder)
        return value if value != new or not list(folder.glob(".*.waiting")) else before

    prepare(tmp_path)
    before = trained(tmp_path) if "over" in kind else 0.0
    failures = tmp_path / "failures"
    failures.mkdir()
    assert every_failure((prepare, act), failures, for_good=True, expected=MissingRequirementError, seen=seen) >= 5


def trained(folder: Path) -> float:
    """The value that stands in all of a folder's files, 0 where there are none."""
    from qdeploy.models import load_checkpoint
    from qdeploy.models.training_state import read_state

    if (folder / "state.pt").exists():
        state = read_state(folder / "state.pt")
        assert (state["module"]["w"] == state["epoch"]).all()
        return float(state["epoch"])
    if (folder / "net.json").exists():
        loaded = load_checkpoint(folder / "net")
        assert (loaded.module.state_dict()["output_bias"] == loaded.metadata["value"]).all()
        return float(loaded.metadata["value"])
    return 0.0


def exported(folder: Path, *options: str, largest: int | None = None) -> subprocess.CompletedProcess[str]:
    """``qdeploy export`` in a process of its own, which may write files of so many bytes."""
    if not (folder / "mlp.onnx").exists():
        onnx.save(float_model(MLP, mlp_weights()), folder / "mlp.onnx")
        np.savez(folder / "mlp.npz", x=pixels((16, 16)))
    command = [sys.executable, "-c", LIMITED, str(largest or -1), "export", "mlp.onnx", "--calibration", "mlp.npz"]
    return subprocess.run([*command, "-q", *options], cwd=folder, capture_output=True, text=True, check=False)


LIMITED = """
import resource, sys
from qdeploy.cli.group import run
limit = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
sys.exit(run(sys.argv[2:]))
"""


@pytest.mark.parametrize("name", ["out", "out.zip"])
def test_the_command_says_so_and_leaves_what_was_there(tmp_path: Path, name: str) -> None:
    """The real command under a limit of file sizes: none of 1,000 bytes can hold the model."""
    options = ["-o", name, *(["--zip"] if name.endswith("zip") else [])]
    refused = exported(tmp_path, *options, largest=1000)
    assert (refused.returncode, not (tmp_path / name).exists()) == (4, True)
    assert "no room for" in refused.stderr
    assert exported(tmp_path, *options).returncode == 0
    before = everything(tmp_path)
    refused = exported(tmp_path, *options, "--force", "--seed", "1", largest=1000)
    assert (refused.returncode, everything(tmp_path)) == (4, before)
    assert exported(tmp_path, *options, "--force", "--seed", "1").returncode == 0
    assert everything(tmp_path) != before


FULL = """
set -e
mount -t tmpfs -o size=%s none "$1"
cp out.zip "$1/out.zip"
set +e
"$2" -m qdeploy export mlp.onnx --calibration mlp.npz -q --zip -o "$1/out.zip" --force --seed 1 2> error.txt
echo $? > code.txt
cmp out.zip "$1/out.zip" && ls -A "$1" > left.txt
"""


def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    """A file system with room for the old archive and one page more, where this user may mount one."""
    unshare = ["unshare", "--user", "--map-root-user", "--mount"]
    try:
        allowed = subprocess.run([*unshare, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("no program unshare")
    if allowed.returncode:
        pytest.skip("this user may not mount a file system of its own")
    assert exported(tmp_path, "-o", "out.zip", "--zip").returncode == 0
    (tmp_path / "small").mkdir()
    room = (-(-(tmp_path / "out.zip").stat().st_size // 4096) + 1) * 4096
    command = [*unshare, "bash", "-c", FULL % room, "full", str(tmp_path / "small"), sys.executable]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "code.txt").read_text().strip() == "4"
    assert "no room for" in (tmp_path / "error.txt").read_text()
    assert (tmp_path / "left.txt").read_text().split() == ["out.zip"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_an_output_that_takes_nothing(tmp_path: Path) -> None:
    """The report finds no room; the bundle, which was written before, is whole."""
    exported(tmp_path, "--dry-run")
    command = [sys.executable, "-m", "qdeploy", "export", "mlp.onnx", "--calibration", "mlp.npz", "-o", "out"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 4
    assert "no room on the disk" in done.stderr
    assert "defect" not in done.stderr
    assert read_bundle(tmp_path / "out").vectors()
