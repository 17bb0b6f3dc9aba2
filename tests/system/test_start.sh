#!/bin/sh
# Started by whatever parent there is, in whatever directory there is, and as
# root for another user: it works, or says why not, and follows no link.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

token_make
kasp_sample
zones default 1
conf_write

# A parent that ignores SIGCHLD leaves that to its children.
if env --ignore-signal=CHLD true 2>/dev/null; then
	exits 0 "a parent that ignores SIGCHLD does no harm" \
	    timeout 60 env --ignore-signal=CHLD \
	    "$build/ksmpoold" --config "$conf" --once
	check "token and database agree" compare
fi

# Root becomes the configured user, and that user must be able to read what
# every reload will read.
[ "$(id -u)" -eq 0 ] || exit 0
uid=$(id -u nobody 2>/dev/null) || exit 0
chmod 755 "$dir"
setpriv --reuid="$uid" --clear-groups test -x "$KSMPOOL_LIBEXEC/ksmpool-hsm" ||
    exit 0
sed -i -e 's,<User>.*</User>,<User>nobody</User>,' \
    -e "s,<StateDirectory>.*</State,<StateDirectory>$dir/new/</State," \
    -e "s,<Path>.*</Path>,<Path>$dir/run/s</Path>," "$conf"
chmod 644 "$dir/kasp.xml" "$dir/zonelist.xml"
chmod 600 "$conf"
exits 2 "a file that only root can read is refused at start" \
    "$build/ksmpoold" --config "$conf"
says "with its name" "not started: .*$conf.*Permission denied" "$dir/out"
says "and the uid that reads it" "uid $uid" "$dir/out"
chmod 644 "$conf"
chmod 600 "$dir/kasp.xml"
exits 2 "so is a policy file that only root can read" \
    "$build/ksmpoold" --config "$conf"
says "with its name too" "not started: .*kasp.xml.*Permission denied" \
    "$dir/out"
chmod 644 "$dir/kasp.xml"

rm -rf "$dir/new" "$dir/run"
sock=$dir/run/s
daemon_start
equal "the state directory" "$(stat -c '%a %U' "$dir/new")" "750 nobody"
equal "the socket's directory can be entered by its group" \
    "$(stat -c '%a %U' "$dir/run")" "755 nobody"
exits 0 "a reload reads what the start read" ctl reload
daemon_stop
equal "nothing of root's is left in the state directory" \
    "$(find "$dir/new" -user root)" ""
