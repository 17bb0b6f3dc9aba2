#!/bin/sh
# A file system that is full, read-only or shut to us, under the database and
# under the token: named with path and user, survived, and nothing is lost.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

[ "$(id -u)" -eq 0 ] || skip "only root can mount file systems"
# Mounts of our own, which end with this test.
if [ -z "${KSM_MOUNTS:-}" ]; then
	unshare -m true 2>/dev/null || skip "no mount name space here"
	rm -rf "$dir"
	trap - EXIT
	exec env KSM_MOUNTS=1 unshare -m sh "$0" "$@"
fi
# The directory can go only when nothing is mounted in it.
unmount()
{
	status=$?
	[ -z "$daemon" ] || kill -KILL "$daemon" 2>/dev/null
	daemon=
	for place in "$dir/tokens" "$dir/small" "$dir/journal" "$state"; do
		while umount -l "$place" 2>/dev/null; do :; done
	done
	(exit "$status")
	cleanup
}
trap unmount EXIT
mount -t tmpfs -o size=3m none "$state" 2>/dev/null ||
    skip "no tmpfs can be mounted"

# fill DIRECTORY: not a byte is left.
fill()
{
	dd if=/dev/zero of="$1/filler" bs=4k >/dev/null 2>&1
}

status_is_fine()
{
	ctl --quiet status >/dev/null 2>&1
}

# What went wrong must not go on for ever, nor as fast as it can.
failures()
{
	grep -c 'error: .*database' "$log"
}

token_make
kasp_write "$(kasp_policy default "$(kasp_key ZSK 13 256 P90D)")"
zones default 5
conf_write
daemon_start
check "first keys" ctl topup --wait
equal "keys" "$(count ready)" 10

# ---- the database's file system is full --------------------------------

zones default 60
fill "$state"
ctl reload >/dev/null 2>&1
ctl topup >/dev/null 2>&1
until_true 20 grep -q "disk or the quota is full.*$state" "$log" ||
    fail "the full file system is not named"
ok "a full file system is named with its path"
kill -0 "$daemon" || fail "the daemon died of a full disk"
sleep 3
before=$(failures)
sleep 3
[ $(($(failures) - before)) -le 6 ] ||
    fail "$(($(failures) - before)) errors in three seconds: a storm"
ok "it does not try again and again"
check "status still answers" sh -c \
    "'$build/ksmctl' --socket '$sock' --timeout PT2S status; [ \$? -le 1 ]"
rm "$state/filler"
check "with room again it reads the new zones" ctl reload
check "and goes on" ctl --timeout PT3M topup --wait
want=$(required)
equal "all keys are made" "$(count ready)" "$want"
check "token and database agree" compare

# ---- read-only ---------------------------------------------------------

zones default 70
mount -o remount,ro "$state" 2>/dev/null || {
	# Files are open for writing: a bind mount over it does the same.
	mount --bind "$state" "$state" && mount -o remount,bind,ro "$state"
} || fail "cannot make it read-only"
daemon_stop
exits 2 "a read-only directory is refused at start" \
    "$build/ksmpoold" --config "$conf"
says "named with path and user" "$state.*(uid|user) .*0|$state.*ead-only" \
    "$dir/out"
mount -o remount,rw "$state" 2>/dev/null || umount "$state"
daemon_start
check "writable again, it goes on" ctl --timeout PT3M topup --wait
equal "all keys are made" "$(count ready)" "$(required)"

# ---- the hand-out journal's file system is full ------------------------------

daemon_stop
mkdir "$dir/journal"
mount -t tmpfs -o size=64k none "$dir/journal" || fail "tmpfs"
cp "$state/handout.journal" "$dir/journal/journal" || fail "journal"
daemon_xml="<HandoutJournal>$dir/journal/journal</HandoutJournal>"
conf_write
daemon_start
fill "$dir/journal"
tries=60
while ctl take --zone zone1.default.example --role ZSK >"$dir/out" 2>&1; do
	tries=$((tries - 1))
	[ "$tries" -gt 0 ] || fail "the journal is never full"
done
says "a journal that cannot be written is named" \
    "nothing is handed out: .*$dir/journal/journal.*No space left" "$dir/out"
exits 1 "hand-outs are said to need a look" ctl handout status
says "and why" "No space left" "$dir/out"
exits 2 "the plug-in is critical" ctl monitor
says "with the reason" "nothing is handed out: .*No space left" "$dir/out"
check "the metric says so" sh -c \
    "'$build/ksmctl' --socket '$sock' metrics | grep -qx 'ksmpool_handouts_locked 1'"
equal "no key is left in between" "$(count taking)" 0
lines=$(grep -c '"n":' "$dir/journal/journal")
equal "journal and database agree" "$lines" \
    "$(sqlite3 -readonly "$db" 'SELECT count(*) FROM handouts')"
rm "$dir/journal/filler"
check "with room again it goes on" ctl take --zone zone1.default.example --role ZSK
exits 0 "and nothing is wrong" ctl handout status
check "the pool is made up for" ctl --timeout PT3M topup --wait

# ---- the token's file system is full -----------------------------------

daemon_stop
mkdir "$dir/small"
mount -t tmpfs -o size=1200k,nr_inodes=4000 none "$dir/small" || fail "tmpfs"
cp -a "$dir/tokens/." "$dir/small/" || fail "the token does not fit"
mount --bind "$dir/small" "$dir/tokens" || fail "bind"
zones default 400
daemon_start
fill "$dir/small"
ctl topup >/dev/null 2>&1
until_true 30 sh -c "grep -qE 'CKR_(DEVICE_MEMORY|GENERAL_ERROR|FUNCTION_FAILED|DEVICE_ERROR)' '$log'" ||
    fail "nobody says what the token said"
ok "what the token said is in the log"
kill -0 "$daemon" || fail "the daemon died of a full token"
exits 1 "status asks for a look" ctl status
sleep 3
before=$(grep -c 'tried again in' "$log")
sleep 3
[ $(($(grep -c 'tried again in' "$log") - before)) -le 4 ] ||
    fail "a storm of tries at a full token"
ok "it is left alone, longer each time"
daemon_stop
umount "$dir/tokens"
rm -f "$dir/small/filler"
cp -a "$dir/small/." "$dir/tokens/"
umount "$dir/small"
zones default 72
daemon_start
check "with room again it goes on" ctl --timeout PT3M topup --wait
daemon_stop
check "token and database agree" compare
exits 0 "and with it the records" \
    "$build/ksmpoold" --check-database "$db"
