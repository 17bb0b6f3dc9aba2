#!/bin/sh
# Every shell script passes shellcheck.
set -u
# shellcheck source=tests/lint/lib.sh
. "$(dirname "$0")/lib.sh"
need shellcheck

scripts=$(files . | grep -E '(\.sh|^\.ci/run)$')
[ -n "$scripts" ] || fault "no scripts seen"
# shellcheck disable=SC2086
shellcheck -x -e SC2119,SC2120 $scripts || bad=1
exit $bad
