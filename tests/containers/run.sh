#!/usr/bin/env bash
# Build the image and use it as a person would: as another user, read-only, without capabilities or network.
# usage: bash tests/containers/run.sh [PART...]      (default: all of PARTS, below)
#   BASE_IMAGE         what to build on (default: the Dockerfile's own)
#   CONTAINER_HELPERS  a folder whose docker-up.sh starts an engine and whose make-base.sh makes BASE_IMAGE where there
#                      is none (default: shared/containers beside this checkout)
#   CONTAINER_SECONDS  stop after so long, with what is not done yet (default: no limit)
# Where the machine does not let an image be built (no engine, no package index, ...), or time is up, it says so and ends
# with 0: exit code 1 is a fault of ours. What it starts, it stops.
set -euo pipefail

ROOT=$(cd "$(dirname "$0")/../.." && pwd)
HELPERS=${CONTAINER_HELPERS:-$ROOT/../shared/containers}
export OMP_NUM_THREADS=1 BASE_IMAGE=${BASE_IMAGE:-python:3.11-slim-bookworm} IMAGE_NAME=crnn-bench-test
CPU_WHEELS=https://download.pytorch.org/whl/cpu
# An unprivileged person, as behind sudo where this runs as root.
if [[ $(id -u) == 0 ]]; then export SUDO_UID=12345 SUDO_GID=12346; fi
caller=${SUDO_UID:-$(id -u)}:${SUDO_GID:-$(id -g)}
changes=$(git -C "$ROOT" status --porcelain | head -n 1)
place=$(mktemp -d)
engine_folder=
part=preparations
watch=

