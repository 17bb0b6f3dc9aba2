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
