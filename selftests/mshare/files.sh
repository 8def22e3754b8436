#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Programs of Debian, unmodified, that map files: with and without mshare run --files
# they read and write the same, and survive what they have to survive.  Runs in the
# guest, from the top of the repository; prints TAP, and the lines of the table in
# mshare-run(1): what several processes take together to read all of a file.
#	files.sh [PROGRAM...]	some of them: words, numpy, lmdb, sqlite, mmdb, shm, java,
#				squid, stress
# Wants python3-numpy, python3-lmdb, lmdb-utils, sqlite3, python3-maxminddb, mmdb-bin, and
# build/files of selftests/lib/files-get.
set -u
export LC_ALL=C
# shellcheck source=SCRIPTDIR/../lib/command.sh disable=SC1091
. selftests/lib/command.sh
# shellcheck source=SCRIPTDIR/../lib/tap.sh disable=SC1091
. selftests/lib/tap.sh

READERS=${READERS:-4}
[ $# -gt 0 ] || set -- words numpy lmdb sqlite mmdb shm java squid stress
programs=("$@")
program=selftests/mshare/files.py
files=/run/build/files
[ -e $files/.complete ] || { echo "$0: there is no build/files: run selftests/lib/files-get" >&2; exit 2; }
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

# saves TITLE PROCESSES PLAIN... SHARED...: of each what was read, the bytes of page tables
# and the page faults.  What was read has to be the same, and the rest less.
saves() {
	printf 'table: %s\t%s\t%s\t%s\t%s\t%s\n' "$1" "$2" "$4" "$7" "$5" "$8" >>"$tmp/table"
	[ "$3" = "$6" ] || { echo "$3 without, $6 with"; return 1; }
	# All together not twice what one takes by itself.
	[ $(($7 * $2)) -lt $(($4 * 2)) ] || { echo "$4 bytes of page tables without, $7 with"; return 1; }
	[ "$8" -lt "$5" ] || { echo "$5 page faults without, $8 with"; return 1; }
}
# same TITLE READER ARGUMENT...: readers read the same with and without, and take less.
same() {
	local title=$1 plain shared
	shift
	plain=$(python measure "$READERS" "$@") || return
	shared=$(python measure "$READERS" "$@" -- "${run[@]}") || return
	# shellcheck disable=SC2086 # words
	saves "$title" "$READERS" $plain $shared
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

# Fewer, once the others have shown what it saves.
rereads() {
	local READERS=2
	same "numpy.memmap, written, $2" numpy_read "$1"
}
numpy() {
	local file=$1/numpy
	check "numpy.memmap on $2: written by memmap" under numpy_make "$file" $((64 << 20))
	python numpy_make "$file.plain" $((64 << 20))
	check "numpy.memmap on $2: the file is that of a program without" equal "$file" "$file.plain"
	check "numpy.memmap on $2: readers" same "numpy.memmap, 64 MiB, $2" numpy_read "$file"
	check "numpy.memmap on $2: writers at a time" writers numpy_write "$file"
	plain_writers numpy_write "$file.plain"
	check "numpy.memmap on $2: what they wrote" equal "$file" "$file.plain"
	check "numpy.memmap on $2: readers after that" rereads "$file" "$2"
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
	check "MaxMind DB on $2: a reader is killed" killed 3 mmdb_forever "$base"
	check "MaxMind DB on $2: mmdblookup after that" mmdb_lookups "$base"
	rm -f "$base"
}

shm() {
	check "shared_memory: made" under shm_make mst-files $((32 << 20))
	python shm_make mst-plain $((32 << 20))
	check "shared_memory: readers" same "shared_memory, 32 MiB" shm_read mst-files
	check "shared_memory: writers at a time" writers shm_write mst-files
	plain_writers shm_write mst-plain
	check "shared_memory: what they wrote" equal /dev/shm/mst-files /dev/shm/mst-plain
	check "shared_memory: a writer is killed" killed 3 shm_count mst-files
	check "shared_memory: nothing is lost or torn" under shm_check mst-files
	rm -f /dev/shm/mst-files /dev/shm/mst-plain
}

# Little of it, and soon: what is looked at here is the file.
java=("$files/usr/lib/jvm/java-17-openjdk-amd64/bin/java" -XX:+UseSerialGC -XX:TieredStopAtLevel=1
	-Xmx128m -cp "$files/classes" Mapped)
java_makes() { "${java[@]}" make "$1.plain" $((64 << 20)) && equal "$1" "$1.plain"; }
java_writers() {
	local i pids=()
	for i in 0 1; do
		"${run[@]}" "${java[@]}" write "$1" "$i" 3 &
		pids+=($!)
	done
	"${java[@]}" write "$1" 2 3 || return
	for i in "${pids[@]}"; do
		wait "$i" || return
	done
	for i in 0 1 2; do
		"${java[@]}" write "$1.plain" "$i" 3 || return
	done
	equal "$1" "$1.plain"
}
java_truncated() {
	local plain shared
	plain=$("${java[@]}" truncated "$1.plain") && shared=$("${run[@]}" "${java[@]}" truncated "$1") || return
	echo "$plain without, $shared with"
	[ "$plain" = "$shared" ] && [[ $plain == *InternalError* ]]
}
java() {
	local file=$1/java
	check "Java on $2: written" "${run[@]}" "${java[@]}" make "$file" $((64 << 20))
	check "Java on $2: the file is that of a program without" java_makes "$file"
	check "Java on $2: readers" same "Java, FileChannel.map, 64 MiB, $2" exec "${java[@]}" read "$file"
	check "Java on $2: writers at a time" java_writers "$file"
	check "Java on $2: a file that gets shorter" java_truncated "$file"
	rm -f "$file" "$file.plain"
	truncate -s 32M "$file"
	check "Java on $2: a writer is killed" killed 3 exec "${java[@]}" count "$file"
	check "Java on $2: nothing is lost or torn" "${run[@]}" "${java[@]}" check "$file"
	check "Java on $2: for others, too" "${java[@]}" check "$file"
	rm -f "$file"
}

# Of 4 MiB each.  Few: where the names of two have the same place in Squid's table, it keeps one.
squid_workers=4 squid_objects=24
squid_ports=(3101 3102 3103 3104)
squid_setup() {
	mkdir -p "$tmp/squid/www" "$tmp/squid/errors" /run/squid
	python squid_objects "$tmp/squid/www" $squid_objects
	cat >"$tmp/squid/conf" <<-END
		workers $squid_workers
		http_port 127.0.0.1:310\${process_number}
		cache_mem 160 MB
		maximum_object_size_in_memory 5 MB
		memory_cache_shared on
		http_access allow localhost
		refresh_pattern . 1440 100% 1440
		visible_hostname files
		shutdown_lifetime 1 second
		cache_log stdio:$tmp/squid/log
		access_log none
		cache_store_log none
		coredump_dir none
		pinger_enable off
		pid_filename /run/squid/pid
		error_directory $tmp/squid/errors
		icon_directory $files/usr/share/squid/icons
		mime_table $files/usr/share/squid/mime.conf
		unlinkd_program $files/usr/lib/squid/unlinkd
	END
	chmod 755 "$tmp"
	chown -R proxy "$tmp/squid" /run/squid
}
squid_pid() { pgrep -P "$(cat /run/squid/pid)" -f "^\(squid-$1\)"; }
squid_answers() {
	local port line
	for port in "${squid_ports[@]}"; do
		exec 3<>"/dev/tcp/127.0.0.1/$port" || return
		printf 'GET http://127.0.0.1:8080/0 HTTP/1.0\r\n\r\n' >&3
		read -r -t 30 line <&3
		exec 3>&-
		[[ $line == *" 200 "* ]] || return
	done
}
# squid_start [COMMAND...]: not by root, whose workers get another user when they are
# started, with which ld.so(8) takes nothing from the environment.
squid_start() {
	busybox httpd -f -p 127.0.0.1:8080 -h "$tmp/squid/www" >"$tmp/squid/origin" 2>&1 &
	echo $! >"$tmp/squid/origin.pid"
	setpriv --reuid proxy --regid proxy --clear-groups "$@" $files/usr/sbin/squid -f "$tmp/squid/conf" --foreground >"$tmp/squid/out" 2>&1 &
	becomes squid_answers || { tail -n 20 "$tmp/squid/log" "$tmp/squid/out"; return 1; }
}
# squid_reads FILE [COMMAND...]: a line for saves(); after that nobody but Squid has the objects.
squid_reads() {
	local i out=$1 words=() status
	shift
	for i in 1 2 3 4; do
		words+=("310$i:$(squid_pid "$i")")
	done
	python squid_measure $squid_objects "${words[@]}" ${1:+-- "$@"} >"$out"
	status=$?
	kill "$(cat "$tmp/squid/origin.pid")"
	return $status
}
squid_saves() {
	# shellcheck disable=SC2046 # words
	saves "Squid, 4 workers, 96 MiB in cache_mem" 4 $(cat "$tmp/squid/plain" "$tmp/squid/shared")
}
squid_regions() {
	local i
	for i in 1 2 3 4; do
		grep -q '/mshare:.*squid-page-pool' "/proc/$(squid_pid "$i")/maps" || return
	done
}
squid_digest() { cut -d ' ' -f 1 "$tmp/squid/plain"; }
squid_killed() {
	local old
	old=$(squid_pid 2)
	python squid_kill 3102 "$old" && becomes squid_answers && [ "$(squid_pid 2)" != "$old" ]
}
squid_gone() { ! [ -e /run/squid/pid ] && [ -z "$(ls /dev/shm/squid-* 2>/dev/null)" ]; }
squid_stop() { kill "$(cat /run/squid/pid)" && becomes squid_gone; }
squid() {
	squid_setup
	check "Squid starts" squid_start
	check "Squid: what all workers have" squid_reads "$tmp/squid/plain"
	check "Squid stops" squid_stop
	check "Squid starts under the command" squid_start "${run[@]}"
	check "Squid: its memory is a region in all workers" squid_regions
	check "Squid: what all workers have under the command" squid_reads "$tmp/squid/shared" "${run[@]}"
	check "Squid: that is the same, and takes less" squid_saves
	check "Squid: a worker is killed" squid_killed
	check "Squid: all workers have it all" python squid_check $squid_objects "$(squid_digest)" "${squid_ports[@]}"
	check "Squid: all have a region again" squid_regions
	check "Squid stops then, too" squid_stop
	rm -rf "$tmp/squid"
}

# stressor WAY NAME OPTION...: what stress-ng says of one of its stressors in the end.
stressor() {
	local way=$1 name=$2 command=()
	shift 2
	[ "$way" = plain ] || command=("$mshare" run --files --min 64K --verbose --)
	"${command[@]}" $files/usr/bin/stress-ng --temp-path "$tmp/disk" --verify --timeout 20 \
		"--$name" 2 "$@" >"$tmp/stress.$way" 2>&1
	echo "exit status $?"
	sed -n 's/ *\[[0-9]*\]//; s/ completed in .*//; /: \(fail\|error\):/p; /successful run/p' "$tmp/stress.$way"
}
# verified LEAST NAME OPTION...: the same verdict twice, and so many regions at least.
verified() {
	local least=$1 plain shared regions
	shift
	plain=$(stressor plain "$@")
	shared=$(stressor shared "$@")
	regions=$(grep -c 'are a region$' "$tmp/stress.shared")
	printf '%s\n' "without: $plain" "with: $shared" "$regions regions, $(grep -c 'leaves its region$' "$tmp/stress.shared") left"
	[ "$plain" = "$shared" ] && [[ $plain == "exit status 0"* ]] && [ "$regions" -ge "$least" ]
}
# Not madvise, which poisons memory of the machine if it may.
stress() {
	local i
	for i in "2 mmap --mmap-file --mmap-bytes 4M --mmap-ops 4" \
		"2 mmap --mmap-file --mmap-async --mmap-mprotect --mmap-bytes 4M --mmap-ops 4" \
		"2 msync --msync-bytes 4M --msync-ops 400" "1 msyncmany --msyncmany-ops 20" \
		"1 mmapfork --mmapfork-ops 1" "1 mmapaddr --mmapaddr-ops 500" "1 mmapmany --mmapmany-ops 2000" \
		"1 mmapfixed --mmapfixed-ops 100" "1 mremap --mremap-bytes 4M --mremap-ops 10" \
		"1 munmap --munmap-ops 40" "1 mincore --mincore-ops 100" \
		"1 dev-shm --dev-shm-ops 2" "1 rmap --rmap-ops 40"; do
		# shellcheck disable=SC2086 # words
		set -- $i
		check "stress-ng ${i#* }" verified "$@"
	done
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

words_here() { words "$tmp/disk"; }
numpy_here() {
	numpy "$tmp/memory" tmpfs
	numpy "$tmp/disk" ext4
}
lmdb_here() {
	lmdb "$tmp/memory" tmpfs
	lmdb "$tmp/disk" ext4
}
sqlite_here() {
	sqlite "$tmp/memory" tmpfs wal
	sqlite "$tmp/disk" ext4 wal
	sqlite "$tmp/disk" ext4 delete
}
mmdb_here() { mmdb "$tmp/disk" ext4; }
shm_here() { shm; }
java_here() { java "$tmp/disk" ext4; }
squid_here() { squid; }
stress_here() { stress; }

echo "TAP version 13"
for one in "${programs[@]}"; do
	start=$SECONDS
	: >"$tmp/table"
	"${one}_here"
	sed 's/^/# /' "$tmp/table"
	echo "# $one: $((SECONDS - start)) s"
done
check "no region is left" nothing_left
check "the file system can be unmounted" umount "$tmp/disk"
plan
