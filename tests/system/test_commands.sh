#!/bin/sh
# Every command of ksmctl against a daemon and a token: what it does, what it
# says of a wrong use, and that keys of other programs stay as they are.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

command -v pkcs11-tool >/dev/null 2>&1 || skip "pkcs11-tool is not installed"

# shellcheck disable=SC2119
token_make
kasp_write "$(kasp_policy default \
    "$(kasp_key KSK 13 256 P1Y)$(kasp_key ZSK 13 256 P90D)")"
zones default 2
# shellcheck disable=SC2119
conf_write "<LowWater>1</LowWater>" # a refill beside other programs can tear SoftHSM's pairs

# one ID of a key in STATE
one()
{
	sql "SELECT id FROM keys WHERE state = '$1' ORDER BY serial LIMIT 1"
}

state_of()
{
	sql "SELECT state FROM keys WHERE id = '$1'"
}

# A pair of another program. foreign_make ID LABEL
foreign_make()
{
	pkcs11-tool --module "$module" --token-label "$label" --login \
	    --pin "$(cat "$dir/pin")" --keypairgen --key-type EC:prime256v1 \
	    --id "$1" --label "$2" >/dev/null 2>&1 ||
	    fail "pkcs11-tool makes no key"
}

# wrong TEXT PATTERN COMMAND...: exit 64 with words that match.
wrong()
{
	_text=$1
	_pattern=$2
	shift 2
	exits 64 "$_text" ctl "$@" </dev/null
	says "  and says: $_pattern" "$_pattern" "$dir/out"
}

foreign=00112233445566778899aabbccddeeff
short=a1b2
foreign_make $foreign signer
foreign_make $short other
daemon_start
check "filled" ctl --timeout PT60S topup --wait
foreign_dump()
{
	token_dump | grep -E " ($foreign|$short) " | sort
}
before=$(foreign_dump)

# ---- both ends know the same commands -----------------------------------

ctl help >"$dir/help"
sed -n '/^commands:/,/^$/s/^  \([a-z][a-z]*\( [a-z][a-z]*\)\{0,1\}\)  .*/\1/p' \
    "$dir/help" >"$dir/names"
[ "$(wc -l <"$dir/names")" -ge 25 ] || fail "help lists $(wc -l <"$dir/names")"
while read -r name; do
	# shellcheck disable=SC2086 # two words
	ctl $name --help >"$dir/out" 2>&1 || fail "$name --help"
	grep -q '^usage: ' "$dir/out" || fail "$name --help says no usage"
	case $name in
	monitor) continue ;; # its answers are for the monitoring alone
	esac
	# shellcheck disable=SC2086
	ctl $name --help --json | jq -e .help >/dev/null ||
	    fail "$name --help --json"
done <"$dir/names"
ok "every command has --help, also as a document"

# The daemon takes every option that ksmctl offers: all of a command's at once,
# about a key that does not exist, so that nothing comes of it.
none=ffffffffffffffffffffffffffffffff
options_of()
{
	ctl "$@" --help | sed -n '/^options:/,/^$/p' |
	    awk '/^  --/ { print $1, ($2 ~ /^[A-Z:\/]+$/ ? $2 : "-") }' |
	    while read -r option value; do
		case $value in
		-) echo "$option" ;;
		NAME)
			case $option in
			--repository) echo "$option=SoftHSM" ;;
			--algorithm) echo "$option=13" ;;
			*) echo "$option=default" ;;
			esac ;;
		N) echo "$option=3" ;;
		TIME) echo "$option=2026-01-01" ;;
		DURATION) echo "$option=PT1H" ;;
		ROLE) echo "$option=ZSK" ;;
		STATE) echo "$option=ready" ;;
		SCOPE) echo "$option=zone" ;;
		ID) echo "$option=$none" ;;
		TEXT) echo "$option=test" ;;
		NUMBER:HASH) echo "$option=1:00" ;;
		LOW:HIGH) echo "$option=1:2" ;;
		I/N) echo "$option=0/2" ;;
		ZONE) echo "$option=nowhere.example" ;;
		CONSUMER) echo "$option=bind" ;;
		DIR) echo "$option=$dir" ;;
		*) echo "$option=$value" ;;
		esac
	    done
}
while read -r name; do
	case $name in
	check | monitor | completion | metrics | topup | stop) continue ;;
	"database backup") operand=/dev/null ;;
	"repository resume") operand=SoftHSM ;;
	"backup commit" | "backup rollback" | "backup show") operand=none ;;
	key\ show | key\ re* | key\ destroy | key\ mark-used | impact | \
	    inventory\ *)
		operand=$none ;;
	*) operand= ;;
	esac
	# shellcheck disable=SC2046,SC2086 # words
	ctl --json $name $operand $(options_of $name) >"$dir/out" </dev/null
	jq -e '.error == null or ((.error.text | test("unknown argument")) or
	    .error.code == "unknown-command" or .error.code == "usage" | not)' \
	    "$dir/out" >/dev/null || fail "$name: $(cat "$dir/out")"
