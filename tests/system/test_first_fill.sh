#!/bin/sh
# From an unchanged OpenDNSSEC policy to keys in the token: as many as planned,
# to the key, and not one more however often it is asked.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

token_make
kasp_sample
zones default 3 lab 1
# The lab policy rolls its ZSK every four hours: P2D keeps the test short.
conf_write '<Horizon>P2D</Horizon>' '<Sessions>2</Sessions>'

daemon_start
want=$(required)
# default: 3 zones x (1 + 1) KSK and ZSK; lab: KSK (1 + 1), ZSK (12 + 1 + 1)
equal "planned in all" "$want" 28
check "topup --wait fills every pool" ctl topup --wait
equal "keys ready" "$(count ready)" "$want"
equal "keys in any other state" "$(($(sql 'SELECT count(*) FROM keys') - want))" 0
ctl --json status >"$dir/status" || fail "status is not all well"
equal "pools that are not full" \
    "$(jq '[.pools[] | select(.level != "full")] | length' "$dir/status")" 0

check "a second topup is content" ctl topup --wait
equal "keys after the second topup" "$(sql 'SELECT count(*) FROM keys')" "$want"

i=0
while [ $i -lt 5 ]; do
	daemon_stop
	daemon_start
	check "topup after restart $i" ctl topup --wait --quiet
	i=$((i + 1))
done
equal "keys after five restarts" "$(sql 'SELECT count(*) FROM keys')" "$want"

# "Which keys are in no backup?" asked with a moment before, and one after.
exits 1 "keys made since yesterday are listed" \
    ctl key list --created-after "$(date -u -d '1 day ago' +%Y-%m-%dT%H:%M:%SZ)"
equal "as many as were made" "$(ctl --json key list --created-after \
    "$(date -u -d '1 day ago' +%Y-%m-%dT%H:%M:%SZ)" | jq '.keys | length')" "$want"
sleep 1.1
exits 0 "no key is younger than now" \
    ctl key list --created-after "$(date -u +%Y-%m-%dT%H:%M:%SZ)"
daemon_stop

check "token and database agree" compare
sed 's/^= //' "$dir/compared"
if command -v pkcs11-tool >/dev/null 2>&1; then
	pkcs11-tool --module "$module" --token-label lab --login \
	    --pin "$(cat "$dir/pin")" --list-objects 2>/dev/null |
	    sed -n 's/^ *ID: *//p' | sort >"$dir/tool"
	sql 'SELECT id FROM keys' | sort >"$dir/ids"
	sort "$dir/ids" "$dir/ids" | cmp -s - "$dir/tool" ||
	    fail "pkcs11-tool sees other ids than the database has"
	ok "pkcs11-tool sees each id twice, and no other"
fi

# The same from cron, without a resident daemon.
exits 0 "ksmpoold --once has nothing to do" \
    "$build/ksmpoold" --config "$conf" --once
zones default 4 lab 1
exits 0 "ksmpoold --once makes what one more zone needs" \
    "$build/ksmpoold" --config "$conf" --once
equal "keys after one more zone" "$(count ready)" $((want + 4))
check "token and database agree after --once" compare
