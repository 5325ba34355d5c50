#!/usr/bin/env bash
# Build the image for a kind of device, with the commit it is made from. usage: bash docker/build.sh [cpu|cuda|mlu] [OPTION...]
#   BASE_IMAGE   another base (default: docker/<device>.env)      IMAGE_NAME   what to call it (default: crnn-bench)
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
# "-dirty": the tree differs from the commit, be it in a file that git does not know. Without git, or
# outside a checkout, the labels stay empty.
dirty=$(git -C "$ROOT" status --porcelain 2>/dev/null | head -n 1 || true)
commit=$(git -C "$ROOT" rev-parse HEAD 2>/dev/null || true)${dirty:+-dirty}
version=$(git -C "$ROOT" describe --always --tags 2>/dev/null || true)${dirty:+-dirty}
exec docker build --tag "$IMAGE_NAME" --build-arg "BASE_IMAGE=$BASE_IMAGE" "${BUILD_FLAGS[@]}" \
  --build-arg "COMMIT=$commit" --build-arg "VERSION=$version" "$@" "$ROOT"
