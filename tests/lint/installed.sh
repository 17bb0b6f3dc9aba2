#!/bin/sh
# installed.sh PREFIX: everything an operator needs is in an installed tree.
set -u
prefix=$1
bad=0
for f in sbin/ksmpoold bin/ksmctl bin/ksmpool-config libexec/ksmpool/ksmpool-hsm \
    share/man/man8/ksmpoold.8 share/man/man1/ksmctl.1 \
    share/man/man8/ksmpool-config.8 share/man/man8/ksmpool-hsm.8 \
    share/man/man5/ksmpool.xml.5 share/man/man7/ksmpool-consumers.7; do
	if [ ! -s "$prefix/$f" ]; then
		echo "$prefix/$f: not installed"
		bad=1
	fi
done
for name in ksmpoold.service ksmpoold.socket ksmpool-topup.service \
    ksmpool-topup.timer network-hsm.conf ksmpool.rng ksmpool.xml \
    ksmpool-alerts.yml ksmpool-dashboard.json ksmctl _ksmctl ksmctl.fish; do
	if [ -z "$(find "$prefix/.." -name "$name" 2>/dev/null)" ]; then
		echo "$prefix: $name is not installed anywhere"
		bad=1
	fi
done
exit $bad
