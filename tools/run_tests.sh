#!/usr/bin/env bash
# run_tests.sh PRESET...: runs the ctest presets one after the other, whatever fails, and ends with the sum of all.
set -uo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
cd "$root"

# Here a test that finds nothing to run on has failed; by hand it says so and is skipped.
export RAVENWING_REQUIRE_GPU=1 RAVENWING_REQUIRE_RELEASE=1
[ ! -d "$shared" ] || export RAVENWING_SHARED="$shared" RAVENWING_REQUIRE_SHARED=1 RAVENWING_TEST_DATA="$root/build/test-data"

n_passed=0
n_failed=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for preset in "$@"; do
  printf '\n== ctest --preset %s\n' "$preset"
  ctest --preset "$preset" 2>&1 | tee "$log"
  status=${PIPESTATUS[0]}
  # "97% tests passed, 1 tests failed out of 30"
  read -r failed total < <(sed -n 's/.*tests passed, \([0-9]*\) tests failed out of \([0-9]*\).*/\1 \2/p' "$log") || true
  if [ "${total:-0}" -eq 0 ] || { [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; }; then
    echo "ctest --preset $preset ran no test to its end: is it built? (exit status $status)"
    failed=1 total=1
  fi
  n_passed=$((n_passed + total - failed))
  n_failed=$((n_failed + failed))
  unset failed total
done
printf '\n%d passed, %d failed\n' "$n_passed" "$n_failed"
[ "$n_failed" -eq 0 ]
