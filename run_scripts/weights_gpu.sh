#!/usr/bin/env bash
# Weights from minutes on a card: words for crnn_small and crnn, and lines of Chinese for crnn_small_chinese and
# crnn_chinese, side by side. Half of the cores draw words, half draw lines, while the card learns from both.
# usage: bash run_scripts/weights_gpu.sh INPUTS OUT SECONDS [OPTIONS OF models.train_drawn]
# INPUTS is what `python -m benchmarks.card.gather` makes with --training.*: words.txt.xz and lines.txt.xz, latin/,
# chinese/ and chinese/faces.txt, and RECIPE.safetensors to begin with in place of the shipped ones.
# OUT gets eight files: words.log, lines.log, and in words/ and lines/ two recipes' weights and training.json.
# WEIGHTS=words or WEIGHTS=lines makes one kind alone.
set -euo pipefail
shopt -s inherit_errexit

# shellcheck source=setup.sh
source "$(dirname "$0")/setup.sh"
(($# >= 3)) || fail "usage: bash run_scripts/weights_gpu.sh INPUTS OUT SECONDS [OPTIONS OF models.train_drawn]"
inputs=$1 out=$2 seconds=$3 kinds=${WEIGHTS:-words lines}
shift 3
cores=$(nproc)
workers=$((cores > 2 ? (cores - 1) / 2 : 1))
mkdir -p "$out"

weights() { # <recipe>...: what the first begins with: weights that were carried, or those that are shipped
  local file recipe
  for recipe in "$@"; do
    for file in "$inputs/$recipe.safetensors" "$ROOT/models/weights/$recipe.safetensors"; do
      [[ ! -f $file ]] || { echo "$file"; return; }
    done
  done
}

lines_faces() { # those of chinese/faces.txt, each file of them with its folder
  local one
  while read -r one; do
    one=$inputs/chinese/${one//+/+$inputs/chinese/}
    printf '%s,' "$one"
  done <"$inputs/chinese/faces.txt"
}

train() { # <words or lines> <options...>
  local kind=$1
  run_module models.train_drawn --texts "$inputs/$kind.txt.xz" --out "$out/$kind" --seconds "$seconds" --workers "$workers" \
    "${@:2}" >"$out/$kind.log" 2>&1 &
  started+=("$!")
}

for kind in $kinds; do
  [[ $kind == words || $kind == lines ]] || fail "WEIGHTS='$kinds': words, lines or both"
done
started=()
if [[ $kinds == *words* ]]; then
  train words --recipes crnn_small,crnn --start-from "$(weights crnn_small),$(weights crnn)" \
    --fonts "$inputs/latin" --style street:0.62,hard:0.38 "$@"
fi
if [[ $kinds == *lines* ]]; then
  faces=$(lines_faces)
  start=$(weights crnn_small_chinese),$(weights crnn_chinese crnn_small_chinese)
  train lines --recipes crnn_small_chinese,crnn_chinese --start-from "$start" \
    --fonts "${faces%,}" --style lines:0.7,signs:0.3 --batch-size 1280 "$@"
fi
# whoever waits sees how it goes
tail -q -f "$out"/*.log --pid "${started[-1]}" 2>/dev/null &
status=0
for process in "${started[@]}"; do
  wait "$process" || status=$?
done
exit "$status"
