#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# linux-source-6.12 6.12.117-1~deb12u1: the selftest mm/khugepaged.c does not compile.
# It ends with KSFT_SKIP on a machine without huge pages, and includes nothing that
# defines it.  As one test that does not compile ends the build of its folder, none of
# the selftests of mm is installed then, and "make install" of several folders succeeds
# all the same: a comparison of two kernels silently leaves mm out.
# Seen: "khugepaged.c:1195:24: error: 'KSFT_SKIP' undeclared", and no error with
# -DKSFT_SKIP=4.
set -euo pipefail
export LC_ALL=C
version=6.12.117-1~deb12u1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

apt-get -qq -o APT::Sandbox::User=root download "linux-source-6.12=$version"
dpkg-deb --fsys-tarfile linux-source-6.12_*.deb | tar xO ./usr/src/linux-source-6.12.tar.xz |
	tar xJ --wildcards --strip-components=1 '*/tools/testing/selftests/*.h' \
		'*/tools/testing/selftests/mm/*'

compile() {
	gcc -fsyntax-only -I tools/testing/selftests "$@" \
		tools/testing/selftests/mm/khugepaged.c 2>&1
}
if out=$(compile); then
	echo "changed: it compiles"
	exit 1
fi
if ! grep -F "error: 'KSFT_SKIP' undeclared" <<<"$out"; then
	printf 'changed: another error:\n%s\n' "$out"
	exit 1
fi
out=$(compile -DKSFT_SKIP=4 | grep error: || true)
if [ -n "$out" ]; then
	echo "changed: another error: $out"
	exit 1
fi
echo "as seen: mm/khugepaged.c of linux-source-6.12 $version lacks KSFT_SKIP"
