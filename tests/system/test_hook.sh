#!/bin/sh
# An operator's program is run for each key that is taken: it has the facts, a
# time to end in, and whatever becomes of it, the key is taken.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

hook=$dir/hook
# hook_is LINE...: what the hook does.
hook_is()
{
	{
		echo '#!/bin/sh'
		printf '%s\n' "$@"
	} >"$hook.new"
	chmod 0755 "$hook.new"
	mv "$hook.new" "$hook"
}

# conf_hook [ATTRIBUTE]
conf_hook()
{
	conf_write '<Strategy>fixed</Strategy><Fixed>40</Fixed><LowWater>1</LowWater>' \
	    "<KeysPerMinute>0</KeysPerMinute><Hook${1:+ $1}>$hook</Hook>"
}

faults()
{
	exits 2 "$1" "$build/ksmctl" check --config "$conf"
	says "with file and line" "$conf:[0-9]+: error: $2" "$dir/out"
	[ "$(sed -n "$(grep -oE "$conf:[0-9]+: error: $2" "$dir/out" |
	    cut -d: -f2)p" "$conf" | grep -c "${3:-<Repository }")" -eq 1 ] ||
		fail "it is not that line"
}

token_make
kasp_write "$(kasp_policy default "$(kasp_key KSK 13 256 P1Y)$(kasp_key ZSK 13 256 P90D)")"
zones default 2

# ---- what check says ---------------------------------------------------------

conf_hook
faults "a hook that is not there" "the hook is not on this host"
hook_is 'exit 0'
exits 0 "one that is good" "$build/ksmctl" check --config "$conf"
chmod 0644 "$hook"
faults "one that is no program" "the hook is not a program"
chmod 0775 "$hook"
faults "one that a group may change" "others than its owner can change the hook"
says "with its mode" "0775" "$dir/out"
chmod 0757 "$hook"
faults "or everybody" "others than its owner can change the hook"
daemon_launch
_status=0
wait "$daemon" || _status=$?
daemon=
[ "$_status" -ne 0 ] || fail "the daemon starts with it"
says "the daemon does not start with it" "others than its owner" "$log"
chmod 0755 "$hook"
conf_hook 'timeout="PT0S"'
faults "no time at all" "timeout is not a duration it can be" "<Hook "
conf_hook 'timeout="PT11M"'
faults "too much of it" "timeout is not a duration it can be" "<Hook "

# ---- its facts ------------------------------------------------------------------

hook_is "env | sort >'$dir/env'" "readlink /proc/self/fd/0 >'$dir/input'" \
    "ls /proc/self/fd >'$dir/open'" 'echo "the hook was here"' \
    'echo "and said so" >&2'
conf_hook 'timeout="PT2S"'
export SECRET=secret
daemon_start
check "filled" ctl topup --wait

# take [OPTION...]
take()
{
	ctl --json take --zone zone0.default.example "$@" 2>"$dir/err"
}

failures()
{
	sql "SELECT count(*) FROM history WHERE what = 'hook failed'"
}

exits 0 "a key is taken" take --role KSK --request r-1 --for uri
cp "$dir/out" "$dir/answer"
equal "the hook has done its work" "$(jq -r '.keys[0].hook' "$dir/answer")" "done"
jq -r '.keys[0] | "KSMPOOL_KEY_ID=\(.id)", "KSMPOOL_KEY_LABEL=\(.label)",
    "KSMPOOL_ZONE=\(.zone)", "KSMPOOL_ROLE=\(.role)",
    "KSMPOOL_POLICY=\(.policy)", "KSMPOOL_REPOSITORY=\(.repository)",
    "KSMPOOL_ALGORITHM=\(.algorithm)",
    "KSMPOOL_ALGORITHM_NUMBER=\(.algorithm_number)",
    "KSMPOOL_SIZE=\(.size)", "KSMPOOL_FLAGS=\(.flags)", "KSMPOOL_TAG=\(.tag)",
    "KSMPOOL_PUBLIC_KEY=\(.public_key)", "KSMPOOL_MODULE=\(.module)",
    "KSMPOOL_TOKEN_LABEL=\(.token_label)",
    "KSMPOOL_TOKEN_SERIAL=\(.token_serial)", "KSMPOOL_HANDOUT=\(.handout)",
    "KSMPOOL_CONSUMER=uri", "KSMPOOL_REQUEST=r-1"' "$dir/answer" |
    sort >"$dir/facts"
