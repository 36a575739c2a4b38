"""Arrays from people's files: read when they are whole and plain, refused with a reason otherwise."""

from __future__ import annotations

import io
import os
import zipfile

import numpy as np
import pytest

from qdeploy.arrays import read_arrays
from qdeploy.runtime.errors import InvalidFileError, InvalidInputError


def test_npy_is_one_nameless_array(tmp_path):
    array = np.arange(12, dtype=np.int16).reshape(3, 4)
    np.save(tmp_path / "x.npy", array.T)
    (found,) = read_arrays(tmp_path / "x.npy").items()
    assert found[0] == ""
    assert np.array_equal(found[1], array.T)
    assert found[1].flags.writeable


def test_npz_keeps_names_and_types(tmp_path):
    np.savez_compressed(tmp_path / "x.npz", x=np.ones((2, 3), np.float32), y=np.arange(2))
    found = read_arrays(tmp_path / "x.npz")
    assert {name: (array.dtype, array.shape) for name, array in found.items()} == {
        "x": (np.float32, (2, 3)),
        "y": (np.int64, (2,)),
    }


def test_missing_file(tmp_path):
    with pytest.raises(InvalidInputError, match="no such file"):
        read_arrays(tmp_path / "absent.npz")


def test_other_kind_of_file(tmp_path):
    (tmp_path / "x.csv").write_text("1,2")
    with pytest.raises(InvalidInputError, match=r"\.npy or \.npz"):
        read_arrays(tmp_path / "x.csv")


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_objects_are_never_unpickled(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    array = np.array([object()])
    if suffix == ".npy":
        np.save(path, array, allow_pickle=True)
    else:
        np.savez(path, x=array)
    with pytest.raises(InvalidFileError, match="object"):
        read_arrays(path)


@pytest.mark.parametrize("kept", [0, 5, 40, 100, 127, 150, 190])
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_truncated(tmp_path, suffix, kept):
    path = tmp_path / f"x{suffix}"
    (np.save if suffix == ".npy" else np.savez)(path, np.arange(8))
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InvalidFileError):
        read_arrays(path)


def test_header_that_promises_more_than_the_file(tmp_path):
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<f8", "fortran_order": False, "shape": (10**9,)})
    (tmp_path / "x.npy").write_bytes(buffer.getvalue() + bytes(64))
    with pytest.raises(InvalidFileError):
        read_arrays(tmp_path / "x.npy")


def test_bomb_is_refused_before_it_unpacks(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", bytes(4 << 20))
    with pytest.raises(InvalidFileError, match=r"at most|more than"):
        read_arrays(tmp_path / "x.npz", max_bytes=1 << 20)


def test_empty_archive(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.npz", "w"):
        pass
    with pytest.raises(InvalidFileError, match="no array"):
        read_arrays(tmp_path / "x.npz")


def test_a_pipe_and_a_device_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "pipe.npy")
    (tmp_path / "device.npy").symlink_to("/dev/zero")
    for name in ("pipe.npy", "device.npy"):
        with pytest.raises(InvalidInputError, match="is no plain file"):
            read_arrays(tmp_path / name)
