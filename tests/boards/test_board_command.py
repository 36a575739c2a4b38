"""``qdeploy board``."""

from __future__ import annotations

import json

from qdeploy.cli.group import run


def test_list_names_every_board_and_what_is_missing(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert run(["board", "list", "--json"]) == 0
    boards = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)["boards"]}
    assert boards["pi-zero"]["runtimes"] == ["c"]
    assert boards["pi5"]["runtimes"] == ["c", "onnxruntime", "litert"]
    assert boards["pi2"]["runtimes"] == ["c", "litert"]
    assert boards["pi5"]["emulator"].endswith("cortex-a76")
    for name, what in (("pi5", "arm64 Python"), ("pi5", "LiteRT for arm64"), ("pi2", "LiteRT for armhf")):
        assert any(
            f"there is no {what} at" in reason and "qdeploy board setup" in reason for reason in boards[name]["missing"]
        )
    assert {"host", "generic"}.isdisjoint(boards)


def test_setup_gives_what_is_there_and_refuses_other_boards(sysroot, capsys):
    assert run(["board", "setup", "pi4"]) == 0
    assert f"onnxruntime {sysroot.wheels['onnxruntime']}" in capsys.readouterr().out
    assert run(["board", "setup", "cortex-m4"]) == 2
    said = capsys.readouterr().err
    assert "found the board 'cortex-m4'; there is something to make for pi-zero2, pi2, pi3, pi4, pi5" in said
    assert "other boards run C alone" in said


def test_remove_takes_all_of_it_away(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tmp_path / "qdeploy" / "boards" / "arm64"
    folder.mkdir(parents=True)
    (folder / "file").write_bytes(bytes(1000))
    assert run(["board", "remove", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["freed_bytes"] == 1000
    assert list(folder.parent.iterdir()) == []
