#!/usr/bin/env bash
# The tests on the oldest versions that are promised: Python 3.10, torch 2.1, numpy 1.26. docs/mlu.md has the last result.
# usage: bash tests/lower_bound/run.sh [PYTEST ARGUMENT...]     (default: every test)
#   LOWER_BOUND_PYTHON   a Python 3.10 (default: python3.10)
#   LOWER_BOUND_VENV     where the environment is made and kept (default: .lower-bound in the checkout); 5 GB, less with
#   PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu
set -euo pipefail

ROOT=$(cd "$(dirname "$0")/../.." && pwd)
HERE=$ROOT/tests/lower_bound
VENV=${LOWER_BOUND_VENV:-$ROOT/.lower-bound}
NEEDED_MB=8000 # with what pip unpacks on the way

fail() { # <message>
  echo "lower_bound: error: $1" >&2
  exit 2
}

install() {
  local python=${LOWER_BOUND_PYTHON:-python3.10} pip=("$VENV/bin/python" -m pip install --quiet --disable-pip-version-check)
  "$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 10))' 2>/dev/null ||
    fail "'$python' is no Python 3.10; set LOWER_BOUND_PYTHON"
  mkdir -p "$VENV"
  (($(df --output=avail -m "$VENV" | tail -n 1) >= NEEDED_MB)) || fail "$VENV needs $NEEDED_MB MB; set LOWER_BOUND_VENV"
  "$python" -m venv --clear "$VENV"
  "${pip[@]}" --no-deps -r "$HERE/torch.txt"
  "$VENV/bin/python" -c 'import torch' 2>/dev/null || "${pip[@]}" --no-deps -r "$HERE/cuda.txt"
  grep ^numpy== "$HERE/torch.txt" >"$VENV/kept.txt"
  "${pip[@]}" -c "$VENV/kept.txt" -r "$ROOT/requirements.txt" -r "$ROOT/requirements-serve.txt" \
    -r "$ROOT/requirements-render.txt" -r "$ROOT/requirements-dev.txt"
  "$VENV/bin/python" -c 'import torch, torchvision' || fail "torch 2.1 does not load: what is missing in cuda.txt?"
}

stamp=$VENV/.ready-$(cat "$HERE"/*.txt "$ROOT"/requirements*.txt | cksum | cut -d' ' -f1)
[[ -e $stamp ]] || install
touch "$stamp"
"$VENV/bin/python" -c 'import numpy, platform, torch, torchvision as v
print(f"Python {platform.python_version()}, torch {torch.__version__}, torchvision {v.__version__}, numpy {numpy.__version__}")'
cd "$ROOT"
CRNN_PYTHON=$VENV/bin/python exec "$VENV/bin/python" -m pytest "${@:-tests}"
