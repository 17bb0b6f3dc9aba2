#!/bin/sh
# The units: systemd-analyze finds no fault in them, and what they leave open
# to a broken-in daemon stays under the bounds: 1.5 alone, 2.5 with a drop-in.
set -u
# shellcheck source=tests/lint/lib.sh
. "$(dirname "$0")/lib.sh"
need systemd-analyze

# They name programs where the package puts them, and systemd-analyze wants
# those to exist: so they are checked in a root of their own.
root=$(mktemp -d) || exit 1
trap 'rm -rf "$root"' EXIT
units=$root/etc/systemd/system
mkdir -p "$units" "$root/usr/sbin" "$root/usr/bin"
for prog in /usr/sbin/ksmpoold /usr/bin/ksmctl; do
	printf '#!/bin/sh\n' >"$root$prog"
	chmod 755 "$root$prog"
done
# Units of others that ours name; the real ones are not in this root.
for other in local-fs.target time-sync.target network-online.target \
    nss-lookup.target sysinit.target basic.target shutdown.target \
    timers.target sockets.target multi-user.target network.target; do
	printf '[Unit]\nDescription=%s\nDefaultDependencies=no\n' $other \
	    >"$units/$other"
done

exposure()
{
	systemd-analyze security --offline=yes --root="$root" --no-pager \
	    "$1" 2>/dev/null |
	    sed -n 's/.*exposure level.*: \([0-9.]*\) .*/\1/p'
}

# exposed UNIT BOUND WHAT
exposed()
{
	score=$(exposure "$1")
	if [ -z "$score" ]; then
		fault "$3: systemd-analyze gives no exposure level"
	elif ! awk -v s="$score" -v b="$2" 'BEGIN { exit !(s <= b) }'; then
		fault "$3: exposure $score is over $2"
	else
		echo "$3: exposure $score, at most $2"
	fi
}

verified()
{
	said=$(systemd-analyze verify --man=no --root="$root" "$units/$1" 2>&1)
	[ -z "$said" ] || fault "$2: $said"
}

for unit in conf/*.service conf/*.socket conf/*.timer; do
	cp "$unit" "$units/"
done
for unit in conf/*.service conf/*.socket conf/*.timer; do
	verified "${unit#conf/}" "$unit"
done
exposed ksmpoold.service 1.5 conf/ksmpoold.service
exposed ksmpool-topup.service 1.5 conf/ksmpool-topup.service
for dropin in conf/dropins/*.conf; do
	mkdir "$units/ksmpoold.service.d"
	cp "$dropin" "$units/ksmpoold.service.d/"
	verified ksmpoold.service "$dropin"
	exposed ksmpoold.service 2.5 "$dropin"
	rm -r "$units/ksmpoold.service.d"
done

# Never the idle class: a starved holder of a token's lock makes signers wait.
grep -qE '^(CPUSchedulingPolicy|IOSchedulingClass)=idle' conf/*.service &&
    fault "conf: a unit runs in the idle class"
grep -q '^Nice=10$' conf/ksmpoold.service ||
    fault "conf/ksmpoold.service: not Nice=10"
# Order without requirement: a token's helper that fails must not keep us down.
grep -hE '^(Requires|BindsTo|Requisite)=.*(pcscd|pkcsslotd|network|time)' \
    conf/*.service conf/dropins/* && fault "conf: a unit requires another"
exit $bad
