#!/bin/sh
# Which program links what: isolation that the link line can prove.
set -u
# shellcheck source=tests/lint/lib.sh
. "$(dirname "$0")/lib.sh"
need readelf

links()
{
	[ -x "$build/$1" ] || {
		fault "$build/$1: not built"
		return
	}
	needed=$(readelf -d "$build/$1" | sed -n 's/.*NEEDED.*\[\(.*\)\]/\1/p')
	[ -n "$needed" ] || fault "$1: links nothing, which cannot be"
}

# never PROGRAM LIB...
never()
{
	prog=$1
	links "$prog"
	shift
	for lib in "$@"; do
		if echo "$needed" | grep -q "^lib$lib\\.so"; then
			fault "$prog: links lib$lib"
		fi
	done
}

# must PROGRAM LIB...
must()
{
	prog=$1
	links "$prog"
	shift
	for lib in "$@"; do
		echo "$needed" | grep -q "^lib$lib\\.so" ||
		    fault "$prog: does not link lib$lib"
	done
}

never ksmpoold xml2 p11-kit dl
never ksmpool-hsm xml2 sqlite3 systemd crypto ssl
never ksmpool-config sqlite3 p11-kit systemd crypto
never ksmctl xml2 sqlite3 p11-kit systemd
must ksmpoold systemd sqlite3 crypto jansson
must ksmpool-hsm p11-kit jansson
must ksmpool-config xml2 jansson
must ksmctl jansson
exit $bad
