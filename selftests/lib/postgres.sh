# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# A PostgreSQL server of Debian in the guest, for scripts that source this: of
# build/postgres, or of the folder in $postgres.  Its files are in memory, below $pg.
# shellcheck disable=SC2034 # used there
pg=/run/pg
# shellcheck source=SCRIPTDIR/../lib/command.sh disable=SC1091
. selftests/lib/command.sh
bin=$(echo "/run/${postgres:-build/postgres}"/usr/lib/postgresql/*/bin)
[ -x "$bin/postgres" ] || { echo "$0: there is no PostgreSQL: run make postgres" >&2; exit 2; }

# pg COMMAND...: as a user who is not root, as PostgreSQL wants it.
pg() {
	(cd "$pg" && exec env -u LD_PRELOAD PGHOST="$pg" PGDATABASE=postgres PGUSER=postgres \
		setpriv --reuid nobody --regid nogroup --clear-groups "$@")
}

# What runs now and then would show in the figures.
settings="jit = off
autovacuum = off
max_parallel_workers_per_gather = 0
wal_level = minimal
max_wal_senders = 0
max_wal_size = 4GB
checkpoint_timeout = 1h"

# pg_init COMMAND...: an empty cluster with checksums; COMMAND is put in front of
# initdb (mshare run, or nothing).
pg_init() {
	mkdir -p $pg
	mount -t tmpfs -o mode=755,uid=nobody,gid=nogroup postgres $pg || return
	pg "$@" "$bin/initdb" -k -U postgres -A trust --no-locale -E UTF8 -N --no-instructions -D $pg/data \
		>/tmp/initdb.log 2>&1 || { cat /tmp/initdb.log >&2; return 1; }
	cat >>$pg/data/postgresql.conf <<-END
	listen_addresses = ''
	unix_socket_directories = '$pg'
	shared_buffers = ${buffers:-128MB}
	max_connections = 120
	huge_pages = off
	$settings
	END
}

# pg_start [COMMAND...]: COMMAND is put in front of pg_ctl.
pg_start() { pg "$@" "$bin/pg_ctl" -D $pg/data -l $pg/log -t 300 -w start >/dev/null; }
pg_stop() { pg "$bin/pg_ctl" -D $pg/data -t 300 -m "${1:-fast}" -w stop >/dev/null; }
sql() { pg "$bin/psql" -X -q -A -t -c "$1"; }
postmaster() { head -n 1 $pg/data/postmaster.pid; }

# The server's only shared memory of that size is a region, and it is not empty.
in_region() {
	local maps
	maps=$(cat "/proc/$(postmaster)/maps")
	grep -q ' rw-s .* /mshare:postgres$' <<<"$maps" || { echo "no region: $maps"; return 1; }
	! grep '/dev/zero' <<<"$maps" || return
	[ "$("$mshare" ls -brno RESIDENT | sort -n | tail -n 1)" -ge $((4 << 20)) ] || { "$mshare" ls; return 1; }
}
