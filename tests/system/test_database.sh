#!/bin/sh
# The database under a running daemon: deleted, moved, replaced, locked by
# another program, written into, checked and copied. Each time it is said in
# words, status answers, and nothing is lost.
# KSM_LOCKED=60: seconds that another program keeps it locked (15).
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

locked=${KSM_LOCKED:-15}

# Run the tool on the database as an operator would, beside the daemon.
tool()
{
	"$build/ksmpoold" "$@"
}

# The slowest of COUNT answers to status, in milliseconds.
slowest_status()
{
	_slowest=0
	_n=$1
	while [ "$_n" -gt 0 ]; do
		_from=$(millis)
		answers || fail "no answer"
		_took=$(($(millis) - _from))
		[ "$_took" -le "$_slowest" ] || _slowest=$_took
		_n=$((_n - 1))
	done
	echo "$_slowest"
}

full()
{
	[ "$(count ready)" -ge "$1" ]
}

# The file has this name and the daemon's keys in it.
back()
{
	[ -f "$db" ] && [ "$(sql 'SELECT count(*) FROM keys')" -ge "$1" ]
}

sound()
{
	exits 0 "$1" tool --check-database "$db"
	equal "and that is all it says" "$(cat "$dir/out")" ok
}

# shellcheck disable=SC2119
token_make
kasp_write "$(kasp_policy default "$(kasp_key ZSK 13 256 P30D)")"
zones default 10
conf_write '' '<KeysPerMinute>0</KeysPerMinute>'
daemon_start
check "the first fill" ctl --timeout PT1M topup --wait
n=$(count ready)
[ "$n" -gt 0 ] || fail "no keys"

# ---- checked and copied while it runs -----------------------------------

sound "a database in use is sound"
check "a copy of it" tool --copy-database "$db" "$dir/copy.db"
equal "its mode" "$(stat -c %a "$dir/copy.db")" 640
exits 0 "the copy is sound" tool --check-database "$dir/copy.db"
equal "with every key" \
    "$(sqlite3 "$dir/copy.db" "SELECT count(*) FROM keys WHERE state = 'ready'")" "$n"
exits 2 "a second copy needs a name of its own" \
    tool --copy-database "$db" "$dir/copy.db"
says "and says so" 'exists already' "$dir/out"
exits 2 "a copy without a name" tool --copy-database "$db"
exits 2 "a relative name" tool --copy-database "$db" copy.db
exits 2 "a file that is not there" tool --check-database "$dir/none.db"
says "is named" 'none.db: No such file' "$dir/out"
cp "$dir/copy.db" "$dir/torn.db"
sqlite3 "$dir/torn.db" \
    "DROP TRIGGER history_kept; DELETE FROM history WHERE number = 2" ||
    fail "sqlite3"
