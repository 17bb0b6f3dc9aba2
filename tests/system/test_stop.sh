#!/bin/sh
# SIGTERM ends within the time of one key and a second, and kills nothing.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

token_make
kasp_write "$(kasp_policy default "$(kasp_key KSK 8 2048 P1Y)")"
zones default 200
conf_write '' '<Sessions>2</Sessions>'
daemon_start
check "topup is under way" ctl topup
i=0
worst=0
while [ $i -lt 4 ]; do
	sleep "1.$(random_below 9)"
	begin=$(millis)
	daemon_stop
	took=$(($(millis) - begin))
	[ "$took" -le "$worst" ] || worst=$took
	no_workers || fail "workers outlive a clean stop"
	equal "keys left unsettled" "$(count intended unknown)" 0
	daemon_start
	ctl topup >/dev/null
	i=$((i + 1))
done
check "ksmctl stop is the same" ctl stop
wait "$daemon"
status=$?
daemon=
equal "exit status after ksmctl stop" "$status" 0
check "token and database agree" compare
sed 's/^= //' "$dir/compared"
slowest=$(sqlite3 "$db" 'SELECT max(took_ms) FROM key')
echo "slowest stop $worst ms, slowest key $slowest ms"
# Sanitizers and a busy machine are slow; a hang is what must not pass.
[ "$worst" -le $((slowest * 3 + 5000)) ] || fail "stopping took $worst ms"
ok "stopping never took longer than a key"
