#!/bin/sh
# BIND's own programs read the files that are written for it, and agree on the
# records. Those before 9.20 can open no key in a token without an engine: they
# get the same file with the private key of a pair that lies in a file. Where
# there is a BIND of 9.20 or later and OpenSSL's pkcs11-provider (also named by
# KSM_PKCS11_PROVIDER), a zone is signed with the keys in the token.
set -u
for tool in dnssec-settime dnssec-dsfromkey dnssec-keygen; do
	command -v $tool >/dev/null 2>&1 || {
		echo "skipped: $tool of BIND is not installed"
		exit 77
	}
done
# shellcheck source=tests/system/consumer_lib.sh
. "$(dirname "$0")/consumer_lib.sh"

keys_make 2 "$(kasp_key KSK 13 256 P1Y)" "$(kasp_key ZSK 13 256 P90D)" \
    "$(kasp_key KSK 8 2048 P1Y)" "$(kasp_key ZSK 8 1024 P90D)" \
    "$(kasp_key KSK 15 256 P1Y)" "$(kasp_key ZSK 15 256 P90D)" \
    "$(kasp_key CSK 15 256 P1Y)"
mkdir "$dir/keys" "$dir/soft" "$dir/ours" || exit 1

# ---- keys of the pool --------------------------------------------------

for kind in KSK:ECDSAP256SHA256 ZSK:RSASHA256 CSK:ED25519; do
	role=${kind%:*}
	key_next example.com "$role" "${kind#*:}" >"$dir/key" || fail "$role"
	check "$role: files for BIND" consume "$dir/key" bind "$dir/keys"
	file=$(sed -n 's/\.key$//p' "$dir/out")
	for f in "$file.key" "$file.private"; do
		[ -f "$f" ] || fail "$role: no file $f"
	done
	consume "$dir/key" dnskey >"$dir/record" || fail "$role: no DNSKEY"
	if [ "$role" != ZSK ]; then
		dnssec-dsfromkey -2 "$file.key" >"$dir/want" ||
		    fail "dnssec-dsfromkey reads $file.key"
		equal "$role: our DS is BIND's" \
		    "$(consume "$dir/key" ds)" "$(cat "$dir/want")"
		dnssec-dsfromkey -C -2 "$file.key" >"$dir/want" 2>/dev/null ||
		    sed 's/ DS / CDS /' -i "$dir/want"
		grep CDS "$dir/want" | head -n 1 >"$dir/cds"
		[ ! -s "$dir/cds" ] ||
		    equal "$role: our CDS is BIND's" \
			"$(consume "$dir/key" cds)" "$(cat "$dir/cds")"
		if command -v ldns-key2ds >/dev/null 2>&1; then
			equal "$role: and ldns's" "$(ldns-key2ds -n -2 \
			    "$dir/record" | awk '{ print $5, $6, $7, $8 }')" \
			    "$(consume "$dir/key" ds |
			    awk '{ print $4, $5, $6, tolower($7) }')"
		fi
	fi
	check "$role: taken again, the same files" \
	    consume "$dir/key" bind "$dir/keys"
	equal "and no more of them" "$(find "$dir/keys" -type f | wc -l)" 2
	echo >>"$file.key"
	exits 1 "$role: not over another's" consume "$dir/key" bind "$dir/keys"
	rm -f "$dir/keys"/*
done

says "and it is said which file" "\.key is there with other content" "$dir/out"
altered . "$dir/key" >"$dir/bare"
exits 2 "not without a directory" consume "$dir/bare" bind
says "and the option is named" "--directory" "$dir/out"

# ---- the same files of keys that are in no token -----------------------

# doc PUBLIC-FILE: the key in it, as it would be taken.
doc()
{
	awk '$3 == "DNSKEY" {
		printf "%s %s %s ", $1, $4, $6
		for (i = 7; i <= NF; i++)
			printf "%s", $i
		print ""
	}' "$1" | {
		read -r name flags number pub
		tag=${1%.key}
		tag=$(echo "${tag##*+}" | sed 's/^0*//')
		jq --arg zone "$name" --argjson flags "$flags" \
		    --argjson number "$number" --arg pub "$pub" \
		    --argjson tag "${tag:-0}" --argjson size "$2" '
		    del(.request) |
		    .zone = $zone | .flags = $flags |
		    .role = (if $flags == 256 then "ZSK" else "KSK" end) |
		    .algorithm_number = $number | .public_key = $pub |
		    .tag = $tag | .size = $size | .algorithm = ({ "7":
			"RSASHA1-NSEC3-SHA1", "8": "RSASHA256",
			"10": "RSASHA512", "13": "ECDSAP256SHA256",
			"14": "ECDSAP384SHA384", "15": "ED25519",
			"16": "ED448" }[$number | tostring])' "$dir/key"
	}
}