grep '^KSMPOOL' "$dir/env" >"$dir/given"
diff "$dir/facts" "$dir/given" || fail "the facts of the answer are not the hook's"
ok "it has the facts"
equal "and nothing else but a path" \
    "$(grep -vE '^(KSMPOOL_|PATH=|PWD=|SHLVL=|_=|OLDPWD=)' "$dir/env")" ""
equal "nothing to read" "$(cat "$dir/input")" /dev/null
# 0, 1, 2, and the one that ls reads the directory with
equal "no descriptor of the daemon's" "$(wc -l <"$dir/open")" 4
says "what it prints is in the log" "the hook was here" "$log"
says "what it says on standard error, too" "and said so" "$log"
equal "the history has nothing to say" "$(failures)" 0

# ---- when it is run -----------------------------------------------------------------

hook_is "echo \"\$KSMPOOL_KEY_ID\" >>'$dir/ran'"
: >"$dir/ran"
ran()
{
	wc -l <"$dir/ran"
}
exits 0 "the same request" take --role KSK --request r-1
exits 0 "a dry run" take --role KSK --dry-run
exits 0 "a key that is somebody's" ctl key mark-used \
    "$(ctl --json key list --role KSK --state ready | jq -r '.keys[0].id')" \
    --zone zone1.default.example --reason "imported by hand"
equal "are no reason to run it" "$(ran)" 0
exits 0 "a dozen at once" take --role ZSK --count 12
equal "is one for each" "$(sort "$dir/ran")" \
    "$(jq -r '.keys[].id' "$dir/out" | sort)"

# ---- it fails ---------------------------------------------------------------------------

# failed TEXT PATTERN [OPTION...]: a take whose hook fails.
failed()
{
	_what=$1 _why=$2
	shift 2
	_n=$(failures)
	exits 1 "$_what" take --role ZSK "$@"
	_id=$(jq -r '.keys[0].id' "$dir/out")
	says "says how" "$_why" "$dir/out"
	equal "the key is taken" "$(ctl --json key show "$_id" | jq -r .key.state)" taken
	equal "the history has it" "$(failures)" $((_n + 1))
	equal "and whose it was" "$(sql "SELECT uid FROM history WHERE what = 'hook failed' AND subject = '$_id'")" "$(id -u)"
	says "the log as well" "the hook $hook for key $_id failed: .*$_why" "$log"
}

hook_is 'exit 7'
failed "a hook that fails" "exit status 7"
equal "counted" "$(jq .hooks_failed "$dir/out")" 1
exits 1 "in words" ctl take --zone zone0.default.example --role ZSK
says "that say what to do" "is handed out, but its hook failed: exit status 7" "$dir/out"
hook_is 'kill -9 $$'
failed "one that dies" "signal 9"
hook_is "echo \$\$ >'$dir/hanging'" "sleep 1000 & echo \$! >>'$dir/hanging'" wait
begin=$(millis)
failed "one that hangs" "did not end within 2 s and was killed"
[ $(($(millis) - begin)) -lt 15000 ] || fail "that took too long"
gone()
{
	while read -r p; do
		[ "$(ps -o stat= -p "$p" | cut -c1)" = "" ] || return 1
	done <"$dir/hanging"
}
until_true 5 gone || fail "it, or what it began, still runs"
ok "it is gone, and what it began"
rm "$hook"
failed "one that was removed" "No such file"
printf 'not a program\n' >"$hook"
chmod 0755 "$hook"
failed "one that cannot be run" "exit status 127"

# ---- nobody waits for it ------------------------------------------------------------------

# From here on hooks hang until they are let go, however slow the machine is.
conf_hook 'timeout="PT1M"'
check "a minute for each" ctl reload

hook_is "touch '$dir/began'" 'sleep 1' 'exit 3'
before=$(failures)
"$build/ksmctl" --socket "$sock" take --zone zone1.default.example --role ZSK \
    --request left >"$dir/left" 2>&1 &
