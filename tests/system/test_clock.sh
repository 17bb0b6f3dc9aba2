#!/bin/sh
# Time that goes wrong: a clock that is set back stops generation and says so,
# a clock that is right again lets it go on, an operator ends a dispute; and
# dates beyond 2038 are dates like any other.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

# A sanitizer's runtime wants to be loaded first.
ldd "$build/ksmpoold" | grep -q asan && skip "not with AddressSanitizer"

# The daemon alone lives in another time, read anew at every look at the clock.
daemon_launch()
{
	echo "----- start, clock $(cat "$dir/now")" >>"$log"
	LD_PRELOAD=$build/tests/fake_clock.so KSM_CLOCK=$dir/now \
	    "$build/ksmpoold" --config "$conf" >>"$log" 2>&1 &
	daemon=$!
}

# clock SECONDS: from now on the daemon's clock is that far ahead of ours.
clock()
{
	echo "$1" >"$dir/now.new"
	mv "$dir/now.new" "$dir/now"
}

clock_says()
{
	ctl --json status | jq -e '.clock != null' >/dev/null
}

clock_is_right()
{
	ctl --json status | jq -e '.clock == null' >/dev/null
}

token_make
kasp_write "$(kasp_policy default \
    "$(kasp_key KSK 13 256 P1Y)$(kasp_key ZSK 13 256 P90D)")"
zones default 2
conf_write '<Horizon>P30D</Horizon>'
clock 0
daemon_start
check "topup in our own time" ctl topup --wait
before=$(count ready)
equal "keys" "$before" 8
daemon_stop

# ---- set back ----------------------------------------------------------

zones default 4
daemon_start
clock -86400
until_true 10 clock_says || fail "nobody says that the clock is a day late"
ok "a clock that is set back is found out"
exits 1 "status asks for a look" ctl status
says "status names the time" "the clock says .* but a record was made at" \
    "$dir/out"
made=$(sql 'SELECT count(*) FROM keys')
ctl topup >/dev/null 2>&1
sleep 2
equal "keys made under a wrong clock" \
    "$(($(sql 'SELECT count(*) FROM keys') - made))" 0
clock 0
until_true 10 clock_is_right || fail "it does not come to itself"
check "a clock that is right again lets it go on" ctl topup --wait
equal "keys for four zones" "$(count ready)" 16

# ---- an accident ahead -------------------------------------------------

zones default 5
clock $((400 * 86400))
ctl reload >/dev/null || fail "reload"
check "keys made by a clock that is a year ahead" ctl topup --wait
clock 0
until_true 10 clock_says || fail "nobody says that the record is ahead"
exits 64 "nothing is accepted without a reason" ctl clock accept --yes
check "an operator says which is right" \
    ctl clock accept --yes --reason "test: the clock was a year ahead"
until_true 10 clock_is_right || fail "the dispute goes on"
zones default 6
ctl reload >/dev/null || fail "reload"
check "generation goes on" ctl topup --wait
equal "keys for six zones" "$(count ready)" 24
check "it is in the history" sh -c \
    "'$build/ksmctl' --socket '$sock' history --what clock | grep -q 'a year ahead'"
daemon_stop
check "token and database agree" compare

# ---- Purge: two weeks -----------------------------------------------------

# zsk_take ZONE: the id of the key that it gets
zsk_take()
{
	ctl --json take --policy default --zone "$1" --role ZSK |
	    jq -r '.keys[0].id'
}

kept_until()
{
	ctl --json key show "$1" | jq -r .key.kept_until
}

daemon_start
id=$(zsk_take purge.example)
spare=$(ctl --json key list --state ready --role ZSK | jq -r '.keys[0].id')
check "a key that was handed out is retired" ctl key retire "$id" --reason rolled
check "and one that was not" ctl key retire "$spare" --reason spare
until=$(date -u -d "$(ctl --json key show "$id" | jq -r .key.since) + 14 days" \
    +%Y-%m-%dT%H:%M:%SZ)
