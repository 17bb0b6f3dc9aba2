#!/bin/sh
# Alert rules and dashboard: sane, and about numbers that exist.
# shellcheck source=tests/lint/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/lint/promtool.sh
. "$top/tests/lint/promtool.sh"
need jq

tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT

dashboard=conf/ksmpool-dashboard.json
rules=conf/ksmpool-alerts.yml

# What the program can print, by its source: a running daemon is in
# tests/system/test_monitor.sh.
grep -oE 'ksmpool_[a-z_]+' src/ctl/metrics.c | sort -u >"$tmp/have"
[ -s "$tmp/have" ] || fault "no metrics in src/ctl/metrics.c"
{
	sed -n 's/^ *expr: //p' "$rules"
	jq -r '.panels[].targets[].expr, .annotations.list[].expr,
	    .templating.list[].query' "$dashboard"
} | grep -oE 'ksmpool_[a-z_]+' | sort -u >"$tmp/used"
for name in $(comm -13 "$tmp/have" "$tmp/used"); do
	fault "$name is used in conf/ and printed by nobody"
done
sed 's/_\(bucket\|sum\|count\)$//' "$tmp/used" | sort -u >"$tmp/bases"
sed 's/_\(bucket\|sum\|count\)$//' "$tmp/have" | sort -u >"$tmp/printed"
for name in $(comm -23 "$tmp/printed" "$tmp/bases"); do
	fault "$name is shown and watched by nobody"
done

jq -e '
    .title == "ksmpool" and (.schemaVersion | type == "number") and
    (.panels | length > 0) and
    ([.panels[].id] | length == (unique | length)) and
    all(.panels[]; (.title | length > 0) and (.targets | length > 0) and
	.gridPos.w > 0 and .gridPos.x + .gridPos.w <= 24 and
	all(.targets[]; .expr | length > 0))' "$dashboard" >/dev/null ||
    fault "$dashboard: not a dashboard that Grafana reads"
jq -e '[.panels[].gridPos | . as $g | range($g.x; $g.x + $g.w) as $x |
    range($g.y; $g.y + $g.h) as $y | [$x, $y]] |
    length == (unique | length)' "$dashboard" >/dev/null ||
    fault "$dashboard: panels overlap"

alerts=$(grep -c '^ *- alert:' "$rules")
for field in 'severity:' 'summary:' 'description:' 'runbook:' 'for:'; do
	[ "$(grep -c "^ *$field" "$rules")" -eq "$alerts" ] ||
	    fault "$rules: not every alert has $field"
done
sed -n 's/^ *- alert: //p' "$rules" | sort >"$tmp/alerts"
sed -n 's/^  - name: \(Ksm.*\)/\1/p' tests/lint/alerts.yml | sort >"$tmp/tested"
for name in $(comm -23 "$tmp/alerts" "$tmp/tested"); do
	fault "$name is not tested in tests/lint/alerts.yml"
done

for shell in bash zsh fish; do
	"$build/ksmctl" completion $shell >"$tmp/$shell" ||
	    fault "no completion for $shell"
	! command -v $shell >/dev/null 2>&1 || $shell -n "$tmp/$shell" ||
	    fault "the completion for $shell has errors"
done
cat >"$tmp/ask" <<'ASK'
. "$1"
shift
COMP_WORDS=(ksmctl "$@")
COMP_CWORD=$#
_ksmctl
printf '%s\n' "${COMPREPLY[@]}"
ASK
# completes WANTED WORD...: among what bash would offer for the last word
completes()
{
	_want=$1
	shift
	bash "$tmp/ask" "$tmp/bash" "$@" >"$tmp/out" 2>"$tmp/err" ||
	    fault "completion of '$*' fails: $(cat "$tmp/err")"
	grep -qx -- "$_want" "$tmp/out" ||
	    fault "'$*' does not offer $_want"
}
if command -v bash >/dev/null 2>&1; then
	completes status sta
	completes topup ''
	completes list key l
	completes --created-after key list --cr
	completes quarantined key list --state q
	completes ZSK key list --role ''
	completes --wait topup --quiet --
	completes --json --
	completes fish completion f
	completes resume repository ''
	completes list --socket /none key ''
	completes plan help pl
	completes adopt inventory ''
	completes --repository inventory --rep
	for name in $("$build/ksmctl" help |
	    sed -n '/^commands:/,/^$/s/^  \([a-z]*\).*/\1/p' | sort -u); do
		completes "$name" "${name%?}"
	done
fi

[ $bad -eq 0 ] || exit 1
promtool_find || {
	echo "skipped: promtool is not installed and cannot be fetched"
	exit 77
}
"$promtool" check rules "$rules" || bad=1
cp tests/lint/alerts.yml "$rules" "$tmp/"
"$promtool" test rules "$tmp/alerts.yml" || bad=1
exit $bad
