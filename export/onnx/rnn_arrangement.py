"""How the body of a recurrent layer is arranged: the fastest form that is exact for its weights, shifts and bounds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qdeploy.export.onnx.fragments import UINT8
from qdeploy.export.onnx.functions import Site, kind_of, weight_form
from qdeploy.export.onnx.rounding import rounding_of
from qdeploy.runtime.accumulator import recurrent_reach
from qdeploy.runtime.errors import UnsupportedModelError
from qdeploy.runtime.ops.hadamard_matrix import hadamard_signs
from qdeploy.runtime.rounding import HALF_UP, SINGLE_PRECISION, requantize

HADAMARD_UNITS = 64
"""From so many units on a wide state meets a Hadamard matrix as factors, whose operators cost less than the larger product."""

HADAMARD_BLOCK = 32
"""Up to this size a block is one factor: a second product costs more than the multiplications that it saves."""

MAX_TABLE_BITS = 18
"""A table of 2^18 bytes stays in a second-level cache; it exists in memory only, never in the file."""

FULL_TABLE_BITS = 15
"""Beyond this the Clip that a smaller table needs costs less than the cache misses of one for all accumulators."""


@dataclass(frozen=True)
class Arrangement:
    """How the body of one node is arranged; its text is the end of the function's name.

    Attributes:
        x_kind: ``u8`` or ``s16``.
        input_form, form: ``s8`` or ``u8`` weights of U and W (see functions.weight_form).
        requantized_input: whether U x passes a requantization before the loop.
        product: ``direct``, ``digits``, ``rows`` or ``hadamard``.
        digit_bits: q of ``digits``.
        factors: a and b of ``hadamard``: blocks of a b units are the Kronecker product of Sylvester matrices of a and b.
        scaled_weights: whether 2^recurrent_shift is multiplied into the weights (else into the accumulator).
        activation: the contract's.
        finish: ``gather``, ``divide`` or ``multiply``.
        table_bits: n of a table of 2^n entries; ``clipped``: whether the index is clipped to it first.
        all_steps: whether y is wanted, or y_h only.
        rounding: the rule of the state's requantization.
    """

    x_kind: str
    input_form: str
    form: str
    requantized_input: bool
    product: str
    digit_bits: int
    factors: tuple[int, int]
    scaled_weights: bool
    activation: str
    finish: str
    table_bits: int
    clipped: bool
    all_steps: bool
    rounding: str

    @property
    def name(self) -> str:
        """One word for each choice."""
        words = [
            self.x_kind + self.input_form,
            "requantized" if self.requantized_input else "shifted",
            self._product,
            "" if self.scaled_weights else "lifted",
            self.activation,
            self.finish + (f"{self.table_bits}{'c' if self.clipped else ''}" if self.finish == "gather" else ""),
            "all" if self.all_steps else "last",
            "" if self.rounding == HALF_UP else self.rounding,
        ]
        return "_".join(word for word in words if word)

    @property
    def _product(self) -> str:
        if self.product == "hadamard":
            return f"hadamard{self.factors[0]}x{self.factors[1]}"
        return self.product + (str(self.digit_bits) if self.product == "digits" else "") + self.form


def arrange(site: Site) -> Arrangement:
    """The fastest arrangement that is exact for this node's weights, shifts and bounds."""
    attributes, constants = site.attributes, site.constants
    low, high = int(attributes["low"]), int(attributes["high"])
    zero_point, recurrent_shift = int(attributes["h_zero_point"]), int(attributes["recurrent_shift"])
    activation = str(attributes["activation"])
    weight = constants["recurrent_weight"].astype(np.int64)
    largest_weight = int(np.abs(weight).max(initial=0))
    scaled = largest_weight << recurrent_shift <= 127 or (recurrent_shift == 0)
    lifted = weight << recurrent_shift if scaled else weight
    wide = int(attributes["dtype"]) != UINT8

    product, digit_bits, form = "direct", 0, weight_form(lifted.T)
    if wide:
        digit_bits = max(0, int(high - low).bit_length() - 8)
        digits = np.stack([lifted.T << digit_bits, lifted.T], axis=1).reshape(-1, weight.shape[0])
        if digits.min(initial=0) >= -128 and digits.max(initial=0) <= 127:
            product = "digits"
            reach = np.tile([(high - low) >> digit_bits, (1 << digit_bits) - 1], weight.shape[1])
            form = weight_form(digits, reach)
        else:
            product = "rows"
    factors = _hadamard_factors(site) if wide else None
    if factors is not None:
        product, digit_bits, scaled = "hadamard", 0, True

    finish, table_bits, clipped = _finish(site, activation, product, low, high, zero_point)
    return Arrangement(
        x_kind=kind_of(site, "x"),
        input_form=weight_form(constants["input_weight"].T),
        form=form,
        requantized_input="input_multiplier" in constants,
        product=product,
        digit_bits=digit_bits,
        factors=factors or (1, 1),
        scaled_weights=scaled,
        activation=activation,
        finish=finish,
        table_bits=table_bits,
        clipped=clipped,
        all_steps=bool(site.node.output[0]),
        rounding=rounding_of(site, by_table=True),
    )


