#!/bin/sh
# Zones that share a key: each of a group is given the same one, one draws it
# and the others follow, also when it rolls, is retired or is somebody's
# already.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

# policy NAME [XML]
policy()
{
	kasp_policy "$1" "${2:-}$(kasp_key KSK 13 256 P1Y)$(kasp_key ZSK 13 256 P90D)"
}

# owners ZONE OWNER...
owners()
{
	printf '%s\t%s\n' "$@" >"$dir/owners"
}

workers_gate
token_make
kasp_write "$(policy all)" "$(policy keys '<ShareKeys/>')" "$(policy customers)" \
    "$(policy fresh)"
zones all 4 keys 2 customers 4 fresh 3
owners zone0.customers.example acme zone1.customers.example acme \
    zone2.customers.example beta soon.example acme
policy_xml="<OwnerFile>$dir/owners</OwnerFile>"
pools_xml='<Pool policy="all" role="KSK"><Scope>policy</Scope></Pool>
<Pool policy="customers" role="KSK"><Scope>owner</Scope></Pool>
<Pool policy="fresh"><Scope>policy</Scope></Pool>'
conf_write '<Strategy>fixed</Strategy><Fixed>12</Fixed><LowWater>1</LowWater>' \
    '<KeysPerMinute>0</KeysPerMinute>'
daemon_start
check "filled" ctl topup --wait

# take ZONE ROLE [OPTION...]: the whole answer.
take()
{
	_z=$1 _r=$2
	shift 2
	ctl --json take --zone "$_z" --role "$_r" "$@" 2>"$dir/err"
}

# key ZONE [OPTION...]: the id of the KSK that zone N of policy P is given, as
# N.P.
key()
{
	_z=zone$1.example
	shift
	take "$_z" KSK "$@" | jq -r '.keys[0].id'
}

drawn()
{
	sql 'SELECT count(DISTINCT id) FROM handouts'
}

# ---- all zones of a policy ------------------------------------------------------

answer=$(take zone0.all.example KSK)
first=$(echo "$answer" | jq -r '.keys[0].id')
equal "the first zone draws it" "$(echo "$answer" | jq '.keys[0].shared')" false
answer=$(take zone1.all.example KSK --request second)
equal "the second gets the same" "$(echo "$answer" | jq -r '.keys[0].id')" "$first"
equal "and is told so" "$(echo "$answer" | jq '.keys[0].shared')" true
equal "a zone asks again" "$(key 0.all)" "$first"
equal "a request is asked again" \
    "$(take zone1.all.example KSK --request second | jq -r '"\(.again) \(.keys[0].id)"')" "true $first"
equal "a dry run, too" "$(key 2.all --dry-run)" "$first"
equal "which is no zone of it" \
    "$(ctl --json key show "$first" | jq -c .zones)" \
    '["zone0.all.example","zone1.all.example"]'
says "in the journal there are both, and one drew it" \
    "$first.*zone1.all.example.*\"drawn\":false" "$state/handout.journal"
equal "its ZSK is its own" \
    "$(for z in 0 1 2; do take zone$z.all.example ZSK | jq -r '.keys[0].id'; done | sort -u | wc -l)" 3
exits 2 "two of them at once" ctl take --zone zone0.all.example --role KSK --count 2
says "make no sense" "share the keys.*--roll" "$dir/out"
equal "with ShareKeys" "$(key 0.keys)" "$(key 1.keys)"
equal "of ZSKs, too" \
    "$(for z in 0 1; do take zone$z.keys.example ZSK | jq -r '.keys[0].id'; done | sort -u | wc -l)" 1

# ---- what it touches -------------------------------------------------------------

check "impact" ctl --json impact "$first"
equal "names the zones" "$(jq -c .zones "$dir/out")" \
    '["zone0.all.example","zone1.all.example"]'
equal "and needs one key for them" \
    "$(jq -c '[.scope, .zones_total, .keys_needed, .replaceable]' "$dir/out")" \
    '["policy",2,1,true]'

