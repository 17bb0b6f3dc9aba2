#!/bin/sh
# An older database, a lost, cut or foreign journal, keys of ours that are not
# on record: nothing is handed out twice, and nothing at all until an operator
# has looked.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

token_make
kasp_write "$(kasp_policy default "$(kasp_key ZSK 13 256 P90D)")"
zones default 4
conf_write '<Strategy>fixed</Strategy><Fixed>12</Fixed><LowWater>1</LowWater>'
journal=$state/handout.journal
daemon_start
check "filled" ctl topup --wait

take()
{
	ctl --json take --policy default --zone "$1" --role ZSK 2>>"$dir/err" |
	    jq -r '.keys[0].id'
}

locked()
{
	ctl --json handout status | jq -r .handouts.locked
}

# restore FILE: the database as it was, with the daemon down.
restore()
{
	rm -f "$db" "$db-wal" "$db-shm"
	cp "$1" "$db"
}

twice()
{
	{
		tail -n +2 "$journal" | jq -r 'select(.drawn) | .key'
	} | sort | uniq -d | wc -l
}

# ---- an older database ------------------------------------------------------

one=$(take one.example)
check "the database is copied" ctl database backup "$dir/old.db"
two=$(take two.example)
three=$(take three.example)
daemon_stop
restore "$dir/old.db"
equal "the copy knows of one" \
    "$(sqlite3 "$db" "SELECT count(*) FROM keys WHERE state = 'taken'")" 1
daemon_start
says "the journal is replayed" "hand-outs: 2 keys" "$log"
equal "it is not locked" "$(locked)" false
equal "what was taken since is taken" \
    "$(ctl --json key show "$two" | jq -r .key.state) $(ctl --json key show "$three" | jq -r .key.state)" \
    "taken taken"
four=$(take four.example)
equal "the next is another one" \
    "$(printf '%s\n' "$one" "$two" "$three" "$four" | sort -u | wc -l)" 4
equal "no key twice" "$(twice)" 0
check "the database is sound" ctl database check

# ---- one that lacks keys ------------------------------------------------------

check "copied again" ctl database backup "$dir/older.db"
sleep 1
since=$(date -u +%Y-%m-%dT%H:%M:%SZ)
ctl topup --wait >/dev/null || fail "topup"
five=$(take five.example)
# newer OPTION...: two keys that the copy does not have.
newer()
{
	ctl "$@" take --policy default --zone newer.example --role ZSK \
	    --count 2 --not-before "$since" --request newer
}
check "and keys that it does not have are taken" newer
daemon_stop
restore "$dir/older.db"
daemon_start
until_true 20 test "$(locked)" = true ||
    fail "keys that are not on record do not lock hand-outs"
exits 2 "nothing is handed out" ctl take --policy default --zone six.example --role ZSK
says "and the reason is said" "(older|not on record)" "$dir/out"
exits 1 "status says so" ctl handout status
equal "what was taken is not ready" \
    "$(ctl --json key list --state ready | jq -r '.keys[].id' | grep -c "$five")" 0
exits 64 "accept needs a reason" ctl handout accept
until_true 20 grep -q "in the token but not in the database" "$log" ||
    fail "the pairs without a row were not found"
check "an operator has looked" ctl handout accept --reason "restored on purpose"
equal "and keys are handed out" "$(locked)" false
six=$(take six.example)
[ "${#six}" -eq 32 ] || fail "no key after accept: $(cat "$dir/err")"
equal "no key twice" "$(twice)" 0
exits 1 "a request whose keys are not there" newer
says "says so" "hand-out [0-9]+ is on record, but its key [0-9a-f]{32} is not in this database" "$dir/out"
newer --json >"$dir/out" 2>/dev/null
equal "and names them" "$(jq '[.keys[] | select(.error)] | length' "$dir/out")" 2
sleep 1
equal "and it stays so" "$(locked)" false

# ---- a journal that is lost, cut, foreign ------------------------------------

daemon_stop
cp "$journal" "$dir/journal.whole"
rm "$journal"
daemon_start
equal "a lost journal locks" "$(locked)" true
says "and is named" "ends with hand-out 0, and the database has" "$log"
check "accepted" ctl handout accept --reason "the disk was replaced"
equal "it is written again, the same" \
    "$(cmp "$journal" "$dir/journal.whole" && echo same)" same
daemon_stop

head -n 3 "$dir/journal.whole" >"$journal"
daemon_start
equal "a cut one locks" "$(locked)" true
check "accepted" ctl handout accept --reason "restored"
equal "and is made whole" \
    "$(cmp "$journal" "$dir/journal.whole" && echo same)" same
daemon_stop

printf '{"n":99,"prev' >>"$journal"
daemon_start
equal "a line that was only begun is cut off" "$(locked)" false
equal "and nothing else" "$(cmp "$journal" "$dir/journal.whole" && echo same)" same
daemon_stop

sed '3s/two.example/new.example/' "$dir/journal.whole" >"$journal"
daemon_start
equal "a changed line locks" "$(locked)" true
says "with file and line" "handout.journal:4: the line before it" "$log"
check "accepted" ctl handout accept --reason "somebody edited it"
says "the changed file is kept" "set-aside-1" "$dir/out"
[ -e "$journal.set-aside-1" ] || fail "it is not there"
equal "no key twice" "$(twice)" 0
seven=$(take seven.example)
[ "${#seven}" -eq 32 ] || fail "no key: $(cat "$dir/err")"
daemon_stop

