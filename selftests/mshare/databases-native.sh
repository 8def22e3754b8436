#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# SQLite's own tests on the kernel of this machine, which has no regions: which of them
# could notice regions at all?  Prints TAP.
#	databases-native.sh FOLDER [PATTERN...]	of selftests/lib/databases-get; patterns of tests
# Each runs by itself and with the library of mshare run, and has to say the same: what
# differs here comes from the library being there.  Then it runs once more with the
# library, and that says which mappings would be regions.  A test that has none does the
# same on a kernel with regions, and databases-regress.sh need not run it in a guest.
# FOLDER/native/VARIANT.TEST has the number of mappings that would be regions, and the
# seconds that one run took; VARIANT.TEST.verdict, what it said by itself.
set -u
export LC_ALL=C
cd "$(dirname "$(realpath "$0")")/../.." || exit
folder=$(realpath "${1:?usage: databases-native.sh FOLDER [PATTERN...]}") || exit
shift
[ -e "$folder/.complete" ] || { echo "$0: $folder is not complete: run selftests/lib/databases-get" >&2; exit 2; }
# shellcheck source=SCRIPTDIR/../lib/tap.sh disable=SC1091
. selftests/lib/tap.sh
# shellcheck source=SCRIPTDIR/../lib/sqlite-tests.sh disable=SC1091
. selftests/lib/sqlite-tests.sh
[ $# -gt 0 ] || set -- "${sqlite_default[@]}"
mshare=$PWD/build/libmshare/mshare
if "$mshare" run --require --files -- true 2>/dev/null; then
	echo "$0: this kernel has regions: run databases-regress.sh" >&2
	exit 2
fi
tmp=$(mktemp -d) || exit
trap 'rm -rf "$tmp"' EXIT
chmod 755 "$tmp"
work=$tmp/work
with=("$mshare" run --quiet --files --min 4K --)
# As a user whom permissions concern, as in the guest.
user=()
[ "$(id -u)" != 0 ] || user=(setpriv --reuid nobody --regid nogroup --clear-groups)
"${user[@]}" test -x "$mshare" || { echo "$0: user nobody cannot reach $mshare" >&2; exit 2; }
mkdir -p "$folder/native"

# record VARIANT TEST: a test whose verdict is another one with these words in it has not
# been seen to the end; it counts as one that could.
record() {
	local out=$tmp/out/$1.$2 start=$EPOCHREALTIME mappings
	sqlite_run "$1" "$2" "$out.words" "${with[@]:0:2}" --verbose "${with[@]:2}"
	mappings=$(grep -c 'remain ordinary memory: the kernel has no regions' "$out.words.errors")
	cmp -s "$out.with" "$out.words" || mappings="$mappings+"
	cp "$out.without" "$folder/native/$1.$2.verdict"
	echo "$mappings $(((${EPOCHREALTIME/./} - ${start/./}) / 1000000))" >"$folder/native/$1.$2"
}
# shellcheck disable=SC2034 # used there
more=record

echo "TAP version 13"
names=$(sqlite_names "$@") || exit
pairs=()
for name in $names; do
	for variant in "${sqlite_variants[@]}"; do
		pairs+=("$variant $name")
	done
done
sqlite_tests "${pairs[@]}"
plan
