#!/usr/bin/env bash
# Installs what usp is measured against, from the package registries: tools/bench-peers.sh [PEER...]
# Peers: nginx tus rustus s3s garage restic borg rustic. Debian packages go to the system, the rest to
# target/bench-peers. One that cannot be built is named with its log at the end; the others are installed.
set -uo pipefail
cd "$(dirname "$0")/.."
HOME_OF_PEERS="$PWD/target/bench-peers"
LOGS="$HOME_OF_PEERS/log"
mkdir -p "$LOGS"
failed=()

apt_install() {
    local sudo=""
    [ "$(id -u)" = 0 ] || sudo="sudo"
    # A package that brings a service must not start it: usp-bench runs each peer by itself.
    $sudo env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y --no-install-recommends "$@"
}

# Release builds as the crate asks for, but without link-time optimisation: it costs minutes and a few per cent.
cargo_install() {
    env CARGO_TARGET_DIR="$HOME_OF_PEERS/build" CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
        CARGO_PROFILE_RELEASE_DEBUG=false nice -n 15 cargo install --locked --root "$HOME_OF_PEERS" "$@"
}

npm_install() {
    mkdir -p "$HOME_OF_PEERS/node"
    npm install --prefix "$HOME_OF_PEERS/node" --no-audit --no-fund "$@"
}

install_one() {
    case "$1" in
        nginx) apt_install nginx-light ;;
        restic) apt_install restic ;;
        borg) apt_install borgbackup ;;
        tus) npm_install @tus/server@1.10.2 @tus/file-store@1.5.1 ;;
        s3s) cargo_install s3s-fs --version 0.14.1 --features binary ;;
        rustus) cargo_install rustus --version 0.5.10 ;;
        garage) cargo_install garage --version 2.5.0 --no-default-features --features bundled-libs,lmdb,metrics ;;
        rustic) cargo_install rustic-rs --version 0.11.4 --no-default-features ;;
        *) echo "there is no peer called $1; peers: nginx tus rustus s3s garage restic borg rustic" >&2; return 2 ;;
    esac
}

[ $# -gt 0 ] || set -- nginx restic borg tus s3s rustus garage rustic
for peer in "$@"; do
    echo "installing $peer (log: target/bench-peers/log/$peer.txt)"
    if ! install_one "$peer" > "$LOGS/$peer.txt" 2>&1; then
        failed+=("$peer")
        echo "$peer could not be installed:" >&2
        tail -n 5 "$LOGS/$peer.txt" >&2
    fi
done
rm -rf "$HOME_OF_PEERS/build"
[ ${#failed[@]} -eq 0 ] || { echo "not installed: ${failed[*]}" >&2; exit 1; }
