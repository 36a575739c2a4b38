"""Opening bundles: folders and archives, and everything that must be refused."""

from __future__ import annotations

import hashlib
import io
import json
import stat
import zipfile

import numpy as np
import pytest

from qdeploy.runtime.bundle import read_bundle
from qdeploy.runtime.errors import InvalidFileError
from qdeploy.runtime.npz import read_npz


@pytest.mark.parametrize("form", ["folder", "zip", "zip with a folder inside"])
def test_opens(write_bundle, zipped, form):
    folder = write_bundle()
    path = folder if form == "folder" else zipped(folder, "my-bundle/" if "inside" in form else "")
    files = read_bundle(path)
    assert files.path == path
    assert files.manifest.inputs[0].float_name == "pixels"
    assert [node.op_type for node in files.model.graph.node] == ["Transpose", "Mean", "Transpose"]
    vectors = files.vectors()
    assert vectors.keys() == {"first", "golden"}
    assert vectors["first"].inputs["x"].shape == (2, 3, 2)
    assert vectors["first"].outputs.keys() == {"y", "mean_state_out"}
    baseline = files.baseline()
    assert baseline is not None
    assert baseline.data_sha256 == "cd" * 32
    assert baseline.logits["y"].dtype == np.float32


def test_vectors_and_baseline_may_be_missing(write_bundle):
    def drop(manifest):
        del manifest["files"]["vectors.npz"], manifest["files"]["baseline.npz"]

    files = read_bundle(write_bundle(change=drop))
    assert files.vectors() == {}
    assert files.baseline() is None


def test_nothing_there(tmp_path):
    with pytest.raises(InvalidFileError, match="does not exist; expected a bundle"):
        read_bundle(tmp_path / "nowhere")
    with pytest.raises(InvalidFileError, match=r"manifest\.json: cannot be read"):
        read_bundle(tmp_path)
    (tmp_path / "some.zip").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(InvalidFileError, match=r"neither a folder nor a whole \.zip"):
        read_bundle(tmp_path / "some.zip")


@pytest.mark.parametrize("name", ["model.onnx", "vectors.npz", "example.py"])
def test_an_altered_file_is_refused(write_bundle, zipped, name):
    folder = write_bundle()
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    for path in (folder, zipped(folder)):
        with pytest.raises(InvalidFileError, match=rf"{name}: found SHA-256 .* manifest.json says .*export again"):
            read_bundle(path)


@pytest.mark.parametrize("name", ["model.onnx", "baseline.npz"])
def test_a_truncated_or_longer_or_missing_file_is_refused(write_bundle, zipped, name):
    folder = write_bundle()
    whole = (folder / name).read_bytes()
    for data, found in [
        (whole[:-1], f"found {len(whole) - 1} bytes"),
        (b"", "found 0 bytes"),
        (whole + b"\0", f"more than the expected {len(whole)} bytes"),
    ]:
        (folder / name).write_bytes(data)
        for path in (folder, zipped(folder)):
            with pytest.raises(InvalidFileError, match=f"{name}: .*{found}"):
                read_bundle(path)
    (folder / name).unlink()
    for path in (folder, zipped(folder)):
        with pytest.raises(InvalidFileError, match=name):
            read_bundle(path)


def test_a_link_is_refused(write_bundle, tmp_path):
    folder = write_bundle()
    (tmp_path / "elsewhere").write_bytes((folder / "model.onnx").read_bytes())
    (folder / "model.onnx").unlink()
    (folder / "model.onnx").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InvalidFileError, match=r"model\.onnx: is a link"):
        read_bundle(folder)


def test_a_model_that_is_none(write_bundle):
    data = b"\xff" * 100
    folder = write_bundle(more={"model.onnx": data})
    with pytest.raises(InvalidFileError, match=r"model\.onnx"):
        read_bundle(folder)


