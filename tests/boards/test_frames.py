"""What goes to an emulated machine comes out as it was, or not at all."""

from __future__ import annotations

import io

import numpy as np
import pytest

from qdeploy.boards.frames import receive, send


def sent(header, arrays) -> bytes:
    stream = io.BytesIO()
    send(stream, header, arrays)
    return stream.getvalue()


def test_messages_come_one_after_the_other():
    arrays = {
        "x": np.arange(6, dtype=np.int16).reshape(2, 3),
        "a/b": np.array(-1, np.int32),
        "turned": np.arange(6, dtype=np.uint8).reshape(2, 3).T,
        "none": np.zeros((0, 4), np.uint8),
    }
    stream = io.BytesIO(sent({"do": "run", "engine": 3}, arrays) + sent({"do": "end"}, {}))
    header, found = receive(stream)
    assert header == {"do": "run", "engine": 3}
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape
        assert (found[name] == array).all()
    assert receive(stream) == ({"do": "end"}, {})
    assert receive(stream) is None


def test_every_cut_is_noticed():
    whole = sent({"do": "run"}, {"x": np.arange(4, dtype=np.uint8)})
    for length in range(1, len(whole)):
        with pytest.raises(EOFError):
            receive(io.BytesIO(whole[:length]))


def test_a_length_beyond_reason_is_refused_before_it_is_read():
    with pytest.raises(ValueError, match="expected at most"):
        receive(io.BytesIO(b"\xff" * 8))


def test_objects_are_not_unpacked():
    stream = io.BytesIO()
    with pytest.raises(ValueError, match="allow_pickle"):
        send(stream, {}, {"x": np.array([{}], object)})
