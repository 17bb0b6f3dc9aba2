#!/bin/sh
# Keys from the pool in OpenDNSSEC 2.1: imported for a zone, and put into the
# enforcer's pool of unused keys, from where it allocates them; both zones are
# signed with them, and no key is made. Everything runs in a mount namespace,
# so that no file or socket of an installed OpenDNSSEC is touched.
set -u
for tool in ods-enforcerd ods-enforcer ods-enforcer-db-setup ods-signerd \
    ods-signer unshare; do
	command -v $tool >/dev/null 2>&1 || {
		echo "skipped: $tool is not installed"
		exit 77
	}
done
for place in /etc/opendnssec /var/lib/opendnssec; do
	[ -d $place ] || {
		echo "skipped: no $place"
		exit 77
	}
done
alone=
for how in "unshare -rm" "unshare -m"; do
	[ -n "$alone" ] || ! $how sh -c 'mount -t tmpfs none /run' 2>/dev/null ||
	    alone=$how
done
[ -n "$alone" ] || {
	echo "skipped: no mount namespace may be made here"
	exit 77
}
# shellcheck source=tests/system/consumer_lib.sh
. "$(dirname "$0")/consumer_lib.sh"

keys_make 1 "$(kasp_key KSK 13 256 P1Y)" "$(kasp_key ZSK 13 256 P90D)" \
    "$(kasp_key KSK 8 2048 P1Y)" "$(kasp_key ZSK 8 1024 P90D)"
ods=$dir/ods
mkdir "$ods" "$ods/etc" "$ods/var" || exit 1
for f in enforcer signer signconf unsigned signed; do
	mkdir "$ods/var/$f" || exit 1
done

# One algorithm each, as OpenDNSSEC wants it. The size of EC keys is any there,
# and what the policy says is what the enforcer compares.
{
	echo '<?xml version="1.0" encoding="UTF-8"?><KASP>'
	kasp_policy $pool_policy \
	    "$(kasp_key KSK 13 256 P1Y)$(kasp_key ZSK 13 256 P90D)"
	kasp_policy rsa "$(kasp_key KSK 8 2048 P1Y)$(kasp_key ZSK 8 1024 P90D)"
	kasp_policy "it's odd" \
	    "$(kasp_key KSK 13 512 P1Y)$(kasp_key ZSK 13 512 P90D)"
	echo '</KASP>'
} >"$ods/etc/kasp.xml"
cp /usr/share/opendnssec/addns.xml "$ods/etc/" 2>/dev/null
echo '<?xml version="1.0"?><ZoneList/>' >"$ods/etc/zonelist.xml"
cat >"$ods/etc/conf.xml" <<XML
<?xml version="1.0" encoding="UTF-8"?>
<Configuration>
<RepositoryList><Repository name="SoftHSM"><Module>$module</Module>
<TokenLabel>$label</TokenLabel><PIN>$(cat "$dir/pin")</PIN></Repository>
</RepositoryList>
<Common><Logging><Verbosity>3</Verbosity></Logging>
<PolicyFile>/etc/opendnssec/kasp.xml</PolicyFile>
<ZoneListFile>/etc/opendnssec/zonelist.xml</ZoneListFile></Common>
<Enforcer><Datastore><SQLite>/var/lib/opendnssec/kasp.db</SQLite></Datastore>
<ManualKeyGeneration/>
<WorkingDirectory>/var/lib/opendnssec/enforcer</WorkingDirectory></Enforcer>
<Signer><WorkingDirectory>/var/lib/opendnssec/signer</WorkingDirectory>
<WorkerThreads>1</WorkerThreads></Signer>
</Configuration>
XML