def test_a_manifest_without_a_model(write_bundle):
    folder = write_bundle(change=lambda manifest: manifest["files"].pop("model.onnx"))
    with pytest.raises(InvalidFileError, match=r"manifest.json lists no model.onnx"):
        read_bundle(folder)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda m: m["inputs"][0].update(name="z"), "the input 'x' stands in model.onnx only"),
        (lambda m: m["outputs"][0].update(name="z"), "the output 'y' stands in model.onnx only"),
        (lambda m: m["states"].clear(), "the input 'mean_state' stands in model.onnx only"),
        (lambda m: m["inputs"][0].update(dtype="int16"), "input 'x' is uint8 of rank 3 in model.onnx, int16 of rank 3"),
        (lambda m: m["outputs"][0].update(shape=["batch", 2]), "uint8 of rank 2 in manifest.json"),
    ],
)
def test_model_and_manifest_must_agree(write_bundle, change, found):
    with pytest.raises(InvalidFileError, match=found):
        read_bundle(write_bundle(change=change))


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a/../../b", "c:/x", "a\\b"])
def test_an_archive_whose_members_leave_it_is_refused(write_bundle, zipped, name):
    path = zipped(write_bundle())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(zipfile.ZipInfo(name), b"x")
    with pytest.raises(InvalidFileError, match="leaves the bundle; this archive is not safe"):
        read_bundle(path)


def test_links_in_archives_are_refused(write_bundle, zipped):
    path = zipped(write_bundle())
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(link, b"/etc/passwd")
    with pytest.raises(InvalidFileError, match="member 'link' is a link"):
        read_bundle(path)


def test_two_members_of_a_name_are_refused(write_bundle, zipped):
    path = zipped(write_bundle())
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("model.onnx", b"x")
    with pytest.raises(InvalidFileError, match=r"two members 'model\.onnx'"):
        read_bundle(path)


def test_bombs_are_refused_before_they_unfold(write_bundle, zipped):
    path = zipped(write_bundle())
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(3 << 20))
    assert path.stat().st_size < 1 << 20
    with pytest.raises(InvalidFileError, match=f"expected at most 1000 of {1 << 20}"):
        read_bundle(path, limit=1 << 20)
    with zipfile.ZipFile(path, "a") as archive:
        for index in range(1000):
            archive.writestr(f"empty{index}", b"")
    with pytest.raises(InvalidFileError, match="expected at most 1000 of"):
        read_bundle(path)


def test_a_member_that_holds_more_than_it_says_is_refused(write_bundle, zipped):
    """The manifest's size bounds what is read, whatever the archive's directory says."""
    folder = write_bundle()
    (folder / "example.py").write_bytes(bytes(1 << 20))
    with pytest.raises(InvalidFileError, match=r"example.py: holds more than the expected"):
        read_bundle(zipped(folder))


def test_a_damaged_archive_is_refused(write_bundle, zipped):
    path = zipped(write_bundle())
    whole = path.read_bytes()
    refused = 0
    for cut in range(0, len(whole), 23):
        for damage in (b"\xa5\x5a\xa5", b"\x00", b"\xff\xff"):
            path.write_bytes(whole[:cut] + damage + whole[cut + len(damage) :])
            try:
                read_bundle(path)
            except InvalidFileError:
                refused += 1
    # What is left are fields without a meaning, such as times.
    assert refused > 200


def test_a_sum_of_sizes_beyond_the_limit_is_refused(write_bundle):
    def grow(manifest):
        manifest["files"]["big.bin"] = {"sha256": "ab" * 32, "bytes": 1 << 31}

    with pytest.raises(InvalidFileError, match="expected at most"):
        read_bundle(write_bundle(change=grow))


@pytest.mark.parametrize("keys", [["x"], ["input/x"], ["a/b/input/x", "output/y"]])
def test_vectors_with_odd_keys_are_refused(write_bundle, keys):
    buffer = io.BytesIO()
    np.savez(buffer, **{key: np.zeros(2, np.uint8) for key in keys})
    with pytest.raises(InvalidFileError, match=r"vectors\.npz"):
        read_bundle(write_bundle(more={"vectors.npz": buffer.getvalue()})).vectors()


