#!/usr/bin/env bash
# Build the image and use it as a person would: as another user, read-only, without capabilities or network.
# usage: bash tests/containers/run.sh [PART...]      (default: all of PARTS, below)
#   BASE_IMAGE         what to build on (default: the Dockerfile's own)
#   CONTAINER_HELPERS  a folder whose docker-up.sh starts an engine and whose make-base.sh makes BASE_IMAGE where there
#                      is none (default: shared/containers beside this checkout)
# Without an engine and without helpers it says so and ends with 0. What it starts, it stops.
set -euo pipefail

ROOT=$(cd "$(dirname "$0")/../.." && pwd)
HELPERS=${CONTAINER_HELPERS:-$ROOT/../shared/containers}
export OMP_NUM_THREADS=1 BASE_IMAGE=${BASE_IMAGE:-python:3.11-slim-bookworm} IMAGE_NAME=crnn-bench-test PIP_EXTRA_INDEX_URL=
# An unprivileged person, as behind sudo where this runs as root.
if [[ $(id -u) == 0 ]]; then export SUDO_UID=12345 SUDO_GID=12346; fi
caller=${SUDO_UID:-$(id -u)}:${SUDO_GID:-$(id -g)}
place=$(mktemp -d)
engine_folder=

clean() {
  rm -rf "$place"
  if [[ -n $engine_folder ]]; then kill "$(cat "$engine_folder/docker.pid")"; fi
}
trap clean EXIT

skip() { # <reason>
  echo "containers: skipped: $1"
  exit 0
}

step() { echo "$(printf '%4d' $SECONDS) s  $*"; }

wrong() { # <what>
  echo "containers: FAILED: $1" >&2
  [[ ! -s $place/output ]] || tail -n 30 "$place/output" >&2
  exit 1
}

expect() { # <exit code> <command...>: runs it, its output in $place/output
  local want=$1 got=0
  shift
  "$@" >"$place/output" 2>&1 </dev/null || got=$?
  [[ $got == "$want" ]] || wrong "exit code $got, not $want: $*"
}

output_has() { grep -qE -- "$1" "$place/output" || wrong "the output does not say '$1'"; }

need_engine() {
  command -v docker >/dev/null || [[ -x $HELPERS/docker-up.sh ]] || skip "no docker command"
  if docker info >/dev/null 2>&1; then return; fi
  [[ -x $HELPERS/docker-up.sh && $(id -u) == 0 ]] || skip "no Docker engine answers"
  engine_folder=/var/lib/crnn-bench-docker
  "$HELPERS/docker-up.sh" "$engine_folder" || { engine_folder= && skip "the helper could not start an engine"; }
}

need_base() {
  if docker image inspect "$BASE_IMAGE" >/dev/null 2>&1; then return; fi
  if [[ -x $HELPERS/make-base.sh ]]; then
    (cd "$place" && "$HELPERS/make-base.sh" "$BASE_IMAGE") >"$place/output" 2>&1 || wrong "make-base.sh"
  else
    docker pull -q "$BASE_IMAGE" || skip "no base image $BASE_IMAGE, and it cannot be pulled"
  fi
}

run() { bash "$ROOT/docker/run_docker.sh" "$@"; }

the_image() {
  expect 0 bash "$ROOT/docker/build.sh" cpu
  local label
  label=$(docker image inspect -f '{{index .Config.Labels "org.opencontainers.image.revision"}}' "$IMAGE_NAME")
  [[ ${label%-dirty} == "$(git -C "$ROOT" rev-parse HEAD)" ]] || wrong "revision label '$label'"
  # shellcheck disable=SC2016 # for the shell inside
  expect 0 docker run --rm "$IMAGE_NAME" sh -c '! command -v gcc cc make git && test "$(id -u)" = 1000'
  expect 0 docker image inspect -f '{{.Size}}' "$IMAGE_NAME"
  echo "        $(($(cat "$place/output") / 1000000)) MB"
}

a_base_without_torch() {
  expect 1 docker build --build-arg "BASE_IMAGE=$BASE_IMAGE" --build-arg KEEP_TORCH=1 "$ROOT"
  output_has 'has no torch, and KEEP_TORCH=1 forbids'
}

training() { # the folders do not exist yet: they must come to belong to the caller
  export RESULTS=$place/results PYTORCH_TRAIN_CHECKPOINT=$place/checkpoints CRNN_SAMPLE=$place/sample
  chmod 755 "$place"
  expect 0 run python -m models.render --out /data/sample --count 200 --split 0.6/0.2/0.2 --workers 1
  export PYTORCH_TRAIN_DATASET=$place/sample
  expect 0 run CRNN_Train --steps 6 --batch-size 8 --warmup-steps 1
  output_has 'record: '
  [[ -z $(find "$RESULTS" "$PYTORCH_TRAIN_CHECKPOINT" "$CRNN_SAMPLE" -not \( -uid "${caller%:*}" -gid "${caller#*:}" \)) ]] ||
    wrong "not everything belongs to $caller"
}

