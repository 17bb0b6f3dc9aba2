#!/bin/sh
# Capacity: what does not fit is made in order of risk, never beyond it; a pool
# that fills takes what is left; a token's attributes reach its keys.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

token_make
kasp_write \
    "$(kasp_policy first "$(kasp_key ZSK 13 256 P90D)")" \
    "$(kasp_policy second "$(kasp_key ZSK 13 256 P90D)")"
zones first 10 second 3
attributes='<Attributes><Private><Add name="CKA_DERIVE">true</Add></Private>
	<Public><Add name="CKA_ENCRYPT">false</Add></Public></Attributes>'

stock()
{
	ctl --json plan >"$dir/plan" || fail "plan"
	jq --arg p "$1" '[.pools[] | select(.policy == $p).stock.ready // 0] |
	    add' "$dir/plan"
}

# They require 20 and 6, critical below 10 and 3: of 14, as much of each.
conf_write '' "<Capacity>14</Capacity>$attributes"
exits 0 "a small Capacity is a warning" \
    "$build/ksmpool-config" check --config "$conf"
says "with numbers" "Capacity is too small .*'14'.*26 key pairs, 12 more" \
    "$dir/out"
says "and what goes short" "second ZSK in SoftHSM: room for 4 of 6" "$dir/out"
daemon_start
ctl --timeout PT60S topup --wait >"$dir/out" 2>&1
equal "the first pool got its critical level" "$(stock first)" 10
equal "the second as much of low water as fits" "$(stock second)" 4
equal "and the token holds no more" "$(token_dump | grep -c private)" 14
if command -v pkcs11-tool >/dev/null 2>&1; then
	# pkcs11-tool has no way to read a PIN from a file; this one is a test's
	pkcs11-tool --module "$module" --token-label "$label" --login \
	    --pin "$(cat "$dir/pin")" -O >"$dir/out" 2>/dev/null ||
	    fail "pkcs11-tool"
	equal "private halves derive, as they were told" \
	    "$(grep -c 'Usage:.* sign.* derive' "$dir/out")" 14
	equal "and public ones do not" \
	    "$(grep -c 'Usage:.* verify.* derive' "$dir/out")" 0
fi

conf_write '<Strategy>fill</Strategy>' "$attributes"
exits 2 "fill without Capacity is refused at reload" ctl reload
says "by file and line" "$conf:[0-9]+.*fill" "$dir/out"
conf_write '<Strategy>fill</Strategy>' "<Capacity>40</Capacity>$attributes"
check "with one it is taken" ctl reload
check "and a topup fills the token" ctl --timeout PT60S topup --wait
equal "the first pool has its share" "$(stock first)" 31
equal "the second, too" "$(stock second)" 9
check "the token is full" [ "$(token_dump | grep -c private)" -eq 40 ]
ctl --timeout PT60S topup --wait >"$dir/out" 2>&1
equal "another topup adds nothing" "$(token_dump | grep -c private)" 40
daemon_stop
