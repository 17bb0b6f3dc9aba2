#!/bin/sh
# Which folder may include what: the table in src/README.
set -u
# shellcheck source=tests/lint/lib.sh
. "$(dirname "$0")/lib.sh"

pure=" assert.h ctype.h errno.h inttypes.h limits.h math.h stdarg.h stdbool.h stddef.h stdint.h stdio.h stdlib.h string.h strings.h "

# May FILE include the foreign header NAME (written in <>)?
foreign_ok()
{
	case $2 in
	sqlite3.h)
		case $1 in
		src/daemon/store*.c | tests/*) return 0 ;;
		esac
		return 1
		;;
	openssl/*)
		case $1 in
		src/daemon/keycheck.c | src/daemon/digest.c) return 0 ;;
		src/ctl/consumer*.c | tests/*) return 0 ;;
		esac
		return 1
		;;
	systemd/*)
		case $1 in
		src/daemon/* | tests/unit/daemon/* | tests/replay/*) return 0 ;;
		esac
		return 1
		;;
	libxml/*)
		case $1 in
		src/config/* | tests/unit/config/* | tests/fuzz/*) return 0 ;;
		esac
		return 1
		;;
	p11-kit/*)
		case $1 in
		src/hsm/* | src/gate/* | tests/*) return 0 ;;
		esac
		return 1
		;;
	jansson.h)
		case $1 in
		src/core/msg_*.[ch] | include/ksmpool/msg_*.h) return 0 ;;
		src/core/* | src/base/* | src/gate/* | include/*) return 1 ;;
		esac
		return 0
		;;
	*)
		case $1 in
		src/core/* | include/ksmpool/*)
			case $pure in
			*" $2 "*) return 0 ;;
			esac
			# Types only: the base layer's own contracts.
			case $1:$2 in
			include/ksmpool/*:sys/types.h) return 0 ;;
			include/ksmpool/*:time.h) return 0 ;;
			# A conf owns its PIN descriptors and lets go of them;
			# that is the only call (below: close is allowed).
			src/core/policy.c:unistd.h) return 0 ;;
			src/core/msg_conf.c:unistd.h) return 0 ;;
			esac
			return 1
			;;
		esac
		return 0
		;;
	esac
}

files src include tests | grep '\.[ch]$' >"${TMPDIR:-/tmp}/ksm-lint.$$"
trap 'rm -f "${TMPDIR:-/tmp}/ksm-lint.$$"' EXIT
n=0
while read -r f; do
	n=$((n + 1))
	folder=$(dirname "$f")
	sed -n 's/^[[:space:]]*#[[:space:]]*include[[:space:]]*\([<"][^>"]*\).*/\1/p' \
	    "$f" >"${TMPDIR:-/tmp}/ksm-lint.$$.inc"
	while read -r inc; do
		name=${inc#?}
		case $inc in
		'<'*)
			foreign_ok "$f" "$name" ||
			    fault "$f: may not include <$name>"
			;;
		'"ksmpool/'*)
			[ -f "include/$name" ] ||
			    fault "$f: \"$name\" is not in include/"
			base=${name#ksmpool/}
			base=${base%.h}
			case $f in
			src/core/*)
				[ ! -f "src/base/$base.c" ] ||
				    fault "$f: core may not include \"$name\" of base"
				;;
			esac
			;;
		'"'*)
			# Private headers stay in their folder; tests reach
			# into the one they test.
			case $f in
			tests/*) ;;
			*)
				[ -f "$folder/$name" ] ||
				    fault "$f: \"$name\" is not beside it"
				;;
			esac
			;;
		esac
	done <"${TMPDIR:-/tmp}/ksm-lint.$$.inc"
done <"${TMPDIR:-/tmp}/ksm-lint.$$"
rm -f "${TMPDIR:-/tmp}/ksm-lint.$$.inc"
[ "$n" -gt 10 ] || fault "only $n source files seen"

# Core is pure: no clock, no file, no output, no environment, no chance.
lib=$build/libksmcore.a
if [ -f "$lib" ]; then
	used=$(nm -u "$lib" | awk '$1 == "U" { print $2 }' |
	    sed 's/@.*//; s/^__\(.*\)_chk$/\1/' | sort -u)
	for sym in time clock_gettime clock gettimeofday localtime gmtime mktime \
	    nanosleep sleep usleep open open64 openat creat read pread write pwrite \
	    fopen fopen64 fread fwrite fprintf printf puts putchar perror \
	    vprintf vfprintf fflush getenv secure_getenv setenv rand random \
	    getrandom arc4random fork execve posix_spawn socket connect send \
	    recv poll mmap stat fstat unlink rename exit _exit abort signal \
	    sigaction pthread_create pthread_mutex_lock; do
		case "
$used
" in
		*"
$sym
"*) fault "$lib: core calls $sym()" ;;
		esac
	done
else
	fault "$lib: not built"
fi
exit $bad
