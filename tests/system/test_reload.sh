#!/bin/sh
# Reload after reload while workers come and go: the daemon takes it, and bad
# ones change nothing.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

rounds=${1:-60}
token_make
kasp_sample
zones default 40
conf_write '' '<Sessions>2</Sessions>'
cp "$conf" "$dir/good.xml"
daemon_start
want=$(required)
ctl topup >/dev/null
i=0
while [ "$i" -lt "$rounds" ]; do
	echo '<Ksmpool' >"$conf"
	status=0
	ctl reload >/dev/null 2>&1 || status=$?
	[ "$status" -eq 2 ] || fail "round $i: a bad reload exited $status"
	cp "$dir/good.xml" "$conf"
	ctl reload >/dev/null 2>&1 || fail "round $i: a good reload failed"
	i=$((i + 1))
done
ok "$((2 * rounds)) reloads during a topup"
equal "the plan is as before" "$(required)" "$want"

# A burst, as configuration management makes it: all are answered.
i=0
while [ $i -lt 20 ]; do
	ctl --timeout PT30S reload >"$dir/burst.$i" 2>&1 &
	eval "pid$i=$!"
	i=$((i + 1))
done
i=0
while [ $i -lt 20 ]; do
	eval "wait \$pid$i" || fail "reload $i of the burst failed: $(cat "$dir/burst.$i")"
	i=$((i + 1))
done
ok "a burst of 20 reloads is answered"
# What is fixed since the start: said to whoever reloads, and again each time.
sed -e "s|<StateDirectory>[^<]*|<StateDirectory>$dir/elsewhere|" \
    -e "s|<Path>[^<]*</Path>|<Path>$dir/t</Path><Group>daemon</Group>|" \
    -e 's|<User>[^<]*|<User>daemon|' "$dir/good.xml" >"$conf"
for round in first second; do
	check "a reload with other places, the $round" ctl reload
	for what in StateDirectory Database "Path of the Socket" \
	    "Group of the Socket" User; do
		says "names the $what" \
		    "warning: another $what takes effect when .* restarted" \
		    "$dir/out"
	done
	says "and what is in use" "expected $state until then" "$dir/out"
done
cp "$dir/good.xml" "$conf"
check "back as it was" ctl reload
! grep -q "takes effect" "$dir/out" || fail "a reload back warns: $(cat "$dir/out")"
check "it fills all the same" ctl --timeout PT3M topup --wait
daemon_stop
check "token and database agree" compare
