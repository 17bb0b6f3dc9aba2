#!/bin/sh
# Debris: what SoftHSM keeps of a key whose worker was killed in the middle.
# The inventory tells of it, and a sweep takes exactly that: keys of ours and of
# other programs, nameless ones too, stay.
#
#   sh test_debris.sh [KILLS]     (at most so many; 60)
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

most=${1:-60}
command -v pkcs11-tool >/dev/null 2>&1 || skip "pkcs11-tool is not installed"

token_make
kasp_write "$(kasp_policy default "$(kasp_key ZSK 13 256 P90D)")"
zones default 1
cp -p "$dir"/tokens/*/token.object "$dir/token.object"

fixed()
{
	conf_write "<Strategy>fixed</Strategy><Fixed>$1</Fixed><MaxPerRun>100000</MaxPerRun>" \
	    '<Sessions>2</Sessions>'
}

asking()
{
	[ "$(sqlite3 "$db" "SELECT count(*) FROM key WHERE state = 'intended'" \
	    2>/dev/null || echo 0)" -gt 0 ] && [ -n "$(workers)" ]
}

# A token is lost when it is killed in a login; its copy brings it back.
token_mend()
{
	find "$dir/tokens" -name token.object -size 0 | grep -q . || return 0
	for _i in "$dir"/tokens/*; do
		cp -p "$dir/token.object" "$_i/token.object"
	done
}

# Objects without id and label.
nameless()
{
	token_dump | awk '$2 == "-" && $3 == "-"' | sort
}

settled()
{
	ctl --json status | jq -e '.repositories[0] |
	    .status == "ok" and .busy == 0'
}

# ---- making it ----------------------------------------------------------

fixed 100000
kills=0 debris=0
while [ "$kills" -lt "$most" ] && [ "$debris" -lt 3 ]; do
	daemon_launch
	until_true 20 answers || fail "the daemon does not come up"
	ctl topup >/dev/null 2>&1
	until_true 10 asking
	sleep "0.0$(random_below 100)"
	for p in $(workers); do
		kill -KILL "$p" 2>/dev/null
	done
	daemon_kill9
	until_true 10 no_workers
	token_mend
	kills=$((kills + 1))
	debris=$(nameless | wc -l)
done
echo "$kills kills left $debris nameless objects"
[ "$debris" -gt 0 ] || skip "no debris came of $kills kills"

# ---- what must stay -----------------------------------------------------

p11()
{
	pkcs11-tool --module "$module" --token-label "$label" --login \
	    --pin "$(cat "$dir/pin")" "$@" >"$dir/out" 2>&1 || {
		cat "$dir/out"
		fail "pkcs11-tool $*"
	}
}
p11 --keypairgen --key-type EC:prime256v1 --label foreign
p11 --keypairgen --key-type EC:prime256v1
p11 --keypairgen --key-type rsa:1024 --label knot \
    --id 000102030405060708090a0b0c0d0e0f10111213
p11 --keypairgen --key-type rsa:1024 --label pdns --id 01020304
p11 --keygen --key-type AES:32 --label secret
echo x >"$dir/data"
p11 --write-object "$dir/data" --type data --label note
equal "nameless objects, two of them a key of pkcs11-tool" \
    "$(nameless | wc -l)" $((debris + 2))

fixed "$(sqlite3 "$db" "SELECT count(*) FROM keys WHERE state IN
    ('intended', 'unknown', 'made', 'ready', 'quarantined')")"
daemon_start
until_true 60 settled || fail "the repository does not come to be ok"
check "topup" ctl --timeout PT1M topup --wait
ctl topup --wait >/dev/null
until_true 60 settled || fail "the repository does not come to rest"
token_dump | sort >"$dir/before"
awk '$2 != "-" || $3 != "-"' "$dir/before" >"$dir/named"

# ---- seeing and sweeping it ---------------------------------------------

exits 1 "debris needs a look" ctl inventory
says "and is listed" "debris" "$dir/out"
equal "of the inventory" "$(ctl --json inventory |
    jq '.repositories[0].counts.debris')" "$debris"
token_dump | sort >"$dir/after"
check "an inventory touches nothing" cmp "$dir/before" "$dir/after"

equal "a dry run counts it" "$(ctl --json inventory clean debris \
    --repository SoftHSM --reason t --dry-run | jq .debris)" "$debris"
token_dump | sort >"$dir/after"
check "and sweeps nothing" cmp "$dir/before" "$dir/after"
exits 64 "nobody is asked, and nothing is swept" ctl inventory clean debris \
    --repository SoftHSM --reason t </dev/null
token_dump | sort >"$dir/after"
check "then neither" cmp "$dir/before" "$dir/after"

equal "swept" "$(ctl --json inventory clean debris --repository SoftHSM \
    --reason "works on the HSM" --yes | jq .swept)" "$debris"
token_dump | sort >"$dir/after"
awk '$2 != "-" || $3 != "-"' "$dir/after" >"$dir/named.after"
check "keys of ours and of others are as they were" \
    cmp "$dir/named" "$dir/named.after"
equal "the nameless key of pkcs11-tool is there and signs" \
    "$(awk '$2 == "-" && $3 == "-"' "$dir/after" | tr '\n' ';')" \
    "private - - signs;public - - value;"
compare >/dev/null || {
	cat "$dir/compared"
	fail "token and database differ"
}
ok "token and database agree"
exits 0 "nothing needs a look any more" ctl inventory
equal "a second sweep has nothing to do" \
    "$(ctl --json inventory clean debris --repository SoftHSM --reason t \
    --yes | jq .swept)" 0
says "the reason is in the history" "works on the HSM" - <<EOF
$(ctl --json history)
EOF
check "the history is whole" ctl history verify
daemon_stop
