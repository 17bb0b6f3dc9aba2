#!/bin/sh
# Cron's one line, as it stands in conf/ksmpool.cron, fills the pools whether
# the daemon runs or not, is silent when all is well, and makes nothing twice.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

line=$(sed -n 's,^17 .* ksmpool .* /usr/bin/ksmctl \(topup .*\)$,\1,p' \
    "$source_dir/conf/ksmpool.cron")
equal "the line" "$line" "topup --wait --quiet --or-once"

# cron NAME: its output in NAME, its status in NAME.status
cron()
{
	_status=0
	# shellcheck disable=SC2086
	ctl $line --config "$conf" >"$dir/$1" 2>&1 </dev/null || _status=$?
	echo "$_status" >"$dir/$1.status"
}

silent()
{
	equal "$1: status" "$(cat "$dir/$1.status")" 0
	[ ! -s "$dir/$1" ] || fail "$1 said: $(cat "$dir/$1")"
	ok "$1: silent"
}

token_make
kasp_write "$(kasp_policy default \
    "$(kasp_key ZSK 13 256 P90D)$(kasp_key KSK 13 256 P1Y)")"
zones default 5
conf_write
sed -i 's,<LogLevel>debug,<LogLevel>notice,' "$conf"

cron down
silent down
want=$(sql 'SELECT count(*) FROM keys')
[ "$want" -gt 0 ] || fail "nothing was made"
equal "every key is ready" "$(count ready)" "$want"
cron down_again
silent down_again
equal "a second run makes nothing" "$(sql 'SELECT count(*) FROM keys')" "$want"

zones default 40
cron one &
one=$!
cron two &
two=$!
wait "$one" "$two"
full=$(count ready)
[ "$full" -gt "$want" ] || fail "no key was made for the new zones"
check "token and database agree" compare
quiet=0
for run in one two; do
	case $(cat "$dir/$run.status") in
	0) silent $run && quiet=$((quiet + 1)) ;;
	*)
		equal "$run says one line" "$(wc -l <"$dir/$run")" 1
		says "$run says who holds the lock" 'pid|process' "$dir/$run"
		;;
	esac
done
[ "$quiet" -ge 1 ] || fail "neither of two runs came through"
cron after
silent after
equal "two at once made no key twice" "$(count ready)" "$full"

daemon_start
cron up
silent up
equal "with a daemon, nothing more" "$(count ready)" "$full"
zones default 60
ctl reload >/dev/null || fail "reload"
cron three &
one=$!
cron four &
two=$!
wait "$one" "$two"
silent three
silent four
equal "two at once with a daemon make what is required" "$(count ready)" \
    "$(required)"
check "token and database agree" compare

# Both: a run without a daemon that a daemon's lock is in the way of.
_status=0
"$build/ksmctl" --socket "$dir/none" topup --wait --quiet --or-once \
    --config "$conf" >"$dir/both" 2>&1 || _status=$?
[ "$_status" -ne 0 ] || fail "--once ran beside a daemon"
equal "in one line" "$(wc -l <"$dir/both")" 1
says "who holds the lock is said" "$daemon" "$dir/both"

zones default 1000
conf_write '<MaxPerRun>1</MaxPerRun>'
ctl reload >/dev/null || fail "reload"
cron held
equal "what is not full is a status" "$(cat "$dir/held.status")" 1
equal "and one line" "$(wc -l <"$dir/held")" 1
says "that says why" 'held back' "$dir/held"
daemon_stop

cron held_down
[ "$(cat "$dir/held_down.status")" -ne 0 ] || fail "not full, yet status 0"
[ -s "$dir/held_down" ] || fail "not full, and nothing is said"
exits 64 "options that --once has not are refused" ctl topup --or-once --max 3
exits 64 "a configuration is for --or-once" ctl topup --config "$conf"
