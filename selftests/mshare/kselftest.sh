#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Runs the kernel's own selftests and the stressors of stress-ng that are about memory
# and processes in the guest, for selftests/lib/kselftest, which compares two kernels.
# Prints what they print, and a last line: a stream that ends early must not pass for
# a short one.
#	kselftest.sh DIR [COLLECTION:TEST...]
set -u
export LC_ALL=C
dir=${1:?usage: kselftest.sh DIR [COLLECTION:TEST...]}
shift
# They write beside themselves; the file system of the host is slow for that.
cp -r "$dir" /dev/shm/kselftest || exit
cd /dev/shm/kselftest || exit
# The emulator takes a user's access in this one for one of the kernel, which stops then,
# also without our patches.
sed -i '/^x86:sysret_ss_attrs_64$/d' kselftest-list.txt

# Not those that are to bring the machine down, or that the guest has nothing for.
stressors() {
	stress-ng --class 'vm?' 2>&1 | sed -n "s/^class 'vm' stressors: //p" | tr ' ' '\n' |
		grep -vxE 'bigheap|brk|stack|swap|watchdog'
	printf '%s\n' clone daemon exec fork forkheavy memfd mincore numa null remap rmap \
		tlb-shootdown vfork zero resources
}

# run SECONDS [TEST...]: how long each may take.
run() {
	local seconds=$1 test args=()
	shift
	for test; do args+=(-t "$test"); done
	[ $# -eq 0 ] || ./run_kselftest.sh -o "$seconds" "${args[@]}" 2>&1
}

# shellcheck disable=SC2046 # names without white space
[ $# -gt 0 ] || set -- $(cat kselftest-list.txt) $(stressors | sed 's/^/stress-ng:/')
mm=() others=() stress=()
for test; do
	case $test in
	mm:*) mm+=("$test") ;;
	stress-ng:*) stress+=("${test#*:}") ;;
	*) others+=("$test") ;;
	esac
done
# Guests are emulated: ten times the usual 45 s, and more for the one that is all tests of mm.
run 2400 "${mm[@]}"
run 450 "${others[@]}"
n=0
for name in "${stress[@]}"; do
	n=$((n + 1))
	timeout 120 stress-ng --"$name" 2 -t 3 --verify --temp-path /tmp --stdout 2>&1 | sed 's/^/# /'
	case ${PIPESTATUS[0]} in
	0) echo "ok $n selftests: stress-ng: $name" ;;
	3) echo "ok $n selftests: stress-ng: $name # SKIP" ;;
	*) echo "not ok $n selftests: stress-ng: $name" ;;
	esac
done
echo "kselftest: all were run"
