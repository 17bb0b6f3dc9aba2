#!/bin/sh
# `handout accept` is cut: kill -9 before and after each call that changes
# something, and each of these calls failing, while an operator accepts a
# journal that is not what was written, beside an older database. Accepted once
# more, every key that went out has gone out, and none goes out again.
#
#   sh test_accept_crash.sh        every fourth point
#   KSM_MATRIX=full sh ...         all
#   sh test_accept_crash.sh KIND:N:WHEN...
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

preload=$build/tests/kill_at.so
[ -f "$preload" ] || skip "$preload is not built"
# AddressSanitizer wants to be first among the libraries, and need not be.
ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}verify_asan_link_order=0"
export ASAN_OPTIONS

token_make
kasp_write "$(kasp_policy default "$(kasp_key ZSK 13 256 P90D)")"
zones default 4
conf_write '<Strategy>fixed</Strategy><Fixed>8</Fixed><LowWater>1</LowWater>'
journal=$state/handout.journal

take()
{
	ctl --json take --policy default --zone "$1" --role ZSK 2>>"$dir/err" |
	    jq -r '.keys[0].id'
}

daemon_start
check "filled" ctl topup --wait
one=$(take one.example)
check "the database is copied" ctl database backup "$dir/old.db"
two=$(take two.example)
three=$(take three.example)
daemon_stop
# The line of one is another now, and those behind it do not follow.
rm -f "$db" "$db-wal" "$db-shm"
cp "$dir/old.db" "$db"
sed -i '2s/one.example/eno.example/' "$journal"
cp -a "$state" "$dir/laid"

# The worker may do what it wants: only calls of the daemon count.
daemon_start_cut()
{
	echo "----- start, $1" >>"$log"
	env LD_PRELOAD="$preload" KILL_AT_DIR="$dir/at" \
	    KILL_AT_WHILE="$dir/at/now" ${1:+KILL_AT="ksmpoold:$1:daemon"} \
	    "$build/ksmpoold" --config "$conf" >>"$log" 2>&1 &
	daemon=$!
	until_true 30 answers || fail "$1: the daemon does not answer"
}

lay()
{
	rm -rf "$state" "$dir/at"
	cp -a "$dir/laid" "$state"
	mkdir "$dir/at"
	: >"$log"
}

# accept_cut POINT: the first try, in the life of which it happens.
accept_cut()
{
	lay
	daemon_start_cut "$1"
	: >"$dir/at/now"
	ctl --timeout PT20S handout accept --reason first >"$dir/first" 2>&1
	accepted=$?
	rm "$dir/at/now"
}

# whole POINT: nobody was given a key twice, and nothing is lost.
whole()
{
	[ "$(tail -n +2 "$journal" | jq -r 'select(.drawn) | .key' | sort |
	    uniq -d | wc -l)" = 0 ] || fail "$1: a key is drawn twice"
	tail -n +2 "$journal" | jq -r '"\(.n) \(.key) \(.zone)"' >"$dir/lines"
	sql -separator ' ' 'SELECT number, id, zone FROM handouts' >"$dir/rows"
	cmp -s "$dir/lines" "$dir/rows" ||
	    fail "$1: journal and database differ: $(diff "$dir/lines" "$dir/rows")"
	printf '%s\n' "$one one.example" "$one eno.example" \
	    "$two two.example" "$three three.example" \
	    "$four four.example" | sort >"$dir/want"
	cut -d ' ' -f 2- "$dir/lines" | sort | cmp -s - "$dir/want" ||
	    fail "$1: the hand-outs are $(cat "$dir/lines")"
	[ "$(sql "SELECT count(*) FROM keys WHERE state = 'taken'")" = 4 ] ||
	    fail "$1: not the four keys are taken"
}

point()
{
	accept_cut "$1"
	[ -e "$dir/at/fired" ] || fail "$1: it never came: $(cat "$dir/first")"
	if [ "$accepted" -ne 0 ] && [ "${1##*:}" != fail ]; then
		wait "$daemon" 2>/dev/null
		daemon_start
	fi
	# What was answered, or committed, is done.
	if [ "$(ctl --json handout status | jq -r .handouts.locked)" = true ]
	then
		! ctl take --policy default --zone four.example --role ZSK \
		    >"$dir/out" 2>&1 || fail "$1: a key is handed out"
		# After an error of the disk the database rests for a while.
		until_true 60 ctl handout accept --reason again ||
		    fail "$1: it cannot be accepted once more"
		ok "$1: accepted once more"
	elif [ "$accepted" -ne 0 ]; then
		ok "$1: it was accepted, and the answer lost"
	else
		ok "$1: accepted all the same"
	fi
	four=$(take four.example)
	[ "${#four}" -eq 32 ] || fail "$1: no key: $(cat "$dir/err")"
	whole "$1"
	daemon_stop
	daemon_start
	[ "$(ctl --json handout status | jq -r .handouts.locked)" = false ] ||
	    fail "$1: it is locked again: $(ctl handout status)"
	whole "$1"
	[ ! -e "$journal.new" ] || fail "$1: what was begun is left over"
	daemon_kill9
}

if [ $# -eq 0 ]; then
	accept_cut ""
	[ "$accepted" -eq 0 ] || fail "accept: $(cat "$dir/first")"
	daemon_kill9
	step=4
	[ "${KSM_MATRIX:-}" = full ] && step=1
	i=$(random_below $step)
	for kind in write trunc sync create rename unlink; do
		n=$(stat -c %s "$dir/at/ksmpoold.$kind" 2>/dev/null || echo 0)
		while [ "$n" -gt 0 ]; do
			for when in before after fail; do
				[ $((i % step)) -ne 0 ] ||
				    echo "$kind:$n:$when"
				i=$((i + 1))
			done
			n=$((n - 1))
		done
	done >"$dir/points"
	# shellcheck disable=SC2046
	set -- $(cat "$dir/points")
fi
for p in "$@"; do
	point "$p"
done
ok "$# points"
