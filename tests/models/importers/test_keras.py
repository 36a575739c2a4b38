"""Gaudet's Keras layers from HDF5 files, against the equations of his code."""

from __future__ import annotations

import json
import math

import h5py
import numpy as np
import pytest
import torch
from torch.nn import functional

from qdeploy.models.importers.keras_file import read_keras_file
from qdeploy.models.importers.network import import_network
from qdeploy.runtime.errors import InvalidFileError

from .definitions import close, conjugate, drawn, hamilton, weights

CHANNELS = 12
PAIRS = ("rr", "ri", "rj", "rk", "ii", "ij", "ik", "jj", "jk", "kk")


def saved(path, layers, *, whole=False):
    """As Keras 2 writes it: ``layer/layer/weight:0``, under ``model_weights`` where a whole model was saved."""
    with h5py.File(path, "w") as file:
        root = file.create_group("model_weights") if whole else file
        for layer, tensors in layers.items():
            group = root.create_group(layer)
            group.attrs["weight_names"] = [f"{layer}/{name}:0".encode() for name in tensors]
            for name, tensor in tensors.items():
                group.create_dataset(f"{layer}/{name}:0", data=np.asarray(tensor))
        if whole:
            file.create_group("optimizer_weights").create_dataset("iterations:0", data=7)
            root.create_group("dropout_1")
    return path


def kernel(w):
    """[*kernel, in, 4 n], the four components beside each other."""
    parts = [w[f"{part}_weight"] for part in "rijk"]
    return torch.cat([part.permute(*range(2, part.dim()), 1, 0) for part in parts], dim=-1)


