#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The regression tests that PostgreSQL's authors wrote, against a server of its own
# and one under mshare run: they have to say the same.  Runs in the guest, from the
# top of the repository; prints TAP.
#	postgres-regress.sh FOLDER	of selftests/lib/postgres-get --regress
set -u
export LC_ALL=C
postgres=${1:?usage: postgres-regress.sh FOLDER}
# shellcheck source=SCRIPTDIR/../lib/postgres.sh disable=SC1091
. selftests/lib/postgres.sh
# shellcheck source=SCRIPTDIR/../lib/tap.sh disable=SC1091
. selftests/lib/tap.sh
# They expect the server's own settings.
settings=
tests=/run/$postgres/regress

# regress WAY: leaves a line of each test and its verdict in /tmp/WAY.
regress() {
	mkdir -p "$pg/$1"
	chown nobody:nogroup "$pg/$1"
	# It fails if one test does; which ones is what is looked at below.
	pg "$tests/pg_regress" --inputdir="$tests" --outputdir="$pg/$1" --dlpath="$tests" \
		--bindir="$bin" --host="$pg" --user=postgres --max-concurrent-tests=20 \
		--schedule="$tests/parallel_schedule" >"/tmp/$1.log" 2>&1
	sed -n 's/^\(test \|     \) *\([a-z0-9_.]*\) *\.\.\. \(ok\|FAILED\|failed (ignored)\).*/\2 \3/p' \
		"/tmp/$1.log" | sort >"/tmp/$1"
	sed 's/^/# /' "/tmp/$1.log"
	# The tests that are not done would be missing from both sides.
	[ "$(wc -l <"/tmp/$1")" -eq "$(awk '/^test:/ { n += NF - 1 } END { print n }' "$tests/parallel_schedule")" ]
}
most_are_ok() { [ "$(grep -c ' ok$' "/tmp/$1")" -gt $(($(wc -l <"/tmp/$1") * 95 / 100)) ]; }
same() { diff /tmp/mmap /tmp/mshare; }

echo "TAP version 13"
check "initdb" pg_init
check "the server starts" pg_start
check "every test was run" regress mmap
check "most of them are ok on this machine" most_are_ok mmap
check "a stop" pg_stop
check "the server starts under mshare run" pg_start "$mshare" run --
check "its shared buffers are a region" in_region
check "every test was run there" regress mshare
check "with the same verdicts" same
for way in mmap mshare; do
	echo "# summary: $way: $(grep -c ' ok$' /tmp/$way) of $(wc -l </tmp/$way) ok$(
		awk '$2 != "ok" { printf ", %s %s", $1, $2 }' /tmp/$way)"
done
[ "$failed" -eq 0 ] || head -n 300 "$pg/mshare/regression.diffs" | sed 's/^/# /'
check "it still has its region" in_region
check "the last stop" pg_stop
plan
