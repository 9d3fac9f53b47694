#!/usr/bin/env bash
# Installs what is missing on a Debian or Ubuntu machine, asking nothing.
#
#   scripts/setup.sh [bench] [test] [--also PACKAGE...]
#
# Where it may not install, it lists the packages and the command, and goes on if only the optional
# ones are missing.
set -euo pipefail

# Without these nothing can be built or measured.
needed=(gcc make python3)
needed_lib=(libc6-dev)
# The allocators to compare with, the plots, the profiles: what is missing is left out of the result.
optional=()
case " $* " in *" bench "*)
    optional+=(libmimalloc2.0 libjemalloc2 libtcmalloc-minimal4 libtbbmalloc2
        python3-numpy python3-matplotlib python3-jinja2 python3-rich perf valgrind git
        redis-tools sqlite3) # redis-tools holds the server, too, and starts none
    ;;
esac
case " $* " in *" test "*)
    needed_lib+=(libcmocka-dev)
    needed+=(g++)
    optional+=(libmimalloc2.0 libjemalloc2 libtcmalloc-minimal4 libtbbmalloc2 python3-numpy python3-matplotlib
        python3-jinja2 python3-pytest python3-hypothesis python3-jsonschema python3-yaml shellcheck clang spin)
    # Installing: who builds against what was installed, who reads the pages, what can't be served.
    optional+=(cmake pkg-config mandoc musl-tools libcap2-bin)
    # The other machine that hakmem is for, emulated.
    if [ "$(uname -m)" = x86_64 ]; then
        optional+=(gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user)
    fi
    ;;
esac
# Whatever else a caller serves with optional packages, by name.
case " $* " in *" --also "*)
    while [ "$1" != --also ]; do shift; done
    optional+=("${@:2}")
    ;;
esac

have_package() {
    dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q 'ok installed'
}
has() { # whether what a package is for is there, whoever brought it
    case "$1" in
    gcc | g++ | make | python3 | shellcheck | clang | cmake | pkg-config | mandoc) command -v "$1" >/dev/null && { [ "$1" != python3 ] || [ -x /usr/bin/python3 ]; } ;;
    perf) command -v perf >/dev/null ;;
    *) have_package "$1" ;;
    esac
}
package_of() { # Debian calls perf linux-perf, Ubuntu has it in linux-tools
    if [ "$1" = perf ]; then
        if apt-cache show linux-perf >/dev/null 2>&1; then echo linux-perf; else echo linux-tools-generic; fi
    else
        echo "$1"
    fi
}

missing=()
missing_needed=()
for p in "${needed[@]}" "${needed_lib[@]}"; do
    has "$p" || { missing+=("$p"); missing_needed+=("$p"); }
done
for p in "${optional[@]}"; do
    case " ${missing[*]} " in *" $p "*) continue ;; esac
    has "$p" || missing+=("$p")
done
[ ${#missing[@]} -eq 0 ] && exit 0

sudo=()
if [ "$(id -u)" -ne 0 ]; then
    if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        sudo=(sudo -n)
    else
        sudo=(false)
    fi
fi

if ! command -v apt-get >/dev/null || [ "${sudo[*]}" = false ]; then
    if command -v apt-get >/dev/null; then
        echo "setup: these packages are missing and this user may not install them (no root, no sudo without a password):" >&2
    else
        echo "setup: these packages (Debian's names) are missing, and there is no apt-get to install them with:" >&2
    fi
    printf '  %s\n' "${missing[@]}" >&2
    echo "setup: as root: apt-get update && apt-get install -y $(for p in "${missing[@]}"; do printf '%s ' "$(package_of "$p")"; done)" >&2
    if [ ${#missing_needed[@]} -gt 0 ]; then
        echo "setup: nothing can be built without: ${missing_needed[*]}" >&2
        exit 2
    fi
    echo "setup: going on without them; what they serve for is left out" >&2
    exit 0
fi

echo "setup: installing ${missing[*]}" >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
export DEBIAN_FRONTEND=noninteractive
if ! "${sudo[@]}" apt-get update >"$log" 2>&1; then
    tail -n 3 "$log" >&2
    echo "setup: apt-get update failed; trying with the lists that are there" >&2
fi
install() { "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@" >"$log" 2>&1; }
packages=()
for p in "${missing[@]}"; do packages+=("$(package_of "$p")"); done
if ! install "${packages[@]}"; then
    # One that this release doesn't have must not keep the others out.
    for p in "${missing[@]}"; do
        if ! install "$(package_of "$p")"; then
            case " ${missing_needed[*]} " in
            *" $p "*)
                tail -n 3 "$log" >&2
                echo "setup: the package $p could not be installed, and nothing can be built without it" >&2
                exit 2
                ;;
            *) echo "setup: the package $(package_of "$p") could not be installed; what it serves for is left out" >&2 ;;
            esac
        fi
    done
fi
