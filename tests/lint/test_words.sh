#!/bin/sh
# The tree holds what belongs there, and nothing half done.
set -u
# shellcheck source=tests/lint/lib.sh
. "$(dirname "$0")/lib.sh"

extra=$(files . | cut -d/ -f1 | sort -u |
    grep -vE '^(\..*|CMakeLists\.txt|LICENSE|README\.md|conf|include|man|src|tests)$')
[ -z "$extra" ] || fault "does not belong at the top level: $extra"

# Brackets keep this file from matching itself.
files . | grep -v '/seeds/' | tr '\n' '\0' |
    xargs -0 grep -nIwE 'TOD[O]|FIXM[E]|XX[X]|HAC[K]' /dev/null &&
    fault "left behind: do it, or say it in an issue"
files . | tr '\n' '\0' |
    xargs -0 grep -nIE '(^|[^[:alnum:]._-])/(home|root|Users|wor[k])/|\.\./share[d]' \
    /dev/null && fault "a path of somebody's own machine"
files . | tr '\n' '\0' |
    xargs -0 grep -lIE '^(<<<<<<<|>>>>>>>) ' /dev/null &&
    fault "a conflict marker"
exit $bad
