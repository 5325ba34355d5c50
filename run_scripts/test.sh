#!/usr/bin/env bash
# Set up and run every test. Arguments go to pytest: `bash run_scripts/test.sh -m slow` runs the long ones.
set -euo pipefail

# shellcheck source=setup.sh
SETUP=dev source "$(dirname "$0")/setup.sh"
cd "$ROOT"
exec "$PYTHON" -m pytest "$@"