exits 1 "history with a hole" tool --check-database "$dir/torn.db"
says "is found out" 'history row 2 is not there' "$dir/out"
says "and counted" '^1 fault$' "$dir/out"
for _n in 1 2 $((2 * n)); do
	[ "$(printf %s "$(sqlite3 -readonly "$dir/copy.db" "
	    WITH f (t) AS (SELECT f.value FROM history h, json_each(json_array(
		coalesce((SELECT lower(hex(hash)) FROM history
		    WHERE number = h.number - 1), printf('%064d', 0)),
		'' || number, '' || when_s, coalesce('' || uid, ''),
		coalesce('' || pid, ''), what, subject, why)) f
		WHERE number = $_n)
	    SELECT group_concat(length(CAST(t AS BLOB)) || ':' || t || ',', '')
	    FROM f")" | sha256sum | cut -d' ' -f1)" = "$(sqlite3 -readonly \
	    "$dir/copy.db" "SELECT lower(hex(hash)) FROM history
	    WHERE number = $_n")" ] || fail "the hash of row $_n"
done
ok "the manual's way gives the hashes on record"

# ---- deleted ------------------------------------------------------------

for gone in "$db" "$db $db-wal $db-shm" "$db-wal"; do
	zones default $((20 + ${more:=0}))
	more=$((more + 10))
	check "a reload that asks for more" ctl reload
	# shellcheck disable=SC2086 # several names
	rm -f $gone
	check "keys are made after rm $gone" ctl --timeout PT1M topup --wait
	until_true 20 back "$n" || fail "the database is not put back"
	[ "$(count ready)" -gt "$n" ] || fail "fewer keys than before"
	n=$(count ready)
	equal "what is asked for" "$n" "$(required)"
	sound "it is back"
done
says "the daemon says that it was gone" 'the database was gone' "$log"
daemon_stop
check "token and database agree" compare
daemon_start
equal "and the next daemon finds all of it" "$(count ready)" "$n"

# ---- replaced -----------------------------------------------------------

mv "$db" "$dir/ours.db"
sqlite3 "$db" 'CREATE TABLE mine (a); INSERT INTO mine VALUES (1)'
theirs=$(sha256sum <"$db")
zones default 60
ctl reload >/dev/null 2>&1
ctl --timeout PT5S topup >/dev/null 2>&1
until_true 20 sh -c "'$build/ksmctl' --socket '$sock' --timeout PT5S status 2>&1 | grep -q replaced" ||
    fail "status does not say that the database was replaced"
ok "a replaced database is said in status"
kill -0 "$daemon" || fail "the daemon died"
equal "what is not ours is as it was" "$(sha256sum <"$db")" "$theirs"
rm -f "$db" "$db-journal"
mv "$dir/ours.db" "$db"
daemon_stop
daemon_start
check "after a restart it goes on" ctl --timeout PT1M topup --wait
[ "$(count ready)" -gt "$n" ] || fail "keys are lost"
n=$(count ready)
daemon_stop
check "token and database agree again" compare
sound "and the records"

# ---- locked -------------------------------------------------------------

# Slowly enough that keys are being made when the lock comes.
conf_write '' '<KeysPerMinute>600</KeysPerMinute>'
zones default 120
daemon_launch
until_true 30 answers || fail "no start"
until_true 30 sh -c "[ \"\$(sqlite3 -readonly '$db' \"SELECT count(*) FROM keys WHERE state = 'ready'\")\" -gt $((n + 3)) ]" ||
    fail "no keys are made"
{
	echo 'BEGIN IMMEDIATE;'
	echo "UPDATE pool SET auto_made = auto_made;"
	echo ".shell touch '$dir/held'"
	echo ".shell sleep $locked"
	echo 'ROLLBACK;'
} | sqlite3 -cmd '.timeout 10000' "$db" &
holder=$!
until_true 20 test -e "$dir/held" || fail "no lock"
took=$(slowest_status 40)
echo "slowest status of 40 while locked: $took ms"
# A loaded machine is slow by itself; standing still takes seconds.
[ "$took" -lt 1000 ] || fail "status waits for the lock"
kill -0 "$holder" 2>/dev/null || fail "the lock was too short"
wait "$holder"
check "with the lock gone it goes on" ctl --timeout PT2M topup --wait
equal "to what is asked for" "$(count ready)" "$(required)"
says "the log names the lock" 'locked by another program' "$log"
equal "no key was given up" "$(sql "SELECT count(*) FROM keys
    WHERE state IN ('gone', 'unknown', 'quarantined')")" 0
daemon_stop
check "nothing is lost by the lock" compare
sound "and the records are sound"
n=$(count ready)

# ---- written into -------------------------------------------------------

cp "$db" "$dir/good.db"
daemon_start
pages=$(sql 'PRAGMA page_count')
# All but the first pages, which SQLite holds in its cache anyway.
dd if=/dev/urandom of="$db" bs=4096 seek=4 count=$((pages - 4)) conv=notrunc \
    2>/dev/null
zones default 160
ctl reload >/dev/null 2>&1
ctl --timeout PT5S topup >/dev/null 2>&1
sleep 2
kill -0 "$daemon" || fail "the daemon died of a damaged database"
answers || fail "no answer with a damaged database"
ok "a damaged database is survived"
# What it holds in memory is sound, so it may not have noticed.
exits 1 "the check finds it" tool --check-database "$db"
daemon_kill9
exits 2 "a damaged database is no start" \
    "$build/ksmpoold" --config "$conf" --once
says "and it is named" "damaged.*$db|$db.*damaged" "$dir/out"
