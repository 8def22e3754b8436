#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Programs of Debian without and with mshare run: prints two lines for each,
#	PROGRAM VERSION WORKERS WAY OPTIONS PROCESSES AREAS SERVED SHARED TABLES FAULTS WHY
# separated by tabs.  WAY is mmap or mshare.  AREAS are shared mappings of 16 MiB and more,
# and SERVED regions, of the process that has most.  SHARED are bytes of page tables for
# shared mappings, including those of regions, and TABLES bytes of all page tables of the
# processes.  FAULTS are those of the cgroup that the program has for itself.  Runs in the
# guest, from the top of the repository, in a system made by selftests/lib/programs-get.
#	programs-guest.sh PROGRAM[=WORKERS]...
set -u
export LC_ALL=C
root=build/programs/root

# ---- outside: gives the system the file systems of the guest, and runs this script in it.
if [ "${1:-}" != --inside ]; then
	[ -d $root ] || { echo "$0: there are no programs: run selftests/lib/programs-get" >&2; exit 2; }
	# shellcheck source=SCRIPTDIR/../lib/command.sh disable=SC1091
	. selftests/lib/command.sh
	for d in proc sys dev; do
		mount --rbind /$d $root/$d || exit
	done
	mount -t tmpfs -o mode=755 run $root/run && mount -t tmpfs tmp $root/tmp || exit
	mkdir -p "$root/run/mshare" "$root/run/build" && mount --bind . $root/run/mshare &&
		mount --rbind /run/build $root/run/build || exit
	echo "127.0.0.1 localhost $(cat /proc/sys/kernel/hostname)" >$root/etc/hosts
	exec chroot $root /usr/bin/env -i PATH="$PATH" LC_ALL=C HOME=/root bash -c \
		'cd /run/mshare && exec bash selftests/bench/programs-guest.sh --inside "$@"' programs "$@"
fi
shift
mshare=/run/build/libmshare/mshare

# shellcheck source=SCRIPTDIR/../lib/tap.sh disable=SC1091
. selftests/lib/tap.sh

# together NUMBER COMMAND...: NUMBER of them at the same time.
together() {
	local n=$1 i pids=()
	shift
	for ((i = 0; i < n; i++)); do
		"$@" >/dev/null 2>>$dir/load &
		pids+=($!)
	done
	wait "${pids[@]}"
}
# as USER COMMAND...
as() {
	local user=$1
	shift
	setpriv --reuid "$user" --regid "$(id -g "$user")" --clear-groups "$@"
}
# inside COMMAND...: in the cgroup.
inside() { (echo $BASHPID >"$cgroup/cgroup.procs" && exec "$@"); }
# Processes that have used the memory leave a file in $dir/seen.
saw() { [ "$(find $dir/seen -type f | wc -l)" -ge "$1" ]; }
listens() { (exec 3<>/dev/tcp/127.0.0.1/"$1") 2>/dev/null; }
# web PORT PATH: asks for it.
web() (
	exec 3<>/dev/tcp/127.0.0.1/"$1" && printf 'GET %s HTTP/1.0\r\nHost: x\r\n\r\n' "$2" >&3 && grep -a '^HTTP/.* 200' <&3
)

declare -A package options workers
# program NAME PACKAGE WORKERS [OPTION...]: a program, whose functions follow.  NAME_prepare
# is not counted; NAME_start begins with "${run[@]}"; NAME_up tells when it can be used: when
# its workers have used the memory, unless NAME_load makes $n of them do so.
program() {
	package[$1]=$2 workers[$1]=$3 options[$1]="${*:4}"
	eval "$1_prepare() { :; }; $1_up() { saw \"\$n\"; }; $1_load() { :; }"
}
# shellcheck source=SCRIPTDIR/programs-list.sh disable=SC1091
. selftests/bench/programs-list.sh
mkdir -p $dir
chmod 755 $dir

