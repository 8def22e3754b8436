#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Programs of Debian, unmodified, that map files: with and without mshare run --files
# they read and write the same, and survive what they have to survive.  Runs in the
# guest, from the top of the repository; prints TAP, and the lines of the table in
# mshare-run(1): what READERS processes take together to read all of a file.
#
# Wants python3-numpy, python3-lmdb, lmdb-utils, sqlite3, python3-maxminddb, mmdb-bin.
set -u
export LC_ALL=C
# shellcheck source=SCRIPTDIR/../lib/command.sh disable=SC1091
. selftests/lib/command.sh
# shellcheck source=SCRIPTDIR/../lib/tap.sh disable=SC1091
. selftests/lib/tap.sh

READERS=${READERS:-8}
program=selftests/mshare/files.py
run=("$mshare" run --files --)
tmp=$(mktemp -d) || exit
mkdir "$tmp/memory" "$tmp/disk"
mount -t tmpfs none "$tmp/memory" || exit
# Its file system is in memory, too: nothing here waits for a disk.
truncate -s 1G "$tmp/memory/disk"
mkfs.ext4 -qF "$tmp/memory/disk" || exit
# Not by mount: what is open for writing cannot be mounted here.
device=$(losetup --find --show "$tmp/memory/disk") && mount "$device" "$tmp/disk" || exit
mountpoint -q /dev/shm || mount -t tmpfs none /dev/shm || exit

python() { /usr/bin/python3 "$program" "$@"; }
under() { "${run[@]}" /usr/bin/python3 "$program" "$@"; }

# same TITLE READER ARGUMENT...: readers read the same with and without, and take less.
same() {
	local title=$1 plain shared
	shift
	plain=$(python measure "$READERS" "$@") || return
	shared=$(python measure "$READERS" "$@" -- "${run[@]}") || return
	# shellcheck disable=SC2086 # words
	set -- "$title" $plain $shared
	printf 'table: %s\t%s\t%s\t%s\t%s\n' "$1" "$3" "$6" "$4" "$7" >>"$tmp/table"
	[ "$2" = "$5" ] || { echo "$2 without, $5 with"; return 1; }
	# All together not twice what one takes by itself.
	[ $(($6 * READERS)) -lt $(($3 * 2)) ] || { echo "$3 bytes of page tables without, $6 with"; return 1; }
	[ "$7" -lt "$4" ] || { echo "$4 page faults without, $7 with"; return 1; }
}

# Two files are the same for all who read them.
equal() { [ "$(python file_digest "$1")" = "$(python file_digest "$2")" ]; }

# Writers of parts of a file, some of which are under the command.
writers() {
	local function=$1 name=$2 i pids=()
	for i in 0 1 2 3; do
		if [ $((i % 2)) = 0 ]; then
			under "$function" "$name" "$i" 4 &
		else
			python "$function" "$name" "$i" 4 &
		fi
		pids+=($!)
	done
	for i in "${pids[@]}"; do
		wait "$i" || return
	done
}

plain_writers() {
	local i
	for i in 0 1 2 3; do
		python "$1" "$2" "$i" 4 || return
	done
}

killed() { python kill "$@" -- "${run[@]}"; }
nothing_left() { becomes regions 0; }

numpy() {
	local file=$1/numpy
	check "numpy.memmap on $2: written by memmap" under numpy_make "$file" $((64 << 20))
	python numpy_make "$file.plain" $((64 << 20))
	check "numpy.memmap on $2: the file is that of a program without" equal "$file" "$file.plain"
	check "numpy.memmap on $2: readers" same "numpy.memmap, 64 MiB, $2" numpy_read "$file"
	check "numpy.memmap on $2: writers at a time" writers numpy_write "$file"
	plain_writers numpy_write "$file.plain"
	check "numpy.memmap on $2: what they wrote" equal "$file" "$file.plain"
	check "numpy.memmap on $2: readers after that" same "numpy.memmap, written, $2" numpy_read "$file"
	truncate -s 32M "$file.zero"
	check "numpy.memmap on $2: a writer is killed" killed 3 numpy_count "$file.zero"
	check "numpy.memmap on $2: nothing is lost or torn" under numpy_check "$file.zero"
	rm -f "$file" "$file.plain" "$file.zero"
}

lmdb_dumps() {
	[ "$(mdb_dump -a "$1" | sha1sum)" = "$("${run[@]}" mdb_dump -a "$1" | sha1sum)" ]
}
lmdb_stats() {
	[ "$(mdb_stat -ef "$1")" = "$("${run[@]}" mdb_stat -ef "$1")" ]
}
lmdb_copies() {
	mkdir "$1.copy" "$1.copy2"
	mdb_copy "$1" "$1.copy" && "${run[@]}" mdb_copy "$1" "$1.copy2" &&
		cmp "$1.copy/data.mdb" "$1.copy2/data.mdb"
}
lmdb() {
	local base=$1/lmdb
	check "LMDB on $2: written" under lmdb_make "$base" 20000
	check "LMDB on $2: readers" same "LMDB, map of 1 GiB, $2" lmdb_read "$base"
	check "LMDB on $2: mdb_dump" lmdb_dumps "$base"
	check "LMDB on $2: mdb_stat" lmdb_stats "$base"
	check "LMDB on $2: mdb_copy" lmdb_copies "$base"
	check "LMDB on $2: a writer is killed" killed 3 lmdb_count "$base"
	check "LMDB on $2: transactions are whole" under lmdb_check "$base"
	check "LMDB on $2: a writer with WRITEMAP is killed" killed 3 lmdb_count "$base" writemap
	check "LMDB on $2: transactions are whole then, too" python lmdb_check "$base"
	check "LMDB on $2: mdb_dump after that" lmdb_dumps "$base"
	rm -rf "$base" "$base.copy" "$base.copy2"
}

