#!/bin/sh
# The manuals are clean mdoc, and every page that is promised is there.
set -u
# shellcheck source=tests/lint/lib.sh
. "$(dirname "$0")/lib.sh"
need mandoc

for page in ksmpoold.8 ksmctl.1 ksmpool-config.8 ksmpool-hsm.8 ksmpool.xml.5 \
    ksmpool-consumers.7; do
	[ -s "man/$page" ] || {
		fault "man/$page: missing"
		continue
	}
	mandoc -Tlint -W warning "man/$page" || bad=1
done

# Every option and command that a program names in --help is in its manual.
for prog in ksmpoold:8 ksmctl:1 ksmpool-config:8; do
	name=${prog%:*}
	page=man/$name.${prog#*:}
	if [ ! -x "$build/$name" ] || [ ! -s "$page" ]; then
		continue
	fi
	text=$(mandoc -Tascii "$page" 2>/dev/null | sed 's/.\x08//g')
	for opt in $("$build/$name" --help 2>&1 |
	    grep -oE -- '--[a-z][a-z-]+' | sort -u); do
		printf '%s\n' "$text" | grep -q -- "$opt" ||
		    fault "$page: $opt is in --help but not in the manual"
	done
done
exit $bad
