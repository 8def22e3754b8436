# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# A PostgreSQL server of Debian in the guest, for scripts that source this.  Its
# files are in memory, below $pg.
# shellcheck disable=SC2034 # used there
pg=/run/pg
bin=$(find /usr/lib/postgresql -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -n 1)
[ -x "$bin/postgres" ] || { echo "$0: there is no PostgreSQL: install postgresql" >&2; exit 2; }
mshare=$PWD/build/libmshare/mshare

# pg COMMAND...: as the user that PostgreSQL wants to be.
pg() {
	(cd "$pg" && exec env -u LD_PRELOAD PGHOST="$pg" PGDATABASE=postgres PGUSER=postgres \
		setpriv --reuid postgres --regid postgres --init-groups "$@")
}

# pg_init COMMAND...: an empty cluster with checksums; COMMAND is put in front of
# initdb (mshare run, or nothing).
pg_init() {
	mkdir -p $pg
	mount -t tmpfs -o mode=755,uid=postgres,gid=postgres postgres $pg || return
	pg "$@" "$bin/initdb" -k -A trust --no-locale -E UTF8 -N --no-instructions -D $pg/data \
		>/tmp/initdb.log 2>&1 || { cat /tmp/initdb.log >&2; return 1; }
	# What runs now and then would show in the figures.
	cat >>$pg/data/postgresql.conf <<-END
	listen_addresses = ''
	unix_socket_directories = '$pg'
	shared_buffers = ${buffers:-128MB}
	max_connections = 120
	huge_pages = off
	jit = off
	autovacuum = off
	max_parallel_workers_per_gather = 0
	wal_level = minimal
	max_wal_senders = 0
	max_wal_size = 4GB
	checkpoint_timeout = 1h
	END
}

# pg_start [COMMAND...]: COMMAND is put in front of pg_ctl.
pg_start() { pg "$@" "$bin/pg_ctl" -D $pg/data -l $pg/log -t 300 -w start >/dev/null; }
pg_stop() { pg "$bin/pg_ctl" -D $pg/data -t 300 -m "${1:-fast}" -w stop >/dev/null; }
sql() { pg "$bin/psql" -X -q -A -t -c "$1"; }
postmaster() { head -n 1 $pg/data/postmaster.pid; }
