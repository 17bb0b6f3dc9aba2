#!/bin/sh
# ksmctl check reads what Debian ships, as the caller and without a daemon.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

samples=/usr/share/opendnssec
[ -f "$samples/kasp.xml" ] || skip "no $samples/kasp.xml"

kasp_sample
zones default 2 lab 1
echo 0123456789 >"$dir/pin"
conf_write
exits 0 "a good configuration" "$build/ksmctl" check --config "$conf"
for f in kasp conf zonelist; do
	cp "$samples/$f.xml" "$dir/sample-$f.xml"
done
exits 0 "Debian's kasp.xml alone" \
    "$build/ksmctl" check --kasp "$samples/kasp.xml"

awk '/<KSK>/ && !n++ { k = 1 } /<ZSK>/ && !m++ { z = 1 }
    k && sub(/>8</, ">99<") { k = 0 }
    z && sub(/>SoftHSM</, ">Nowhere<") { z = 0 }
    { print }' "$samples/kasp.xml" >"$dir/kasp.xml"
exits 2 "an unknown algorithm and repository" \
    "$build/ksmctl" check --config "$conf"
says "the algorithm with its line" "kasp.xml:[0-9]+: error: .*99" "$dir/out"
says "the repository as well" "Nowhere" "$dir/out"

kasp_sample
zones default 2 nobody 1
exits 2 "a zone on a policy that is not there" \
    "$build/ksmctl" check --config "$conf"
says "by name" "nobody" "$dir/out"