sed '1s/installation":"..../installation":"0000/' "$dir/journal.whole" >"$journal"
daemon_start
equal "another installation's journal locks" "$(locked)" true
exits 2 "nothing is handed out" ctl take --policy default --zone eight.example --role ZSK
check "accepted" ctl handout accept --reason "copied by mistake"
daemon_stop
mv "$journal" "$dir/kept"
mkdir "$journal"
daemon_start
exits 1 "a journal that cannot be opened" ctl handout status
says "is named" "handout.journal" "$dir/out"
says "and what to do" "next .*handout accept --reason" "$dir/out"
exits 0 "and everything else goes on" ctl --timeout PT60S topup --wait
daemon_stop
rmdir "$journal"
mv "$dir/kept" "$journal"
daemon_start

# ---- removed while it runs -----------------------------------------------------

rm "$journal"
exits 2 "a journal that is removed" ctl take --policy default --zone nine.example --role ZSK
says "is noticed before a key is spent" "the file was removed" "$dir/out"
until_true 10 sh -c "'$build/ksmctl' --socket '$sock' history \
    --what 'hand-outs locked' | grep -q 'the file was removed'" ||
    fail "its history does not say so"
ok "and is on record"
equal "none is on its way" \
    "$(sqlite3 "$db" "SELECT count(*) FROM keys WHERE state = 'taking'")" 0
check "the history is sound" ctl history verify

# ---- an older database beside a journal that says more than it may -------------

check "accepted" ctl handout accept --reason "removed by hand"
check "topped up" ctl --timeout PT60S topup --wait
check "copied once more" ctl database backup "$dir/oldest.db"
ten=$(take ten.example)
eleven=$(ctl --json take --policy default --zone eleven.example --role ZSK \
    --request R11 | jq -r '.keys[0].id')
daemon_stop
cp "$journal" "$dir/journal.ahead"
find "$state" -name '*set-aside*' -delete

# older: the database as it was before ten and eleven, and that journal.
older()
{
	restore "$dir/oldest.db"
	find "$state" -name '*set-aside*' -delete
	rm -f "$journal"
	cp "$dir/journal.ahead" "$journal"
}

# settled: whatever happened, ten and eleven are out, once.
settled()
{
	equal "both are taken" \
	    "$(ctl --json key show "$ten" | jq -r .key.state) $(ctl --json key show "$eleven" | jq -r .key.state)" \
	    "taken taken"
	equal "no key twice" "$(twice)" 0
	equal "the database has just the journal" \
	    "$(sqlite3 "$db" "SELECT group_concat(id) FROM (SELECT id FROM handouts ORDER BY number)")" \
	    "$(tail -n +2 "$journal" | jq -r .key | paste -sd ,)"
	daemon_stop
	daemon_start
	equal "and it stays open" "$(locked)" false
	daemon_stop
}

older
mv "$journal" "$dir/elsewhere"
ln -s "$dir/elsewhere" "$journal"
daemon_start
exits 2 "one that cannot be read is not accepted" \
    ctl handout accept --reason "it does not matter"
says "and is named" "handout.journal: it cannot be read" "$dir/out"
exits 2 "nor at the second try" ctl handout accept --reason "really"
equal "and stays where it was" "$(readlink "$journal")" "$dir/elsewhere"
exits 2 "nothing is handed out" ctl take --policy default --zone twelve.example --role ZSK
daemon_stop
rm "$journal"
mv "$dir/elsewhere" "$journal"
daemon_start
equal "read, it is replayed" "$(locked)" false
settled

older
sed -i '2s/one.example/uno.example/' "$journal"
flock --no-fork "$journal" sleep 600 &
holder=$!
until_true 10 sh -c "! flock -n '$journal' true" || fail "nobody holds it"
daemon_start
exits 2 "one that another process holds is not accepted" \
    ctl handout accept --reason "it does not matter"
says "and that is said" "another process holds it" "$dir/out"
daemon_stop
kill "$holder"
wait "$holder" 2>/dev/null
[ ! -e "$journal.set-aside-1" ] || fail "it was moved away"

# With the database's first hand-out changed it does not follow; every line of
# it stands there twice.
older
{
	sed '2s/one.example/uno.example/' "$dir/journal.ahead"
	tail -n 2 "$dir/journal.ahead"
} >"$journal"
daemon_start
equal "lines that stand there twice lock" "$(locked)" true
check "accepted" ctl handout accept --reason "a line twice"
equal "the same request is answered with the same key" \
    "$(ctl --json take --policy default --zone eleven.example --role ZSK --request R11 |
	jq -r '.keys[0].id')" "$eleven"
settled

# line KEY ZONE: what follows the last line, and is what it should be.
line()
{
	_prev=$(tail -n 1 "$journal" | tr -d '\n' | sha256sum | cut -d ' ' -f 1)
	tail -n 1 "$journal" | jq -c --arg p "$_prev" --arg k "$1" --arg z "$2" \
	    '.n += 1 | .prev = $p | .key = $k | .zone = $z | .share = "zone:" + $z | .request = ""'
}

older
line "$ten" thirteen.example >>"$journal"
daemon_start
equal "a key drawn once more locks, and the daemon starts" "$(locked)" true
says "file, line and rule are named" \
    "handout.journal:[0-9]*: hand-out [0-9]* is refused .*a key is drawn once" "$log"
equal "what stands before it is on record" \
    "$(ctl --json key show "$eleven" | jq -r .key.state)" taken
check "accepted" ctl handout accept --reason "two installations"
equal "it is said of the other zone, too" \
    "$(sqlite3 "$db" "SELECT group_concat(zone || drawn) FROM handouts WHERE id = '$ten'")" \
    "ten.example1,thirteen.example0"
settled
