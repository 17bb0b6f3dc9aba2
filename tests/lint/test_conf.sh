#!/bin/sh
# What is shipped in conf/ is valid: schemas, the example configuration, cron.
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
line=$(grep -E '^#[0-9].*ksmctl topup --wait --quiet --or-once$' \
    conf/ksmpool.cron) ||
    fault "conf/ksmpool.cron: no commented line for hosts with systemd"
case $line in
*/run/systemd*) fault "conf/ksmpool.cron: that line does nothing under systemd" ;;
esac
grep -qE '^[0-9].*ksmctl topup --wait --quiet --or-once$' conf/ksmpool.cron ||
    fault "conf/ksmpool.cron: no line for ksmctl topup"

exit $bad
