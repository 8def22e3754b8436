#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The cost of a change of shared page tables, of a fault and of a switch of processes,
# as counts and instructions, beside mmap(2), threads and the unpatched kernel.
# Exit status 1 if a figure is not what it has to be.
#	tlb.sh [KERNEL [UNPATCHED]]	bzImage files, their vmlinux beside them
set -u
export LC_ALL=C
cd "$(dirname "$(realpath "$0")")/../.." || exit
# shellcheck source=SCRIPTDIR/../../kernel/bases/select disable=SC1091
. kernel/bases/select
kernel=${1:-$build/bzImage}
base=${2:-$build/base.bzImage}
out=$build/bench-tlb
mkdir -p "$out"

# guest NAME KERNEL MODE OPTIONS...: leaves the benchmark's lines in $out/NAME.
guest() {
	selftests/vm/run --kernel "$2" --root initramfs --mem 2048 --timeout 900 --append nopti "${@:4}" -- \
		build/selftests/tlb "$3" >"$out/$1" || { echo "tlb.sh: no figures of $1" >&2; exit 1; }
}

# One processor, and a clock that counts instructions.  Without rep stosb, which
# clears a page in one instruction or in thousands.
# Linux 7.3 sets a timer at each switch as soon as the clock is good enough for it, which
# is a matter of how long the boot takes.
counting=(--smp 1 --cpu 'max,-erms' --qemu '-icount shift=0' --append highres=off)
guest ipis "$kernel" ipis --smp 4
guest unmaps "$kernel" instructions "${counting[@]}"
guest faults "$kernel" faults "${counting[@]}"
guest regions "$kernel" regions "${counting[@]}"
guest switches "$kernel" switches "${counting[@]}"
guest switches-unpatched "$base" switches "${counting[@]}"

# figure FILE WHAT WAY [N]
figure() { awk -F '\t' -v what="$2" -v way="$3" -v n="${4:-}" \
	'$1 == what && $2 == way && (n == "" || $3 == n) { print $4 }' "$out/$1"; }

# table FILE: a line for each N, a column for each way.
table() {
	awk -F '\t' '
	{ if (!($3 in row)) order[++rows] = $3; row[$3]; cell[$3, $2] = $4 }
	END {
		printf "%9s %12s %12s %12s\n", "processes", "mshare", "threads", "mmap"
		for (i = 1; i <= rows; i++) {
			n = order[i]
			printf "%9d %12s %12s %12s\n", n, cell[n, "mshare"], cell[n, "threads"], cell[n, "mmap"]
		}
	}' "$out/$1"
}

status=0
# must WHAT CONDITION: an awk expression of figures.
must() {
	local verdict=ok
	# A missing figure leaves an invalid expression.
	if ! awk "BEGIN { exit !($2) }" 2>/dev/null; then
		verdict='NOT OK'
		status=1
	fi
	printf '  %-6s %s\n' "$verdict" "$1"
}

# flat FILE WHAT: all the figures of mshare within 5 %.
flat() { figure "$1" "$2" mshare | awk '
	NR == 1 { least = most = $1 }
	{ if ($1 < least) least = $1; if ($1 > most) most = $1 }
	END { print NR == 6 && most <= least * 1.05 }'; }

echo "IPIs for one unmap of a page that is also mapped by a busy process or thread on"
echo "another CPU and by N that sleep (counts, 4 CPUs)"
table ipis
# Never more than one: that is exact.  Less if the other CPU happens to do something else.
for n in 1 4 16 64 256 1024; do
	m=$(figure ipis ipis mshare $n)
	must "N = $n: mshare $m, at most the one for the busy CPU" "$m > 0.5 && $m <= 1"
done
echo
echo "The same unmap where N sleep (instructions, 1 CPU)"
table unmaps
must 'mshare: the same for every N, within 5 %' "$(flat unmaps unmap)"
echo
echo "The same in a process that has N regions attached, and how many of its flushes are"
echo "of everything"
one=$(figure regions unmap-beside mshare 1)
for n in 1 2 4 8 16; do
	m=$(figure regions unmap-beside mshare $n) f=$(figure regions full-flushes mshare $n)
	must "N = $n: $m, at most 1.10 times one region; $f, none" \
		"$one > 0 && $m > 0 && $m <= $one * 1.10 && $f == 0"
done
echo
m=$(figure faults minor-fault mshare) p=$(figure faults minor-fault mmap)
echo "A fault on a page that is there: mshare $m, mmap $p, mmap in a process that has a" \
	"region $(figure faults minor-fault guest) (instructions)"
must 'at most 1.06 times' "$p > 0 && $m > 0 && $m <= $p * 1.06"
m=$(figure faults first-touch mshare) p=$(figure faults first-touch mmap)
echo "The first touch of a page of memory: mshare $m, mmap $p (instructions)"
must 'at most 1.03 times' "$p > 0 && $m > 0 && $m <= $p * 1.03"
echo
m=$(figure switches switches others) p=$(figure switches-unpatched switches others)
echo "A byte to another process and back: $m, unpatched kernel $p (instructions)"
must 'no guests: at most 0.3 % more than the unpatched kernel' "$p > 0 && $m > 0 && $m <= $p * 1.003"
echo
echo "The same with N regions attached: two guests have the same ones, or each its own,"
echo "or one of the two has none; and as many times the above"
awk -F '\t' -v others="$m" '
$3 { if (!($3 in row)) order[++rows] = $3; row[$3]; cell[$3, $2] = $4 }
function times(n, way) { return sprintf("%s %6.3f", cell[n, way], cell[n, way] / others) }
END {
	printf "%9s %18s %18s %18s\n", "regions", "same", "own", "one"
	for (i = 1; i <= rows; i++)
		printf "%9d %18s %18s %18s\n", order[i], times(order[i], "same"),
			times(order[i], "own"), times(order[i], "one")
}' "$out/switches"
for way in same own; do
	a=$(figure switches switches $way 1) b=$(figure switches switches $way 50)
	c=$(figure switches switches $way 200)
	must "$way: what 200 cost more than one is at most 4.5 times that of 50" \
		"$a > 0 && $b > $a && $c - $a <= 4.5 * ($b - $a)"
done
echo
# The instructions in the function, not those that run: they are in the round trip above.
for k in "$kernel" "$base"; do
	vmlinux=$(dirname "$(realpath "$k")")/vmlinux
	[ -e "$vmlinux" ] || { echo "switch_mm_irqs_off(): no $vmlinux"; continue; }
	echo "switch_mm_irqs_off() has $(objdump -d --no-show-raw-insn --disassemble=switch_mm_irqs_off \
		"$vmlinux" | grep -c '^ *[0-9a-f]*:') instructions in $vmlinux"
done
exit $status
