"""Batch normalization of quaternion channels, blocked [r...|i...|j...|k...], in the three published forms.

Of ``q`` [4], the components of one quaternion channel, with the batch's (training) or the running statistics (evaluation):

- split: ``y_c = gamma_c (q_c - mu_c) / sqrt(v_c + eps) + beta_c``, each component on its own: ``nn.BatchNorm2d`` over 4C;
- one variance: ``y = gamma (q - mu) / sqrt(v + eps) + beta``, ``v = E|q - mu|^2`` and ``gamma`` real, one for each
  quaternion. Sources: Yin et al., "Quaternion convolutional neural network for color image classification and forensics",
  IEEE Access 7, 2019; SpeechBrain's ``QBatchNorm``;
- whitening: ``y = Gamma W (q - mu) + beta`` with W [4, 4] made of the covariance ``V + eps I`` [4, 4]. Source: Gaudet and
  Maida, "Deep quaternion networks", arXiv 1712.04604, section 3.5.

The channel axis is 1, as torch has it, or another by ``dim`` (SpeechBrain and Keras: -1). Statistics run over all other
axes, and running statistics are averages of the batches' ``(1 - momentum) old + momentum new``; quaternion variances and
covariances are divided by the number of values, as in the published codes.
"""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor, nn

from qdeploy.runtime.errors import InvalidInputError

__all__ = [
    "WHITENINGS",
    "QuaternionBatchNorm",
    "QuaternionSplitBatchNorm",
    "QuaternionWhiteningBatchNorm",
    "whitening_matrix",
]

WHITENINGS = ("cholesky", "htorch", "gaudet")


def whitening_matrix(covariance: Tensor, whitening: str = "cholesky") -> Tensor:
    """W [C, 4, 4] of ``covariance`` [C, 4, 4], symmetric and positive definite; ``L`` is its lower Cholesky factor.

    - ``cholesky``: ``W = L^-1``, so that ``W V W^T = I``: the paper's (``W^T W = V^-1``);
    - ``htorch``: ``W = (L^T)^-1``, what hTorch's ``QBatchNorm2d`` solves for. It whitens only where V is diagonal;
    - ``gaudet``: ``W = L + L^T - diag(L)``, what the authors' Keras code multiplies by (of V, not of its inverse): it does
      not whiten, but weights trained with it need it.

    Raises:
        InvalidInputError: another ``whitening``.
    """
    factor = torch.linalg.cholesky(covariance)
    if whitening == "gaudet":
        symmetrised: Tensor = factor + factor.tril(-1).mT
        return symmetrised
    if whitening not in WHITENINGS:
        raise InvalidInputError(f"whitening={whitening!r}: expected one of {', '.join(WHITENINGS)}")
    unit = torch.eye(4, dtype=covariance.dtype, device=covariance.device)
    inverse: Tensor = torch.linalg.solve_triangular(factor, unit, upper=False)
    return inverse.mT if whitening == "htorch" else inverse


class _QuaternionBatchNorm(nn.Module):
    """What the three forms share: the channels, how batches are counted, and where the channel axis is."""

    def __init__(self, num_features: int, eps: float, momentum: float | None, dim: int) -> None:
        super().__init__()
        if num_features < 4 or num_features % 4:
            raise InvalidInputError(
                f"num_features={num_features}: expected a positive multiple of 4, since four channels make a quaternion"
            )
        if not eps >= 0:
            raise InvalidInputError(f"eps={eps}: expected a number that is not negative")
        if momentum is not None and not 0 < momentum <= 1:
            raise InvalidInputError(
                f"momentum={momentum}: expected more than 0 and at most 1, or None for a plain average"
            )
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.dim = dim
        self.num_batches_tracked: Tensor
        self.register_buffer("num_batches_tracked", torch.tensor(0, dtype=torch.long))

    def forward(self, inputs: Tensor) -> Tensor:
        """``inputs`` [B, 4C], [B, 4C, L], [B, 4C, H, W], [B, 4C, D, H, W], with ``dim=-1`` [B, ..., 4C]; the same shape back.

        Raises:
            InvalidInputError: another number of channels; in training, fewer than two values a channel.
        """
        if inputs.ndim < 2 or not -inputs.ndim <= self.dim < inputs.ndim or inputs.shape[self.dim] != self.num_features:
            raise InvalidInputError(
                f"{type(self).__name__}: found an input of shape {list(inputs.shape)}, expected {self.num_features} channels "
                f"on axis {self.dim}"
            )
        if self.training and inputs.numel() // self.num_features < 2:
            raise InvalidInputError(
                f"{type(self).__name__}: found an input of shape {list(inputs.shape)}, expected more than one value for each "
                "channel in training; use a larger batch, or call eval()"
            )
        if self.training:
            self.num_batches_tracked.add_(1)
        else:
            evaluated = self._evaluate(inputs)
            if evaluated is not None:
                return evaluated
        # [values, 4C]: every form works on one row of channels after another.
        rows = inputs.movedim(self.dim, -1)
        # Sums over a batch want float32 where the products before them were made in bfloat16.
        values = rows.reshape(-1, self.num_features).to(next(self.parameters()).dtype)
        device = inputs.device.type
        exact = torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext()
        with exact:
            return self._normalize(values).to(inputs.dtype).reshape(rows.shape).movedim(-1, self.dim)

    def _normalize(self, rows: Tensor) -> Tensor:
        """``rows`` [N, 4C] normalized; in training the running statistics follow them."""
        raise NotImplementedError

    def _evaluate(self, inputs: Tensor) -> Tensor | None:
        """``inputs`` normalized by the running statistics in their own layout, where that is one map for each channel.

        An exported graph then holds three operators with a constant for each channel, whoever reads it.
        """
        del inputs
        return None

    def _share(self) -> float:
        """What part of a running statistic this batch makes."""
        return self.momentum if self.momentum is not None else 1.0 / max(1.0, float(self.num_batches_tracked))

    def _follow(self, running: Tensor, found: Tensor) -> None:
        """Moves a running statistic towards that of this batch."""
        running.lerp_(found.detach().to(running.dtype), self._share())

    def extra_repr(self) -> str:
        """What ``print(module)`` shows of it."""
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, dim={self.dim}"


