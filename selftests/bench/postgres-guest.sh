#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The cost of shared buffers for PostgreSQL, for numbers of connections that have
# each read every page of them.  Runs in the guest, from the top of the repository.
#	postgres-guest.sh MIB SECONDS CONNECTIONS...
# Prints lines of WAY, BUFFERS, CONNECTIONS, FIGURE, VALUE: WAY is mmap or mshare,
# BUFFERS large or small.
# shellcheck disable=SC2119 # no arguments are meant
set -u
export LC_ALL=C
mib=$1 seconds=$2
shift 2
buffers=${mib}MB
# shellcheck source=SCRIPTDIR/../lib/postgres.sh disable=SC1091
. selftests/lib/postgres.sh

die() { echo "postgres-guest.sh: $*" >&2; exit 1; }
emit() { printf '%s\t%s\t%s\t%s\t%s\n' "$way" "$size" "$n" "$1" "$2"; }
meminfo() {
	# The counters are per CPU, up to some hundred KiB; reading this adds them up.
	cat /proc/sys/vm/stat_refresh
	awk -v key="$1:" '$1 == key { print $2 * 1024 }' /proc/meminfo
}
faults() { awk '$1 == "pgfault" { print $2 }' /proc/vmstat; }

# Eight tables that fill nearly all of the buffers, with a row in each page.  Tables
# of less than a quarter of the buffers are not read through a ring of a few pages.
load() {
	local i rows=$((mib * 128 / 9))
	for i in 1 2 3 4 5 6 7 8; do
		echo "CREATE TABLE wide$i (id int, pad char(7000));
			ALTER TABLE wide$i ALTER pad SET STORAGE PLAIN;
			INSERT INTO wide$i SELECT g, 'x' FROM generate_series(1, $rows) g;
			VACUUM wide$i;"
	done >/tmp/load.sql
	chmod 644 /tmp/load.sql
	pg "$bin/psql" -X -q -f /tmp/load.sql || die "cannot load"
	pg "$bin/pgbench" -i -q -s 1 2>/dev/null || die "cannot load for pgbench"
	# The connections read one after another, since the small buffers are not enough
	# for all.  Then each waits until all have been looked at.
	{
		echo 'SELECT pg_advisory_lock(2);'
		for i in 1 2 3 4 5 6 7 8; do echo "SELECT count(id) FROM wide$i;"; done
		echo 'SELECT pg_advisory_unlock(2);'
		echo 'SELECT pg_advisory_lock_shared(1);'
	} >/tmp/read.sql
	chmod 644 /tmp/read.sql
}

# The session that keeps the others waiting.
hold() {
	coproc holder { pg "$bin/psql" -X -q -A -t; }
	echo 'SELECT pg_advisory_lock(1);' >&"${holder[1]}"
	read -r <&"${holder[0]}" || die "no lock"
}
release() {
	# shellcheck disable=SC2154 # coproc sets it
	local holder_pid=$holder_PID
	echo '\q' >&"${holder[1]}"
	wait "$holder_pid"
}

# PageTables, when no process starts or ends any more: the backend of the last query
# may still be ending.
pagetables() {
	local before now i
	now=$(meminfo PageTables)
	for ((i = 0; i < 60; i++)); do
		before=$now
		sleep 0.5
		now=$(meminfo PageTables)
		if [ "$now" = "$before" ]; then
			echo "$now"
			return
		fi
	done
	die "page tables come and go all the time"
}

# Each connection reads all of it: page tables, faults, memory; time to connect.
connections() {
	local before waiting client first count
	hold
	before=$(faults)
	pg "$bin/pgbench" -n -c "$n" -j 1 -t 1 -f /tmp/read.sql >/tmp/pgbench.log 2>&1 &
	client=$!
	while waiting=$(sql "SELECT count(*) FROM pg_locks
			WHERE locktype = 'advisory' AND objid = 1 AND NOT granted"); do
		[ "$waiting" != "$n" ] || break
		# pgbench goes on without a client that got an error.
		if grep -q aborted /tmp/pgbench.log || ! kill -0 $client 2>/dev/null; then
			die "pgbench: $(cat /tmp/pgbench.log)"
		fi
		sleep 0.5
	done
	[ "$waiting" = "$n" ] || die "the server is gone"
	emit faults $(($(faults) - before))
	count=$(pagetables) || exit
	emit pagetables "$count"
	first=$(sql "SELECT min(pid) FROM pg_stat_activity WHERE application_name = 'pgbench'")
	# Shared memory in the page tables of this connection, or of the region.
	if [ "$("$mshare" ls -n | wc -l)" = 1 ]; then
		emit touched "$("$mshare" ls -bnro RESIDENT)"
		emit region-pagetables "$("$mshare" ls -bnro PGTABLES)"
		emit attachments "$("$mshare" ls -nro ATTACHED)"
	else
		emit touched "$(awk '$1 == "RssShmem:" { print $2 * 1024 }' "/proc/$first/status")"
	fi
	release
	wait $client || die "pgbench: $(cat /tmp/pgbench.log)"
	emit connect-ms "$(sed -n 's/^initial connection time = \([0-9.]*\) ms$/\1/p' /tmp/pgbench.log)"
}

transactions() {
	pg "$bin/pgbench" -n -S -c "$n" -j 1 -T "$seconds" >/tmp/pgbench.log 2>&1 || die "pgbench: $(cat /tmp/pgbench.log)"
	emit tps "$(sed -n 's/^tps = \([0-9.]*\) .*/\1/p' /tmp/pgbench.log)"
}

pg_init || die "initdb failed"
pg_start || die "the server does not start: $(cat $pg/log)"
load
# Autovacuum would start and end processes at times of its own.
echo 'autovacuum = off' >>$pg/data/postgresql.conf
pg_stop || die "the server does not stop"
for size in large small; do
	[ $size = large ] || echo 'shared_buffers = 128kB' >>$pg/data/postgresql.conf
	for way in mmap mshare; do
		for n in "$@"; do
			# Shared memory beside the buffers is a region of its own size, too.
			run=()
			[ $way = mmap ] || run=("$mshare" run --min 1M --)
			# A new server for each: pages that the last one touched are gone.
			pg_start "${run[@]}" || die "the server does not start: $(cat $pg/log)"
			connections
			[ $size = small ] || transactions
			pg_stop || die "the server does not stop"
		done
	done
done
