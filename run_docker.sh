#!/usr/bin/env bash
# Cambricon's model zoo teaches `bash run_docker.sh [CONTAINER_NAME]`: a shell in the image IMAGE_NAME, here as docker/run_docker.sh
# makes it, which also takes the name of a run or a command. Its container goes with the shell; data and checkpoints are mounted.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
if [[ $# -eq 1 && $1 =~ ^[a-zA-Z0-9][a-zA-Z0-9_.-]*$ && ! -f $here/run_scripts/$1.sh && $1 != bash && $1 != true ]]; then
  export CONTAINER_NAME=$1
  shift
fi
echo "run_docker.sh: this is docker/run_docker.sh${CONTAINER_NAME:+, a shell in a container called $CONTAINER_NAME}" >&2
exec bash "$here/docker/run_docker.sh" "$@"
