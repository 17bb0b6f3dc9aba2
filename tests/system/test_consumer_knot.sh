#!/bin/sh
# Keys from the pool in Knot DNS: imported, they wait; told to, it signs with
# them and makes none itself; and a key that waits rolls the one in use.
set -u
for tool in keymgr kzonesign kzonecheck; do
	command -v $tool >/dev/null 2>&1 || {
		echo "skipped: $tool of Knot DNS is not installed"
		exit 77
	}
done
# shellcheck source=tests/system/consumer_lib.sh
. "$(dirname "$0")/consumer_lib.sh"

zone=auto.example
other=rsa.example

keys_make 2 "$(kasp_key KSK 13 256 P1Y)" "$(kasp_key ZSK 13 256 P90D)" \
    "$(kasp_key KSK 15 256 P1Y)" "$(kasp_key ZSK 8 1024 P90D)" \
    "$(kasp_key CSK 8 2048 P1Y)"
mkdir "$dir/kasp" "$dir/signed" || exit 1
cat >"$dir/knot.conf" <<CONF
server:
  rundir: $dir
database:
  storage: $dir/kasp
keystore:
- id: hsm
  backend: pkcs11
  config: "pkcs11:token=$label;pin-value=$(cat "$dir/pin") $module"
policy:
- id: automatic
  keystore: hsm
  algorithm: ecdsap256sha256
- id: by-hand
  keystore: hsm
  manual: on
zone:
- domain: $zone
  dnssec-signing: on
  dnssec-policy: automatic
  storage: $dir
- domain: $other
  dnssec-signing: on
  dnssec-policy: by-hand
  storage: $dir
CONF
zone_text $zone >"$dir/$zone.zone"
zone_text $other >"$dir/$other.zone"

# The lines that are printed say keymgr and nothing of this configuration.
keymgr()
{
	command keymgr -c "$dir/knot.conf" "$@" 2>"$dir/err" || {
		cat "$dir/err"
		return 1
	}
}

sign()
{
	kzonesign -c "$dir/knot.conf" -o "$dir/signed" -r "$@"
}

# states ZONE: "IDS:KEY-WITH-TIMERS" for people
listed()
{
	keymgr "$1" list
}

timers()
{
	listed "$zone" | grep "^$1 " | grep -oE '(publish|ready|active)=' |
	    tr -d '=\n'
}

verified()
{
	check "$1: kzonecheck" kzonecheck -o "$1" "$dir/signed/$1.zone"
	if command -v ldns-verify-zone >/dev/null 2>&1; then
		check "$1: ldns-verify-zone" ldns-verify-zone \
		    "$dir/signed/$1.zone"
	fi
}

import()
{
	key_next "$2" "$3" "$4" >"$dir/$1" || fail "$1"
	consume "$dir/$1" knot >"$dir/$1.sh" || fail "$1: no line"
	eval "$(cat "$dir/$1.sh")" >"$dir/out" 2>&1 || {
		cat "$dir/out"
		fail "keymgr takes $1 ($(cat "$dir/$1.sh"))"
	}
	ok "keymgr takes $1"
	equal "and has it under its tag" \
	    "$(listed "$2" | awk -v id="$(jq -r .id "$dir/$1")" \
	    '$1 == id { print $2 }')" "$(jq .tag "$dir/$1")"
}

id_of()
{
	jq -r .id "$dir/$1"
}

# ---- a zone under an automatic policy ----------------------------------

import ksk $zone KSK ECDSAP256SHA256
import zsk $zone ZSK ECDSAP256SHA256
before=$(objects)
equal "no timers, so it is in no use" "$(timers "$(id_of ksk)")" ""
check "the first KSK is put to use" \
    keymgr $zone set "$(id_of ksk)" publish=+0 ready=+0 active=+0
