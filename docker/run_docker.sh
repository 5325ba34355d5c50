#!/usr/bin/env bash
# Run something inside the image, as the caller, with the devices this host has.
# usage: bash docker/run_docker.sh [--privileged] [NAME [OPTION...] | COMMAND...]
#   NAME is a script of run_scripts/ without .sh: `bash docker/run_docker.sh CRNN_Infer`. Nothing: a shell.
#   DEVICE           CPU, GPU or MLU (default: what is found)       IMAGE_NAME   the image (default: crnn-bench)
#   PYTORCH_TRAIN_DATASET, PYTORCH_TRAIN_CHECKPOINT, RESULTS        folders that are mounted; the first one read-only
#   CRNN_RECIPES     a folder of recipes of your own, mounted read-only
#   CONTAINER_NAME   what docker calls it (default: a name of its own)
#   SHM_SIZE=8g      what loader workers hand over pictures in      NETWORK      default: none; host for several hosts
# The container has no network, no capabilities, a read-only root, and is privileged only with --privileged.
set -euo pipefail

ROOT=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=../env.sh
source "$ROOT/env.sh"
# shellcheck source=common.sh
source "$ROOT/docker/common.sh"

SOURCES=/opt/crnn-bench/src
# Variables of the caller that mean the same inside.
PASSED=(CARDS PRECISION EPOCHS STEPS NNODES NODE_RANK MASTER_ADDR MASTER_PORT MAX_RESTARTS CRNN_TIMEOUT_S
  CRNN_JOIN_TIMEOUT_S CRNN_MIXED_HOSTS CRNN_FOLLOW_LINKS OMP_NUM_THREADS MALLOC_TRIM_THRESHOLD_ MALLOC_MMAP_MAX_
  ENABLE_FALLBACK_TO_CPU GLOO_SOCKET_IFNAME NVIDIA_TF32_OVERRIDE PYTORCH_CUDA_ALLOC_CONF PYTORCH_ALLOC_CONF
  PYTORCH_MLU_ALLOC_CONF CUDA_LAUNCH_BLOCKING CUDA_DEVICE_MAX_CONNECTIONS CUBLAS_WORKSPACE_CONFIG)

arguments=(--rm --init --read-only --tmpfs /tmp:exec --ulimit memlock=-1 --security-opt=no-new-privileges)

confine() { # [--privileged]
  if [[ ${1:-} == --privileged ]]; then arguments+=(--privileged); else arguments+=(--cap-drop=ALL); fi
  local network=none
  [[ ${NNODES:-1} == 1 ]] || network=host
  [[ -z ${CONTAINER_NAME:-} ]] || arguments+=(--name "$CONTAINER_NAME")
  arguments+=(--network "${NETWORK:-$network}" --shm-size "${SHM_SIZE:-8g}")
}

# Files that a run leaves belong to the caller, also to the one behind sudo.
user=${SUDO_UID:-$(id -u)} group=${SUDO_GID:-$(id -g)}

bind() { # <path> <path inside> [readonly]: --mount is a line of CSV, so that a path may hold colons, commas and (doubled) quotes
  local source
  source=$(realpath "$1")
  arguments+=(--mount "type=bind,\"source=${source//\"/\"\"}\",target=$2${3:+,$3}")
}

folder() { # <path> <path inside>: made when it is missing, mounted for writing
  [[ -d $1 ]] || install -d -o "$user" -g "$group" "$1" || fail "cannot make the folder $1"
  bind "$1" "$2"
}

mount_data() {
  if [[ -n ${CRNN_RECIPES:-} ]]; then
    [[ -d $CRNN_RECIPES ]] || fail "CRNN_RECIPES=$CRNN_RECIPES is not a folder"
    bind "$CRNN_RECIPES" /recipes readonly
    arguments+=(--env CRNN_RECIPES=/recipes)
  fi
  folder "${RESULTS:-$ROOT/results/runs}" "$SOURCES/results/runs"
  if [[ -f $PYTORCH_TRAIN_CHECKPOINT ]]; then # one file of weights
    bind "$PYTORCH_TRAIN_CHECKPOINT" /checkpoints/weights.pt readonly
    arguments+=(--env PYTORCH_TRAIN_CHECKPOINT=/checkpoints/weights.pt)
  else
    folder "$PYTORCH_TRAIN_CHECKPOINT" /checkpoints
  fi
  if [[ -z $PYTORCH_TRAIN_DATASET ]]; then
    folder "$CRNN_SAMPLE" /data/sample # rendered there on the first run
  elif [[ -d $PYTORCH_TRAIN_DATASET ]]; then
    bind "$PYTORCH_TRAIN_DATASET" /data readonly
    arguments+=(--env PYTORCH_TRAIN_DATASET=/data)
  else
    fail "PYTORCH_TRAIN_DATASET=$PYTORCH_TRAIN_DATASET is not a folder"
  fi
}

pass_node() { # <node>: into the container's /dev, with the group that may use it
  local target=/dev/${1##*/} major minor
  if [[ $1 == *:* ]]; then # --device would take the colon of cambr-msgq:0 for its own
    read -r major minor <<<"$(stat -c '%t %T' "$1")"
    arguments+=(--mount "type=bind,source=$1,target=$target"
      --device-cgroup-rule "c $((16#$major)):$((16#$minor)) rwm")
  else
    arguments+=(--device "$1:$target")
  fi
  groups+=("$(stat -c %g "$1")")
}

pass_devices() {
  local pattern node tool id groups=()
  for pattern in $DEVICE_NODES; do
    for node in "$DEV"/$pattern; do [[ ! -e $node ]] || pass_node "$node"; done
  done
  for id in $(printf '%s\n' "${groups[@]}" | sort -un); do arguments+=(--group-add "$id"); done
  for tool in $READ_ONLY_TOOLS; do
    [[ ! -e $tool ]] || bind "$tool" "$tool" readonly
  done
  # shellcheck disable=SC2206 # a list of words
  arguments+=($DOCKER_FLAGS)
}

pass_environment() {
  local name digest
  digest=$(docker image inspect --format '{{if .RepoDigests}}{{index .RepoDigests 0}}{{else}}{{.Id}}{{end}}' \
    "$IMAGE_NAME") || fail "no image $IMAGE_NAME here: bash docker/build.sh"
  arguments+=(--user "$user:$group" --env "IMAGE_NAME=$IMAGE_NAME" --env "IMAGE_DIGEST=$digest")
  [[ -z ${DEVICE:-} ]] || arguments+=(--env "DEVICE=$DEVICE_NAME")
  # shellcheck disable=SC2086 # a list of words
  for name in "${PASSED[@]}" $CARD_VARIABLES $(compgen -v NCCL_) $(compgen -v CNCL_) $(compgen -v TORCH_NCCL_); do
    [[ ! -v $name ]] || arguments+=(--env "$name")
  done
  [[ ! -t 0 || ! -t 1 ]] || arguments+=(-it)
}

read_settings "${DEVICE:-}"
confine "${1:-}"
[[ ${1:-} != --privileged ]] || shift
mount_data
pass_devices
pass_environment

command=("${@:-bash}")
if [[ $# -gt 0 && -f $ROOT/run_scripts/$1.sh ]]; then command=(bash "run_scripts/$1.sh" "${@:2}"); fi
exec docker run "${arguments[@]}" "$IMAGE_NAME" "${command[@]}"