client=$!
until_true 20 test -e "$dir/began" || fail "the hook is not run"
kill -KILL "$client"
wait "$client" 2>/dev/null
one_more()
{
	[ "$(failures)" -gt "$before" ]
}
until_true 10 one_more || fail "its failure is not on record"
ok "a client that left: its failure is on record"
exits 1 "and the key is his" ctl take --request left --role ZSK \
    --zone zone1.default.example
says "the answer says it, too" "its hook failed: exit status 3" "$dir/out"
equal "it is not run again" "$(failures)" $((before + 1))

hook_is "touch '$dir/again'" 'sleep 3'
"$build/ksmctl" --socket "$sock" take --zone zone1.default.example --role ZSK \
    --request stop >"$dir/stop" 2>&1 &
client=$!
until_true 20 test -e "$dir/again" || fail "the hook is not run"
daemon_stop
wait "$client"
says "a hook that is cut off is in the log" "failed: ksmpoold stopped while it ran" "$log"
equal "and in the history, before the end" \
    "$(sqlite3 "$db" "SELECT group_concat(what, ', ') FROM (SELECT what FROM history ORDER BY number DESC LIMIT 2)")" \
    "daemon stopped, hook failed"
daemon_start
exits 1 "the key is his as well" ctl take --request stop --role ZSK \
    --zone zone1.default.example
says "with what is known of its hook" "ksmpoold stopped while it ran" "$dir/out"

# Who is gone before the answer has its hook run all the same.
hook_is "echo \"\$KSMPOOL_KEY_ID\" >>'$dir/ran'"
: >"$dir/ran"
lines=$(wc -l <"$state/handout.journal")
written()
{
	[ "$(wc -l <"$state/handout.journal")" -gt "$lines" ]
}
"$build/ksmctl" --socket "$sock" take --zone zone1.default.example --role ZSK \
    --count 10 >"$dir/gone" 2>&1 &
client=$!
until_true 20 written || fail "no key is taken"
kill -KILL "$client"
wait "$client" 2>/dev/null
ten()
{
	[ "$(ran)" -eq 10 ]
}
until_true 20 ten || fail "$(ran) hooks of 10"
ok "who leaves has all of his hooks run"

# ---- more than run at a time, and an end --------------------------------------------------

# many REQUEST: the keys of it, in the background; eight of their hooks run.
many()
{
	rm -f "$dir/go"
	: >"$dir/ran"
	"$build/ksmctl" --socket "$sock" take --zone zone0.default.example \
	    --role KSK --count 12 --request "$1" >"$dir/many" 2>&1 &
	client=$!
	until_true 20 eight || fail "$(ran) hooks run"
}

eight()
{
	[ "$(ran)" -eq 8 ]
}

twelve()
{
	[ "$(ran)" -ge 12 ]
}

# What is run only where it is not known to have run: all keys have had theirs.
all_ran()
{
	equal "all had theirs" "$(sort -u "$dir/ran" | wc -l)" 12
}

hook_is "echo \"\$KSMPOOL_KEY_ID\" >>'$dir/ran'" \
    "until [ -e '$dir/go' ]; do sleep 0.1; done"
many twelve
daemon_stop
: >"$dir/go"
wait "$client"
equal "what was cut off is on record, and what was not run" \
    "$(sqlite3 "$db" "SELECT group_concat(n, ' ') FROM (SELECT count(*) AS n FROM history WHERE what LIKE 'hook %' AND why LIKE '%stopped%' GROUP BY what ORDER BY what)")" \
    "9 4"
says "the log warns" "warning: .*the hook .* was not run: ksmpoold stopped" "$log"
daemon_start
exits 1 "the same request" take --role KSK --count 12 --request twelve
equal "has what is not known" "$(jq .hooks_failed "$dir/out")" 8
equal "and runs what was not" "$(ran)" 12
all_ran
exits 1 "once" take --role KSK --count 12 --request twelve
equal "and no more" "$(ran)" 12

many killed
daemon_kill9
: >"$dir/go"
wait "$client"
daemon_start
exits 0 "after a kill the same request" take --role KSK --count 12 \
    --request killed
all_ran
equal "knows that all were run" "$(jq -c '[.keys[].hook] | unique' "$dir/out")" '["done"]'
check "the history is sound" ctl history verify
