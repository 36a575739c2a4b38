"""Layers of HyperNets (eleGAN23): parameterized hypercomplex ones, and the quaternion ones beside them.

Facts of that library, checked against its forward pass:

- the weight is the sum of kron(A_i, F_i) over n algebra matrices A [n, n, n] and n weights F [n, out/n, in/n, *kernel]. A linear
  layer calls them ``a`` and ``s``, or ``A`` and ``S`` in the library's other file, a convolution ``A`` and ``F``;
- a convolution stores a bias that it never adds: it is dropped;
- ``KroneckerConv`` is a quaternion convolution by w (x) x of components [out/4, in/4, *kernel]; with ``first_layer`` the real
  parts of its weights do not take part;
- ``QuaternionConv``, ``QuaternionTransposeConv``, ``QuaternionLinear`` and ``QuaternionLinearAutograd`` are those of Parcollet's
  library.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from qdeploy.models.hypercomplex import PHMConv1d, PHMConv2d, PHMConv3d, PHMLinear
from qdeploy.runtime.errors import InvalidFileError, InvalidInputError, UnsupportedModelError

from . import orkis
from .conversion import Foreign, convert_layers
from .products import Window, convolution
from .stored import Stored

__all__ = ["LAYERS", "convert", "hypernets_convolution", "hypernets_linear", "kronecker_convolution"]

_CONVOLUTIONS = {1: PHMConv1d, 2: PHMConv2d, 3: PHMConv3d}
_RANKS = {"PHConv": 2, "PHConv1D": 1, "PHConv2d": 2, "PHConv3D": 3}


def convert(module: nn.Module) -> nn.Module:
    """A copy of a live ``module`` in evaluation mode whose HyperNets layers are layers of this package.

    Replaced are PHMLinear, PHConv, PHConv1D, PHConv2d, PHConv3D, KroneckerConv, QuaternionConv, QuaternionTransposeConv,
    QuaternionLinear and QuaternionLinearAutograd, known by the names of their classes and attributes; the library is not
    imported.

    Raises:
        UnsupportedModelError: a layer that has no form here.
        InvalidFileError: tensors of shapes that do not fit, or NaN.
    """
    return convert_layers(module, "HyperNets", LAYERS)


def hypernets_linear(stored: Stored) -> nn.Module:
    """``PHMLinear``, by either pair of names of its tensors."""
    names = ("a", "s") if "a" in stored else ("A", "S")
    algebra, weights = stored.take(names[0], None, None, None), stored.take(names[1], None, None, None)
    n = _algebra(algebra, weights, stored)
    bias = stored.optional("bias", n * weights.shape[1])
    return _filled(
        lambda: PHMLinear(n, n * weights.shape[2], n * weights.shape[1], bias=bias is not None),
        algebra,
        weights,
        bias,
        stored,
    )


def hypernets_convolution(kind: str, window: Window, stored: Stored) -> nn.Module:
    """The class ``kind``; its bias is dropped."""
    algebra, weights = stored.take("A", None, None, None), stored.take("F")
    n = _algebra(algebra, weights, stored)
    if weights.dim() != 3 + _RANKS[kind]:
        raise InvalidFileError(
            f"{stored.where}: F has the shape {list(weights.shape)}, expected {3 + _RANKS[kind]} dimensions"
        )
    stored.drop("bias")
    make: Any = _CONVOLUTIONS[_RANKS[kind]]
    return _filled(
        lambda: make(
            n,
            n * weights.shape[2],
            n * weights.shape[1],
            tuple(weights.shape[3:]),
            window.stride,
            window.padding,
            window.dilation,
            bias=False,
        ),
        algebra,
        weights,
        None,
        stored,
    )


def kronecker_convolution(window: Window, stored: Stored, *, first_layer: bool) -> nn.Module:
    """``KroneckerConv`` of components [out/4, in/4, *kernel]."""
    parts = stored.components()
    if first_layer:
        parts[0] = torch.zeros_like(parts[0])
    return convolution(parts, stored.optional("bias"), window, stored.where)


def _algebra(algebra: Tensor, weights: Tensor, stored: Stored) -> int:
    """n, once both tensors have it."""
    n = len(algebra)
    if algebra.shape != (n, n, n) or weights.dim() < 3 or len(weights) != n:
        raise InvalidFileError(
            f"{stored.where}: the algebra has the shape {list(algebra.shape)} and the weights {list(weights.shape)}, expected "
            "[n, n, n] and [n, out/n, in/n, ...]"
        )
    return n


def _filled(make: Any, algebra: Tensor, weights: Tensor, bias: Tensor | None, stored: Stored) -> nn.Module:
    try:
        layer: nn.Module = make()
    except InvalidInputError as error:
        raise InvalidFileError(f"{stored.where}: {error}") from error
    state = {"a": algebra, "s": weights} | ({} if bias is None else {"bias": bias})
    layer.load_state_dict(state)
    return layer.eval()


def _live_linear(part: Any, stored: Stored) -> nn.Module:
    del part
    return hypernets_linear(stored)


def _live_convolution(part: Any, stored: Stored) -> nn.Module:
    window = Window(part.stride, part.padding, getattr(part, "dilation", 1))
    return hypernets_convolution(type(part).__name__, window, stored)


def _live_kronecker(part: Any, stored: Stored) -> nn.Module:
    if part.rotation:
        raise UnsupportedModelError(f"{stored.where}: with rotation=True HyperNets' KroneckerConv gives None")
    window = Window(part.stride, part.padding, part.dilatation, part.groups)
    return kronecker_convolution(window, stored, first_layer=part.first_layer)


LAYERS = (
    Foreign("PHMLinear", frozenset({"n", "a", "s"}), _live_linear),
    Foreign("PHMLinear", frozenset({"n", "A", "S"}), _live_linear),
    *(Foreign(kind, frozenset({"n", "A", "F"}), _live_convolution) for kind in _RANKS),
    Foreign("KroneckerConv", frozenset({"r_weight", "learn_A", "first_layer"}), _live_kronecker),
    *(layer for layer in orkis.LAYERS if layer.name != "QLSTM"),
)
"""The library's classes of layers."""
