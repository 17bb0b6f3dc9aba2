#!/bin/sh
# A token that is not there is waited for; the daemon is up meanwhile and
# needs no restart when it comes.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

kasp_sample
zones default 1
echo pin0123456789 >"$dir/pin"
conf_write

degraded()
{
	ctl --json status | jq -e '.repositories[0].status == "degraded"'
}
well()
{
	ctl --json status | jq -e '.repositories[0].status == "ok"'
}

daemon_start
until_true 20 degraded || fail "not degraded without a token"
ok "up and degraded without a token"
ctl status >"$dir/out" 2>&1
says "status names the token that is missing" 'lab' "$dir/out"
exits 1 "topup --wait does not hang" ctl --timeout PT30S topup --wait

token_make
# As an operator would, instead of waiting for the next try.
ctl repository resume SoftHSM >/dev/null
until_true 60 well || fail "the token came and was not noticed"
check "filled without a restart" ctl --timeout PT60S topup --wait
equal "keys ready" "$(count ready)" "$(required)"

# Lost in the middle: the directory goes away and comes back.
mv "$dir/tokens" "$dir/away"
mkdir "$dir/tokens"
zones default 3
ctl reload >/dev/null
exits 1 "topup without the token does not hang" \
    ctl --timeout PT60S topup --wait
equal "keys called missing" "$(count missing)" 0
rmdir "$dir/tokens"
mv "$dir/away" "$dir/tokens"
ctl repository resume SoftHSM >/dev/null
check "filled when the token is back" ctl --timeout PT90S topup --wait
equal "keys ready" "$(count ready)" "$(required)"
daemon_stop
check "token and database agree" compare
