#!/usr/bin/env bash
# The bytes that usp-bench moves: tools/bench-corpus.sh [upload] [versions]. Kept in target/bench-corpus; what is there
# is not made again. Everything is real and comes from Debian's archive with apt-get: kernel sources in several
# versions, and programs. Needs apt-get, dpkg-deb, tar, xz.
set -euo pipefail
cd "$(dirname "$0")/.."
HERE="$PWD/target/bench-corpus"
mkdir -p "$HERE/cache"
WORK=$(mktemp -d "$HERE/work.XXXXXX")
trap 'rm -rf "$WORK"' EXIT
GIB=$((1 << 30))
# Files of the kernel that make a version: the tree and the archive of the versions scenario.
PARTS=(fs kernel mm net include block crypto lib security)

say() { echo "[corpus] $*"; }

# deb PACKAGE [VERSION]: prints the path of the downloaded package.
deb() {
    local found wanted="$1${2:+=$2}"
    found=$(find "$HERE/cache" -name "$1_${2:-*}_*.deb" -print -quit)
    if [ -z "$found" ]; then
        (cd "$WORK" && apt-get -q download "$wanted" > apt.txt 2>&1) || { cat "$WORK/apt.txt" >&2; return 1; }
        # apt writes ':' of a version as %3a; the name is kept as it is.
        find "$WORK" -maxdepth 1 -name "$1_*.deb" -exec mv {} "$HERE/cache/" \;
        found=$(find "$HERE/cache" -name "$1_${2:-*}_*.deb" -print -quit)
    fi
    [ -n "$found" ] || { echo "apt-get brought no package $wanted" >&2; return 1; }
    echo "$found"
}

# Versions of linux-source-6.1 that apt offers, oldest first.
kernel_versions() {
    apt-cache madison linux-source-6.1 | awk '{print $3}' | sort -V -u
}

# kernel VERSION: the uncompressed tar on standard output, as its authors packed it, with its real times.
kernel() {
    local file
    file=$(deb linux-source-6.1 "$1")
    dpkg-deb --fsys-tarfile "$file" | tar -xOf - --wildcards '*/linux-source-6.1.tar.xz' | xz -d -T2
}

# first BYTES: as `head -c`, but reads to the end, so that whoever writes does not die of a closed pipe.
first() {
    head -c "$1"
    cat > /dev/null
}

upload() {
    if [ ! -s "$HERE/random.bin" ]; then
        say "random.bin: 1 GiB that does not compress"
        head -c "$GIB" /dev/urandom > "$WORK/random.bin"
        mv "$WORK/random.bin" "$HERE/random.bin"
    fi
    if [ ! -s "$HERE/sources.tar" ]; then
        local newest
        newest=$(kernel_versions | tail -n 1)
        say "sources.tar: 640 MiB of kernel $newest, then programs (chromium), 1 GiB in all"
        kernel "$newest" | first $((640 << 20)) > "$WORK/sources.tar"
        dpkg-deb --fsys-tarfile "$(deb chromium)" | first $((GIB - (640 << 20))) >> "$WORK/sources.tar"
        if [ "$(stat -c %s "$WORK/sources.tar")" -lt "$GIB" ]; then
            dpkg-deb --fsys-tarfile "$(deb libllvm14)" |
                first $((GIB - $(stat -c %s "$WORK/sources.tar"))) >> "$WORK/sources.tar"
        fi
        mv "$WORK/sources.tar" "$HERE/sources.tar"
    fi
}

# Inserts a line into the middle of every hundredth file below DIRECTORY, by sorted path.
edit() {
    local file half
    (cd "$1" && find . -type f -size +0 | LC_ALL=C sort | awk 'NR % 100 == 50') | while read -r file; do
        half=$(($(stat -c %s "$1/$file") / 2))
        { head -c "$half" "$1/$file"; printf '\n/* edited: %s */\n' "$file"; tail -c "+$((half + 1))" "$1/$file"; } > "$WORK/edited"
        cat "$WORK/edited" > "$1/$file"
    done
}

versions() {
    local all picked index=0 version
    if [ -d "$HERE/versions/v3e" ]; then return; fi
    mapfile -t all < <(kernel_versions)
    [ ${#all[@]} -ge 3 ] || { echo "apt offers ${#all[@]} versions of linux-source-6.1; three are needed" >&2; return 1; }
    picked=("${all[0]}" "${all[$((${#all[@]} / 2))]}" "${all[$((${#all[@]} - 1))]}")
    mkdir -p "$WORK/versions"
    for version in "${picked[@]}"; do
        index=$((index + 1))
        say "versions/v$index: kernel $version, ${PARTS[*]}"
        mkdir "$WORK/versions/v$index"
        kernel "$version" | tar -xf - -C "$WORK/versions/v$index" --strip-components=1 \
            "${PARTS[@]/#/linux-source-6.1/}"
        # A dozen, and not everyone here keeps them: the same bytes for all.
        find "$WORK/versions/v$index" -type l -delete
        echo "$version" > "$WORK/versions/v$index.version"
    done
    say "versions/v3e: v3 with a line inserted into every hundredth file"
    cp -a "$WORK/versions/v3" "$WORK/versions/v3e"
    edit "$WORK/versions/v3e"
    for index in v1 v2 v3 v3e; do
        # Times of modification stay as they are: each member's header differs from version to version.
        tar --sort=name --owner=0 --group=0 --numeric-owner --format=gnu -cf "$WORK/versions/$index.tar" \
            -C "$WORK/versions/$index" .
    done
    mkdir -p "$HERE/versions"
    mv "$WORK/versions"/* "$HERE/versions/"
}

[ $# -gt 0 ] || set -- upload versions
for step in "$@"; do
    case "$step" in
        upload) upload ;;
        versions) versions ;;
        *) echo "there is no step called $step; steps: upload versions" >&2; exit 2 ;;
    esac
done
