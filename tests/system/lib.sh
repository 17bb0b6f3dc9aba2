# shellcheck shell=sh
# System tests: a private token, a private configuration, a private daemon,
# all in one directory that goes when the test ends. Sourced by test_*.sh.
#
#   . "$(dirname "$0")/lib.sh"
#   token_make; kasp_sample; zones default 3; conf_write; daemon_start
#
# KSM_SOURCE and KSM_BUILD come from ctest. By hand: KSM_BUILD=DIR sh test_X.sh
# With KSM_KEEP=1 the directory stays.
set -u
umask 077

# A session of its own: what descends from this test is found by it, also
# orphans, whose /proc entries only root may read.
if [ "$(ps -o sid= -p $$ | tr -d ' ')" != $$ ]; then
	exec setsid --wait sh "$0" "$@"
fi

source_dir=${KSM_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
build=${KSM_BUILD:-$source_dir/build}
export KSMPOOL_LIBEXEC="${KSMPOOL_LIBEXEC:-$build}"

skip()
{
	echo "skipped: $*"
	exit 77
}

for tool in softhsm2-util sqlite3 jq pgrep setsid; do
	command -v $tool >/dev/null 2>&1 || skip "$tool is not installed"
done
module=
for f in /usr/lib/softhsm/libsofthsm2.so /usr/lib64/softhsm/libsofthsm2.so \
    /usr/lib/*/softhsm/libsofthsm2.so /usr/lib/pkcs11/libsofthsm2.so; do
	[ -z "$module" ] && [ -f "$f" ] && module=$f
done
[ -n "$module" ] || skip "no libsofthsm2.so"

dir=$(mktemp -d "${KSM_TEST_DIR:-${TMPDIR:-/tmp}}/ksmpool-test.XXXXXX") || exit 1
state=$dir/state
db=$state/ksmpool.db
sock=$dir/s
conf=$dir/ksmpool.xml
log=$dir/log
daemon=
label=lab
mkdir "$dir/tokens" "$state"
: >"$log"
printf 'directories.tokendir = %s/tokens\nobjectstore.backend = file\nlog.level = ERROR\n' \
    "$dir" >"$dir/softhsm2.conf"
export SOFTHSM2_CONF="$dir/softhsm2.conf"
export KSM_SYSTEM_TEST="$dir"

# Variables with an underscore are scratch of this file.

# ---- saying ------------------------------------------------------------

ok()
{
	echo "ok    $*"
}

fail()
{
	echo "FAIL  $*"
	echo "----- the daemon's last lines"
	tail -n 40 "$log"
	exit 1
}

# check TEXT COMMAND...: it must succeed.
check()
{
	_what=$1
	shift
	"$@" >"$dir/out" 2>&1 || {
		_status=$?
		tail -n 20 "$dir/out"
		fail "$_what ($* exited $_status)"
	}
	ok "$_what"
}

# exits N TEXT COMMAND...: it must exit with just that status.
exits()
{
	_want=$1
	_what=$2
	shift 2
	_status=0
	"$@" >"$dir/out" 2>&1 || _status=$?
	[ "$_status" -eq "$_want" ] || {
		tail -n 20 "$dir/out"
		fail "$_what ($* exited $_status, not $_want)"
	}
	ok "$_what"
}

# equal TEXT GOT WANT
equal()
{
	[ "$2" = "$3" ] || fail "$1: $2, not $3"
	ok "$1: $2"
}

# says TEXT PATTERN FILE: a line matches.
says()
{
	grep -qE -- "$2" "$3" || {
		tail -n 20 "$3"
		fail "$1 (nothing matches: $2)"
	}
	ok "$1"
}

# until_true SECONDS COMMAND...: poll until it succeeds.
until_true()
{
	_tries=$(($1 * 20))
	shift
	while ! "$@" >/dev/null 2>&1; do
		_tries=$((_tries - 1))
		[ "$_tries" -gt 0 ] || return 1
		sleep 0.05
	done
}

# A random whole number below N.
random_below()
{
	od -An -N4 -tu4 /dev/urandom | awk -v n="$1" '{ print $1 % n }'
}

millis()
{
	date +%s%3N
}

# ---- the token ---------------------------------------------------------

# token_make [LABEL]: a token with a random PIN in $dir/pin.
token_make()
{
	label=${1:-lab}
	[ -s "$dir/pin" ] ||
	    printf 'pin%s\n' "$(od -An -N12 -tx1 /dev/urandom | tr -d ' \n')" \
		>"$dir/pin"
	softhsm2-util --init-token --free --label "$label" --so-pin 12345678 \
	    --pin "$(cat "$dir/pin")" >/dev/null || fail "cannot make a token"
}

# Every object of the token, one a line; see token_dump.c.
token_dump()
{
	"$build/tests/token_dump" "$module" "$label" "$dir/pin"
}

# ---- the configuration -------------------------------------------------

# One policy: kasp_policy NAME KEYS-XML.
kasp_policy()
{
	cat <<-XML
	<Policy name="$1"><Description>test</Description>
	<Signatures><Resign>PT2H</Resign><Refresh>P3D</Refresh>
	<Validity><Default>P14D</Default><Denial>P14D</Denial></Validity>
	<Jitter>PT12H</Jitter><InceptionOffset>PT3600S</InceptionOffset>
	<MaxZoneTTL>P1D</MaxZoneTTL></Signatures>
	<Denial><NSEC/></Denial>
	<Keys><TTL>PT3600S</TTL><RetireSafety>PT3600S</RetireSafety>
	<PublishSafety>PT3600S</PublishSafety><Purge>P14D</Purge>
	$2
	</Keys>
	<Zone><PropagationDelay>PT43200S</PropagationDelay>
	<SOA><TTL>PT3600S</TTL><Minimum>PT3600S</Minimum><Serial>unixtime</Serial></SOA></Zone>
	<Parent><PropagationDelay>PT9999S</PropagationDelay><DS><TTL>PT3600S</TTL></DS>
	<SOA><TTL>PT172800S</TTL><Minimum>PT10800S</Minimum></SOA></Parent>
	</Policy>
	XML
}

# kasp_key ROLE ALGORITHM LENGTH LIFETIME
kasp_key()
{
	echo "<$1><Algorithm length=\"$3\">$2</Algorithm><Lifetime>$4</Lifetime><Repository>SoftHSM</Repository></$1>"
}

# kasp_write POLICY...: whole policies, as kasp_policy prints them.
kasp_write()
{
	{
		echo '<?xml version="1.0" encoding="UTF-8"?><KASP>'
		printf '%s\n' "$@"
		echo '</KASP>'
	} >"$dir/kasp.xml"
}

# The sample policy that Debian ships, unchanged.
kasp_sample()
{
	[ -f /usr/share/opendnssec/kasp.xml ] ||
	    skip "no /usr/share/opendnssec/kasp.xml"
	cp /usr/share/opendnssec/kasp.xml "$dir/kasp.xml"
}

# zones POLICY N [POLICY N...]: zones zone0.policy.example and so on.
zones()
{
	{
		echo '<?xml version="1.0" encoding="UTF-8"?><ZoneList>'
		while [ $# -gt 0 ]; do
			awk -v p="$1" -v n="$2" 'BEGIN {
				for (i = 0; i < n; i++)
					printf "<Zone name=\"zone%d.%s.example\"><Policy>%s</Policy></Zone>\n", i, p, p
			}'
			shift 2
		done
		echo '</ZoneList>'
	} >"$dir/zonelist.new"
	mv "$dir/zonelist.new" "$dir/zonelist.xml"
}

# conf_write [POOL-XML [REPOSITORY-XML]]: what stands in <Default> of the pools
# and further elements of the repository.
conf_write()
{
	cat >"$conf.new" <<-XML
	<?xml version="1.0" encoding="UTF-8"?>
	<Ksmpool>
	<Policy>
	<PolicyFile>$dir/kasp.xml</PolicyFile>
	<ZoneListFile>$dir/zonelist.xml</ZoneListFile>
	${policy_xml:-}
	</Policy>
	<RepositoryList>
	<Repository name="SoftHSM">
	<Module>$module</Module>
	<TokenLabel>$label</TokenLabel>
	${pin_xml:-<PINFile>$dir/pin</PINFile>}
	${2:-}
	</Repository>
	</RepositoryList>
	<Pools><Default>${1:-}</Default>${pools_xml:-}</Pools>
	<Daemon>
	<StateDirectory>$state</StateDirectory>
	<Socket><Path>$sock</Path></Socket>
	<User>$(id -un)</User>
	<LogLevel>debug</LogLevel>
	${daemon_xml:-}
	</Daemon>
	</Ksmpool>
	XML
	mv "$conf.new" "$conf"
}

# ---- the daemon --------------------------------------------------------

ctl()
{
	"$build/ksmctl" --socket "$sock" "$@"
}

answers()
{
	_status=0
	ctl --timeout PT5S status >/dev/null 2>&1 || _status=$?
	[ "$_status" -le 1 ]
}

# Start it and do not wait.
daemon_launch()
{
	echo "----- start" >>"$log"
	"$build/ksmpoold" --config "$conf" >>"$log" 2>&1 &
	daemon=$!
}

daemon_start()
{
	daemon_launch
	_tries=600
	until answers; do
		kill -0 "$daemon" 2>/dev/null || fail "the daemon does not start"
		_tries=$((_tries - 1))
		[ "$_tries" -gt 0 ] || fail "the daemon does not answer"
		sleep 0.05
	done
}

# SIGTERM; it must leave with status 0.
daemon_stop()
{
	[ -n "$daemon" ] || return 0
	kill -TERM "$daemon" 2>/dev/null
	_status=0
	wait "$daemon" || _status=$?
	daemon=
	[ "$_status" -eq 0 ] || fail "the daemon stopped with status $_status"
}

daemon_kill9()
{
	kill -KILL "$daemon" 2>/dev/null
	wait "$daemon" 2>/dev/null
	daemon=
}

# From here on workers begin only while there is no file $dir/hold. Before
# daemon_start.
workers_gate()
{
	mkdir "$dir/libexec"
	for _f in "$KSMPOOL_LIBEXEC"/ksmpool-*; do
		[ ! -f "$_f" ] || ln -s "$_f" "$dir/libexec/"
	done
	rm "$dir/libexec/ksmpool-hsm"
	cat >"$dir/libexec/ksmpool-hsm" <<-SH
	#!/bin/sh
	while [ -e "$dir/hold" ]; do
		sleep 0.05
	done
	exec "$KSMPOOL_LIBEXEC/ksmpool-hsm" "\$@"
	SH
	chmod +x "$dir/libexec/ksmpool-hsm"
	export KSMPOOL_LIBEXEC="$dir/libexec"
}

# Workers of this test, also those whose daemon is gone.
workers()
{
	pgrep -s $$ -x ksmpool-hsm
}

no_workers()
{
	[ -z "$(workers)" ]
}

sql()
{
	sqlite3 -readonly -cmd '.timeout 5000' "$db" "$@"
}

# How many keys are in one of these states: count ready made
count()
{
	_list=
	for _s in "$@"; do
		_list="$_list${_list:+,}'$_s'"
	done
	sql "SELECT count(*) FROM keys WHERE state IN ($_list)"
}

# required: the sum over all pools, as the plan says.
required()
{
	ctl --json plan | jq '[.pools[].required] | add'
}

# Hold the token against the database, both as they lie on disk; every
# difference is a line, and the last line is a summary.
compare()
{
	token_dump >"$dir/objects" || return 1
	sqlite3 -readonly -separator ' ' "$db" 'SELECT id, state FROM keys' \
	    >"$dir/rows" || return 1
	awk '
	BEGIN {
		split("made ready surplus quarantined taking taken retired", l)
		for (i in l)
			living[l[i]] = 1
	}
	FILENAME == ARGV[1] { state[$1] = $2; next }
	$2 == "-" { nameless++; next }
	length($2) != 32 { foreign++; next }
	{
		if (!($2 in state))
			print "object without a row: " $0
		else if (!(state[$2] in living))
			print "object of a key that is " state[$2] ": " $0
		if ($3 != $2)
			print "label is not the id: " $0
		if ($1 == "private") {
			private[$2]++
			sound[$2] += $4 == "signs"
			if ($4 != "signs" && state[$2] == "ready")
				print "ready key cannot sign: " $0
		} else if ($1 == "public") {
			public[$2]++
			sound[$2] += $4 == "value"
			if ($4 != "value" && state[$2] == "ready")
				print "ready key without public value: " $0
		} else
			print "neither half: " $0
	}
	END {
		for (id in state) {
			if (state[id] == "intended" || state[id] == "unknown")
				print "not settled: " id " is " state[id]
			if (!(state[id] in living)) {
				n[state[id]]++
				continue
			}
			keys++
			if (state[id] == "quarantined" && sound[id] == 2)
				print "a sound key is quarantined: " id
			if (private[id] != 1 || public[id] != 1)
				printf "not a whole pair: %s is %s, %d private, %d public\n",
				    id, state[id], private[id], public[id]
		}
		printf "= %d keys, %d gone, %d nameless objects, %d foreign\n",
		    keys, n["gone"], nameless, foreign
	}' "$dir/rows" "$dir/objects" >"$dir/compared"
	! grep -v '^=' "$dir/compared"
}

cleanup()
{
	status=$?
	trap - EXIT INT TERM
	[ -z "$daemon" ] || kill -KILL "$daemon" 2>/dev/null
	for p in $(workers); do
		kill -KILL "$p" 2>/dev/null
	done
	if [ -n "${KSM_KEEP:-}" ]; then
		echo "kept: $dir"
	else
		rm -rf "$dir"
	fi
	exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