the_record() {
  docker image inspect -f '{{.Id}}' "$IMAGE_NAME" >"$place/digest"
  # On the host there is no Python of ours: the image reads its own record.
  expect 0 run python -c '
import json, pathlib, sys
[path] = pathlib.Path("results/runs").glob("*Train*.json")
said = json.loads(path.read_text())["provenance"]
assert said["image_digest"].endswith(sys.argv[1]), said["image_digest"]
assert said["in_container"] and said["commit"].startswith(sys.argv[2]), said["commit"]
' "$(cut -d: -f2 "$place/digest")" "$(git -C "$ROOT" rev-parse HEAD)"
  expect 0 run python -m bench.report
  output_has 'CRNN_FP32_6S_1CPU_Train'
}

testing_on_two_processes() { # without a network they still find each other
  DEVICE=CPU CARDS=2 expect 0 run CRNN_Infer --batch-size 20 --latency-runs 2
  output_has 'CRNN_FP32_2CPUs_Infer'
}

refusals() {
  expect 2 run CRNN_FP32_30E_4MLUs_Train
  output_has '4 MLU asked for; found 0 MLU'
  expect 2 run CRNN_Infer --batchsize 3
  output_has 'did you mean'
  PYTORCH_TRAIN_DATASET=$place/nowhere expect 2 run CRNN_Infer
  output_has 'nowhere is not a folder'
  expect 2 docker run --rm --network=none -e PYTORCH_TRAIN_DATASET=/data "$IMAGE_NAME" # not mounted
  output_has '/data'
  IMAGE_NAME=no-such-image expect 2 run CRNN_Infer
  output_has 'no image no-such-image here'
}

confinement() {
  expect 0 run sh -c 'grep CapEff /proc/self/status; id -u; touch /here; touch /data/here; ls /sys/class/net'
  output_has 'CapEff:.0000000000000000$'
  output_has "^${caller%:*}\$"
  output_has "touch: cannot touch '/here': Read-only file system"
  output_has "touch: cannot touch '/data/here': Read-only file system"
  output_has '^lo$'
}

device_nodes() { # two cards with a driver that does not answer; the nodes are those of /dev/null
  [[ $(id -u) == 0 ]] || return 0
  local node
  mkdir "$place/dev"
  for node in cambricon_dev0 cambricon_dev1 cambricon_ctl cambr-msgq:0; do
    mknod -m 660 "$place/dev/$node" c 1 3
    chgrp 54321 "$place/dev/$node" # the group that may use them comes along
  done
  DEV=$place/dev expect 1 run python -m bench.health
  output_has '0 of 2 MLU answer \(cambricon_dev0, cambricon_dev1'
  DEV=$place/dev expect 0 run sh -c 'echo x >/dev/cambr-msgq:0 && echo x >/dev/cambricon_ctl'
}

stopping() { # SIGTERM ends a training in order, with Docker's init and as process 1
  local began
  bash "$ROOT/docker/run_docker.sh" CRNN_Train --epochs 1000 --batch-size 8 --save-every 2 >"$place/output" 2>&1 </dev/null &
  local training=$!
  until [[ -s $PYTORCH_TRAIN_CHECKPOINT/CRNN_FP32_1000E_1CPU_Train/last.pt ]]; do
    kill -0 "$training" 2>/dev/null || wrong "the training ended before it was stopped"
    sleep 0.2
  done
  kill -TERM "$training"
  local code=0
  wait "$training" || code=$?
  [[ $code == 143 ]] || wrong "exit code $code after SIGTERM, not 143"
  [[ -z $(find "$PYTORCH_TRAIN_CHECKPOINT" -name '*.partial*') ]] || wrong "a half-written checkpoint stayed"
  docker run -d --name "crnn-test-$$" --network=none -v "$place/sample:/data:ro" -e PYTORCH_TRAIN_DATASET=/data \
    "$IMAGE_NAME" bash run_scripts/CRNN_Train.sh --epochs 1000 --batch-size 8 >/dev/null
  until docker logs "crnn-test-$$" 2>&1 | grep -q parameters; do sleep 0.2; done
  began=$SECONDS
  docker stop -t 30 "crnn-test-$$" >/dev/null
  code=$(docker inspect -f '{{.State.ExitCode}}' "crnn-test-$$")
  docker rm -f "crnn-test-$$" >/dev/null
  [[ $code == 143 && $((SECONDS - began)) -lt 20 ]] || wrong "process 1 took $((SECONDS - began)) s and said $code"
}

compose() {
  docker compose version >/dev/null 2>&1 || return 0
  RUN_UID=${caller%:*} RUN_GID=${caller#*:} expect 0 docker compose -f "$ROOT/docker/compose.yaml" run --rm cpu \
    bash run_scripts/CRNN_Infer.sh --latency-runs 0
}

PARTS=(the_image a_base_without_torch training the_record testing_on_two_processes refusals confinement device_nodes
  stopping compose)
if (($#)); then PARTS=("$@"); fi
need_engine
need_base
for part in "${PARTS[@]}"; do
  step "${part//_/ }"
  "$part"
done
step "containers: all passed"
