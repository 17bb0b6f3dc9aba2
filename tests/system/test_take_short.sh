#!/bin/sh
# A pool is short, or nothing can be made: what OnShortage says is done, who
# waits is let through or gives up, and none of it costs a key.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

zsk()
{
	kasp_policy "$1" "$(kasp_key ZSK "${2:-13}" "${3:-256}" P90D)"
}

# pool POLICY XML: a pool of three that nothing refills by itself.
pool()
{
	echo "<Pool policy=\"$1\"><Strategy>fixed</Strategy><Fixed>3</Fixed>$2<LowWater>1</LowWater></Pool>"
}

workers_gate
token_make
kasp_write "$(zsk refuse)" "$(zsk wait)" "$(zsk generate)" "$(zsk uncovered)" \
    "$(zsk slow 8 3072)"
zones refuse 1 wait 1 generate 1 uncovered 1 slow 4
pools_xml="$(pool refuse '')
$(pool wait '<OnShortage>wait</OnShortage>')
$(pool generate '<OnShortage>generate</OnShortage>')
$(pool uncovered '<OnShortage>uncovered</OnShortage>')
<Pool policy=\"slow\"><Strategy>manual</Strategy></Pool>"
repository='<KeysPerMinute>0</KeysPerMinute>'
conf_write '' "$repository<RequireBackup/>"
daemon_start
for p in refuse wait generate uncovered; do
	check "filled: $p" ctl topup --policy $p --wait
done

# take POLICY [OPTION...]: for the first zone of it.
take()
{
	_p=$1
	shift
	ctl take --zone "zone0.$_p.example" --role ZSK "$@"
}

handed()
{
	sql 'SELECT count(*) FROM handouts'
}

# None is on its way, and the journal has what the database has.
at_rest()
{
	equal "none is on its way" "$(count taking)" 0
	tail -n +2 "$state/handout.journal" | jq -r .key | sort >"$dir/lines"
	sql 'SELECT id FROM handouts' | sort | cmp -s - "$dir/lines" ||
		fail "journal and database differ"
	equal "no key twice" "$(uniq -d "$dir/lines" | wc -l)" 0
}

# waiter NAME OPTION...: takes in the background; $waiter is its client.
waiter()
{
	_f=$dir/$1
	shift
	"$build/ksmctl" --socket "$sock" take --role ZSK "$@" >"$_f" 2>&1 &
	waiter=$!
}

# waits NAME PID
waits()
{
	kill -0 "$2" 2>/dev/null || fail "it does not wait: $(cat "$dir/$1")"
}

# ---- nothing is in a backup -------------------------------------------------

exits 2 "refuse" take refuse
says "says what is missing" "0 of its 3 ready keys are in a backup.*backup commit" \
    "$dir/out"
made=$(sql 'SELECT count(*) FROM keys')
exits 2 "generate cannot make a backup" take generate
says "and says so" "0 of its 3 ready keys are in a backup" "$dir/out"
equal "no key is made for that" "$(sql 'SELECT count(*) FROM keys')" "$made"
exits 2 "a dry run does not wait" ctl --timeout PT5S take \
    --zone zone0.wait.example --role ZSK --dry-run
says "and says what is missing" "in a backup" "$dir/out"

exits 1 "uncovered hands it out" ctl --json take \
    --zone zone0.uncovered.example --role ZSK
uncovered=$(jq -r '.keys[0].id' "$dir/out")
equal "and says what it is" "$(jq .uncovered "$dir/out")" true
says "so does the log" "key $uncovered is in NO BACKUP" "$log"
says "so does the journal" "$uncovered.*\"uncovered\":true" \
    "$state/handout.journal"
equal "and the history" \
    "$(sql "SELECT count(*) FROM history WHERE what = 'key taken uncovered' AND subject = '$uncovered'")" 1
ctl backup check >"$dir/out" && fail "backup check has nothing to say"
says "backup check names it" "$uncovered" "$dir/out"
exits 1 "status asks for attention" ctl status
before=$(handed)

# ---- wait: until there is a backup --------------------------------------------

waiter through --zone zone0.wait.example --request let-through
through=$waiter
waiter killed --zone zone0.wait.example --request killed
killed=$waiter
says_why()
{
	grep -q 'take for zone zone0.wait.example waits: .*in a backup' "$log"
}
until_true 10 says_why || fail "that a take waits is not in the log"
exits 75 "who gives up is told" ctl --timeout PT2S take \
    --zone zone0.wait.example --role ZSK
waits through "$through"
waits killed "$killed"
equal "who waits has no key" "$(handed) $(count taking)" "$before 0"
kill -KILL "$killed"
wait "$killed" 2>/dev/null
check "a backup begins" ctl backup begin --label one
sleep 1
waits through "$through"
check "and is done" ctl backup commit one
exits 0 "who waited is let through" wait "$through"
sleep 1
equal "who was killed or gave up has no key" "$(handed)" $((before + 1))
equal "the request knows it" \
    "$(sql "SELECT count(*) FROM handouts WHERE request = 'let-through'")" 1
check "uncovered with a backup is no more than a take" take uncovered
check "generate with a backup, too" take generate
at_rest

# ---- no backup required, and nothing there ---------------------------------------

