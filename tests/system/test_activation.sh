#!/bin/sh
# A socket that systemd holds is used as it is and stays when the daemon goes;
# what is no such socket is refused in words. And what systemd is told.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

command -v systemd-socket-activate >/dev/null 2>&1 ||
    skip "systemd-socket-activate is not installed"
flood=$build/tests/flood

# activate OPTIONS -- OPTIONS: the daemon comes with the first client.
activate()
{
	_opts=
	while [ "$1" != -- ]; do
		_opts="$_opts $1"
		shift
	done
	shift
	# shellcheck disable=SC2086 # words
	systemd-socket-activate $_opts -E SOFTHSM2_CONF -E KSMPOOL_LIBEXEC \
	    -E NOTIFY_SOCKET -E WATCHDOG_USEC \
	    "$build/ksmpoold" --config "$conf" "$@" >>"$log" 2>&1 &
	daemon=$!
}

knock()
{
	ctl --timeout PT1S status >/dev/null 2>&1
}

# refused TEXT PATTERN: it is started by a client and leaves with status 2.
refused()
{
	until_true 10 test -S "$sock" || fail "nobody listens"
	knock
	_status=0
	wait "$daemon" || _status=$?
	daemon=
	equal "$1" "$_status" 2
	says "in words" "$2" "$log"
	rm -f "$sock" "$dir/other"
}

token_make
kasp_write "$(kasp_policy default "$(kasp_key KSK 13 256 P1Y)")"
zones default 1
conf_write

activate "--listen=$sock" --
until_true 10 test -S "$sock" || fail "nobody listens"
until_true 20 answers || fail "the daemon does not answer"
ok "the first client starts it"
inode=$(stat -c %i "$sock")
check "it works" ctl topup --wait --timeout PT60S
daemon_stop
equal "the socket stays" "$(stat -c %i "$sock")" "$inode"
exits 69 "and nobody is there" ctl status
rm -f "$sock"

: >"$log"
activate "--listen=$dir/other" --
until_true 10 test -S "$dir/other" || fail "nobody listens"
until_true 20 "$build/ksmctl" --socket "$dir/other" status ||
    fail "another path does not work"
says "both paths are named when they differ" "$dir/other.*$sock" "$log"
daemon_stop
rm -f "$dir/other"

: >"$log"
activate "--listen=$sock" "--listen=$dir/other" --
refused "two sockets are refused" "passed 2 sockets; expected one"
activate --datagram "--listen=$sock" --
until_true 10 test -S "$sock" || fail "nobody listens"
# No client speaks datagrams: say a byte.
"$flood" tell "$sock"
_status=0
wait "$daemon" || _status=$?
daemon=
equal "datagrams are refused" "$_status" 2
says "in words" "must be a listening Unix stream socket" "$log"
rm -f "$sock"

: >"$log"
activate "--listen=$sock" -- --once --quiet
until_true 10 test -S "$sock" || fail "nobody listens"
knock
_status=0
wait "$daemon" || _status=$?
daemon=
equal "--once ignores it" "$_status" 0
grep -v '^Listening on\|^Communication attempt\|^Execing\|^Received' "$log" >"$dir/said"
[ ! -s "$dir/said" ] || fail "--once --quiet says: $(cat "$dir/said")"
ok "and says nothing, being quiet"
rm -f "$sock"

# What systemd is told: ready, fed, reloading, paused, stopping.
"$flood" listen "$dir/notify" >"$dir/told" &
hears=$!
until_true 10 test -S "$dir/notify" || fail "nobody hears"
export NOTIFY_SOCKET="$dir/notify" WATCHDOG_USEC=1000000
daemon_start
unset NOTIFY_SOCKET WATCHDOG_USEC
until_true 10 grep -q READY=1 "$dir/told" || fail "it is not ready"
ok "it says that it is ready"
check "a reload" ctl reload
says "it says that it reloads" RELOADING=1 "$dir/told"
says "and since when" 'MONOTONIC_USEC=[0-9]' "$dir/told"

# Configuration management writes and reloads without waiting: what is in force
# at the end is what was written last.
i=1
pids=
while [ $i -le 30 ]; do
	zones default $i
	ctl --timeout PT30S reload >/dev/null 2>&1 &
	pids="$pids $!"
	i=$((i + 1))
done
for p in $pids; do
	wait "$p" || fail "a reload of the burst failed"
done
want=$(required)
check "a last reload" ctl reload
equal "30 reloads at once end with the last files" "$want" "$(required)"
[ "$want" -gt 30 ] || fail "30 zones require $want keys"
check "a pause" ctl pause --reason "a look at the status text"
until_true 10 grep -q 'STATUS=paused' "$dir/told" || fail "STATUS: $(cat "$dir/told")"
ok "it says that it is paused"
check "no more" ctl resume
until_true 10 sh -c "[ \$(grep -c WATCHDOG=1 '$dir/told') -ge 5 ]" ||
    fail "the watchdog is not fed"
ok "the watchdog is fed"
daemon_stop
says "it says that it stops" STOPPING=1 "$dir/told"
kill "$hears"
says "the history says when it came" 'daemon started' - <<EOF
$(sql "SELECT what FROM history")
EOF
says "and when it went" 'daemon stopped' - <<EOF
$(sql "SELECT what FROM history")
EOF
