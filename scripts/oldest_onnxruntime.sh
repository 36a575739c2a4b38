#!/usr/bin/env bash
# Verifies bundles of both families with an old onnxruntime: scripts/oldest_onnxruntime.sh [VERSION [BUNDLE ...]]
# The version that passes is OLDEST_ONNXRUNTIME in qdeploy/doctor.py. Bundles: those of `make demo` when none is given.
set -euo pipefail
cd "$(dirname "$0")/.."
version=${1:-1.20.0}
shift || true
venv=build/oldest/venv-$version

rm -rf "$venv" build/lib
mkdir -p build/oldest
"${PYTHON:-python3}" -m venv "$venv"
# Only what runs a bundle: the tested versions would ask for a newer onnxruntime.
"$venv/bin/python" -m pip install --quiet "onnxruntime==$version" onnx numpy click rich
"$venv/bin/python" -m pip install --quiet --no-deps .
rm -rf build/lib build/bdist.*
bundles=("$@")
if [ ${#bundles[@]} -eq 0 ]; then
  for manifest in build/demo/*/manifest.json; do bundles+=("$(dirname "$manifest")"); done
fi
for bundle in "${bundles[@]}"; do
  echo "onnxruntime $version: $bundle"
  "$venv/bin/qdeploy" verify "$bundle" --runtime onnxruntime
done
