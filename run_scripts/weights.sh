#!/usr/bin/env bash
# The shipped weights from nothing: a thousand families of faces, drawn words, and stages of training, of which the long
# one is the small recogniser's: it learns from 2.4 times the images in the same time. Hours of a CPU.
# usage: bash run_scripts/weights.sh DIR LEXICON [OPTIONS OF THE LAST STAGES]      LEXICON: Synth90k's lexicon.txt
# What is in DIR already is not made again. The faces come with npm, from Fontsource's packages of Google Fonts.
set -euo pipefail
shopt -s inherit_errexit # a stage that fails inside $(...) ends the script, too

# shellcheck source=setup.sh
source "$(dirname "$0")/setup.sh"
(($# >= 2)) || fail "usage: bash run_scripts/weights.sh DIR LEXICON [OPTIONS OF THE LAST STAGES]"
work=$1 lexicon=$2
MODEL=CRNN WORDS= # of the stages: what is trained, and words drawn for others
shift 2
device=$(run_module bench.device --best)

faces() { # prints the folders of the families that models/weights/faces.txt lists
  if [[ ! -d $work/faces/node_modules ]]; then
    command -v npm >/dev/null || fail "no npm: install Node.js, it fetches the faces"
    xargs npm install --prefix "$work/faces.part" --ignore-scripts --no-audit --no-fund <"$ROOT/models/weights/faces.txt" >&2
    mv "$work/faces.part" "$work/faces"
  fi
  echo "$work/faces/node_modules/@fontsource/*/files"
}

drawn() { # <name> <options of models.render...>
  run_module models.render --out "$work/$1" "${@:2}" >&2
}

cased() { # <name>: with the labels of the images' names, whose capitals those of the lexicon do not have
  run_module models.prepare --source "$work/$1" --labels name --out "$work/$1.cased" >&2
}

finished() { # <records>...: is there one of a run that did not fail?
  local record
  for record in "$@"; do
    [[ ! -f $record ]] || grep -qE '"status": "(oom|diverged|crash|interrupted|timeout)"' "$record" || return 0
  done
  return 1
}

trained() { # <name of the words> <steps> <rate> <options...>; prints the checkpoint
  local run=${MODEL}_AMP_${2}S_1${device}_Train
  finished "$work/$1.results/$run".*.json ||
    PYTORCH_TRAIN_DATASET=${WORDS:-$work/$1} run_module models.launch "$run" --batch-size 64 --optimizer.name adamw \
      --optimizer.lr "$3" --optimizer.lr-batch 64 --optimizer.schedule one_cycle --overwrite \
      --checkpoints "$work/$1.checkpoints" --results "$work/$1.results" "${@:4}" >&2
  echo "$work/$1.checkpoints/$run/best.pt"
}

drawn plain --style plain --count 12000
plain=$(trained plain 600 1e-3)
drawn hard --style hard --count 60000 --seed 3 --split 0.96,0.02,0.02 --lexicon "$lexicon"
hard=$(trained hard 2000 7e-4 --start-from "$plain")

families=$(faces)
web="bundled,$families/*-latin-400-normal.woff,$families/*-latin-700-normal.woff,$families/*-latin-400-italic.woff"
many() { drawn "$@" --split 0.99,0.005,0.005 --fonts "$web"; }
many faces --style hard --count 300000 --seed 20 --lexicon "$lexicon" --numbers 8000
faces=$(trained faces 3000 8e-4 --start-from "$hard")

{ grep -E '^.{1,4}$' "$lexicon" && printf '%s\n' {a..z} {0..9}; } | LC_ALL=C sort -u >"$work/short.txt"
many short --style street --count 45000 --seed 22 --lexicon "$work/short.txt" --numbers 1500
many street --style street --count 280000 --seed 21 --lexicon "$lexicon" --numbers 10000
WORDS="$work/street:0.54,$work/short:0.08,$work/faces:0.38"
street=$(trained street 5200 8e-4 --start-from "$faces" "$@")

run_module models.resize "$street" "$work/small.safetensors"
MODEL=CRNN_SMALL
small=$(trained small 4800 1e-3 --start-from "$work/small.safetensors" "$@")
many edges --style street --count 450000 --seed 31 --lexicon "$lexicon" --numbers 10000
WORDS="$work/edges:0.52,$work/street:0.14,$work/short:0.06,$work/faces:0.28"
small=$(trained edges 14000 1e-3 --start-from "$small" "$@")

MODEL=CRNN
run_module models.resize "$small" "$work/large.safetensors"
large=$(trained large 1300 5e-4 --start-from "$work/large.safetensors" "$@")
run_module models.average "$work/large.safetensors" "$large" "$work/mean.safetensors" # reads better than either

MODEL=CRNN_SMALL
many marks --style hard --count 180000 --seed 41 --lexicon "$lexicon" --numbers 10000 --punctuated 0.6
cased marks
cased faces
WORDS="$work/marks.cased:0.6,$work/faces.cased:0.4"
trained marks 3400 1e-3 --start-from "$small" --data.charset 94 --mode exact "$@"
