#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Runs the examples of the manual and the README's, and compares what they print.  TAP.
#	examples.sh [DIR with the programs]
dir=${1:-$(dirname "$0")/examples}
tmp=$(mktemp -d) || exit 2
trap 'rm -rf "$tmp"' EXIT
count=0
failed=0

# example NAME STATUS EXPECTED [ARGUMENT...]: EXPECTED is the output, or if STATUS
# is not 0 how the message begins.
example()
{
	name=$1 want=$2 text=$3
	shift 3
	count=$((count + 1))
	timeout 120 "$dir/$name" "$@" >"$tmp/out" 2>"$tmp/err" </dev/null
	status=$?
	if [ "$want" = 0 ]; then
		is=$(cat "$tmp/out" "$tmp/err")
	else
		is=$(head -n 1 "$tmp/err" | cut -c "1-${#text}")
	fi
	if [ "$status" = "$want" ] && [ "$is" = "$text" ]; then
		echo "ok $count $name: exit status $want"
	else
		failed=1
		printf 'status %s, expected %s; expected "%s":\n' "$status" "$want" "$text" |
			cat - "$tmp/out" "$tmp/err" | sed 's/^/# /'
		echo "not ok $count $name: exit status $want"
	fi
}

echo "TAP version 13"
echo 1..15
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
example file_writer 0 '' "$tmp/message" 'hello to whom it may concern'
example file_reader 0 'hello to whom it may concern' "$tmp/message"
example abi_version 0 'level 2
memory from mshare'
example readme 0 '264 KiB of page tables'

# Where no region can be had.
enabled=/sys/kernel/mm/mshare/enabled
echo 0 >$enabled
example abi_version 0 'level 2
memory from mmap'
example two_processes 1 'two_processes: mshare_create: Operation not permitted'
example file_writer 1 "file_writer: mshare_open: $tmp/message: Operation not permitted" "$tmp/message" 'nobody hears'
example file_reader 0 'hello to whom it may concern' "$tmp/message"
echo 1 >$enabled
exit $failed
