"""The arm64 Python: where it is kept, what is said where something is missing, and that it is whole or absent."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from qdeploy.boards import packages, programs, sysroot
from qdeploy.runtime.errors import InvalidInputError, MissingRequirementError


@pytest.fixture
def cache(monkeypatch, tmp_path) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "qdeploy" / "boards"


def test_the_cache_is_where_the_standard_says(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for value in ("", "relative/path"):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert sysroot.cache_folder() == tmp_path / ".cache" / "qdeploy" / "boards"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    assert sysroot.cache_folder() == tmp_path / "elsewhere" / "qdeploy" / "boards"


def test_without_one_it_says_how_to_make_it(cache):
    with pytest.raises(MissingRequirementError, match=r"no arm64 Python at .*; make it with `qdeploy board setup`"):
        sysroot.find_sysroot()
    assert sysroot.remove_sysroot() == 0


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"layout": 1}', '{"layout": 0, "python": "python3.11"}'])
def test_a_damaged_or_older_one_is_not_used(cache, content):
    (cache / "arm64").mkdir(parents=True)
    (cache / "arm64" / "sysroot.json").write_text(content)
    with pytest.raises(MissingRequirementError, match="qdeploy board setup"):
        sysroot.find_sysroot()


@pytest.mark.parametrize("program", ["apt-get", "dpkg-deb", "qemu-aarch64"])
def test_a_missing_program_is_named_before_anything_is_made(monkeypatch, cache, program):
    which = programs.shutil.which
    monkeypatch.setattr(
        programs.shutil, "which", lambda name: None if name.startswith(program) else which(name) or name
    )
    with pytest.raises(MissingRequirementError, match=rf"the program {program} is not on PATH; .*(Debian|install)"):
        sysroot.setup_sysroot()
    assert not cache.exists()


@pytest.fixture
def programs_found(monkeypatch):
    monkeypatch.setattr(programs.shutil, "which", lambda name: f"/usr/bin/{name}")


@pytest.fixture
def failing(monkeypatch, programs_found):
    """apt, which answers a command that holds ``word`` with an error."""

    def fail_at(word: str):
        def run(words, **options):
            failed = word in words
            out = (
                "  PreDepends: python3.11-minimal\n"
                if "depends" in words
                else "Version: 1\nSize: 1\nInstalled-Size: 1\n"
            )
            return subprocess.CompletedProcess(
                words, failed * 100, "" if failed else out, "E: no route to host\n" * failed
            )

        monkeypatch.setattr(packages, "_run", run)

    return fail_at


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("update", "the package sources of this machine could not be read"),
        ("depends", "this machine's package sources have no python3-minimal for arm64"),
        ("show", "this machine's package sources have no libc6 for arm64"),
        ("download", "could not be downloaded"),
    ],
)
def test_without_the_network_nothing_is_left_behind(cache, failing, word, message):
    failing(word)
    with pytest.raises(MissingRequirementError, match=message) as caught:
        sysroot.setup_sysroot()
    assert "no route to host" in str(caught.value)
    assert list(cache.iterdir()) == []


def test_packages_larger_than_expected_are_not_fetched(cache, monkeypatch, programs_found):
    entry = "Version: 1\nSize: 99000000\nInstalled-Size: 9\n  PreDepends: python3.11-minimal\n"
    asked: list[str] = []

    def run(words, **options):
        asked.extend(words)
        return subprocess.CompletedProcess(words, 0, entry, "")

    monkeypatch.setattr(packages, "_run", run)
    with pytest.raises(MissingRequirementError, match=r"are \d+ MiB, unpacked 0 MiB; expected at most 64"):
        sysroot.setup_sysroot()
    assert "download" not in asked


def test_the_machine_s_hooks_stay_out_of_the_private_configuration(monkeypatch, tmp_path, programs_found):
    dump = 'APT::Update::Post-Invoke:: "rm -rf /";\nAcquire::http::Proxy "http://proxy:3128";\nDir::Etc "etc/apt";\n'
    monkeypatch.setattr(packages, "_run", lambda words, **_: subprocess.CompletedProcess(words, 0, dump, ""))
    packages.PackageSource(tmp_path, "arm64").update()
    text = (tmp_path / "apt.conf").read_text()
    assert 'Acquire::http::Proxy "http://proxy:3128";' in text
    assert "Post-Invoke" not in text
    assert f'Dir::State::lists "{tmp_path}/lists";' in text


@pytest.mark.parametrize(
    ("board", "what"),
    [("pi2", "a 32-bit board"), ("cortex-m4", "a microcontroller, which runs C"), ("pi9", "'pi9', no board")],
)
def test_boards_without_such_a_python_are_refused(board, what):
    with pytest.raises(InvalidInputError, match=rf"{what}.*pi-zero2, pi3, pi4, pi5"):
        sysroot.board_processor(board)


@pytest.mark.program("qemu-aarch64")
def test_an_emulator_that_does_not_know_the_processor_is_too_old():
    with pytest.raises(MissingRequirementError, match=r"does not know the processor cortex-a999; expected qemu 7\.1"):
        programs.emulator(("qemu-aarch64", "-cpu", "cortex-a999"))


def test_what_was_made(sysroot):
    """Of the real one: each processor finds its own part number, and everything is there."""
    values = json.loads((sysroot.folder / "sysroot.json").read_text())
    assert values["wheels"]["onnxruntime"] == sysroot.wheels["onnxruntime"]
    assert 100e6 < sysroot.bytes < 500e6
    assert not (sysroot.folder / "apt").exists()
    for processor, part in {"cortex-a53": "0xd03", "cortex-a72": "0xd08", "cortex-a76": "0xd0b"}.items():
        text = (sysroot.folder / "roots" / processor / "proc" / "cpuinfo").read_text()
        assert text.count(f"CPU part\t: {part}\n") == 4
        script = "import platform; print(platform.machine(), open('/proc/cpuinfo').read().count('CPU part'))"
        done = subprocess.run([*sysroot.command(processor), "-c", script], capture_output=True, text=True, check=True)
        assert done.stdout == "aarch64 4\n"
