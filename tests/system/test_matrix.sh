#!/bin/sh
# The crash matrix, point by point: kill -9 of the daemon, of the worker, of
# both, before and after each write, send, receive and commit of either
# program, wherever a whole top-up makes one (kill_at.c). Each time: start
# again at once, top up, stop, and the token and the database agree.
#
#   sh test_matrix.sh              a sample over every kind of call
#   KSM_MATRIX=full sh ...         all; KSM_MATRIX_PART=2/4 is a share of it
#   sh test_matrix.sh POINT...     these, as a run printed them:
#                                  SCENE:PROGRAM:KIND:N:WHEN:VICTIM
# One loss is SoftHSM's own: it empties and rewrites token.object at each login,
# and who is killed in between leaves no token, whatever was in it. Then the
# daemon has to say so, to call no key missing, and to go on by itself once the
# file is back.
#
# SCENE is fresh (nothing there yet, one session) or refill (keys in stock,
# two sessions).
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

preload=$build/tests/kill_at.so
[ -f "$preload" ] || skip "$preload is not built"
# AddressSanitizer wants to be first among the libraries, and need not be.
ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}verify_asan_link_order=0"
export ASAN_OPTIONS

kinds="write flush trunc sync create mkdir rename unlink send recv"

# P-256 hits the windows between two keys, RSA-1024 those inside of one.
kasp_write "$(kasp_policy default \
    "$(kasp_key KSK 13 256 P1Y)$(kasp_key ZSK 8 1024 P90D)")"
zones default 1
token_make
mkdir "$dir/fresh" "$dir/refill"

# fixed N SESSIONS: so many keys in each of the two pools.
fixed()
{
	conf_write "<Strategy>fixed</Strategy><Fixed>$1</Fixed>" \
	    "<Sessions>$2</Sessions>"
}

cp -a "$dir/tokens" "$state" "$dir/fresh/"
fixed 1 1
daemon_start
ctl topup --wait --quiet || fail "the stock of the refill cannot be made"
daemon_stop
cp -a "$dir/tokens" "$state" "$dir/refill/"

# lay SCENE: token, database and configuration as they are before the top-up.
lay()
{
	rm -rf "$dir/tokens" "$state" "$dir/at" "$sock"
	cp -a "$dir/$1/tokens" "$dir/$1/state" "$dir/"
	mkdir "$dir/at"
	: >"$log"
	case $1 in
	fresh) fixed 2 1 ;;
	refill) fixed 3 2 ;;
	esac
}

daemon_launch_preloaded()
{
	echo "----- start, kill at ${1:-nothing}" >>"$log"
	env LD_PRELOAD="$preload" KILL_AT_DIR="$dir/at" ${1:+KILL_AT="$1"} \
	    "$build/ksmpoold" --config "$conf" >>"$log" 2>&1 &
	daemon=$!
}

daemon_lives()
{
	kill -0 "$daemon" 2>/dev/null
}

# Was the kill inside a login? Seen twice: a login is over in no time.
token_torn()
{
	[ -f "$dir/at/fired" ] || return 1
	for _i in 1 2; do
		find "$dir/tokens" -name token.object -size 0 | grep -q . ||
		    return 1
		sleep 0.02
	done
}

