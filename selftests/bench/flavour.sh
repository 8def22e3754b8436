#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The cost of mshare for a machine that does not use it, with a configuration of Debian's:
# row 7 of make bench on Debian's own kernel of the same version, and on ours with and
# without CONFIG_MSHARE; the size of the packages and of the kernel in memory, and the
# length of the boot log.
#	flavour.sh FLAVOUR	cloud or amd64; build/FLAVOUR and build/FLAVOUR-off are built
# Writes build/bench/FLAVOUR.md.  Exit status 1 if an operation costs over 0.5 % more.
set -u
export LC_ALL=C
cd "$(dirname "$(realpath "$0")")/../.." || exit
flavour=${1:?usage: flavour.sh FLAVOUR}
out=build/bench
mkdir -p $out
theirs=build/debian-$flavour
# shellcheck source=SCRIPTDIR/options.sh disable=SC1091
. selftests/bench/options.sh

selftests/lib/debian-kernel-get "$theirs" "$flavour" || exit
set -- "$theirs"/boot/vmlinuz-*
debian=$1

# guest NAME KERNEL: row 7 on it.
guest() {
	selftests/vm/run "${always[@]}" "${counting[@]}" "$icount" --kernel "$2" --log "$out/$flavour-$1" -- build/selftests/bench/calls "$1" >"$out/$flavour-$1.tsv" ||
		{ echo "bench/flavour.sh: $1 failed in its guest" >&2; exit 1; }
}
guest debian "$debian"
guest off "build/$flavour-off/bzImage"
guest on "build/$flavour/bzImage"

# sections FILE: text, data and bss of a vmlinux, in bytes.
sections() { size "$1" | awk 'NR == 2 { print $1, $2, $3 }'; }
# boot_lines NAME: how many the kernel has written before the first process runs.
boot_lines() { sed -n '/ Run .* as init process/q; /^\[ *[0-9.]*\] /p' "$out/$flavour-$1/console" | grep -c .; }
mib() { du -b --apparent-size -c "$@" | awk 'END { printf "%.1f", $1 / 1048576 }'; }

{
	echo "# What mshare costs with Debian's configuration $flavour"
	echo
	echo "Instructions of operations of programs that do not use it, on one emulated processor: on"
	echo "$(cat "$theirs/.complete"), and on our kernel of that configuration without and with \`CONFIG_MSHARE\`."
	echo
	echo '| operation | Debian | off | on | on / off | on / Debian |'
	echo '|---|---|---|---|---|---|'
	awk -F'\t' '!($2 in seen) { seen[$2]; order[++n] = $2 }
		{ value[$2, $3] = $6 }
		END {
			for (i = 1; i <= n; i++) {
				w = order[i]; d = value[w, "debian"]; a = value[w, "off"]; b = value[w, "on"]
				printf "| %s | %s | %s | %s | %+.2f %% | %+.2f %% |\n", w, d, a, b, (b / a - 1) * 100, (b / d - 1) * 100
			}
		}' "$out/$flavour"-{debian,off,on}.tsv
	echo
	read -r text data bss < <(sections "build/$flavour/vmlinux")
	read -r text0 data0 bss0 < <(sections "build/$flavour-off/vmlinux")
	echo "The kernel in memory has $text bytes of text, $data of data and $bss of bss: $((text - text0)), $((data - data0)) and $((bss - bss0)) more than without \`CONFIG_MSHARE\`."
	echo "The boot log has $(boot_lines on) lines before the first process, $(boot_lines off) without \`CONFIG_MSHARE\`."
	echo "Packages: linux-image $(mib "build/deb-$flavour"/linux-image-*.deb) MiB, linux-headers $(mib "build/deb-$flavour"/linux-headers-*.deb) MiB, all others $(mib "build/deb-$flavour"/{libmshare,mshare}*.deb) MiB."
} >"$out/$flavour.md"
cat "$out/$flavour.md"
# The bound, for each operation.
awk -F'|' '/^\| / && $7 ~ /%/ { n++; if ($6 + 0 > 0.5 || $7 + 0 > 0.5) { print "too much:" $2; bad = 1 } } END { exit bad || n < 8 }' "$out/$flavour.md"