# sqlite_sums BASE COMMAND...: what sqlite3 says by itself.
sqlite_sums() {
	local base=$1
	shift
	"$@" sqlite3 "$base" 'PRAGMA mmap_size = 1073741824' \
		'SELECT count(*), sum(n), sum(length(text)), max(substr(text, 1, 8)) FROM t' \
		'PRAGMA integrity_check'
}
sqlite_same() { [ "$(sqlite_sums "$1")" = "$(sqlite_sums "$1" "${run[@]}")" ]; }
sqlite() {
	local mode=$3 base=$1/sqlite.db
	check "SQLite ($mode) on $2: written" under sqlite_make "$base" "$mode" 30000
	check "SQLite ($mode) on $2: readers" same "SQLite, $mode, $2" sqlite_read "$base"
	check "SQLite ($mode) on $2: sqlite3" sqlite_same "$base"
	check "SQLite ($mode) on $2: a writer is killed" killed 3 sqlite_count "$base"
	check "SQLite ($mode) on $2: integrity" under sqlite_check "$base"
	check "SQLite ($mode) on $2: integrity for others" python sqlite_check "$base"
	check "SQLite ($mode) on $2: sqlite3 after that" sqlite_same "$base"
	rm -f "$base" "$base-wal" "$base-shm" "$base-journal"
}

mmdb_lookups() {
	local a plain shared
	for a in 1.2.3.4 10.0.0.1 200.100.50.25; do
		plain=$(mmdblookup --file "$1" --ip $a) || return
		shared=$("${run[@]}" mmdblookup --file "$1" --ip $a) || return
		[ "$plain" = "$shared" ] || return
	done
}
mmdb() {
	local base=$1/test.mmdb
	python mmdb_make "$base" 21
	check "MaxMind DB on $2: readers" same "maxminddb, 16 MiB, $2" mmdb_read "$base"
	check "MaxMind DB on $2: mmdblookup" mmdb_lookups "$base"
	rm -f "$base"
}

shm() {
	check "shared_memory: made" under shm_make mst-files $((32 << 20))
	python shm_make mst-plain $((32 << 20))
	check "shared_memory: readers" same "shared_memory, 32 MiB" shm_read mst-files
	check "shared_memory: writers at a time" writers shm_write mst-files
	plain_writers shm_write mst-plain
	check "shared_memory: what they wrote" equal /dev/shm/mst-files /dev/shm/mst-plain
	rm -f /dev/shm/mst-files /dev/shm/mst-plain
}

# mapping: maps 16 MiB in Python, of what EXPRESSION opens.
mapping() { printf 'import fcntl, mmap, os\nmmap.mmap(%s, 16 << 20, %s)\n' "$1" "${2:-mmap.MAP_SHARED}"; }
# says WORDS OPTION SCRIPT: the library says that of the mapping of a script.
says() {
	local out
	out=$("$mshare" run --verbose "$2" -- /usr/bin/python3 -c "$3" 2>&1)
	grep -qF -- "$1" <<<"$out" || { echo "$out"; return 1; }
}
refuses() { ! "$mshare" run "$1" -- true 2>"$tmp/said" && grep -F "$2" "$tmp/said"; }
words() {
	local file=$1/words
	truncate -s 16M "$file"
	file="os.open('$file', os.O_RDWR)"
	check "verbose: a region" says "are a region" --files "$(mapping "$file")"
	check "verbose: a pattern that fits" says "are a region" --files="$1/w*" "$(mapping "$file")"
	check "verbose: a pattern" says "ordinary memory: --files does not name it" --files=/nowhere/* \
		"$(mapping "$file")"
	check "verbose: without --files" says "ordinary memory: it is a file" --anywhere "$(mapping "$file")"
	check "verbose: flags" says "ordinary memory: MAP_LOCKED" --files \
		"$(mapping "$file" 'mmap.MAP_SHARED | 0x2000')"
	check "verbose: a memfd" says "ordinary memory: it is a memfd that may yet be sealed" --files \
		"f = __import__('os').memfd_create('m', 2)
__import__('os').ftruncate(f, 16 << 20)
$(mapping f)"
	check "no pattern" refuses --files= "a pattern has"
	rm -f "$1/words"
}

echo "TAP version 13"
: >"$tmp/table"
words "$tmp/disk"
numpy "$tmp/memory" tmpfs
numpy "$tmp/disk" ext4
lmdb "$tmp/memory" tmpfs
lmdb "$tmp/disk" ext4
sqlite "$tmp/memory" tmpfs wal
sqlite "$tmp/disk" ext4 wal
sqlite "$tmp/disk" ext4 delete
mmdb "$tmp/disk" ext4
shm
check "no region is left" nothing_left
check "the file system can be unmounted" umount "$tmp/disk"
sed 's/^/# /' "$tmp/table"
plan
