#!/bin/sh
# How fast ksmpool hands keys out.
#
# Without the token: takes through the engine, each `taking` in the database,
# then in the synced journal, then `taken` on disk, held against a bare loop that for
# each key appends one line of that length and syncs it, and commits one row to
# an SQLite database with the same durability. The two take turns, take by take
# or group by group (take_loop.c), so that both meet the same disk.
#
# With it (--long): `ksmctl take --count 1000` of a daemon whose token holds
# 10,000 keys, each found, compared and made to sign before it is handed out;
# seconds from the command to its answer. SoftHSM needs minutes to make them.
#
#   sh tests/bench/take.sh [--short | --full] [--long] [--dir DIR] [ARM...]
#
#   ARM     single, clientsN (N takes wait at any time) or countN (takes of N
#           keys each); default: single clients8 clients64 count100
#   --short 5 rounds of 200 takes an arm, in seconds; --full: 10 of 1,000, and
#           count1000 instead of count100
#   --long  or KSM_BENCH_LONG=1: also with the token. KSM_BENCH_KEYS: how many
#           it holds (10,000), KSM_BENCH_COUNT: keys of a take (1,000)
#   --dir   where database and journal lie; default: the build directory. It
#           must be a disk: in memory a sync costs nothing, and the ratio says
#           nothing. The token lies in /dev/shm, if there is one
#
# KSM_BUILD names the build directory (default: build/gcc). Slowness is no
# failure: it is printed.
set -u
umask 077
top=$(cd "$(dirname "$0")/../.." && pwd) || exit 1
build=${KSM_BUILD:-$top/build/gcc}
mode=short
base=$build
arms=
long=${KSM_BENCH_LONG:-0}
# shellcheck source=tests/bench/lib.sh
. "$top/tests/bench/lib.sh"

while [ $# -gt 0 ]; do
	case $1 in
	--short) mode=short ;;
	--full) mode=full ;;
	--long) long=1 ;;
	--dir)
		[ $# -gt 1 ] || die "--dir needs a directory"
		base=$2
		shift
		;;
	single | clients[1-9]* | count[1-9]*) arms="$arms $1" ;;
	*) die "unknown argument: $1" ;;
	esac
	shift
done
case $mode in
short)
	: "${arms:=single clients8 clients64 count100}"
	rounds=5 size=200
	;;
full)
	: "${arms:=single clients8 clients64 count1000}"
	rounds=10 size=1000
	;;
esac
need tests/take_loop
[ "$long" -eq 0 ] || {
	need ksmpoold ksmctl
	module_find
}
work=$(mktemp -d "$base/ksmpool-bench.XXXXXX") || die "cannot write in $base"
loop=
token=

cleanup()
{
	status=$?
	trap - EXIT INT TERM
	[ -z "$daemon" ] || kill -TERM "$daemon" 2>/dev/null
	[ -z "$loop" ] || kill -TERM "$loop" 2>/dev/null
	wait
	rm -rf "$work"
	[ -z "$token" ] || rm -rf "$token"
	exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# ---- without the token ---------------------------------------------------

without_token()
{
	keys=100 # some clash with a key tag of the zone
	for arm in $arms; do
		keys=$((keys + rounds * size))
	done
	mkdir "$work/loop"
	mkfifo "$work/to" "$work/from" || die "mkfifo failed"
	"$build/tests/take_loop" "$work/loop" "$keys" <"$work/to" \
	    >"$work/from" &
	loop=$!
	exec 8>"$work/to" 9<"$work/from"
	table_head
	b=1
	while [ "$b" -le "$rounds" ]; do
		for arm in $arms; do
			echo "$arm $size" >&8
			read -r n took bare <&9 || die "take_loop ended"
			printf 'bare %d %d %s\nksmpool %d %d %s\n' "$b" "$n" \
			    "$bare" "$b" "$n" "$took" >>"$work/$arm"
		done
		b=$((b + 1))
	done
	exec 8>&- 9<&-
	wait "$loop"
	loop=
	for arm in $arms; do
		table "$arm" "$work/$arm"
		[ -z "${KSM_BENCH_BLOCKS:-}" ] || sed 's/^/  /' "$work/$arm"
	done
}

# ---- with it --------------------------------------------------------------

with_token()
{
	keys=${KSM_BENCH_KEYS:-10000}
	count=${KSM_BENCH_COUNT:-1000}
	takes=5
	[ $((takes * count)) -le "$keys" ] || takes=$((keys / count))
	token=$(mktemp -d "/dev/shm/ksmpool-bench.XXXXXX" 2>/dev/null)
	if [ -n "$token" ]; then
		ln -s "$token" "$work/ksmpool"
		place="in memory"
	else
		mkdir "$work/ksmpool"
		place="on disk"
	fi
	mkdir "$work/ksmpool/tokens" "$work/state"
	token_make
	ksmpool_start 256 13 1
	echo "making $keys keys to begin with" >&2
	arm_ksmpool "$keys" >/dev/null
	# Without the worker that made them, as a take finds it.
	ksmpool_stop
	ksmpool_start 256 13 1
	i=0
	while [ "$i" -lt "$takes" ]; do
		begin=$(millis)
		ctl --timeout PT10M --json take --zone "z$i.example" \
		    --role KSK --count "$count" >"$work/answer" ||
		    die "take: $(tail -n 1 "$work/log")"
		took=$(($(millis) - begin))
		n=$(grep -o '"handout": *[0-9]' "$work/answer" | wc -l)
		[ "$n" -eq "$count" ] || die "$n keys were given, not $count"
		awk -v t="$took" -v n="$count" -v k="$keys" -v p="$place" \
		    -v w="$([ "$i" -eq 0 ] && echo cold || echo warm)" 'BEGIN {
			printf "take --count %d, %d keys in the token, %s, " \
			    "%s: %.2f s\n", n, k, p, w, t / 1000 }'
		i=$((i + 1))
	done
	ksmpool_stop
}

started=$(now)
without_token
[ "$long" -eq 0 ] || with_token
awk -v a="$started" -v b="$(now)" -v m=$mode \
    'BEGIN { printf "%s form, %d s\n", m, b - a }'
