"""Networks of every library, from its layout to a bundle whose runtimes agree and whose numbers are the float network's."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
import torch
from torch import nn

import qdeploy
from qdeploy.models.importers import hypernets, orkis, qytorch, speechbrain

from . import test_network, test_orkis_layers, test_qytorch, test_speechbrain_feedforward
from .definitions import drawn, foreign, weights


def rotating():
    w = weights(4, 2, 3, 3, seed=40) | {"zero_kernel": torch.zeros(4, 2, 3, 3)}
    return test_orkis_layers.convolutional("QuaternionConv", w, rotation=True, quaternion_format=True)


def orkis_network():
    make = test_orkis_layers.convolutional
    down = make("QuaternionConv", weights(4, 2, 3, 3), drawn(16), stride=2, padding=1)
    up = make("QuaternionTransposeConv", weights(4, 2, 3, 3, seed=9), stride=2, padding=1, output_padding=1)
    return orkis.convert(nn.Sequential(down, nn.ReLU(), up, nn.ReLU(), rotating()))


def qytorch_network():
    make = test_qytorch.layer
    first = make("QConv2d", weights(4, 2, 3, 3), padding=(1, 1), padding_mode="reflect")
    return qytorch.convert(
        nn.Sequential(first, nn.ReLU(), make("QConv2d", weights(4, 2, 2, 2), padding="same", groups=2))
    )


def hypernets_network():
    first = foreign(
        "PHConv", {"A": drawn(2, 2, 2), "F": drawn(2, 4, 4, 3, 3), "bias": drawn(8)}, n=2, stride=1, padding=0
    )
    second = foreign("PHMLinear", {"a": drawn(4, 4, 4), "s": drawn(4, 2, 48), "bias": drawn(8)}, n=4)
    return hypernets.convert(nn.Sequential(first, nn.ReLU(), nn.Flatten(), second))


def speechbrain_network():
    given = test_speechbrain_feedforward
    body = nn.Sequential(
        given.convolutional(weights(3, 2, 3, 3), drawn(12)), given.norm(), nn.ReLU(), given.linear(weights(3, 2))
    )
    return speechbrain.convert(body)


NETWORKS = {
    "orkis": (orkis_network, {"Conv": 3, "HamiltonMatrix": 2, "HypercomplexMatrix": 1}),
    # A reflecting border is a Gather for each axis; groups are real.
    "qytorch": (qytorch_network, {"Conv": 2, "onnx.Gather": 2}),
    "hypernets": (hypernets_network, {"Conv": 1, "Linear": 1, "HypercomplexMatrix": 2}),
    "speechbrain": (speechbrain_network, {"Conv": 1, "Linear": 1, "HamiltonMatrix": 2}),
}


def check(bundle, network, x, operators):
    assert bundle.verify(samples=2).passed
    found = Counter(bundle.inspect().operators)
    assert {name: found[name] for name in operators} == operators
    (integer,) = bundle.run({"x": x}).values()
    with torch.no_grad():
        wanted = network(torch.from_numpy(x)).numpy()
    # What 8-bit weights and activations cost a network of random weights.
    assert float(np.abs(integer - wanted).mean()) < 0.02 * float(np.abs(wanted).max())


class Named(nn.Module):
    """Its input is called x."""

    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, x):
        return self.body(x)


@pytest.mark.parametrize("library", NETWORKS)
def test_a_live_network(tmp_path, library):
    make, operators = NETWORKS[library]
    network, x = Named(make()).eval(), drawn(16, 8, 6, 8, seed=9).numpy()
    check(qdeploy.export_model(network, tmp_path / "bundle", calibration={"x": x}), network, x, operators)


def test_a_network_from_files(tmp_path):
    """hTorch's network of the other tests: convolutions, 4 x 4 normalization, a residual branch, a pool, a real layer."""
    torch.save(test_network.htorch_state(), tmp_path / "net.pt")
    (tmp_path / "net.json").write_text(json.dumps(test_network.HTORCH))
    x = drawn(16, 8, 6, 6, seed=9).numpy()
    bundle = qdeploy.export_model(
        tmp_path / "net.pt", tmp_path / "bundle", architecture=tmp_path / "net.json", calibration={"inputs": x}
    )
    assert bundle.verify(samples=2).passed
    found = Counter(bundle.inspect().operators)
    # The normalization is folded or stands by itself, whichever file is smaller.
    assert (found["Conv"], found["Add"], found["Linear"]) == (2, 1, 1)
    (integer,) = bundle.run({"inputs": x}).values()
    wanted = test_network.htorch_forward(torch.from_numpy(x)).numpy()
    assert float(np.abs(integer - wanted).mean()) < 0.02 * float(np.abs(wanted).max())
