"""Networks whose channels are the last axis: Transposes between their layers meet, and activations join the layers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from qdeploy.capture import capture


class ChannelsLast(nn.Module):
    """A convolution of [B, H, W, C]."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.layer = nn.Conv2d(inputs, outputs, 3)

    def forward(self, x):
        return self.layer(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Hardtanh, nn.Tanh])
def test_between_two_convolutions(rng, operators, activation):
    torch.manual_seed(0)
    network = nn.Sequential(ChannelsLast(3, 4), activation(), ChannelsLast(4, 2)).eval()
    captured = capture(network, {"input": rng.normal(size=(2, 7, 6, 3))})
    middle = {nn.ReLU: "Relu", nn.Hardtanh: "Clip", nn.Tanh: "Tanh"}[activation]
    assert operators(captured) == ["Transpose", "Conv", middle, "Conv", "Transpose"]
    assert captured.error < 1e-5


TURNED = "Transpose<perm = [0, 2, 1]>"
TEXT = """
<ir_version: 10, opset_import: ["" : 18]>
net (float[N, 2, 3] x) => (float[N, 3, 2] y%s)
{
    %s
}
"""


@pytest.mark.parametrize(
    ("more", "body", "expected"),
    [
        # The Transpose behind has a use for it: both go.
        (
            "",
            f"a = {TURNED}(x) b = Relu(a) c = {TURNED}(b) d = Tanh(c) y = {TURNED}(d)",
            ["Relu", "Tanh", "Transpose"],
        ),
        # Nobody has.
        ("", f"a = {TURNED}(x) y = Relu(a)", ["Transpose", "Relu"]),
        # Somebody else reads what is in between.
        (
            ", float[N, 3, 2] a, float[N, 2, 3] z",
            f"a = {TURNED}(x) y = Relu(a) z = {TURNED}(y)",
            ["Transpose", "Relu", "Transpose"],
        ),
    ],
)
def test_of_a_file(rng, onnx_file, operators, run, more, body, expected):
    captured = capture(onnx_file(TEXT % (more, body)), {"x": rng.normal(size=(2, 2, 3))})
    assert operators(captured) == expected
    assert captured.error < 1e-6
