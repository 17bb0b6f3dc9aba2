# shellcheck shell=sh
# What the lint tests share. KSM_SOURCE and KSM_BUILD come from ctest; by hand
# the tree is found from this folder and the build directory must be named.
top=${KSM_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
# shellcheck disable=SC2034
build=${KSM_BUILD:-$top/build}
cd "$top" || exit 1
bad=0

fault()
{
	echo "$*"
	# shellcheck disable=SC2034
	bad=1
}

need()
{
	command -v "$1" >/dev/null 2>&1 || {
		echo "skipped: $1 is not installed"
		exit 77
	}
}

# Every file that belongs to the project.
files()
{
	if git rev-parse --git-dir >/dev/null 2>&1; then
		git ls-files --cached --others --exclude-standard -- "$@" |
		    while read -r f; do
			[ -e "$f" ] && echo "$f"
		done
	else
		# A clone on a host without git, or a tarball.
		find "$@" -type f ! -path './.git/*' ! -path './build*' \
		    ! -path './quickstart/*' |
		    sed 's,^\./,,'
	fi
}
