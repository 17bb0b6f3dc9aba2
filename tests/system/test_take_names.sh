#!/bin/sh
# Whose a zone is decides which key it gets: also before the zone is listed,
# and when the daemon starts with lists that it cannot use.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

token_make
kasp_write "$(kasp_policy default "$(kasp_key KSK 13 256 P1Y)$(kasp_key ZSK 13 256 P90D)")"
zones default 4
cat >"$dir/owners" <<-OWNERS
	zone0.default.example acme
	zone1.default.example acme
	new.example acme
OWNERS
pools_xml='<Pool role="KSK"><Scope>owner</Scope></Pool>'
conf_write '<LowWater>1</LowWater>'
sed -i "s|<ZoneListFile>|<OwnerFile>$dir/owners</OwnerFile>&|" "$conf"
daemon_start
ctl topup --wait >/dev/null || fail "topup"

# key ZONE [OPTION...]: the id of its KSK.
key()
{
	_z=$1
	shift
	ctl --json take --zone "$_z" --role KSK "$@" 2>"$dir/err" |
	    jq -r '.keys[0].id'
}

share()
{
	sql "SELECT share FROM handouts WHERE zone = '$1'"
}

acme=$(key zone0.default.example)
equal "a key of its owner" "$(share zone0.default.example)" owner:acme

# ---- before it is listed ---------------------------------------------------

exits 2 "a zone that is not listed has no policy" \
    ctl take --zone new.example --role KSK
says "and says so" "new.example is not in the zone list" "$dir/out"
equal "with a policy it gets its owner's key" \
    "$(key new.example --policy default)" "$acme"
equal "as the owner's" "$(share new.example)" owner:acme
zones default 4
sed -i 's|</ZoneList>|<Zone name="new.example"><Policy>default</Policy></Zone>&|' \
    "$dir/zonelist.xml"
check "it is listed" ctl reload
equal "and keeps its key" "$(key new.example)" "$acme"

# ---- a start with a list that is cut ----------------------------------------

daemon_stop
cp "$dir/zonelist.xml" "$dir/whole"
echo '<ZoneList><Zone' >"$dir/zonelist.xml"
daemon_start
says "the last good lists are in force" 'last good counts .5 zones. stay in force' "$log"
equal "another zone of that owner gets its key" \
    "$(key zone1.default.example)" "$acme"
equal "with a policy, too" \
    "$(key zone1.default.example --policy default)" "$acme"
exits 2 "a zone that is not in that list" ctl take --zone x.example --role KSK
says "is said not to be" "x.example is not in the zone list" "$dir/out"

# An owner file that is gone is no other.
daemon_stop
cp "$dir/whole" "$dir/zonelist.xml"
mv "$dir/owners" "$dir/owners.away"
daemon_start
equal "without the owner file" "$(key zone1.default.example)" "$acme"
daemon_stop

# ---- and nothing that could help ------------------------------------------------

# refused WHAT: no key without its owner, and the others go on.
refused()
{
	_n=$(sql 'SELECT count(*) FROM handouts')
	exits 2 "$1: no zone is known" ctl take --zone zone1.default.example \
	    --role KSK
	says "and says why" "which policy.*is on is not known" "$dir/out"
	exits 2 "nor its owner" ctl take --zone zone1.default.example \
	    --role KSK --policy default
	says "and says so" "whose zone .* is not known.*reload" "$dir/out"
	ready=$(ctl --json key list --state ready --role KSK | jq -r '.keys[0].id')
	exits 2 "nor is one marked" ctl key mark-used "$ready" \
	    --zone zone1.default.example --reason "it is used"
	equal "no key is spent" "$(sql 'SELECT count(*) FROM handouts')" "$_n"
	exits 0 "where owners do not matter" ctl take \
	    --zone zone1.default.example --role ZSK --policy default
}

echo >>"$state/zones.index"
daemon_start
says "a damaged file is said" "zones.index is damaged" "$log"
refused "damaged"
daemon_stop
rm "$state/zones.index"
daemon_start
refused "gone"
mv "$dir/owners.away" "$dir/owners"
check "the lists are mended" ctl reload
equal "and known" "$(key zone1.default.example)" "$acme"
check "and kept again" test -s "$state/zones.index"
daemon_stop
