# shellcheck shell=sh
# Debian packages that building, trying and testing need. Sourced by
# tests/run.sh and conf/quickstart.sh.

# shellcheck disable=SC2034
PACKAGES_BUILD="gcc libc6-dev make cmake pkgconf libjansson-dev libsystemd-dev
libxml2-dev libsqlite3-dev libp11-kit-dev libssl-dev"
# shellcheck disable=SC2034
PACKAGES_TRY="softhsm2 sqlite3 opendnssec-common"
# shellcheck disable=SC2034
PACKAGES_TEST="softhsm2 sqlite3 opendnssec-common clang libclang-rt-dev binutils
libcmocka-dev opensc jq libxml2-utils mandoc shellcheck procps systemd lintian
dpkg-dev"

# The signers that tests/system/test_consumer_*.sh give keys to. A test whose
# signer is missing is skipped, so these are no must.
# shellcheck disable=SC2034
PACKAGES_SIGNERS="knot knot-dnssecutils bind9-utils ldnsutils pdns-server
pdns-backend-sqlite3 opendnssec-enforcer-sqlite3 opendnssec-signer"

# packages_missing NAME...: those that dpkg does not have installed.
packages_missing()
{
	for p in "$@"; do
		case $(dpkg-query -W -f '${Status}' "$p" 2>/dev/null) in
		"install ok installed") ;;
		*) printf '%s ' "$p" ;;
		esac
	done
}

# packages_want NAME...: as packages_need, but nothing fails, and no service of
# what is installed starts, now or later.
packages_want()
{
	command -v dpkg-query >/dev/null 2>&1 || return 0
	missing=$(packages_missing "$@")
	[ -n "$missing" ] || return 0
	if [ "$(id -u)" -ne 0 ]; then
		echo "packages: tests are skipped without ${missing% }"
		return 0
	fi
	echo "packages: installing $missing"
	policy=/usr/sbin/policy-rc.d
	[ -e $policy ] && policy=
	if [ -n "$policy" ]; then
		printf '#!/bin/sh\nexit 101\n' >$policy && chmod 755 $policy
	fi
	# shellcheck disable=SC2086
	{ apt-get update -q && DEBIAN_FRONTEND=noninteractive \
	    apt-get install -q -y --no-install-recommends $missing; } \
	    >/dev/null 2>&1 ||
	    echo "packages: not installed, tests are skipped: $missing"
	[ -z "$policy" ] || rm -f "$policy"
	for p in $missing; do
		for unit in $(dpkg-query -L "$p" 2>/dev/null |
		    sed -n 's,.*/systemd/system/\([^/]*\.service\)$,\1,p'); do
			systemctl disable "$unit" >/dev/null 2>&1
		done
	done
	return 0
}

# packages_need NAME...: root installs what is missing; anybody else is told
# the one command and gets status 1.
packages_need()
{
	if ! command -v dpkg-query >/dev/null 2>&1; then
		echo "packages: no dpkg here, not checked; Debian's names are: $*"
		return 0
	fi
	missing=$(packages_missing "$@")
	[ -n "$missing" ] || return 0
	if [ "$(id -u)" -ne 0 ]; then
		echo "Packages are missing. Run this, then start again:"
		echo
		echo "    sudo apt-get install --no-install-recommends ${missing% }"
		return 1
	fi
	echo "packages: installing $missing"
	apt-get update -q >/dev/null || {
		echo "packages: apt-get update failed" >&2
		return 1
	}
	# shellcheck disable=SC2086
	DEBIAN_FRONTEND=noninteractive apt-get install -q -y \
	    --no-install-recommends $missing >/dev/null || {
		echo "packages: apt-get install failed: $missing" >&2
		return 1
	}
	missing=$(packages_missing "$@")
	[ -z "$missing" ] || {
		echo "packages: still missing: $missing" >&2
		return 1
	}
}
