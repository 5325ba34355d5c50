#!/usr/bin/env bash
# What every named script does: set up when needed, then run what its own file name says (grammar: bench/records/run_name.py).
# Options after the script name go to the program; DEVICE, CARDS, PRECISION, EPOCHS, STEPS in the environment override
# a coordinate of the name; NNODES, NODE_RANK, MASTER_ADDR, MASTER_PORT spread the run over hosts (docs/hosts.md).
set -euo pipefail

# shellcheck source=setup.sh
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
# torch warns of every name it cannot resolve backwards; the launcher says in words when hosts do not find each other.
export TORCH_CPP_LOG_LEVEL=${TORCH_CPP_LOG_LEVEL:-ERROR}
name=$(basename "$0" .sh)
[[ $name == run ]] || set -- "$name" "$@" # run.sh is given the name
exec "$PYTHON" "$ROOT/run_scripts/module.py" models.launch "$@"
