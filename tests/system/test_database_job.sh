#!/bin/sh
# Jobs on the whole database: who gives way to whom, and that the history has
# what became of a backup, whoever is gone meanwhile.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

# ksmpoold as its own helper, that takes its time when it is told to.
libexec=$dir/libexec
mkdir "$libexec"
for program in ksmpool-hsm ksmpool-config; do
	ln -s "$build/$program" "$libexec/$program"
done
cat >"$libexec/ksmpoold" <<-SH
	#!/bin/sh
	if [ -e "$dir/slow" ]; then
		[ "\$1" = --check-database ] || {
			: >"\$3.part-\$\$"
			: >"\$3.part-\$\$-journal"
		}
		: >"$dir/begun"
		while [ -e "$dir/slow" ]; do
			sleep 0.05
		done
		rm -f "\$3.part-\$\$" "\$3.part-\$\$-journal"
	fi
	exec "$build/ksmpoold" "\$@"
SH
chmod 700 "$libexec/ksmpoold"
export KSMPOOL_LIBEXEC="$libexec"

# shellcheck disable=SC2119
token_make
kasp_write "$(kasp_policy default "$(kasp_key KSK 13 256 P1Y)")"
zones default 1
# shellcheck disable=SC2119
conf_write

# job OUT COMMAND...: begin it and come back when its helper is at work.
job()
{
	_out=$1
	shift
	rm -f "$dir/begun"
	: >"$dir/slow"
	"$build/ksmctl" --socket "$sock" "$@" >"$_out" 2>&1 &
	client=$!
	until_true 10 test -e "$dir/begun" || fail "$* does not begin"
}

# ended OUT STATUS
ended()
{
	_status=0
	wait "$client" || _status=$?
	[ "$_status" -eq "$2" ] || {
		cat "$1"
		fail "the client exited $_status, not $2"
	}
}

# rows WHAT FILE
rows()
{
	sql "SELECT count(*) FROM history WHERE what = '$1' AND subject = '$2'"
}

has_row()
{
	[ "$(rows "$1" "$2")" = 1 ]
}

no_pieces()
{
	[ "$(find "$dir" -name '*.part-*' | wc -l)" -eq 0 ]
}

daemon_start

job "$dir/first" database check
exits 2 "a second check is refused" ctl database check
says "  and says why" "being checked or copied already" "$dir/out"
rm "$dir/slow"
ended "$dir/first" 0
ok "the first one ends well"

job "$dir/first" database check
mv "$dir/slow" "$dir/was-slow"
check "a backup does not wait for a check" ctl database backup "$dir/one.db"
ended "$dir/first" 2
says "who checked is told" "a backup came first" "$dir/first"
equal "rows of that backup" "$(rows 'database backup' "$dir/one.db")" 1

job "$dir/first" database backup "$dir/two.db"
exits 2 "a check does not end a backup" ctl database check
equal "rows while it runs" "$(rows 'database backup' "$dir/two.db")" 0
kill -KILL "$client"
wait "$client" 2>/dev/null
rm "$dir/slow"
until_true 10 has_row 'database backup' "$dir/two.db" ||
    fail "a backup whose client was killed is not in the history"
check "it is whole" sqlite3 -readonly "$dir/two.db" 'SELECT count(*) FROM history'
no_pieces || fail "it left pieces"

exits 2 "no backup over a file that is there" ctl database backup "$dir/two.db"
equal "rows of what failed" \
    "$(rows 'database backup failed' "$dir/two.db")" 1

job "$dir/first" database backup "$dir/three.db"
begin=$(millis)
daemon_stop
took=$(($(millis) - begin))
[ "$took" -lt 5000 ] || fail "a stop waited $took ms for a backup"
ended "$dir/first" 2
no_pieces || fail "a backup that a stop ended left pieces"
equal "files of it" "$(find "$dir" -name 'three.db*' | wc -l)" 0
equal "rows of a backup that a stop ended" \
    "$(rows 'database backup failed' "$dir/three.db")" 1
equal "rows that call it a backup" \
    "$(rows 'database backup' "$dir/three.db")" 0
rm -f "$dir/slow"
check "the history holds" "$build/ksmpoold" --check-database "$db"
