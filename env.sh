# shellcheck shell=bash
# Sourced by every script, or in a shell (`source env.sh`): where things are. Set any of these before a run to change them.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]:-$0}")" && pwd) # of this checkout; zsh has no BASH_SOURCE

# The folder that holds Synth90k/ (raw tree or LMDB). Empty: a small sample is rendered and used, and every table says so.
export PYTORCH_TRAIN_DATASET=${PYTORCH_TRAIN_DATASET:-}
# Where checkpoints are written, and where CRNN_Infer.sh looks for trained weights (a folder, or one file).
export PYTORCH_TRAIN_CHECKPOINT=${PYTORCH_TRAIN_CHECKPOINT:-$ROOT/checkpoints}
# Not empty: links inside a data set may lead out of it (SECURITY.md). The data set's own folder may be a link in any case.
export CRNN_FOLLOW_LINKS=${CRNN_FOLLOW_LINKS:-}
# The image that docker/run_docker.sh starts.
export IMAGE_NAME=${IMAGE_NAME:-crnn-bench}
# Where the rendered sample lies.
export CRNN_SAMPLE=${CRNN_SAMPLE:-$ROOT/data/sample}
# The virtual environment that set-up makes; CRNN_PYTHON names a Python that needs no set-up.
export CRNN_VENV=${CRNN_VENV:-$ROOT/.venv}
# Paths and labels are UTF-8 in every locale: under LC_ALL=C Python would not read them.
export PYTHONUTF8=1
# Programs are started as `python -m models.X` from anywhere.
case ":${PYTHONPATH:-}:" in
*":$ROOT:"*) ;;
*) export PYTHONPATH=$ROOT${PYTHONPATH:+:$PYTHONPATH} ;;
esac
# glibc gives freed pages back to the kernel and faults them in again at every step; keeping them makes a step on CPU 2 to 4 %
# shorter for 3 % more memory (docs/performance.md).
export MALLOC_TRIM_THRESHOLD_=${MALLOC_TRIM_THRESHOLD_:-17179869184} MALLOC_MMAP_MAX_=${MALLOC_MMAP_MAX_:-0}
