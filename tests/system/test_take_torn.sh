#!/bin/sh
# A key that was torn in its token after it was ready is not handed out, and the
# next one is taken in its place. What is no whole pair is missing and may come
# again; what is not the pair on record is kept for a human.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

command -v pkcs11-tool >/dev/null 2>&1 || skip "pkcs11-tool is not installed"

p11()
{
	pkcs11-tool --module "$module" --token-label "$label" --login \
	    --pin "$(cat "$dir/pin")" "$@" >"$dir/out" 2>&1
}

token_make
kasp_write "$(kasp_policy default "$(kasp_key ZSK 13 256 P90D)")" \
    "$(kasp_policy rsa "$(kasp_key ZSK 8 1024 P90D)")"
zones default 18 rsa 2
conf_write '<Strategy>manual</Strategy>'
daemon_start
journal=$state/handout.journal
check "topup" ctl topup --wait

# Ready keys of a policy, the oldest first, one a line.
policy=default
ready()
{
	ctl --json key list --state ready --policy $policy |
	    jq -r '.keys | sort_by(.serial)[].id'
}

state_of()
{
	ctl --json key show "$1" | jq -r .key.state
}

# take_past ID STATE WORDS TEXT: ID, which is the oldest, is torn. The next one
# is taken, and ID comes to be STATE with WORDS in the log.
n=0
take_past()
{
	_next=$(ready | sed -n 2p)
	n=$((n + 1))
	ctl --json take --policy $policy --role ZSK --zone "zone$n.example" \
	    >"$dir/taken" 2>"$dir/err" || {
		cat "$dir/err"
		fail "$4: nothing is taken"
	}
	equal "$4: the next one is taken" "$(jq -r '.keys[0].id' "$dir/taken")" \
	    "$_next"
	equal "$4: and is" "$(state_of "$_next")" taken
	equal "$4: one line in the journal" "$(wc -l <"$journal")" $((n + 1))
	until_true 10 is "$1" "$2" || fail "$4: key $1 is $(state_of "$1")"
	grep -q "$1" "$journal" && fail "$4: key $1 is in the journal"
	says "$4: it is $2, and the log says why" "key $1 .*$3" "$log"
}

is()
{
	[ "$(state_of "$1")" = "$2" ]
}

private_half()
{
	token_dump | grep -qi "^private $1 .* signs"
}

# ---- one half is gone --------------------------------------------------------

torn=$(ready | head -n 1)
p11 --delete-object --type pubkey --id "$torn" || skip "pkcs11-tool cannot delete"
take_past "$torn" missing "only its private half" "no public half"
half=$torn
torn=$(ready | head -n 1)
p11 --delete-object --type privkey --id "$torn" || fail "delete"
take_past "$torn" missing "only its public half" "no private half"
torn=$(ready | head -n 1)
p11 --delete-object --type privkey --id "$torn" || fail "delete"
p11 --delete-object --type pubkey --id "$torn" || fail "delete"
take_past "$torn" missing "not in the token" "neither half"

# Of RSA the private half knows the public key: it is no whole pair for that.
policy=rsa
torn=$(ready | head -n 1)
p11 --delete-object --type pubkey --id "$torn" || fail "delete"
take_past "$torn" missing "only its private half" "no public half of RSA"
policy=default

# ---- one half is another's ----------------------------------------------------

p11 --keypairgen --key-type EC:prime256v1 --label other --id 0102 ||
    fail "pkcs11-tool makes no key"
p11 --read-object --type pubkey --id 0102 --output-file "$dir/other.der" ||
    fail "read"
torn=$(ready | head -n 1)
p11 --delete-object --type pubkey --id "$torn" || fail "delete"
p11 --write-object "$dir/other.der" --type pubkey --id "$torn" ||
    skip "pkcs11-tool cannot write a public key"
take_past "$torn" quarantined "failed its check" "another public half"
# Whoever mends that begins with taking the wrong one away.
p11 --delete-object --type pubkey --id "$torn" || fail "delete"
mended=$torn

# Both are another's: a sound pair, and not the one on record.
torn=$(ready | head -n 1)
p11 --delete-object --type privkey --id "$torn" || fail "delete"
p11 --delete-object --type pubkey --id "$torn" || fail "delete"
p11 --keypairgen --key-type EC:prime256v1 --label "$torn" --id "$torn" ||
    fail "keypairgen"
take_past "$torn" quarantined "public key is not the one on record" "another pair"

# A public half of another beside its own.
torn=$(ready | head -n 1)
p11 --write-object "$dir/other.der" --type pubkey --id "$torn" || fail "write"
take_past "$torn" missing "several objects in the token" "two public halves"

# ---- among several, and when none is left --------------------------------------

torn=$(ready | sed -n 2p)
p11 --delete-object --type pubkey --id "$torn" || fail "delete"
want=$(ready | sed -n '1p;3p' | tr '\n' ' ')
got=$(ctl --json take --policy default --role ZSK --zone two.example --count 2 \
    2>/dev/null | jq -r '.keys[].id' | tr '\n' ' ')
equal "two at once, past the one between them" "$got" "$want"
until_true 10 is "$torn" missing || fail "key $torn is $(state_of "$torn")"
journal_lines=$(wc -l <"$journal")

for torn in $(ready); do
	p11 --delete-object --type pubkey --id "$torn" || fail "delete"
done
left=$(ready | wc -l)
echo "$left are left, all of them torn"
exits 2 "nothing sound is left, nothing is taken" \
    ctl take --policy default --role ZSK --zone last.example --timeout PT5S
says "and says why" "ready keys" "$dir/out"
equal "nothing was written" "$(wc -l <"$journal")" "$journal_lines"
for torn in $(ctl --json key list --state taken | jq -r '.keys[].id'); do
	grep -q "$torn" "$journal" || fail "key $torn is taken and in no journal"
done
for torn in $half $mended; do
	private_half "$torn" || fail "the private half of $torn is gone"
done
ok "no look destroyed a half of a key that once was whole"
check "the database is sound" ctl database check
check "and the history" ctl history verify
