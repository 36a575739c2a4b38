"""The table of targets."""

import pytest

from qdeploy.export.c.targets import TARGETS, find_target, host_twin, source_target
from qdeploy.runtime.errors import InvalidInputError

BOARDS = ["pi-zero", "pi-zero2", "pi2", "pi3", "pi4", "pi5"]
CORES = ["cortex-m0plus", "cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33"]


def test_every_promised_target_is_there():
    assert {"host", "generic", *BOARDS, *CORES} <= set(TARGETS)
    assert all(name == target.name for name, target in TARGETS.items())


@pytest.mark.parametrize("name", BOARDS)
def test_neon_multiplies_signed_bytes_and_arm64_takes_tall_tiles(name):
    target = find_target(name)
    arm64 = target.zig_target.startswith("aarch64")
    assert target.tile == (16 if arm64 else 4)
    assert target.offset == (0 if name == "pi-zero" else 128)
    assert target.emulator[0] == ("qemu-aarch64" if arm64 else "qemu-arm")
    assert target.flash is None
    assert not target.microcontroller


@pytest.mark.parametrize("name", CORES)
def test_microcontrollers_name_a_part_with_its_memory(name):
    target = find_target(name)
    assert target.microcontroller
    assert target.flash > target.ram > 64 << 10
    assert "as in the" in target.description
    assert (target.tile, target.offset) == (4, 0)


@pytest.mark.parametrize(
    ("machine", "twin", "layout"),
    [
        ("x86_64", "x86-64", (16, 0)),
        ("aarch64", "pi4", (16, 128)),
        ("armv7l", "pi2", (4, 128)),
        ("s390x", "generic", (4, 0)),
    ],
)
def test_sources_of_the_host_are_those_of_a_named_target(monkeypatch, machine, twin, layout):
    monkeypatch.setattr("platform.machine", lambda: machine)
    assert host_twin() == source_target("host") == twin
    assert (TARGETS[twin].tile, TARGETS[twin].offset) == layout


def test_the_host_has_the_layout_of_its_twin():
    host, twin = TARGETS["host"], TARGETS[host_twin()]
    assert (host.tile, host.offset) == (twin.tile, twin.offset)
    assert source_target("pi5") == "pi5"


def test_an_unknown_target_is_refused_with_the_list():
    with pytest.raises(InvalidInputError, match="'pi9', expected one of host, generic"):
        find_target("pi9")
