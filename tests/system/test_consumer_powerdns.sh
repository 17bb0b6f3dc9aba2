#!/bin/sh
# PowerDNS imports the file that is written for it, not active and not
# published, and finds our key in the token.
set -u
command -v pdnsutil >/dev/null 2>&1 || {
	echo "skipped: pdnsutil of PowerDNS is not installed"
	exit 77
}
schema=/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql
[ -f $schema ] || {
	echo "skipped: PowerDNS has no backend for SQLite here"
	exit 77
}
# shellcheck source=tests/system/consumer_lib.sh
. "$(dirname "$0")/consumer_lib.sh"

zone=example.com
keys_make 1 "$(kasp_key KSK 13 256 P1Y)" "$(kasp_key ZSK 8 2048 P90D)"
mkdir "$dir/pdns" "$dir/keys" || exit 1
cat >"$dir/pdns/pdns.conf" <<CONF
launch=gsqlite3
gsqlite3-dnssec=yes
gsqlite3-database=$dir/pdns/db
CONF
sqlite3 "$dir/pdns/db" <$schema || fail "no database for PowerDNS"

pdnsutil()
{
	command pdnsutil --config-dir="$dir/pdns" "$@"
}

zone_text $zone >"$dir/zone"
check "a zone of PowerDNS" pdnsutil load-zone $zone "$dir/zone"

for kind in KSK:ECDSAP256SHA256 ZSK:RSASHA256; do
	role=${kind%:*}
	key_next $zone "$role" "${kind#*:}" >"$dir/key" || fail "$role"
	[ "$role" != KSK ] || cp "$dir/key" "$dir/ksk"
	consume "$dir/key" powerdns "$dir/keys" >"$dir/line" ||
	    fail "$role: no file"
	file=$(find "$dir/keys" -name '*.pdns')
	equal "$role: the file is what is printed without a directory" \
	    "$(consume "$dir/key" powerdns)" "$(cat "$file")"
	equal "and has no PIN" "$(grep -c '^PIN: $' "$file")" 1
	# It computes the tag of a key, so it needs the token at once here.
	sed -i "s/^PIN: .*/PIN: $(cat "$dir/pin")/" "$file"
	eval "$(cat "$dir/line")" >"$dir/out" 2>&1 || {
		cat "$dir/out"
		fail "PowerDNS takes the $role ($(cat "$dir/line"))"
	}
	ok "PowerDNS takes the $role"
	rm -f "$file"
	pdnsutil show-zone $zone >"$dir/out" 2>&1 || fail "show-zone"
	says "it is not active and not published" \
	    "tag = $(jq .tag "$dir/key"), algo = $(jq .algorithm_number \
	    "$dir/key").*Inactive.*Unpublished" "$dir/out"
done
check "the KSK is put to use" pdnsutil activate-zone-key $zone 1
check "and published" pdnsutil publish-zone-key $zone 1
pdnsutil export-zone-ds $zone >"$dir/out" 2>&1 || fail "export-zone-ds"
says "its DS is of our public key" \
    "DS $(jq .tag "$dir/ksk") 13 2 $(consume "$dir/ksk" ds |
    awk '{ print tolower($7) }')" "$dir/out"
daemon_stop
