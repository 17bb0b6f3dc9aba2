#!/bin/sh
# A token that was emptied or initialised again behind our back is alien, and
# no key is called missing for it. A few objects that are gone are missing.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

token_make
kasp_write "$(kasp_policy default "$(kasp_key KSK 13 256 P1Y)")"
zones default 10
conf_write

alien()
{
	ctl --json status | jq -e '.repositories[0].status == "alien"'
}

daemon_start
check "filled" ctl --timeout PT60S topup --wait
n=$(count ready)
daemon_stop

cp -a "$dir/tokens" "$dir/sound"
slot=$(softhsm2-util --show-slots | awk '/^Slot/ { s = $2 } /Label:.*lab/ { print s }')
softhsm2-util --init-token --slot "$slot" --label lab --so-pin 12345678 \
    --pin "$(cat "$dir/pin")" >/dev/null || fail "cannot initialise again"
daemon_start
until_true 20 alien || fail "an emptied token is not called alien"
ok "an emptied token is alien"
exits 1 "status asks for attention" ctl status
zones default 12
check "two more zones" ctl reload
exits 1 "topup for them makes nothing in it" \
    ctl --timeout PT20S topup --wait
equal "keys still on record as ready" "$(count ready)" "$n"
equal "keys called missing" "$(count missing)" 0
equal "objects in the token" "$(token_dump | wc -l)" 0
daemon_stop
daemon_start
until_true 20 alien || fail "not alien any more after a restart"
ok "alien over a restart"
daemon_stop

# The sound token is back.
rm -rf "$dir/tokens"
mv "$dir/sound" "$dir/tokens"
daemon_start
ctl repository resume SoftHSM >/dev/null
check "the right token is taken back" ctl --timeout PT60S topup --wait
n=$((n + 4))
equal "keys ready" "$(count ready)" "$n"

# An operator may say that the other token is the right one from now on.
daemon_stop
softhsm2-util --init-token --slot "$slot" --label lab --so-pin 12345678 \
    --pin "$(cat "$dir/pin")" >/dev/null || fail "cannot initialise again"
daemon_start
until_true 20 alien || fail "not alien"
ctl repository resume SoftHSM --accept-token >/dev/null ||
    fail "resume --accept-token is refused"
until_true 20 sh -c "[ \"\$(sqlite3 '$db' \"SELECT count(*) FROM keys WHERE state = 'missing'\")\" -eq $n ]" ||
    fail "with --accept-token the old keys are not missing"
ok "with --accept-token the old keys are missing"
check "and it is filled afresh" ctl --timeout PT60S topup --wait
equal "keys ready" "$(count ready)" "$n"
daemon_stop
check "token and database agree" compare
