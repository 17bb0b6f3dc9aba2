#!/bin/sh
# The control socket under attack: idle, half, fat, slow, dead and noisy
# clients. Meanwhile others are answered; how fast is printed, and the daemon
# does not grow.
#
#   KSM_CLIENTS_LONG=1 sh test_clients.sh	an hour of noise, not 5 s
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

noise=5
[ -z "${KSM_CLIENTS_LONG:-}" ] || noise=3600
flood=$build/tests/flood
status_line='{"v":1,"command":"status","args":{}}'
list_line='{"v":1,"command":"key list","args":{}}'

rss()
{
	awk '/VmRSS/ { print $2 }' "/proc/$daemon/status"
}

# attack MODE N [LINE]: it stands in the background, fed by $dir/hold.
attack()
{
	mode=$1
	shift
	mkfifo "$dir/hold"
	"$flood" "$mode" "$sock" "$@" <"$dir/hold" >"$dir/attack" 2>&1 &
	attacker=$!
	exec 9>"$dir/hold"
	until_true 30 grep -q open "$dir/attack" ||
	    fail "$mode: connections are not taken: $(cat "$dir/attack")"
}

attack_end()
{
	exec 9>&-
	wait "$attacker"
	rm -f "$dir/hold"
}

# swift TEXT: status is answered five times, each in under a second.
swift()
{
	slowest=0
	for _i in 1 2 3 4 5; do
		begin=$(millis)
		ctl --timeout PT10S status >"$dir/out" 2>&1
		[ $? -le 1 ] || fail "$1: status got: $(cat "$dir/out")"
		took=$(($(millis) - begin))
		[ "$took" -le "$slowest" ] || slowest=$took
	done
	[ "$slowest" -lt 1000 ] || fail "$1: status took $slowest ms"
	ok "$1: status in $slowest ms at most"
}

token_make
kasp_write "$(kasp_policy default "$(kasp_key KSK 13 256 P1Y)")"
zones default 200
conf_write
daemon_start
check "keys to list" ctl --timeout PT60S topup --wait
swift "nobody else"
before=$(rss)

attack idle 1000
swift "1000 that say nothing"
# All of a sudden, and not only when they have become old.
attack_end
attack idle 1000
swift "1000 others"
attack_end
attack half 1000
swift "1000 with half a request"
attack_end
attack fat 600
swift "600 with 60 KB of a line"
attack_end
attack slow 600 "$list_line
"
swift "600 that ask and do not read"
attack_end
check "1000 lines of 100 KB get an error each" "$flood" long "$sock" 1000
check "1000 clients die in the middle" "$flood" kill "$sock" 1000 "$list_line"
swift "after that"
check "1000 at once are answered" "$flood" ask "$sock" 1000 "$status_line"
cat "$dir/out"

# Programs, as an operator would start them.
i=0
begin=$(millis)
: >"$dir/bad"
pids=
while [ $i -lt 1000 ]; do
	{
		ctl --timeout PT30S status >/dev/null 2>"$dir/err.$i"
		[ $? -le 1 ] || cat "$dir/err.$i" >>"$dir/bad"
		rm -f "$dir/err.$i"
	} &
	pids="$pids $!"
	i=$((i + 1))
done
# shellcheck disable=SC2086 # a list
wait $pids
[ ! -s "$dir/bad" ] || fail "of 1000 ksmctl some failed: $(head -n 3 "$dir/bad")"
ok "1000 ksmctl at once are answered in $(($(millis) - begin)) ms"

"$flood" noise "$sock" "$noise" "$status_line" >"$dir/attack" 2>&1 &
attacker=$!
swift "during noise"
wait "$attacker" || fail "noise: $(cat "$dir/attack")"
ok "$(cat "$dir/attack")"


after=$(rss)
echo "memory: $before kB before, $after kB after"
# A sanitizer keeps what was freed.
if ! grep -q __asan_init "$build/ksmpoold"; then
	[ $((after - before)) -lt 40000 ] ||
	    fail "it grew by $((after - before)) kB"
	ok "memory is bounded"
fi
equal "descriptors of clients are closed" \
    "$(find "/proc/$daemon/fd" -lname 'socket:*' | awk 'END { print (NR < 12) }')" 1
daemon_stop
