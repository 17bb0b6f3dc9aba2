#!/bin/sh
# The rules of hand-out hold for keys that are not drawn from a pool, too: for
# one that zones share and for one that is in use already. And a kill beside a
# refill locks nothing.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

pool='<Strategy>fixed</Strategy><Fixed>4</Fixed><LowWater>1</LowWater>'

shared()
{
	conf_write "$pool<Scope>policy</Scope>$1" '<RequireBackup/>'
	ctl reload >/dev/null || fail "reload"
}

zone()
{
	ctl --json take --zone "zone$1.default.example" --role KSK 2>"$dir/err"
}

token_make
kasp_write "$(kasp_policy default "$(kasp_key KSK 13 256 P1Y)$(kasp_key ZSK 13 256 P90D)")"
zones default 6
conf_write "$pool<Scope>policy</Scope><OnShortage>uncovered</OnShortage>" \
    '<RequireBackup/>'
daemon_start
ctl topup --wait >/dev/null || fail "topup"

# ---- a shared key, in no backup --------------------------------------------

zone 0 >"$dir/first"
equal "drawn with a loud record" "$?" 1
key=$(jq -r '.keys[0].id' "$dir/first")
zone 1 >"$dir/second"
equal "and so for a second zone" "$?" 1
equal "the same key" "$(jq -r '.keys[0].id' "$dir/second")" "$key"
equal "both on record" "$(sqlite3 "$db" \
    "SELECT count(*) FROM handouts WHERE uncovered = 1 AND id = '$key'")" 2
equal "both in the log" "$(grep -c 'NO BACKUP' "$log")" 2
shared ''
zone 2 >"$dir/err"
equal "not where the pool forbids it" "$?" 2
says "and why" "$key, which the zones of policy share, is in no backup" "$dir/err"
zone 1 >/dev/null
equal "who has it may ask again" "$?" 1
shared '<OnShortage>wait</OnShortage>'
zone 3 >"$dir/third" &
waiter=$!
until_true 10 grep -q 'take for zone zone3.default.example waits: key' "$log" ||
    fail "nobody waits"
ok "or it is waited for"
ctl backup begin --label one >/dev/null || fail "backup begin"
ctl backup commit one >/dev/null || fail "backup commit"
wait "$waiter"
equal "until it is in a backup" "$?" 0
equal "the same again" "$(jq -r '.keys[0].id' "$dir/third")" "$key"

# ---- what is asked of it ------------------------------------------------------

tag=$(jq '.keys[0].tag' "$dir/first")
other=$(((tag + 1) % 65536))
exits 2 "another tag than it has" ctl take --zone zone4.default.example \
    --role KSK --tag-range "$other:$other"
says "and which it has" "has key tag .* not what was asked for" "$dir/out"
exits 2 "a younger one than it is" ctl take --zone zone4.default.example \
    --role KSK --not-before 2099-01-01T00:00:00Z
says "and why" "was made before that" "$dir/out"
check "the tag that it has" ctl take --zone zone4.default.example \
    --role KSK --tag-modulo 0/1

# ---- in use already -------------------------------------------------------------

id=$(ctl --json key list --state ready --role ZSK | jq -r '.keys[0].id')
ctl --json key mark-used "$id" --zone zone0.default.example \
    --reason "it signs already" >"$dir/used"
equal "marked used, and in a backup" "$?" 0
ctl topup --wait >/dev/null
id=$(ctl --json key list --state ready --role ZSK |
    jq -r '.keys | sort_by(.serial)[-1].id')
ctl --json key mark-used "$id" --zone zone0.default.example \
    --reason "it signs already" >"$dir/used"
equal "and one in none" "$?" 1
ctl history --what "key taken uncovered" >"$dir/history"
says "is in the history" "it was in use already" "$dir/history"

# ---- a stop in the middle of keys being made ------------------------------------

zones default 60
conf_write '<Strategy>fixed</Strategy><Fixed>200</Fixed><LowWater>100</LowWater>'
ctl reload >/dev/null || fail "reload"
until_true 20 sh -c "[ \$(sqlite3 '$db' \"SELECT count(*) FROM keys
    WHERE state = 'ready'\") -gt 20 ]" || fail "no refill"
for i in 1 2 3; do
	ctl take --zone "zone$((i + 10)).default.example" --role ZSK \
	    >/dev/null || fail "take $i"
	daemon_kill9
	daemon_start
	equal "a kill beside a refill, $i: nothing is locked" \
	    "$(ctl --json handout status | jq '.handouts.locked')" false
done

conf_write "$pool"
ctl reload >/dev/null || fail "reload"
until_true 30 sh -c "[ \$(sqlite3 '$db' \"SELECT count(*) FROM keys
    WHERE state IN ('intended', 'unknown')\") -eq 0 ]" || fail "not settled"
daemon_stop
compare || fail "token and database disagree"
ok "token and database agree"
