#!/bin/sh
# With --json there is exactly one document on standard output and nothing on
# standard error, whatever is asked and however wrong it is.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

# document STATUS MEMBER COMMAND...
document()
{
	_want=$1
	_member=$2
	shift 2
	_status=0
	"$@" >"$dir/out" 2>"$dir/err" || _status=$?
	_text="${1##*/} $(shift && echo "$*")"
	[ "$_status" -eq "$_want" ] || fail "$_text exited $_status, not $_want"
	[ ! -s "$dir/err" ] || fail "$_text said: $(cat "$dir/err")"
	_have=$(jq -s "length == 1 and .[0].version == 1 and
	    .[0]$_member != null" "$dir/out") || _have=broken
	[ "$_have" = true ] || fail "$_text: no $_member in $(cat "$dir/out")"
	ok "$_text: $_member"
}

ctl=$build/ksmctl
config=$build/ksmpool-config

document 64 .error "$ctl" --json
document 64 .error "$ctl" stauts --json
document 0 .help "$ctl" help --json
document 0 .help "$ctl" -h --json
document 0 .help "$ctl" --json help plan
document 0 .help "$ctl" plan --help --json
document 0 .ksmctl_version "$ctl" --version --json
document 69 .error "$ctl" --json --socket "$dir/none" version

document 64 .error "$ctl" --json check --bogus
document 64 .error "$ctl" check --bogus --json
document 64 .error "$ctl" check --json --config
document 64 .error "$ctl" check --json --strict=yes
document 64 .error "$ctl" check --json -z
document 64 .error "$ctl" check --json more
document 0 .help "$ctl" --json check --help
document 0 .config_version "$ctl" --json check --version
document 2 .findings "$ctl" --json check --config "$dir/none.xml"
document 2 .findings "$ctl" --json --quiet check --config "$dir/none.xml"

document 64 .error "$config" --json
document 64 .error "$config" frobnicate --json
says "what was wrong" "frobnicate" "$dir/out"
exits 64 "without --json an error is words" "$config" check --bogus
says "that name the option" "unknown option: --bogus" "$dir/out"

token_make
kasp_sample
zones default 1
conf_write
daemon_start
document 0 .ksmctl_version "$ctl" --socket "$sock" --json version
says "the daemon's version beside it" '"daemon_version":"' "$dir/out"
daemon_stop
