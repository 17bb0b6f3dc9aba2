# shellcheck shell=sh
# Keys that ksmpoold made, given to real signers. Sourced by test_consumer_*.sh
# after their own check for programs.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

pool_policy=shop

# keys_make ZONES KASP-KEY...: a pool for that many zones, filled.
keys_make()
{
	_zones=$1
	shift
	token_make
	kasp_write "$(kasp_policy $pool_policy "$*")"
	zones $pool_policy "$_zones"
	conf_write '<LowWater>1</LowWater>'
	daemon_start
	ctl topup --wait >/dev/null || fail "topup"
	: >"$dir/given"
}

# key_next ZONE ROLE [ALGORITHM-NAME]: a ready key as it would be taken for
# the zone, as JSON; never the same one twice.
key_next()
{
	_id=$(ctl --json key list --state ready | jq -r --arg role "$2" \
	    --arg alg "${3:-}" --rawfile given "$dir/given" '[.keys[] |
	    select(.role == $role and ($alg == "" or .algorithm == $alg)) |
	    .id | select(. as $id | $given | contains($id) | not)][0] // ""')
	[ -n "$_id" ] || {
		echo "no $2 is left" >&2
		return 1
	}
	echo "$_id" >>"$dir/given"
	_pub=$(ctl --json key show "$_id" | jq -r .key.public_key | tr a-f A-F |
	    basenc --base16 -d | base64 -w 0)
	ctl --json key show "$_id" | jq --arg zone "$1" --arg pub "$_pub" \
	    --arg path "$module" --arg token "$label" '.key | {
		id, label: .id, zone: $zone, role, policy, repository,
		algorithm, size, serial, tag_revoked, public_key: $pub,
		algorithm_number: ({ RSASHA256: 8, ECDSAP256SHA256: 13,
		    ED25519: 15 }[.algorithm]),
		flags: (if .role == "ZSK" then 256 else 257 end),
		tag: (if .role == "ZSK" then .tag_zsk else .tag_ksk end),
		module: $path, token_label: $token, token_serial: "",
		single: false, created_s: (.created | fromdateiso8601),
		taken_s: now | floor }'
}

# consume KEY-FILE CONSUMER [DIRECTORY]: what its signer is given.
consume()
{
	"$build/tests/consume" "$2" ${3:+"$3"} <"$1"
}

# How many objects there are in the token.
objects()
{
	token_dump | grep -c .
}

# zone_text ZONE: a small one, not signed.
zone_text()
{
	cat <<-ZONE
	\$ORIGIN $1.
	\$TTL 300
	@ SOA ns admin 1 3600 600 86400 300
	@ NS ns
	ns A 192.0.2.1
	www AAAA 2001:db8::1
	ZONE
}
