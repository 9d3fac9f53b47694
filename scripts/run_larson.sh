#!/usr/bin/env bash
# Runs larson in the pattern that breaks an allocator which drains a slab before it owns it: small
# blocks, few of them, and threads that hand them on and exit in quick succession.
#
#   scripts/run_larson.sh MODE SECONDS THREADS
#
# One line a second; the last line is PASS or FAIL with the reason, and so is the exit status.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")

chunks=200 rounds=2 # of each thread: some thousand hand-overs a second in all

usage() {
    cat <<'TEXT'
usage: scripts/run_larson.sh [OPTION...] MODE SECONDS THREADS

Runs larson on hakmem with blocks of 8 to 128 bytes that are handed on to new threads some thousand
times a second, every block's contents checked, and prints once a second what the allocator did.

  MODE     repro: the release build
           guard: the build with every check on (ownership, canaries, freed blocks, free lists)
  SECONDS  1 to 86400
  THREADS  1 to 4096, at a time

options:
  --driver PATH          run this larson instead of building one; it may be of another build
  --no-build             run out/release or out/guard as it is
  --hang-after SECONDS   a run without progress for so long is killed (1 to 3600; default 20)
  --help                 print this and exit

environment:
  HAKMEM_TINY_SS_ADOPT   1: slabs that an exited thread left behind are adopted (default); 0: not.
                         Other variables of the allocator are passed on as well.

The columns count from the beginning of the run: claims of slabs without an owner, claims that
another thread won, drains of remote queues, the blocks they brought, and adoptions.

exit status: 0 PASS, 1 FAIL, 2 wrong arguments or no build, 130 interrupted
TEXT
}

refuse() {
    printf 'run_larson.sh: %s\n' "$1" >&2
    exit 2
}

# whole NAME TEXT MOST: refuses what is no whole number from 1 to MOST.
whole() {
    if [[ ! $2 =~ ^[0-9]{1,9}$ ]] || ((10#$2 < 1 || 10#$2 > $3)); then
        refuse "$1 takes a whole number from 1 to $3, not '$2'"
    fi
}

# ---- arguments -----------------------------------------------------------------------------
driver='' build=yes hang_after=20 words=()
while [ $# -gt 0 ]; do
    case $1 in
    -h | --help)
        usage
        exit 0
        ;;
    --no-build) build=no ;;
    --driver | --hang-after)
        [ $# -ge 2 ] || refuse "$1 lacks its value; see --help"
        if [ "$1" = --driver ]; then driver=$2; else hang_after=$2; fi
        [ -n "$2" ] || refuse "$1 takes a value, not an empty text"
        shift
        ;;
    --driver=?*) driver=${1#*=} ;;
    --hang-after=?*) hang_after=${1#*=} ;;
    -[!0-9]*) refuse "there is no option '$1'; see --help" ;;
    *) words+=("$1") ;;
    esac
    shift