# try ALGORITHM SIZE ZONE [KSK]
try()
{
	name=$(dnssec-keygen -q -K "$dir/soft" -a "$1" -b "$2" \
	    ${4:+-f "$4"} -- "$3" 2>"$dir/err") || {
		cat "$dir/err"
		fail "dnssec-keygen -a $1 $3"
	}
	doc "$dir/soft/$name.key" "$2" >"$dir/soft.json"
	consume "$dir/soft.json" bind "$dir/ours" >"$dir/out" 2>&1 || {
		cat "$dir/out"
		fail "$1: files of a key of BIND's own"
	}
	equal "$1: the name of the file" \
	    "$(basename "$(head -n 1 "$dir/out")" .key)" "$name"
	grep -E '^(Private|Prime|Exponent|Coefficient)[A-Za-z0-9]*: ' \
	    "$dir/soft/$name.private" >"$dir/secret"
	grep -v -e '^Private-key-format' "$dir/secret" |
	    sed -i -e '/^Label: /{' -e 'r /dev/stdin' -e 'd' -e '}' \
		"$dir/ours/$name.private"
	dnssec-settime -p all -K "$dir/ours" "$name" >"$dir/out" 2>&1 || {
		cat "$dir/out" "$dir/ours/$name.private"
		fail "$1: BIND reads our files"
	}
	equal "$1: BIND reads our files, and finds no time but Created" \
	    "$(grep -v UNSET "$dir/out" | cut -d : -f 1)" "Created"
	rm -f "$dir/ours"/* "$dir/soft"/*
}
try RSASHA256 1024 example.com
try NSEC3RSASHA1 1024 example.com
try ECDSAP256SHA256 256 . KSK
try ECDSAP384SHA384 384 0/25.2.0.192.in-addr.arpa
# shellcheck disable=SC2016 # it is a name
try ED25519 256 '_a\200\$(id)\.b.example' KSK

# ---- the keys in the token, where BIND can -------------------------------

provider=
for f in "${KSM_PKCS11_PROVIDER:-}" /usr/lib/*/ossl-modules/pkcs11.so \
    /usr/lib64/ossl-modules/pkcs11.so; do
	[ -n "$provider" ] || [ ! -f "$f" ] || provider=$f
done
version=$(dnssec-settime -V 2>&1 | sed -n 's/.* 9\.\([0-9]*\)\..*/\1/p')
if [ -z "$provider" ] || [ "${version:-0}" -lt 20 ]; then
	ok "no BIND of 9.20 or later with pkcs11-provider: not tried in a token"
	daemon_stop
	exit 0
fi
cat >"$dir/openssl.cnf" <<CONF
openssl_conf = init
[init]
providers = providers
[providers]
default = default_sect
pkcs11 = pkcs11_sect
[default_sect]
activate = 1
[pkcs11_sect]
module = $provider
pkcs11-module-path = $module
pkcs11-module-load-behavior = early
pkcs11-module-quirks = no-deinit
pkcs11-module-token-pin = file:$dir/pin
activate = 1
CONF
for kind in ECDSAP256SHA256:13 RSASHA256:8 ED25519:15; do
	alg=${kind%:*}
	zone=$(echo "$alg" | tr '[:upper:]' '[:lower:]').example
	zone_text "$zone" >"$dir/$zone"
	set --
	for role in KSK ZSK; do
		key_next "$zone" $role "$alg" >"$dir/key" || fail "$alg $role"
		consume "$dir/key" bind "$dir/keys" >"$dir/files" ||
		    fail "$alg $role: no files"
		file=$(sed -n 's/\.key$//p' "$dir/files")
		OPENSSL_CONF=$dir/openssl.cnf dnssec-settime -p all "$file" \
		    >"$dir/out" 2>&1 || {
			cat "$dir/out"
			fail "$alg $role: BIND finds it in the token"
		}
		equal "$alg $role: in the token, with no time but Created" \
		    "$(grep -v UNSET "$dir/out" | cut -d : -f 1)" "Created"
		cat "$file.key" >>"$dir/$zone"
		set -- "$@" "$file"
	done
	OPENSSL_CONF=$dir/openssl.cnf dnssec-signzone -d "$dir" -o "$zone" \
	    -f "$dir/$zone.signed" "$dir/$zone" "$@" >"$dir/out" 2>&1 || {
		cat "$dir/out"
		fail "$alg: a zone is signed"
	}
	ok "$alg: a zone is signed with the keys in the token"
	check "$alg: dnssec-verify" dnssec-verify -o "$zone" "$dir/$zone.signed"
done
daemon_stop