# Four keys: two imported, two for the pool.
for zone in imported.example pool.example; do
	case $zone in
	imported.*) alg=RSASHA256 ;;
	*) alg=ECDSAP256SHA256 ;;
	esac
	zone_text $zone >"$ods/var/unsigned/$zone"
	for role in KSK ZSK; do
		key_next $zone $role $alg >"$ods/$zone.$role" || fail "$zone $role"
		consume "$ods/$zone.$role" opendnssec >"$ods/$zone.$role.sh" ||
		    fail "$zone $role: no line"
		consume "$ods/$zone.$role" opendnssec-pool \
		    >"$ods/$zone.$role.sql" || fail "$zone $role: no script"
	done
done
id_of()
{
	jq -r .id "$ods/$1"
}
ksk=pool.example.KSK
altered '.policy = "none such"' "$ods/$ksk" >"$ods/policy"
altered '.repository = "other"' "$ods/$ksk" >"$ods/repository"
altered '.policy = "it'\''s odd"' "$ods/$ksk" >"$ods/odd"
altered '.policy = "rsa"' "$ods/imported.example.KSK" >"$ods/used"
for f in policy repository odd used; do
	consume "$ods/$f" opendnssec-pool >"$ods/$f.sql" || fail "$f"
done

cat >"$ods/inside.sh" <<'INSIDE'
set -u
ods=$1 imported=$2
mount --bind "$ods/etc" /etc/opendnssec &&
    mount --bind "$ods/var" /var/lib/opendnssec &&
    mount -t tmpfs none /run && mkdir /run/opendnssec || exit 1
db=/var/lib/opendnssec/kasp.db
enforcer='' signer=''
# Not asked to stop: the signer of 2.1.12 crashes and hangs when that comes early.
trap 'kill -KILL $enforcer $signer 2>/dev/null; wait' EXIT

say()
{
	echo "inside: $*"
}

# put FILE [OPTION...]: a script into the enforcer's database.
put()
{
	file=$1
	shift
	sqlite3 "$@" $db <"$ods/$file.sql" 2>&1
	echo "status $?"
}

rows()
{
	sqlite3 -cmd '.timeout 5000' $db \
	    "SELECT count(*) FROM hsmKey WHERE locator = '$1'"
}

ods-enforcer-db-setup -f || exit 1
ods-enforcerd -d >"$ods/enforcer.log" 2>&1 &
enforcer=$!
tries=100
until ods-enforcer queue >/dev/null 2>&1; do
	tries=$((tries - 1))
	[ $tries -gt 0 ] || exit 1
	sleep 0.1
done
ods-enforcer policy import || exit 1
ods-enforcer zone add --zone imported.example --policy rsa || exit 1
ods-enforcer zone add --zone pool.example --policy shop || exit 1

for role in KSK ZSK; do
	sh "$ods/imported.example.$role.sh" || exit 1
done
say "again: $(sh "$ods/imported.example.KSK.sh" 2>&1)"

say "policy: $(put policy -bail)"
say "repository: $(put repository -bail)"
say "without -bail: $(put policy)"
say "in use: $(put used -bail)"
say "rows: $(rows "$(jq -r .id "$ods/policy")") $(rows "$imported")"
say "odd: $(put odd -bail)"
say "odd bits: $(sqlite3 -cmd '.timeout 5000' $db \
    "SELECT bits FROM hsmKey WHERE state = 1")"
sqlite3 -cmd '.timeout 5000' $db "DELETE FROM hsmKey WHERE state = 1"
cat "$ods/pool.example.KSK.sql" "$ods/pool.example.ZSK.sql" >"$ods/both.sql"
say "both: $(put both -bail)"
say "twice: $(put both -bail)"
sqlite3 $db .dump | sed 's/backup INT NOT NULL/backup TEXT NOT NULL/' |
    sqlite3 "$ods/altered.db"
say "altered: $(sqlite3 -bail "$ods/altered.db" <"$ods/both.sql" 2>&1)"
sqlite3 "$ods/empty.db" 'CREATE TABLE t (x)'
say "empty: $(sqlite3 -bail "$ods/empty.db" <"$ods/both.sql" 2>&1)"

