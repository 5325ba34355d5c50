#!/usr/bin/env bash
# Set up and run every test. Arguments go to pytest: `bash run_scripts/test.sh -m slow` runs the long ones.
set -euo pipefail

# shellcheck source=setup.sh
SETUP=dev source "$(dirname "$0")/setup.sh"
cd "$ROOT"
"$PYTHON" -m mypy # strict for bench, no error in models
# Two processes; the tests of one file stay together, so that what a file prepares is prepared once.
exec "$PYTHON" -m pytest --numprocesses 2 --dist loadfile "$@"
