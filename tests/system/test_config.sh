#!/bin/sh
# Bad configuration: refused at start with its line, at reload the old one
# stays. A zone list that vanished, is cut or empty never shrinks a pool.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

token_make
kasp_sample
zones default 2
conf_write '<MaxPerRun>1</MaxPerRun>'

cp "$conf" "$dir/good.xml"
sed 's,<MaxPerRun>1</MaxPerRun>,<MaxPerRun>many</MaxPerRun>,' "$dir/good.xml" \
    >"$conf"
exits 2 "a bad number is refused at start" "$build/ksmpoold" --config "$conf"
says "with the file" "$conf" "$dir/out"
says "and the value" "many" "$dir/out"
exits 2 "ksmctl check refuses it too" "$build/ksmctl" check --config "$conf"
echo '<Ksmpool' >"$conf"
exits 2 "a file that is cut short is refused" \
    "$build/ksmpoold" --config "$conf"
rm "$conf"
exits 2 "a file that is not there is refused" \
    "$build/ksmpoold" --config "$conf"
says "by name" "$conf" "$dir/out"
exits 2 "an unknown option is refused" "$build/ksmpoold" --frobnicate
cp "$dir/good.xml" "$conf"
exits 0 "the good one passes the check" "$build/ksmctl" check --config "$conf"

mv "$dir/kasp.xml" "$dir/kasp.away"
exits 2 "a policy file that is not there is refused" \
    "$build/ksmpoold" --config "$conf"
says "by name too" "kasp.xml" "$dir/out"
mv "$dir/kasp.away" "$dir/kasp.xml"

daemon_start
want=$(required)
echo '<Ksmpool' >"$conf"
exits 2 "reload of a bad file is refused" ctl reload
says "with the file again" "$conf" "$dir/out"
equal "the plan is the old one" "$(required)" "$want"
cp "$dir/good.xml" "$conf"
check "reload of the good one" ctl reload

mv "$dir/zonelist.xml" "$dir/zonelist.away"
ctl reload >"$dir/out" 2>&1
says "a vanished zone list is reported" "zonelist.xml" "$dir/out"
equal "and shrinks nothing" "$(required)" "$want"
head -c 120 "$dir/zonelist.away" >"$dir/zonelist.xml"
ctl reload >"$dir/out" 2>&1
equal "one that is cut shrinks nothing" "$(required)" "$want"
: >"$dir/zonelist.xml"
ctl reload >"$dir/out" 2>&1
equal "one without a byte shrinks nothing" "$(required)" "$want"
zones
ctl reload >"$dir/out" 2>&1
says "an empty one is reported" "empty|no zone" "$dir/out"
equal "and shrinks nothing either" "$(required)" "$want"
daemon_stop
daemon_start
equal "not even over a restart" "$(required)" "$want"
ctl reload --allow-empty >/dev/null 2>&1
equal "unless it is meant" "$(required)" 0
zones default 5
check "reload of more zones" ctl reload
equal "counts them" "$(required)" $((want * 5 / 2))

exits 1 "what MaxPerRun holds back is reported" \
    ctl --timeout PT60S topup --wait
check "--max lifts it" ctl --timeout PT60S topup --wait --max 1000
equal "keys ready" "$(count ready)" "$(required)"
exits 2 "an unknown policy is refused" ctl topup --policy nothing
daemon_stop
check "token and database agree" compare

# The state directory.
if [ "$(id -u)" -ne 0 ]; then
	chmod 500 "$state"
	exits 2 "a state directory without write permission is refused" \
	    "$build/ksmpoold" --config "$conf"
	says "by name" "$state" "$dir/out"
	chmod 700 "$state"
fi
cp "$db" "$dir/db.good"
rm -f "$db-wal" "$db-shm"
echo 'this is not a database, and was never one, not for a moment' >"$db"
exits 2 "a file that is no database is refused" \
    "$build/ksmpoold" --config "$conf"
says "by its name" "ksmpool.db" "$dir/out"
equal "and left as it is" "$(wc -c <"$db")" 60
cp "$dir/db.good" "$db"
daemon_start
equal "with the good one all is there" "$(count ready)" "$(required)"
daemon_stop
