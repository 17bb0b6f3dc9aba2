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

die()
{
	echo "bench: $*" >&2
	exit 1
}

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

for f in ksmpoold ksmctl tests/bare_generate; do
	[ -x "$build/$f" ] || die "$build/$f: not built; set KSM_BUILD"
done
module=
for f in /usr/lib/softhsm/libsofthsm2.so /usr/lib64/softhsm/libsofthsm2.so \
    /usr/lib/*/softhsm/libsofthsm2.so; do
	[ -z "$module" ] && [ -f "$f" ] && module=$f
done
[ -n "$module" ] || die "no libsofthsm2.so"
export KSMPOOL_LIBEXEC="$build"
work=$(mktemp -d "$base/ksmpool-bench.XXXXXX") || die "cannot write in $base"
daemon=
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

# Seconds since some moment.
now()
{
	cut -d' ' -f1 /proc/uptime
}

# Milliseconds; /proc/uptime is too coarse for a block.
millis()
{
	date +%s%3N
}

softhsm_conf()
{
	printf 'directories.tokendir = %s/tokens\nobjectstore.backend = file\nlog.level = ERROR\n' \
	    "$1" >"$1/softhsm2.conf"
}

ctl()
{
	"$build/ksmctl" --socket "$work/socket" "$@"
}

# The token and database of the ksmpool arm.
ksmpool_start()
{
	bits=$1
	alg=$2
	sessions=$3
	cat >"$work/kasp.xml" <<-XML
	<?xml version="1.0"?><KASP><Policy name="bench"><Description>bench</Description>
	<Signatures><Resign>PT2H</Resign><Refresh>P3D</Refresh>
	<Validity><Default>P14D</Default><Denial>P14D</Denial></Validity>
	<Jitter>PT12H</Jitter><InceptionOffset>PT3600S</InceptionOffset></Signatures>
	<Denial><NSEC/></Denial>
	<Keys><TTL>PT3600S</TTL><RetireSafety>PT3600S</RetireSafety>
	<PublishSafety>PT3600S</PublishSafety>
	<KSK><Algorithm length="$bits">$alg</Algorithm><Lifetime>P1Y</Lifetime>
	<Repository>bench</Repository></KSK></Keys>
	<Zone><PropagationDelay>PT1H</PropagationDelay>
	<SOA><TTL>PT1H</TTL><Minimum>PT1H</Minimum><Serial>unixtime</Serial></SOA></Zone>
	<Parent><PropagationDelay>PT1H</PropagationDelay><DS><TTL>PT1H</TTL></DS>
	<SOA><TTL>P2D</TTL><Minimum>PT3H</Minimum></SOA></Parent>
	</Policy></KASP>
	XML
	# Manual, with more zones than are needed: what an explicit topup is
	# told to make is all that is made.
	{
		echo '<?xml version="1.0"?><ZoneList>'
		awk 'BEGIN { for (i = 0; i < 50000; i++)
			printf "<Zone name=\"z%d.example\"><Policy>bench</Policy></Zone>\n", i }'
		echo '</ZoneList>'
	} >"$work/zonelist.xml"
	cat >"$work/ksmpool.xml" <<-XML
	<?xml version="1.0"?><Ksmpool>
	<Policy><PolicyFile>kasp.xml</PolicyFile><ZoneListFile>zonelist.xml</ZoneListFile></Policy>
	<RepositoryList><Repository name="bench"><Module>$module</Module>
	<TokenLabel>bench</TokenLabel><PINFile>pin</PINFile>
	<Sessions>$sessions</Sessions>
	<Environment name="SOFTHSM2_CONF">$work/ksmpool/softhsm2.conf</Environment>
	</Repository></RepositoryList>
	<Pools><Default><Strategy>manual</Strategy></Default></Pools>
	<Daemon><StateDirectory>$work/state</StateDirectory>
	<Socket><Path>$work/socket</Path></Socket><User>$(id -un)</User></Daemon>
	</Ksmpool>
	XML
	"$build/ksmpoold" --config "$work/ksmpool.xml" >"$work/log" 2>&1 &
	daemon=$!
	tries=200
	until ctl version >/dev/null 2>&1; do
		tries=$((tries - 1))
		if [ "$tries" -le 0 ] || ! kill -0 "$daemon" 2>/dev/null; then
			tail -n 20 "$work/log" >&2
			die "ksmpoold does not start"
		fi
		sleep 0.1
	done
}

ksmpool_stop()
{
	kill -TERM "$daemon"
	wait "$daemon"
	daemon=
}

keys_ready()
{
	sqlite3 -readonly "$work/state/ksmpool.db" \
	    "SELECT count(*) FROM keys WHERE state = 'ready'"
}

# arm_X N: make N keys, print the seconds it took.
arm_ksmpool()
{
	had=$(keys_ready)
	begin=$(millis)
	ctl --quiet topup --wait --max "$1" >/dev/null 2>&1
	took=$(($(millis) - begin))
	[ "$(keys_ready)" -eq $((had + $1)) ] || {
		tail -n 5 "$work/log" >&2
		die "ksmpool made $(($(keys_ready) - had)) keys, not $1"
	}
	awk -v t="$took" 'BEGIN { print t / 1000 }'
}

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

# table NAME FILE: lines "ARM BLOCK KEYS SECONDS" to rates, and the ratio of
# each arm to the bare loop over paired blocks: geometric mean and 95 %
# interval by Student's t on the logarithms.
table()
{
	awk -v name="$1" '
	BEGIN {
		split("12.706 4.303 3.182 2.776 2.571 2.447 2.365 2.306 2.262 " \
		    "2.228 2.201 2.179 2.160 2.145 2.131 2.120 2.110 2.101 " \
		    "2.093 2.086", t, " ")
	}
	{
		rate[$1, $2] = $3 / $4
		keys[$1] += $3
		time[$1] += $4
		if (!($1 in seen)) {
			seen[$1] = ++arms
			arm[arms] = $1
		}
		blocks[$1] = $2 > blocks[$1] ? $2 : blocks[$1]
	}
	END {
		for (a = 1; a <= arms; a++) {
			x = arm[a]
			line = sprintf("%-10s %-12s %6d %10.2f", name, x,
			    keys[x], keys[x] / time[x])
			if (x == "bare") {
				print line
				continue
			}
			n = sum = square = 0
			for (b = 1; b <= blocks[x]; b++) {
				if (!((x, b) in rate) || !(("bare", b) in rate))
					continue
				l = log(rate[x, b] / rate["bare", b])
				n++
				sum += l
				square += l * l
			}
			mean = sum / n
			half = 0
			if (n > 1) {
				v = (square - n * mean * mean) / (n - 1)
				df = n - 1 > 20 ? 20 : n - 1
				half = t[df] * sqrt((v > 0 ? v : 0) / n)
			}
			printf "%s %7.3f  %.3f to %.3f (%d blocks)\n", line,
			    exp(mean), exp(mean - half), exp(mean + half), n
		}
	}' "$2"
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
	softhsm_conf "$work/ksmpool"
	od -An -N8 -tx1 /dev/urandom | tr -d ' \n' >"$work/pin"
	SOFTHSM2_CONF=$work/ksmpool/softhsm2.conf softhsm2-util --init-token \
	    --free --label bench --so-pin 12345678 --pin "$(cat "$work/pin")" \
	    >/dev/null || die "softhsm2-util failed"

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
printf '%-10s %-12s %6s %10s %7s  %s\n' CASE ARM KEYS KEYS/S RATIO \
    "95 % INTERVAL OF THE RATIO TO bare"
for case in $cases; do
	bench "${case%:*}" "${case#*:}"
done
awk -v a="$started" -v b="$(now)" -v m=$mode \
    'BEGIN { printf "%s form, %d s\n", m, b - a }'
