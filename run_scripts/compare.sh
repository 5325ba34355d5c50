#!/usr/bin/env bash
# Is CANDIDATE worse than BASE? usage: bash run_scripts/compare.sh BASE CANDIDATE RUN_NAME... [-- OPTIONS OF THE RUNS]
# BASE and CANDIDATE are git revisions (`.` is this checkout as it stands) or, with --images, container images.
# Exit code 0 PASS, 1 FAIL, 3 AMBIGUOUS, 4 INCOMPLETE, 2 misuse. docs/gate.md says how it decides.
set -euo pipefail

# shellcheck source=setup.sh
source "$(dirname "$0")/setup.sh"
exec "$PYTHON" "$ROOT/run_scripts/module.py" bench.compare "$@"
