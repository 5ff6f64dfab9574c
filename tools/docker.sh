#!/usr/bin/env bash
# The container image of usp, and the proof that a cluster of it keeps its promises.
#
#   tools/docker.sh image   builds usp:latest
#   tools/docker.sh test    starts the cluster of deploy/compose.cluster.yaml, uploads through both gateways, kills a processor,
#                           a gateway and NATS meanwhile, and checks that every file ends `ready` once
#
# Where no engine runs, one is installed (Debian's docker.io) and started below target/docker for as long as this runs; that
# takes root. Where no registry can be reached, base images are made by debootstrap from Debian's archive.
#
#   USP_BINARY   a binary to put into the image; without it one is built (target/release/usp)
#   BASE_IMAGE   the image to build on; without it docker.io/library/debian:bookworm-slim, or one that debootstrap makes
set -euo pipefail
cd "$(dirname "$0")/.."
target_dir=$(realpath -m "${CARGO_TARGET_DIR:-target}")
work="$target_dir/docker"
mkdir -p "$work"
engine_pid=

say() { echo "docker: $*" >&2; }
fail() {
    printf 'docker: %s\n' "$@" >&2
    exit 1
}

# ---- the engine -------------------------------------------------------------------------------------------------------

stop_engine() {
    if [ -n "$engine_pid" ] && kill "$engine_pid" 2> /dev/null; then
        wait "$engine_pid" 2> /dev/null || true
    fi
    engine_pid=
}

install_packages() {
    [ "$(id -u)" -eq 0 ] || fail "this needs the packages: $*" "install them with: sudo apt-get install $*"
    command -v apt-get > /dev/null || fail "this needs $*, and there is no apt-get to install it with"
    say "installing $*"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" > /dev/null
}

# Uses the engine that runs, or starts one of its own that ends with this script.
start_engine() {
    if command -v docker > /dev/null && docker info > /dev/null 2>&1; then
        return
    fi
    if ! command -v dockerd > /dev/null; then
        install_packages docker.io iptables
    fi
    [ "$(id -u)" -eq 0 ] || fail "no Docker engine answers, and starting one takes root"
    local socket="$work/docker.sock" log="$work/dockerd.log"
    # Storage and network drivers differ in what they ask of the kernel; the first that works is taken.
    local options
    for options in \
        "--storage-driver=overlay2" \
        "--storage-driver=vfs" \
        "--storage-driver=vfs --iptables=false --ip6tables=false"; do
        say "starting an engine: dockerd $options"
        # shellcheck disable=SC2086
        dockerd --host "unix://$socket" --data-root "$work/data" --exec-root "$work/exec" --pidfile "$work/dockerd.pid" \
            $options > "$log" 2>&1 &
        engine_pid=$!
        trap stop_engine EXIT
        local tries
        for tries in $(seq 1 60); do
            if docker --host "unix://$socket" info > /dev/null 2>&1; then
                export DOCKER_HOST="unix://$socket"
                return
            fi
            kill -0 "$engine_pid" 2> /dev/null || break
            sleep 0.5
        done
        stop_engine
    done
    fail "no Docker engine could be started here; its log ends with:" "$(tail -n 5 "$log")"
}

# ---- images -----------------------------------------------------------------------------------------------------------

have_image() { docker image inspect "$1" > /dev/null 2>&1; }

# import NAME PACKAGES: a Debian root file system as an image
import() {
    local name=$1 packages=$2 root
    have_image "$name" && return
    command -v debootstrap > /dev/null || install_packages debootstrap
    root=$(mktemp -d "$work/root.XXXXXX")
    say "making $name with debootstrap (about a minute)"
    debootstrap --variant=minbase --include="$packages" bookworm "$root" http://deb.debian.org/debian > "$work/debootstrap.log" 2>&1 ||
        fail "debootstrap failed:" "$(tail -n 3 "$work/debootstrap.log")"
    tar -C "$root" -c . | docker import --change 'CMD ["/bin/sh"]' - "$name" > /dev/null
    rm -rf "$root"
}

# The base image, from a registry if one answers.
base_image() {
    if [ -n "${BASE_IMAGE:-}" ]; then
        echo "$BASE_IMAGE"
    elif timeout 60 docker pull -q docker.io/library/debian:bookworm-slim > /dev/null 2>&1; then
        echo docker.io/library/debian:bookworm-slim
    else
        import usp-base:bookworm ca-certificates
        echo usp-base:bookworm
    fi
}

build_image() {
    local binary=${USP_BINARY:-} base
    if [ -z "$binary" ]; then
        cargo build --release --locked -p usp
        binary="$target_dir/release/usp"
    fi
    base=$(base_image)
    # A context of its own, with what the image is made of and nothing else.
    local context="$work/context"
    rm -rf "$context" && mkdir -p "$context"
    cp "$binary" "$context/usp"
    say "building usp:latest on $base"
    # The builder that every engine has; the other one would need a plug-in here.
    DOCKER_BUILDKIT=0 docker build --quiet --file deploy/Dockerfile --target prebuilt --tag usp:latest \
        --build-arg "BASE_IMAGE=$base" --build-arg PREBUILT=usp "$context" > "$work/build.log" 2>&1 ||
        fail "the image could not be built:" "$(tail -n 5 "$work/build.log")"
    say "usp:latest has $(docker image inspect --format '{{.Size}}' usp:latest) bytes, base image included"
}

# ---- the cluster ------------------------------------------------------------------------------------------------------

# Compose in either of its forms.
find_compose() {
    if docker compose version > /dev/null 2>&1; then
        echo "docker compose"
        return
    fi
    command -v docker-compose > /dev/null || install_packages docker-compose
    echo docker-compose
}

# NATS and the proxy: from a registry if one answers, else made here.
other_images() {
    local nats=docker.io/library/nats:2.12-alpine proxy=docker.io/library/haproxy:3.0
    if ! timeout 60 docker pull -q "$nats" > /dev/null 2>&1; then
        nats=usp-nats:local
        if ! have_image "$nats"; then
            tools/setup-test.sh > /dev/null
            import usp-base:bookworm ca-certificates
            local context="$work/nats"
            mkdir -p "$context"
            cp "$target_dir/venv/bin/nats-server" "$context/"
            printf 'FROM usp-base:bookworm\nCOPY nats-server /usr/local/bin/\nENTRYPOINT ["/usr/local/bin/nats-server"]\n' |
                DOCKER_BUILDKIT=0 docker build --quiet --tag "$nats" --file - "$context" > /dev/null
        fi
    fi
    if ! timeout 60 docker pull -q "$proxy" > /dev/null 2>&1; then
        proxy=usp-proxy:local
        import "$proxy" haproxy
    fi
    export NATS_IMAGE=$nats PROXY_IMAGE=$proxy
}

test_cluster() {
    local compose
    compose=$(find_compose)
    other_images
    COMPOSE=$compose WORK=$work python3 tools/docker-test.py
}

case "${1:-}" in
    image)
        start_engine
        build_image
        ;;
    test)
        start_engine
        if [ -n "${USP_BINARY:-}" ] || ! have_image usp:latest; then
            build_image
        fi
        test_cluster
        ;;
    *)
        fail "usage: tools/docker.sh image|test"
        ;;
esac
