#!/bin/sh
# The ledger of backups against a real token: what is frozen is covered, what
# is made in between is not, what is gone is named, and nothing is rewritten.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

token_make
kasp_write "$(kasp_policy default "$(kasp_key ZSK 13 256 P90D)")"
zones default 3
conf_write '<LowWater>1</LowWater>' '<RequireBackup/>'
daemon_start

uncovered()
{
	ctl --json backup check "$@" 2>/dev/null | jq '.keys | length'
}

covered_line()
{
	ctl status | grep -E '^backup '
}

ctl topup --wait >/dev/null || fail "topup"
all=$(count ready)
equal "keys" "$all" 6
exits 1 "without a backup every key is named" ctl backup check
equal "all of them" "$(uncovered)" "$all"
says "and how old it is" "^[0-9a-f]{32}  ready .* s  +default/ZSK/SoftHSM" \
    "$dir/out"
says "with a sum for each pool" "^default/ZSK/SoftHSM/.*: 6 keys are in no backup" \
    "$dir/out"
covered_line | grep -q "no backup on record: 6 keys uncovered" ||
    fail "status: $(covered_line)"
ok "status says so"

# ---- RequireBackup: the level is that of covered keys -------------------

level()
{
	ctl --json status | jq -r '.pools[0] | "\(.level) \(.ready) \(.usable)"'
}

equal "level, ready and usable keys" "$(level)" "empty 6 0"
exits 1 "status asks for a look" ctl --quiet status
says "and says why" "is empty: 6 ready, of which 6 are in no backup" "$dir/out"
exits 2 "so does the plug-in" ctl monitor
says "and says why" "CRITICAL - pool .* 6 are in no backup.*no backup on record.*'backup/SoftHSM/uncovered'=6" \
    "$dir/out"
check "explain" ctl explain
says "says what makes them usable" "6 more are ready and in no backup" "$dir/out"

# ---- begin, keys in between, commit ------------------------------------

check "begin" ctl backup begin --label monday --note "weekly tape"
says "and says what was done" "monday: 6 keys are frozen.*backup show monday" \
    "$dir/out"
says "and what to do next" "then: ksmctl backup commit monday$" "$dir/out"
exits 64 "no label has blanks" ctl backup begin --label 'a b'
exits 2 "a second one is refused" ctl backup begin
says "and the open one is named" "monday" "$dir/out"
zones default 5
ctl reload >/dev/null || fail "reload"
ctl topup --wait >/dev/null || fail "topup"
between=$(($(count ready) - all))
equal "keys made in between" "$between" 4
exits 2 "another label is not it" ctl backup commit tuesday
check "commit" ctl backup commit monday
says "covers the set" "monday: 6 keys are covered" "$dir/out"
equal "keys made in between are not covered" "$(uncovered)" "$between"
exits 2 "what is committed is history" ctl backup commit monday
exits 2 "and cannot be rolled back" ctl backup rollback monday
covered_line | grep -q "last begun .*(monday), 4 keys uncovered.*" ||
    fail "status: $(covered_line)"
equal "level, ready and usable keys" "$(level)" "ok 10 6"
equal "its keys are listed" \
    "$(ctl --json backup show monday | jq '[.keys[] | select(.covered)] | length')" 6

# ---- gone in between ---------------------------------------------------

check "begin another" ctl backup begin --label wednesday
victim=$(ctl --json key list --state ready | jq -r '.keys[0].id')
lost=$(ctl --json key list --state ready | jq -r '.keys[1].id')
check "one is destroyed on purpose" \
    ctl key destroy "$victim" --yes --reason "between begin and commit"
pkcs11-tool --module "$module" --token-label "$label" --login \
    --pin "$(cat "$dir/pin")" --delete-object --type privkey --id "$lost" \
    >/dev/null 2>&1 || skip "pkcs11-tool cannot delete"
pkcs11-tool --module "$module" --token-label "$label" --login \
    --pin "$(cat "$dir/pin")" --delete-object --type pubkey --id "$lost" \
    >/dev/null 2>&1
exits 2 "a key that is not in the token refuses it" ctl backup commit wednesday
says "and is named" "$lost.*(not in|missing)" "$dir/out"
equal "nothing was marked" "$(uncovered)" "$between"
check "it can be excepted" ctl backup commit wednesday --except "$lost"
says "the destroyed one is named and left out" "$victim.*destroyed" "$dir/out"
says "the rest is covered" "wednesday: 8 keys are covered" "$dir/out"
equal "keys in no backup" "$(uncovered)" 0

# ---- recorded afterwards -----------------------------------------------

sleep 1.1
zones default 6
ctl reload >/dev/null || fail "reload"
ctl topup --wait >/dev/null || fail "topup"
new=$(uncovered)
[ "$new" -gt 0 ] || fail "no new key"
exits 2 "a backup in the future is refused" \
    ctl backup record --started "$(date -u -d '1 hour' +%Y-%m-%dT%H:%M:%SZ)"
exits 2 "one before the previous is refused" \
    ctl backup record --started "$(date -u -d '1 hour ago' +%Y-%m-%dT%H:%M:%SZ)"
sleep 1.1
check "one that has just run" ctl backup record --medium "safe 2" \
    --started "$(date -u +%Y-%m-%dT%H:%M:%SZ)"
exits 0 "covers what was made before it" ctl backup check
exits 1 "but not as of an hour ago" \
    ctl backup check --at "$(date -u -d '1 hour ago' +%Y-%m-%dT%H:%M:%SZ)"
equal "backups on record" "$(ctl --json backup list | jq '.backups | length')" 3
covered_line | grep -qE "backed-up keys last until 2.*Z, default/ZSK/SoftHSM/.* runs out first; next backup needed before 2" ||
    fail "$(covered_line)"
ok "status says until when they last"
equal "level, ready and usable keys" "$(level)" "full 12 12"
exits 1 "the plug-in knows but of the key that was lost" ctl monitor
says "and tells of the backups" "key is missing from the token; 0 keys in no backup, last backup begun.*backed-up keys last until" \
    "$dir/out"
daemon_stop
daemon_start
exits 0 "a restart changes nothing" ctl backup check
check "the database is sound" ctl database check
check "so is the history" ctl history verify
check "the metrics tell of it" sh -c \
    "'$build/ksmctl' --socket '$sock' metrics |
    grep -q '^ksmpool_keys_since_backup{repository=\"SoftHSM\"} 0'"
daemon_stop
