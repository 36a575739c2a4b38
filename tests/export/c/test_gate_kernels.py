"""The kernels behind the products of recurrent layers, at the bounds that their comments name, against Python's integers."""

from __future__ import annotations

import ctypes
import subprocess
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from qdeploy.export.c.kernels import kernel_text, needed
from qdeploy.runtime.gemmlowp import MAX_INTEGER_BITS, logistic, tanh
from qdeploy.runtime.kernel_rounding import first_shift, gemmlowp, half_away
from qdeploy.runtime.ops.hadamard_matrix import hadamard_transform, pack_signs
from qdeploy.runtime.straight_lines import on_straight_lines
from tests.ops.definitions import requantized

from .running import COMPILER, WARNINGS

pytestmark = pytest.mark.cc

Array = NDArray[Any]

TYPES = ("u8", "s16")
KERNELS = {
    "look_up_s16",
    "look_up_s32",
    "on_lines_s16",
    "on_lines_s32",
    "shifted_index",
    "gated_index",
    "rectified_candidate",
    "lstm_cell",
    "fixed_logistic",
    "fixed_tanh",
    "lstm_cell_in_parts",
    "pre_activation",
    "shown_state_u8",
    *(f"{name}_{kind}" for kind in TYPES for name in ("mix_states", "gated_state", "gated_output", "hadamard")),
    *(f"{name}_{kind}" for kind in TYPES for name in ("weighted_residual", "gated_residual")),
}
COUNT = 400
LOWEST, HIGHEST = -(2**15), 2**15 - 1


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    folder = tmp_path_factory.mktemp("kernels")
    head = (
        "#include <stddef.h>\n#include <stdint.h>\n#include <string.h>\n#define MODEL_TILE 4\n#define MODEL_OFFSET 0\n"
    )
    # Functions that a library can be asked for.
    text = f"{head}#define static\n" + "".join(kernel_text(name) for name in needed(KERNELS))
    (folder / "kernels.c").write_text(text)
    checked = ["-O1", "-fsanitize=undefined", "-fsanitize-undefined-trap-on-error", "-ftrapv"]
    library = folder / "kernels.so"
    command = [COMPILER, *WARNINGS, *checked, "-shared", "-fPIC", "-o", str(library), str(folder / "kernels.c")]
    subprocess.run(command, check=True)
    return ctypes.CDLL(str(library))


def call(kernels: ctypes.CDLL, name: str, *arguments: Array | int) -> None:
    """Calls a kernel; ``size_t`` and the other integers are passed alike in registers of 64 bits."""
    given = [ctypes.c_void_p(a.ctypes.data) if isinstance(a, np.ndarray) else ctypes.c_int64(int(a)) for a in arguments]
    getattr(kernels, name).restype = None
    getattr(kernels, name)(*given)


