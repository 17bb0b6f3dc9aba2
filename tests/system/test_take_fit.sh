#!/bin/sh
# What a consumer cannot be given is said before a key is spent on it: names
# that it cannot be told, a directory that takes no files, a key that it has.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

token_make
kasp_write "$(kasp_policy default "$(kasp_key KSK 13 256 P1Y)$(kasp_key ZSK 13 256 P90D)")" \
    "$(kasp_policy other "$(kasp_key ZSK 13 256 P90D)")"
zones default 4 other 2
# One of the repositories has a name that is not for everybody.
sed '/name="other"/,$s/>SoftHSM</>-my hsm</' "$dir/kasp.xml" >"$dir/kasp.new"
mv "$dir/kasp.new" "$dir/kasp.xml"
pools_xml='<Pool role="KSK"><Scope>policy</Scope></Pool>'
conf_write '<LowWater>1</LowWater>'
token_make " odd"
sed "s|</RepositoryList>|<Repository name=\"-my hsm\"><Module>$module</Module><TokenURI>pkcs11:token=%20odd</TokenURI><PINFile>$dir/pin</PINFile></Repository>&|" \
    "$conf" >"$conf.new"
mv "$conf.new" "$conf"
daemon_start
ctl topup --wait >/dev/null || fail "topup"

# unspent TEXT PATTERN COMMAND...: refused in these words, and no key is gone;
# with 2 by the daemon, or with $as by ksmctl before it asks.
as=2
unspent()
{
	_what=$1 _words=$2 _n=$(sql 'SELECT count(*) FROM handouts')
	shift 2
	exits "$as" "$_what" "$@"
	says "says why" "$_words" "$dir/out"
	equal "no key is spent" "$(sql 'SELECT count(*) FROM handouts')" "$_n"
}

# other CONSUMER [OPTION...]: a key of the repository with the odd name.
other()
{
	_c=$1
	shift
	ctl take --zone zone0.other.example --role ZSK --for "$_c" "$@"
}

unspent "a repository that OpenDNSSEC cannot be told" \
    "OpenDNSSEC takes no repository with blanks" other opendnssec
unspent "nor Cascade" "Cascade takes no name of a server" other cascade
unspent "a token that PowerDNS cannot be told" \
    "PowerDNS needs a label of a token without blanks" other powerdns
exits 0 "those that can take one" other knot

bind()
{
	ctl take --zone "$1" --role ZSK --policy default --for bind --directory "$2"
}

as=64
unspent "a directory that is none" "is no directory" \
    bind zone0.default.example "$conf"
unspent "one that is not there" "No such file" \
    bind zone0.default.example "$dir/none"
unspent "one that access() says yes of" "cannot be written to" \
    bind zone0.default.example /proc
label=$(printf '%063d' 0 | tr 0 _)
hash=$(printf '%040d' 0 | sed 's/0/\\035/g')
mkdir "$dir/keys"
unspent "a zone that no file can be named after" "too long for the name of a file" \
    bind "$label.$label.$hash.example" "$dir/keys"
unspent "a zone in UTF-8" "xn--" bind "münchen.example" "$dir/keys"
as=2
exits 0 "one that can" bind "$label.$label.example" "$dir/keys"

# ---- a key that it has -------------------------------------------------------

ods()
{
	ctl take --zone "zone$1.default.example" --role KSK --for "$2"
}

exits 0 "a shared key for OpenDNSSEC" ods 0 opendnssec
exits 0 "the same once more" ods 0 opendnssec
unspent "for another zone" "takes a key once" ods 1 opendnssec
unspent "not by the other way either" "takes a key once" ods 1 opendnssec-pool
exits 0 "somebody else may have it" ods 1 knot
unspent "which makes no difference" "zone0.default.example, and takes a key once" \
    ods 2 opendnssec
