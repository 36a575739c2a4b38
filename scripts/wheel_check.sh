#!/usr/bin/env bash
# Builds the wheel, installs it in fresh virtual environments without torch, and uses it there as a board would: with $PYTHON,
# and with python3.12 and python3.13 where they are installed.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${VENV:-.venv}

rm -rf build/wheel build/lib
mkdir -p build/wheel
"$venv/bin/python" -m build --quiet --wheel --outdir build/wheel . >build/wheel/build.log 2>&1 || { cat build/wheel/build.log; exit 1; }
rm -rf build/lib build/bdist.* # setuptools would take what it left there into the next wheel

# A bundle of the real thing, made by the full environment, used by the bare ones.
bundle=$PWD/build/wheel/bundle
"$venv/bin/qdeploy" export qornn-digits -o "$bundle" --quiet
"$venv/bin/python" scripts/samples.py sequential-digits build/wheel

run() { # prints the command, and its output only when it fails
  echo "  ${1##*/} $2"
  "$@" >command.log 2>&1 || { cat command.log; exit 1; }
}

cd build/wheel # so that nothing is imported from the checkout
seen=""
for python in "${PYTHON:-python3}" python3.12 python3.13; do
  version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue
  case " $seen " in *" $version "*) continue ;; esac
  seen="$seen $version"
  echo "Python $version, without torch:"
  "$python" -m venv "venv-$version"
  bare=$PWD/venv-$version/bin
  "$bare/python" -m pip install --quiet --constraint ../../constraints.txt qdeploy-*.whl
  run "$bare/python" -c '
import importlib.util, pathlib, sys, qdeploy
assert importlib.util.find_spec("torch") is None, "torch must not be here"
assert pathlib.Path(qdeploy.__file__).is_relative_to(sys.prefix), qdeploy.__file__'
  run "$bare/qdeploy" --help
  run "$bare/qdeploy" doctor
  for kind in operators recipes runtimes targets models datasets; do run "$bare/qdeploy" list "$kind"; done
  run "$bare/qdeploy" inspect "$bundle"
  run "$bare/qdeploy" verify "$bundle"
  if command -v cc >/dev/null 2>&1; then run "$bare/qdeploy" verify "$bundle" --runtime c; fi
  run "$bare/qdeploy" validate "$bundle" --data samples.npz --max-drop 1
  run "$bare/qdeploy" run "$bundle" --input inputs.npy --output outputs.npz
  run "$bare/qdeploy" bench "$bundle" --calls 5
  run "$bare/python" "$bundle/example.py"
done
echo "wheel-check: passed with Python$seen"
