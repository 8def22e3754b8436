# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# Questions to PostgreSQL's server, as its package starts it; sourced.

sql() { runuser -u postgres -- psql -X -q -A -t -c "$1"; }
answers() { [ "$(sql 'SELECT count(*) FROM pg_class WHERE oid > 0')" -gt 300 ]; }
work() { sql 'CREATE TABLE t AS SELECT generate_series(1, 200000) AS i' && same; }
same() { [ "$(sql 'SELECT sum(i) FROM t')" = 20000100000 ]; }
