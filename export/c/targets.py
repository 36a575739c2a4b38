"""The boards and processors that C is made for.

A target decides three things: how weights are laid out in the sources (``tile``, ``offset``), which compiler builds them with
which flags, and where the result can be tried without the board (``emulator``, ``machine``).
"""

from __future__ import annotations

import platform
from dataclasses import dataclass

from qdeploy.runtime.errors import InvalidInputError

__all__ = ["TARGETS", "Target", "find_target", "host_twin", "machine_target", "source_target"]


@dataclass(frozen=True)
class Target:
    """One target.

    ``tile``: rows of a weight tile, as many as the target's fastest kernel takes at once. ``offset``: what is taken from an
    8-bit activation before it is multiplied, 128 where the fast instructions multiply signed by signed bytes.
    ``zig_target`` and ``zig_cpu``: the names that ``zig cc`` takes, None where only the system's compiler serves.
    ``flags``: what that compiler is told besides. ``emulator``: the command of a user-mode emulator with the board's
    processor; ``machine``: that of a whole emulated microcontroller; None where there is none. ``flash`` and ``ram``: bytes
    of the typical part that the description names, None for boards that run Linux. ``bytes_beside_s16``: weights of 4 bits
    stand in bytes where they meet 16-bit activations, twice the memory for a product a third faster.
    """

    name: str
    description: str
    tile: int
    offset: int
    zig_target: str | None = None
    zig_cpu: str | None = None
    flags: tuple[str, ...] = ()
    emulator: tuple[str, ...] | None = None
    machine: tuple[str, ...] | None = None
    flash: int | None = None
    ram: int | None = None
    bytes_beside_s16: bool = False

    @property
    def microcontroller(self) -> bool:
        """Whether it has no operating system: objects are built for it, no shared library."""
        return self.flash is not None

    @property
    def builds_here(self) -> bool:
        """Whether the system's own compiler builds for it, for this very machine."""
        return self.name == "host"


_NATIVE = {"x86_64": "-march=native", "amd64": "-march=native", "aarch64": "-mcpu=native", "arm64": "-mcpu=native"}
"""What the system's compiler calls "this processor". 32-bit ARM compilers do not know every native processor."""

_TWINS = {
    "x86_64": "x86-64",
    "amd64": "x86-64",
    "aarch64": "pi4",
    "arm64": "pi4",
    "armv7l": "pi2",
    "armv8l": "pi2",
    "armv6l": "pi-zero",
}
"""The target of a fixed layout that is the host's, by the machine's name."""

# glibc 2.31 is that of Raspberry Pi OS bullseye, the oldest that is still found on boards.
_ARM64, _ARM32 = "aarch64-linux-gnu.2.31", "arm-linux-gnueabihf.2.31"
_KIB, _MIB = 1 << 10, 1 << 20


def machine_target(machine: str) -> str:
    """The target for a machine of which no more is known than its name (``uname -m``)."""
    return _TWINS.get(machine.lower(), "generic")


def host_twin() -> str:
    """The target whose sources are right for this machine: as fast as can be, the same bytes on every machine of its kind."""
    return machine_target(platform.machine())


def _host(targets: tuple[Target, ...]) -> Target:
    twin = next(target for target in targets if target.name == host_twin())
    native = _NATIVE.get(platform.machine().lower())
    return Target(
        "host",
        "this machine, by its own C compiler",
        twin.tile,
        twin.offset,
        flags=() if native is None else (native,),
        bytes_beside_s16=twin.bytes_beside_s16,
    )


