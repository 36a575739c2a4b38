#!/usr/bin/env bash
# Verifies bundles with the lowest versions that pyproject.toml allows for a board: scripts/oldest_versions.sh [BUNDLE ...]
# Bundles: those of `make demo` when none is given. OLDEST_ONNXRUNTIME in qdeploy/doctor.py is what passed here; another
# version is tried by ONNXRUNTIME=1.20.0.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=build/oldest

rm -rf "$venv"
"${PYTHON:-python3}" -m venv "$venv"
"$venv/bin/python" - >"$venv/lowest.txt" <<'PYTHON'
import os, re, tomllib

for text in tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"]:
    name, version = re.match(r"([\w-]+)>=([\d.]+)", text).groups()
    if name == "onnxruntime":
        version = os.environ.get("ONNXRUNTIME", version)
    print(f"{name}=={version if version.count('.') else version + '.0'}.*" if version.count(".") < 2 else f"{name}=={version}")
PYTHON
cat "$venv/lowest.txt"
"$venv/bin/python" -m pip install --quiet --requirement "$venv/lowest.txt"
"$venv/bin/python" -m pip install --quiet --no-deps .
rm -rf build/lib build/bdist.*
bundles=("$@")
if [ ${#bundles[@]} -eq 0 ]; then
  for manifest in build/demo/*/manifest.json; do bundles+=("$(dirname "$manifest")"); done
fi
for bundle in "${bundles[@]}"; do
  echo "$bundle"
  "$venv/bin/qdeploy" verify "$bundle"
done
