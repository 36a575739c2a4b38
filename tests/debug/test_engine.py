"""A runtime named to ``debug`` must compute the integers that the report speaks of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import qdeploy
from qdeploy.cli.group import run
from qdeploy.debug import engine as module
from qdeploy.runtime.errors import CheckFailedError

from ..quantize.networks import float_model
from ..quantize.test_networks import RNN, pixels, rnn_weights

X = pixels((6, 12, 1))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> qdeploy.Bundle:
    folder = tmp_path_factory.mktemp("engine")
    onnx.save(float_model(RNN % ("relu", ""), rnn_weights(bits=4)), folder / "rnn.onnx")
    np.savez(folder / "data.npz", x=X)
    samples = {"x": X}
    return qdeploy.export_model(folder / "rnn.onnx", folder / "bundle", calibration=samples, time_axis=0)


@pytest.mark.parametrize("runtime", ["bodies", pytest.param("c", marks=pytest.mark.cc)])
def test_a_runtime_that_agrees_is_named(bundle: qdeploy.Bundle, runtime: str, capsys: Any) -> None:
    data = bundle.path.parent / "data.npz"
    assert run(["debug", str(bundle.path), "--data", str(data), "--runtime", runtime, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["runtime"] == runtime
    assert run(["debug", str(bundle.path), "--data", str(data), "--runtime", runtime]) == 0
    assert f"; {runtime} gives the same integers" in capsys.readouterr().out


def test_a_state_that_differs_after_one_step_is_told(bundle: qdeploy.Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = module.open_engine
    (state,) = bundle.manifest.states
    calls: list[int] = []

    class Wrong:
        def __init__(self, runtime: str, files: Any) -> None:
            self.engine = opened("bodies", files)

        def run(self, feeds: dict[str, Any]) -> dict[str, Any]:
            calls.append(1)
            results = dict(self.engine.run(feeds))
            if len(calls) == 5:  # the whole sequence comes first
                results[state.output] = results[state.output] + 1
            return results

    monkeypatch.setattr(module, "open_engine", Wrong)
    with pytest.raises(
        CheckFailedError, match=rf"c: {state.output} after step 3: found .*qdeploy verify .* --runtime c"
    ):
        bundle.debug(Path(bundle.path.parent / "data.npz"), runtime="c")
