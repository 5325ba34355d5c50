#!/usr/bin/env bash
# A scaling table in one command: runs on 1, 2, 4, 8 cards, then images/s, share of the ideal, and a plot with its line.
# usage: bash run_scripts/scaling.sh 'CRNN_AMP_200S_{1,2,4,8}GPU_Train' [-- OPTIONS OF THE RUNS]
#   RESULTS   folder of the records, scaling.md and scaling.html (default: results/runs/scaling)
# The share is of so many times the 1-card row that agrees in all else. Started again, it goes on where it stopped.
set -euo pipefail

# shellcheck source=setup.sh
source "$(dirname "$0")/setup.sh"
results=${RESULTS:-$ROOT/results/runs/scaling}
code=0
run_module bench.sweep --results "$results" "$@" || code=$?
[[ $code -le 1 ]] || exit "$code" # misuse; a run that failed is a row with its reason
columns="run,card,cards,precision,batch,status,images/s,± %,images/s/card,scaling %,step p50 ms,slowest rank behind %"
run_module bench.report "$results" --columns "$columns" --markdown "$results/scaling.md" --html "$results/scaling.html"
exit "$code"
