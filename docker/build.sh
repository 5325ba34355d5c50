#!/usr/bin/env bash
# Build the image for a kind of device, with the commit it is made from. usage: bash docker/build.sh [cpu|cuda|mlu] [OPTION...]
#   BASE_IMAGE   another base (default: docker/<device>.env)      IMAGE_NAME   what to call it (default: crnn-bench)
# BASE_IMAGE may end in @sha256:<digest>; of a tag the digest is looked up, built from, and kept in labels and records.
# Options go to `docker build`.
set -euo pipefail

ROOT=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=../env.sh
source "$ROOT/env.sh"
# shellcheck source=common.sh
source "$ROOT/docker/common.sh"

device=
if [[ ${1:-} =~ ^[A-Za-z] ]]; then
  device=$1
  shift
fi
read_settings "$device"

base_digest() { # what its name, a pull or the registry says; nothing for an image that was made or loaded here
  local noted
  if [[ $BASE_IMAGE == *@sha256:* ]]; then
    echo "${BASE_IMAGE#*@}"
  elif noted=$(docker image inspect --format '{{range .RepoDigests}}{{println .}}{{end}}' "$BASE_IMAGE" 2>/dev/null); then
    sed -n '1s/.*@//p' <<<"$noted"
  else
    timeout 30 docker buildx imagetools inspect "$BASE_IMAGE" 2>/dev/null | sed -n 's/^Digest: *//p' || :
  fi
}

[[ " $* " != *" BASE_IMAGE="* && " $* " != *=BASE_IMAGE=* ]] ||
  fail "say BASE_IMAGE=... before 'bash docker/build.sh', not as a --build-arg: labels and records name it"
digest=$(base_digest)
if [[ ! $digest =~ ^sha256:[0-9a-f]{64}$ ]]; then
  echo "build.sh: no digest of the base image $BASE_IMAGE is known here: labels and records will name its tag alone" >&2
  digest=
elif [[ $BASE_IMAGE != *@* ]]; then
  BASE_IMAGE=$BASE_IMAGE@$digest
fi
# "-dirty": the tree differs from the commit, be it in a file that git does not know. Without git, or
# outside a checkout, the labels stay empty.
dirty=$(git -C "$ROOT" status --porcelain 2>/dev/null | head -n 1 || true)
commit=$(git -C "$ROOT" rev-parse HEAD 2>/dev/null || true)${dirty:+-dirty}
version=$(git -C "$ROOT" describe --always --tags 2>/dev/null || true)${dirty:+-dirty}
exec docker build --tag "$IMAGE_NAME" --build-arg "BASE_IMAGE=$BASE_IMAGE" "${BUILD_FLAGS[@]}" \
  --build-arg "COMMIT=$commit" --build-arg "VERSION=$version" --build-arg "BASE_DIGEST=$digest" "$@" "$ROOT"
