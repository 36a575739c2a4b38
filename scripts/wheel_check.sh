#!/usr/bin/env bash
# Builds the wheel, installs it in a fresh virtual environment without torch, and uses it there as a board would.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${VENV:-.venv}
fresh=build/wheel/venv

rm -rf build/wheel
mkdir -p build/wheel
# setuptools builds in build/lib: what an older build left there must not enter the wheel.
rm -rf build/lib build/bdist.*
"$venv/bin/python" -m build --quiet --wheel --outdir build/wheel . >build/wheel/build.log 2>&1 || { cat build/wheel/build.log; exit 1; }
"${PYTHON:-python3}" -m venv "$fresh"
"$fresh/bin/python" -m pip install --quiet --constraint constraints.txt build/wheel/qdeploy-*.whl

# A bundle of the real thing, made by the full environment, used by the bare one.
"$venv/bin/qdeploy" export qornn-digits -o build/wheel/bundle --quiet
bundle=$PWD/build/wheel/bundle
qdeploy=$PWD/$fresh/bin/qdeploy
python=$PWD/$fresh/bin/python
samples=$PWD/build/wheel/samples.npz
"$venv/bin/python" scripts/samples.py sequential-digits "$samples"

cd build/wheel # so that nothing is imported from the checkout
"$python" - <<'PYTHON'
import importlib.util, pathlib, sys
import qdeploy
assert importlib.util.find_spec("torch") is None, "torch must not be here"
assert pathlib.Path(qdeploy.__file__).is_relative_to(sys.prefix), qdeploy.__file__
PYTHON
check() { echo "qdeploy $*"; "$qdeploy" "$@" >command.log 2>&1 || { cat command.log; exit 1; }; }
check --help
check doctor
for kind in operators recipes runtimes models datasets; do check list "$kind"; done
check inspect "$bundle"
check verify "$bundle"
check validate "$bundle" --data "$samples" --max-drop 1
check run "$bundle" --input "$samples" --output outputs.npz
check bench "$bundle" --calls 5
"$python" "$bundle/example.py" >example.log 2>&1 || { cat example.log; exit 1; }
echo "wheel-check: passed without torch"
