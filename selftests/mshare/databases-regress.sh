#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The tests that the authors of LMDB and SQLite wrote, with and without mshare run
# --files: they have to say the same.  Runs in the guest, from the top of the
# repository; prints TAP, with a result for each file of tests.
#	databases-regress.sh FOLDER [TEST...]	of selftests/lib/databases-get, below build;
#						patterns of SQLite's tests, "lmdb", or
#						those below
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
# What SQLite has of files that are mapped, locked, or changed under a mapping.
[ $# -gt 0 ] || set -- lmdb 'mmap*' bigmmap 'wal*' 'e_wal*' 'lock*' sharedlock shmlock superlock \
	rowallock nolock exclusive exclusive2 pager1 pager2 pager3 pager4 pagesize incrvacuum incrvacuum2 \
	io incrblob incrblob2 incrblob3 vacuum vacuum2 autovacuum backup backup2 sysfault symlink \
	temptable2 sort5 dbstatus2 pcache memsubsys1 'journal*' savepoint sync \
	'crash8' 'corrupt[2-9]' 'corrupt[A-N]'
# shellcheck source=SCRIPTDIR/../lib/command.sh disable=SC1091
. selftests/lib/command.sh
# shellcheck source=SCRIPTDIR/../lib/tap.sh disable=SC1091
. selftests/lib/tap.sh
folder=/run/$folder
[ -e "$folder/.complete" ] || { echo "$0: $folder is not complete: run selftests/lib/databases-get" >&2; exit 2; }
# Others count, in a shell of their own.
jobs=${JOBS:-$(nproc)}
tmp=$(mktemp -d) || exit
user=(setpriv --reuid nobody --regid nogroup --clear-groups)
run=("${user[@]}" "$mshare" run --files --min)
chmod 755 "$tmp"
mkdir "$tmp/memory" "$tmp/disk" "$tmp/out"
mount -t tmpfs none "$tmp/memory" || exit
truncate -s 2G "$tmp/memory/disk"
mkfs.ext4 -qF "$tmp/memory/disk" || exit
device=$(losetup --find --show "$tmp/memory/disk") && mount "$device" "$tmp/disk" || exit

# ---- LMDB

# lmdb_run WAY TEST SEED: what it and LMDB's own programs say, in a folder of its own.
# The second time the file wants to be at the address of the first time.
lmdb_run() {
	local way=$1 name=$2 i command=("${user[@]}")
	[ "$way" = mmap ] || command=("${run[@]}" 64K --)
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

# sqlite_run VARIANT WAY TEST OUT: a line with the verdict of each thing it tested.
sqlite_run() {
	local variant=$1 way=$2 name=$3 out=$4 command=("${user[@]}") dir=$tmp/disk/$1.$2.$3
	[ "$way" = mmap ] || command=("${run[@]}" 4K --)
	rm -rf "$dir"
	mkdir -p "$dir"
	chown nobody "$dir"
	(
		cd "$dir" || exit
		timeout 5400 "${command[@]}" "$folder/sqlite/$variant/testfixture" "$folder/sqlite/source/test/$name" \
			>"$out.log" 2>&1 </dev/null
		echo "exit status $?"
		sed -n 's/^\([^ ]*\)\.\.\. Ok$/\1 ok/p; s/^! \([^ ]*\) expected:.*/\1 failed/p; s/^\([0-9]* errors out of [0-9]* tests\).*/\1/p' \
			"$out.log" | sort
	) >"$out"
	rm -rf "$dir"
}
# sqlite_pair VARIANT TEST: runs both ways; what differs is run once more, both ways.
sqlite_pair() {
	local out=$tmp/out/$1.$2 try
	for try in 1 2 3; do
		sqlite_run "$1" mmap "$2" "$out.mmap"
		sqlite_run "$1" mshare "$2" "$out.mshare"
		echo "$try" >"$out.tries"
		! diff "$out.mmap" "$out.mshare" >"$out.diff.$try" || break
	done
	touch "$out.done"
}
sqlite_same() {
	local out=$tmp/out/$1.$2 try
	for ((try = 1; try < $(cat "$out.tries"); try++)); do
		echo "once:"
		cat "$out.diff.$try"
	done
	diff "$out.mmap" "$out.mshare" || return
	# It must have done something.
	grep -q ' errors out of ' "$out.mmap" || { tail -n 5 "$out.mmap.log"; return 1; }
}
done_by_now() { [ -e "$tmp/out/$1.$2.done" ]; }

echo "TAP version 13"
names=()
for pattern in "$@"; do
	if [ "$pattern" = lmdb ]; then
		for i in mtest mtest2 mtest3 mtest4 mtest5 mtest6; do
			check "LMDB: $i" lmdb_same $i
		done
		continue
	fi
	# shellcheck disable=SC2231 # a pattern
	for i in "$folder"/sqlite/source/test/$pattern.test; do
		[ -e "$i" ] || { echo "$0: SQLite has no test $pattern" >&2; exit 2; }
		names+=("$(basename "$i")")
	done
done
mapfile -t names < <(printf '%s\n' "${names[@]}" | sort -u | grep .)

# As many at a time as there are processors; the results come in order.
(
	running=0
	for i in "${names[@]}"; do
		for variant in plain mapped; do
			[ $running -lt "$jobs" ] || { wait -n; running=$((running - 1)); }
			sqlite_pair $variant "$i" &
			running=$((running + 1))
		done
	done
	wait
) &
for i in "${names[@]}"; do
	for variant in plain mapped; do
		until done_by_now $variant "$i"; do
			sleep 1
		done
		check "SQLite ($variant): $i" sqlite_same $variant "$i"
		out=$tmp/out/$variant.$i
		echo "# $(grep ' errors out of ' "$out.mmap")"
		[ "$(cat "$out.tries")" = 1 ] || echo "# summary: SQLite $variant $i: not the same at first" >>"$tmp/summary"
	done
done
wait
for way in mmap mshare; do
	echo "# summary: SQLite, $way: $(cat "$tmp"/out/*."$way" | grep -c ' ok$') ok$(
		cat "$tmp"/out/*."$way" | sed -n 's/\(.*\) failed$/, \1/p' | tr -d '\n')"
done
cat "$tmp/summary"
check "no region is left" becomes regions 0
check "the file system can be unmounted" umount "$tmp/disk"
plan
