#!/usr/bin/env bash
# Run something inside the image, as the caller, with the devices this host has; never privileged.
# usage: bash docker/run_docker.sh [COMMAND...]          default: bash
#   DEVICE=cpu|cuda|mlu   which settings (default: what is found)      IMAGE_NAME   the image (default: crnn-bench)
#   PYTORCH_TRAIN_DATASET, PYTORCH_TRAIN_CHECKPOINT, RESULTS           folders that are mounted
set -euo pipefail

ROOT=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=../env.sh
source "$ROOT/env.sh"

found() { # prints the settings that suit this host
  if compgen -G '/dev/cambricon_dev*' >/dev/null; then
    echo mlu
  elif compgen -G '/dev/nvidia[0-9]*' >/dev/null; then
    echo cuda
  else
    echo cpu
  fi
}

device=${DEVICE:-$(found)}
settings=$ROOT/docker/${device,,}.env
[[ -f $settings ]] || {
  echo "run_docker.sh: error: DEVICE=$device: want cpu, cuda or mlu" >&2
  exit 2
}
# shellcheck source=cpu.env
source "$settings"

results=${RESULTS:-$ROOT/results/runs}
mkdir -p "$results" "$PYTORCH_TRAIN_CHECKPOINT"
digest=$(docker image inspect --format '{{.Id}}' "$IMAGE_NAME") || {
  echo "run_docker.sh: error: no image $IMAGE_NAME: docker build -t $IMAGE_NAME ." >&2
  exit 2
}

arguments=(--rm --init --user "$(id -u):$(id -g)" --shm-size=8g --ulimit memlock=-1
  --cap-drop=ALL --security-opt=no-new-privileges
  --env "IMAGE_NAME=$IMAGE_NAME" --env "IMAGE_DIGEST=$digest" --env HOME=/tmp
  --volume "$results:/opt/crnn-bench/src/results/runs"
  --volume "$PYTORCH_TRAIN_CHECKPOINT:/checkpoints")
[[ ! -t 0 ]] || arguments+=(-it)
if [[ -n $PYTORCH_TRAIN_DATASET ]]; then
  arguments+=(--volume "$(realpath "$PYTORCH_TRAIN_DATASET"):/data:ro" --env PYTORCH_TRAIN_DATASET=/data)
else
  arguments+=(--tmpfs "/data:uid=$(id -u),gid=$(id -g)")
fi
# The patterns and flags of the settings are lists of words on purpose.
for pattern in ${DEVICE_NODES:-}; do
  for node in $pattern; do [[ ! -e $node ]] || arguments+=(--device "$node"); done
done
for tool in ${READ_ONLY_TOOLS:-}; do
  [[ ! -e $tool ]] || arguments+=(--volume "$tool:$tool:ro")
done
# shellcheck disable=SC2206
arguments+=(${DOCKER_FLAGS:-})

exec docker run "${arguments[@]}" "$IMAGE_NAME" "${@:-bash}"
