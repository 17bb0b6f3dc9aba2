#!/bin/sh
# The crash matrix: kill -9 of the daemon, of a worker, of both, at any moment.
# Afterwards every object with an id of ours has a living row, every living row
# a whole pair, and the total is exact.
#
#   sh test_crash.sh [KILLS]     (or KSM_KILLS; 40)
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

kills=${1:-${KSM_KILLS:-40}}

token_make
# P-256 is fast and hits the windows between two keys; RSA-1024 those inside.
kasp_write "$(kasp_policy default \
    "$(kasp_key KSK 13 256 P1Y)$(kasp_key ZSK 8 1024 P90D)")"
zones default 1

# fixed KSK ZSK: so many keys each, from the next start or reload on.
fixed()
{
	ksk=$1
	zsk=$2
	pools_xml="<Pool role=\"KSK\"><Strategy>fixed</Strategy><Fixed>$1</Fixed></Pool><Pool role=\"ZSK\"><Strategy>fixed</Strategy><Fixed>$2</Fixed></Pool>"
	conf_write '<MaxPerRun>100000</MaxPerRun>' '<Sessions>2</Sessions>'
}

# living ROLE: keys there or on their way.
living()
{
	sqlite3 "$db" "SELECT count(*) FROM keys WHERE role = '$1' AND
	    state IN ('intended', 'unknown', 'made', 'ready', 'quarantined')" \
	    2>/dev/null || echo 0
}

settled()
{
	ctl --json status | jq -e '.repositories[0].status == "ok"'
}

# SoftHSM empties and rewrites token.object at each login (test_matrix.sh has
# more of it): a kill in between loses the token, and nobody but its backup
# brings it back. Orphans may be at it still, so it is looked at twice.
token_mend()
{
	for _i in 1 2; do
		find "$dir/tokens" -name token.object -size 0 | grep -q . ||
		    return 0
		sleep 0.3
	done
	for _i in "$dir"/tokens/*; do
		cp -p "$dir/token.object" "$_i/token.object"
	done
	torn=$((torn + 1))
}

asking()
{
	[ "$(sqlite3 "$db" "SELECT count(*) FROM key WHERE state = 'intended'")" -gt 0 ]
}

done=0 daemons=0 alone=0 both=0 asked=0 answered=0 between=0 p256=0 torn=0
cp -p "$dir"/tokens/*/token.object "$dir/token.object"
while [ "$done" -lt "$kills" ]; do
	# More than one round makes, in one of the pools.
	if [ $((done % 4)) -eq 3 ]; then
		fixed "$(living KSK)" $(($(living ZSK) + 20))
	else
		fixed $(($(living KSK) + 60)) "$(living ZSK)"
		p256=$((p256 + 1))
	fi
	daemon_launch
	# Every fifth into settling and the start of workers, the others into
	# the keys and what comes after them.
	if [ $((done % 5)) -ne 0 ]; then
		until_true 20 answers || fail "the daemon does not come up"
		ctl topup >/dev/null 2>&1
		until_true 5 asking
	fi
	sleep "0.$(printf %03d "$(random_below 500)")"
	victims=$(workers)
	case $((done % 3)) in
	0)
		daemon_kill9
		daemons=$((daemons + 1))
		;;
	1)
		# A worker: the daemon has to get over it by itself.
		for p in $victims; do
			kill -KILL "$p" 2>/dev/null && break
		done
		alone=$((alone + 1))
		sleep "0.$(printf %03d "$(random_below 300)")"
		daemon_kill9
		;;
	2)
		# shellcheck disable=SC2086
		kill -KILL "$daemon" $victims 2>/dev/null
		daemon_kill9
		both=$((both + 1))
		;;
	esac
	# What the kill met: a key that was asked for, an answer that no
	# group has verified, or neither.
	case $(sqlite3 "$db" "SELECT sum(state IN ('intended', 'unknown')) > 0,
	    sum(state = 'made') > 0 FROM key" 2>/dev/null) in
	'1|1')
		asked=$((asked + 1))
		answered=$((answered + 1))
		;;
	'1|'*) asked=$((asked + 1)) ;;
	*'|1') answered=$((answered + 1)) ;;
	*) between=$((between + 1)) ;;
	esac
	done=$((done + 1))
	token_mend
done
echo "$done kills: $daemons daemon, $alone worker, $both both;" \
    "$p256 with P-256; $asked met a key asked for, $answered keys not yet verified," \
    "$between neither; $torn tokens lost in a login"
[ "$asked" -ge $((kills / 4)) ] ||
    fail "the kills missed the keys: this test did not test"

ksk=$(living KSK)
zsk=$(living ZSK)
fixed $((ksk + 5)) $((zsk + 2))
daemon_start
# Orphans of the last kill have to end first.
until_true 120 settled || fail "the repository does not come to be ok"
check "topup after all that fills every pool" ctl --timeout PT3M topup --wait
equal "keys ready" "$(count ready)" $((ksk + zsk))
equal "keys missing" "$(count missing)" 0
# SoftHSM can leave a key with its id and without its value.
sql "SELECT id || ' ' || why FROM keys JOIN key ON id = lower(hex(cka_id))
    WHERE key.state = 'quarantined'" | sed 's/^/quarantined: /'
[ "$(count quarantined)" -le $((kills / 4)) ] ||
    fail "too many keys are quarantined"
equal "keys quarantined though they sign" "$(sql "SELECT count(*) FROM key
    WHERE state = 'quarantined' AND why NOT LIKE 'key did not sign: %'")" 0
exits 0 "status is all well" ctl status
daemon_stop
check "token and database agree" compare
sed 's/^= //' "$dir/compared"
equal "database is whole" "$(sql 'PRAGMA integrity_check')" ok