done
[ ${#words[@]} -eq 3 ] ||
    refuse "takes three arguments, MODE SECONDS THREADS, not ${#words[@]}; see --help"
mode=${words[0]}
case $mode in
repro) variant=release ;;
guard) variant=guard ;;
*) refuse "MODE is repro or guard, not '$mode'" ;;
esac
whole SECONDS "${words[1]}" 86400
whole THREADS "${words[2]}" 4096
whole --hang-after "$hang_after" 3600
seconds=$((10#${words[1]})) threads=$((10#${words[2]})) hang_after=$((10#$hang_after))
adopt=${HAKMEM_TINY_SS_ADOPT-1}
[[ $adopt == [01] ]] || refuse "HAKMEM_TINY_SS_ADOPT is 0 or 1, not '$adopt'; or leave it unset"
export HAKMEM_TINY_SS_ADOPT=$adopt

# ---- the driver ----------------------------------------------------------------------------
if [ -n "$driver" ]; then
    if [ ! -f "$driver" ] || [ ! -x "$driver" ]; then
        refuse "--driver $driver is no program that can be run"
    fi
    [[ $driver == /* ]] || driver=./$driver
else
    driver=$root/out/$variant/larson_hakmem
    if [ "$build" = yes ]; then
        command -v make >/dev/null ||
            refuse "make is not installed; ./build.sh setup installs it, --no-build does without"
        errors=$(make -s -C "$root" VARIANT="$variant" OUT="out/$variant" larson_hakmem 2>&1) || {
            printf '%s\n' "$errors" >&2
            refuse "the $variant build of larson_hakmem failed; its errors are above"
        }
    fi
    [ -x "$driver" ] || refuse "there is no $driver; build it, or leave out --no-build"
fi
arguments=(--seconds "$seconds" --min 8 --max 128 --chunks "$chunks" --rounds "$rounds"
    --threads "$threads" --check --progress 1 --json)

# ---- what is seen of the run ---------------------------------------------------------------
tmp='' pid=''
header=no        # printed?
elapsed=0.000 operations=0 before_ms=0 before_operations=0
claims='' failed='' drains='' drained='' adopted='' # empty: the allocator tells no counters
last=''          # what else the driver and the allocator said, its last line
crash=''         # the driver's line about a signal
breach=''        # the first report of the allocator's or a sanitizer's that is a failure in itself
complaint=''     # the allocator's first message; a failure where it aborted then
killed=''        # why we ended it ourselves
json=''          # the driver's result

end_now() { # waits, too, so that bash does not report it
    if [ -n "$pid" ]; then
        kill -KILL "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
        pid=''
    fi
}
clean_up() {
    end_now
    if [ -n "$tmp" ]; then rm -rf "$tmp"; fi
}
trap clean_up EXIT

print_header() { # the words of the driver's first line, if it came so far
    local allocator='an unknown allocator' built='unknown build' plural=s
    if [[ ${1-} =~ allocator=([^ ]*)\ version=(.*)\ build=([^ ]*)\ path=(.*)$ ]]; then
        allocator="${BASH_REMATCH[1]} ${BASH_REMATCH[2]} in ${BASH_REMATCH[4]}"
        allocator=${allocator/#unknown unknown/an unknown allocator}
        built="${BASH_REMATCH[3]} build"
    fi
    header=yes
    printf 'run_larson.sh %s: %d s, %d thread%s, HAKMEM_TINY_SS_ADOPT=%s, %s, %s\n' "$mode" \
        "$seconds" "$threads" "${plural:0:threads > 1}" "$adopt" "$built" "$allocator"
    printf '%10s %16s %14s %12s %14s %12s %15s %12s\n' 'elapsed s' operations 'operations/s' \
        claims 'failed claims' drains 'drained blocks' adoptions
}

print_row() {
    local ms=$((10#${elapsed/./})) rate
    rate=$((ms > before_ms ? (operations - before_operations) * 1000 / (ms - before_ms) : 0))
    printf '%10s %16d %14d %12s %14s %12s %15s %12s\n' "$elapsed" "$operations" "$rate" \
        "${claims:--}" "${failed:--}" "${drains:--}" "${drained:--}" "${adopted:--}"
    before_ms=$ms before_operations=$operations
}

# Sets the variable named $1 to the number of word $2 in the line $3, if it is there.
take() {
    if [[ " $3 " == *" $2="* ]]; then
        local value=${3##*" $2="}
        value=${value%% *}
        if [[ $value =~ ^[0-9]+(\.[0-9]{3})?$ ]]; then printf -v "$1" %s "$value"; fi
    fi
}

# One line of the driver's standard error. True if it shows that the run went on.
hear() {
    local line=$1 had=$operations
    case $line in
    *': progress elapsed='*)
        [ "$header" = yes ] || print_header
        take elapsed elapsed "$line"
        take operations operations "$line"
        take claims claims "$line"
        take failed claims_failed "$line"
        take drains drains "$line"
        take drained drained_blocks "$line"
        take adopted adopted "$line"
        print_row
        ((operations > had))
        return
        ;;
    *': progress allocator='*)
        print_header "$line"
        return
        ;;
    *)
        printf '%s\n' "$line" >&2
        last=$line
        if [[ -z $crash && $line =~ signal\ [0-9]+\ \(SIG[A-Z]+\).* ]]; then
            crash=${BASH_REMATCH[0]}
        elif [[ -z $breach && $line == *'[OWNERSHIP ERROR]'* ]]; then
            breach="ownership breach: $line"
        elif [[ -z $breach && $line =~ (Address|Thread|UndefinedBehavior)Sanitizer: ]]; then
            breach="sanitizer: $line"
        elif [[ -z $complaint && $line == hakmem:* && $line != *'is not a whole number'* ]]; then
            complaint=$line
        fi
        ;;
    esac
    return 1
}

# Kills the driver; a core file of where it hangs is worth a second.
end_driver() {
    kill -ABRT "$pid" 2>/dev/null || true
    for _ in {1..10}; do
        kill -0 "$pid" 2>/dev/null || return 0
        sleep 0.1
    done
    kill -KILL "$pid" 2>/dev/null || true
}

interrupted() { # exit status, what happened
    trap '' INT TERM HUP
    end_now
    printf '%s after %s s and %d operations: neither PASS nor FAIL' "$2" "$elapsed" "$operations"
    if [ -n "$claims" ]; then
        printf '; %s claims, %s failed, %s drains of %s blocks, %s adoptions' \
            "$claims" "$failed" "$drains" "$drained" "$adopted"
    fi
    printf '\n'
    exit "$1"
}

# ---- the run -------------------------------------------------------------------------------
tmp=$(mktemp -d)
mkfifo "$tmp/messages"
trap 'interrupted 130 INTERRUPTED' INT
trap 'interrupted 143 TERMINATED' TERM
trap 'interrupted 129 "HUNG UP"' HUP
"$driver" "${arguments[@]}" </dev/null >"$tmp/result" 2>"$tmp/messages" &
pid=$!
exec 3<"$tmp/messages"

ended=no
idle=0 part='' # seconds since the run went on; the beginning of a line that came in pieces
while :; do
    status=0
    IFS= read -r -t 1 -u 3 line || status=$?
    if [ "$status" -eq 0 ]; then
        if hear "$part$line"; then idle=0; elif [[ $line == *progress* ]]; then idle=$((idle + 1)); fi
        part=''
    elif [ "$status" -gt 128 ]; then # a second without a line
        part+=$line
        idle=$((idle + 1))
        # It has ended, all it wrote was read, and a process that it left keeps the pipe open.
        [ "$ended" = no ] || break
        kill -0 "$pid" 2>/dev/null || ended=yes
    else
        if [ -n "$part$line" ]; then hear "$part$line" || true; fi
        break
    fi
    if [ "$idle" -ge "$hang_after" ] && [ -z "$killed" ]; then
        killed="it hung: no progress for $hang_after seconds after $elapsed s, and was killed"
        end_driver
    fi
done
exec 3<&-
status=0
wait "$pid" 2>/dev/null || status=$?
pid=''
trap - INT TERM HUP
json=$(tr -d '\0' <"$tmp/result")
[ "$header" = yes ] || print_header

# ---- the verdict ---------------------------------------------------------------------------
fail() {
    printf 'FAIL: %s\n' "$1"
    exit 1
}

# number NAME PATTERN: the first group of the pattern in the result.
number() {
    [[ $json =~ $2 ]] || fail "the driver ended with status 0 and without $1 in its result"
    printf -v "$1" %s "${BASH_REMATCH[1]}"
}

[ -z "$killed" ] || fail "$killed"
if [ -n "$breach" ]; then
    fail "$breach"
elif [ -n "$complaint" ] && [ "$status" -eq 134 ]; then
    fail "corruption found by the allocator: $complaint"
elif [ -n "$crash" ]; then
    fail "crash: $crash"
elif [ "$status" -eq 126 ] || [ "$status" -eq 127 ]; then
    refuse "$driver can't be started: ${last:-status $status}"
elif [ "$status" -gt 128 ] && name=$(kill -l "$((status - 128))" 2>/dev/null); then
    fail "crash: signal $((status - 128)) (SIG$name)${last:+; the last message: $last}"
elif [ "$status" -ne 0 ]; then
    fail "the driver ended with status $status: ${last:-it said nothing}"
fi

provider='' total='' errors='' blocks='' handover=''
number provider '"provider":[[:space:]]*\{[[:space:]]*"name":[[:space:]]*"([^"]*)"'
number total '"operations":[[:space:]]*([0-9]+)'
number blocks '"check":[[:space:]]*\{[[:space:]]*"blocks":[[:space:]]*([0-9]+)'
number errors '"errors":[[:space:]]*([0-9]+)'
number handover '"name":[[:space:]]*"handover",[[:space:]]*"operations":[[:space:]]*([0-9]+)'
handovers=$((handover / (2 * chunks))) # the first round of each new thread
printf '%d hand-overs to new threads, contents of %d blocks checked\n' "$handovers" "$blocks"

[ "$errors" -eq 0 ] || fail "--check found $errors errors"
[ "$provider" = hakmem ] ||
    fail "malloc was $provider's, not hakmem's: nothing is proven of hakmem"
for counter in "$claims" "$failed" "$drains" "$drained" "$adopted"; do
    [ -n "$counter" ] || fail "the driver showed not all of the allocator's counters"
done
[ "$total" -eq "$operations" ] ||
    fail "the last line told $operations operations and the result $total"
[ "$handovers" -gt 0 ] || fail "no thread handed over: nothing is proven; run it for longer"
# A run proves something only if the pattern took place. One hand-over leaves some eight slabs, and
# one in 60 or more brings a drain, even with one thread; but the first few may bring none at all.
if [ "$adopt" -eq 0 ] && [ "$adopted" -gt 0 ]; then
    fail "adoption is off, and $adopted slabs were adopted"
fi
if [ "$adopt" -eq 1 ] && [ "$handovers" -ge $((100 + threads)) ]; then
    [ "$claims" -gt 0 ] || fail "no slab was claimed in $handovers hand-overs: nothing is proven"
    [ "$adopted" -gt 0 ] || fail "no slab was adopted in $handovers hand-overs: nothing is proven"
fi
if [ "$handovers" -ge $((1000 + 2 * threads)) ] && [ "$drains" -eq 0 ]; then
    fail "no remote queue was drained in $handovers hand-overs: nothing is proven"
fi
echo PASS
