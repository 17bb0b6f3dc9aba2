#!/bin/sh
# Keys are handed out: the oldest first, once, proven, in a backup, on record;
# the same request gets the same answer, and whatever is wrong is said before
# a key is spent on it.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

token_make
kasp_write "$(kasp_policy default "$(kasp_key KSK 13 256 P1Y)$(kasp_key ZSK 13 256 P90D)")"
zones default 4
conf_write '<LowWater>1</LowWater>' '<RequireBackup/>'
daemon_start
journal=$state/handout.journal

take()
{
	ctl --json take --policy default "$@" 2>"$dir/err"
}

id_of()
{
	jq -r '.keys[0].id'
}

ctl topup --wait >/dev/null || fail "topup"

# ---- never before its backup ---------------------------------------------

exits 2 "nothing is handed out before a backup" \
    ctl take --policy default --zone example.com --role KSK
says "and says why" "0 of its 8 ready keys are in a backup.*backup commit" \
    "$dir/out"
ctl backup begin --label one >/dev/null || fail "backup begin"
ctl backup commit one >/dev/null || fail "backup commit"

# ---- one key ---------------------------------------------------------------

oldest=$(ctl --json key list --state ready --role KSK | jq -r '.keys | sort_by(.serial)[0].id')
would=$(take --zone example.com --role KSK --dry-run | id_of)
equal "a dry run names the oldest" "$would" "$oldest"
equal "and takes nothing" "$(ctl --json key list --state taken | jq '.keys | length')" 0
first=$(take --zone Example.COM. --role KSK --request r-1 | id_of)
equal "the oldest is taken" "$first" "$oldest"
equal "its state" "$(ctl --json key show "$first" | jq -r .key.state)" taken
equal "its zone, one way to spell it" \
    "$(ctl --json key show "$first" | jq -r '.zones[0]')" example.com
says "the journal has it" "\"key\":\"$first\",\"zone\":\"example.com\"" "$journal"
equal "its lines" "$(wc -l <"$journal")" 2
equal "and the database" \
    "$(sqlite3 "$db" "SELECT id || ' ' || zone || ' ' || request FROM handouts")" \
    "$first example.com r-1"

# ---- the same request -------------------------------------------------------

again=$(take --zone example.com --role KSK --request r-1)
equal "the same request, the same key" "$(echo "$again" | id_of)" "$first"
equal "and says so" "$(echo "$again" | jq .again)" true
equal "no second line" "$(wc -l <"$journal")" 2
exits 2 "a name is used once" \
    ctl take --policy default --zone other.example --role KSK --request r-1
says "and says for what" "request r-1 was for 1 KSK.*example.com" "$dir/out"

# ---- several, with tags -----------------------------------------------------

second=$(take --zone example.com --role ZSK --count 3)
equal "three at once" "$(echo "$second" | jq '.keys | length')" 3
equal "all different" "$(echo "$second" | jq '[.keys[].id] | unique | length')" 3
equal "no tag twice in a zone" "$(echo "$second" | jq '[.keys[].tag] | unique | length')" 3
left=$(ctl --json key list --state ready --role ZSK | jq -r '.keys[0].id')
rest=$(ctl --json key show "$left" | jq '.key.tag_zsk % 2')
half=$(take --zone odd.example --role ZSK --tag-modulo "$rest/2" | jq '.keys[0].tag % 2')
equal "a tag that was asked for" "$half" "$rest"
exits 2 "no such tag" ctl take --policy default --zone odd.example --role ZSK --tag-range 7:7
says "and how many do not fit" "other tags than asked for" "$dir/out"
ksk=$(take --zone odd.example --role KSK --tag-range 0:65535 |
    jq '.keys[0] | .tag != .tag_revoked and .flags == 257')
equal "a KSK's flags and tags" "$ksk" true

# ---- wrong uses ---------------------------------------------------------------

exits 64 "letters that DNS has not" ctl take --policy default \
    --zone "$(printf 'm\303\274nchen.example')" --role KSK
says "and what is meant" "A-label .xn--" "$dir/out"
exits 64 "too many" ctl take --policy default --zone a.example --role KSK --count 1001
exits 64 "a zone that is none" ctl take --policy default --zone a..b --role KSK
exits 64 "no role" ctl take --policy default --zone example.com
exits 64 "a consumer that is none" ctl take --policy default --zone example.com --role KSK --for djbdns
says "names those there are" "bind, knot" "$dir/out"
exits 64 "files and no place" ctl take --policy default --zone example.com --role KSK --for bind
exits 2 "another policy" ctl take --zone example.com --role KSK --policy nope
exits 2 "no such pool" ctl take --policy default --zone example.com --role CSK
says "names those there are" "there is no such pool; there are" "$dir/out"
exits 2 "what it cannot use" ctl take --policy default --zone example.com --role ZSK --for ds
taken=$(ctl --json key list --state taken | jq '.keys | length')
equal "none of that cost a key" "$taken" 6

# ---- life after ------------------------------------------------------------------

exits 2 "what is taken is not destroyed" \
    ctl key destroy "$first" --yes --reason no
says "retire it first" "retire it first" "$dir/out"
check "given back" ctl key return "$first" --reason "zone not signed"
equal "is retired, not ready" "$(ctl --json key show "$first" | jq -r .key.state)" retired
exits 2 "a ready one cannot be returned" ctl key return \
    "$(ctl --json key list --state ready | jq -r '.keys[0].id')" --reason x
ready=$(ctl --json key list --state ready --role ZSK | jq -r '.keys[0].id')
check "somebody uses it already" \
    ctl key mark-used "$ready" --zone old.example --reason "imported by hand"
equal "it is taken" "$(ctl --json key show "$ready" | jq -r .key.state)" taken
exits 2 "once" ctl key mark-used "$ready" --zone old.example --reason again
ctl impact "$ready" >"$dir/out" || true
says "impact names the zone" "old.example" "$dir/out"
ctl handout list --zone old.example >"$dir/out" || fail "handout list"
says "and the list has it" "$ready.*marked used" "$dir/out"
ctl handout list --request r-1 >"$dir/out" || fail "handout list"
says "the list has the request's name" "$first  KSK   -  +r-1  +example.com" "$dir/out"
ctl handout list >"$dir/out" || fail "handout list"
says "and names that ksmctl made up" " ksmctl-[0-9a-f]{16}  " "$dir/out"

# ---- over a restart ----------------------------------------------------------------

before=$(ctl --json handout list | jq '.handouts | length')
daemon_stop
daemon_start
equal "all of it is there" "$(ctl --json handout list | jq '.handouts | length')" "$before"
exits 0 "and not locked" ctl handout status
check "the history is sound" ctl history verify
check "and the database" ctl database check
