"""Quantization recipes: every choice that quantization makes, as one frozen, named record.

Recipes of the package are the JSON files in ``qdeploy/recipes``; a user's own is a path.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qdeploy.runtime.errors import InvalidFileError, InvalidInputError

RECIPES = Path(__file__).parent.parent / "recipes"
SHORT_BITS = 8
"""Of a multiplier whose product with an accumulator of 23 bits fits int32."""

_LARGEST_RECIPE = 1 << 16
_LONGEST_TEXT = 1000

_CHOICES: dict[str, tuple[Any, ...]] = {
    "weight_granularity": ("per_tensor", "per_channel"),
    "recurrent_granularity": ("per_tensor", "per_channel"),
    "range": ("minmax", "percentile"),
    "state_range": ("minmax", "percentile", "mse", "power-of-two"),
    "recurrent_rounding": ("auto", "nearest", "shaped"),
    "batch_norm": ("auto", "stage", "fold"),
    "rounding": ("half_up",),
    "conv_kernels": ("strict", "qlinear"),
    "tflite_kernels": ("portable", "builtin"),
    "multiplier_bits": (1, 15, 31),
    "product_multiplier_bits": (8, 15),
}
_BOUNDS: dict[str, tuple[float, float]] = {
    "weight_bits": (1, 8),
    "activation_bits": (2, 8),
    "state_bits": (2, 16),
    "percentile": (50.0, 100.0),
    "max_gain_error": (0.0, 1.0),
}


@dataclass(frozen=True)
class Recipe:
    """How a float model becomes an integer one.

    Attributes:
        name: the recipe's name.
        description: one sentence.
        weight_bits: 1 to 8, of weights that do not already lie on a coarser grid.
        activation_bits: 2 to 8, of tensors between layers.
        state_bits: 2 to 16, of recurrent states; up to 8 are uint8, more are int16.
        weight_granularity: one scale ``per_tensor`` or ``per_channel`` (in quaternion layers: per output quaternion).
        recurrent_granularity: the same for recurrent layers; per tensor lets a loop finish by a look-up.
        recurrent_rounding: of an orthogonal recurrent weight that lies on no grid yet, with one scale per tensor: ``nearest``
            level, or ``shaped``, up or down so that its eigenvalues stay (see ``shaped_rounding.py``); ``auto`` is
            ``shaped`` in linear loops, whose memory is those eigenvalues' powers.
        range: activations' ranges by ``minmax`` or by ``percentile``.
        state_range: states' ranges over all time steps, by ``minmax``, ``percentile``, ``mse`` (least mean squared error) or
            ``power-of-two`` (see ``state_range.py``); what lies beyond a range saturates.
        percentile: which one, 50 to 100, of ``range`` and ``state_range``.
        multiplier_bits: 15 or 31; 1 is a power of two, for which weight scales are rounded up.
        product_multiplier_bits: of linear layers and convolutions where ``multiplier_bits`` is 15; 8 is for the requantization of
            convolutions in 32 bits: weight scales are raised, by a part in 128 at most for the largest, to what such
            multipliers say exactly; where a scale is fixed otherwise, they have 15.
        max_gain_error: a loop whose gain error, compounded over the calibrated steps, is larger takes 31 bits.
        batch_norm: where a batch normalization behind a layer of products goes: ``fold`` into its weights, quaternion components
            written in full where need be; ``stage`` into multipliers and operators, weights as they are; ``auto`` takes what
            makes the smaller file (``docs/batch_normalization.md``).
        recognise_grid: whether weights that lie on a q_k grid are taken as they are.
        rounding: ``half_up``.
        conv_kernels: ``strict``, integers alone, or ``qlinear``: convolutions by the standard QLinearConv where its single
            precision is exact, with weight scales raised to powers of two or few bits; faster, but not integer-only, and
            rounded half to even (``docs/convolution.md``).
        tflite_kernels: ``portable``, or ``builtin``: layers of products that LiteRT's own int8 kernels compute exactly take
            those kernels' rounding, half to even, with weight scales raised to powers of two or few bits; a batch normalization
            behind them goes into the weights unless ``batch_norm`` is ``stage``; LSTM layers become the one that LiteRT has built
            in (``docs/litert_kernels.md``).
    """

    name: str
    description: str
    weight_bits: int = 8
    activation_bits: int = 8
    state_bits: int = 12
    weight_granularity: str = "per_channel"
    recurrent_granularity: str = "per_tensor"
    recurrent_rounding: str = "auto"
    range: str = "minmax"
    state_range: str = "minmax"
    percentile: float = 99.99
    multiplier_bits: int = 15
    product_multiplier_bits: int = 15
    max_gain_error: float = 0.001
    batch_norm: str = "auto"
    recognise_grid: bool = True
    rounding: str = "half_up"
    conv_kernels: str = "strict"
    tflite_kernels: str = "portable"

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise InvalidInputError(
                    f"recipe {self.name}: {name}={getattr(self, name)!r}; expected one of {list(choices)}."
                )
        for name, (low, high) in _BOUNDS.items():
            if not low <= getattr(self, name) <= high:
                raise InvalidInputError(f"recipe {self.name}: {name}={getattr(self, name)}; expected {low} to {high}.")
        if self.conv_kernels != "strict" and self.tflite_kernels != "portable":
            raise InvalidInputError(
                f"recipe {self.name}: conv_kernels={self.conv_kernels!r} is for onnxruntime and "
                f"tflite_kernels={self.tflite_kernels!r} for LiteRT; leave one of the two as it is."
            )

    @property
    def short_multipliers(self) -> bool:
        """Whether linear layers and convolutions shall have multipliers of 8 bits."""
        return self.multiplier_bits == 15 and self.product_multiplier_bits == SHORT_BITS

    def changed(self, **values: Any) -> Recipe:
        """A copy with those of ``values`` that are not None."""
        return dataclasses.replace(self, **{key: value for key, value in values.items() if value is not None})

    def to_dict(self) -> dict[str, Any]:
        """As it stands in a manifest."""
        return dataclasses.asdict(self)


def recipe_names() -> list[str]:
    """The recipes that come with the package."""
    return sorted(path.stem for path in RECIPES.glob("*.json"))


def load_recipe(name_or_path: str | Path) -> Recipe:
    """A recipe by name or path.

    Raises:
        InvalidInputError: no such recipe, or a value outside its range.
        InvalidFileError: not JSON, or with fields that no recipe has.
    """
    path = RECIPES / f"{name_or_path}.json"
    if Path(name_or_path).suffix == ".json":
        path = Path(name_or_path)
    elif str(name_or_path) not in recipe_names():
        raise InvalidInputError(
            f"no recipe is named {name_or_path!r}; there are {', '.join(recipe_names())}, or a .json file."
        )
    if not path.is_file():
        raise InvalidFileError(f"recipe {path}: no such file; there are {', '.join(recipe_names())}, or a .json file.")
    try:
        if path.stat().st_size > _LARGEST_RECIPE:
            raise InvalidFileError(f"{path} has more than {_LARGEST_RECIPE} bytes; a recipe has a few hundred.")
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidFileError(f"recipe {path} cannot be read: {error}.") from error
    return _parse(content, path)


def _parse(content: Any, path: Path) -> Recipe:
    if not isinstance(content, Mapping):
        raise InvalidFileError(f"recipe {path} holds no JSON object.")
    fields = {field.name: str(field.type) for field in dataclasses.fields(Recipe)}
    unknown = set(content) - set(fields)
    if unknown:
        raise InvalidFileError(f"recipe {path} has the unknown fields {sorted(unknown)}; known are {sorted(fields)}.")
    kinds: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "str": (str,), "bool": (bool,)}
    for key, value in content.items():
        if not isinstance(value, kinds[fields[key]]) or (isinstance(value, bool) and fields[key] != "bool"):
            raise InvalidFileError(f"recipe {path}: {key} is {value!r}; expected {fields[key]}.")
        if isinstance(value, str) and (len(value) > _LONGEST_TEXT or not value.isprintable()):
            raise InvalidFileError(
                f"recipe {path}: {key} is {value[:60]!r}; expected at most {_LONGEST_TEXT} printable characters."
            )
    defaults = {"name": path.stem, "description": ""}
    return Recipe(**{**defaults, **content})
