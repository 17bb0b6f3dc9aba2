#!/bin/sh
# The PIN is in its source and in the worker that logs in, and nowhere else:
# not in arguments, environments, logs, the state directory, or the memory of
# ksmpoold; from every source that there is.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

token_make
kasp_write "$(kasp_policy default "$(kasp_key KSK 8 2048 P1Y)")"
zones default 40
pin=$(cat "$dir/pin")

# look SOURCE: while keys are being made.
look()
{
	daemon_start
	ctl topup >/dev/null
	until_true 30 sh -c "[ \"\$('$build/ksmctl' --socket '$sock' --json key list | jq '.keys | length')\" -gt 0 ]"
	[ -n "$(workers)" ] || fail "$1: no worker runs: nothing was tested"
	for p in $daemon $(workers); do
		tr '\0' '\n' <"/proc/$p/cmdline" | grep -qF "$pin" &&
		    fail "$1: PIN in the arguments of $p"
		# Root alone may read it of a process that allows no dump.
		if [ "$(id -u)" -eq 0 ] && tr '\0' '\n' <"/proc/$p/environ" |
		    grep -qF "$pin"; then
			fail "$1: PIN in the environment of $p"
		fi
	done
	status=0
	echo "$pin" | "$build/tests/mem_grep" "$daemon" >"$dir/out" 2>&1 ||
	    status=$?
	case $status in
	0) fail "$1: PIN in the memory of ksmpoold: $(cat "$dir/out")" ;;
	1) ok "$1: not in arguments, environment, memory of ksmpoold" ;;
	*) echo "note  memory of ksmpoold not readable: $(cat "$dir/out")" ;;
	esac
	ctl status >"$dir/out.status" 2>&1
	ctl --json repository list >>"$dir/out.status" 2>&1
	daemon_stop
	grep -rqF "$pin" "$state" "$log" "$dir/out.status" &&
	    fail "$1: PIN in the database, the log or an answer"
	ok "$1: not in database, log or answers"
}

conf_write
look file

pin_xml="<PIN>$pin</PIN>"
zones default 60
conf_write
look inline

mkdir "$dir/credentials"
cp "$dir/pin" "$dir/credentials/hsm.pin"
export CREDENTIALS_DIRECTORY="$dir/credentials"
pin_xml="<PINCredential>hsm.pin</PINCredential>"
zones default 80
conf_write
look credential

# The reader must be able to find something.
printf 'KSM_SYSTEM_TEST=%s\n' "$dir" >"$dir/known"
daemon_start
status=0
"$build/tests/mem_grep" "$daemon" <"$dir/known" >/dev/null 2>&1 || status=$?
[ "$status" -ne 1 ] || fail "mem_grep finds nothing at all"
daemon_stop
find "$dir" -name 'core*' | grep -q . && fail "there is a core file"
ok "no core file"