class QuaternionSplitBatchNorm(_QuaternionBatchNorm):
    """Every component normalized on its own: ``nn.BatchNorm1d/2d/3d`` over 4C channels, whose state dictionary it reads.

    Parameters: ``weight`` [4C], ones; ``bias`` [4C], zeros. Buffers: ``running_mean`` [4C], zeros; ``running_var`` [4C], ones
    (unbiased, as torch has it).
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, dim: int = 1) -> None:
        """Builds the layer for ``num_features`` = 4C channels.

        Raises:
            InvalidInputError: ``num_features`` that are no positive multiple of 4, ``eps`` or ``momentum`` out of range.
        """
        super().__init__(num_features, eps, momentum, dim)
        self.weight = nn.Parameter(torch.ones(num_features))
        self.bias = nn.Parameter(torch.zeros(num_features))
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))

    def _normalize(self, rows: Tensor) -> Tensor:
        return nn.functional.batch_norm(
            rows, self.running_mean, self.running_var, self.weight, self.bias, self.training, self._share(), self.eps
        )

    def scale_and_shift(self) -> tuple[Tensor, Tensor]:
        """``scale`` [4C] and ``shift`` [4C], float64: in evaluation ``y = scale x + shift``."""
        scale = self.weight.detach().double() / (self.running_var.double() + self.eps).sqrt()
        return scale, self.bias.detach().double() - scale * self.running_mean.double()


class QuaternionBatchNorm(_QuaternionBatchNorm):
    """One real variance and one gamma for each quaternion, a beta for each component: commutes with quaternion products.

    So it folds exactly into a quaternion layer before it. Parameters: ``gamma`` [C], ones; ``beta`` [4C], zeros. Buffers:
    ``running_mean`` [4C], zeros; ``running_var`` [C], ones (``E|q - mu|^2``, the sum of the four components' variances).
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, num_features: int, eps: float = 1e-4, momentum: float | None = 0.1, dim: int = 1) -> None:
        """Builds the layer for ``num_features`` = 4C channels.

        Raises:
            InvalidInputError: ``num_features`` that are no positive multiple of 4, ``eps`` or ``momentum`` out of range.
        """
        super().__init__(num_features, eps, momentum, dim)
        quaternions = num_features // 4
        self.gamma = nn.Parameter(torch.ones(quaternions))
        self.beta = nn.Parameter(torch.zeros(num_features))
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(quaternions))

    def _normalize(self, rows: Tensor) -> Tensor:
        # Of a training batch: in evaluation ``_evaluate`` answers.
        mean = rows.mean(dim=0)
        centred = rows - mean
        # torch.var of this axis takes fifty times as long.
        variance = centred.square().mean(dim=0).reshape(4, -1).sum(dim=0)
        self._follow(self.running_mean, mean)
        self._follow(self.running_var, variance)
        scale = (self.gamma * torch.rsqrt(variance + self.eps)).repeat(4)
        return torch.addcmul(self.beta, centred, scale)

    def _evaluate(self, inputs: Tensor) -> Tensor:
        shape = [1] * inputs.ndim
        shape[self.dim] = self.num_features
        scale = (self.gamma * torch.rsqrt(self.running_var + self.eps)).repeat(4)
        centred = inputs.to(self.gamma.dtype) - self.running_mean.reshape(shape)
        return (centred * scale.reshape(shape) + self.beta.reshape(shape)).to(inputs.dtype)

    def scale_and_shift(self) -> tuple[Tensor, Tensor]:
        """``scale`` [4C], equal for a quaternion's four components, and ``shift`` [4C], float64: ``y = scale x + shift``."""
        scale = (self.gamma.detach().double() / (self.running_var.double() + self.eps).sqrt()).repeat(4)
        return scale, self.beta.detach().double() - scale * self.running_mean.double()


