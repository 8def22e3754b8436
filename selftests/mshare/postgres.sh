#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# PostgreSQL of Debian, unmodified, under mshare run: its shared buffers are a
# region, and it survives what it has to survive.  Runs in the guest, from the top
# of the repository; prints TAP.
set -u
export LC_ALL=C
# shellcheck source=SCRIPTDIR/../lib/postgres.sh disable=SC1091
. selftests/lib/postgres.sh

# shellcheck source=SCRIPTDIR/../lib/tap.sh disable=SC1091
. selftests/lib/tap.sh

ordinary() {
	local maps
	maps=$(cat "/proc/$(postmaster)/maps")
	grep -q /dev/zero <<<"$maps" && ! grep /mshare: <<<"$maps"
}
# Of the one that is running no other is left.
one_region() {
	becomes regions 1 || { "$mshare" ls; return 1; }
}
# Each process of the server has it attached, those that need no memory apart.  One
# that has ended may be counted once more.
attached() {
	processes=$(sql 'SELECT count(*) FROM pg_stat_activity')
	attached=$("$mshare" ls -rno ATTACHED)
	[ "$attached" -gt 3 ] && [ "$attached" -ge "$processes" ] && [ "$attached" -le $((processes + 3)) ]
}
all_attached() { becomes attached || { echo "$processes processes, $attached attachments"; return 1; }; }

load() { pg "$bin/pgbench" -i -q -s 2 && sql 'CREATE EXTENSION amcheck'; }
transactions() { pg "$bin/pgbench" -n -c 8 -j 2 -t 50; }
# pgbench changes all four by the same amounts.
sums() {
	sql 'SELECT (SELECT sum(abalance) FROM pgbench_accounts), (SELECT sum(bbalance) FROM pgbench_branches),
		(SELECT sum(tbalance) FROM pgbench_tellers), (SELECT coalesce(sum(delta), 0) FROM pgbench_history)'
}
agree() {
	local sums
	sums=$(sums) || return
	awk -F '|' 'NF != 4 || $1 != $2 || $2 != $3 || $3 != $4 { exit 1 }' <<<"$sums" || { echo "$sums"; return 1; }
}
indexes() {
	[ "$(sql "SELECT count(bt_index_check(indexrelid, true)) FROM pg_index
		WHERE indrelid::regclass::text LIKE 'pgbench%'")" = 3 ]
}
works() {
	victim=$(sql "SELECT pid FROM pg_stat_activity WHERE application_name = 'pgbench'
		AND state = 'active' LIMIT 1")
	[ -n "$victim" ]
}
reinitializations() { grep -c 'all server processes terminated; reinitializing' $pg/log; }
recovered() { [ "$(reinitializations)" -gt "$before" ] && sql 'SELECT 1'; }
# A backend is killed in the middle of its work: the server ends the others,
# throws the memory away and recovers from the log.
kill_backend() {
	local victim before client
	before=$(reinitializations)
	pg "$bin/pgbench" -n -c 8 -j 2 -T 600 >/dev/null 2>&1 &
	client=$!
	becomes works || return
	sleep 1
	kill -9 "$victim"
	wait $client
	becomes recovered
}
# Its children notice, and end; nothing cleans up.
kill_postmaster() {
	kill -9 "$(postmaster)"
	becomes regions 0
}
checksums() { pg "$bin/pg_checksums" --check -D $pg/data; }
same_as_before() { [ "$(sums)" = "$last" ] || { echo "$(sums), was $last"; return 1; }; }

run=("$mshare" run --)
echo "TAP version 13"
check "initdb" pg_init "${run[@]}"
check "the server starts" pg_start "${run[@]}"
check "its shared buffers are a region" in_region
check "load" load
check "transactions" transactions
check "sums agree" agree
check "each process has it attached" all_attached
check "a backend is killed, and the server recovers" kill_backend
check "its shared buffers are a region again" in_region
check "the one of before is gone" one_region
check "sums agree after that" agree
check "indexes agree with their tables" indexes
check "transactions after that" transactions
check "an immediate stop" pg_stop immediate
check "the server recovers" pg_start "${run[@]}"
check "its shared buffers are a region then" in_region
check "sums agree then" agree
check "the postmaster is killed" kill_postmaster
check "the server starts once more" pg_start "${run[@]}"
check "sums agree once more" agree
last=$(sums)
check "a stop" pg_stop
check "checksums of all pages" checksums
check "no region is left" becomes regions 0
check "a start without mshare run" pg_start
check "has ordinary memory" ordinary
check "and the same sums" same_as_before
check "and good indexes" indexes
check "the last stop" pg_stop
[ "$failed" -eq 0 ] || tail -n 40 "$pg/log" | sed 's/^/# log: /'
plan
