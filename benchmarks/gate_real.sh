#!/usr/bin/env bash
# Does the gate pass a build against itself, and catch a real slow-down? Both by real runs of run_scripts/compare.sh.
# usage: bash benchmarks/gate_real.sh [RUN_NAME] [SHARE] [-- OPTIONS OF compare.sh]     default: CRNN_FP32_60S_1CPU_Train 0.05
# The slow-down is a commit on no branch: after each training step it sleeps for SHARE of the time the step took.
set -euo pipefail

# shellcheck source=../run_scripts/setup.sh
source "$(dirname "$0")/../run_scripts/setup.sh"
run=${1:-CRNN_FP32_60S_1CPU_Train} share=${2:-0.05}
shift $(($# < 2 ? $# : 2))
[[ ${1:-} != -- ]] || shift

plant() { # prints the commit that is HEAD and the slow-down
  local tree
  tree=$(mktemp -d)/tree
  git -C "$ROOT" worktree add --quiet --detach "$tree" HEAD
  "$PYTHON" - "$tree/models/train.py" "$share" <<'PYTHON'
import sys
from pathlib import Path

path, share = Path(sys.argv[1]), sys.argv[2]
slowed = f'''def slowed(step):
    def longer(self, batch):
        import time

        began = time.perf_counter()
        loss = step(self, batch)
        time.sleep({share} * (time.perf_counter() - began))
        return loss

    return longer


Training.train_step = slowed(Training.train_step)


def main('''
text = path.read_text()
assert text.count("\ndef main(") == 1
path.write_text(text.replace("\ndef main(", "\n" + slowed))
PYTHON
  git -C "$tree" -c user.name=gate -c user.email=gate@localhost commit --quiet --all --message "A planted slow-down of $share"
  git -C "$tree" rev-parse HEAD
  git -C "$ROOT" worktree remove --force "$tree" >&2
}

expect() { # <exit code> <what> <command...>
  local wanted=$1 what=$2 code=0
  shift 2
  "$@" || code=$?
  echo "== $what: exit code $code, wanted $wanted =="
  [[ $code == "$wanted" ]]
}

head=$(git -C "$ROOT" rev-parse HEAD) # it may move while this runs
slow=$(plant)
failed=0
expect 0 "a build against itself" bash "$ROOT/run_scripts/compare.sh" "$head" "$head" "$run" "$@" || failed=1
expect 1 "a slow-down of $share" bash "$ROOT/run_scripts/compare.sh" "$head" "$slow" "$run" "$@" || failed=1
exit $failed
