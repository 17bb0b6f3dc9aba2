# shellcheck shell=sh
# promtool_find: sets promtool to the program, or returns 1. It is one of the
# files of Debian's package prometheus. That package is only unpacked, into the
# build directory: a test installs no server on anybody's machine.
promtool_find()
{
	promtool=$(command -v promtool) && return 0
	_at=${build:?}/promtool
	promtool=$_at/usr/bin/promtool
	[ ! -x "$promtool" ] || return 0
	command -v apt-get >/dev/null 2>&1 || return 1
	mkdir -p "$_at" || return 1
	(
		cd "$_at" && timeout 120 apt-get download -q prometheus &&
		    dpkg -x prometheus_*.deb . && rm -f prometheus_*.deb
	) >/dev/null 2>&1
	[ -x "$promtool" ]
}
