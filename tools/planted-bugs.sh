#!/usr/bin/env bash
# Proves that the tests can fail: builds storage with bugs planted in it, and runs for each bug the test that must find it.
#
#   tools/planted-bugs.sh          all of them; ends with "N of N caught"
#   tools/planted-bugs.sh NAME…    only these
#
# The bugs are in a build of its own (`--cfg usp_bug`, crates/usp-rt/src/planted.rs): one build has them all, and USP_BUG says which
# one acts. A test must pass without a bug and fail with it.
set -euo pipefail
cd "$(dirname "$0")/.."
target_dir=$(realpath -m "${CARGO_TARGET_DIR:-target}")

# bug, then the test that must find it
bugs='
skip-fdatasync              power::no_power_cut_breaks_a_promise::put_with_checkpoints
no-directory-sync           power::no_power_cut_breaks_a_promise::rotation
synchronous-normal          power::no_power_cut_breaks_a_promise::put_small
answer-before-commit        power::no_power_cut_breaks_a_promise::put_small
commit-without-sync         power::no_power_cut_breaks_a_promise::put_with_checkpoints
recovery-writes-nothing-again power::no_power_cut_breaks_a_promise::put_small
sync-tried-again            faults::a_pack_whose_sync_failed_while_it_was_written_is_not_synced_again
digest-not-compared         bits::no_flipped_bit_makes_a_read_answer_wrong_bytes
no-epoch-fence              collect::what_is_referred_to_between_mark_and_sweep_stays
hit-not-looked-at-again     collect::an_upload_that_pauses_over_many_collections_hears_of_no_error
forgotten-pin               collect::a_pack_that_a_paused_upload_refers_to_is_not_erased
lease-without-number        time::a_worker_that_slept_through_its_lease_writes_nothing
'

# Only the packages of this workspace are built anew.
wrapper="$target_dir/planted-rustc"
# Not a shell script: a shell drops CARGO_BIN_EXE_usp-torture, whose name it cannot have.
cat > "$wrapper" << 'END'
#!/usr/bin/env python3
import os, sys
os.execvp(sys.argv[1], sys.argv[1:] + ["--cfg", "usp_bug"])
END
chmod +x "$wrapper"
export RUSTC_WORKSPACE_WRAPPER="$wrapper"
# Disks that a test keeps when it fails, as it should here; those of other runs are not touched.
kept=$(mktemp -d "$target_dir/planted.XXXXXX")
trap 'rm -rf "$kept"' EXIT
export TMPDIR="$kept"

echo "planted-bugs: building with --cfg usp_bug"
cargo test --quiet --locked --package usp-torture --test it --no-run
binary=$(cargo test --quiet --locked --package usp-torture --test it --no-run --message-format json 2> /dev/null |
    grep -oE '"executable":"[^"]+/deps/it-[^"]+"' | cut -d '"' -f 4)
[ -x "$binary" ] || { echo "planted-bugs: the tests did not build" >&2; exit 1; }

wanted=("$@")
count=0
caught=0
missed=()
declare -A sound
while read -r bug test; do
    [ -n "$bug" ] || continue
    if [ "${#wanted[@]}" -gt 0 ] && ! printf '%s\n' "${wanted[@]}" | grep -qxF "$bug"; then
        continue
    fi
    count=$((count + 1))
    log="$target_dir/planted-$bug.log"
    # A test that several bugs share has to pass but once.
    if [ -z "${sound[$test]:-}" ]; then
        if ! "$binary" --exact "$test" > "$log" 2>&1; then
            echo "  $bug: $test fails without any bug; see $log"
            missed+=("$bug")
            continue
        fi
        if ! grep -q 'test result: ok. 1 passed' "$log"; then
            echo "  $bug: there is no test $test"
            missed+=("$bug")
            continue
        fi
        sound[$test]=1
    fi
    begin=$SECONDS
    if USP_BUG="$bug" "$binary" --exact "$test" > "$log" 2>&1; then
        echo "  $bug: MISSED by $test"
        missed+=("$bug")
    else
        echo "  $bug: caught by $test in $((SECONDS - begin)) s"
        caught=$((caught + 1))
    fi
done <<< "$bugs"
echo "planted bugs: $caught of $count caught"
[ "${#missed[@]}" -eq 0 ]
