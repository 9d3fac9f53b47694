#!/usr/bin/env bash
# Installs what was built, or removes what was installed; `make install` and `make uninstall` call it.
#
#   packaging/install.sh install|uninstall      the places come in the environment, from the Makefile
#
# Every file and every folder that it makes is noted in DATADIR/hakmem/manifest, and that, no more and
# no less, is what uninstall removes; of the folders those that are empty then.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

: "${OUT:?}" "${VERSION:?}" "${SONAME:?}" "${PREFIX:?}" "${DESTDIR=}"
: "${BINDIR:?}" "${LIBDIR:?}" "${INCLUDEDIR:?}" "${DATADIR:?}" "${MANDIR:?}"

complain() { # exit status, message
    printf 'install.sh: %s\n' "$2" >&2
    exit "$1"
}

for name in PREFIX BINDIR LIBDIR INCLUDEDIR DATADIR MANDIR; do
    case ${!name} in
    *$'\n'*) complain 2 "$name has a line break in it; choose another place" ;;
    /*) printf -v "$name" %s "$(realpath -ms -- "${!name}")" ;; # no slash too many
    *) complain 2 "$name=${!name} is not an absolute path; begin it with a slash" ;;
    esac
done

library=libhakmem.so.$VERSION
manifest=$DATADIR/hakmem/manifest
export LC_ALL=C # the manifest's order
tmp=$(mktemp -d)
noted=$tmp/noted     # lines of the manifest: "file PATH" or "folder PATH", without DESTDIR
earlier=$tmp/earlier # of the manifest that an earlier run left
complete=no
: >"$noted"
: >"$earlier"
if [ -e "$DESTDIR$manifest" ]; then
    cat -- "$DESTDIR$manifest" >"$earlier" || complain 1 "$DESTDIR$manifest can't be read; is it another user's?"
fi

# ---- installing ----------------------------------------------------------------------------
note() {
    printf '%s %s\n' "$1" "$2" >>"$noted"
}

make_folder() { # and those above it, DESTDIR included
    local path=$1
    [ ! -d "$DESTDIR$path" ] || return 0
    if [ "$path" = / ]; then mkdir -p -- "$DESTDIR"; else make_folder "$(dirname -- "$path")"; fi
    [ -d "$DESTDIR$path" ] || install -d -m 755 -- "$DESTDIR$path" ||
        complain 1 "the folder $DESTDIR$path can't be made; choose another PREFIX or DESTDIR, or be root"
    note folder "$path"
}

# Puts what was made ready under a name of its own in its place, at once: programs may be starting.
exchange() { # ready or not, place
    if ! "$1" || ! mv -fT -- "$DESTDIR$2.new$$" "$DESTDIR$2"; then
        rm -f -- "$DESTDIR$2.new$$"
        complain 1 "$DESTDIR$2 can't be written; choose another PREFIX or DESTDIR, or be root"
    fi
}

put() { # mode, file, place
    local ready=true
    make_folder "$(dirname -- "$3")"
    install -m "$1" -- "$2" "$DESTDIR$3.new$$" || ready=false
    exchange "$ready" "$3"
    note file "$3"
}

put_link() { # what it leads to, place
    local ready=true
    make_folder "$(dirname -- "$2")"
    ln -s -- "$1" "$DESTDIR$2.new$$" || ready=false
    exchange "$ready" "$2"
    note file "$2"
}

write_manifest() {
    make_folder "$(dirname -- "$manifest")"
    note file "$manifest"
    sort -u -- "$noted" "$earlier" >"$tmp/manifest"
    put 644 "$tmp/manifest" "$manifest"
}

end() { # a run that was cut short can be undone, too
    if [ "$complete" = no ] && [ -s "$noted" ]; then (write_manifest) 2>/dev/null || true; fi
    rm -rf -- "$tmp"
}
trap end EXIT

# The way from one folder to another, if both lie below PREFIX; else the other as it is.
way() { # from, to
    if [[ $1/ == "$PREFIX"/* && $2/ == "$PREFIX"/* ]]; then
        realpath -m --relative-to="$1" -- "$2"
    else
        printf '%s\n' "$2"
    fi
}

fill() { # template, NAME=VALUE...: the template with each @NAME@ replaced
    local text setting
    text=$(cat -- "$1")
    for setting in "${@:2}"; do text=${text//"@${setting%%=*}@"/"${setting#*=}"}; done
    printf '%s\n' "$text"
}

escape() { # for pkg-config, which reads its values as a shell does
    printf '%s' "$1" | sed 's/[^][A-Za-z0-9_./+=:@,^%~-]/\\&/g'
}

below_prefix() { # a path, in pkg-config's terms
    case $1 in
    "$PREFIX"/*) printf '%s%s' "\${prefix}" "$(escape "${1#"$PREFIX"}")" ;;
    *) escape "$1" ;;
    esac
}

put_packages() { # pkg-config's file and CMake's, which find the library from where they lie themselves
    local file folder=$LIBDIR/pkgconfig up libdir includedir
    up=$(way "$folder" "$PREFIX")
    if [[ $up == /* ]]; then up=$(escape "$up"); else up="\${pcfiledir}/$(escape "$up")"; fi
    libdir=$(below_prefix "$LIBDIR")
    includedir=$(below_prefix "$INCLUDEDIR")
    fill packaging/hakmem.pc.in "VERSION=$VERSION" "PC_PREFIX=$up" "PC_LIBDIR=$libdir" \
        "PC_INCLUDEDIR=$includedir" >"$tmp/hakmem.pc"
    put 644 "$tmp/hakmem.pc" "$folder/hakmem.pc"
    for file in hakmemConfig.cmake hakmemConfigVersion.cmake; do
        fill "packaging/$file.in" "VERSION=$VERSION" "SONAME=$SONAME" \
            "CMAKE_INCLUDEDIR=$(way "$LIBDIR" "$INCLUDEDIR")" >"$tmp/$file"
        put 644 "$tmp/$file" "$LIBDIR/cmake/hakmem/$file"
    done
}

# The loader finds libraries in /usr/local/lib and the like through a cache only.
refresh_loader() {
    if [ -z "$DESTDIR" ] && [ "$(id -u)" -eq 0 ] && command -v ldconfig >/dev/null; then ldconfig || true; fi
}

install_all() {
    local page stale
    put 755 "$OUT/libhakmem.so" "$LIBDIR/$library"
    put_link "$library" "$LIBDIR/$SONAME"
    put_link "$SONAME" "$LIBDIR/libhakmem.so"
    put 644 "$OUT/libhakmem.a" "$LIBDIR/libhakmem.a"
    put 644 allocator/include/hakmem.h "$INCLUDEDIR/hakmem.h"
    put 755 "$OUT/hakmem" "$BINDIR/hakmem"
    if [ -e "$OUT/libhakmem-trace.so" ]; then # sanitizer builds have none
        put 755 "$OUT/libhakmem-trace.so" "$LIBDIR/libhakmem-trace.so"
        put 755 "$OUT/trace_info" "$BINDIR/hakmem-trace-info"
    fi
    put_packages
    for page in man/*.[1-8]; do put 644 "$page" "$MANDIR/man${page##*.}/${page##*/}"; done
    # Files of an older version go; the folders that it made are still ours.
    while IFS= read -r stale; do
        rm -f -- "$DESTDIR${stale#file }"
    done < <(grep '^file /' "$earlier" | grep -vxF -f "$noted" -e "file $manifest")
    grep '^folder ' "$earlier" >"$tmp/folders" || true
    mv -- "$tmp/folders" "$earlier"
    write_manifest
    complete=yes
    refresh_loader
    printf 'hakmem %s is installed in %s\n' "$VERSION" "$DESTDIR$PREFIX"
}

# ---- removing ------------------------------------------------------------------------------
uninstall_all() {
    local line
    [ -s "$earlier" ] || complain 1 "nothing is installed in $DESTDIR$PREFIX: there is no $DESTDIR$manifest;\
 give the PREFIX and DESTDIR that it was installed with"
    while IFS= read -r line; do
        rm -f -- "$DESTDIR${line#file }" || complain 1 "$DESTDIR${line#file } can't be removed; is it another user's?"
    done < <(grep '^file /' "$earlier")
    while IFS= read -r line; do # the inner ones first
        rmdir --ignore-fail-on-non-empty -- "$DESTDIR${line#folder }" 2>/dev/null || true
    done < <(grep '^folder /' "$earlier" | sort -r)
    refresh_loader
    printf 'hakmem is removed from %s\n' "$DESTDIR$PREFIX"
}

case ${1-} in
install) install_all ;;
uninstall) uninstall_all ;;
*) complain 2 "takes install or uninstall, not '${1-}'" ;;
esac
