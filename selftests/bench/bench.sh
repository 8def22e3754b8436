#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Measures mshare beside mmap(2), huge pages, threads and io_uring, in guests,
# and writes build/bench/report.md, report.json, results.tsv and row*.svg, of another BASE
# than 6.12 below build/BASE.
#	bench.sh [ROW...]	only these rows (1 to 8), without the rest of the report
# QUICK=1 in the environment: smaller, a few minutes.  Exit status 1 if a guest
# failed, programs that do not use mshare pay too much, programs that open the same file
# do not share enough, processes need more than threads, or counts and instructions
# differ from those of the last run of the same programs on the same kernels.
set -u
export LC_ALL=C
cd "$(dirname "$(realpath "$0")")/../.." || exit
# shellcheck source=SCRIPTDIR/../../kernel/bases/select disable=SC1091
. kernel/bases/select
vm=${VM_RUN:-selftests/vm/run}
out=$build/bench programs=build/selftests/bench
rows=${*:-1 2 3 4 5 6 7 8}
mkdir -p "$out"

MIB=$((1 << 20)) GIB=$((1 << 30))
if [ "${QUICK:-0}" != 0 ]; then
	tables=(64 $((64 * MIB)) $((256 * MIB)) "$GIB") memory=2560
	readers=(16 $((64 * MIB)))
	lives=($((256 * MIB)))
	protect=(16 4096 $((2 * MIB)) $((64 * MIB)))
	rmap=(16 $((8 * MIB)))
	scan=(4 $((32 * MIB))) times=(4 $((32 * MIB)))
	openers=(16 $((64 * MIB)))
else
	tables=(512 $((64 * MIB)) $((256 * MIB)) "$GIB" $((4 * GIB))) memory=6656
	readers=(64 $((64 * MIB)) $((256 * MIB)) "$GIB")
	lives=("$GIB")
	protect=(64 4096 $((2 * MIB)) $((64 * MIB)) "$GIB")
	rmap=(64 $((64 * MIB)))
	scan=(16 $((128 * MIB))) times=(16 $((64 * MIB)))
	openers=(64 $((64 * MIB)) "$GIB")
fi

# guest ROW NAME OPTIONS... -- ARGUMENTS: leaves the lines of a program in $out/NAME.tsv.
guest() {
	local row=$1 name=$2 start=$SECONDS options=()
	case " $rows " in *" $row "*) ;; *) return 0 ;; esac
	shift 2
	while [ "$1" != -- ]; do
		options+=("$1")
		shift
	done
	shift
	rm -f "$out/$name.tsv"
	if $vm "${always[@]}" "${options[@]}" -- \
		"$programs/${name%%-*}" "$@" >"$out/$name.new"; then
		mv "$out/$name.new" "$out/$name.tsv"
		echo "bench: row $row, $name: $((SECONDS - start)) s"
	else
		echo "bench.sh: row $row has no figures: $name failed in its guest" >&2
		return 1
	fi
}

# shellcheck source=SCRIPTDIR/options.sh disable=SC1091
. selftests/bench/options.sh
# An ext4 file system, which the programs copy to a disk in the guest's memory, so
# that nothing waits for the host.  It is always the same.
image=$out/disk.img
disk=(--file "$image" --append 'null_blk.memory_backed=1 null_blk.queue_mode=0 null_blk.gb=1')
rm -f "$image"
truncate -s 320M "$image" &&
	E2FSPROGS_FAKE_TIME=1767225600 mke2fs -q -F -t ext4 -U 6d736861-7265-4000-8000-000000000000 \
		-E hash_seed=6d736861-7265-4000-8000-000000000001 "$image" || exit

start=$SECONDS
# Two at a time, if there are processors: this does not disturb their clocks.
lane1() {
	guest 1 tables --smp 2 --mem $memory -- "${tables[@]}" &&
	guest 3 lives "${counting[@]}" "$icount" -- "${lives[@]}" &&
	guest 5 rmap "${counting[@]}" "$icount" "${bulk[@]}" "${disk[@]}" --append numa=fake=2 -- "${rmap[@]}" "$image" &&
	guest 8 openers --timeout 6000 "${counting[@]}" "$icount" "${bulk[@]}" -- "${openers[@]}"
}
lane2() {
	guest 7 calls-unpatched "${counting[@]}" "$icount" --kernel "$build/base.bzImage" -- unpatched &&
	guest 7 calls-off "${counting[@]}" "$icount" --kernel "$build/off.bzImage" -- off &&
	guest 7 calls-on "${counting[@]}" "$icount" -- on &&
	guest 6 scan "${counting[@]}" "$icount" "${bulk[@]}" "${disk[@]}" -- "${scan[@]}" "$image" &&
	guest 4 protect "${counting[@]}" "$icount" -- "${protect[@]}" &&
	guest 2 readers "${counting[@]}" "$icount" "${bulk[@]}" -- "${readers[@]}"
}
lane1 &
one=$!
[ "${JOBS:-$(nproc)}" -gt 1 ] || wait $one
lane2 &
two=$!
wait $one
status=$?
wait $two || status=1
[ $status -eq 0 ] || exit 1
# Times, with no other guest running.
guest 6 scan-time --smp 4 --mem 2048 "${disk[@]}" -- --time "${times[@]}" "$image" || exit

names=()
for name in tables:1 readers:2 lives:3 protect:4 rmap:5 scan:6 scan-time:6 calls-unpatched:7 calls-off:7 calls-on:7 openers:8; do
	case " $rows " in *" ${name#*:} "*) names+=("$out/${name%:*}.tsv") ;; esac
done
# What has to be the same for two runs to agree.
id=$(cat "$build"/{,base.,off.}bzImage $programs/* selftests/bench/{bench,options}.sh 2>/dev/null |
	sha256sum)" ${QUICK:-0} $rows"
rm -f "$out/last.tsv"
[ "$(cat "$out/id" 2>/dev/null)" != "$id" ] || mv "$out/results.tsv" "$out/last.tsv"
cat "${names[@]}" >"$out/results.tsv"
echo "$id" >"$out/id"
selftests/bench/report.py "$out" || { status=1; echo "bench.sh: see the first paragraph of $out/report.md" >&2; }
if [ -e "$out/last.tsv" ]; then
	selftests/bench/report.py --compare "$out/last.tsv" "$out/results.tsv" || status=1
fi
sed -n '3,/^$/p' "$out/report.md"
echo "bench: $((SECONDS - start)) s, $out/report.md"
exit $status
