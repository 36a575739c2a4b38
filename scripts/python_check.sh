#!/usr/bin/env bash
# Runs all tests that need no torch with each Python of $PYTHONS that is on this machine, in an environment of its own
# with the tested versions: scripts/python_check.sh [ARGUMENTS OF PYTEST]. A Python that is not there is left out by name;
# the check fails when a Python fails or when none is there.
set -euo pipefail
cd "$(dirname "$0")/.."

version_of() { "$1" -c 'import platform; print(platform.python_version())' 2>/dev/null; }

install() { # VENV PYTHON
  [ -x "$1/bin/python" ] || "$2" -m venv "$1" || return
  "$1/bin/python" -m pip install --quiet --constraint constraints.txt --editable . \
    pytest pytest-timeout hypothesis onnx-ir onnxscript
}

passed="" failed="" missing=""
for python in ${PYTHONS:-python3.12 python3.13}; do
  # It must run: a name on the path may be a version manager's, with nothing behind it.
  if ! version=$(version_of "$python"); then
    echo "python-check: $python is not on this machine: left out"
    missing="$missing $python"
    continue
  fi
  echo "python-check: Python $version, without torch"
  venv=build/python-${version%.*}
  [ "$(version_of "$venv/bin/python")" = "$version" ] || rm -rf "$venv"
  if install "$venv" "$python" && "$venv/bin/python" -m pytest -q -o cache_dir="$venv/pytest" "$@"; then
    passed="$passed $version"
  else
    failed="$failed $version"
  fi
done
echo "python-check: passed:${passed:- none}; failed:${failed:- none}; left out:${missing:- none}"
[ -z "$failed" ] && [ -n "$passed" ]
