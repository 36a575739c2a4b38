"""Refuses torch layers that capture cannot write, before anything is traced."""

from __future__ import annotations

from torch import nn

from qdeploy.runtime.errors import UnsupportedModelError

__all__ = ["SUPPORTED_LAYERS", "check_layers"]

SUPPORTED_LAYERS = (
    "Linear, Embedding, Conv1d to Conv3d, ConvTranspose1d to ConvTranspose3d, QuaternionConv1d to QuaternionConv3d, "
    "QuaternionConvTranspose1d to QuaternionConvTranspose3d, QuaternionRotationConv1d and QuaternionRotationConv2d, "
    "QuaternionLinear, QuaternionRotationLinear, PHMLinear, PHMConv1d to PHMConv3d, "
    "QuaternionRNN, QuaternionGRU, QuaternionLSTM, LiGRU, QuaternionLiGRU, FastRNN, FastGRNN, "
    "OrthogonalRNN, OrthogonalClassifier, RNN (relu or tanh), GRU, LSTM (also proj_size), one direction or both, RNNCell, "
    "GRUCell and LSTMCell once a step of a loop, BatchNorm1d, 2d and 3d with running statistics, QuaternionBatchNorm, "
    "QuaternionSplitBatchNorm, QuaternionWhiteningBatchNorm, ReLU, ReLU6, Hardtanh, LeakyReLU, PReLU, Tanh, "
    "Sigmoid, SiLU, GELU, ELU, Hardswish, Mish and other functions of one value, "
    "MaxPool, AvgPool, AdaptiveAvgPool and AdaptiveMaxPool where sizes divide, ZeroPad, ReflectionPad, "
    "ReplicationPad and CircularPad, Upsample (nearest), ChannelShuffle, PixelShuffle, "
    "Flatten, Unflatten, Dropout, QuaternionDropout, Identity, a final Softmax or LogSoftmax, containers, and user modules that "
    "compute with these and with addition, multiplication, mean or amax over steps or images, reshape, transpose, slice and cat"
)

_LEAVES = (
    nn.Linear,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
    nn.ConstantPad1d,
    nn.ConstantPad2d,
    nn.ConstantPad3d,
    nn.ReflectionPad1d,
    nn.ReflectionPad2d,
    nn.ReflectionPad3d,
    nn.ReplicationPad1d,
    nn.ReplicationPad2d,
    nn.ReplicationPad3d,
    nn.CircularPad1d,
    nn.CircularPad2d,
    nn.CircularPad3d,
    nn.Embedding,
    nn.RNN,
    nn.GRU,
    nn.LSTM,
    nn.RNNCell,
    nn.GRUCell,
    nn.LSTMCell,
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.SyncBatchNorm,
    nn.ReLU,
    nn.ReLU6,
    nn.Hardtanh,
    nn.LeakyReLU,
    nn.PReLU,
    nn.ELU,
    nn.SELU,
    nn.CELU,
    nn.GELU,
    nn.SiLU,
    nn.Mish,
    nn.Hardswish,
    nn.Hardsigmoid,
    nn.Softplus,
    nn.Softsign,
    nn.LogSigmoid,
    nn.Tanhshrink,
    nn.Hardshrink,
    nn.Softshrink,
    nn.Threshold,
    nn.Tanh,
    nn.Sigmoid,
    nn.MaxPool1d,
    nn.MaxPool2d,
    nn.MaxPool3d,
    nn.AvgPool1d,
    nn.AvgPool2d,
    nn.AvgPool3d,
    nn.AdaptiveAvgPool1d,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveAvgPool3d,
    nn.AdaptiveMaxPool1d,
    nn.AdaptiveMaxPool2d,
    nn.AdaptiveMaxPool3d,
    nn.Upsample,
    nn.ChannelShuffle,
    nn.PixelShuffle,
    nn.PixelUnshuffle,
    nn.Flatten,
    nn.Unflatten,
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.Dropout3d,
    nn.AlphaDropout,
    nn.Identity,
    nn.Softmax,
    nn.LogSoftmax,
    nn.Sequential,
    nn.ModuleList,
    nn.ModuleDict,
    nn.ParameterList,
    nn.ParameterDict,
)


_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def check_layers(module: nn.Module) -> None:
    """Raises UnsupportedModelError for the first layer that cannot be captured, with its path and the nearest way."""
    for path, part in module.named_modules():
        where = f"layer {path or 'model'} (torch.nn.{type(part).__name__})"
        if type(part).__module__.startswith("torch.nn.") and not isinstance(part, _LEAVES):
            nearest = _nearest(part)
            raise UnsupportedModelError(
                f"{where} is not supported{f'; {nearest}' if nearest else ''}. Supported: {SUPPORTED_LAYERS}"
            )
        if isinstance(part, _BATCH_NORMS) and (part.running_mean is None or part.running_var is None):
            raise UnsupportedModelError(
                f"{where} has no running statistics and normalizes by those of the batch at hand, so that a sample's result "
                "would depend on the others; train with track_running_stats=True"
            )
        if getattr(part, "divisor_override", None) is not None:
            raise UnsupportedModelError(
                f"{where}: divisor_override={part.divisor_override}, which no exported graph keeps, expected none; put the "
                "factor into the weights of the layer behind"
            )
        if isinstance(part, nn.Embedding) and part.max_norm is not None:
            raise UnsupportedModelError(
                f"{where}: found max_norm={part.max_norm:g}, which changes the table while it is read, expected None; shorten "
                "the rows of its weight to that norm once, and set max_norm=None"
            )


def _nearest(part: nn.Module) -> str:
    name = type(part).__name__
    if name.startswith("LazyBatchNorm"):
        return "run it once, so that it knows its channels"
    if "Norm" in name:
        return (
            "it divides by a deviation of the sample itself, for which there is no integer form; train without it, or with batch "
            "normalization, which folds into the layer before it"
        )
    if name == "EmbeddingBag":
        return "use Embedding, and mean or sum over its rows: torch.mean(embedding(x), dim=1)"
    return ""