# ---- the group rolls --------------------------------------------------------------

before=$(drawn)
second=$(key 0.all --roll)
equal "a roll draws another" "$(($(drawn) - before))" 1
equal "the others follow" "$(key 1.all) $(key 2.all --roll)" "$second $second"
equal "who never had one, too" "$(key 3.all)" "$second"
equal "all that is one key" "$(($(drawn) - before))" 1
third=$(key 2.all --roll)
equal "the next roll is another zone's" "$(($(drawn) - before))" 2
equal "and everybody's" "$(key 0.all --roll) $(key 1.all)" "$third $third"
equal "what was rolled is still taken, and whose is known" \
    "$(ctl --json key show "$second" | jq -c '[.key.state, .zones_total]')" '["taken",4]'
check "it is retired" ctl key retire "$third" --reason "compromised"
fourth=$(key 1.all)
equal "a retired one is followed by another" "$(($(drawn) - before))" 3
equal "for all" "$(key 0.all) $(key 2.all)" "$fourth $fourth"
check "it is given back" ctl key return "$fourth" --reason "not used"
fifth=$(key 0.all)
equal "so is one that was given back" "$(($(drawn) - before))" 4
equal "for all" "$(key 2.all)" "$fifth"

# ---- somebody uses it already -----------------------------------------------------

ready=$(ctl --json key list --policy all --role KSK --state ready | jq -r '.keys[0].id')
check "a zone has another one" ctl key mark-used "$ready" \
    --zone zone1.all.example --reason "imported by hand"
equal "which is the group's from then on" "$(key 0.all) $(key 1.all)" "$ready $ready"
ready=$(ctl --json key list --policy all --role KSK --state ready | jq -r '.keys[0].id')
check "a zone of another policy has one" ctl key mark-used "$ready" \
    --zone zone0.keys.example --reason "imported by mistake"
equal "it is taken" "$(ctl --json key show "$ready" | jq -r .key.state)" taken
equal "and its own" "$([ "$(key 0.all)" = "$ready" ] || echo another)" another

# ---- several at once -----------------------------------------------------------------

# rush ROLE ZONE...: all of them ask while no worker begins; $rush are the
# clients, $leader the first of them.
rush()
{
	_r=$1
	shift
	# while there is a pause none stays for the next take
	ctl pause --reason rush >/dev/null || fail "pause"
	until_true 20 no_workers || fail "a worker stays"
	: >"$dir/hold"
	before=$(drawn)
	rush='' leader=
	for z; do
		"$build/ksmctl" --socket "$sock" take --zone "$z.example" \
		    --role "$_r" >"$dir/rush" 2>&1 &
		[ -z "$leader" ] || rush="$rush $!"
		[ -n "$leader" ] || leader=$!
		until_true 20 one_taking || fail "no key is taking"
	done
	sleep 0.5
	equal "one of them draws" "$(count taking)" 1
}
one_taking()
{
	[ "$(count taking)" -gt 0 ]
}
# served CLIENT...
served()
{
	rm "$dir/hold"
	for p; do
		exits 0 "each is served" wait "$p"
	done
	equal "with one key" "$(($(drawn) - before))" 1
	ctl resume >/dev/null || fail "resume"
}

rush KSK zone0.fresh zone1.fresh zone2.fresh
# shellcheck disable=SC2086
served "$leader" $rush
rush ZSK zone0.fresh zone1.fresh zone2.fresh
kill -KILL "$leader"
wait "$leader" 2>/dev/null
# shellcheck disable=SC2086
served $rush
equal "and who drew it first has none" \
    "$(ctl --json handout list --zone zone0.fresh.example | jq -c '[.handouts[].role]')" '["KSK"]'
rush KSK zone3.customers zone3.customers
# shellcheck disable=SC2086
served "$leader" $rush

# ---- all zones of an owner -----------------------------------------------------------

