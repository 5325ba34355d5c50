#!/usr/bin/env bash
# Weights from minutes on a card: words for crnn_small and crnn, and lines of Chinese for crnn_chinese, side by side.
# Half of the cores draw words, half draw lines, while the card learns from both.
# usage: bash run_scripts/weights_gpu.sh INPUTS OUT SECONDS [OPTIONS OF models.train_drawn]
# INPUTS holds words.txt and lines.txt (one text a line), latin/ and chinese/ (faces), and weights to begin with where
# there are some: crnn_small.safetensors, crnn.safetensors, crnn_chinese.safetensors. OUT gets two folders.
set -euo pipefail
shopt -s inherit_errexit

# shellcheck source=setup.sh
source "$(dirname "$0")/setup.sh"
(($# >= 3)) || fail "usage: bash run_scripts/weights_gpu.sh INPUTS OUT SECONDS [OPTIONS OF models.train_drawn]"
inputs=$1 out=$2 seconds=$3
shift 3
cores=$(nproc)
workers=$((cores > 2 ? (cores - 1) / 2 : 1))
mkdir -p "$out"

weights() { # <recipe>: what it begins with, shipped weights or none
  local file
  for file in "$inputs/$1.safetensors" "$ROOT/models/weights/$1.safetensors"; do
    [[ ! -f $file ]] || { echo "$file"; return; }
  done
}

lines_faces() { # Song and Kai as books have them weigh most; Latin of other families beside them, as documents have it
  local chinese=$inputs/chinese latin=$inputs/latin name faces=
  for name in song=3 kai=2 zenhei=1.5 microhei=1.5 noto-sans=1.5 noto-sans-bold noto-serif=1.3 noto-serif-bold wenkai=0.7 \
    smiley=0.5 xiaowei=0.6 qingke=0.5 kuaile=0.3; do
    local file=("$chinese/${name%%=*}".*)
    [[ ! -f ${file[0]} ]] || faces+=,${file[0]}$([[ $name != *=* ]] || echo "=${name##*=}")
  done
  for name in stix-two-text+song=1.5 arimo+zenhei arimo+noto-sans stix-two-text+noto-serif=0.7 roboto+microhei=0.7 inconsolata+noto-sans=0.5; do
    local first=$latin/${name%%+*}-latin-400-normal.ttf second=${name##*+}
    local other=("$chinese/${second%%=*}".*)
    [[ ! -f $first || ! -f ${other[0]} ]] || faces+=,$first+${other[0]}$([[ $second != *=* ]] || echo "=${second##*=}")
  done
  echo "${faces#,}"
}

run_module models.train_drawn --recipes crnn_small,crnn --start-from "$(weights crnn_small),$(weights crnn)" \
  --texts "$inputs/words.txt" --fonts "$inputs/latin" --style street:0.62,hard:0.38 --out "$out/words" \
  --seconds "$seconds" --workers "$workers" "$@" >"$out/words.log" 2>&1 &
words=$!
run_module models.train_drawn --recipes crnn_chinese --start-from "$(weights crnn_chinese)" \
  --texts "$inputs/lines.txt" --fonts "$(lines_faces)" --style lines --out "$out/lines" --batch-size 1280 \
  --seconds "$seconds" --workers "$workers" "$@" >"$out/lines.log" 2>&1 &
lines=$!
tail -q -f "$out/words.log" "$out/lines.log" --pid "$lines" 2>/dev/null & # whoever waits sees how it goes
status=0
wait "$words" || status=$?
wait "$lines" || status=$?
exit "$status"
