#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# What selftests/image/check does in its machine, as root, at the top of the disk that it
# has brought; prints TAP.
#	stage.sh STAGE OURS THEIRS	OURS, THEIRS: uname -r of the two kernels
# The stages, each after a boot of its own:
#	new	our kernel, for the first time: the machine, the tests, the recipes
#	again	our kernel: the services come with their regions; then for Debian's
#	theirs	Debian's kernel: they come without; everything of ours is removed
#	after	Debian's kernel, of which GRUB knows nothing else
set -u
export LC_ALL=C
[ $# -eq 3 ] || { echo "usage: stage.sh STAGE OURS THEIRS" >&2; exit 2; }
stage=$1 ours=$2 theirs=$3
# shellcheck source=SCRIPTDIR/../lib/tap.sh disable=SC1091
. selftests/lib/tap.sh
# shellcheck source=SCRIPTDIR/../lib/core.sh disable=SC1091
. selftests/lib/core.sh
# shellcheck source=SCRIPTDIR/../services/lib.sh disable=SC1091
. selftests/services/lib.sh
# shellcheck source=SCRIPTDIR/../services/database.sh disable=SC1091
. selftests/services/database.sh
log=/var/log/postgresql/postgresql-15-main.log
unit=postgresql@15-main
opcache=/etc/php/8.2/fpm/conf.d/99-size.ini
remains='shared memory remains ordinary: the kernel has no regions'

runs() { [ "$(uname -r)" = "$1" ]; }
# A unit that has failed makes it "degraded".
healthy() {
	local state
	state=$(timeout 600 systemctl is-system-running --wait)
	[ "$state" = running ] || { echo "$state"; systemctl --failed --no-legend; return 1; }
}
confined() { grep -qx Y /sys/module/apparmor/parameters/enabled && aa-enabled; }
packages() { dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' 'linux-*mshare*' 'mshare-*' 'libmshare*' 2>/dev/null | sed -n 's/^ii *//p'; }
all_packages() { diff <(printf '%s\n' libmshare-dev libmshare1 "linux-headers-$ours" "linux-image-$ours" mshare-tests mshare-tools) <(packages | sort); }
as_user() { runuser -u nobody -- "$@"; }

# The server ends all others, and begins anew.
kill_backend() {
	runuser -u postgres -- psql -X -q -c 'SELECT pg_sleep(600)' >/dev/null 2>&1 &
	becomes sleeping || return
	kill -KILL "$(sleeper)" || return
	wait $!
	becomes grep -q 'all server processes terminated; reinitializing' "$log"
}
sleeper() { sql "SELECT pid FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(6%'"; }
sleeping() { [ -n "$(sleeper)" ]; }
rotate() { logrotate --force /etc/logrotate.d/postgresql-common && [ -e "$log.1" ]; }
# The lines with which the library has reported since the server has begun.
lines() { cat "$log" "$log.1" 2>/dev/null | grep -c "postgres\[[0-9]*\]: $remains\$"; }
one_line() { [ "$(lines)" = 1 ] || { tail -n 20 "$log"; return 1; }; }

# What PHP-FPM's unit has written since the machine has started.
journal() { journalctl -b -u php8.2-fpm -o cat; }
journal_line() { [ "$(journal | grep -c "php-fpm8\.2\[[0-9]*\]: $remains\$")" = 1 ] || { journal; return 1; }; }

php() {
	SCRIPT_FILENAME=/srv/php/n.php REQUEST_METHOD=GET cgi-fcgi -bind -connect /run/php/php8.2-fpm.sock |
		tr -d '\r' | grep -qx 'cached: 256'
}
php_prepare() {
	echo 'opcache.memory_consumption = 256' >$opcache
	mkdir -p /srv/php
	cat >/srv/php/n.php <<-'END'
	<?php
	echo opcache_get_status(false)["opcache_enabled"] ? "cached" : "not cached", ": ",
		ini_get("opcache.memory_consumption"), "\n";
	END
	systemctl restart php8.2-fpm
}
both_served() { served $unit 5 && served php8.2-fpm 3; }
both_ordinary() { ordinary $unit 5 && ordinary php8.2-fpm 3; }

# For the next boot only; by the names that README gives for GRUB_DEFAULT.
choose() { grub-reboot "Advanced options for Debian GNU/Linux>Debian GNU/Linux, with Linux $1"; }
in_menu() { grep -q "gnulinux-$1-advanced-" /boot/grub/grub.cfg; }
first_in_menu() { sed -n 's/^\tlinux\t\/boot\/vmlinuz-\([^ ]*\) .*/\1/p' /boot/grub/grub.cfg | head -n 1 | grep -qxF "$1"; }
purge() {
	DEBIAN_FRONTEND=noninteractive apt-get -qq -y purge "linux-image-$ours" "linux-headers-$ours" mshare-tests mshare-tools libmshare-dev libmshare1
}
# Nor does the boot loader know it.
nothing_left() {
	local left
	left=$(find /boot /lib/modules /usr -name '*mshare*'; packages; grep -n mshare /boot/grub/grub.cfg)
	[ -z "$left" ] || { echo "$left"; return 1; }
}

echo "TAP version 13"
case $stage in
new)
	check "our kernel runs, which GRUB prefers" runs "$ours"
	check "the machine has started, without a failed unit" healthy
	check "AppArmor is on" confined
	check "all packages are installed" all_packages
	check "Debian's kernel is beside it" test -e "/boot/vmlinuz-$theirs"
	check "both are in the menu" eval "in_menu $ours && in_menu $theirs"
	check "mshare check" mshare check
	check "mshare check as a user" as_user mshare check
	check "mshare ls" mshare ls
	check "mshare ls as a user" as_user mshare ls
	check "mshare candidates" mshare candidates
	check "the core tests" core
	check "PostgreSQL answers" becomes answers
	check "its memory is ordinary" ordinary $unit 5
	check "the recipe: file, use" recipe file use
	check "the recipe: postgresql, use" recipe postgresql use
	check "PostgreSQL answers then" becomes answers
	check "its memory is in a region" becomes served $unit 5
	check "which is listed" listed postgres 5
	check "it works" work
	check "a backend is killed" kill_backend
	check "it has kept its data" becomes same
	check "its memory is in a region then" becomes served $unit 5
	check "logrotate" rotate
	check "it answers after that" same
	check "a restart" systemctl restart $unit
	check "it has kept its data then" becomes same
	check "its memory is in a region again" becomes served $unit 5
	check "PHP-FPM with OPcache" php_prepare
	check "it answers" becomes php
	check "the recipe: php-fpm, use" recipe php-fpm use
	check "it answers then" becomes php
	check "its memory is in a region then" becomes served php8.2-fpm 3
	;;
again)
	check "our kernel runs" runs "$ours"
	check "the machine has started, without a failed unit" healthy
	check "the services have their regions" becomes both_served
	check "PostgreSQL has kept its data" becomes same
	check "PHP-FPM answers" becomes php
	check "GRUB is to boot Debian's kernel" choose "$theirs"
	check "logrotate" rotate
	;;
theirs)
	check "Debian's kernel runs" runs "$theirs"
	check "the machine has started, without a failed unit" healthy
	check "the services have ordinary memory" becomes both_ordinary
	check "PostgreSQL has kept its data" becomes same
	check "one line in its log says why" one_line
	check "PHP-FPM answers" becomes php
	check "one line in its journal says why" journal_line
	check "mshare check says that it is the kernel" eval '! mshare check'
	check "mshare candidates finds PostgreSQL" eval 'mshare candidates | grep postgres'
	check "the recipe: postgresql, undo" recipe postgresql undo
	check "the recipe: php-fpm, undo" recipe php-fpm undo
	check "the recipe: file, undo" recipe file undo
	check "apt removes all" purge
	check "nothing is left" nothing_left
	check "GRUB boots Debian's kernel from now on" first_in_menu "$theirs"
	;;
after)
	check "Debian's kernel runs" runs "$theirs"
	check "the machine has started, without a failed unit" healthy
	check "PostgreSQL has kept its data" becomes same
	check "PHP-FPM answers" becomes php
	;;
*)
	echo "stage.sh: there is no stage '$stage'" >&2
	exit 2
	;;
esac
plan