_NAMED = (
    Target("generic", "any C99 compiler; plain loops unless it says what its processor can do", 4, 0),
    Target(
        "x86-64",
        "any x86-64 Linux; fast paths by the compiler's -march",
        16,
        0,
        "x86_64-linux-gnu.2.31",
        "x86_64",
        bytes_beside_s16=True,
    ),
    Target(
        "pi-zero",
        "Raspberry Pi Zero, Zero W and 1 (ARM1176JZF-S, ARMv6)",
        4,
        0,
        _ARM32,
        "arm1176jzf_s",
        emulator=("qemu-arm", "-cpu", "arm1176"),
    ),
    Target(
        "pi-zero2",
        "Raspberry Pi Zero 2 W, 64 bits (Cortex-A53)",
        16,
        128,
        _ARM64,
        "cortex_a53",
        emulator=("qemu-aarch64", "-cpu", "cortex-a53"),
    ),
    Target(
        "pi2",
        "Raspberry Pi 2 (Cortex-A7), and later boards with a 32-bit system",
        4,
        128,
        _ARM32,
        "cortex_a7",
        emulator=("qemu-arm", "-cpu", "cortex-a7"),
    ),
    Target(
        "pi3",
        "Raspberry Pi 3, 64 bits (Cortex-A53)",
        16,
        128,
        _ARM64,
        "cortex_a53",
        emulator=("qemu-aarch64", "-cpu", "cortex-a53"),
    ),
    Target(
        "pi4",
        "Raspberry Pi 4, 64 bits (Cortex-A72)",
        16,
        128,
        _ARM64,
        "cortex_a72",
        emulator=("qemu-aarch64", "-cpu", "cortex-a72"),
    ),
    Target(
        "pi5",
        "Raspberry Pi 5, 64 bits (Cortex-A76, dot product)",
        16,
        128,
        _ARM64,
        "cortex_a76",
        emulator=("qemu-aarch64", "-cpu", "cortex-a76"),
    ),
    Target(
        "cortex-m0plus",
        "Cortex-M0+, as in the RP2040 (Raspberry Pi Pico)",
        4,
        0,
        "thumb-freestanding-eabi",
        "cortex_m0plus",
        # qemu has no M0+; the M0 of this machine executes the same instructions (ARMv6-M) and no others. Its memory is made
        # as large as that of the other machines.
        machine=(
            "qemu-system-arm",
            "-M",
            "microbit",
            "-global",
            "nrf51-soc.flash-size=16777216",
            "-global",
            "nrf51-soc.sram-size=4194304",
        ),
        flash=2 * _MIB,
        ram=264 * _KIB,
    ),
    Target(
        "cortex-m3",
        "Cortex-M3, as in the SAM3X8E (Arduino Due)",
        4,
        0,
        "thumb-freestanding-eabi",
        "cortex_m3",
        machine=("qemu-system-arm", "-M", "mps2-an385"),
        flash=512 * _KIB,
        ram=96 * _KIB,
    ),
    Target(
        "cortex-m4",
        "Cortex-M4F, as in the nRF52840 (Arduino Nano 33 BLE)",
        4,
        0,
        "thumb-freestanding-eabihf",
        "cortex_m4",
        machine=("qemu-system-arm", "-M", "mps2-an386"),
        flash=1 * _MIB,
        ram=256 * _KIB,
    ),
    Target(
        "cortex-m7",
        "Cortex-M7, as in the STM32F767ZI (Nucleo-144)",
        4,
        0,
        "thumb-freestanding-eabihf",
        "cortex_m7",
        machine=("qemu-system-arm", "-M", "mps2-an500"),
        flash=2 * _MIB,
        ram=512 * _KIB,
    ),
    Target(
        "cortex-m33",
        "Cortex-M33, as in the RP2350 (Raspberry Pi Pico 2)",
        4,
        0,
        "thumb-freestanding-eabihf",
        "cortex_m33+dsp",
        machine=("qemu-system-arm", "-M", "mps2-an505"),
        flash=4 * _MIB,
        ram=520 * _KIB,
    ),
)

#: By name, in the order in which they are listed.
TARGETS: dict[str, Target] = {target.name: target for target in (_host(_NAMED), *_NAMED)}


def find_target(name: str) -> Target:
    """The target of that name.

    Raises:
        InvalidInputError: there is none.
    """
    if name not in TARGETS:
        raise InvalidInputError(f"found the target {name!r}, expected one of {', '.join(TARGETS)}")
    return TARGETS[name]


def source_target(name: str) -> str:
    """The target that names the sources of ``name`` on every machine: of ``host``, this machine's :func:`host_twin`."""
    return host_twin() if find_target(name).builds_here else name