done <"$dir/names"
check "the pause that came of it ends" ctl resume
ok "the daemon knows every command and every option"

# ---- looking ------------------------------------------------------------

check "explain tells of every pool" ctl explain
says "in sentences" "could be taken now" "$dir/out"
check "explain one by the beginning of its name" ctl explain default/ksk
equal "pools of default/ksk" \
    "$(ctl --json explain default/ksk | jq '.pools | length')" 1
exits 2 "explain of nothing" ctl explain nobody
says "names what is wrong" "no pool 'nobody'" "$dir/out"
exits 2 "half a name is no prefix" ctl explain def

plan=$(ctl --json plan | jq .required)
more=$(ctl --json plan --zones 50 | jq .required)
[ "$more" -gt "$plan" ] || fail "50 zones need no more than 2"
ok "what if there were 50 zones: $more"
[ "$(ctl --json plan --emergency-rolls 9 | jq .required)" -gt "$plan" ] ||
    fail "nine rolls need no more"
[ "$(ctl --json plan --horizon P2Y | jq .required)" -gt "$plan" ] ||
    fail "two years need no more"
ok "what if rolls, what if a longer horizon"
check "what if the token were small" ctl plan --zones 50 --capacity 20
says "the room is told" "20 of 20 key pairs then, critical: 90 %" "$dir/out"
says "and what does not fit" "do not fit" "$dir/out"
equal "and nothing was changed" "$(ctl --json plan | jq .required)" "$plan"

n=$(count ready)
equal "keys by role" "$(ctl --json key list --role ksk | jq .count)" \
    "$(ctl --json key list | jq '[.keys[] | select(.role == "KSK")] | length')"
equal "keys by algorithm" "$(ctl --json key list --algorithm 13 | jq .count)" "$n"
equal "keys by another" "$(ctl --json key list --algorithm 8 | jq .count)" 0
equal "keys older than a day" \
    "$(ctl --json key list --older-than P1D | jq .count)" 0
equal "keys newer than a day" \
    "$(ctl --json key list --newer-than P1D | jq .count)" "$n"
equal "keys before the daemon" \
    "$(ctl --json key list --created-before 2020-01-01 | jq .count)" 0
id=$(one ready)
tag=$(ctl --json key show "$id" | jq .key.tag_zsk)
equal "keys by tag" \
    "$(ctl --json key list --tag "$tag" | jq --arg id "$id" \
	'[.keys[] | select(.id == $id)] | length')" 1
equal "the order is the same twice" "$(ctl --json key list | cksum)" \
    "$(ctl --json key list | cksum)"

# ---- retire and destroy -------------------------------------------------

check "one is retired" ctl key retire "$id" --reason "a test"
equal "it is on record" "$(state_of "$id")" retired
exits 1 "some refused" ctl key retire "$(one ready)" $none --reason t
exits 2 "all refused" ctl key retire $none --reason t
exits 0 "a dry run destroys nothing" ctl key destroy "$id" --reason t --dry-run
equal "still there" "$(state_of "$id")" retired
wrong "without a terminal and --yes nothing is destroyed" "--yes" \
    key destroy "$id" --reason t
