#!/bin/sh
# The plug-in and the metrics, read as their consumers read them.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/lint/promtool.sh
. "$source_dir/tests/lint/promtool.sh"

prom=$dir/ksmpool.prom

# plugin STATUS PATTERN ARGS...: its status, and one line that matches.
plugin()
{
	_want=$1
	_pattern=$2
	shift 2
	_status=0
	"$build/ksmctl" monitor --socket "$sock" "$@" >"$dir/line" \
	    2>"$dir/err" || _status=$?
	[ "$_status" -eq "$_want" ] ||
	    fail "monitor $* exited $_status, not $_want: $(cat "$dir/line")"
	[ "$(wc -l <"$dir/line")" -eq 1 ] || fail "monitor $*: not one line"
	[ "$(wc -c <"$dir/line")" -le 4096 ] || fail "monitor $*: too long"
	[ ! -s "$dir/err" ] || fail "monitor $* said: $(cat "$dir/err")"
	says "monitor $*: exit $_want" "$_pattern" "$dir/line"
}

metric()
{
	awk -v name="$1" 'index($0, name) == 1 { print $NF }' "$prom"
}

plugin 2 '^KSMPOOL CRITICAL - no daemon listens on'
exits 69 "no daemon is an exit status" ctl metrics --output "$prom"
equal "and still a valid file" "$(metric 'ksmpool_up')" 0

token_make
kasp_sample
zones default 2
conf_write
daemon_start
ctl topup --wait --quiet || fail "the pools are not filled"

plugin 0 "^KSMPOOL OK - 4 pools, .*\| 'lowest'=100\.0%;;;0;"
says "and each pool" "'default/KSK/SoftHSM/[A-Z0-9]*/[0-9]*'=4;" "$dir/line"
plugin 0 'OK' -w 80: -c 50:
plugin 1 'WARNING - pool .* has 100\.0 %' -w 101: -c 50:
plugin 2 'CRITICAL' -w 101: -c '@90:100'
plugin 0 'OK - 1 pool,' --pool default/KSK
plugin 0 'OK - 4 pools,' --repository SoftHSM
plugin 3 'UNKNOWN - there is no pool' --pool nothing
plugin 3 'UNKNOWN - there is no repository' --repository nothing
plugin 3 'is not a range' -w 20:10
plugin 3 'is not a range' -c ten
plugin 3 'is not 1 to' -t 0
plugin 3 'unknown option' --bogus
plugin 3 'one word too many' more
plugin 3 'needs a value' -w

exits 0 "metrics into a file" ctl metrics --output "$prom"
equal "readable by all" "$(stat -c %a "$prom")" 644
equal "nothing else is left there" \
    "$(find "$dir" -name 'ksmpool.prom.*' | wc -l)" 0
equal "up" "$(metric 'ksmpool_up')" 1
equal "ready keys" "$(awk '/^ksmpool_pool_keys\{.*state="ready"/ {
    n += $NF } END { print n }' "$prom")" "$(count ready)"
equal "required keys" "$(awk '/^ksmpool_pool_required_keys\{/ {
    n += $NF } END { print n }' "$prom")" "$(required)"
equal "generated" "$(awk '/^ksmpool_keys_generated_total\{/ {
    n += $NF } END { print n }' "$prom")" "$(count ready)"
equal "as the histogram counts" \
    "$(awk '/^ksmpool_generate_duration_seconds_count/ {
    n += $NF } END { print n }' "$prom")" "$(count ready)"
equal "+Inf is the count" \
    "$(awk '/_bucket\{.*le="\+Inf"/ { n += $NF } END { print n }' "$prom")" \
    "$(count ready)"
[ "$(metric ksmpool_last_topup_timestamp_seconds)" -gt 1000000000 ] ||
    fail "no last top-up"
exits 64 "another name is refused" ctl metrics --output "$dir/ksmpool.txt"
says "with words" 'must end in .prom' "$dir/out"
[ ! -e "$dir/ksmpool.txt" ] || fail "it was written all the same"
ctl metrics --json | jq -e '.pools and .tokens and .generated' >/dev/null ||
    fail "no document of metrics"

# offered WORD...: what bash would offer for the last of them
offered()
{
	# shellcheck disable=SC2016
	PATH=$build:$PATH bash -c '. "$0"
	    COMP_WORDS=(ksmctl "$@")
	    COMP_CWORD=$#
	    _ksmctl
	    echo "${COMPREPLY[*]}"' "$dir/bash" "$@"
}

if command -v bash >/dev/null 2>&1; then
	ctl completion bash >"$dir/bash" || fail "no completion for bash"
	equal "repositories are completed from the daemon" \
	    "$(offered --socket "$sock" repository resume '')" SoftHSM
	equal "and policies" \
	    "$(offered --socket "$sock" key list --policy d)" default
	equal "without a daemon, nothing" \
	    "$(offered --socket "$dir/none" key list --policy d)" ""
fi

kill -STOP "$daemon"
plugin 3 'UNKNOWN - no answer within 1 s' -t 1
kill -CONT "$daemon"

daemon_stop
rm "$dir/zonelist.xml"
daemon_start
plugin 1 'WARNING - an older zone list stays in force'
ctl metrics --output "$prom" || fail "metrics"
equal "and in the metrics" "$(metric ksmpool_zonelist_outdated)" 1
zones default 200
ctl reload >/dev/null || fail "reload"
plugin 2 'CRITICAL - pool default .* is critical: .* \(and [0-9]+ more\)'

if promtool_find; then
	ctl metrics | "$promtool" check metrics >"$dir/out" 2>&1 || {
		cat "$dir/out"
		fail "promtool check metrics"
	}
	ok "promtool reads the metrics"
else
	ok "no promtool, so its reading was left out"
fi
daemon_stop