acme=$(key 0.customers)
equal "an owner's zones share one" "$(key 1.customers)" "$acme"
beta=$(key 2.customers)
alone=$(key 3.customers)
equal "another owner, and who has none, do not" \
    "$(printf '%s\n' "$acme" "$beta" "$alone" | sort -u | wc -l)" 3
equal "who has none is asked again" "$(key 3.customers)" "$alone"
equal "a zone that is to be added has an owner" \
    "$(take soon.example KSK --policy customers | jq -r '.keys[0].id')" "$acme"
ctl --json impact "$acme" >"$dir/out" || fail "impact"
equal "impact of an owner's key" \
    "$(jq -c '[.scope, .zones_total, .keys_needed]' "$dir/out")" '["owner",3,1]'
roll=$(key 1.customers --roll)
equal "the owner rolls" "$(key 0.customers)" "$roll"
equal "alone" "$(key 2.customers) $(key 3.customers)" "$beta $alone"
rolled=$(key 3.customers --roll)
[ "$rolled" != "$alone" ] || fail "a zone of its own does not roll"
ready=$(ctl --json key list --policy customers --role KSK --state ready | jq -r '.keys[0].id')
check "an owner has another one" ctl key mark-used "$ready" \
    --zone zone2.customers.example --reason "imported by hand"
owners zone0.customers.example acme zone1.customers.example beta \
    zone2.customers.example beta
check "a zone is sold" ctl reload
equal "it gets what its owner has" "$(key 1.customers)" "$ready"
equal "and who is left keeps his" "$(key 0.customers)" "$roll"

# ---- never before its backup ------------------------------------------------------------

conf_write '<Strategy>fixed</Strategy><Fixed>12</Fixed><LowWater>1</LowWater>' \
    '<KeysPerMinute>0</KeysPerMinute><RequireBackup/>'
check "backups are required" ctl reload
exits 2 "a zone that has not got it" ctl take --policy all --role KSK \
    --zone late.example
says "is told why" "zones of policy share, is in no backup.*backup commit" "$dir/out"
exits 1 "who has it, has it, and is told" ctl take --role KSK --zone zone0.all.example
loud()
{
	sql "SELECT count(*) FROM history WHERE what = 'key taken uncovered'"
}
before=$(loud)
conf_write '<Strategy>fixed</Strategy><Fixed>12</Fixed><LowWater>1</LowWater><OnShortage>uncovered</OnShortage>' \
    '<KeysPerMinute>0</KeysPerMinute><RequireBackup/>'
check "who may do without" ctl reload
exits 1 "is given it" ctl --json take --policy all --role KSK --zone loud.example
equal "loudly" "$(jq .uncovered "$dir/out")" true
equal "on record" "$(loud)" $((before + 1))
conf_write '<Strategy>fixed</Strategy><Fixed>12</Fixed><LowWater>1</LowWater><OnShortage>wait</OnShortage>' \
    '<KeysPerMinute>0</KeysPerMinute><RequireBackup/>'
check "who may wait" ctl reload
"$build/ksmctl" --socket "$sock" take --policy all --role KSK \
    --zone late.example >"$dir/late" 2>&1 &
late=$!
sleep 1
kill -0 "$late" 2>/dev/null || fail "does not wait: $(cat "$dir/late")"
check "a backup begins" ctl backup begin --label one
check "and is done" ctl backup commit one
exits 0 "who waited is let through" wait "$late"
equal "with the key of all" \
    "$(ctl --json handout list --zone late.example | jq -r '.handouts[0].id')" "$(key 0.all)"

# ---- over a restart ------------------------------------------------------------------

daemon_stop
daemon_start
equal "the groups are known" "$(key 0.customers) $(key 1.customers) $(key 3.customers)" \
    "$roll $ready $rolled"
equal "no key twice" \
    "$(tail -n +2 "$state/handout.journal" | jq -r 'select(.drawn) | .key' | sort | uniq -d | wc -l)" 0
check "the history is sound" ctl history verify
