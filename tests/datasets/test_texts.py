from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdeploy import datasets
from qdeploy.datasets import Vocabulary, characters, text
from qdeploy.datasets.entropy import bigram_bits, unigram_bits
from qdeploy.datasets.text import penn_treebank, read_text
from qdeploy.datasets.vocabulary import ASCII, UNKNOWN
from qdeploy.runtime.errors import InvalidFileError, InvalidInputError, MissingDataError

# Of the format of T. Mikolov's files, not of their text.
WORDS = " the <unk> fell N points \n a second sentence ends here \n"
CHARACTERS = (
    " t h e _ < u n k > _ f e l l _ N _ p o i n t s \n a _ s e c o n d _ s e n t e n c e _ e n d s _ h e r e \n"
)
SENTENCES = "the <unk> fell N points\na second sentence ends here\n"


def test_both_forms_of_penn_treebank_give_the_same_text(tmp_path):
    for form, content in (("ptb", WORDS), ("ptb.char", CHARACTERS)):
        folder = tmp_path / form
        folder.mkdir()
        for split in ("train", "valid", "test"):
            (folder / f"{form}.{split}.txt").write_text(f" {split[0]} \n" + content)
        found = penn_treebank(folder)
        assert found == {split: f"{split[0]}\n{SENTENCES}" for split in ("train", "valid", "test")}


def test_files_that_lack(tmp_path):
    with pytest.raises(MissingDataError, match=r"expected Penn Treebank's files ptb\.train\.txt"):
        penn_treebank(tmp_path)
    (tmp_path / "ptb.train.txt").write_text(WORDS)
    with pytest.raises(MissingDataError, match=r"ptb\.valid\.txt, ptb\.test\.txt is not there"):
        penn_treebank(tmp_path)
    (tmp_path / "ptb.char.train.txt").write_text(CHARACTERS)
    with pytest.raises(InvalidInputError, match="one of the two"):
        penn_treebank(tmp_path)


def test_text_is_read_as_it_is(tmp_path):
    file = tmp_path / "my.txt"
    file.write_bytes("\ufeffÄ line\r\n  indented _ \rlast".encode())
    assert read_text(file) == "Ä line\n  indented _ \nlast"


def test_text_that_is_none(tmp_path, monkeypatch):
    file = tmp_path / "my.txt"
    with pytest.raises(InvalidFileError, match="no such file"):
        read_text(file)
    with pytest.raises(InvalidFileError, match="no such file"):
        read_text(tmp_path)
    file.write_bytes(b"first\nsecond \xe4\n")
    with pytest.raises(InvalidFileError, match=r"not UTF-8: byte 0xe4 at offset 13 \(line 2\); convert it"):
        read_text(file)
    file.write_text(" \n ")
    with pytest.raises(InvalidFileError, match="holds no text"):
        read_text(file)
    monkeypatch.setattr(text, "MAX_TEXT_BYTES", 10)
    file.write_text("x" * 11)
    with pytest.raises(InvalidFileError, match="more than 10 bytes"):
        read_text(file)


@given(st.text(max_size=200), st.text(min_size=1))
def test_vocabulary_encodes_what_it_knows(sample, known):
    vocabulary = Vocabulary((UNKNOWN, *dict.fromkeys(known.replace(UNKNOWN, "")[:255] + "ab")))
    indices = vocabulary.encode(sample)
    assert indices.dtype == np.uint8
    assert len(indices) == len(sample)
    expected = "".join(character if character in vocabulary.characters else UNKNOWN for character in sample)
    assert vocabulary.decode(indices) == expected
    rows = vocabulary.one_hot(indices)
    assert rows.shape == (len(sample), len(vocabulary))
    assert np.array_equal(rows.argmax(axis=1), indices)
    assert np.array_equal(rows.sum(axis=1), np.ones(len(sample)))


def test_vocabulary_of_a_text():
    found = Vocabulary.from_text("aaabbbcc\n\n\n")
    assert found.characters == (UNKNOWN, "\n", "a", "b")
    many = "".join(chr(0x4E00 + index % 300) for index in range(3000)) + "z" * 50
    largest = Vocabulary.from_text(many)
    assert len(largest) == 256
    assert "z" in largest.characters
    assert int(largest.encode(many).max()) == 255
    with pytest.raises(InvalidInputError, match="no character occurs in it more than twice"):
        Vocabulary.from_text("ab")


