#!/bin/sh
# Commands change the database by orders of the engine only, or a change that
# fails would take the engine's open batch along. The ledger's own changes stand
# between engine_order_begin and engine_order_end.
set -u
# shellcheck source=tests/lint/lib.sh
. "$(dirname "$0")/lib.sh"

writes=$(sed -n 's/^.*\(store_[a-z_]*\)(struct store \*st,.*/\1/p' \
    src/daemon/store.h src/daemon/store_backup.h | sort -u |
    grep -vE '_(get|list|find|known|counts|brief|head|verify|last|newest|look)$' |
    grep -vE '^store_(backup_keys|uncovered_oldest|newest|tag_get|file_.*)$')
for name in $writes; do
	for f in src/daemon/command*.c; do
		grep -q "\b$name(" "$f" || continue
		case $f:$name in
		src/daemon/command_backup.c:store_backup_*) ;;
		*) fault "$f: $name; an order of the engine does that" ;;
		esac
	done
done
[ "$(grep -c 'engine_order_end(' src/daemon/command_backup.c)" -ge 1 ] ||
    fault "src/daemon/command_backup.c: no engine_order_end"
[ "$(echo "$writes" | grep -c .)" -ge 15 ] ||
    fault "only $(echo "$writes" | grep -c .) writing functions were found"
exit $bad
