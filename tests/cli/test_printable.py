"""What files say must not steer the terminal."""

from __future__ import annotations

import json

import pytest

from qdeploy.cli.printable import LONGEST_MESSAGE, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\ntext, é 名 μ² …", "plain\ntext, é 名 μ² …"),
        ("\x1b[31mred\x07", r"\x1b[31mred\x07"),
        ("\x9b0m\x7f\r", r"\x9b0m\x7f\x0d"),
        ("\ud800", r"\ud800"),
        ("a\u202eb", r"a\u202eb"),
    ],
)
def test_control_characters(text, shown):
    assert printable(text) == shown
    shown.encode()


def test_long_messages_keep_both_ends():
    shown = printable("begin" + "x" * 10**6 + "end", longest=LONGEST_MESSAGE)
    assert len(shown) <= LONGEST_MESSAGE
    assert shown.startswith("begin")
    assert shown.endswith("end")


def test_an_error_with_a_name_from_a_file(qdeploy_command, tmp_path):
    path = tmp_path / "r.json"
    path.write_text(json.dumps({"\x1b[2J": 1}))
    done = qdeploy_command("export", "qornn-digits", "-o", tmp_path / "out", "--recipe", path)
    assert done.code == 2
    assert r"\x1b[2J" in done.err
    assert "\x1b" not in done.err