class QuaternionWhiteningBatchNorm(_QuaternionBatchNorm):
    """The four components decorrelated by a 4 x 4 matrix, then mixed by another: ``y = Gamma W (q - mu) + beta``.

    Parameters: ``weight`` [4, 4, C], Gamma, 1/2 on its diagonal; ``bias`` [4, C], zeros. Buffers: ``running_mean`` [4, C],
    zeros; ``running_cov`` [4, 4, C], 1/2 on its diagonal. These are the paper's: 1/sqrt(4). Where ``symmetric``, what stands
    below the diagonal of Gamma holds above it too, as in the paper; hTorch trains all sixteen numbers.
    """

    running_mean: Tensor
    running_cov: Tensor

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-4,
        momentum: float | None = 0.1,
        dim: int = 1,
        *,
        whitening: str = "cholesky",
        symmetric: bool = True,
    ) -> None:
        """Builds the layer for ``num_features`` = 4C channels; ``whitening`` is one of ``WHITENINGS``.

        Raises:
            InvalidInputError: ``num_features`` that are no positive multiple of 4, ``eps`` or ``momentum`` out of range, another
                whitening.
        """
        super().__init__(num_features, eps, momentum, dim)
        if whitening not in WHITENINGS:
            raise InvalidInputError(f"whitening={whitening!r}: expected one of {', '.join(WHITENINGS)}")
        self.whitening = whitening
        self.symmetric = symmetric
        quaternions = num_features // 4
        half = (torch.eye(4) / 2)[:, :, None].repeat(1, 1, quaternions)
        self.weight = nn.Parameter(half.clone())
        self.bias = nn.Parameter(torch.zeros(4, quaternions))
        self.register_buffer("running_mean", torch.zeros(4, quaternions))
        self.register_buffer("running_cov", half.clone())

    def gamma(self) -> Tensor:
        """Gamma [C, 4, 4]."""
        weight = self.weight.permute(2, 0, 1)
        return weight.tril() + weight.tril(-1).mT if self.symmetric else weight

    def _normalize(self, rows: Tensor) -> Tensor:
        # [C, 4, N]: a channel's quaternions are the columns that its matrices multiply.
        columns = rows.reshape(len(rows), 4, -1).permute(2, 1, 0)
        if self.training:
            mean = columns.mean(dim=2, keepdim=True)
            centred = columns - mean
            covariance = centred @ centred.mT / columns.shape[2]
            self._follow(self.running_mean, mean[:, :, 0].t())
            self._follow(self.running_cov, covariance.permute(1, 2, 0))
        else:
            centred = columns - self.running_mean.t()[:, :, None]
            covariance = self.running_cov.permute(2, 0, 1)
        normalized = self.gamma() @ (self._whitening(covariance) @ centred) + self.bias.t()[:, :, None]
        return normalized.permute(2, 1, 0).reshape(rows.shape)

    def _whitening(self, covariance: Tensor) -> Tensor:
        unit = torch.eye(4, dtype=covariance.dtype, device=covariance.device)
        return whitening_matrix(covariance + self.eps * unit, self.whitening)

    def matrix_and_shift(self) -> tuple[Tensor, Tensor]:
        """``matrix`` [C, 4, 4] and ``shift`` [4, C], float64: in evaluation ``y = matrix q + shift`` for each channel."""
        matrix = self.gamma().detach().double() @ self._whitening(self.running_cov.permute(2, 0, 1).double())
        mean = self.running_mean.double().t()[:, :, None]
        return matrix, self.bias.detach().double() - (matrix @ mean)[:, :, 0].t()

    def extra_repr(self) -> str:
        """What ``print(module)`` shows of it."""
        return f"{super().extra_repr()}, whitening={self.whitening!r}, symmetric={self.symmetric}"
