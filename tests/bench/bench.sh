#!/bin/sh
# How fast ksmpool makes keys, held against a bare loop of C_GenerateKeyPair
# and against loops of the usual tools. Blocks of keys are made in turn by each
# arm, each with a token of its own of the same size on the same file system,
# so that what the machine does meanwhile meets all of them.
#
#   sh tests/bench/bench.sh [--short | --full] [--dir DIR] [CASE...]
#
#   CASE    KIND:KEYS-IN-THE-TOKEN, KIND rsa (2048 bits, two sessions) or ec
#           (P-256, one session). --short: rsa:0 ec:0 ec:1000, in minutes;
#           --full: 2,000 keys an arm, rsa:0 ec:0 ec:10000
#   --dir   where tokens and database lie; default: the build directory
#
# KSM_BUILD names the build directory (default: build/gcc). Slowness is no
# failure: it is printed. ods-hsmutil and pkcs11-tool are left out when they
# are not installed.
set -u
umask 077
top=$(cd "$(dirname "$0")/../.." && pwd) || exit 1
build=${KSM_BUILD:-$top/build/gcc}
mode=short
base=$build
cases=
. "$top/tests/bench/lib.sh"

while [ $# -gt 0 ]; do
	case $1 in
	--short) mode=short ;;
	--full) mode=full ;;
	--dir)
		[ $# -gt 1 ] || die "--dir needs a directory"
		base=$2
		shift
		;;
	rsa:[0-9]* | ec:[0-9]*) cases="$cases $1" ;;
	*) die "unknown argument: $1" ;;
	esac
	shift
done
case $mode in
short) : "${cases:=rsa:0 ec:0 ec:1000}" ;;
full) : "${cases:=rsa:0 ec:0 ec:10000}" ;;
esac

need ksmpoold ksmctl tests/bare_generate
module_find
work=$(mktemp -d "$base/ksmpool-bench.XXXXXX") || die "cannot write in $base"
loop=

cleanup()
{
	status=$?
	trap - EXIT INT TERM
	[ -z "$daemon" ] || kill -TERM "$daemon" 2>/dev/null
	[ -z "$loop" ] || kill -TERM "$loop" 2>/dev/null
	wait
	rm -rf "$work"
	exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

arm_bare()
{
	echo "$1" >&8
	read -r _ took <&9 || die "the bare loop ended"
	echo "$took"
}

arm_pkcs11_tool()
{
	begin=$(millis)
	i=0
	while [ $i -lt "$1" ]; do
		SOFTHSM2_CONF=$work/pkcs11_tool/softhsm2.conf pkcs11-tool \
		    --module "$module" --token-label bench --login \
		    --pin "$(cat "$work/pin")" --keypairgen --usage-sign \
		    --key-type "$tool_kind" \
		    --id "$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')" \
		    >"$work/tool.log" 2>&1 || return 1
		i=$((i + 1))
	done
	awk -v t=$(($(millis) - begin)) 'BEGIN { print t / 1000 }'
}

arm_ods_hsmutil()
{
	begin=$(millis)
	i=0
	while [ $i -lt "$1" ]; do
		# shellcheck disable=SC2086
		SOFTHSM2_CONF=$work/ods_hsmutil/softhsm2.conf ods-hsmutil \
		    -c "$work/conf.xml" generate bench $ods_kind \
		    >"$work/tool.log" 2>&1 || return 1
		i=$((i + 1))
	done
	awk -v t=$(($(millis) - begin)) 'BEGIN { print t / 1000 }'
}

# bench KIND HELD
bench()
{
	kind=$1
	held=$2
	case $kind in
	rsa)
		bits=2048 alg=8 sessions=2 bare_kind=rsa:2048
		tool_kind=rsa:2048 ods_kind="rsa 2048"
		[ "$mode" = full ] && blocks=10 size=200 few=20
		[ "$mode" = short ] && blocks=5 size=24 few=4
		;;
	ec)
		bits=256 alg=13 sessions=1 bare_kind=ec:p256
		tool_kind=EC:prime256v1 ods_kind="ecdsa 256"
		[ "$mode" = full ] && blocks=5 size=400 few=20
		[ "$mode" = short ] && blocks=5 size=200 few=5
		;;
	esac
	rm -rf "$work/ksmpool" "$work/bare" "$work/pkcs11_tool" \
	    "$work/ods_hsmutil" "$work/state"
	mkdir -p "$work/ksmpool/tokens" "$work/state"
	token_make
	ksmpool_start "$bits" "$alg" "$sessions"
	if [ "$held" -gt 0 ]; then
		echo "making $held keys to begin with" >&2
		arm_ksmpool "$held" >/dev/null
	fi
	# The other arms begin with the same token, so of the same size.
	arms="ksmpool bare"
	command -v pkcs11-tool >/dev/null 2>&1 && arms="$arms pkcs11_tool"
	command -v ods-hsmutil >/dev/null 2>&1 && arms="$arms ods_hsmutil"
	for arm in $arms; do
		[ "$arm" = ksmpool ] && continue
		cp -a "$work/ksmpool" "$work/$arm" || die "cannot copy the token"
		softhsm_conf "$work/$arm"
	done
	cat >"$work/conf.xml" <<-XML
	<?xml version="1.0"?><Configuration><RepositoryList>
	<Repository name="bench"><Module>$module</Module>
	<TokenLabel>bench</TokenLabel><PIN>$(cat "$work/pin")</PIN></Repository>
	</RepositoryList><Common><PolicyFile>$work/kasp.xml</PolicyFile>
	<ZoneListFile>$work/zonelist.xml</ZoneListFile></Common></Configuration>
	XML
	rm -f "$work/to" "$work/from"
	mkfifo "$work/to" "$work/from" || die "mkfifo failed"
	SOFTHSM2_CONF=$work/bare/softhsm2.conf "$build/tests/bare_generate" \
	    "$module" bench "$work/pin" "$bare_kind" "$sessions" \
	    <"$work/to" >"$work/from" &
	loop=$!
	exec 8>"$work/to" 9<"$work/from"

	# The first key of each pays for start and login; a daemon has paid.
	arm_ksmpool 2 >/dev/null
	arm_bare 2 >/dev/null

	: >"$work/results"
	b=1
	while [ "$b" -le "$blocks" ]; do
		order=$arms
		[ $((b % 2)) -eq 0 ] &&
		    order=$(echo "$arms" | awk '{ for (i = NF; i; i--) print $i }')
		for arm in $order; do
			n=$size
			case $arm in
			pkcs11_tool | ods_hsmutil) n=$few ;;
			esac
			if ! took=$("arm_$arm" "$n"); then
				case $arm in
				ksmpool | bare) exit 1 ;;
				esac
				echo "$arm fails and is left out:" \
				    "$(tail -n 1 "$work/tool.log")" >&2
				arms=$(echo "$arms" | sed "s/ $arm//")
				continue
			fi
			echo "$arm $b $n $took" >>"$work/results"
		done
		b=$((b + 1))
	done
	exec 8>&- 9<&-
	wait "$loop"
	loop=
	ksmpool_stop
	table "$kind:$held" "$work/results"
	[ -z "${KSM_BENCH_BLOCKS:-}" ] || sed 's/^/  /' "$work/results"
}

started=$(now)
table_head
for case in $cases; do
	bench "${case%:*}" "${case#*:}"
done
awk -v a="$started" -v b="$(now)" -v m=$mode \
    'BEGIN { printf "%s form, %d s\n", m, b - a }'