check "the first ZSK, too" keymgr $zone set "$(id_of zsk)" publish=+0 active=+0
check "the zone is signed" sign $zone
equal "and no key was made" "$(objects)" "$before"
verified $zone
consume "$dir/ksk" dnskey >"$dir/want" && consume "$dir/zsk" dnskey >>"$dir/want"
# dnskeys FILE: flags, algorithm and key of every DNSKEY, however it is spaced.
dnskeys()
{
	sed -nE 's/^[^ \t]+[ \t]+([0-9]+[ \t]+)?(IN[ \t]+)?DNSKEY[ \t]+//p' "$1" |
	    awk '{
		printf "%s %s ", $1, $3
		for (i = 4; i <= NF; i++)
			printf "%s", $i
		print ""
	}' | sort
}
equal "with just these keys" "$(dnskeys "$dir/signed/$zone.zone")" \
    "$(dnskeys "$dir/want")"
equal "keymgr computes our DS" \
    "$(keymgr $zone ds "$(id_of ksk)" | awk '$5 == 2 { print tolower($6) }')" \
    "$(consume "$dir/ksk" ds | awk '{ print tolower($7) }')"

# ---- the next ones wait, and then roll ---------------------------------

import next-ksk $zone KSK ECDSAP256SHA256
import next-zsk $zone ZSK ECDSAP256SHA256
check "signed while they wait" sign $zone
equal "they are not in the zone" \
    "$(dnskeys "$dir/signed/$zone.zone")" "$(dnskeys "$dir/want")"
check "published by hand: the ZSK" \
    keymgr $zone set "$(id_of next-zsk)" publish=+0
check "the KSK" keymgr $zone set "$(id_of next-ksk)" publish=+0
check "signed with them in the zone" sign $zone
equal "all four are there" "$(dnskeys "$dir/signed/$zone.zone" | grep -c .)" 4
later=$(($(date +%s) + 3 * 86400))
check "signed three days later" sign -t $later $zone
equal "the new ZSK is active" "$(timers "$(id_of next-zsk)")" "publishactive"
equal "the new KSK is ready for the parent" "$(timers "$(id_of next-ksk)")" \
    "publishready"
equal "and no key was made" "$(objects)" "$before"

# ---- other algorithms, a policy by hand --------------------------------

import csk $other CSK RSASHA256
check "a CSK is put to use" \
    keymgr $other set "$(id_of csk)" publish=+0 ready=+0 active=+0
check "the zone is signed with RSA" sign $other
verified $other
import eddsa $other KSK ED25519
key_next $other ZSK RSASHA256 >"$dir/late" || fail "late"
consume "$dir/late" knot-later >"$dir/line" || fail "knot-later"
version=$(command keymgr --version | grep -oE '[0-9]+\.[0-9]+' | head -n 1)
case $version in
3.[0-3])
	ok "Knot $version has no for-later"
	;;
*)
	eval "$(cat "$dir/line")" >"$dir/out" 2>&1 || {
		cat "$dir/out"
		fail "keymgr takes a key for later ($(cat "$dir/line"))"
	}
	ok "keymgr takes a key for later"
	;;
esac

# ---- odd names ---------------------------------------------------------

odd()
{
	export odd="$1"
	printf '%s\n' "- domain: $1" "  dnssec-signing: on" \
	    "  dnssec-policy: by-hand" >>"$dir/knot.conf"
	# shellcheck disable=SC2016 # $ENV is jq's
	altered '.zone = $ENV.odd' "$dir/zsk" >"$dir/odd"
	consume "$dir/odd" knot >"$dir/line" || fail "$1"
	eval "$(cat "$dir/line")" >"$dir/out" 2>&1 || {
		cat "$dir/line" "$dir/out"
		fail "keymgr takes a zone with $2"
	}
	ok "keymgr takes a zone with $2"
}
odd '-X.example' "a hyphen in front"
odd '0/25.2.0.192.in-addr.arpa' "a slash"
odd "it's.\\036\\040id\\041.example" "what a shell would run"
daemon_stop
