#!/usr/bin/env bash
# The tests on the newest torch with CUDA, without a driver: what a GPU host gets from PyPI. docs/gpu.md has the last result.
# usage: bash tests/current_torch/run.sh [PYTEST ARGUMENT...]     (default: every test)
#   CURRENT_TORCH_PYTHON   a Python 3.11 or 3.12 (default: python3.12)
#   CURRENT_TORCH_VENV     where the environment is made and kept (default: .current-torch in the checkout); 6 GB
set -euo pipefail

ROOT=$(cd "$(dirname "$0")/../.." && pwd)
HERE=$ROOT/tests/current_torch
VENV=${CURRENT_TORCH_VENV:-$ROOT/.current-torch}
NEEDED_MB=12000 # with what pip unpacks on the way

fail() { # <message>
  echo "current_torch: error: $1" >&2
  exit 2
}

install() {
  local python=${CURRENT_TORCH_PYTHON:-python3.12} pip=("$VENV/bin/python" -m pip install --quiet --disable-pip-version-check)
  "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null ||
    fail "'$python' is no Python 3.11 or 3.12; set CURRENT_TORCH_PYTHON"
  mkdir -p "$VENV"
  (($(df --output=avail -m "$VENV" | tail -n 1) >= NEEDED_MB)) || fail "$VENV needs $NEEDED_MB MB; set CURRENT_TORCH_VENV"
  "$python" -m venv --clear "$VENV"
  "${pip[@]}" --no-cache-dir -r "$HERE/torch.txt"
  "${pip[@]}" -r "$ROOT/requirements.txt" -r "$ROOT/requirements-serve.txt" \
    -r "$ROOT/requirements-render.txt" -r "$ROOT/requirements-dev.txt"
}

stamp=$VENV/.ready-$(cat "$HERE"/*.txt "$ROOT"/requirements*.txt | cksum | cut -d' ' -f1)
[[ -e $stamp ]] || install
touch "$stamp"
"$VENV/bin/python" -c 'import platform, torch
print(f"Python {platform.python_version()}, torch {torch.__version__}, CUDA {torch.version.cuda}, a card: {torch.cuda.is_available()}")'
cd "$ROOT"
CRNN_PYTHON=$VENV/bin/python exec "$VENV/bin/python" -m pytest "${@:-tests}"
