#!/bin/sh
# Daemon, worker or both are killed while keys are destroyed: what was begun is
# finished, what was not begun is as it was, token and database agree, and the
# history is whole. KSM_KILLS rounds; 12 by default.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

rounds=${KSM_KILLS:-12}
token_make
kasp_write "$(kasp_policy default "$(kasp_key ZSK 13 256 P90D)")"
zones default 1
# Low water so low that no refill begins by itself while they are compared.
conf_write '<Strategy>fixed</Strategy><Fixed>24</Fixed><LowWater>50</LowWater>'
sed -i 's/>debug</>info</' "$conf"
daemon_start

# Nothing is under way and the token was looked at.
at_rest()
{
	[ "$(sql "SELECT count(*) FROM keys WHERE state IN
	    ('intended', 'unknown', 'made', 'destroying')")" -eq 0 ] &&
	    [ "$(ctl --json status | jq '[.repositories[] |
	    select(.status == "ok" and .busy == 0)] | length')" -eq 1 ]
}

kill_some()
{
	case $1 in
	0) daemon_kill9 ;;
	1) pkill -KILL -s $$ -x ksmpool-hsm ;;
	2)
		daemon_kill9
		pkill -KILL -s $$ -x ksmpool-hsm
		;;
	esac
}

i=0 begun=0
while [ "$i" -lt "$rounds" ]; do
	ctl --timeout PT1M topup --wait --quiet || fail "round $i: topup"
	until_true 30 at_rest || fail "round $i: no rest before"
	ids=$(ctl --json key list --state ready | jq -r '.keys[0:8][].id')
	before=$(sql "SELECT count(*) FROM keys WHERE state = 'destroyed'")
	# shellcheck disable=SC2086
	ctl key destroy $ids --yes --reason "round $i" >/dev/null 2>&1 &
	asked=$!
	sleep "0.$(printf '%03d' "$(random_below 120)")"
	kill_some $((i % 3))
	wait "$asked"
	[ -n "$daemon" ] || daemon_start
	until_true 60 at_rest || fail "round $i: no rest after"
	gone=$(($(sql "SELECT count(*) FROM keys WHERE state = 'destroyed'") - before))
	[ "$gone" -le 8 ] || fail "round $i: $gone keys were destroyed, 8 named"
	[ "$gone" -eq 0 ] || begun=$((begun + 1))
	compare >/dev/null || {
		cat "$dir/compared"
		fail "round $i: token and database differ"
	}
	for id in $ids; do
		state=$(sql "SELECT state FROM keys WHERE id = '$id'")
		case $state in
		ready | destroyed) ;;
		*) fail "round $i: key $id is $state" ;;
		esac
	done
	i=$((i + 1))
done
ok "$rounds kills, in $begun of them something had been destroyed"
check "the history is whole" ctl history verify
check "so is the database" ctl database check
equal "each destroyed key is in the history once" \
    "$(ctl --json history --what "key destroyed" | jq '.events | length')" \
    "$(sql "SELECT count(*) FROM keys WHERE state = 'destroyed'")"
daemon_stop
