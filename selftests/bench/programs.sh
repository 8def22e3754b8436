#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Programs of Debian that share memory, without and with mshare run, in a guest: prints
# the table of mshare-run(1).  They have to be installed:
#	apt-get install -y php8.2-fpm php8.2-opcache php-apcu libfcgi-bin postgresql-15 \
#		kamailio uwsgi-core uwsgi-plugin-python3 nginx-light apache2-bin haproxy python3
# Exit status 1 if the regions of PHP have page tables that grow with its workers.
#	programs.sh [PROGRAM...]
set -u
export LC_ALL=C
cd "$(dirname "$(realpath "$0")")/../.." || exit
out=build/bench
mkdir -p $out
${VM_RUN:-selftests/vm/run} --smp 4 --mem 6144 --timeout 3400 --append nopti -- \
	bash selftests/bench/programs-guest.sh "$@" >$out/programs.new ||
	{ echo "programs.sh: no figures" >&2; exit 1; }
mv $out/programs.new $out/programs.tsv

awk -F '\t' '
/^#/ || NF != 9 { next }
{ row = $1 "\t" $2 "\t" $3; v[row, $4, "tables"] = $6; v[row, $4, "faults"] = $8 }
$4 == "mshare" {
	if ($1 == "php") regions[$3] = $7
	printf "%s\t%s\t%d\t%s\t%d\t%d\t%d\t%d\n", $1, $2, $3, $5 ? $5 : $9 ? $9 : "-",
		v[row, "mmap", "tables"] / 1024, $6 / 1024, v[row, "mmap", "faults"], $8
}
END {
	if (regions[20] > 1.2 * regions[1]) {
		printf "programs.sh: php: regions of 20 workers have %.2f times the page tables of those of 1\n",
			regions[20] / regions[1]
		exit 1
	}
}' $out/programs.tsv
