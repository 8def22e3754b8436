#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# A debugger, as people use it, on a process with attachments.  TAP.
#	gdb.sh [DIR with gdb_target]
# shellcheck disable=SC2016 # the dollars are gdb's
dir=${1:-$(dirname "$0")}
tmp=$(mktemp -d) || exit 2
target=
trap '[ -z "$target" ] || kill "$target"; rm -rf "$tmp"' EXIT
count=0
failed=0

# Where the target has its region: slots of 512 GiB.
rw=0x18000000000 ro=0x28000000000 exec=0x38000000000
code=0x100000
# What the target writes there, and has nowhere else.
marker='the marker 14133'

# check DESCRIPTION EXPECTED: a regular expression in a line that gdb printed.
check()
{
	count=$((count + 1))
	if grep -qE -- "$2" "$tmp/out"; then
		echo "ok $count $1"
	else
		failed=1
		echo "# not found: $2"
		sed 's/^/# /' "$tmp/out"
		echo "not ok $count $1"
	fi
}

# gdb_do ARGUMENT... -- COMMAND...: one session, its output in $tmp/out.
gdb_do()
{
	local args=() command

	while [ "$1" != -- ]; do
		args+=("$1")
		shift
	done
	shift
	for command; do
		args+=(-ex "$command")
	done
	timeout 300 gdb -nx -q -batch -iex 'set debuginfod enabled off' -iex 'set pagination off' \
		"${args[@]}" >"$tmp/out" 2>&1 </dev/null
}

# start: a target, ready to be debugged, with its output in $tmp/target.
start()
{
	local tries=0

	: >"$tmp/target"
	(ulimit -c unlimited && exec "$dir/gdb_target") >"$tmp/target" &
	target=$!
	while [ ! -s "$tmp/target" ] && [ $((tries += 1)) -lt 600 ]; do
		sleep 0.1
	done
}

echo "TAP version 13"
start
gdb_do -p "$target" -- \
	"print *(long *)$rw" "print *(long *)$ro" "set var *(long *)$rw = 1234567" \
	"print *(long *)$ro" "set var *(long *)$ro = 99" "print *(long *)$rw" \
	"print *(long *)($rw + 0x80000)" "dump binary memory $tmp/dump $ro $ro+0x10000" \
	'info proc mappings'
check "reads an object" '^\$1 = 4711$'
check "reads it through the read-only attachment" '^\$2 = 4711$'
check "writes are seen through the other attachment" '^\$3 = 1234567$'
check "a write through the read-only attachment is refused" \
	"^Cannot access memory at address $ro\$"
check "and changes nothing" '^\$4 = 1234567$'
check "a hole cannot be read" '^Cannot access memory at address 0x18000080000$'
check "the attachment is in the list of mappings" "^ *$rw .*/mshare:test"
stat -c %s "$tmp/dump" >"$tmp/out"
check "an object can be dumped" '^65536$'

gdb_do -p "$target" -- "watch *(long *)($rw + 8)" continue delete \
	'break tick' continue backtrace "print s->count > 0 && s == $rw" delete \
	"break *($exec + $code)" continue stepi 'print $pc' delete \
	"break *($ro + $code)" continue
check "a watchpoint in an object is one of the hardware" '^Hardware watchpoint 1:'
check "and stops with the new value" '^New value = [0-9]+$'
check "a breakpoint in the program" '^Breakpoint 2, .*tick \('
check "structures of an object by name" '^\$1 = 1$'
check "a breakpoint in an object" '^Breakpoint 3, 0x0*38000100000 in '
check "and a step over it" '^\$2 = .*0x38000100001$'
check "a breakpoint cannot be put through the read-only attachment" \
	'^Cannot insert breakpoint 4\.$'

# What gdb put there is gone, or the target is.
gdb_do -p "$target" -- "x/2xb $exec + $code" "generate-core-file $tmp/gcore" \
	"set var ((struct shared *)$rw)->stop = 1"
check "the code is as it was" ':[[:space:]]+0x90[[:space:]]+0xc3$'
check "generate-core-file comes to an end" '^Saved corefile'
stat -c %s "$tmp/gcore" | awk '{ print $1 < 16 * 1048576 ? "small" : $1 }' >"$tmp/out"
check "with a small file" '^small$'

wait "$target"
target=
cp "$tmp/target" "$tmp/out"
check "the target saw what gdb wrote, and ended well" '^word 1234567$'

# A core file of the kernel's.
pattern=$(cat /proc/sys/kernel/core_pattern)
echo "$tmp/core" >/proc/sys/kernel/core_pattern
start
kill -ABRT "$target"
wait "$target" 2>/dev/null
target=
echo "$pattern" >/proc/sys/kernel/core_pattern
gdb_do "$dir/gdb_target" "$tmp/core" -- backtrace
check "a core file can be opened" 'terminated with signal SIGABRT'
check "and has a stack" ' main \('
stat -c %s "$tmp/core" | awk '{ print $1 < 16 * 1048576 ? "small" : $1 }' >"$tmp/out"
check "and is small" '^small$'

for file in dump gcore core; do
	echo "$file: $(grep -ac "$marker" "$tmp/$file")"
done >"$tmp/out"
check "what gdb dumped has what is in the region" '^dump: 1$'
check "the core file that gdb made has not" '^gcore: 0$'
check "the kernel's core file has nothing of the region" '^core: 0$'

echo "1..$count"
exit $failed
