#!/bin/sh
# What is shipped in conf/ is valid: schemas, the example configuration, units.
set -u
# shellcheck source=tests/lint/lib.sh
. "$(dirname "$0")/lib.sh"
need xmllint

for f in conf/*.xml conf/*.rng; do
	xmllint --noout --nonet "$f" || fault "$f: not well-formed"
done
xmllint --noout --nonet --relaxng conf/ksmpool.rng conf/ksmpool.xml ||
    fault "conf/ksmpool.xml: not valid"

# Hosts with systemd and without a resident daemon need the second line too.
line=$(grep -E '^#[0-9].*ksmpoold --once$' conf/ksmpool.cron) ||
    fault "conf/ksmpool.cron: no commented line for ksmpoold --once"
case $line in
*/run/systemd*) fault "conf/ksmpool.cron: --once does nothing under systemd" ;;
esac
grep -qE '^[0-9].*ksmctl topup --wait --quiet$' conf/ksmpool.cron ||
    fault "conf/ksmpool.cron: no line for ksmctl topup"

# The units name programs where the package puts them; systemd-analyze wants
# them to exist, so they are checked in a root of their own.
if command -v systemd-analyze >/dev/null 2>&1; then
	root=$(mktemp -d) || exit 1
	trap 'rm -rf "$root"' EXIT
	mkdir -p "$root/etc/systemd/system" "$root/usr/sbin" "$root/usr/bin"
	for prog in /usr/sbin/ksmpoold /usr/bin/ksmctl; do
		printf '#!/bin/sh\n' >"$root$prog"
		chmod 755 "$root$prog"
	done
	for unit in ksmpoold.service ksmpool-topup.service ksmpool-topup.timer; do
		cp "conf/$unit" "$root/etc/systemd/system/" ||
		    fault "conf/$unit: missing"
		said=$(systemd-analyze verify --man=no --root="$root" \
		    "$root/etc/systemd/system/$unit" 2>&1 |
		    grep -F "ksmpool" | grep -vE 'is not executable|not found')
		[ -z "$said" ] || fault "conf/$unit: $said"
	done
	score=$(systemd-analyze security --offline=yes --no-pager \
	    conf/ksmpoold.service 2>/dev/null |
	    sed -n 's/.*exposure level.*: \([0-9.]*\) .*/\1/p')
	if [ -n "$score" ]; then
		awk -v s="$score" 'BEGIN { exit !(s <= 2.5) }' ||
		    fault "conf/ksmpoold.service: exposure $score is over 2.5"
	fi
fi
exit $bad
