#!/bin/sh
# Build ksmpool three ways and run every test. Ends with one plain line,
# "N passed, N failed, N skipped", and exits non-zero if anything failed or
# nothing ran. The first failure stops the run.
#
#   sh tests/run.sh
set -u
umask 022
top=$(cd "$(dirname "$0")/.." && pwd) || exit 1
cd "$top" || exit 1
# shellcheck source=tests/packages.sh
. tests/packages.sh

passed=0 failed=0 skipped=0

finish()
{
	echo "$passed passed, $failed failed, $skipped skipped"
	[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ] && [ "$1" -eq 0 ]
	exit $?
}

say()
{
	printf '\n== %s\n' "$*"
}

# A step that is not a test: on failure show what it said, and stop.
step()
{
	log=$1
	shift
	mkdir -p "$(dirname "$log")"
	if ! "$@" >"$log" 2>&1; then
		tail -n 60 "$log"
		echo "failed: $*"
		failed=$((failed + 1))
		finish 1
	fi
}

build()
{
	dir=$1
	shift
	say "build in $dir: $*"
	step "$dir/configure.log" cmake -S . -B "$dir" -DKSM_WERROR=ON "$@"
	step "$dir/build.log" cmake --build "$dir" -j 2
}

# The number after NAME= in the <testsuite> element of ctest's report.
count()
{
	tr '\n' ' ' <"$1" | sed -n \
	    's/.*<testsuite[^>]*[[:space:]]'"$2"'="\([0-9]*\)".*/\1/p'
}

run_tests()
{
	dir=$1
	shift
	say "test in $dir: ctest $*"
	rm -f "$dir/report.xml"
	status=0
	ctest --test-dir "$dir" -j 2 --output-on-failure --stop-on-failure \
	    --output-junit report.xml "$@" || status=$?
	if [ ! -s "$dir/report.xml" ]; then
		failed=$((failed + 1))
		finish 1
	fi
	all=$(count "$dir/report.xml" tests)
	bad=$(count "$dir/report.xml" failures)
	skip=$(($(count "$dir/report.xml" skipped) + \
	    $(count "$dir/report.xml" disabled)))
	passed=$((passed + all - bad - skip))
	failed=$((failed + bad))
	skipped=$((skipped + skip))
	if [ "$status" -ne 0 ]; then
		[ "$bad" -gt 0 ] || failed=$((failed + 1))
		finish 1
	fi
}

say "packages"
# shellcheck disable=SC2086
packages_need $PACKAGES_BUILD $PACKAGES_TEST || exit 1
# shellcheck disable=SC2086
packages_want $PACKAGES_SIGNERS
echo "all there"

# 1. What users run: every test.
build build/gcc -DCMAKE_C_COMPILER=gcc -DCMAKE_BUILD_TYPE=RelWithDebInfo
run_tests build/gcc

# 2. The other compiler, with sanitizers: the tests that touch most memory.
build build/clang -DCMAKE_C_COMPILER=clang -DCMAKE_BUILD_TYPE=Debug \
    -DKSM_SANITIZE=address,undefined
run_tests build/clang -L 'unit|replay|hsm|fuzz'
run_tests build/clang -L system -R 'system/test_(first_fill|wrong_pin|config)'

# 3. What packagers do: no tests, assertions off, installed into a staging
# directory, and that has everything in it.
build build/package -DCMAKE_C_COMPILER=gcc -DCMAKE_BUILD_TYPE=Release \
    -DBUILD_TESTING=OFF -DCMAKE_INSTALL_PREFIX=/usr
say "install into build/package/stage"
rm -rf build/package/stage
step build/package/install.log env DESTDIR="$top/build/package/stage" \
    cmake --install build/package
step build/package/installed.log sh tests/lint/installed.sh \
    build/package/stage/usr
passed=$((passed + 1))

echo
finish 0