equal "until when it is kept" "$(kept_until "$id")" "$until"
equal "the other need not be" "$(kept_until "$spare")" null
exits 2 "it waits for Purge" ctl key destroy "$id" --reason test --yes
says "until then" "kept until $until, as Purge of policy default" "$dir/out"
exits 0 "a dry run says the same" ctl key destroy "$id" --reason test --dry-run
says "of it" "kept until $until" "$dir/out"
ctl key show "$id" >"$dir/out" || fail "key show"
says "key show tells whose Purge it is" "kept until +$until, Purge of policy default" \
    "$dir/out"
exits 0 "what must go at once" \
    ctl key destroy "$id" --reason test --before-purge --dry-run
says "would go" "$id  would be done" "$dir/out"
check "the other goes at once" ctl key destroy "$spare" --reason test --yes

id2=$(zsk_take back.example)
exits 2 "only key return says unused" \
    ctl key retire "$id2" --reason "unused: since the roll"
says "and does so itself" "key return. records that" "$dir/out"
check "one comes back" ctl key return "$id2" --reason "zone was not signed"
equal "it need not be kept" "$(kept_until "$id2")" null
check "it goes at once" ctl key destroy "$id2" --reason test --yes
id2=$(ctl --json key list --state ready --role ZSK | jq -r '.keys[0].id')
check "a zone uses this one" \
    ctl key mark-used "$id2" --zone used.example --reason imported
check "it comes back all the same" ctl key return "$id2" --reason error
exits 2 "and waits" ctl key destroy "$id2" --reason test --yes
says "for the same Purge" "as Purge of policy default" "$dir/out"

sed -i 's,<Purge>P14D</Purge>,<Purge>P20D</Purge>,' "$dir/kasp.xml"
check "six days more" ctl reload
equal "what is in force counts" "$(kept_until "$id")" \
    "$(date -u -d "$until + 6 days" +%Y-%m-%dT%H:%M:%SZ)"
sed -i 's,<Purge>P20D</Purge>,<Purge>PT0S</Purge>,' "$dir/kasp.xml"
check "no Purge" ctl reload
equal "nothing to wait for" "$(kept_until "$id")" null
sed -i 's,<Purge>PT0S</Purge>,<Purge>P14D</Purge>,' "$dir/kasp.xml"
check "two weeks again" ctl reload
exits 2 "it waits again" ctl key destroy "$id" --reason test --yes

clock $((15 * 86400))
check "two weeks later it goes" ctl key destroy "$id" --reason test --yes
id=$(zsk_take stolen.example)
ctl key retire "$id" --reason stolen >/dev/null || fail "retire"
check "one that was stolen does not wait" \
    ctl key destroy "$id" --reason stolen --before-purge --yes
daemon_stop
check "token and database agree" compare

# ---- 2039, thirty years ------------------------------------------------

zones default 7
conf_write '<Horizon>P30Y</Horizon><MaxPerRun>1000</MaxPerRun>'
clock $(($(date -u -d "2039-03-01 12:00:00" +%s) - $(date +%s)))
daemon_start
# A year is 365 days: floor(30 / 1) + 1 draws of KSKs, floor(10950 / 90) + 1 of
# ZSKs, and one emergency roll each.
equal "required for thirty years" "$(required)" \
    $((7 * (31 + 1) + 7 * (122 + 1)))
ctl topup --max 3 --wait >/dev/null 2>&1
check "then it rests" ctl pause
# A key that was made just then waits for its look until the pause is over.
until_true 30 sh -c "'$build/ksmctl' --socket '$sock' --json status |
    jq -e '[.repositories[] | .busy, .settling] | add == 0' >/dev/null" ||
    fail "it does not come to rest"
ctl --json key list --created-after 2039-01-01T00:00:00Z >"$dir/list"
new=$(jq '.keys | length' "$dir/list")
[ "$new" -ge 6 ] || fail "only $new keys of 2039"
equal "and dated so" \
    "$(jq -r '[.keys[].created[0:10]] | unique | join(" ")' "$dir/list")" \
    2039-03-01
equal "in the database too" "$(sql "SELECT count(*) FROM keys
    WHERE created LIKE '2039-03-01T%' AND created_s > 2147483647")" "$new"
daemon_stop
