#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# PostgreSQL with and without mshare run: prints what page tables, page faults,
# connecting and transactions cost for some numbers of connections.
# QUICK=1 in the environment: 128 MiB of shared buffers and 20 connections.
# Exit status 1 if page tables grow with the number of connections.
set -u
export LC_ALL=C
cd "$(dirname "$(realpath "$0")")/../.." || exit
# shellcheck source=SCRIPTDIR/../../kernel/bases/select disable=SC1091
. kernel/bases/select
out=$build/bench
mkdir -p "$out"
if [ "${QUICK:-0}" != 0 ]; then
	mib=128 memory=2048 seconds=3 connections=(1 20)
else
	mib=512 memory=5120 seconds=10 connections=(1 10 50 100)
fi
${VM_RUN:-selftests/vm/run} --smp 2 --mem $memory --timeout 3400 --append nopti -- \
	bash selftests/bench/postgres-guest.sh $mib $seconds "${connections[@]}" >"$out/postgres.new" ||
	{ echo "postgres.sh: no figures" >&2; exit 1; }
mv "$out/postgres.new" "$out/postgres.tsv"

awk -F '\t' -v mib=$mib '
function of(way, n, what) { return v[way, "large", n, what] }
# Page tables that are there for shared buffers.
function tables(way, n) { return of(way, n, "pagetables") - v[way, "small", n, "pagetables"] }
# Figures are compared only if they were measured and each connection has read everything.
function complete(way, n) {
	if (of(way, n, "touched") >= 0.85 * mib * 1048576) return 1
	printf "postgres.sh: %s, %d connections: only %d bytes of shared memory were accessed\n",
		way, n, of(way, n, "touched")
	return 0
}
function region(n) {
	if (of("mshare", n, "region-pagetables") > 0 && of("mshare", n, "attachments") > n) return 1
	printf "postgres.sh: mshare, %d connections: not all have a region attached\n", n
	return 0
}
function row(what, format, way, i) {
	printf "%-38s", what
	for (i = 1; i <= ns; i++) printf format, cell[1, i], cell[2, i]
	printf "\n"
}
{ v[$1, $2, $3, $4] = $5; if (!($3 in seen)) { seen[$3]; order[++ns] = $3 } }
END {
	printf "PostgreSQL, %d MiB of shared buffers that each connection has read as a whole\n\n", mib
	printf "%-38s", "connections"
	for (i = 1; i <= ns; i++) printf "%22d  ", order[i]
	printf "\n%-38s", ""
	for (i = 1; i <= ns; i++) printf "%12s%12s", "mmap", "mshare"
	printf "\n"
	split("faults connect-ms tps", what, " ")
	title["faults"] = "page faults (count)"
	title["connect-ms"] = "time to connect, all (ms)"
	title["tps"] = "transactions a second (time)"
	for (i = 1; i <= ns; i++) {
		cell[1, i] = tables("mmap", order[i]) / 1024
		cell[2, i] = tables("mshare", order[i]) / 1024
	}
	row("page tables for shared buffers (KiB)", "%12d%12d")
	for (i = 1; i <= ns; i++) {
		cell[1, i] = "-"
		cell[2, i] = int(of("mshare", order[i], "region-pagetables") / 1024)
	}
	row("page tables of the region (KiB)", "%12s%12s")
	for (w = 1; w <= 3; w++) {
		for (i = 1; i <= ns; i++) {
			cell[1, i] = of("mmap", order[i], what[w])
			cell[2, i] = of("mshare", order[i], what[w])
		}
		row(title[what[w]], "%12.0f%12.0f")
	}
	print ""
	bad = ns < 2
	for (i = 1; i <= ns; i++)
		if (!complete("mmap", order[i]) || !complete("mshare", order[i]) || !region(order[i])) bad = 1
	few = tables("mshare", order[1]); many = tables("mshare", order[ns])
	plain = tables("mmap", order[ns])
	good = few > 0 && many > 0 && many <= 1.2 * few
	printf("%s  mshare: page tables of %d connections are %.2f times those of %d (at most 1.2)\n",
		good ? "ok    " : "NOT OK", order[ns], few > 0 ? many / few : 0, order[1])
	few = tables("mmap", order[1])
	printf("        mmap: %.2f times; %d connections have %.1f times what they have with mshare\n",
		few > 0 ? plain / few : 0, order[ns], many > 0 ? plain / many : 0)
	exit bad || !good
}' "$out/postgres.tsv"
