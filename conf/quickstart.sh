#!/bin/sh
# ksmpool in three minutes: build it, make a SoftHSM token, take the sample
# policy of OpenDNSSEC and three zones, and fill the pools.
#
#   sh conf/quickstart.sh
#
# Everything goes into ./quickstart beside the source tree's files; nothing
# else is written, but Debian packages when root runs it. Run it again: it
# uses what is there, and makes no key, since none is missing.
set -u
umask 077
top=$(cd "$(dirname "$0")/.." && pwd) || exit 1
cd "$top" || exit 1
# shellcheck source=tests/packages.sh
. tests/packages.sh

q=$top/quickstart
bin=$q/build
daemon=

say()
{
	printf '\n\033[1m== %s\033[0m\n' "$*" | if [ -t 1 ]; then
		cat
	else
		sed 's/\x1b\[[0-9]*m//g'
	fi
}

die()
{
	echo "quickstart: $*" >&2
	exit 1
}

leave()
{
	status=$?
	trap - EXIT INT TERM
	if [ -n "$daemon" ]; then
		kill -TERM "$daemon" 2>/dev/null
		wait "$daemon" 2>/dev/null
	fi
	exit "$status"
}
trap leave EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# run ARGUMENT...: of ksmctl; show it as one would type it, then do it.
run()
{
	printf '$ ksmctl %s\n' "$*"
	"$bin/ksmctl" --socket "$q/socket" "$@"
}

say "packages"
# shellcheck disable=SC2086
packages_need $PACKAGES_BUILD $PACKAGES_TRY || exit 1
echo "all there"

say "build (in quickstart/build)"
mkdir -p "$q" "$bin" || die "cannot write $q"
{
	cmake -S . -B "$bin" -DBUILD_TESTING=OFF -DCMAKE_BUILD_TYPE=RelWithDebInfo &&
	    cmake --build "$bin" -j "$(nproc)"
} >"$q/build.log" 2>&1 || {
	tail -n 30 "$q/build.log"
	die "the build failed; all of it is in quickstart/build.log"
}
"$bin/ksmpoold" --version

say "a private SoftHSM token"
module=
for f in /usr/lib/softhsm/libsofthsm2.so /usr/lib64/softhsm/libsofthsm2.so \
    /usr/lib/*/softhsm/libsofthsm2.so; do
	[ -z "$module" ] && [ -f "$f" ] && module=$f
done
[ -n "$module" ] || die "no libsofthsm2.so found"
export SOFTHSM2_CONF="$q/softhsm2.conf"
if [ -s "$q/pin" ] && [ -d "$q/state" ]; then
	echo "the one of the last time, in quickstart/tokens"
else
	rm -rf "$q/tokens" "$q/state"
	mkdir "$q/tokens" "$q/state"
	printf 'directories.tokendir = %s/tokens\nobjectstore.backend = file\nlog.level = ERROR\n' \
	    "$q" >"$SOFTHSM2_CONF"
	pin=$(od -An -N8 -tx1 /dev/urandom | tr -d ' \n')
	so=$(od -An -N8 -tx1 /dev/urandom | tr -d ' \n')
	softhsm2-util --init-token --free --label quickstart --pin "$pin" \
	    --so-pin "$so" >/dev/null || die "softhsm2-util failed"
	echo "$pin" >"$q/pin"
	echo "label quickstart, random PIN in quickstart/pin, only you can read it"
fi

say "configuration"
kasp=/usr/share/opendnssec/kasp.xml
[ -f "$kasp" ] || kasp=$top/conf/kasp.xml
[ -s "$q/zonelist.xml" ] || cat >"$q/zonelist.xml" <<XML
<?xml version="1.0" encoding="UTF-8"?>
<ZoneList>
	<Zone name="example.com"><Policy>default</Policy></Zone>
	<Zone name="example.net"><Policy>default</Policy></Zone>
	<Zone name="lab.example"><Policy>lab</Policy></Zone>
</ZoneList>
XML
cat >"$q/ksmpool.xml" <<XML
<?xml version="1.0" encoding="UTF-8"?>
<Ksmpool>
	<Policy>
		<PolicyFile>$kasp</PolicyFile>
		<ZoneListFile>zonelist.xml</ZoneListFile>
	</Policy>
	<RepositoryList>
		<Repository name="SoftHSM">
			<Module>$module</Module>
			<TokenLabel>quickstart</TokenLabel>
			<PINFile>pin</PINFile>
			<Sessions>2</Sessions>
			<Environment name="SOFTHSM2_CONF">$q/softhsm2.conf</Environment>
		</Repository>
	</RepositoryList>
	<Daemon>
		<StateDirectory>$q/state</StateDirectory>
		<Socket><Path>$q/socket</Path></Socket>
		<User>$(id -un)</User>
	</Daemon>
</Ksmpool>
XML
echo "policy: $kasp"
echo "zones:  quickstart/zonelist.xml: two on policy default, and one on lab, whose"
echo "        ZSK rolls every four hours"
export KSMPOOL_LIBEXEC="$bin"
printf '$ ksmctl check --config quickstart/ksmpool.xml\n'
"$bin/ksmctl" check --config "$q/ksmpool.xml" || die "the check failed"

say "start ksmpoold (its log is quickstart/log)"
"$bin/ksmpoold" --config "$q/ksmpool.xml" >"$q/log" 2>&1 &
daemon=$!
tries=200
until "$bin/ksmctl" --socket "$q/socket" version >/dev/null 2>&1; do
	kill -0 "$daemon" 2>/dev/null || {
		tail -n 20 "$q/log"
		daemon=
		die "ksmpoold did not start"
	}
	tries=$((tries - 1))
	[ "$tries" -gt 0 ] || die "ksmpoold does not answer; see quickstart/log"
	sleep 0.1
done
before=$(date -u -d '1 hour ago' +%Y-%m-%dT%H:%M:%SZ)

say "how many keys are required, and why"
run plan

say "fill the pools"
run topup --wait || die "not every pool is full; see quickstart/log"

say "what is there now"
run status

say "which keys are in no backup, if the last one was an hour ago"
printf '$ ksmctl key list --created-after %s | head -n 6\n' "$before"
"$bin/ksmctl" --socket "$q/socket" key list --created-after "$before" |
    head -n 6

say "the same from the database, for your own scripts"
query="SELECT policy, role, algorithm, size, state, count(*), max(created)
    FROM keys GROUP BY policy, role, algorithm, size, state"
printf '$ sqlite3 -readonly -box quickstart/state/ksmpool.db "%s"\n' "$query"
sqlite3 -readonly -box "$q/state/ksmpool.db" "$query"

say "stop"
kill -TERM "$daemon"
wait "$daemon" || die "ksmpoold ended badly; see quickstart/log"
daemon=
tail -n 1 "$q/log"

say "next"
cat <<EOT
Run this again: it makes no key, because none is missing. Add a zone to
quickstart/zonelist.xml first and it makes that zone's.

Keep it running by hand:
    export KSMPOOL_LIBEXEC=$bin
    $bin/ksmpoold --config $q/ksmpool.xml
    $bin/ksmctl --socket $q/socket status

Install it:  cmake -B build -DCMAKE_INSTALL_PREFIX=/usr && cmake --build build &&
             cmake --install build
Read:        man/ksmpool.xml.5 and man/ksmctl.1 (man -l FILE), README.md
Throw away:  rm -r quickstart
EOT