equal "still there" "$(state_of "$id")" retired
check "destroyed" ctl key destroy "$id" --reason "a test" --yes
equal "on record" "$(state_of "$id")" destroyed
token_dump | grep -q "$id" && fail "an object of it is in the token"
ok "nothing of it is in the token"
exits 2 "not a second time" ctl key destroy "$id" --reason t --yes
exits 2 "a foreign key is none of ours" \
    ctl key destroy $foreign --reason t --yes

# On a terminal: shown, asked; "no" changes nothing, "yes" does it.
if command -v script >/dev/null 2>&1; then
	id=$(one ready)
	ask="$build/ksmctl --socket $sock key destroy $id --reason t"
	echo no | script -qec "$ask" /dev/null >"$dir/out" 2>&1
	says "the operator is asked" "yes" "$dir/out"
	says "and shown what" "$id" "$dir/out"
	equal "no is no" "$(state_of "$id")" ready
	echo yes | script -qec "$ask" /dev/null >"$dir/out" 2>&1
	equal "yes is yes" "$(state_of "$id")" destroyed
	grep -q "$(printf '\033\\[[0-9;]*m')" "$dir/out" &&
	    fail "there is colour"
	ok "there is no colour"
fi

# ---- inventory ----------------------------------------------------------

exits 0 "nothing needs a look" ctl inventory
says "foreign pairs are counted" "2 foreign" "$dir/out"
exits 0 "and listed when asked for" ctl inventory --all
says "by their id" "$foreign" "$dir/out"
exits 2 "no such repository" ctl inventory --repository nowhere
exits 2 "two bytes are no id of a pool" ctl inventory adopt $short \
    --policy default --role zsk --reason t --yes
says "which is said" "2 bytes" "$dir/out"
exits 2 "no such policy" ctl inventory adopt $foreign --policy nobody \
    --role zsk --reason t --yes
exits 2 "no such object" ctl inventory adopt $none --policy default \
    --role zsk --reason t --yes
wrong "adopting is asked for" "--yes" \
    inventory adopt $foreign --policy default --role zsk --reason t
exits 0 "a dry run adopts nothing" ctl inventory adopt $foreign \
    --policy default --role zsk --reason t --dry-run
equal "not on record" "$(state_of $foreign)" ""
equal "foreign objects were not touched" "$(foreign_dump)" "$before"
check "debris: none" ctl inventory clean debris --repository SoftHSM \
    --reason t --yes
exits 2 "a foreign key is not cleaned away" ctl inventory clean $foreign \
    --repository SoftHSM --reason t --yes
equal "foreign objects were not touched" "$(foreign_dump)" "$before"

# ---- pause, clock, log --------------------------------------------------

check "pause" ctl pause --for PT1H --reason "works on the HSM"
# 1 while the token is tried again: SoftHSM may refuse a key when another
# process removes objects.
ctl status >"$dir/out" 2>&1 || [ "$?" -eq 1 ] || fail "status"
says "status tells of it, with the reason" "works on the HSM" "$dir/out"
check "resume" ctl resume
equal "no pause" "$(ctl --json status | jq .paused)" null
check "resume again is no fault" ctl resume
exits 64 "clock accept is asked for" ctl clock accept --reason t </dev/null
exits 2 "the clock is not in doubt" ctl clock accept --reason t --yes
equal "log level" "$(ctl log level)" debug
check "set" ctl log level info
equal "log level" "$(ctl log level)" info

# ---- history, database --------------------------------------------------

check "history" ctl history
says "has who destroyed what, and why" "key destroy.*$id|$id" "$dir/out"
equal "as many rows as it counts" \
    "$(ctl --json history | jq '.count == (.events | length)')" true
equal "by subject" "$(ctl --json history --subject "$id" | jq '.count > 0')" true
equal "by uid" "$(ctl --json history --uid 4242 | jq .count)" 0
equal "until long ago" "$(ctl --json history --until 2020-01-01 | jq .count)" 0
check "history verify" ctl history verify
head=$(sed -n 's/^head //p' "$dir/out")
check "with a head that was kept" ctl history verify --head "$head"
exits 1 "with another" ctl history verify --head \
    "1:0000000000000000000000000000000000000000000000000000000000000000"
