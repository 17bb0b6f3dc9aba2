#!/bin/sh
# A daemon is killed while its workers are inside a long key, and started again
# at once: nothing may be called absent while an orphan may still make it.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

rounds=${1:-4}
token_make
kasp_write "$(kasp_policy default "$(kasp_key KSK 8 4096 P1Y)")"
zones default 1
total=0
i=0 orphans=0
while [ $i -lt "$rounds" ]; do
	total=$((total + 2))
	conf_write "<Strategy>fixed</Strategy><Fixed>$total</Fixed>" \
	    '<Sessions>2</Sessions>'
	daemon_start
	ctl topup >/dev/null
	until_true 20 sh -c "[ -n \"\$(sqlite3 '$db' \"SELECT 1 FROM key WHERE state = 'intended' LIMIT 1\")\" ]"
	sleep "0.$(random_below 9)"
	daemon_kill9
	[ -z "$(workers)" ] || orphans=$((orphans + 1))
	# At once; it has to wait for the orphans by itself.
	daemon_start
	check "filled after the daemon was killed" \
	    ctl --timeout PT3M topup --wait
	equal "keys ready" "$(count ready)" "$total"
	daemon_stop
	check "token and database agree" compare
	i=$((i + 1))
done
sed 's/^= //' "$dir/compared"
[ "$orphans" -gt 0 ] || fail "no worker outlived its daemon: nothing was tested"
ok "$orphans of $rounds daemons left workers behind"
