"""A character model from a text of the user's to a stream of characters through the integer network."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from click.testing import CliRunner

import qdeploy
import qdeploy.training
from qdeploy import datasets
from qdeploy.character_stream import CharacterStream, main
from qdeploy.datasets.vocabulary import UNKNOWN
from qdeploy.models.checkpoint import load_checkpoint
from qdeploy.models.training_report import EpochReport
from qdeploy.runtime.errors import InvalidFileError, InvalidInputError, UnsupportedModelError

LINES = ["the quick brown fox jumps over the lazy dog", "pack my box with five dozen liquor jugs", "é è ü ö"]


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    file = tmp_path_factory.mktemp("text") / "my.txt"
    order = np.random.default_rng(0).integers(0, 3, 500)
    file.write_text("\n".join(LINES[index] for index in order), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    file = tmp_path_factory.mktemp("config") / "small.json"
    file.write_text(
        json.dumps(
            {
                "dataset": "python-topics",
                "architecture": "orthogonal-classifier",
                "hyperparameters": {
                    "input_size": 97,
                    "hidden_size": 24,
                    "num_classes": 97,
                    "activation": "relu",
                    "weight_bits": 5,
                    "steps": "every",
                },
                "epochs": 6,
                "batch_size": 8,
                "learning_rate": 0.03,
                "recurrent_learning_rate": 0.003,
                "clip_norm": 1.0,
                "initial_random": True,
                "initial_resting_state": 0.0,
            }
        )
    )
    return file


@pytest.fixture(scope="module")
def trained(text, config, tmp_path_factory):
    return qdeploy.training.train(config, tmp_path_factory.mktemp("net") / "net", data=[text])


@pytest.fixture(scope="module")
def bundle(trained, text, tmp_path_factory):
    return qdeploy.export_model(trained.checkpoint, tmp_path_factory.mktemp("bundle") / "out", calibration=str(text))


def test_learns_more_than_counting_tells(trained):
    assert trained.best.test_bits is not None
    assert trained.best.test_bits < trained.references["unigram_bits_per_character"]
    history = [json.loads(line) for line in (trained.checkpoint.parent / "metrics.jsonl").read_text().splitlines()]
    best = min(history, key=lambda line: line["validation_bits"])
    assert trained.best.epoch == best["epoch"]
    # Natural logarithm in the loss, bits elsewhere.
    assert history[-1]["loss"] / math.log(2) == pytest.approx(history[-1]["test_bits"], abs=0.5)


def test_checkpoint_knows_its_characters(trained, text):
    metadata = load_checkpoint(trained.checkpoint).metadata
    characters = sorted(set(text.read_text(encoding="utf-8")))
    assert metadata["vocabulary"] == ["\N{REPLACEMENT CHARACTER}", *characters]
    size = len(characters) + 1
    assert metadata["hyperparameters"]["input_size"] == metadata["hyperparameters"]["num_classes"] == size
    assert metadata["input"] == {"name": "x", "shape": [128, size], "time_axis": 0}
    assert metadata["dataset"] == "my.txt"
    assert metadata["command"].endswith("--data my.txt")
    assert metadata["metrics"]["test_bits_per_character"] == pytest.approx(trained.best.test_bits, abs=1e-4)


def test_integers_and_float_in_bits(bundle, trained, text):
    assert bundle.manifest.created_from["vocabulary"] == load_checkpoint(trained.checkpoint).metadata["vocabulary"]
    report = bundle.validate(str(text), metric="bits")
    # The float network is the one that was trained; its sums are made in another order.
    assert report.float_value == pytest.approx(trained.best.test_bits, abs=1e-4)
    assert report.integer_value == pytest.approx(report.float_value, abs=0.1)
    assert report.decisions == report.samples * 128
    assert f"integer  {report.integer_value:8.4f}" in report.lines()[-1]
    assert report.passed
    assert report.to_dict()["metric"] == "bits"
    accuracy = bundle.validate(str(text), limit=2)
    assert (accuracy.samples, accuracy.decisions, accuracy.float_source) == (2, 256, "baseline")


def test_bits_need_labels(bundle, text):
    x = datasets.load(str(text)).x
    with pytest.raises(InvalidInputError, match="holds no y; bits need labels"):
        bundle.validate({"x": x}, metric="bits")
    with pytest.raises(InvalidInputError, match="max-drop is of accuracy"):
        bundle.validate(str(text), metric="bits", max_drop=1.0)
    wrong = np.full(x.shape[:2], x.shape[2])
    with pytest.raises(InvalidInputError, match="y holds classes"):
        bundle.validate({"x": x, "y": wrong}, metric="bits")


def test_verifies_with_the_text(bundle, text):
    assert bundle.verify(data=str(text)).passed


def test_streams_one_character_at_a_time(bundle, text):
    vocabulary = datasets.Vocabulary.from_json(bundle.manifest.created_from["vocabulary"])
    words = text.read_text(encoding="utf-8")[:50]
    rows = vocabulary.one_hot(vocabulary.encode(words))
    session = bundle.session(raw=True)
    whole = session.run(rows[np.newaxis])["output"]
    session.reset()
    for index, row in enumerate(rows):
        output = session.step(row[np.newaxis])["output"]
        assert np.array_equal(output, whole[:, index])


def test_stream_of_characters(bundle, text):
    words = text.read_text(encoding="utf-8")[:200]
    stream = CharacterStream(bundle)
    first = stream.feed(words[:70])
    assert np.allclose(first.sum(axis=1), 1.0)
    # It goes on where it stopped.
    second = stream.feed(words[70:])
    whole = CharacterStream(bundle).feed(words)
    assert np.array_equal(np.concatenate([first, second]), whole)
    following = stream.vocabulary.encode(words)[1:]
    expected = -np.log2(whole[:-1][np.arange(199), following]).mean()
    assert CharacterStream(bundle).bits(words) == pytest.approx(expected)


def test_completes_a_text(bundle, text):
    words = text.read_text(encoding="utf-8")[:60]
    same = [CharacterStream(bundle).complete(words, 30, seed=4) for _ in range(2)]
    assert same[0] == same[1]
    assert len(same[0]) == 30
    assert UNKNOWN not in same[0]
    likely = CharacterStream(bundle).complete(words, 30, temperature=0.0)
    assert likely == CharacterStream(bundle).complete(words, 30, temperature=1e-300, seed=7)
    # The first character is the most probable one after the text.
    probabilities = CharacterStream(bundle).feed(words)[-1]
    assert CharacterStream(bundle).vocabulary.characters[1 + int(probabilities[1:].argmax())] == likely[0]


def test_stream_refusals(bundle, tmp_path):
    stream = CharacterStream(bundle)
    with pytest.raises(InvalidInputError, match="no text"):
        stream.feed("")
    with pytest.raises(InvalidInputError, match="expected at least 2"):
        stream.bits("a")
    for count, temperature in ((0, 1.0), (1, -1.0), (1, float("nan"))):
        with pytest.raises(InvalidInputError, match="expected at least 1, and at least 0"):
            stream.complete("a", count, temperature)
    other = qdeploy.export_model("qornn-digits", tmp_path / "digits")
    with pytest.raises(UnsupportedModelError, match="has no vocabulary"):
        CharacterStream(other)


def test_completion_from_the_shell(bundle):
    runner = CliRunner()
    done = runner.invoke(main, [str(bundle.path), "the quick", "--count", "5"])
    assert done.exit_code == 0
    assert done.output == "the quick" + CharacterStream(bundle).complete("the quick", 5) + "\n"
    assert runner.invoke(main, [str(bundle.path / "none"), "a"]).exit_code == 2


def test_a_text_of_unknown_characters_is_read_by_the_models_vocabulary(bundle, tmp_path):
    file = tmp_path / "other.txt"
    file.write_text("ΑΒΓΔ, the quick brown fox\n" * 80, encoding="utf-8")
    report = bundle.validate(str(file), metric="bits")
    assert report.float_value is None
    assert report.integer_value is not None


def test_characters_are_indices_of_an_embedding(text, config, tmp_path):
    """The same way for a network that takes numbers in place of one-hot vectors: training, data, streams."""
    changed = json.loads(config.read_text())
    changed["architecture"] = "recurrent-classifier"
    changed["hyperparameters"] = {
        "cell": "gru",
        "readout": "every",
        "input_size": 97,
        "hidden_size": 16,
        "num_classes": 97,
    }
    changed["hyperparameters"]["embedding_size"] = 8
    for name in ("recurrent_learning_rate", "initial_random", "initial_resting_state"):
        del changed[name]
    file = tmp_path / "indices.json"
    file.write_text(json.dumps(changed))
    trained = qdeploy.training.train(file, tmp_path / "net", data=[text])
    assert trained.best.test_bits < trained.references["unigram_bits_per_character"]
    assert load_checkpoint(trained.checkpoint).metadata["input"]["shape"] == [128]
    bundle = qdeploy.export_model(trained.checkpoint, tmp_path / "out", calibration=str(text))
    (spec,) = bundle.manifest.inputs
    assert (spec.dtype, spec.shape) == ("int64", ("batch", "time"))
    assert spec.vocabulary_size == len(bundle.manifest.created_from["vocabulary"])
    report = bundle.validate(str(text), metric="bits")
    assert report.integer_value == pytest.approx(report.float_value, abs=0.05)
    assert bundle.verify(data=str(text), samples=2).passed
    stream = CharacterStream(bundle)
    assert stream.feed("the ").shape == (4, spec.vocabulary_size)
    assert stream.bits("the quick brown fox") < math.log2(spec.vocabulary_size)


def test_the_shipped_network_keeps_its_grid(tmp_path):
    # 97 inputs of which any could be 255: the accumulator is nearly full, and W stays as it was trained all the same.
    bundle = qdeploy.export_model("qornn-characters", tmp_path / "out")
    assert [layer.extra["exact_grid"] for layer in bundle.manifest.layers] == [True, True]
    assert [layer.extra["weight_bits"] for layer in bundle.manifest.layers] == [5, 5]
    report = bundle.validate("python-topics", metric="bits")
    assert report.float_value == pytest.approx(1.946, abs=0.05)
    assert report.integer_value == pytest.approx(report.float_value, abs=0.002)
    assert bundle.verify(data="python-topics").passed


def test_text_is_of_character_models(text, tmp_path):
    with pytest.raises(InvalidInputError, match=r"trains on digits, which is no text"):
        qdeploy.training.train("lenet300-digits", tmp_path, data=[text])
    with pytest.raises(InvalidFileError, match="no such file"):
        qdeploy.training.train("qornn-characters", tmp_path, data=[tmp_path / "none.txt"])
    assert list(tmp_path.iterdir()) == []


def test_vocabulary_in_a_checkpoint_is_checked(trained, tmp_path):
    metadata = json.loads(trained.checkpoint.with_suffix(".json").read_text())
    metadata["vocabulary"][1] = "two"
    (tmp_path / "bad.json").write_text(json.dumps(metadata))
    (tmp_path / "bad.safetensors").write_bytes(trained.checkpoint.read_bytes())
    with pytest.raises(InvalidFileError, match="different single characters"):
        qdeploy.export_model(tmp_path / "bad.safetensors", tmp_path / "out", calibration="python-topics")


def test_best_epoch_of_a_text_has_the_fewest_bits():
    def epoch(number, accuracy, bits):
        return EpochReport(number, 1.0, 0.5, accuracy, 0.5, 1.0, 0.01, 1.0, bits, bits)

    assert epoch(2, 0.5, 2.0).is_better_than(epoch(1, 0.6, 2.1))
    assert not epoch(2, 0.6, 2.1).is_better_than(epoch(1, 0.5, 2.0))
    assert epoch(2, 0.6, None).is_better_than(epoch(1, 0.5, None))