class TestNpz:
    """Archives of arrays that came from elsewhere."""

    @staticmethod
    def archive(members: dict[str, bytes]) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in members.items():
                archive.writestr(name, data)
        return buffer.getvalue()

    @staticmethod
    def array(array: np.ndarray) -> bytes:
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=True)
        return buffer.getvalue()

    def test_reads_what_numpy_wrote(self):
        arrays = {
            "a/b": np.arange(6, dtype=np.int16).reshape(2, 3),
            "f": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
            "scalar": np.array(3, np.uint8),
            "text": np.array("hash"),
            "empty": np.zeros((0, 4), np.int8),
        }
        for save in (np.savez, np.savez_compressed):
            buffer = io.BytesIO()
            save(buffer, **arrays)
            read = read_npz(buffer.getvalue(), "arrays.npz")
            assert read.keys() == arrays.keys()
            assert all(np.array_equal(read[name], arrays[name]) for name in arrays)
            assert all(read[name].dtype == arrays[name].dtype for name in arrays)

    def test_pickles_are_never_read(self):
        with pytest.raises(InvalidFileError, match="pickled objects are never read"):
            read_npz(self.archive({"a.npy": self.array(np.array([{}], object))}), "a.npz")

    def test_lengths_that_no_array_has(self):
        data = self.array(np.zeros((0, 4), np.int8))
        data = data.replace(b"(0, 4), }" + b" " * 20, b"(0, 999999999999999999), }   ")
        assert b"999999999999999999" in data
        with pytest.raises(InvalidFileError, match="has 2 axes or one that no array has"):
            read_npz(self.archive({"a.npy": data}), "a.npz")

    def test_two_arrays_of_a_name(self):
        # zipfile warns of a name that is written twice.
        archive = self.archive({"a.npy": self.array(np.array(1)), "b.npy": self.array(np.array(2))})
        with pytest.raises(InvalidFileError, match="two arrays of one name"):
            read_npz(archive.replace(b"b.npy", b"a.npy"), "a.npz")

    def test_a_header_that_promises_more_than_there_is(self):
        data = self.array(np.zeros(4, np.int64)).replace(b"(4,)", b"(9999999999,)")
        with pytest.raises(InvalidFileError, match=r"a\.npy"):
            read_npz(self.archive({"a.npy": data}), "a.npz")
        text = self.array(np.zeros(4444, np.uint8))
        with pytest.raises(InvalidFileError, match=r"promises 4445 bytes for shape \(4445,\), the file holds 4444"):
            read_npz(self.archive({"a.npy": text.replace(b"(4444,)", b"(4445,)")}), "a.npz")

    @pytest.mark.parametrize(
        ("members", "found"),
        [
            ({"a.txt": b"x"}, "expected .npy arrays only"),
            ({"a.npy": b""}, "no readable header"),
            ({"a.npy": b"\x93NUMPY\x01\x00"}, "no readable header"),
            ({"a.npy": b"\x93NUMPY\x09\x00" + bytes(100)}, "no readable header"),
            ({"a.npy": b"no array at all"}, "no readable header"),
            ({"a.npy": b"\x93NUMPY\x01\x00\x02\x00{("}, "no readable header"),
            ({"a.npy": b"\x93NUMPY\x01\x00\x28\x23" + b"(" * 9000}, "no readable header"),
        ],
    )
    def test_what_is_no_array(self, members, found):
        with pytest.raises(InvalidFileError, match=found):
            read_npz(self.archive(members), "a.npz")

    def test_a_bomb(self):
        data = self.archive({"a.npy": self.array(np.zeros(1 << 20, np.uint8))})
        assert len(data) < 1 << 14
        with pytest.raises(InvalidFileError, match="expected at most 10000 of 1024"):
            read_npz(data, "a.npz", limit=1024)

    def test_no_archive(self):
        with pytest.raises(InvalidFileError, match=r"not a whole \.npz archive"):
            read_npz(b"PK", "a.npz")


def test_the_manifests_own_hash_is_not_needed(write_bundle):
    """manifest.json cannot hold its own hash; a change in it is checked by what it says."""
    folder = write_bundle()
    manifest = json.loads((folder / "manifest.json").read_text())
    assert "manifest.json" not in manifest["files"]
    digest = hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
    assert manifest["files"]["model.onnx"]["sha256"] == digest