clean() {
  trap - ALRM
  # shellcheck disable=SC2046 # words
  kill $watch $(jobs -p) 2>/dev/null || :
  if [[ -s $place/engine ]]; then
    docker ps -q --filter "ancestor=$IMAGE_NAME" | xargs -r docker kill >/dev/null 2>&1 || :
    # Builds of earlier commits, which have lost their name to the newest.
    docker image prune --force --filter label=org.opencontainers.image.title=crnn-bench >/dev/null 2>&1 || :
  fi
  if [[ -n $engine_folder && -e $engine_folder/docker.pid ]]; then kill "$(cat "$engine_folder/docker.pid")"; fi
  rm -rf "$place"
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

bounded() { # <command...>: its output in $place/output; while bash waits, time may run out
  "$@" >"$place/output" 2>&1 </dev/null &
  wait $!
}

expect() { # <exit code> <command...>
  local want=$1 got=0
  shift
  bounded "$@" || got=$?
  [[ $got == "$want" ]] || wrong "exit code $got, not $want: $*"
}

output_has() { grep -qE -- "$1" "$place/output" || wrong "the output does not say '$1'"; }

watch_the_clock() {
  [[ -n ${CONTAINER_SECONDS:-} ]] || return 0
  trap 'skip "$CONTAINER_SECONDS s are over at: ${part//_/ }; what comes after it was not tried"' ALRM
  {
    sleep "$CONTAINER_SECONDS" &
    trap 'kill $!' TERM
    if wait $!; then kill -ALRM $$; fi
  } >/dev/null 2>&1 &
  watch=$!
}

need_engine() {
  command -v docker >/dev/null || [[ -x $HELPERS/docker-up.sh ]] || skip "no docker command"
  if ! bounded docker info; then
    [[ -x $HELPERS/docker-up.sh && $(id -u) == 0 ]] || skip "no Docker engine answers"
    engine_folder=/var/lib/crnn-bench-docker
    bounded "$HELPERS/docker-up.sh" "$engine_folder" || skip "the helper could not start an engine"
  fi
  echo yes >"$place/engine"
}

need_base() {
  if bounded docker image inspect "$BASE_IMAGE"; then return; fi
  if [[ -x $HELPERS/make-base.sh ]]; then
    bounded env -C "$place" "$HELPERS/make-base.sh" "$BASE_IMAGE" || skip "the helper could not make a base image"
  else
    bounded docker pull -q "$BASE_IMAGE" || skip "no base image $BASE_IMAGE, and it cannot be pulled"
  fi
}

# An engine of another machine does not see our files; a rootless one gives them to other users.
need_files() {
  mkdir -m 777 "$place/probe"
  bounded docker run --rm --user "$caller" --volume "$place/probe:/probe" "$BASE_IMAGE" sh -c ': >/probe/file' ||
    skip "this engine does not write into this machine's folders"
  [[ $(stat -c %u:%g "$place/probe/file" 2>/dev/null) == "$caller" ]] || skip "this engine changes users"
}

# Gigabytes of CUDA would come in where the wheel for a CPU cannot be had.
need_packages() {
  local torch ask="install --dry-run --quiet --retries 1 --timeout 15 --no-deps --report -"
  torch=$(grep ^torch== "$ROOT/requirements-torch.txt")
  for PIP_EXTRA_INDEX_URL in "${PIP_EXTRA_INDEX_URL-}" "$CPU_WHEELS"; do
    export PIP_EXTRA_INDEX_URL
    # shellcheck disable=SC2086 # words
    if bounded docker run --rm --env PIP_EXTRA_INDEX_URL "$BASE_IMAGE" python3 -m pip $ask "$torch" &&
      ! grep -q '"nvidia-' "$place/output"; then
      return
    fi
  done
  skip "no package index with a torch for CPUs is reached from a container"
}

run() { bash "$ROOT/docker/run_docker.sh" "$@"; }

# What a build says where the machine, and not the Dockerfile, is at fault.
WEATHER='name resolution|no space left|timed out|Connection (reset|refused)|from versions: none|Too Many Requests'

labelled() { # <label> <what it says where the tree is clean>
  local said
  said=$(docker image inspect -f "{{index .Config.Labels \"org.opencontainers.image.$1\"}}" "$IMAGE_NAME")
  [[ $said == "$2${changes:+-dirty}" ]] || wrong "$1 label '$said'"
}

the_image() {
  local built=0
  bounded bash "$ROOT/docker/build.sh" cpu || built=$?
  if [[ $built != 0 ]] && grep -qiE "$WEATHER" "$place/output"; then skip "$(grep -iE "$WEATHER" "$place/output" | tail -n 1)"; fi
  [[ $built == 0 ]] || wrong "docker build"
  labelled revision "$(git -C "$ROOT" rev-parse HEAD)"
  labelled version "$(git -C "$ROOT" describe --always --tags)"
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
  expect 0 run python -m models.render --out /data/sample --count 200 --split 0.6,0.2,0.2 --workers 1
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
assert said["in_container"] and said["commit"] == sys.argv[2], said["commit"]
assert said["dirty"] is bool(sys.argv[3]), said["dirty"]
' "$(cut -d: -f2 "$place/digest")" "$(git -C "$ROOT" rev-parse HEAD)" "$changes"
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
    mknod -m 660 "$place/dev/$node" c 1 3 || return 0 # some roots may not
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
    --health-interval=2s --health-start-period=0s "$IMAGE_NAME" \
    bash run_scripts/CRNN_Train.sh --epochs 1000 --batch-size 8 >/dev/null
  until docker logs "crnn-test-$$" 2>&1 | grep -q parameters; do sleep 0.2; done
  began=$SECONDS
  until [[ $(docker inspect -f '{{.State.Health.Status}}' "crnn-test-$$") == healthy ]]; do
    ((SECONDS - began < 120)) || wrong "the health check says $(docker inspect -f '{{json .State.Health}}' "crnn-test-$$")"
    sleep 0.5
  done
  docker stop -t 180 "crnn-test-$$" >/dev/null # a busy machine takes a minute; one that is killed in the end says 137
  code=$(docker inspect -f '{{.State.ExitCode}}' "crnn-test-$$")
  docker rm -f "crnn-test-$$" >/dev/null
  [[ $code == 143 ]] || wrong "process 1 said $code"
}

compose() {
  docker compose version >/dev/null 2>&1 || return 0
  RUN_UID=${caller%:*} RUN_GID=${caller#*:} expect 0 docker compose -f "$ROOT/docker/compose.yaml" run --rm cpu \
    bash run_scripts/CRNN_Infer.sh --latency-runs 0
}

PARTS=(the_image a_base_without_torch training the_record testing_on_two_processes refusals confinement device_nodes
  stopping compose)
if (($#)); then PARTS=("$@"); fi
watch_the_clock
for need in need_engine need_base need_files need_packages; do "$need"; done
for part in "${PARTS[@]}"; do
  step "${part//_/ }"
  "$part"
done
step "containers: all passed"
