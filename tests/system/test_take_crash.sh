#!/bin/sh
# Eight clients take keys while the daemon is killed again and again: no key is
# handed out twice, every key that a client was told of is in the journal, and
# journal, database and token agree in the end.
#
# KSM_KILLS: how many (default 12). KSM_KEYS: in the pool (default 200).
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

kills=${KSM_KILLS:-12}
keys=${KSM_KEYS:-200}
token_make
kasp_write "$(kasp_policy default "$(kasp_key ZSK 13 256 P90D)")"
zones default 1
conf_write "<Strategy>fixed</Strategy><Fixed>$keys</Fixed><LowWater>1</LowWater><MaxPerRun>100000</MaxPerRun>" \
    '<KeysPerMinute>0</KeysPerMinute>'
daemon_start
check "filled" ctl --timeout PT20M topup --wait
mkdir "$dir/told"

# client N: until there is a file `enough`, take and write down the answer.
client()
{
	_i=0
	while [ ! -e "$dir/enough" ]; do
		_i=$((_i + 1))
		_r=c$1-$_i
		# Asked again until there is an answer: what was lost with the
		# daemon is the same key.
		until ctl --json take --policy default --zone "z$1-$_i.example" --role ZSK \
		    --request "$_r" >"$dir/told/$_r.part" 2>/dev/null; do
			[ ! -e "$dir/enough" ] || break 2
			sleep 0.05
		done
		mv "$dir/told/$_r.part" "$dir/told/$_r.json"
	done
}

clients=
for n in 1 2 3 4 5 6 7 8; do
	client $n &
	clients="$clients $!"
done
killed=0
while [ "$killed" -lt "$kills" ]; do
	sleep "0.$((1 + $(random_below 8)))"
	kill -9 "$daemon" 2>/dev/null || fail "the daemon was not there to be killed"
	wait "$daemon" 2>/dev/null
	killed=$((killed + 1))
	daemon_start
done
sleep 1
: >"$dir/enough"
# shellcheck disable=SC2086
wait $clients
answered=$(find "$dir/told" -name '*.json' | wc -l)
[ "$answered" -ge 8 ] || fail "only $answered takes were answered"
ok "$answered takes were answered over $killed kills"

daemon_stop
daemon_start
check "not locked" ctl handout status
jq -r '.keys[0].id' "$dir"/told/*.json | sort >"$dir/told.ids"
equal "no key was told twice" "$(uniq -d "$dir/told.ids" | wc -l)" 0
tail -n +2 "$state/handout.journal" | jq -r .key | sort >"$dir/journal.ids"
equal "no key is in the journal twice" "$(uniq -d "$dir/journal.ids" | wc -l)" 0
equal "every key told of is in the journal" \
    "$(comm -23 "$dir/told.ids" "$dir/journal.ids" | wc -l)" 0
sqlite3 "$db" 'SELECT id FROM handouts' | sort >"$dir/handouts.ids"
equal "the database has just the journal" \
    "$(cmp "$dir/handouts.ids" "$dir/journal.ids" && echo same)" same
sqlite3 "$db" "SELECT id FROM keys WHERE state = 'taken'" | sort >"$dir/taken.ids"
equal "and these keys are taken" \
    "$(cmp "$dir/taken.ids" "$dir/journal.ids" && echo same)" same
equal "none is on its way" \
    "$(sqlite3 "$db" "SELECT count(*) FROM keys WHERE state = 'taking'")" 0
check "what is left is made up for" ctl --timeout PT20M topup --wait
equal "and the pool is whole" "$(count ready)" "$keys"
compare
check "the history is sound" ctl history verify
