# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# PostgreSQL, by its unit; sourced by recipes.sh.
unit=postgresql@15-main

sql() { runuser -u postgres -- psql -X -q -A -t -c "$1"; }
answers() { [ "$(sql 'SELECT count(*) FROM pg_class WHERE oid > 0')" -gt 300 ]; }
work() { sql 'CREATE TABLE t AS SELECT generate_series(1, 200000) AS i' && [ "$(sql 'SELECT sum(i) FROM t')" = 20000100000 ]; }
same() { [ "$(sql 'SELECT sum(i) FROM t')" = 20000100000 ]; }

check "PostgreSQL starts" start $unit
check "it answers" becomes answers
check "its memory is ordinary" ordinary $unit 5
step postgresql use
check "it answers then" becomes answers
check "its memory is in a region" served $unit 5
check "which is listed" listed postgres 5
check "it works" work
check "a reload" systemctl reload $unit
check "it answers after that" same
check "a restart" systemctl restart $unit
check "it has kept its data" becomes same
check "its memory is in a region again" served $unit 5
step postgresql undo
check "it answers without" becomes same
check "its memory is ordinary without" ordinary $unit 5
check "a stop" systemctl stop $unit
