#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Runs the examples of the manual and the README's, and compares what they print.  TAP.
#	examples.sh [DIR with the programs]
dir=${1:-$(dirname "$0")/examples}
tmp=$(mktemp -d) || exit 2
trap 'rm -rf "$tmp"' EXIT
count=0
failed=0

# example NAME STATUS EXPECTED [ARGUMENT]: EXPECTED is the output, or if STATUS
# is not 0 how the message begins.
example()
{
	count=$((count + 1))
	timeout 120 "$dir/$1" ${4:+"$4"} >"$tmp/out" 2>"$tmp/err" </dev/null
	status=$?
	if [ "$2" = 0 ]; then
		is=$(cat "$tmp/out" "$tmp/err")
	else
		is=$(head -n 1 "$tmp/err" | cut -c "1-${#3}")
	fi
	if [ "$status" = "$2" ] && [ "$is" = "$3" ]; then
		echo "ok $count $1: exit status $2"
	else
		failed=1
		printf 'status %s, expected %s; expected "%s":\n' "$status" "$2" "$3" |
			cat - "$tmp/out" "$tmp/err" | sed 's/^/# /'
		echo "not ok $count $1: exit status $2"
	fi
}

echo "TAP version 13"
echo 1..11
example two_processes 0 'child reads: hello from the parent
parent reads: hello from the child'
example rdonly 0 'child reads: look, but do not touch
parent reads: look, but do not touch'
example protect 0 'nobody writes any more'
example advise 0 'resident: 16 MiB
resident: 4 MiB'
example offsets 0 ' 3 2 1
 3 2 1'
printf 'the first line\nthe second\n' >"$tmp/lines"
example map_file 0 '26 bytes at offset 0: the first line' "$tmp/lines"
example map_file 1 "map_file: $tmp/none: No such file" "$tmp/none"
example abi_version 0 'level 1
memory from mshare'
example readme 0 '264 KiB of page tables'

# Where no region can be had.
enabled=/sys/kernel/mm/mshare/enabled
echo 0 >$enabled
example abi_version 0 'level 1
memory from mmap'
example two_processes 1 'two_processes: mshare_create: Operation not permitted'
echo 1 >$enabled
exit $failed