# What the processes of the cgroup have:
#	figures.py MSHARE PID...	"PROCESSES AREAS SERVED SHARED TABLES"
cat >$dir/figures.py <<'END'
import json, subprocess, sys
mshare, *pids = sys.argv[1:]
areas = served = tables = procs = 0
for pid in pids:
    try:
        maps = open(f"/proc/{pid}/maps").read()
        status = open(f"/proc/{pid}/status").read()
    except OSError:
        continue
    lines = [l.split(maxsplit=5) for l in maps.splitlines()]
    size = lambda l: int(l[0].split("-")[1], 16) - int(l[0].split("-")[0], 16)
    large = [l for l in lines if l[1][0] == "r" and l[1][3] == "s" and size(l) >= 16 << 20]
    areas = max(areas, len(large))
    served = max(served, sum(1 for l in large if len(l) > 5 and l[5].startswith("/mshare:")))
    procs += 1
    tables += sum(int(l.split()[1]) << 10 for l in status.splitlines() if l.startswith("VmPTE"))
regions = int(open("/sys/kernel/mm/mshare/pgtable_bytes").read())
out = subprocess.run([mshare, "candidates", "--json", "--all", "--output-all"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout
mine = {int(p) for p in pids}
shared = sum(c["tables"] for c in json.loads(out)["candidates"] if mine & set(c["pids"]))
print(procs, areas, served, shared + regions, tables + regions)
END

has_ended() { [ ! -s "$cgroup/cgroup.procs" ] && rmdir "$cgroup"; }
# begin PROGRAM: in a cgroup of its own, the same addresses each time.
begin() {
	cgroup=/sys/fs/cgroup/$1
	rm -rf $dir/seen $dir/load
	mkdir -m 777 $dir/seen
	mkdir "$cgroup"
	"$1_prepare" >>$dir/load 2>&1
	(echo $BASHPID >"$cgroup/cgroup.procs" && "$1_start") >$dir/log 2>&1
	becomes "$1_up" >/dev/null && return
	sed 's/^/# /' $dir/log $dir/load
	return 1
}
end() {
	echo 1 >"$cgroup/cgroup.kill"
	wait
	becomes has_ended
	ipcrm --all
	rm -rf /dev/shm/* /tmp/*
}

# measure PROGRAM WORKERS
measure() {
	local name=$1 n=$2 way run ok start=$SECONDS version
	# A first run, for the files that it reads.
	run=(setarch -R)
	begin "$name"
	end
	version=$(dpkg-query -W -f '${Version}' "${package[$name]}")
	for way in mmap mshare; do
		run=(setarch -R)
		# shellcheck disable=SC2206 # words
		[ $way = mmap ] || run+=("$mshare" run -v ${options[$name]} --)
		ok=0
		begin "$name" && "${name}_load" >>$dir/load 2>&1 || ok=$?
		# Statistics of cgroups are put together every two seconds.
		sleep 3
		[ $ok = 0 ] || { echo "# $name, $way: failed: $ok"; sed 's/^/# /' $dir/load; }
		# shellcheck disable=SC2046,SC2086 # words
		printf '%s\t%s\t%d\t%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%s\n' "$name" "$version" "$n" $way \
			"${options[$name]:--}" $(python3 $dir/figures.py $mshare $(cat "$cgroup/cgroup.procs")) \
			"$(sed -n 's/^pgfault //p' "$cgroup/memory.stat")" \
			"$(sed -n 's/^.*mshare run: //p' $dir/log | sed 's/^.*remain.* ordinary.*: //; s/^.*\]: \([a-z_]*\): .* leaves.*/leaves: \1/' |
				grep -v 'are a region' | sort -u | paste -sd';')"
		end
	done
	echo "# $name: $((SECONDS - start)) s"
}

for arg; do
	name=${arg%=*}
	[ -n "${package[$name]:-}" ] || { echo "$0: there is no $name" >&2; exit 2; }
	n=${workers[$name]}
	[ "$name" = "$arg" ] || n=${arg#*=}
	measure "$name" "$n"
done
