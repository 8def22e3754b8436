#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Does what mshare-services(7) says, in a guest whose first process is systemd and
# whose servers are Debian's (selftests/services/image), and sees that it works and
# that it can be undone.  Prints TAP.
#	recipes.sh DIR [NAME...]
# DIR has what make install has put there.  NAME is a script beside this one.
set -u
export LC_ALL=C
here=$(dirname "$(realpath "$0")")
dir=${1:?usage: recipes.sh DIR [NAME...]}
shift
page=man/man7/mshare-services.7

# shellcheck source=SCRIPTDIR/../lib/tap.sh disable=SC1091
. "$here/../lib/tap.sh"

# block NAME STEP: the commands that the page has there.
block() {
	sed -n "/^\.\\\\\" RECIPE $1 $2\$/,/^\.EE/p" "$page" | sed -e '/^\.\(\\"\|EX\|EE\)/d' -e 's/^\\&//' \
		-e "s/\\\\(aq/'/g" -e 's/\\(ga/`/g' -e 's/\\(ha/^/g' -e 's/\\(ti/~/g' -e 's/\\-/-/g' -e 's/\\e/\\/g'
}

# recipe NAME STEP: does so.
steps=()
recipe() {
	local text
	text=$(block "$1" "$2")
	[ -n "$text" ] || { echo "$page has no $1 $2"; return 1; }
	bash -e -c "$text"
}
step() {
	check "the recipe: $1, $2" recipe "$1" "$2"
	steps+=("$1 $2")
}
# Is there a recipe that nothing has run?
all_steps() { diff <(sed -n 's/^\.\\" RECIPE //p' "$page" | sort) <(printf '%s\n' "${steps[@]}" | sort -u); }

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

no_regions() { [ "$(cat /sys/kernel/mm/mshare/regions)" = 0 ]; }
# What the recipes have changed, they have put back.  The unit of PHP-FPM makes a link
# and podman a lock file.
etc_is_as_before() { diff -r --no-dereference -x php-fpm.sock -x cni.lock /run/etc /etc; }
start() { systemctl start "$1" || { journalctl -n 30 --no-pager -u "$1"; return 1; }; }

echo "TAP version 13"
check "systemd is the first process" grep -qx systemd /proc/1/comm
check "it has started" becomes systemctl is-active --quiet multi-user.target
cp -a "$dir/." /
ldconfig
cp -a /etc /run/etc
all=
[ $# -gt 0 ] || all=yes
[ $# -gt 0 ] || set -- units postgresql nginx apache uwsgi squid php-fpm kamailio podman nspawn
step file use
for name; do
	echo "# $name"
	# shellcheck disable=SC2154 # of tap.sh
	before=$failed
	# shellcheck disable=SC1090 # one of those beside this script
	. "$here/$name.sh"
	becomes no_regions >/dev/null
	check "$name: no region is left" no_regions
	[ "$failed" -eq "$before" ] || journalctl -b --no-pager -n 40 | sed 's/^/# journal: /'
done
step file see
step file undo
check "/etc is as before" etc_is_as_before
[ -z "$all" ] || check "each recipe of the page was run" all_steps
plan
