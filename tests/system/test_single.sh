#!/bin/sh
# One state, one daemon: a second is refused and told who holds it. After a
# power cut nothing stale is in the way.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

token_make
kasp_sample
zones default 1
conf_write
daemon_start
exits 3 "a second daemon is refused" "$build/ksmpoold" --config "$conf"
says "it names the first" "$daemon" "$dir/out"
exits 3 "so is --once" "$build/ksmpoold" --config "$conf" --once
check "the first is untouched" answers
daemon_kill9
until_true 20 no_workers || fail "workers stay without their daemon"
ok "workers leave when their daemon is gone"
[ -S "$sock" ] || fail "kill -9 removed the socket: this did not test"
daemon_start
ok "a stale socket and lock are no hindrance"
check "it fills" ctl --timeout PT60S topup --wait
daemon_stop
[ ! -e "$sock" ] || fail "the socket stays after a clean stop"
ok "a clean stop takes the socket away"
exits 69 "ksmctl says that there is no daemon" ctl status
