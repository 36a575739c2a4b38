"""Files of torch.save whose tensors are not what they seem, and states that fit no training."""

from __future__ import annotations

import os

import pytest
import torch

from qdeploy.models.torch_file import read_torch_file
from qdeploy.runtime.errors import InvalidFileError


def save(folder, content):
    path = folder / "content.pt"
    torch.save(content, path)
    return path


def test_dense_tensors_in_any_container(tmp_path):
    content = {"a": [torch.arange(6).reshape(2, 3).t(), (1, "x", None)], 3: torch.zeros(0)}
    found = read_torch_file(save(tmp_path, content), "anything")
    assert torch.equal(found["a"][0], content["a"][0])


@pytest.mark.parametrize(
    "tensor",
    [
        torch.zeros(1).expand(10**12),
        torch.zeros(3, device="meta"),
        torch.eye(3).to_sparse(),
    ],
    ids=["expanded", "meta", "sparse"],
)
def test_tensors_larger_than_their_data(tmp_path, tensor):
    with pytest.raises(InvalidFileError, match="expected dense tensors"):
        read_torch_file(save(tmp_path, {"deep": [tensor]}), "anything")


def test_nesting(tmp_path):
    content: list = []
    for _ in range(100):
        content = [content]
    with pytest.raises(InvalidFileError, match="nested more than 32 deep"):
        read_torch_file(save(tmp_path, content), "anything")


def test_a_pipe_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.pt")
    with pytest.raises(InvalidFileError, match="no such file; expected a state"):
        read_torch_file(tmp_path / "pipe.pt", "a state")
