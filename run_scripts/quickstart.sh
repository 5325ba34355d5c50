#!/usr/bin/env bash
# From nothing to a table: set up, make or find data, train briefly, test, report. Under ten minutes on two CPU cores.
set -euo pipefail

# shellcheck source=setup.sh
source "$(dirname "$0")/setup.sh"
device=$(run_module bench.device --best)
# A short schedule that learns from little: 450 steps of 64 images, AdamW, one cycle up to 1e-3.
run_module models.launch "CRNN_AMP_450S_1${device}_Train" --batch-size 64 --log-every 10 \
  --optimizer.name adamw --optimizer.lr 1e-3 --optimizer.lr-batch 64 --optimizer.schedule one_cycle --overwrite "$@"
run_module models.launch "CRNN_AMP_1${device}_Infer" --batch-size 64
echo
run_module bench.report