def _hadamard_factors(site: Site) -> tuple[int, int] | None:
    """a and b where W is signs times Hadamard blocks of a b units, and large enough; else None."""
    weight = site.constants["recurrent_weight"]
    if (
        len(weight) < HADAMARD_UNITS
        or site.attributes["activation"] == "modrelu"
        or site.constants["multiplier"].size > 1
    ):
        return None
    found = hadamard_signs(weight)
    if found is None:
        return None
    block = found[1]
    if block <= HADAMARD_BLOCK:
        return 1, block
    right = 1 << (block.bit_length() // 2)
    return block // right, right


def _finish(site: Site, activation: str, product: str, low: int, high: int, zero_point: int) -> tuple[str, int, bool]:
    attributes, constants = site.attributes, site.constants
    multiplier = constants["multiplier"].astype(np.int64).reshape(-1)
    shift = int(attributes["shift"])
    reach = accumulator_reach(site)
    rectifier = activation == "relu" and low == zero_point
    full = reach.bit_length() + 1
    own = rounding_of(site, by_table=True) == HALF_UP
    if (
        own
        and rectifier
        and (multiplier == 1).all()
        and product != "digits"
        and (full > FULL_TABLE_BITS or product == "rows")
    ):
        top = (high - zero_point + 1) << shift
        if reach + (1 << shift) < 2**31 and top < 2**31:
            return "divide", 0, False
    if multiplier.size == 1 and multiplier[0] > 0:
        if full <= FULL_TABLE_BITS:
            return "gather", full, False
        for bits in range(1, MAX_TABLE_BITS + 1):
            ends = np.array([0 if rectifier else -(1 << (bits - 1)), (1 << bits if rectifier else 1 << (bits - 1)) - 1])
            if _saturated(site, ends, int(multiplier[0]), shift, low, high, zero_point):
                return "gather", bits, True
    if rounding_of(site, by_table=True) == SINGLE_PRECISION:
        raise UnsupportedModelError(
            f"node {site.node.name}: its states do not saturate within 2^{MAX_TABLE_BITS} accumulators of one multiplier; "
            f"rounding {SINGLE_PRECISION} has a body by a table alone."
        )
    return "multiply", 0, False


def _saturated(site: Site, ends: np.ndarray, multiplier: int, shift: int, low: int, high: int, zero_point: int) -> bool:
    """Whether accumulators beyond both ``ends`` all give what the ends give."""
    if site.attributes["activation"] == "table":
        size = site.constants["table"].size
        index = requantize(ends, multiplier, shift, size // 2, 0, size - 1)
        return bool(index[0] == 0 and index[1] == size - 1)
    state = requantize(ends, multiplier, shift, zero_point, low, high, rounding=rounding_of(site, by_table=True))
    return bool(state[0] == low and state[1] == high)


def accumulator_reach(site: Site) -> int:
    """A proven bound of |accumulator|, for every input that x's element type holds and every state."""
    return int(row_reach(site).max(initial=0))


def row_reach(site: Site) -> NDArray[np.object_]:
    """The same of each row: Python integers ``[H]``, or ``[4H]`` of an LSTM."""
    attributes, constants = site.attributes, site.constants
    zero_point, x_zero_point = int(attributes["h_zero_point"]), int(attributes["x_zero_point"])
    return recurrent_reach(
        recurrent_weight=constants["recurrent_weight"],
        input_weight=constants["input_weight"],
        bias=constants["bias"],
        state=max(abs(int(attributes["low"]) - zero_point), abs(int(attributes["high"]) - zero_point)),
        x=max(x_zero_point, 255 - x_zero_point) if site.dtypes["x"] == UINT8 else 2**15,
        recurrent_shift=int(attributes["recurrent_shift"]),
        input_shift=int(attributes["input_shift"]),
        input_multiplier=constants.get("input_multiplier"),
        modrelu_bias=constants.get("modrelu_bias"),
    )
