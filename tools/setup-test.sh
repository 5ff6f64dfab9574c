#!/usr/bin/env bash
# Makes a bare Debian or Ubuntu machine ready for `make test`: installs what it may, names what it may not.
#
#   tools/setup-test.sh            all that the tests need
#   tools/setup-test.sh toolchain  only what building and linting need
set -euo pipefail
cd "$(dirname "$0")/.."
target_dir=${CARGO_TARGET_DIR:-target}

fail() {
    printf 'setup: %s\n' "$@" >&2
    exit 1
}

# Installs Debian packages, or says which ones to install.
install_packages() {
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        as_root=(sudo -n)
    fi
    if command -v apt-get > /dev/null && "${as_root[@]}" true 2> /dev/null; then
        echo "setup: installing $*"
        "${as_root[@]}" apt-get update -qq
        DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "$@" > /dev/null
    else
        fail "this needs the packages: $*" "install them with: sudo apt-get install $*"
    fi
}

check_toolchain() {
    if ! command -v cc > /dev/null; then
        install_packages build-essential
    fi
    # Non-interactive shells often miss the path that rustup adds.
    if ! command -v cargo > /dev/null && [ -x "$HOME/.cargo/bin/cargo" ]; then
        fail 'cargo is installed but not found: add it with  . "$HOME/.cargo/env"'
    fi
    if ! command -v cargo > /dev/null; then
        fail "this needs Rust $rust_min or newer: https://rustup.rs" \
            "install it with: curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y"
    fi
    local rust_found
    rust_found=$(rustc --version | cut -d ' ' -f 2)
    if [ "$(printf '%s\n' "$rust_min" "$rust_found" | sort -V | head -n 1)" != "$rust_min" ]; then
        fail "this needs Rust $rust_min or newer and found $rust_found; update it with: rustup update stable"
    fi
    if ! cargo fmt --version > /dev/null 2>&1 || ! cargo clippy --version > /dev/null 2>&1; then
        rustup component add rustfmt clippy || fail "this needs rustfmt and clippy: rustup component add rustfmt clippy"
    fi
}

check_nextest() {
    if cargo nextest --version > /dev/null 2>&1; then
        return
    fi
    echo "setup: installing cargo-nextest, which takes a few minutes once"
    if ! cargo install --locked --quiet cargo-nextest; then
        echo "setup: cargo-nextest could not be installed; the tests will run with plain cargo test" >&2
    fi
}

# A generic gRPC client that knows usp only by server reflection, as clients in other languages do; and nats-server, whose
# package in Debian 12 is too old: this one carries the program itself.
check_python() {
    local requirements=tools/test-requirements.txt
    local venv="$target_dir/venv"
    if [ -x "$venv/bin/python" ] && cmp -s "$requirements" "$venv/installed.txt"; then
        return
    fi
    if ! python3 -c 'import ensurepip, venv' 2> /dev/null; then
        install_packages python3 python3-venv
    fi
    echo "setup: installing $(grep -v '^#' "$requirements" | xargs) into $venv"
    python3 -m venv --clear "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$requirements" ||
        fail "pip could not install what $requirements lists; is there a network?"
    cp "$requirements" "$venv/installed.txt"
}

# The tus client that web pages use, as one more client from elsewhere.
check_node() {
    local packages=services/usp/tests/e2e/node
    local installed="$target_dir/node"
    if ! command -v node > /dev/null || ! command -v npm > /dev/null; then
        install_packages nodejs npm
    fi
    if cmp -s "$packages/package-lock.json" "$installed/installed.json"; then
        return
    fi
    echo "setup: installing the packages of $packages into $installed"
    mkdir -p "$installed"
    cp "$packages/package.json" "$packages/package-lock.json" "$installed/"
    npm ci --prefix "$installed" --ignore-scripts --no-audit --no-fund --loglevel error > /dev/null ||
        fail "npm could not install what $packages lists; is there a network?"
    cp "$packages/package-lock.json" "$installed/installed.json"
}

# Crash and fault tests watch and disturb system calls with strace, and cut power on loop devices.
check_torture() {
    local missing=()
    command -v strace > /dev/null || missing+=(strace)
    command -v mkfs.ext4 > /dev/null || missing+=(e2fsprogs)
    command -v mkfs.xfs > /dev/null || missing+=(xfsprogs)
    # The program, not the word of the shell.
    type -P kill > /dev/null || missing+=(procps)
    if [ "${#missing[@]}" -gt 0 ]; then
        install_packages "${missing[@]}"
    fi
}

rust_min=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
check_toolchain
if [ "${1:-all}" = all ]; then
    check_nextest
    check_python
    check_node
    check_torture
fi
