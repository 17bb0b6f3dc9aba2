#!/bin/sh
# The Debian package: built, looked at by lintian, installed, used as a new
# operator would, removed, purged. In a root of its own that lies over this
# one, so that nothing of the host is touched.
set -u
umask 022

if [ "${1:-}" != inside ]; then
	source_dir=${KSM_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
	build=${KSM_BUILD:-$source_dir/build}
	skip()
	{
		echo "skipped: $*"
		exit 77
	}
	fail()
	{
		echo "FAIL  $*"
		exit 1
	}
	for tool in cpack dpkg-deb lintian softhsm2-util jq; do
		command -v $tool >/dev/null 2>&1 ||
		    skip "$tool is not installed"
	done
	dir=$(mktemp -d "${TMPDIR:-/tmp}/ksmpool-package.XXXXXX") || exit 1
	trap 'rm -rf "$dir"' EXIT

	(cd "$dir" && cpack -G DEB --config "$build/CPackConfig.cmake" \
	    -B "$dir" >"$dir/cpack.log" 2>&1) || {
		tail -n 30 "$dir/cpack.log"
		fail "cpack -G DEB"
	}
	deb=$(echo "$dir"/ksmpool_*.deb)
	[ -s "$deb" ] || fail "cpack made no package"
	echo "ok    cpack made ${deb##*/}"
	lintian --fail-on error --allow-root "$deb" >"$dir/lintian" 2>&1 || {
		cat "$dir/lintian"
		fail "lintian finds errors"
	}
	echo "ok    lintian finds no error"

	[ "$(id -u)" -eq 0 ] || skip "only root can install a package"
	mkdir "$dir/over"
	unshare -m sh -c "mount -t tmpfs none '$dir/over' &&
	    mkdir '$dir/over/up' '$dir/over/work' '$dir/over/root' &&
	    mount -t overlay overlay -o \
	    'lowerdir=/,upperdir=$dir/over/up,workdir=$dir/over/work' \
	    '$dir/over/root'" 2>/dev/null || skip "no overlay file system here"
	cp "$0" "$dir/inside.sh"
	# The processes inside end with it: a process space of their own.
	unshare -m -p -f --kill-child sh -c "
	    mount --make-rprivate / &&
	    mount -t tmpfs none '$dir/over' &&
	    mkdir '$dir/over/up' '$dir/over/work' '$dir/over/root' &&
	    mount -t overlay overlay -o \
	    'lowerdir=/,upperdir=$dir/over/up,workdir=$dir/over/work' \
	    '$dir/over/root' &&
	    mount --rbind /dev '$dir/over/root/dev' &&
	    mount -t proc proc '$dir/over/root/proc' &&
	    mkdir -p '$dir/over/root/run' &&
	    mount -t tmpfs none '$dir/over/root/run' &&
	    cp '$deb' '$dir/over/root/tmp/ksmpool.deb' &&
	    cp '$dir/inside.sh' '$dir/over/root/tmp/inside.sh' &&
	    exec chroot '$dir/over/root' env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin \
	    sh /tmp/inside.sh inside"
	exit $?
fi

# ---- inside ------------------------------------------------------------

fail()
{
	echo "FAIL  $*"
	[ -s /tmp/daemon.log ] && tail -n 20 /tmp/daemon.log
	exit 1
}

ok()
{
	echo "ok    $*"
}

# mode_is MODE OWNER:GROUP PATH
mode_is()
{
	is=$(stat -c '%a %U:%G' "$3") || fail "$3 is not there"
	[ "$is" = "$1 $2" ] || fail "$3 is $is and not $1 $2"
}

find / -xdev \( -path /proc -o -path /dev -o -path /tmp \) -prune -o \
    -print 2>/dev/null | sort >/tmp/before
dpkg -i /tmp/ksmpool.deb >/tmp/dpkg.log 2>&1 || {
	cat /tmp/dpkg.log
	fail "dpkg -i"
}
ok "it installs"
id ksmpool >/dev/null || fail "no user ksmpool"
id -nG ksmpool | grep -qw softhsm || fail "ksmpool is not in group softhsm"
mode_is 750 root:ksmpool /etc/ksmpool
mode_is 750 ksmpool:ksmpool /var/lib/ksmpool
mode_is 755 ksmpool:ksmpool /run/ksmpool
ok "user and directories are there"
pgrep -x ksmpoold >/dev/null && fail "it was started before it was configured"
grep -q '^ConditionPathExists=/etc/ksmpool/ksmpool.xml' \
    /lib/systemd/system/ksmpoold.service || fail "the unit has no condition"
if command -v deb-systemd-helper >/dev/null; then
	[ -L /etc/systemd/system/multi-user.target.wants/ksmpoold.service ] ||
	    fail "the unit is not enabled"
fi
ok "it is enabled and not started"

for prog in ksmpoold ksmctl ksmpool-config; do
	$prog --version >/dev/null || fail "$prog does not run"
done
for page in ksmpoold.8 ksmpool-hsm.8 ksmpool-config.8 ksmctl.1 ksmpool.xml.5 \
    ksmpool-consumers.7; do
	[ -s "/usr/share/man/man${page##*.}/$page.gz" ] || fail "no page $page"
done

# As the README says: a token, the examples, and go.
umask 077
mkdir -p /tmp/tokens
printf 'directories.tokendir = /var/lib/softhsm/tokens\nobjectstore.backend = file\n' \
    >/etc/softhsm/softhsm2.conf
chmod 644 /etc/softhsm/softhsm2.conf
chgrp softhsm /var/lib/softhsm /var/lib/softhsm/tokens
chmod 2770 /var/lib/softhsm /var/lib/softhsm/tokens
setpriv --reuid=ksmpool --regid=ksmpool --init-groups softhsm2-util \
    --init-token --free --label OpenDNSSEC --so-pin 12345678 --pin 4321 \
    >/dev/null || fail "softhsm2-util as user ksmpool"
cp /usr/share/doc/ksmpool/examples/*.xml /etc/ksmpool/
printf 4321 >/etc/ksmpool/pin
chown root:ksmpool /etc/ksmpool/*.xml
chmod 640 /etc/ksmpool/*.xml
chown ksmpool /etc/ksmpool/pin
chmod 400 /etc/ksmpool/pin
ksmctl check >/tmp/check.log 2>&1 || {
	cat /tmp/check.log
	fail "ksmctl check of the examples"
}
ok "the examples are right as they are installed"
ksmpoold --once >/tmp/daemon.log 2>&1 || fail "ksmpoold --once exited $?"
[ "$(stat -c %U /var/lib/ksmpool/ksmpool.db)" = ksmpool ] ||
    fail "the database does not belong to ksmpool"
ok "it fills the pools, started as root, as user ksmpool"

dpkg -r ksmpool >/tmp/dpkg.log 2>&1 || fail "dpkg -r"
for file in /var/lib/ksmpool/ksmpool.db /etc/ksmpool/ksmpool.xml; do
	[ -s $file ] || fail "removing took $file along"
done
ok "removed, records and configuration stay"
dpkg -P ksmpool >/tmp/dpkg.log 2>&1 || fail "dpkg -P"
kept=$(echo /var/backups/ksmpool-*)
[ -s "$kept/ksmpool.db" ] || fail "purging lost the record of the keys"
mode_is 700 root:root "$kept"
grep -qF "$kept" /tmp/dpkg.log || fail "nobody says where the record is kept"
find / -xdev \( -path /proc -o -path /dev -o -path /tmp -o -path "$kept" \
    -o -path /var/lib/softhsm -o -path /var/lib/dpkg -o -path /var/log \
    -o -path /var/cache \) -prune -o -print 2>/dev/null | sort >/tmp/after
left=$(comm -13 /tmp/before /tmp/after | grep -i ksmpool)
[ -z "$left" ] || fail "purging leaves $left"
ok "purged, nothing is left but the record of the keys"
