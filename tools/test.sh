#!/usr/bin/env bash
# Run every test with coverage: first those that need no browser, two files at a time, then those in a real browser.
#
#   tools/test.sh [PATH…]        what `make test` runs
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=.venv/bin/python
[ $# -gt 0 ] || set -- tests

export PYTHONHASHSEED=0
"$python" -m compileall -q nbguard || true  # the scanning worker may not write files, so it could not keep what it compiles
# Nothing in a test may reach anything but this machine, and none may see this person's models, policy or approvals.
export HF_HUB_DISABLE_TELEMETRY=1 HF_HUB_DISABLE_XET=1 DISABLE_SAFETENSORS_CONVERSION=1 HF_ENDPOINT=http://127.0.0.1:9
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
touch "$scratch/config.toml"
export HF_HOME=$scratch/hf NBGUARD_DATA_DIR=$scratch/data NBGUARD_CONFIG=$scratch/config.toml MPLCONFIGDIR=$scratch/mpl
export JUPYTER_CONFIG_DIR=$scratch/jupyter IPYTHONDIR=$scratch/ipython

run() {  # run WHAT PYTEST-ARGUMENTS…: keep the status; "no tests of this kind" (5) is none of the failures
  local what=$1 status=0
  shift
  printf '\n== %s ==\n' "$what"
  "$python" -m pytest -q --cov=nbguard --cov-append --cov-report= "$@" </dev/null || status=$?
  case $status in
    0) found=1 ;;
    5) ;;
    *) found=1; failed="$failed $what" ;;
  esac
}

found= failed=
rm -f .coverage
run "tests" -m "not browser" -n 2 --dist loadfile "$@"
run "tests in a browser" -m browser "$@"
printf '\n== coverage: the least covered, and all (not counted: what runs in the scanning worker, in kernels of their own, and in audit hooks) ==\n'
"$python" -m coverage report --skip-covered --skip-empty --sort=cover 2>/dev/null | awk 'NR <= 14 || /^TOTAL/' || true
if [ -z "$found" ]; then echo "no test was found" >&2; exit 1; fi
if [ -n "$failed" ]; then echo "failed:$failed" >&2; exit 1; fi
