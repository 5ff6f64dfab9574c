#!/usr/bin/env bash
# The long figures of the crash, fault and model tests, then the planted bugs; ends with what was reached.
#
#   tools/torture.sh         tests of tools/usp-torture alone when USP_TORTURE_MINUTES is set, else of the whole workspace
#
# USP_TORTURE_MINUTES bounds the tests of tools/usp-torture, whose shares of it add up to twice that: two run at a time.
set -euo pipefail
cd "$(dirname "$0")/.."
target_dir=$(realpath -m "${CARGO_TARGET_DIR:-target}")
mkdir -p "$target_dir"
figures="$target_dir/torture-figures.txt"
rm -f "$figures"
export USP_TORTURE=1 USP_TORTURE_FIGURES="$figures"

status=0
if [ -n "${USP_TORTURE_MINUTES:-}" ]; then
    cargo nextest run --locked --release --profile torture --package usp-torture --test-threads 2 || status=$?
else
    tools/run-tests.sh torture || status=$?
fi
unset USP_TORTURE
planted=$(tools/planted-bugs.sh | tee /dev/stderr | tail -n 1) || status=$?

echo
echo 'torture:'
if [ -f "$figures" ]; then
    awk -F '\t' '{
        for (i = 2; i <= NF; i++) {
            split($i, figure, "=")
            if (!(($1, figure[1]) in sums)) order[$1] = order[$1] " " figure[1]
            sums[$1, figure[1]] += figure[2]
        }
    }
    END {
        for (test in order) {
            line = "  " test ":"
            count = split(order[test], names, " ")
            for (i = 1; i <= count; i++) line = line " " sums[test, names[i]] " " names[i] (i < count ? "," : "")
            print line
        }
    }' "$figures" | sort
fi
echo "  $planted"
exit "$status"
