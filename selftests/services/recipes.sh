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

# shellcheck source=SCRIPTDIR/../lib/tap.sh disable=SC1091
. "$here/../lib/tap.sh"
# shellcheck source=SCRIPTDIR/lib.sh disable=SC1091
. "$here/lib.sh"

steps=()
step() {
	check "the recipe: $1, $2" recipe "$1" "$2"
	steps+=("$1 $2")
}
# Is there a recipe that nothing has run?
all_steps() { diff <(sed -n 's/^\.\\" RECIPE //p' "$page" | sort) <(printf '%s\n' "${steps[@]}" | sort -u); }

no_regions() { [ "$(cat /sys/kernel/mm/mshare/regions)" = 0 ]; }
# What the recipes have changed, they have put back.  The unit of PHP-FPM makes a link
# and podman a lock file.
etc_is_as_before() { diff -r --no-dereference -x php-fpm.sock -x cni.lock /run/etc /etc; }

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
