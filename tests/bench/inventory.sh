#!/bin/sh
# How long an inventory takes in a token with many keys, and that it grows with
# their number and no faster: `ksmctl inventory` against `pkcs11-tool
# --list-objects` of the same token, which compares nothing, in turns.
#
#   sh tests/bench/inventory.sh [--dir DIR] [KEYS...]
#
#   KEYS    so many keys; default: 2500 5000 10000. SoftHSM needs minutes to
#           make them
#   --dir   where the database lies; default: the build directory. The token
#           lies in /dev/shm, if there is one
#
# KSM_BUILD names the build directory (default: build/gcc). Slowness is no
# failure: it is printed.
set -u
umask 077
top=$(cd "$(dirname "$0")/../.." && pwd) || exit 1
build=${KSM_BUILD:-$top/build/gcc}
base=$build
# shellcheck source=tests/bench/lib.sh
. "$top/tests/bench/lib.sh"

while [ $# -gt 0 ]; do
	case $1 in
	--dir)
		[ $# -gt 1 ] || die "--dir needs a directory"
		base=$2
		shift 2
		;;
	[1-9]*) break ;;
	*) die "unknown argument: $1" ;;
	esac
done
[ $# -gt 0 ] || set -- 2500 5000 10000
need ksmpoold ksmctl
command -v pkcs11-tool >/dev/null || die "pkcs11-tool is not installed"
module_find
work=$(mktemp -d "$base/ksmpool-bench.XXXXXX") || die "cannot write in $base"
token=$(mktemp -d "/dev/shm/ksmpool-bench.XXXXXX" 2>/dev/null)

cleanup()
{
	status=$?
	trap - EXIT INT TERM
	[ -z "$daemon" ] || kill -TERM "$daemon" 2>/dev/null
	wait
	rm -rf "$work"
	[ -z "$token" ] || rm -rf "$token"
	exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# took COMMAND...: the milliseconds of it.
took()
{
	begin=$(millis)
	"$@" >"$work/answer" 2>&1 || die "$1: $(tail -n 1 "$work/answer")"
	echo $(($(millis) - begin))
}

list_objects()
{
	SOFTHSM2_CONF=$work/ksmpool/softhsm2.conf pkcs11-tool --module \
	    "$module" --token-label bench --login --pin "$(cat "$work/pin")" \
	    --list-objects
}

if [ -n "$token" ]; then
	ln -s "$token" "$work/ksmpool"
else
	mkdir "$work/ksmpool"
fi
mkdir "$work/ksmpool/tokens" "$work/state"
token_make
ksmpool_start 256 13 1
printf '%6s %14s %14s %7s %12s\n' KEYS INVENTORY/S PKCS11-TOOL/S RATIO MS/1000KEYS
for keys; do
	had=$(keys_ready)
	[ "$keys" -gt "$had" ] || die "$keys: there are $had already"
	echo "making $((keys - had)) keys" >&2
	arm_ksmpool $((keys - had)) >/dev/null
	: >"$work/times"
	for _ in 1 2 3; do
		echo "$(took ctl --timeout PT10M inventory)" \
		    "$(took list_objects)" >>"$work/times"
	done
	grep -q . "$work/answer" || die "pkcs11-tool listed nothing"
	awk -v n="$keys" '{ a[NR] = $1; b[NR] = $2 }
	function middle(x) {
		return x[1] > x[2] ? (x[2] > x[3] ? x[2] : x[1] > x[3] ? x[3] \
		    : x[1]) : (x[1] > x[3] ? x[1] : x[2] > x[3] ? x[3] : x[2])
	}
	END {
		printf "%6d %14.2f %14.2f %7.3f %12.0f\n", n, middle(a) / 1000,
		    middle(b) / 1000, middle(a) / middle(b),
		    middle(a) / n * 1000
	}' "$work/times"
done
ksmpool_stop
