# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# Squid, which has nothing to gain: the page says why.  Sourced by recipes.sh.
cat >/etc/squid/conf.d/workers.conf <<'END'
workers 2
cache_mem 64 MB
visible_hostname services
END
mkdir -p /srv/www
echo "hello through Squid" >/srv/www/index.html
busybox httpd -p 127.0.0.1:8080 -h /srv/www

answers() { [ "$(curl -s -x http://127.0.0.1:3128 http://127.0.0.1:8080/)" = "hello through Squid" ]; }
drop_in=/etc/systemd/system/squid.service.d

check "Squid starts" start squid
check "it answers" becomes answers
check "its memory has a name" all_are squid named 3
mkdir -p $drop_in
printf '[Service]\nEnvironmentFile=/etc/default/mshare-run\n' >$drop_in/mshare.conf
systemctl daemon-reload
check "a restart with mshare run" systemctl restart squid
check "it answers then" becomes answers
check "its memory has a name all the same" all_are squid named 3
check "it has no region" no_regions
check "a stop" systemctl stop squid
rm -r $drop_in /etc/squid/conf.d/workers.conf /srv/www
systemctl daemon-reload
kill "$(pgrep -f 'busybox httpd')"