# The token is back from a backup, after the daemon has seen that it is gone.
token_mend()
{
	grep -q 'no token matches' "$log" || return 0
	[ "$(count missing)" = 0 ] || fault "keys of a lost token are missing"
	(cd "$dir/$scene/tokens" && cp -p ./*/token.object "$dir/token.object")
	for _i in "$dir"/tokens/*; do
		cp -p "$dir/token.object" "$_i/token.object"
	done
	torn=$((torn + 1))
}

# Top up by the operator's command, until it is done or the daemon dead. The
# end is looked for more often than `topup --wait` does.
topup_or_death()
{
	_until=$(($(date +%s) + 60))
	while daemon_lives; do
		[ "$(date +%s)" -lt "$_until" ] || return 1
		ctl --timeout PT10S topup >"$dir/out" 2>&1 && break
		sleep 0.01
	done
	while daemon_lives; do
		[ "$(date +%s)" -lt "$_until" ] || return 1
		[ "$(sql "SELECT ended > 0 FROM run WHERE cause = 'topup'
		    ORDER BY row DESC LIMIT 1" 2>/dev/null)" = 1 ] && return 0
		if token_torn; then
			token_mend
		fi
		sleep 0.02
	done
	return 2
}

# fault TEXT: this round is not as it should be.
fault()
{
	echo "$*" >>"$dir/faults"
}

same()
{
	[ "$2" = "$3" ] || fault "$1: $2, not $3"
}

# SIGTERM; the status in $ended.
stop()
{
	kill -TERM "$daemon" 2>/dev/null
	ended=0
	wait "$daemon" 2>/dev/null || ended=$?
	daemon=
}

# all_well KEYS: what must hold after every round, with a daemon running; it
# is stopped on the way.
all_well()
{
	topup_or_death || {
		fault "topup: $(tail -n 1 "$dir/out")"
		return
	}
	same "keys ready" "$(count ready)" "$1"
	same "keys neither ready nor history" \
	    "$(count intended unknown made missing destroying surplus)" 0
	_bad=$(sql "SELECT why FROM key WHERE state = 'quarantined'
	    AND why NOT LIKE 'key did not sign: %'")
	[ -z "$_bad" ] || fault "quarantined: $_bad"
	_rows=$(sql "SELECT count(*) FROM key")
	topup_or_death || fault "second topup: $(tail -n 1 "$dir/out")"
	same "rows after a second topup" \
	    "$(sql "SELECT count(*) FROM key")" "$_rows"
	stop
	same "status of the stop" "$ended" 0
	same "PRAGMA integrity_check" "$(sql 'PRAGMA integrity_check')" ok
	compare >>"$dir/faults" 2>&1 || fault "token and database differ"
}

# round POINT: one kill and what follows from it.
round()
{
	scene=${1%%:*}
	point=${1#*:}
	: >"$dir/faults"
	lay "$scene"
	case $scene in
	fresh) keys=4 ;;
	refill) keys=6 ;;
	esac
	daemon_launch_preloaded "$point"
	# Who lost a worker gets over it alone.
	if topup_or_death; then
		same "keys ready without a restart" "$(count ready)" "$keys"
	elif daemon_lives; then
		fault "topup: $(tail -n 1 "$dir/out")"
	fi
	stop
	if [ ! -f "$dir/at/fired" ]; then
		unreached=$((unreached + 1))
		same "status of an undisturbed stop" "$ended" 0
	elif [ -f "$dir/at/missed" ]; then
		alone=$((alone + 1))
	fi
	case $ended in
	0) ;;
	137) deaths=$((deaths + 1)) ;;
	*) fault "the daemon ended with status $ended" ;;
	esac
	# At once: workers of a dead daemon may still be at their keys.
	daemon_launch
	all_well "$keys"
	[ -z "$daemon" ] || daemon_kill9
	quarantined=$((quarantined + $(sql "SELECT count(*) FROM key
	    WHERE state = 'quarantined'")))
	until_true 60 no_workers || fault "a worker does not end"
	rounds=$((rounds + 1))
	[ -s "$dir/faults" ] || return 0
	failures=$((failures + 1))
	echo "FAIL  $1"
	sed 's/^/      /' "$dir/faults"
	if [ -n "${KSM_KEEP:-}" ]; then
		mkdir "$dir/failed.$failures"
		cp -a "$log" "$dir/faults" "$state" "$dir/tokens" \
		    "$dir/failed.$failures/"
	else
		echo "----- the daemon's last lines"
		tail -n 60 "$log"
	fi
}

# census SCENE: how many calls of each kind an undisturbed run makes.
census()
{
	lay "$1"
	daemon_launch_preloaded
	topup_or_death || fail "an undisturbed run does not fill the pools"
	daemon_stop
	for program in ksmpoold ksmpool-hsm; do
		for kind in $kinds; do
			[ -f "$dir/at/$program.$kind" ] || continue
			echo "$1 $program $kind $(wc -c <"$dir/at/$program.$kind")"
		done
	done
}

# points full|sample SEED: what to do with the census.
#
# Full is every call, before and after, with each victim, but for what tells
# nothing new. Between two writes to the token a worker does nothing that can
# be seen, so "before" is "after" of the one ahead of it; the daemon only waits
# meanwhile, so to kill it alone there is done at one write in four. Of the
# second scene one point in four is taken.
#
# A sample takes of each kind of call of each program a few, spread over the
# run, at random within their stretch; when and victim take turns.
points()
{
	awk -v full="$([ "$1" = full ] && echo 1)" -v seed="$2" '
	BEGIN {
		srand(seed)
		split("before after", when)
		split("daemon worker both", victim)
	}
	function wants(at, w, v) {
		if (!full)
			return turn % 2 == w - 1 && turn % 3 == v - 1
		if ($1 == "refill" && ++refill % 4 != 0)
			return 0
		if ($2 != "ksmpool-hsm" || ($3 != "trunc" && $3 != "flush"))
			return 1
		return w == 2 && (v != 1 || at % 4 == 0)
	}
	{
		n = $4
		take = full ? n : 1 + int(log(n) * 0.8)
		for (i = 0; i < take; i++) {
			at = full ? i + 1 : 1 + int((i + rand()) * n / take)
			for (w = 1; w <= 2; w++)
				for (v = 1; v <= 3; v++)
					if (wants(at, w, v))
						print $1 ":" $2 ":" $3 ":" at \
						    ":" when[w] ":" victim[v]
			turn++
		}
	}' "$dir/census"
}

{
	census fresh
	census refill
} >"$dir/census" || fail "no census"
echo "calls of an undisturbed top-up:"
awk '{ printf "  %-7s %-12s %-7s %d\n", $1, $2, $3, $4 }' "$dir/census"

seed=${KSM_SEED:-$(random_below 1000000)}
if [ $# -gt 0 ]; then
	printf '%s\n' "$@" >"$dir/points"
elif [ "${KSM_MATRIX:-}" = full ]; then
	points full 0 | awk -v part="${KSM_MATRIX_PART:-1/1}" '
	    BEGIN { split(part, p, "/") } NR % p[2] == p[1] % p[2]' \
	    >"$dir/points"
else
	points sample "$seed" >"$dir/points"
	echo "sample with KSM_SEED=$seed:"
	sed 's/^/  /' "$dir/points"
fi

rounds=0 deaths=0 torn=0 unreached=0 alone=0 quarantined=0 failures=0
began=$(millis)
while read -r line; do
	round "$line" </dev/null
done <"$dir/points"
echo "$rounds rounds in $((($(millis) - began) / 1000)) s: $deaths daemons" \
    "killed, $torn tokens lost in a login, $quarantined torn keys in quarantine; the call did not come in" \
    "$unreached, its other victim was not there in $alone"
[ "$rounds" -gt 0 ] || fail "no points"
[ "$unreached" -le $((rounds / 5)) ] ||
    fail "too many points were not reached: this test did not test"
[ "$failures" -eq 0 ] || fail "$failures of $rounds rounds"
ok "token and database agree after every round"
