#!/usr/bin/env bash
# Sourced: sets ROOT and PYTHON, and makes the virtual environment when it is missing or its requirements have changed.
# usage: SETUP=dev source setup.sh      (dev: what the tests need, too)
# Where the Python that is found already has a torch (a vendor's image), that torch is kept and only the rest is installed.
# CRNN_EXTRAS: what is installed beside the benchmark, "serve render" by default; an image of a card has neither.
# All but torch is installed by the hashes of requirements*.lock, less what the vendor's torch needs of its own (numpy);
# CRNN_LOCKED=0 takes the versions of requirements*.txt and whatever these need today.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export ROOT
# shellcheck source=../env.sh
source "$ROOT/env.sh"
# Processes that a program starts leave the working folder out of sys.path, too (Python 3.11 and later).
export PYTHONSAFEPATH=1

fail() { # <message>
  echo "$(basename "$0"): error: $1" >&2
  exit 2
}

find_python() {
  local name
  for name in python3 python3.12 python3.11 python3.10 python; do
    if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
      command -v "$name"
      return
    fi
  done
  fail "no Python 3.10 or newer found; install one, or set CRNN_PYTHON"
}

run_module() { # <module> <options...>: of this checkout, not of the working folder
  "$PYTHON" "$ROOT/run_scripts/module.py" "$@"
}

has() { # <python> <module>
  "$1" -c 'import importlib.util as u, sys; sys.exit(u.find_spec(sys.argv[1]) is None)' "$2"
}

# Their versions and hashes, and nothing else: of each lock all but what the base brings.
install_locked() { # <lock...>
  local lock wanted
  wanted=$(mktemp)
  for lock in "$@"; do
    awk 'NR == FNR { brought[$1]; next } /^[a-zA-Z0-9]/ { keep = !(tolower(substr($1, 1, index($1, "==") - 1)) in brought) } keep' \
      <(echo - && sed -n 's/==.*//p' "$CRNN_VENV/kept.txt" 2>/dev/null | tr 'A-Z_' 'a-z-') "$ROOT/$lock" >"$wanted"
    "$CRNN_VENV/bin/python" -m pip install --disable-pip-version-check --quiet --require-hashes --no-deps -r "$wanted"
  done
  rm "$wanted"
}

# The new environment sees the packages of <python>, behind its own, and pip may not replace those that torch is built
# for. --system-site-packages alone is not enough where <python> is itself in an environment, as in Cambricon's images.
keep_torch() { # <python>
  local site
  site=$("$CRNN_VENV/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  "$1" -c 'import sysconfig; print(sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), sep="\n")' \
    >"$site/vendor.pth"
  "$1" -c 'import importlib.metadata as m, re
for d in m.distributions():
    if re.match(r"torch|triton|numpy$", d.metadata["Name"] or ""): print(d.metadata["Name"], d.version, sep="==")' \
    >"$CRNN_VENV/kept.txt"
}

# pip asks every index for every package and tries five times each: behind a firewall that is a quarter of an hour of
# silence. Only an index that no connection can be made to is left out; a proxy, a certificate or 403 is pip's to judge.
leave_out_dead_indexes() { # <python>
  local index alive=()
  [[ -z ${PIP_PROXY:-} ]] || return 0
  for index in ${PIP_EXTRA_INDEX_URL:-}; do
    if [[ $index != http* ]] || "$1" -c 'import socket, ssl, sys, urllib.error, urllib.request
try:
    urllib.request.urlopen(sys.argv[1], timeout=15)
except (urllib.error.HTTPError, ssl.SSLError):
    pass
except (urllib.error.URLError, OSError) as error:
    sys.exit(not isinstance(getattr(error, "reason", error), ssl.SSLError))' "$index" 2>/dev/null; then
      alive+=("$index")
    else
      echo "  PIP_EXTRA_INDEX_URL: $index does not answer from here; going on without it" >&2
    fi
  done
  export PIP_EXTRA_INDEX_URL="${alive[*]-}"
  [[ -n $PIP_EXTRA_INDEX_URL ]] || unset PIP_EXTRA_INDEX_URL
}

install() { # <python> <stamp>
  local python=$1 stamp=$2 options=() files=(-r "$ROOT/requirements.txt") locks=(requirements.lock) extra
  if has "$python" torch; then
    options=(--system-site-packages)
    has "$python" ensurepip || options+=(--without-pip)
  elif [[ -n ${KEEP_TORCH:-} ]]; then
    fail "$python has no torch, and KEEP_TORCH=$KEEP_TORCH forbids to install one: is this the vendor's PyTorch image?"
  else
    files=(-r "$ROOT/requirements-torch.txt" "${files[@]}")
    locks+=(requirements-torch.lock)
    if compgen -G "${DEV:-/dev}/cambricon_dev*" >/dev/null; then
      echo "note: this host has MLUs, and $python has no torch: the one that is installed now cannot use them. docs/mlu.md: Cambricon's image, or its Python in CRNN_PYTHON" >&2
    fi
  fi
  for extra in $EXTRAS; do
    [[ -e $ROOT/requirements-$extra.txt ]] || fail "CRNN_EXTRAS: no requirements-$extra.txt; there are serve and render"
    files+=(-r "$ROOT/requirements-$extra.txt")
    locks+=("requirements-$extra.lock")
  done
  echo "setting up $CRNN_VENV (once; the torch download is the long part)" >&2
  leave_out_dead_indexes "$python"
  "$python" -m venv ${options[@]+"${options[@]}"} "$CRNN_VENV"
  if ((${#options[@]})); then
    keep_torch "$python"
    files+=(-c "$CRNN_VENV/kept.txt")
  fi
  if [[ ${CRNN_LOCKED:-1} != 0 ]]; then # what follows finds all of it there, and adds torch
    install_locked "${locks[@]}"
  fi
  # One line a package is progress enough; pip's own exit code passes through the pipe.
  "$CRNN_VENV/bin/python" -m pip install --disable-pip-version-check "${files[@]}" |
    awk '/^(Collecting|Installing)/ { print "  " $1, $2, ($1 == "Installing" ? "..." : "") }' >&2
  touch "$stamp"
}

setup() {
  local python stamp sum
  if [[ -n ${CRNN_PYTHON:-} ]]; then
    PYTHON=$CRNN_PYTHON
    return
  fi
  PYTHON=$CRNN_VENV/bin/python
  EXTRAS=${CRNN_EXTRAS-serve render}
  [[ ${SETUP:-} != dev ]] || EXTRAS="serve render dev"
  sum=$(cat "$ROOT"/requirements*.{txt,lock} | cksum | cut -d' ' -f1)
  stamp=$CRNN_VENV/.ready-$sum-${EXTRAS// /-}
  [[ ! -e $CRNN_VENV/.ready-$sum-serve-render-dev ]] || stamp=$CRNN_VENV/.ready-$sum-serve-render-dev
  if [[ ! -e $stamp ]]; then
    python=$(find_python)
    mkdir -p "$CRNN_VENV" 2>/dev/null || fail "cannot write $CRNN_VENV; set CRNN_VENV, or CRNN_PYTHON to a Python with the requirements"
    # One at a time: two scripts started together must not both install.
    exec 9>"$CRNN_VENV/.lock"
    if command -v flock >/dev/null; then flock 9; fi
    [[ -e $stamp ]] || (cd "$ROOT" && install "$python" "$stamp") # Python would import what lies in the working folder
    exec 9>&-
  fi
}

setup
export PYTHON
