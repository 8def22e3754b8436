# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# The recipes of mshare-services(7), and what the memory of a unit is, for scripts that
# run in a guest, at the top of the repository or a part of it; sourced.
page=man/man7/mshare-services.7

# block NAME STEP: the commands that the page has there.
block() {
	sed -n "/^\.\\\\\" RECIPE $1 $2\$/,/^\.EE/p" "$page" | sed -e '/^\.\(\\"\|EX\|EE\)/d' -e 's/^\\&//' \
		-e "s/\\\\(aq/'/g" -e 's/\\(ga/`/g' -e 's/\\(ha/^/g' -e 's/\\(ti/~/g' -e 's/\\-/-/g' -e 's/\\e/\\/g'
}

# recipe NAME STEP: does so.
recipe() {
	local text
	text=$(block "$1" "$2")
	[ -n "$text" ] || { echo "$page has no $1 $2"; return 1; }
	bash -e -c "$text"
}

# areas PID: what the large shared memory of a process is, one a line.
areas() {
	local range mode path
	while read -r range mode _ _ _ path; do
		[ $((0x${range#*-} - 0x${range%-*})) -ge $((16 << 20)) ] || continue
		case $mode:$path in
		rw-s:/mshare:*) echo region ;;
		rw-s:'/dev/zero (deleted)') echo ordinary ;;
		rw-s:/dev/shm/* | rw-s:/SYSV*) echo named ;;
		esac
	done <"/proc/$1/maps"
}

# pids UNIT: its processes.
pids() { find "/sys/fs/cgroup$(systemctl show -P ControlGroup "$1")" -name cgroup.procs -exec cat {} +; }

# all_are UNIT KIND N: at least N processes have large shared memory, which is all of that KIND.
all_are() {
	local pid kinds n=0
	for pid in $(pids "$1"); do
		kinds=$(areas "$pid" 2>/dev/null | sort -u)
		[ -n "$kinds" ] || continue
		[ "$kinds" = "$2" ] || { echo "process $pid, $(tr '\0' ' ' <"/proc/$pid/cmdline"): $kinds"; return 1; }
		n=$((n + 1))
	done
	[ "$n" -ge "$3" ] || { echo "only $n processes have such memory"; systemctl status --no-pager "$1"; return 1; }
}
served() { all_are "$1" region "$2"; }
ordinary() { all_are "$1" ordinary "$2"; }

# listed NAME N: mshare ls shows a region of that name, with so many attachments at least.
listed() {
	local attached
	attached=$(mshare ls -rno NAME,ATTACHED | awk -v name="$1" '$1 == name && $2 > n { n = $2 } END { print n + 0 }')
	[ "$attached" -ge "$2" ] || { mshare ls; return 1; }
}

# Page tables of the processes of a unit, and of all regions, in KiB.
tables() {
	local pid
	for pid in $(pids "$1"); do
		cat "/proc/$pid/status" 2>/dev/null
	done | awk -v regions="$(cat /sys/kernel/mm/mshare/pgtable_bytes)" \
		'/^VmPTE:/ { n += $2; p++ } END { print n + regions / 1024 " KiB in " p " processes" }'
}

# start UNIT: and says why not.
start() { systemctl start "$1" || { journalctl -n 30 --no-pager -u "$1"; return 1; }; }