@pytest.mark.parametrize(
    "value",
    [
        None,
        "text",
        3,
        [],
        [UNKNOWN],
        ["a", "b"],
        [UNKNOWN, "ab"],
        [UNKNOWN, ""],
        [UNKNOWN, "a", "a"],
        [UNKNOWN, 1],
        [UNKNOWN, *(chr(point) for point in range(256))],
    ],
)
def test_vocabulary_from_a_file_is_checked(value):
    with pytest.raises(InvalidInputError, match="vocabulary"):
        Vocabulary.from_json(value)


def test_ascii_is_the_same_everywhere():
    assert len(ASCII) == 97
    assert ASCII.decode(ASCII.encode("def f(x): ~é\n")) == f"def f(x): ~{UNKNOWN}\n"
    assert Vocabulary.from_json(list(ASCII.characters)) == ASCII


@given(st.integers(9, 200), st.integers(2, 8))
def test_sequences_predict_the_next_character(length, steps):
    tokens = (np.arange(length) % 251).astype(np.uint8)
    x, y = characters.sequences(tokens, steps)
    assert x.shape == y.shape == ((length - 1) // steps, steps)
    assert np.array_equal(x.ravel(), tokens[: x.size])
    assert np.array_equal(y.ravel(), tokens[1 : x.size + 1])


def test_parts_of_a_text(tmp_path):
    (tmp_path / "a.txt").write_text("ab" * 2000)
    (tmp_path / "b.txt").write_text("cd" * 2000)
    found = characters.from_files([tmp_path / "a.txt", tmp_path / "b.txt"])
    assert [len(found.train), len(found.valid), len(found.test)] == [6401, 800, 800]
    whole = np.concatenate([found.train, found.valid, found.test])
    # The end of a line between the files occurs once, and so is unknown.
    assert found.vocabulary.decode(whole) == "ab" * 2000 + UNKNOWN + "cd" * 2000
    with pytest.raises(InvalidInputError, match="a folder among them"):
        characters.from_files([tmp_path / "a.txt", tmp_path])


def test_a_text_by_its_path(tmp_path):
    file = tmp_path / "my.txt"
    file.write_text("to be or not to be\n" * 300)
    train = datasets.load(str(file), "train", limit=3)
    assert train.x.shape == (3, 128, 9)
    assert (train.time_axis, train.x.dtype, train.y.dtype) == (0, np.float32, np.int64)
    # The character after the first step is the input of the second.
    assert np.array_equal(train.x.argmax(axis=2)[:, 1:], train.y[:, :-1])
    other = datasets.load(str(file), "test", vocabulary=ASCII)
    assert other.x.shape[2] == 97
    short = tmp_path / "short.txt"
    short.write_text("to be or not to be\n" * 20)
    with pytest.raises(InvalidInputError, match="expected more than 128"):
        datasets.load(str(short), "test")
    with pytest.raises(InvalidInputError, match="is not known; known are"):
        datasets.load(str(tmp_path / "none.txt"))
    with pytest.raises(InvalidInputError, match="is not known"):
        datasets.load("x" * 5000)


def test_python_topics_have_no_paragraph_in_two_parts():
    found = datasets.load_characters("python-topics")
    assert found is not None
    assert len(found.train) > 200_000
    parts = [set(found.vocabulary.decode(tokens).split("\n\n")) for tokens in (found.train, found.valid, found.test)]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        # Paragraphs that differ in a character that ASCII lacks come out alike; there are few.
        assert len(parts[one] & parts[other]) <= 3
    assert datasets.load("python-topics", "test", limit=2).x.shape == (2, 128, 97)


def test_sets_that_are_no_text():
    assert datasets.load_characters("copy") is None
    assert datasets.load("copy", "test", limit=1).vocabulary is None


def test_entropies():
    generator = np.random.default_rng(0)
    even = generator.integers(0, 8, 100_000).astype(np.uint8)
    assert unigram_bits(even, even, 8) == pytest.approx(3.0, abs=0.001)
    assert bigram_bits(even, even, 8) == pytest.approx(3.0, abs=0.002)
    # The next one is known from the one before.
    cycle = (np.arange(80_000) % 8).astype(np.uint8)
    assert unigram_bits(cycle, cycle, 8) == pytest.approx(3.0, abs=0.001)
    assert bigram_bits(cycle, cycle, 8) < 0.01
    # What training has not seen costs much, but not infinitely much.
    assert math.isfinite(unigram_bits(cycle, np.full(5, 200, np.uint8), 256))
    assert math.isfinite(bigram_bits(cycle, np.full(5, 200, np.uint8), 256))
