#!/bin/sh
# The daemon answers while keys are made and while many zones are read. The
# times are printed; that it answers is what is tested.
#
#   KSM_ZONES=1000000 sh test_latency.sh
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

many=${KSM_ZONES:-100000}
rounds=${KSM_ROUNDS:-100}
token_make
kasp_write "$(kasp_policy default "$(kasp_key KSK 8 2048 P1Y)")" \
    "$(kasp_policy shared "<ShareKeys/>$(kasp_key KSK 13 256 P1Y)")"
zones default 100
conf_write '' '<Sessions>2</Sessions>'

# ask N: milliseconds of N status commands, sorted.
ask()
{
	i=0
	while [ $i -lt "$1" ]; do
		begin=$(millis)
		ctl --timeout PT10S status >/dev/null 2>&1
		[ $? -le 1 ] || fail "status got no answer"
		echo $(($(millis) - begin))
		i=$((i + 1))
	done | sort -n
}

# summary NAME FILE
summary()
{
	awk -v name="$1" '{ t[NR] = $1 } END {
		printf "status %s: %d answers, median %d ms, 99th %d ms, slowest %d ms\n",
		    name, NR, t[int((NR + 1) / 2)], t[int(NR * 0.99 + 0.5)], t[NR]
	}' "$2"
}

daemon_start
ask 20 >"$dir/idle"
summary "idle" "$dir/idle"
ctl topup >/dev/null
ask "$rounds" >"$dir/busy"
summary "while keys are made" "$dir/busy"

# So many zones on a policy that shares one key.
zones default 100 shared "$many"
begin=$(millis)
ctl --timeout PT5M reload >"$dir/reload" 2>&1 &
reload=$!
: >"$dir/during"
while kill -0 "$reload" 2>/dev/null; do
	ask 3 >>"$dir/during"
done
wait "$reload" || {
	cat "$dir/reload"
	fail "reload of $many zones failed"
}
echo "reload of $many zones: $(($(millis) - begin)) ms"
sort -n "$dir/during" -o "$dir/during"
summary "during that" "$dir/during"
equal "zones in force" \
    "$(ctl --json plan | jq '[.pools[] | select(.policy == "shared") | .terms[0].zones // .zones] | add')" "$many"
echo "memory of ksmpoold: $(awk '/VmHWM/ { print int($2 / 1024) }' "/proc/$daemon/status") MB"
daemon_stop
ok "answered all the time"
