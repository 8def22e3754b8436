#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Runs the tests of mshare in DIR and prints one TAP stream.
#
#	run_tests.sh DIR [all [K/N]|most [K/N]|core|paging|NAME...]
#
# K/N is the Kth of N parts.
# "core" are the tests of smoke, and of the package mshare-tests, which takes the list
# from here.
# "paging" are the tests that depend on the paging mode and on the TLB: they
# are worth another run with la57=off, with pti=on and with two CPUs.
# "all" is every *_test there but oom_test and nomem_test, for which the kernel
# prints call traces, numa_test, which needs another machine, differ_test, which takes
# very long on the debug kernel, and reclaim_test: there pages may be back in use before
# they have left the swap cache.
# "most" are these without the programs that mostly run other programs, and without
# turns_test, which fills page tables for 8 GiB: on the debug kernel they take a third of
# the time.
# Environment: MST_TIMEOUT, seconds for a binary (3600); MST_SEED, a number for a
# random order.

CORE='create_test attach_test unmap_test fork_test tlb_test'
PAGING='attach_test access_test fork_test lifetime_test tlb_test fault_test unmap_test protect_test'

dir=$1
if [ ! -d "$dir" ]; then
	echo "usage: $0 DIR [all|core|paging|NAME...]" >&2
	exit 2
fi
shift
case ${1:-all} in
all | most)
	which=${1:-all}
	part=${2:-1/1}
	next=0
	set --
	for name in "$dir"/*_test; do
		case ${name##*/} in
		oom_test | nomem_test | numa_test | reclaim_test | differ_test) continue ;;
		run_test | run_files_test | examples_test | turns_test) [ "$which" = all ] || continue ;;
		esac
		[ "$next" -ne $((${part%/*} - 1)) ] || set -- "$@" "$name"
		next=$(((next + 1) % ${part#*/}))
	done ;;
core)
	# shellcheck disable=SC2086 # a list of words
	set -- $CORE ;;
paging)
	# shellcheck disable=SC2086 # a list of words
	set -- $PAGING ;;
esac

if [ -n "${MST_SEED:-}" ]; then
	# shellcheck disable=SC2046 # a list of words
	set -- $(printf '%s\n' "$@" | awk -v seed="$MST_SEED" \
		'BEGIN { srand(seed) } { print rand() "\t" $0 }' | sort -n | cut -f 2)
fi

limit=${MST_TIMEOUT:-3600}
tmp=$(mktemp -d) || exit 2
trap 'rm -rf "$tmp"' EXIT
count=0
failed=0

loops()
{
	find /sys/block/loop*/loop -maxdepth 0 2>/dev/null | wc -l
}

# What a program leaves, regions and disks of memory, goes a little later.  The next
# one is to begin without it: it may measure memory.
loops=$(loops)
settle()
{
	left=300
	while [ $((left -= 1)) -gt 0 ]; do
		[ "$(loops)" -gt "$loops" ] ||
			grep -qsvx 0 /sys/kernel/mm/mshare/regions || break
		sleep 0.2
	done
}

# result ok|not-ok DESCRIPTION
result()
{
	count=$((count + 1))
	if [ "$1" = ok ]; then
		echo "ok $count $2"
	else
		failed=$((failed + 1))
		echo "not ok $count $2"
	fi
}

echo "TAP version 13"
for name in "$@"; do
	name=${name##*/}
	settle
	echo "mshare: run $name" >/dev/kmsg 2>/dev/null
	if [ ! -x "$dir/$name" ]; then
		result not-ok "$name # there is no $dir/$name"
		continue
	fi
	# On a line of their own even when the program dies in the middle of one.
	{ timeout -s KILL "$limit" "$dir/$name" 2>&1; echo "$?" >"$tmp/status"; echo; } >"$tmp/out"
	status=$(cat "$tmp/status")
	plan='' seen=0 bad=0
	while IFS= read -r line; do
		case $line in
		"1.."*)
			plan=${line#1..} ;;
		"ok "* | "not ok "*)
			seen=$((seen + 1))
			text=${line#not }
			text=${text#ok }
			text=${text#* }
			text=${text#global.}
			# XFAIL and XPASS are not used; what is not plainly ok has failed.
			case $line in
			"ok "*) result ok "$name.$text" ;;
			*) result not-ok "$name.$text"; bad=$((bad + 1)) ;;
			esac ;;
		"TAP version"* | "# Totals:"* | "#  RUN "* | "#          OK "* | "#      SKIP "* | "#            OK "* | '') ;;
		"#"*) echo "$line" ;;
		*) echo "# $line" ;;
		esac
	done <"$tmp/out"
	# The harness ends with 0 if and only if no case failed.
	if [ "$status" = 137 ]; then
		result not-ok "$name.the_program_ended_in_time # killed after $limit s"
	elif [ -z "$plan" ] || [ "$plan" != "$seen" ]; then
		result not-ok "$name.all_cases_ran # status $status, $seen of ${plan:-?} cases"
	elif [ "$bad" = 0 ] && [ "$status" != 0 ]; then
		result not-ok "$name.the_program_ended_well # status $status"
	fi
done
echo "1..$count"
[ "$failed" = 0 ]
