"""projUNN (Kiani, Balestriero, LeCun, Lloyd, arXiv 2203.05483): the optimizer keeps a plain weight orthogonal.

Facts of github.com/facebookresearch/projUNN: the MNIST programs have ``recurrent_layer``, ``input_layer`` (with bias)
and ``lin``; the copy and adding programs ``rnn_layer.recurrent_kernel``, ``rnn_layer.input_kernel`` and
``output_layer``. Both multiply as torch.nn.Linear does. The modReLU of that code adds 1e-6 to |a|.
"""

from __future__ import annotations

from .library import Library, Recurrent, check_orthogonal
from .side_car import SideCar
from .tensors import Tensors

__all__ = ["LIBRARY"]


def _read(tensors: Tensors, name: str, side_car: SideCar) -> Recurrent:
    del side_car
    weight = tensors.take(name, None, None)
    return Recurrent.matrix(check_orthogonal(tensors.take(name, len(weight), len(weight)), name, tensors.source))


LIBRARY = Library(
    layouts=(
        {
            "recurrent_weight": "recurrent_layer.weight",
            "recurrent_bias": "recurrent_layer.bias",
            "input_weight": "input_layer.weight",
            "input_bias": "input_layer.bias",
            "modrelu_bias": "nonlinearity.b",
            "output_weight": "lin.weight",
            "output_bias": "lin.bias",
        },
        {
            "recurrent_weight": "rnn_layer.recurrent_kernel.weight",
            "recurrent_bias": "rnn_layer.recurrent_kernel.bias",
            "input_weight": "rnn_layer.input_kernel.weight",
            "input_bias": "rnn_layer.input_kernel.bias",
            "modrelu_bias": "rnn_layer.nonlinearity.b",
            "output_weight": "output_layer.weight",
            "output_bias": "output_layer.bias",
        },
    ),
    read=_read,
    epsilon=1e-6,
)
