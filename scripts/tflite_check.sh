#!/usr/bin/env bash
# Runs the tests of .tflite files with tflite-runtime, the older twin of LiteRT, in an environment of its own: its wheels are for
# Python up to 3.11 and die with NumPy 2. scripts/tflite_check.sh [ARGUMENTS OF PYTEST]
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3.11}
venv=build/tflite-runtime
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
# onnxruntime's newest wheels want NumPy 2: these tests do without it.
"$venv/bin/python" -m pip install --quiet 'tflite-runtime==2.14.0' 'numpy<2' flatbuffers onnx click rich pytest pytest-timeout hypothesis
"$venv/bin/python" -m pip install --quiet --no-deps --editable .
OMP_NUM_THREADS=1 "$venv/bin/python" -m pytest -q -o cache_dir="$venv/pytest" \
  tests/export/tflite tests/runtime/test_litert_engine.py tests/runtime/test_litert_interpreter.py \
  tests/runtime/test_litert_options.py tests/runtime/test_litert_rules.py tests/verify/test_litert_files.py tests/cli/test_litert_commands.py "$@"
