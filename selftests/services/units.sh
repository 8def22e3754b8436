# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# Any unit, and what its settings do; sourced by recipes.sh.

# Shares memory with a child, and says whether it is a region.
probe='
import mmap, os
m = mmap.mmap(-1, 64 << 20)
if os.fork() == 0:
    for i in range(0, 64 << 20, 4096):
        m[i] = 1
    os._exit(0)
if os.wait()[1] == 0 and m[63 << 20] == 1:
    print("region" if "/mshare:" in open("/proc/self/maps").read() else "ordinary")
'
mkdir -p /run/systemd/system
cat >/run/systemd/system/example.service <<END
[Service]
ExecStart=/usr/bin/python3 -c 'import mmap, time; m = mmap.mmap(-1, 64 << 20); time.sleep(100000)'
END
systemctl daemon-reload

check "the unit starts" start example
check "its memory is ordinary" becomes ordinary example 1
step unit use
check "its memory is in a region" becomes served example 1
check "which is listed" listed python3 1
echo 0 >/sys/kernel/mm/mshare/enabled
check "a restart while regions are disabled" systemctl restart example
check "its memory is ordinary then" becomes ordinary example 1
echo 1 >/sys/kernel/mm/mshare/enabled
step unit undo
check "its memory is ordinary without" becomes ordinary example 1
step filtered use
check "its memory is in a region by the other way, too" becomes served example 1
step unit undo
check "its memory is ordinary once more" becomes ordinary example 1
check "a stop" systemctl stop example
rm /run/systemd/system/example.service
systemctl daemon-reload

# preloads ARGUMENT...: does a unit with a library of its own still load it?
preloads() { systemd-run --quiet --wait --pipe -p Environment=LD_PRELOAD=libutil.so.1 "$@" grep -q libutil.so.1 /proc/self/maps; }
loses() { preloads "$@"; [ $? -eq 1 ]; }
check "a library that a unit preloads" preloads
check "the file takes its place" loses -p EnvironmentFile=/etc/default/mshare-run
check "mshare run keeps it" preloads -- mshare run --filtered

# measure SETTINGS [COMMAND...]: how the probe ends in a unit with these settings, and
# with the variables or COMMAND in front of it.
measure() {
	local setting out options=()
	[ $# -gt 1 ] || options=(-p EnvironmentFile=/etc/default/mshare-run)
	while IFS= read -r setting; do
		options+=(-p "$setting")
	done <<<"${1//, /$'\n'}"
	shift
	out=$(systemd-run --quiet --wait --pipe "${options[@]}" -- "$@" /usr/bin/python3 -c "$probe" 2>/dev/null </dev/null)
	case $?:$out in
	125: | 203:) echo "does not start" ;;
	*:) echo killed ;;
	*) echo "$out" ;;
	esac
}
measures() {
	local got
	got=$(measure "$1" "${@:3}")
	[ "$got" = "$2" ] || { echo "$got"; return 1; }
}
rows=0
# shellcheck disable=SC2154 # page is of recipes.sh
while IFS=$'\t' read -r settings plain filtered; do
	rows=$((rows + 1))
	check "$settings: $plain" measures "$settings" "$plain"
	check "$settings, mshare run --filtered: $filtered" measures "$settings" "$filtered" mshare run --filtered
done < <(sed -n '/^\.\\" TABLE units$/,/^\.TE/p' "$page" | sed '1,/^_$/d; /^\.TE/d; s/\\-/-/g; s/\\(ti/~/g')
check "the page has a table" test "$rows" -gt 10