ods-enforcer enforce
tries=100
until [ "$(ods-enforcer key list --verbose --all 2>/dev/null |
    grep -c pool.example)" -ge 2 ]; do
	tries=$((tries - 1))
	[ $tries -gt 0 ] || break
	sleep 0.1
done
ods-enforcer key list --verbose --all >"$ods/list" 2>/dev/null

# Once in a while the signer of 2.1.12 crashes as it starts, and may stay as a
# process that answers nothing: then another one is tried.
signed()
{
	for zone in imported pool; do
		[ -s /var/lib/opendnssec/signed/$zone.example ] || return 1
	done
}
for try in 1 2 3; do
	rm -f /run/opendnssec/engine.sock /run/opendnssec/signerd.pid
	ods-signerd -d >"$ods/signer.log" 2>&1 &
	signer=$!
	tries=100
	until signed; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] && kill -0 $signer 2>/dev/null || break
		[ $((tries % 20)) -ne 0 ] ||
		    timeout 5 ods-signer sign --all >/dev/null 2>&1
		sleep 0.1
	done
	signed && exit 0
	say "signer $try did not sign"
	kill -KILL $signer 2>/dev/null
done
exit 1
INSIDE

before=$(objects)
# shellcheck disable=SC2086 # two words
timeout -k 5 50 $alone sh "$ods/inside.sh" "$ods" "$(id_of imported.example.KSK)" \
    >"$ods/out" 2>&1 || {
	tail -n 40 "$ods/out" "$ods/enforcer.log" "$ods/signer.log"
	fail "OpenDNSSEC ran"
}
ok "OpenDNSSEC ran, apart from any other here"

# ---- the import --------------------------------------------------------

says "a key is imported once" "^inside: again: .*Already used this key" \
    "$ods/out"
listed()
{
	awk -v zone="$1" -v role="$2" '$1 == zone && $2 == role {
		for (i = 1; i <= NF; i++)
			if (length($i) == 32)
				print $i, $NF
	}' "$ods/list"
}
for zone in imported.example pool.example; do
	for role in KSK ZSK; do
		equal "$zone: its $role is ours, with its tag" \
		    "$(listed $zone $role)" \
		    "$(id_of $zone.$role) $(jq .tag "$ods/$zone.$role")"
	done
done

# ---- the pool ----------------------------------------------------------

# after WORD PATTERN: among the lines that `say` began with WORD.
after()
{
	sed -n "/^inside: $1: /,/^status/p" "$ods/out" >"$ods/said"
	says "pool, $1" "$2" "$ods/said"
}
for word in policy repository "without -bail"; do
	after "$word" "the policy has no key of that role"
	after "$word" "^status 1$"
done
after "in use" "that key is in the database already"
says "nothing came of these" "^inside: rows: 0 1$" "$ods/out"
after odd "status 0"
says "the size is the one the policy says" "^inside: odd bits: 512$" \
    "$ods/out"
after both "status 0"
after twice "that key is in the database already"
after altered "this is not a database of OpenDNSSEC 2.1"
says "pool, no database of its" "^inside: empty: .*no such table" "$ods/out"

# ---- the zones ---------------------------------------------------------

equal "no key was made, and none destroyed" "$(objects)" "$before"
for zone in imported.example pool.example; do
	signed=$ods/var/signed/$zone
	pub=$(jq -r .public_key "$ods/$zone.KSK")
	grep -q "DNSKEY.257 3 [0-9]* $pub" "$signed" || {
		grep DNSKEY "$signed"
		fail "$zone has our KSK"
	}
	ok "$zone has our KSK"
	if command -v ldns-verify-zone >/dev/null 2>&1; then
		check "$zone: ldns-verify-zone" ldns-verify-zone "$signed"
	fi
	if command -v kzonecheck >/dev/null 2>&1; then
		check "$zone: kzonecheck" kzonecheck -o $zone "$signed"
	fi
done
daemon_stop
