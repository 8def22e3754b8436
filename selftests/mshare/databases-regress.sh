#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The tests that the authors of LMDB and SQLite wrote, with and without mshare run
# --files: they have to say the same.  Runs in the guest, from the top of the repository;
# prints TAP, with a result for each file of tests.
#	databases-regress.sh FOLDER [TEST...]	of selftests/lib/databases-get, below build;
#						"lmdb", or patterns of SQLite's tests
# Of SQLite's those run here that may have a region, which databases-native.sh has found
# out before; without a TEST all of them, the quick ones first.  It also keeps what they
# say without mshare run: a test that says the same under it here does not run without.
# They run as a user whom permissions concern.
# Everything of a page or more is served of SQLite's, so that the small files of these
# tests are regions: also its -shm files, which nobody would do otherwise.  Of LMDB's
# only what is larger than its lock file.  The tests have MDB_FIXEDMAP: the second
# time LMDB wants the file at the address of the first time, that of a slot, and
# says EBUSY if something is there, which may be the region of another file.
set -u
export LC_ALL=C
folder=${1:?usage: databases-regress.sh FOLDER [TEST...]}
shift
# shellcheck source=SCRIPTDIR/../lib/command.sh disable=SC1091
. selftests/lib/command.sh
# shellcheck source=SCRIPTDIR/../lib/tap.sh disable=SC1091
. selftests/lib/tap.sh
# shellcheck source=SCRIPTDIR/../lib/sqlite-tests.sh disable=SC1091
. selftests/lib/sqlite-tests.sh
[ $# -gt 0 ] || set -- lmdb "${sqlite_default[@]}"
folder=/run/$folder
[ -e "$folder/.complete" ] || { echo "$0: $folder is not complete: run selftests/lib/databases-get" >&2; exit 2; }
tmp=$(mktemp -d) || exit
user=(setpriv --reuid nobody --regid nogroup --clear-groups)
run=("${user[@]}" "$mshare" run --files --min 64K --)
chmod 755 "$tmp"
mkdir "$tmp/memory" "$tmp/disk" "$tmp/out"
work=$tmp/disk with=("$mshare" run --files --min 4K --) known=$folder/native
mount -t tmpfs none "$tmp/memory" || exit
truncate -s 2G "$tmp/memory/disk"
mkfs.ext4 -qF "$tmp/memory/disk" || exit
device=$(losetup --find --show "$tmp/memory/disk") && mount "$device" "$tmp/disk" || exit

# ---- LMDB

# lmdb_run WAY TEST SEED: what it and LMDB's own programs say, in a folder of its own.
# The second time the file wants to be at the address of the first time.
lmdb_run() {
	local way=$1 name=$2 i command=("${user[@]}")
	[ "$way" = mmap ] || command=("${run[@]}")
	rm -rf "$tmp/disk/lmdb"
	mkdir -p "$tmp/disk/lmdb/testdb"
	chown -R nobody "$tmp/disk/lmdb"
	(
		cd "$tmp/disk/lmdb" || exit
		export SEED=$3
		for i in 1 2; do
			timeout 600 "${command[@]}" "$folder/lmdb/$name"
			echo "exit status $?"
			"${command[@]}" "$folder/lmdb/mdb_stat" -a testdb
			"${command[@]}" "$folder/lmdb/mdb_dump" -a testdb
		done
	) 2>&1 | sed 's/0x[0-9a-f]*/ADDRESS/g; /^mapaddr=/d' >"$tmp/out/lmdb.$way"
}
lmdb_same() {
	local seed
	for seed in 1 2; do
		lmdb_run mmap "$1" $seed
		lmdb_run mshare "$1" $seed
		[ -s "$tmp/out/lmdb.mmap" ] && diff "$tmp/out/lmdb.mmap" "$tmp/out/lmdb.mshare" || return
	done
	echo "# summary: LMDB $1: $(grep 'exit status' "$tmp/out/lmdb.mmap" | sort | uniq -c | xargs)" >>"$tmp/summary"
}

# ---- SQLite

# pairs: from what databases-native.sh has written about the tests of $names, quick ones
# first, a line each: which may have a region.
pairs() {
	local name variant mappings seconds
	for name in $names; do
		for variant in "${sqlite_variants[@]}"; do
			read -r mappings seconds <"$folder/native/$variant.$name" || return
			[ "$mappings" = 0 ] || echo "$seconds $variant $name"
		done
	done | sort -n | cut -d ' ' -f 2-
	return "${PIPESTATUS[0]}"
}
# Without any, this would compare a program with itself.
sqlite_has_regions() {
	# shellcheck disable=SC2086 # words
	sqlite_run $1 "$tmp/out/words" "${with[@]:0:2}" --verbose "${with[@]:2}"
	grep 'are a region$' "$tmp/out/words.errors"
}
lmdb_has_regions() {
	( cd "$tmp/disk/lmdb" && "${run[@]:0:${#run[@]}-1}" --verbose -- "$folder/lmdb/mdb_stat" testdb 2>&1 ) |
		grep 'are a region$'
}

echo "TAP version 13"
patterns=()
for one; do
	if [ "$one" = lmdb ]; then
		for i in mtest mtest2 mtest3 mtest4 mtest5 mtest6; do
			check "LMDB: $i" lmdb_same $i
		done
		check "LMDB: the database is a region" lmdb_has_regions
	else
		patterns+=("$one")
	fi
done
cat "$tmp/summary" 2>/dev/null
names=$(sqlite_names "${patterns[@]}") && pairs=$(pairs) || exit 2
mapfile -t pairs < <(grep . <<<"$pairs")
sqlite_tests "${pairs[@]}"
[ ${#pairs[@]} = 0 ] || check "SQLite: files are regions" sqlite_has_regions "${pairs[0]}"
check "no region is left" becomes regions 0
check "the file system can be unmounted" umount "$tmp/disk"
plan