conf_write '' "$repository"
check "without RequireBackup" ctl reload
check "paused" ctl pause --reason "nothing is made"
check "a pause does not stop hand-outs" take uncovered
exits 2 "uncovered is no help when there is none" take uncovered
says "and says so" "0 ready keys.*topup" "$dir/out"
check "the last two" take generate --count 2
exits 2 "generate, while paused" take generate
says "says that none can be made" "0 ready keys.*none can be made.*pause" "$dir/out"
check "the last two" take wait --count 2
before=$(handed)
waiter through --zone zone0.wait.example --count 3
through=$waiter
sleep 1
waits through "$through"
check "a reload changes nothing" ctl reload
waits through "$through"
check "resumed" ctl resume
exits 0 "a refill lets it through" wait "$through"
equal "three at once" "$(($(handed) - before))" 3
check "generate makes what is missing" take generate --count 3
at_rest

# ---- more than there is to be --------------------------------------------------

check "filled: generate" ctl topup --policy generate --wait
runs()
{
	sql "SELECT count(*) FROM history WHERE what = 'topup started'"
}
before=$(runs)
exits 2 "generate does not wait for what is not made" take generate --count 4
says "and says what helps" "has 3 ready keys, and it is to have no more; ask for fewer" \
    "$dir/out"
tags=$(ctl --json key list --policy generate --state ready | jq -c '[.keys[].tag]')
free=$(jq -n "[range(10)] - $tags | .[0]")
exits 2 "nor for a tag" take generate --tag-range "$free:$free"
says "and says so" "ask for other key tags.*0 fit: 3 have other tags" "$dir/out"
exits 2 "nor for newer ones" take generate --not-before "$(date -u -d '+1 hour' +%Y-%m-%dT%H:%M:%SZ)"
says "and says so" "has 0 ready keys that were made since then, and .*ask for older" \
    "$dir/out"
equal "no topup is run for that" "$(runs)" "$before"
check "all of them" take generate --count 3

# ---- while keys are made -------------------------------------------------------------

slow()
{
	sql "SELECT count(*) FROM keys WHERE policy = 'slow' AND state IN ($1)"
}
being_made()
{
	[ "$(slow "'intended'")" -gt 0 ]
}
check "a long refill" ctl topup --policy slow
until_true 20 being_made || fail "no key is made"
check "a take meanwhile" take refuse
equal "goes before the next key" "$(($(slow "'made', 'ready'") < 4))" 1
check "the rest may wait" ctl pause --reason "enough"

# ---- the token says no, the worker stands still ------------------------------------------

# held NAME OPTION...: a take that waits for its worker; `go` lets it begin.
held()
{
	until_true 60 no_workers || fail "a worker stays"
	: >"$dir/hold"
	waiter "$@"
	until_true 10 sh -c "[ \"\$(sqlite3 -readonly '$db' \"SELECT count(*) FROM keys WHERE state = 'taking'\")\" = 1 ]" ||
		fail "no key is taking"
}

go()
{
	rm "$dir/hold"
}

before=$(handed)
held killed --zone zone0.refuse.example
kill -KILL "$waiter"
wait "$waiter" 2>/dev/null
go
none_taking()
{
	[ "$(count taking)" -eq 0 ]
}
until_true 20 none_taking || fail "a client that is killed keeps its key"
equal "who is killed while it is proven costs none" "$(handed)" "$before"

# Another program writes: from before the row until after the journal.
lock()
{
	rm -f "$dir/held"
	{
		echo 'BEGIN IMMEDIATE;'
		echo "UPDATE pool SET auto_made = auto_made;"
		echo ".shell touch '$dir/held'"
		echo ".shell sleep $1"
		echo 'ROLLBACK;'
	} | sqlite3 -cmd '.timeout 10000' "$db" &
	holder=$!
	until_true 20 test -e "$dir/held" || fail "no lock"
}

held locked --zone zone0.refuse.example --request locked
lock 3
go
check "a lock while a key is proven is waited for" wait "$waiter"
wait "$holder"
equal "and it is handed out" "$(handed)" $((before + 1))
check "the last of these" take uncovered
at_rest
before=$(handed)
locks()
{
	grep -c 'results wait and nothing new is begun' "$log"
}
lock_seen()
{
	[ "$(locks)" -gt "$seen" ]
}
seen=$(locks)
lock 4
waiter through --zone zone0.uncovered.example
until_true 3 lock_seen || fail "the daemon does not see the lock"
exits 2 "when the lock is known of, the next is told" take uncovered
says "what holds it up" "the database cannot be written now" "$dir/out"
check "who was there waits" wait "$waiter"
wait "$holder"
equal "one more" "$(handed)" $((before + 1))

# ---- parked --------------------------------------------------------------------------------

until_true 60 no_workers || fail "a worker stays"
cp "$dir/pin" "$dir/right"
echo wrong-0123456789 >"$dir/pin"
exits 2 "a wrong PIN" take uncovered
says "is said" "PIN" "$dir/out"
equal "no key is lost by it" "$(count taking)" 0
exits 2 "nor asked for again" take uncovered
says "the repository is parked" "repository SoftHSM is parked" "$dir/out"
waiter through --zone zone0.wait.example
exits 2 "nobody waits for that" wait "$waiter"
cat "$dir/right" >"$dir/pin"
until_true 20 take uncovered || fail "the right PIN does not help"
ok "the right PIN does"
at_rest
check "the history is sound" ctl history verify
