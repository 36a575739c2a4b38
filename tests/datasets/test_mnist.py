from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdeploy import datasets
from qdeploy.datasets import mnist
from qdeploy.runtime.errors import InvalidFileError, InvalidInputError, MissingDataError

COUNTS = {"train": 5, "test": 3}


def idx(array):
    """The IDX file of an array of bytes."""
    return struct.pack(f">{1 + array.ndim}I", 0x0800 | array.ndim, *array.shape) + array.tobytes()


def images_of(split):
    generator = np.random.default_rng(COUNTS[split])
    return generator.integers(0, 256, (COUNTS[split], 28, 28), dtype=np.uint8)


def labels_of(split):
    return (np.arange(COUNTS[split]) % 10).astype(np.uint8)


@pytest.fixture(params=["gz", "plain"])
def folder(request, tmp_path, monkeypatch):
    """A data folder with small sets of made images, gzipped or not."""
    monkeypatch.setenv("QDEPLOY_DATA", str(tmp_path))
    for name in ("mnist", "fashion_mnist"):
        (tmp_path / name).mkdir()
        for split, (images, labels) in mnist.FILES.items():
            for file, array in ((images, images_of(split)), (labels, labels_of(split))):
                content = idx(array)
                if request.param == "gz":
                    (tmp_path / name / f"{file}.gz").write_bytes(gzip.compress(content))
                else:
                    (tmp_path / name / file).write_bytes(content)
    return tmp_path


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_images(folder, name, split):
    data = datasets.load(name, split)
    assert data.x.dtype == np.float32
    assert data.y.dtype == np.int64
    assert data.time_axis is None
    # Exact: 256 is a power of two.
    assert np.array_equal(data.x * 256, images_of(split).reshape(-1, 784))
    assert np.array_equal(data.y, labels_of(split))


def test_one_pixel_a_step(folder):
    data = datasets.load("sequential-mnist", "test")
    assert data.x.shape == (3, 784, 1)
    assert data.time_axis == 0
    assert np.array_equal(data.x[:, :, 0], datasets.load("mnist", "test").x)


def test_permutation(folder):
    order = mnist.permutation()
    assert sorted(order) == list(range(784))
    # RandomState's stream is frozen by NumPy, and the literature's permutation with it.
    assert order[:5].tolist() == [319, 576, 323, 107, 355]
    data = datasets.load("permuted-mnist", "test")
    assert np.array_equal(data.x[:, :, 0], datasets.load("mnist", "test").x[:, order])


def test_limit_and_copies(folder):
    assert len(datasets.load("mnist", "train", limit=2).x) == 2
    assert len(datasets.load("mnist", "train", limit=99).x) == 5


@pytest.mark.parametrize("limit", [0, -1])
def test_limit_below_one(limit):
    with pytest.raises(InvalidInputError, match=f"limit={limit}"):
        datasets.load("digits", "test", limit=limit)


def test_unknown_name_lists_those_that_exist():
    with pytest.raises(InvalidInputError) as caught:
        datasets.load("imagenet", "test")
    assert all(name in str(caught.value) for name in datasets.names())


def test_unknown_split():
    with pytest.raises(InvalidInputError, match="expected one of train, test"):
        datasets.load("digits", "validation")


def test_missing_files_say_what_belongs_where(tmp_path, monkeypatch):
    monkeypatch.setenv("QDEPLOY_DATA", str(tmp_path))
    with pytest.raises(MissingDataError) as caught:
        datasets.load("mnist", "test")
    message = str(caught.value)
    assert str(tmp_path / "mnist") in message
    assert "QDEPLOY_DATA" in message
    for files in mnist.FILES.values():
        assert all(f"{file}.gz" in message for file in files)


def test_default_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("QDEPLOY_DATA", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert mnist.data_folder() == tmp_path / ".cache" / "qdeploy" / "data"


def write(tmp_path, content, name="file"):
    path = tmp_path / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("keep", [0, 3, 7, -1])
def test_truncated(tmp_path, keep):
    path = write(tmp_path, idx(np.arange(6, dtype=np.uint8))[:keep])
    with pytest.raises(InvalidFileError, match=r"expected an IDX header|truncated"):
        mnist.read_idx(path, 1)


def test_too_long(tmp_path):
    with pytest.raises(InvalidFileError, match="7 bytes of data"):
        mnist.read_idx(write(tmp_path, idx(np.arange(6, dtype=np.uint8)) + b"x"), 1)


@pytest.mark.parametrize("magic", [0x0802, 0x0901, 0x0801_0000])
def test_other_type_or_rank(tmp_path, magic):
    content = struct.pack(">II", magic, 1) + b"x"
    with pytest.raises(InvalidFileError, match="expected 0x00000801"):
        mnist.read_idx(write(tmp_path, content), 1)


def test_sizes_that_overflow(tmp_path):
    # 65536^2 * 2^... would be zero in 32 and in 64 bits.
    content = struct.pack(">IIII", 0x0803, 1 << 31, 1 << 31, 4)
    with pytest.raises(InvalidFileError, match="truncated or corrupted"):
        mnist.read_idx(write(tmp_path, content), 3)


@pytest.mark.parametrize("damage", ["half", "no gzip", "checksum"])
def test_damaged_gzip(tmp_path, damage):
    content = bytearray(gzip.compress(idx(np.random.default_rng(0).integers(0, 256, 4000, dtype=np.uint8))))
    if damage == "half":
        content = content[: len(content) // 2]
    elif damage == "no gzip":
        content = bytearray(b"<html>not found</html>")
    else:
        content[-6] ^= 1
    with pytest.raises(InvalidFileError, match="truncated or not a gzip file"):
        mnist.read_idx(write(tmp_path, bytes(content), "file.gz"), 1)


def test_gzip_bomb(tmp_path, monkeypatch):
    monkeypatch.setattr(mnist, "MAX_BYTES", 1000)
    path = write(tmp_path, gzip.compress(bytes(100_000)), "file.gz")
    with pytest.raises(InvalidFileError, match="more than 1000 bytes"):
        mnist.read_idx(path, 1)


@given(st.binary(max_size=64))
def test_any_bytes_give_an_array_or_a_clear_error(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("any") / "file"
    path.write_bytes(content)
    try:
        array = mnist.read_idx(path, 1)
    except InvalidFileError:
        return
    assert idx(array) == content


def test_images_of_another_size(folder):
    for path in (folder / "mnist").glob("t10k-images*"):
        content = idx(np.zeros((3, 8, 8), np.uint8))
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    with pytest.raises(InvalidFileError, match=r"\[3, 8, 8\]"):
        datasets.load("mnist", "test")


def test_as_many_labels_as_images(folder):
    for path in (folder / "mnist").glob("t10k-labels*"):
        content = idx(np.zeros(4, np.uint8))
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    with pytest.raises(InvalidFileError, match="4 labels"):
        datasets.load("mnist", "test")


def test_classes_above_nine(folder):
    for path in (folder / "mnist").glob("t10k-labels*"):
        content = idx(np.full(3, 10, np.uint8))
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    with pytest.raises(InvalidFileError, match="found class 10"):
        datasets.load("mnist", "test")