exits 64 "with none" ctl history verify --head nonsense
check "database check" ctl database check
check "database backup" ctl database backup "$dir/copy.db"
equal "the copy is whole" \
    "$(sqlite3 "$dir/copy.db" 'PRAGMA integrity_check')" ok
exits 2 "never over a file" ctl database backup "$dir/copy.db"
(cd "$dir" && check "a relative path" ctl database backup second.db) || exit 1
[ -f "$dir/second.db" ] || fail "the copy is elsewhere"

# ---- wrong uses are answered with the right one -------------------------

wrong "a typing error" "did you mean 'key retire'" key retrie x
wrong "one in the second word" "did you mean 'inventory adopt'" \
    inventory adpot $foreign
wrong "no ids" "ID is missing" key destroy --reason t
wrong "no reason" "--reason" key retire "$id"
wrong "not an id" "32 hex digits" key retire 12 --reason t
wrong "not a duration" "--for" pause --for 1h
wrong "no time at all" "--for" pause --for PT0S
wrong "not a level" "debug" log level loud
wrong "not a tag" "65535" key list --tag 65536
wrong "not an algorithm" "RSASHA256" key list --algorithm MD5
wrong "no repository" "--repository" inventory clean debris --reason t
wrong "no file" "FILE is missing" database backup
wrong "one word too many" "one word too many" resume now

equal "foreign objects at the end" "$(foreign_dump)" "$before"
# What is being made is finished first.
daemon_stop
exits 1 "of ours all is well, the foreign pairs differ" compare
grep -vE "^=|$foreign" "$dir/out" && fail "token and database differ"
ok "token and database agree"

# ---- a hundred thousand keys in constant memory --------------------------

sqlite3 "$db" <<-SQL || fail "cannot make rows"
	BEGIN;
	WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n
	    WHERE i < 100000)
	INSERT INTO key (cka_id, pool, state, since, intended)
	    SELECT randomblob(16), (SELECT min(row) FROM pool), 'intended',
	    1795000000, 1795000000 FROM n;
	UPDATE key SET state = 'unknown' WHERE state = 'intended';
	UPDATE key SET state = 'gone' WHERE state = 'unknown';
	COMMIT;
SQL
peak()
{
	awk '/^VmHWM/ { print $2 }' "/proc/$daemon/status"
}
daemon_start
small=$(peak)
# A sanitizer wants terabytes and keeps what is freed: then the list alone is
# looked at.
limit=65536
# shellcheck disable=SC3045 # dash has it, as bash
(ulimit -v $limit && ctl version) >/dev/null 2>&1 || limit=unlimited
# shellcheck disable=SC3045
(ulimit -v $limit && ctl --json key list --state gone) >"$dir/keys" ||
    fail "ksmctl cannot list them in $limit kB"
equal "keys listed" "$(jq .count "$dir/keys")" 100000
equal "rows" "$(grep -o '"id":' "$dir/keys" | wc -l)" 100000
[ $limit = unlimited ] || [ $(($(peak) - small)) -lt 8192 ] ||
    fail "the daemon grew from $small to $(peak) kB"
ok "the daemon grew by $(($(peak) - small)) kB"
# An attempt is no backup, and one whose client is gone goes on.
exits 2 "a backup over a file that is there is refused" \
    ctl database backup "$conf"
check "the history calls it an attempt" sh -c \
    "'$build/ksmctl' --socket '$sock' history --what 'database backup failed' |
    grep -q '$conf'"
timeout 0.02 "$build/ksmctl" --socket "$sock" database backup "$dir/left.db" \
    >/dev/null 2>&1
if [ -e "$dir/left.db" ] || ctl history | grep -q "left.db" ||
    ls "$dir"/left.db.part-* >/dev/null 2>&1; then
	until_true 10 sh -c "'$build/ksmctl' --socket '$sock' history |
	    grep -q 'database backup .*left.db'" || fail "nobody ended it"
fi
equal "pieces that are left" "$(find "$dir" -name '*.part-*' | wc -l)" 0
daemon_stop