def drawn(low: int, high: int, kind: str, seed: int) -> Array:
    """Both bounds, what lies beside them, 0, and random values between, in random order."""
    generator = np.random.default_rng(seed)
    values = generator.integers(low, high + 1, COUNT)
    values[: COUNT // 2] = generator.choice([low, min(low + 1, high), min(max(0, low), high), high], COUNT // 2)
    return generator.permutation(values).astype(kind)


def wide(values: Array) -> Array:
    return values.astype(object)


def state_of(kind: str) -> tuple[str, int, int, int]:
    """Type, zero point and bounds of a state of 8 or 12 bits."""
    return ("uint8", 128, 0, 255) if kind == "u8" else ("int16", 0, -2048, 2047)


@pytest.mark.parametrize("kind", ["s16", "s32"])
def test_tables(kernels: ctypes.CDLL, kind: str) -> None:
    dtype = {"s16": np.int16, "s32": np.int32}[kind]
    bounds = np.iinfo(dtype)
    generator = np.random.default_rng(1)
    index = drawn(0, 4095, "int16", 2)
    table = generator.integers(bounds.min, bounds.max, 4096, endpoint=True).astype(dtype)
    y = np.zeros(COUNT, dtype)
    call(kernels, f"look_up_{kind}", y, index, table, COUNT)
    assert (y == table[index]).all()
    for shift in (0, 1, 4, 11):
        knots = generator.choice([bounds.min, bounds.max, 0], (4096 >> shift) + 1).astype(dtype)
        call(kernels, f"on_lines_{kind}", y, index, knots, shift, COUNT)
        assert (y == on_straight_lines(knots, 4096)[index]).all(), shift


@pytest.mark.parametrize("shift", [0, 1, 4, 15])
@pytest.mark.parametrize("size", [2, 4096])
def test_indices(kernels: ctypes.CDLL, shift: int, size: int) -> None:
    values, gate = drawn(LOWEST, HIGHEST, "int16", 3), drawn(0, HIGHEST, "int16", 4)
    one = np.ones(1, np.int64)
    index = np.zeros(COUNT, np.int16)
    call(kernels, "shifted_index", index, values, COUNT, shift, size)
    assert (index == requantized(values, one, shift, size // 2, 0, size - 1)).all()
    addend = drawn(-(2**29), 2**29, "int32", 5)
    for further in (shift, 17):
        call(kernels, "gated_index", index, gate, values, addend, COUNT, further, size)
        sums = wide(gate) * wide(values) + wide(addend)
        assert (index == requantized(sums, one, further, size // 2, 0, size - 1)).all()


@pytest.mark.parametrize(("multiplier", "shift"), [(1, 0), (3, 1), (2**31 - 1, 0), (2**31 - 1, 31), (2**31 - 1, 46)])
@pytest.mark.parametrize("slope", [0, 1, 328, 2**15 - 1])
def test_rectified_candidates(kernels: ctypes.CDLL, multiplier: int, shift: int, slope: int) -> None:
    values, candidate = drawn(LOWEST, HIGHEST, "int32", 6), np.zeros(COUNT, np.int16)
    high = 2**15 - 2**4
    call(kernels, "rectified_candidate", candidate, values, COUNT, multiplier, shift, slope, high)
    m = (wide(values) * multiplier + ((1 << shift) >> 1)) // (1 << shift)
    rectified = np.maximum(m, (m * slope + 2**14) // 2**15)
    assert (candidate == np.minimum(np.maximum(rectified, LOWEST), high)).all()


def test_the_cell_of_an_lstm(kernels: ctypes.CDLL) -> None:
    i, f = drawn(0, 2**14, "int16", 7), drawn(0, 2**14, "int16", 8)
    g, c = drawn(LOWEST + 1, HIGHEST, "int16", 9), drawn(LOWEST, HIGHEST, "int16", 10)
    wanted = requantized(wide(i) * wide(g) + wide(f) * wide(c), np.ones(1, np.int64), 14, 0, LOWEST, HIGHEST)
    call(kernels, "lstm_cell", c, i, f, g, COUNT)
    assert (c == wanted).all()
    assert {LOWEST, HIGHEST} <= set(c.tolist())


@pytest.mark.parametrize("kind", TYPES)
def test_states_are_mixed(kernels: ctypes.CDLL, kind: str) -> None:
    dtype, zero_point, low, high = state_of(kind)
    state_shift = 8 if kind == "u8" else 4
    h, gate = drawn(low, high, dtype, 11), drawn(0, HIGHEST, "int16", 12)
    candidate = drawn(LOWEST, (high - zero_point) << state_shift, "int16", 13)
    kept = (wide(h) - zero_point) << state_shift
    sums = (2**15 - wide(gate)) * wide(candidate) + wide(gate) * kept
    wanted = requantized(sums, np.ones(1, np.int64), 15 + state_shift, zero_point, low, high)
    call(kernels, f"mix_states_{kind}", h, gate, candidate, COUNT, state_shift, zero_point, low, high)
    assert (h == wanted).all()


@pytest.mark.parametrize("kind", TYPES)
def test_gates_let_states_and_cells_through(kernels: ctypes.CDLL, kind: str) -> None:
    dtype, zero_point, low, high = state_of(kind)
    h, gate, p = drawn(low, high, dtype, 14), drawn(0, HIGHEST, "int16", 15), np.zeros(COUNT, dtype)
    call(kernels, f"gated_state_{kind}", p, gate, h, COUNT, zero_point, low, high)
    one = np.ones(1, np.int64)
    assert (p == requantized(wide(gate) * (wide(h) - zero_point), one, 15, zero_point, low, high)).all()
    output, shown = drawn(0, 2**14, "int16", 16), drawn(LOWEST + 1, HIGHEST, "int16", 17)
    for shift in (0, 14, 22, 30):
        call(kernels, f"gated_output_{kind}", p, output, shown, COUNT, shift, zero_point, low, high)
        assert (p == requantized(wide(output) * wide(shown), one, shift, zero_point, low, high)).all(), shift


@pytest.mark.parametrize("kind", TYPES)
def test_residuals(kernels: ctypes.CDLL, kind: str) -> None:
    dtype, zero_point, low, high = state_of(kind)
    state_shift = 7 if kind == "u8" else 3
    h, one = drawn(low, high, dtype, 18), np.ones(1, np.int64)
    held = (wide(h) - zero_point) << state_shift
    added = drawn(-(2**29), 2**29, "int32", 19)
    for kept in (0, 1, 15000, 2**14):
        found = h.copy()
        call(kernels, f"weighted_residual_{kind}", found, added, COUNT, kept, state_shift, zero_point, low, high)
        sums = wide(added) + kept * held
        assert (found == requantized(sums, one, 14 + state_shift, zero_point, low, high)).all(), kept
    gate, candidate = drawn(-(2**14), 2**14, "int16", 20), drawn(-(2**14), 2**14, "int16", 21)
    call(kernels, f"gated_residual_{kind}", h, added, gate, candidate, COUNT, state_shift, zero_point, low, high)
    sums = wide(added) + wide(gate) * (held - wide(candidate))
    assert (h == requantized(sums, one, 14 + state_shift, zero_point, low, high)).all()


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("block", [1, 2, 8, 64])
def test_transforms_are_products_with_the_matrix(kernels: ctypes.CDLL, kind: str, block: int) -> None:
    size = 3 * block
    generator = np.random.default_rng(block)
    signs = generator.choice([-1, 1], size)
    limits = np.iinfo({"u8": np.uint8, "s16": np.int16}[kind])
    x = generator.choice([limits.min, 0, limits.max], size).astype(limits.dtype)
    # Sums begin anywhere and may go round.
    acc = generator.integers(-(2**31), 2**31, size).astype(np.int32)
    blocks = np.kron(np.eye(3, dtype=np.int64), hadamard_transform(np.eye(block, dtype=np.int64)))
    wanted = (acc + (signs[:, None] * blocks) @ x.astype(np.int64)).astype(np.uint32).view(np.int32)
    call(kernels, f"hadamard_{kind}", acc, pack_signs(signs), x, size, block, np.zeros(size, np.int32))
    assert (acc == wanted).all()


def test_fixed_point_functions_of_every_integer(kernels: ctypes.CDLL) -> None:
    every = np.arange(LOWEST, HIGHEST + 1).astype(np.int16)
    found = every.copy()
    call(kernels, "fixed_logistic", found, len(found))
    assert (found == logistic(every)).all()
    for bits in range(MAX_INTEGER_BITS + 1):
        call(kernels, "fixed_tanh", found, every, len(every), bits)
        assert (found == tanh(every, bits)).all()


@pytest.mark.parametrize("added", [0, 1])
@pytest.mark.parametrize(
    ("multiplier", "shift"), [(1, 0), (1, 1), (2**24 - 1, 46), (2**24 - 1, 24), (3, 33), (2**20, 12)]
)
def test_pre_activation(kernels: ctypes.CDLL, multiplier: int, shift: int, added: int) -> None:
    largest = min(2**31 - 1, (2**31 - 1) * 2**shift // multiplier)
    acc, gates = drawn(-largest, largest, "int32", 1), drawn(LOWEST, HIGHEST, "int16", 2)
    scaled = gemmlowp(acc, multiplier, shift, 0, -(2**31), 2**31 - 1)
    first = int(first_shift(multiplier, shift))
    expected = np.clip(scaled + (gates.astype(np.int64) if added else 0), LOWEST, HIGHEST)
    call(kernels, "pre_activation", gates, acc, COUNT, multiplier, first, shift - first, added)
    assert (gates == expected).all()


@pytest.mark.parametrize("shift", [15, 18, 21])
def test_lstm_cell_in_parts(kernels: ctypes.CDLL, shift: int) -> None:
    i, f, g, c = (drawn(0 if seed < 2 else LOWEST, HIGHEST, "int16", seed) for seed in range(4))
    kept = half_away(f.astype(np.int64) * c, 1, 15, 0, LOWEST, HIGHEST)
    expected = np.clip(kept + half_away(i.astype(np.int64) * g, 1, shift, 0, LOWEST, HIGHEST), LOWEST, HIGHEST)
    call(kernels, "lstm_cell_in_parts", c, i, f, g, COUNT, shift)
    assert (c == expected).all()


@pytest.mark.parametrize("shift", [16, 23, 30])
def test_shown_state(kernels: ctypes.CDLL, shift: int) -> None:
    gate, values = drawn(0, HIGHEST, "int16", 1), drawn(-HIGHEST, HIGHEST, "int16", 2)
    expected = gemmlowp(gate.astype(np.int64) * values, 1, shift, 128, 0, 255)
    h = np.zeros(COUNT, np.uint8)
    call(kernels, "shown_state_u8", h, gate, values, COUNT, shift)
    assert (h == expected).all()
