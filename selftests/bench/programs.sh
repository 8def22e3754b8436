#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Runs programs of Debian that share memory, and some that do not, in guests, without and
# with mshare run.  Leaves the figures in build/bench/programs.tsv, and prints the rows of
# the table of mshare-run(1).  It takes some 20 minutes.
#	programs.sh [PROGRAM[=WORKERS]...]	only these
# Exit status 1 if a program did not do its work, or if the shared memory of 20 workers of
# PHP has more than 1.2 times the page tables of that of one.
set -u
export LC_ALL=C
cd "$(dirname "$(realpath "$0")")/../.." || exit
# shellcheck source=SCRIPTDIR/../../kernel/bases/select disable=SC1091
. kernel/bases/select
out=$build/bench
mkdir -p "$out"
# PHP also with one worker, for its shared memory.
[ $# != 0 ] || mapfile -t < <(echo php=1 && sed -n 's/^program \([a-z_]*\) .*/\1/p' selftests/bench/programs-list.sh)
[ $# != 0 ] || set -- "${MAPFILE[@]}"

# shellcheck source=SCRIPTDIR/../vm/again.sh disable=SC1091
. selftests/vm/again.sh
: >"$out/programs.new"
while [ $# -gt 0 ]; do
	# shellcheck disable=SC2086 # options
	again "$out/programs" ${VM_RUN:-selftests/vm/run} --smp 4 --mem 6144 --timeout 3000 --append nopti ${VM:-} -- \
		bash selftests/bench/programs-guest.sh "${@:1:6}"
	status=$?
	cat "$out/programs/errors" >&2
	[ $status = 0 ] || { echo "programs.sh: no figures" >&2; exit 1; }
	cat "$out/programs/tap" >>"$out/programs.new"
	shift $(($# < 6 ? $# : 6))
done
mv "$out/programs.new" "$out/programs.tsv"

# KiB of page tables, for shared memory and of all kinds, and thousands of faults.
awk -F '\t' '
function kib(n) { return sprintf("%.0f", n / 1024) }
function thousands(n) { return sprintf("%.1f", n / 1000) }
/^#.*failed/ { print >"/dev/stderr"; bad = 1 }
/^#/ || NF != 12 { next }
$4 == "mmap" { before = $1 " " $3; shared = $9; all = $10; faults = $11; areas = $7; next }
before != $1 " " $3 { print "programs.sh: " $1 " was not run without mshare" >"/dev/stderr"; bad = 1; next }
{
	if ($1 == "php") tables[$3] = $9
	if ($1 == "php" && $3 == 1) next
	name = $1
	sub(/_.*/, "", name)
	version = $2
	sub(/^[0-9]*:/, "", version)
	sub(/[-+][^-]*$/, "", version)
	sub(/[+].*/, "", version)
	option = $5 ~ /^--files/ ? " F" : $5 == "--anywhere" ? " a" : ""
	printf "%s%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", name, option, version, $6,
		areas ? $8 " of " areas : "none", kib(shared), kib($9), kib(all), kib($10), thousands(faults), thousands($11)
}
END {
	if (1 in tables && 20 in tables) {
		printf "programs.sh: php: 20 workers have %.3f times the page tables of 1 for shared memory\n",
			tables[20] / tables[1] >"/dev/stderr"
		if (tables[20] > 1.2 * tables[1]) bad = 1
	}
	exit bad
}' "$out/programs.tsv"
