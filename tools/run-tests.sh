#!/usr/bin/env bash
# Runs every test of the workspace and ends with one line: "N passed, N failed".
#
#   tools/run-tests.sh [PROFILE]   a profile of .config/nextest.toml; default: ci where $CI is set, else default
#
# Tests find the Python of the generic gRPC client in $USP_TEST_PYTHON, and the broker in $USP_TEST_NATS_SERVER.
set -euo pipefail
cd "$(dirname "$0")/.."
target_dir=$(realpath -m "${CARGO_TARGET_DIR:-target}")
profile=${1:-${CI:+ci}}
profile=${profile:-default}
mkdir -p "$target_dir"
log=$(mktemp "$target_dir/tests.XXXXXX.log")
trap 'rm -f "$log"' EXIT

if [ -x "$target_dir/venv/bin/python" ]; then
    export USP_TEST_PYTHON="$target_dir/venv/bin/python"
    export USP_TEST_NATS_SERVER="$target_dir/venv/bin/nats-server"
fi

# Sums the numbers before a word over the lines that match a pattern: sum PATTERN WORD
sum() {
    grep -E "$1" "$log" | grep -oE "[0-9]+ $2" | awk '{ total += $1 } END { print total + 0 }'
}

status=0
if cargo nextest --version > /dev/null 2>&1; then
    cargo nextest run --workspace --locked --profile "$profile" 2>&1 | tee "$log" || status=$?
    # nextest leaves out the examples in documentation.
    if [ "$status" -eq 0 ]; then
        cargo test --workspace --locked --doc --quiet 2>&1 | tee -a "$log" || status=$?
    fi
else
    cargo test --workspace --locked --no-fail-fast 2>&1 | tee "$log" || status=$?
fi

# nextest: "Summary [ 1.9s] 30 tests run: 24 passed (1 slow), 5 failed, 1 timed out, 0 skipped"
# libtest: "test result: ok. 3 passed; 0 failed; …"
summary='^ *Summary \[|^test result:'
if ! grep -qE "$summary" "$log"; then
    echo "the tests did not build" >&2
    exit 1
fi
passed=$(sum "$summary" passed || true)
failed=$(sum "$summary" '(failed|timed out|exec failed)' || true)
echo "$passed passed, $failed failed"
exit "$status"
