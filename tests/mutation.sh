#!/usr/bin/env bash
# Break the code that numbers hang on, a line at a time, and see a test fail for each: bash tests/mutation.sh
# Minutes, one process, in a copy. A surviving mutant must stand in tests/mutation.md with the reason why nothing could
# notice it; at least 90 % must be killed. Arguments go to `mutmut run`, such as a mutant's name.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${CRNN_PYTHON:-$PWD/.venv/bin/python}
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
git ls-files -z --cached --others --exclude-standard -- bench models tests pyproject.toml ':!:*.safetensors' |
  xargs -0 cp --parents --target-directory "$place"
cd "$place"
cat >setup.cfg <<'SETTINGS'
[mutmut]
source_paths =
    bench
    models
only_mutate =
    bench/judging/changes.py
    bench/judging/order.py
    bench/judging/policy.py
    bench/judging/sittings.py
    bench/judging/statistics.py
    bench/judging/verdict.py
    bench/judging/words.py
    bench/records/rates.py
    bench/records/steady.py
    models/data/charset.py
    models/data/sampler.py
    models/scoring/metrics.py
pytest_add_cli_args_test_selection =
    tests/bench/judging/test_order.py
    tests/bench/judging/test_sittings.py
    tests/bench/judging/test_statistics.py
    tests/bench/judging/test_verdict.py
    tests/bench/judging/test_words.py
    tests/bench/records/test_rates.py
    tests/bench/records/test_steady.py
    tests/bench/test_history.py
    tests/models/data/test_charset.py
    tests/models/data/test_sampler.py
    tests/models/scoring/test_metrics.py
pytest_add_cli_args =
    -p
    no:cacheprovider
use_git_change_detection = false
track_dependencies = false
timeout_constant = 2
timeout_multiplier = 4
SETTINGS
export OMP_NUM_THREADS=1 PYTHONPATH=
"$PYTHON" -m mutmut run --max-children 1 "$@" >log 2>&1 || { tail -n 40 log; exit 1; }
PYTHONPATH=. "$PYTHON" -m tests.support.mutants tests/mutation.md
