# shellcheck shell=sh
# Keys that ksmpoold made, taken for real signers. Sourced by test_consumer_*.sh
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
	requests=0
}

# key_next ZONE ROLE ALGORITHM: take a key, as JSON, with the name of the
# request. Not in a subshell: the names are counted.
key_next()
{
	requests=$((requests + 1))
	ctl --json take --zone "$1" --role "$2" --algorithm "$3" \
	    --policy $pool_policy --request "take-$requests" |
	    jq -e --arg request "take-$requests" '.keys[0] // empty | . + { $request }'
}

# consume KEY-FILE CONSUMER [DIRECTORY]: what its signer is given. A key that
# was altered (altered FILTER KEY-FILE) has no request any more.
consume()
{
	_request=$(jq -r '.request // ""' "$1")
	if [ -z "$_request" ]; then
		"$build/tests/consume" "$2" ${3:+"$3"} <"$1"
		return
	fi
	ctl take --zone "$(jq -r .zone "$1")" --role "$(jq -r .role "$1")" \
	    --algorithm "$(jq -r .algorithm "$1")" --policy $pool_policy \
	    --request "$_request" --for "$2" ${3:+--directory "$3"}
}

altered()
{
	jq "$1 | del(.request)" "$2"
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
