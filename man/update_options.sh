#!/usr/bin/env bash
# Writes the options into man/hakmem.7, from what the library says of itself.
#
#   man/update_options.sh COMMAND            COMMAND is the built hakmem, such as out/release/hakmem
#   man/update_options.sh --check COMMAND    changes nothing; exits 1 if the page is not up to date
set -euo pipefail

complain() {
    printf 'update_options.sh: %s\n' "$2" >&2
    exit "$1"
}

check=no
if [ "${1-}" = --check ]; then
    check=yes
    shift
fi
if [ $# -ne 1 ] || [ ! -x "$1" ]; then
    complain 2 "takes the built command hakmem, such as out/release/hakmem"
fi
page=$(dirname "${BASH_SOURCE[0]}")/hakmem.7

# Text in lines of the usual length, without what mdoc would take for its own.
mdoc() {
    fmt -w 76 | sed -e 's/\\/\\e/g' -e "s/^[.']/\\\\\&&/" -e 's/-/\\-/g'
}

print_options() { # one item each: name and values, then the default, then the meaning
    local name preset values text
    printf '.Bl -tag -width Ds\n'
    while IFS=$'\x1f' read -r name preset values text; do
        printf '.It Ev %s\n' "$name"
        printf '%s.\n' "${text^}" | mdoc
        printf 'Values: %s%s.\n' "$values" "${preset:+; default $preset}" | mdoc
    done < <(tr '\t' '\037' <<<"$table") # tabs in a row would count as one
    printf '.El\n'
}

table=$("$1" options --table)
[ -n "$table" ] || complain 1 "$1 printed no options"
new=$(mktemp)
trap 'rm -f "$new"' EXIT
{
    sed '/^\.\\" ----/q' "$page"
    print_options
    sed -n '/^\.\\" ----/,$p' "$page" | sed -n '2,$p' | sed -n '/^\.\\" ----/,$p'
} >"$new"
if cmp -s "$new" "$page"; then exit 0; fi
[ "$check" = no ] || complain 1 "$page is not what $1 says of its options; run man/update_options.sh $1"
cat "$new" >"$page"
