#!/bin/sh
# Who may do what: root and the daemon's user all, operators all, readers look,
# everybody else nothing. Groups count whether primary or supplementary.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

[ "$(id -u)" -eq 0 ] || skip "only root can become others"
command -v setpriv >/dev/null 2>&1 || skip "setpriv is not installed"
# Any two groups that nobody below is a member of.
actors=$(awk -F: '$1 == "games" { print $3 }' /etc/group)
readers=$(awk -F: '$1 == "news" { print $3 }' /etc/group)
[ -n "$actors" ] || skip "no group games"
[ -n "$readers" ] || skip "no group news"
stranger=65534

# as UID GID GROUPS COMMAND...: ksmctl by somebody else.
as()
{
	_uid=$1
	_gid=$2
	_groups=$3
	shift 3
	if [ -z "$_groups" ]; then
		setpriv --reuid "$_uid" --regid "$_gid" --clear-groups \
		    "$dir/ksmctl" --socket "$sock" "$@"
	else
		setpriv --reuid "$_uid" --regid "$_gid" --groups "$_groups" \
		    "$dir/ksmctl" --socket "$sock" "$@"
	fi
}

# Others must reach the program and the socket, not what lies beside them.
cp "$build/ksmctl" "$dir/ksmctl"
chmod 755 "$dir/ksmctl"
chmod 711 "$dir"

token_make
kasp_write "$(kasp_policy default "$(kasp_key KSK 13 256 P1Y)")"
zones default 1
conf_write
with_groups()
{
	sed -i "s|<Socket>.*</Socket>|<Socket><Path>$sock</Path>$1</Socket>|" "$conf"
}

mode()
{
	stat -c %a "$sock"
}

# No groups: the daemon's user and root.
daemon_start
equal "without groups the mode is" "$(mode)" 600
check "root may" ctl topup --wait --timeout PT60S
exits 77 "nobody may not" as $stranger $stranger '' status
says "in words" 'permission' "$dir/out"
daemon_stop

# A group that may act.
with_groups '<Group>games</Group>'
daemon_start
equal "with a group the mode is" "$(mode)" 660
exits 77 "nobody may not" as $stranger $stranger '' status
says "and is told the group" 'games' "$dir/out"
check "a member may look" as $stranger "$actors" '' status
check "a member may act" as $stranger "$actors" '' topup
check "by a supplementary group, too" as $stranger $stranger "$actors" topup
check "one of several" as $stranger $stranger "$readers,$actors" topup
# The mode is one lock, who comes is another.
chmod 666 "$sock"
exits 77 "an open door changes nothing" as $stranger $stranger '' status
says "in words, too" "uid $stranger may not use" "$dir/out"
daemon_stop

# And one that may look.
with_groups '<Group>games</Group><ReadersGroup>news</ReadersGroup>'
daemon_start
equal "with readers the mode is" "$(mode)" 666
exits 77 "nobody may not" as $stranger $stranger '' status
says "and hears who may" "games.*news" "$dir/out"
for what in status plan 'key list' 'repository list'; do
	# shellcheck disable=SC2086 # words
	check "a reader may $what" as $stranger "$readers" '' $what
done
# Each is a login and a pass over the token: not as often as somebody likes.
check "a reader may take an inventory" \
    as $stranger "$readers" '' inventory
exits 2 "but not one after the other" as $stranger "$readers" '' inventory
says "it is told when" "one inventory a minute; the next in" "$dir/out"
exits 2 "a dry run is one, too" as $stranger "$readers" '' \
    inventory clean debris --repository SoftHSM --reason x --dry-run
check "an operator is not held up" as $stranger "$actors" '' inventory
check "by a supplementary group" as $stranger $stranger "$readers" status
check "a reader may try what a topup would do" \
    as $stranger "$readers" '' topup --dry-run
made=$(count ready)
for what in topup stop reload 'repository resume SoftHSM' \
    'pause --reason no' 'log level debug'; do
	# shellcheck disable=SC2086 # words
	exits 77 "a reader may not $what" as $stranger "$readers" '' $what
	says "and hears who may" "games" "$dir/out"
done
check "the daemon is still there" answers
equal "and has as many keys as before" "$(count ready)" "$made"
check "an operator may act" as $stranger "$actors" '' topup
check "also one who is a reader, too" as $stranger "$readers" "$actors" topup
check "an operator may stop it" as $stranger "$actors" '' stop
wait "$daemon"
daemon=
says "who was denied is in the log" "denied uid $stranger" "$log"

# A group that is not there is refused at start, by name.
with_groups '<Group>games</Group><ReadersGroup>no-such-group</ReadersGroup>'
exits 2 "an unknown group is refused" "$build/ksmpoold" --config "$conf"
says "by name" "no-such-group" "$dir/out"
