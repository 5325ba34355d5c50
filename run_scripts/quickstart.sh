#!/usr/bin/env bash
# From nothing to a table: set up, make or find data, train briefly, test, report. Under ten minutes on two CPU cores that
# compute bfloat16, about a quarter of an hour on two that do not.
set -euo pipefail

# shellcheck source=setup.sh
source "$(dirname "$0")/setup.sh"
device=$(run_module bench.device --best)
precision=AMP
if [[ $device == CPU ]] && ! grep -qwE 'amx_bf16|avx512_bf16|bf16' /proc/cpuinfo 2>/dev/null; then
  precision=FP32 # bfloat16 is emulated there: it trained a quarter as fast as float32
  echo "quickstart: FP32, as this processor has no bfloat16 units (AMP would be slower)"
fi
# A short schedule that learns from little: 450 steps of 64 images, AdamW, one cycle up to 1e-3.
run_module models.launch "CRNN_${precision}_450S_1${device}_Train" --batch-size 64 --log-every 10 \
  --optimizer.name adamw --optimizer.lr 1e-3 --optimizer.lr-batch 64 --optimizer.schedule one_cycle --overwrite "$@"
run_module models.launch "CRNN_${precision}_1${device}_Infer" --batch-size 64
echo
run_module bench.report
