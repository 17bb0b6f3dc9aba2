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

none=ffffffffffffffffffffffffffffffff
ask()
{
	_s=$1
	_m=$2
	shift 2
	document "$_s" "$_m" "$ctl" --socket "$sock" --json "$@"
}
check "filled" ctl --timeout PT60S topup --wait
ask 0 .pools explain
ask 2 .error explain nobody
ask 0 .tokens plan --zones 3 --capacity 4
ask 0 .keys key list --older-than PT1S --state ready
ask 64 .error key list --tag x
ask 2 .refused key retire $none --reason t
ask 64 .error key destroy $none --reason t
ask 0 .would key destroy $none --reason t --dry-run
ask 2 .keys key destroy $none --reason t --yes
ask 0 .repositories inventory
ask 0 .found inventory --all
ask 2 .error inventory adopt $none --policy default --role ZSK --reason t --yes
ask 0 .debris inventory clean debris --repository SoftHSM --reason t --dry-run
ask 0 .swept inventory clean debris --repository SoftHSM --reason t --yes
ask 0 .paused pause --for PT1M
ask 0 .was_paused resume
ask 64 .error clock accept --reason t
ask 2 .error clock accept --reason t --yes
ask 0 .level log level
taken=$("$ctl" --socket "$sock" --json take --zone example.com --role ZSK --policy default | jq -r '.keys[0].id')
ask 0 .keys take --zone example.com --role ZSK --policy default --dry-run
ask 0 .request take --zone example.com --role ZSK --policy default
ask 64 .error take --zone example.com
ask 2 .error take --zone example.com --role CSK --policy default
check "filled again" ctl --timeout PT60S topup --wait
ask 0 .handouts handout list
ask 0 .handouts.journal handout status
ask 64 .error handout accept
ask 2 .error handout accept --reason t
ask 0 .zones impact "$taken"
ask 2 .error impact $none
ask 0 .done key return "$taken" --reason t
ask 2 .refused key return $none --reason t
ask 2 .error key mark-used $none --zone a --reason t
ask 0 .events history
ask 64 .error history --since never
ask 0 .hash history verify
ask 0 .findings database check
ask 0 .file database backup "$dir/copy"
ask 2 .error database backup "$dir/copy"
daemon_stop