def matrices(prefix, seed):
    rows = drawn(CHANNELS // 4, 4, 9, seed=seed)
    matrix = rows @ rows.mT / 9 + 0.05 * torch.eye(4)
    return matrix, {f"{prefix}{pair}": matrix[:, "rijk".index(pair[0]), "rijk".index(pair[1])] for pair in PAIRS}


COVARIANCE, MOVING = matrices("moving_V", 3)
GAMMA, GAMMAS = matrices("gamma_", 4)
NORM = MOVING | GAMMAS | {"beta": drawn(CHANNELS, seed=5), "moving_mean": drawn(CHANNELS, seed=6)}


def normalized(x):
    """[B, 12, ...]: Gamma (L + L^T - diag(L)) (x - mean) + beta, entry by entry as the code writes L."""
    v = COVARIANCE
    rr = v[:, 0, 0].sqrt()
    ri, rj, rk = v[:, 0, 1] / rr, v[:, 0, 2] / rr, v[:, 0, 3] / rr
    ii = (v[:, 1, 1] - ri**2).sqrt()
    ij, ik = (v[:, 1, 2] - ri * rj) / ii, (v[:, 1, 3] - ri * rk) / ii
    jj = (v[:, 2, 2] - ij**2 - rj**2).sqrt()
    jk = (v[:, 2, 3] - ij * ik - rj * rk) / jj
    kk = (v[:, 3, 3] - jk**2 - ik**2 - rk**2).sqrt()
    rows = [[rr, ri, rj, rk], [ri, ii, ij, ik], [rj, ij, jj, jk], [rk, ik, jk, kk]]
    w = torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)
    shape = (1, -1, *[1] * (x.dim() - 2))
    centred = (x - NORM["moving_mean"].reshape(shape)).reshape(len(x), 4, CHANNELS // 4, -1)
    mixed = torch.einsum("cij,bjcs->bics", GAMMA @ w, centred).reshape(x.shape)
    return mixed + NORM["beta"].reshape(shape)


def padded_same(x, width, stride):
    """TensorFlow's, for each of two axes."""
    pads = []
    for length in reversed(x.shape[2:]):
        total = max((math.ceil(length / stride) - 1) * stride + width - length, 0)
        pads += [total // 2, total - total // 2]
    return functional.pad(x, pads)


@pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
@pytest.mark.parametrize("whole", [False, True])
def test_a_convolutional_network(tmp_path, data_format, whole):
    first, second = weights(3, 2, 3, 3), weights(3, 3, 2, 2, seed=20)
    # 12 channels of 3 x 2, flattened in the order of the format, which the weights do not know.
    dense, out, real = weights(18, 4, seed=30), drawn(16, 5, seed=40), drawn(1, 1, CHANNELS, CHANNELS, seed=41)
    scale, shift = drawn(CHANNELS, seed=42), drawn(CHANNELS, seed=43)
    saved(
        tmp_path / "net.h5",
        {
            "quaternion_conv2d_1": {"kernel": kernel(first), "bias": drawn(CHANNELS, seed=8)},
            "quaternion_batch_normalization_1": NORM,
            "quaternion_conv2d_2": {"kernel": kernel(second)},
            "conv2d_1": {"kernel": real, "bias": torch.zeros(CHANNELS)},
            "batch_normalization_1": {
                "gamma": scale, "beta": shift, "moving_mean": shift, "moving_variance": scale.abs()
            },
            "quaternion_dense_1": {f"{part}_kernel": dense[f"{part}_weight"] for part in "rijk"},
            "dense_1": {"kernel": out, "bias": drawn(5, seed=44)},
        },
        whole=whole,
    )  # fmt: skip
    sizes = {"in_channels": CHANNELS, "out_channels": CHANNELS}
    description = {
        "schema_version": 1,
        "library": "gaudet",
        "data_format": data_format,
        "input": [11, 8, 8] if data_format == "channels_last" else [8, 11, 8],
        "layers": [
            {
                "kind": "QuaternionConv2D", "name": "quaternion_conv2d_1", **sizes, "in_channels": 8, "kernel_size": 3,
                "stride": 2, "padding": "same",
            },
            {
                "kind": "QuaternionBatchNormalization", "name": "quaternion_batch_normalization_1",
                "num_features": CHANNELS, "activation": "relu",
            },
            {
                "kind": "QuaternionConv2D", "name": "quaternion_conv2d_2", **sizes, "kernel_size": 2, "bias": False,
                "padding": "same",
            },
            {"kind": "Conv2D", "name": "conv2d_1", **sizes, "kernel_size": 1},
            {"kind": "BatchNormalization", "name": "batch_normalization_1", "num_features": CHANNELS, "activation": "relu"},
            {"kind": "MaxPool2d", "kernel_size": 2},
            {"kind": "Flatten"},
            {
                "kind": "QuaternionDense", "name": "quaternion_dense_1", "in_features": 72, "out_features": 16,
                "bias": False, "activation": "tanh",
            },
            {"kind": "Dense", "name": "dense_1", "in_features": 16, "out_features": 5},
        ],
    }  # fmt: skip
    (tmp_path / "net.json").write_text(json.dumps(description))
    x = drawn(2, 8, 11, 8, seed=9)
    y = hamilton(
        first, padded_same(x, 3, 2), lambda part, component: functional.conv2d(component, part, None, 2)
    ) + drawn(CHANNELS, seed=8).reshape(-1, 1, 1)
    assert y.shape[2:] == (6, 4)
    y = torch.relu(normalized(y))
    y = hamilton(second, functional.pad(y, (0, 1, 0, 1)), lambda part, component: functional.conv2d(component, part))
    y = torch.einsum("io,bihw->bohw", real[0, 0], y)
    per_channel = (-1, 1, 1)
    y = (y - shift.reshape(per_channel)) / (scale.abs() + 1e-3).sqrt().reshape(per_channel)
    y = torch.relu(y * scale.reshape(per_channel) + shift.reshape(per_channel))
    y = functional.max_pool2d(y, 2)
    y = (y.permute(0, 2, 3, 1) if data_format == "channels_last" else y).flatten(1)
    y = torch.tanh(hamilton(conjugate(dense), y, lambda part, component: component @ part))
    expected = y @ out + drawn(5, seed=44)
    network = import_network(tmp_path / "net.h5", tmp_path / "net.json")
    # Six layers whose products grow to some hundreds.
    close(network(x.permute(0, 2, 3, 1) if data_format == "channels_last" else x), expected, atol=3e-4)


@pytest.mark.parametrize(("center", "scale"), [(True, False), (False, True)])
def test_normalizations_without_a_part(tmp_path, center, scale):
    tensors = ({"beta": NORM["beta"], "moving_mean": NORM["moving_mean"]} if center else {}) | (
        MOVING | GAMMAS if scale else {}
    )
    saved(tmp_path / "net.h5", {"n": tensors})
    layer = {
        "kind": "QuaternionBatchNormalization",
        "name": "n",
        "num_features": CHANNELS,
        "center": center,
        "scale": scale,
    }
    description = {
        "schema_version": 1,
        "library": "gaudet",
        "data_format": "channels_first",
        "input": [CHANNELS],
        "layers": [layer],
    }
    (tmp_path / "net.json").write_text(json.dumps(description))
    x = drawn(5, CHANNELS, seed=9)
    found = import_network(tmp_path / "net.h5", tmp_path / "net.json")(x)
    if center:
        close(found, x - NORM["moving_mean"] + NORM["beta"])
    else:
        close(found, normalized(x + NORM["moving_mean"]) - NORM["beta"])


def test_names_of_weights(tmp_path):
    """A model within the model has layers of its own; their paths stay."""
    path = tmp_path / "net.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("dense_1/dense_1/kernel:0", data=np.ones((2, 3)))
        for inner in ("dense_2", "dense_3"):
            file.create_dataset(f"model_1/{inner}/kernel:0", data=np.ones(2, np.float16))
        file.create_dataset("model_1/dense_2/bias:0", data=np.arange(2))
    found = read_keras_file(path)
    assert sorted(found) == ["dense_1.kernel", "model_1.bias", "model_1.dense_2.kernel", "model_1.dense_3.kernel"]
    assert all(tensor.dtype == torch.float32 for tensor in found.values())


def links(path):
    with h5py.File(path.with_name("other.h5"), "w") as other:
        other.create_dataset("kernel", data=np.ones(3))
    with h5py.File(path, "w") as file:
        file["dense/kernel:0"] = h5py.ExternalLink(str(path.with_name("other.h5")), "kernel")


def soft_links(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("dense/kernel:0", data=np.ones(3))
        file["dense/bias:0"] = h5py.SoftLink("/dense/kernel:0")


def external(path):
    path.with_name("numbers").write_bytes(np.ones(3, np.float32).tobytes())
    with h5py.File(path, "w") as file:
        file.create_dataset("dense/kernel:0", (3,), "f4", external=[(str(path.with_name("numbers")), 0, 12)])


def virtual(path):
    links(path)
    layout = h5py.VirtualLayout((3,), "f8")
    layout[:] = h5py.VirtualSource(str(path.with_name("other.h5")), "kernel", (3,))
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("kernel:0", layout)


def circle(path):
    with h5py.File(path, "w") as file:
        group = file.create_group("model")
        group["again"] = group


def vast(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("dense/kernel:0", (1 << 40,), "f4", chunks=(1 << 10,), compression="gzip")


def words(path):
    with h5py.File(path, "w") as file:
        file["dense/kernel:0"] = "abc"


def numbered(path):
    with h5py.File(path, "w") as file:
        file["layers/dense/vars/0"] = np.ones(3)


def empty(path):
    with h5py.File(path, "w"):
        pass


def cut(path):
    saved(path, {"dense": {"kernel": np.ones((300, 300))}})
    path.write_bytes(path.read_bytes()[:-1000])


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (links, "dense/kernel:0 is a link"),
        (soft_links, "dense/bias:0 is a link"),
        (external, "lies in another file"),
        (virtual, "lies in another file"),
        (circle, "lies within itself"),
        (vast, "bytes of weights"),
        (words, "holds object, expected numbers"),
        (numbered, "a file of Keras 3"),
        (empty, "holds no weights"),
        (cut, "not a whole HDF5 file"),
        (lambda path: path.write_bytes(b"abc"), "not a whole HDF5 file"),
        (lambda path: None, "no such file"),
    ],
)
def test_other_files_are_refused(tmp_path, make, told):
    make(tmp_path / "net.h5")
    with pytest.raises(InvalidFileError, match=told):
        read_keras_file(tmp_path / "net.h5")


def test_without_h5py(tmp_path, monkeypatch):
    import sys

    from qdeploy.runtime.errors import MissingRequirementError

    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingRequirementError, match=r"pip install 'qdeploy\[keras\]'"):
        read_keras_file(tmp_path / "net.h5")
