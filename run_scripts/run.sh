#!/usr/bin/env bash
# Run any run name, with or without a script of its own: bash run_scripts/run.sh CRNN_FP32_60S_1CPU_Train --batch-size 16
source "$(dirname "$0")/common.sh"
