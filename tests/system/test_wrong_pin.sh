#!/bin/sh
# A token may lock at the third wrong PIN: one try, then the repository is
# parked, also over a restart, until the PIN changes or an operator speaks.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

token_make
kasp_sample
zones default 1
cp "$dir/pin" "$dir/right"
echo wrong-0123456789 >"$dir/pin"

parked()
{
	ctl --json status | jq -e '.repositories[0].status == "parked"'
}

# OpenSC's spy sits between and writes every call down.
for f in /usr/lib/*/pkcs11-spy.so /usr/lib/*/pkcs11/pkcs11-spy.so \
    /usr/lib64/pkcs11-spy.so; do
	[ -f "$f" ] && spy=$f
done
[ -n "${spy:-}" ] || skip "no pkcs11-spy.so"
export PKCS11SPY="$module" PKCS11SPY_OUTPUT="$dir/spied"
: >"$dir/spied"
module=$spy
conf_write

logins()
{
	grep -c ': C_Login' "$dir/spied"
}

daemon_start
until_true 20 parked || fail "not parked"
ok "one wrong PIN parks the repository"
exits 1 "status asks for attention" ctl status
exits 1 "topup --wait does not hang" ctl --timeout PT20S topup --wait
equal "logins tried" "$(logins)" 1

i=0
while [ $i -lt 3 ]; do
	daemon_stop
	daemon_start
	until_true 20 parked || fail "not parked after a restart"
	ctl topup >/dev/null 2>&1
	sleep 0.3
	i=$((i + 1))
done
ok "still parked after three restarts"
exits 1 "--once does not try either" \
    sh -c "kill -TERM $daemon; sleep 1; '$build/ksmpoold' --config '$conf' --once"
wait "$daemon" 2>/dev/null
daemon=
equal "logins tried after all that" "$(logins)" 1
daemon_start
until_true 20 parked || fail "not parked"

grep -q 'wrong-0123456789' "$log" && fail "the wrong PIN is in the log"
ok "the wrong PIN is not in the log"

# The right PIN, and an operator who says so.
cp "$dir/right" "$dir/pin"
ctl repository resume SoftHSM >/dev/null 2>&1
check "resumed with the right PIN it fills" ctl --timeout PT60S topup --wait
exits 2 "resume of an unknown repository is refused" \
    ctl repository resume nowhere

# A PIN source that changes is reason enough to try again.
daemon_stop
echo wrong-9876543210 >"$dir/pin"
zones default 2
daemon_start
until_true 20 parked || fail "not parked by the second wrong PIN"
cp "$dir/right" "$dir/pin.new"
mv "$dir/pin.new" "$dir/pin"
until_true 90 sh -c "'$build/ksmctl' --socket '$sock' --json status | jq -e '.repositories[0].status == \"ok\"'" ||
    fail "a changed PIN file does not lift the parking"
ok "a changed PIN file lifts the parking"
daemon_stop
