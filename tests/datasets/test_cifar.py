"""CIFAR in its binary format: made files, plain, compressed and in their archive, and damaged ones."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import tarfile

import numpy as np
import pytest

from qdeploy import datasets
from qdeploy.datasets.cifar import CIFAR_10, CIFAR_100, PIXELS, load_cifar
from qdeploy.datasets.images import gray_of
from qdeploy.runtime.errors import InvalidFileError, MissingDataError


def rows_of(label_bytes, classes, count, seed=0):
    generator = np.random.default_rng(seed)
    rows = generator.integers(0, 256, (count, label_bytes + PIXELS)).astype(np.uint8)
    rows[:, :label_bytes] = generator.integers(0, classes, (count, label_bytes))
    return rows


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("QDEPLOY_DATA", str(tmp_path))
    for name in ("cifar10", "cifar100"):
        (tmp_path / name).mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("suffix", "packed"), [("", bytes), (".xz", lzma.compress), (".gz", gzip.compress)], ids=["plain", "xz", "gz"]
)
def test_rows_come_back(folder, suffix, packed):
    first, last = rows_of(1, 10, 5), rows_of(1, 10, 3, seed=1)
    (folder / "cifar10" / f"data_batch_1.bin{suffix}").write_bytes(packed(first.tobytes()))
    (folder / "cifar10" / f"data_batch_4.bin{suffix}").write_bytes(packed(last.tobytes()))
    images, classes = load_cifar(CIFAR_10, "train")
    assert (images.reshape(8, -1) == np.concatenate([first, last])[:, 1:]).all()
    assert classes.tolist() == [*first[:, 0], *last[:, 0]]
    assert images.shape == (8, 3, 32, 32)


def test_the_fine_class_of_cifar_100_counts(folder):
    rows = rows_of(2, 20, 4)
    rows[:, 1] = [99, 0, 57, 20]
    (folder / "cifar100" / "test.bin").write_bytes(rows.tobytes())
    images, classes = load_cifar(CIFAR_100, "test")
    assert classes.tolist() == [99, 0, 57, 20]
    assert (images.reshape(4, -1) == rows[:, 2:]).all()


def test_the_published_archive_is_read(folder):
    rows = rows_of(1, 10, 4)
    with tarfile.open(folder / "cifar10" / "cifar-10-binary.tar.gz", "w:gz") as archive:
        for name in ("cifar-10-batches-bin/readme.html", "cifar-10-batches-bin/test_batch.bin", "../test_batch.bin"):
            content = rows.tobytes() if name == "cifar-10-batches-bin/test_batch.bin" else b"other"
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    images, _ = load_cifar(CIFAR_10, "test")
    assert (images.reshape(4, -1) == rows[:, 1:]).all()
    assert sorted(path.name for path in folder.iterdir()) == ["cifar10", "cifar100"]


def test_inexact_rows_are_left_out(folder):
    rows = rows_of(1, 10, 6)
    (folder / "cifar10" / "test_batch.bin").write_bytes(rows.tobytes())
    named = {"inexact": {"test_batch.bin": [1, 4, 900], "data_batch_1.bin": [0]}}
    (folder / "cifar10" / "inexact_rows.json").write_text(json.dumps(named))
    images, _ = load_cifar(CIFAR_10, "test")
    assert (images.reshape(4, -1) == rows[[0, 2, 3, 5], 1:]).all()


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"inexact": {"a": [-1]}}', '{"inexact": {"a": ["1"]}}', '{"inexact": [1]}']
)
def test_a_list_of_inexact_rows_that_is_none(folder, text):
    (folder / "cifar10" / "test_batch.bin").write_bytes(rows_of(1, 10, 2).tobytes())
    (folder / "cifar10" / "inexact_rows.json").write_text(text)
    with pytest.raises(InvalidFileError, match=r"inexact_rows\.json"):
        load_cifar(CIFAR_10, "test")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("test_batch.bin", b"", "0 bytes, expected a multiple of 3073"),
        ("test_batch.bin", bytes(5000), "5000 bytes, expected a multiple of 3073"),
        ("test_batch.bin", b"\x0a" * 3073, "found class 10, expected 0 to 9"),
        ("test_batch.bin.xz", lzma.compress(bytes(3073))[:-9], "truncated"),
        ("test_batch.bin.gz", bytes(3073), "truncated or not compressed"),
        ("cifar-10-binary.tar.gz", b"no archive", "truncated or no tar archive"),
    ],
)
def test_damaged_files(folder, name, content, words):
    (folder / "cifar10" / name).write_bytes(content)
    with pytest.raises(InvalidFileError, match=words):
        load_cifar(CIFAR_10, "test")


def test_missing_files_say_where(folder):
    with pytest.raises(MissingDataError, match=r"cifar100: none of test\.bin .*the binary version"):
        load_cifar(CIFAR_100, "test")


def test_what_is_there_is_known_without_reading_it(folder):
    """Unpacking takes seconds, and `qdeploy doctor` asks for every set."""
    (folder / "cifar10" / "test_batch.bin.xz").write_bytes(b"not read")
    datasets.require("cifar-10-rgb")
    with pytest.raises(MissingDataError, match=r"cifar100: none of test\.bin"):
        datasets.require("cifar-100-rgb-gray")
    (folder / "cifar100" / "cifar-100-binary.tar.gz").write_bytes(b"not read")
    datasets.require("cifar-100-rgb-gray")


def test_an_archive_of_something_else_holds_no_files(folder):
    with tarfile.open(folder / "cifar10" / "cifar-10-binary.tar.gz", "w:gz"):
        pass
    with pytest.raises(MissingDataError, match=r"none of test_batch\.bin"):
        load_cifar(CIFAR_10, "test")


def test_gray_is_the_luma_of_bt_601():
    colours = np.array([[255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255], [1, 2, 3]], np.uint8)
    gray = gray_of(colours.reshape(-1, 3, 1, 1)).reshape(-1)
    # 0.299 * 255 = 76.245, 0.587 * 255 = 149.685, 0.114 * 255 = 29.07, 0.299 + 1.174 + 0.342 = 1.815.
    assert gray.tolist() == [255, 76, 150, 29, 2]


def test_named_sets_have_three_and_four_channels(folder):
    rows = rows_of(1, 10, 3)
    (folder / "cifar10" / "test_batch.bin").write_bytes(rows.tobytes())
    three, four = datasets.load("cifar-10-rgb", "test"), datasets.load("cifar-10-rgb-gray", "test", 2)
    assert three.x.shape == (3, 3, 32, 32)
    assert four.x.shape == (2, 4, 32, 32)
    assert (three.x * 256 == rows[:, 1:].reshape(three.x.shape)).all()
    assert (four.x[:, :3] == three.x[:2]).all()
    assert (four.x[:, 3:] * 256 == gray_of(rows[:2, 1:].reshape(2, 3, 32, 32))).all()
    assert {
        f"{name}-{kind}" for name in ("mnist", "fashion-mnist", "cifar-10", "cifar-100") for kind in ("rgb", "rgb-gray")
    } <= set(datasets.names())
