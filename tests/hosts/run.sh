#!/usr/bin/env bash
# One job on two hosts made of network namespaces. About ten minutes on two cores; needs root. Options go to pytest.
set -euo pipefail
exec bash "$(dirname "$0")/../../run_scripts/test.sh" "$(dirname "$0")" -m slow -rs "$@"
