# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# nginx, by its unit; sourced by recipes.sh.
cat >/etc/nginx/conf.d/zone.conf <<'END'
limit_req_zone $binary_remote_addr zone=one:32m rate=1000r/s;
server {
	listen 127.0.0.1:8080;
	location / {
		limit_req zone=one burst=100 nodelay;
		return 200 "hello from nginx\n";
	}
}
END

answers() { [ "$(curl -s http://127.0.0.1:8080/)" = "hello from nginx" ]; }
# The new master is there, and the old one is told to end.
upgrade() {
	local old
	old=$(cat /run/nginx.pid)
	kill -USR2 "$old"
	becomes test -s /run/nginx.pid.oldbin || return
	becomes test -s /run/nginx.pid || return
	kill -QUIT "$old"
	becomes test ! -e "/proc/$old"
}

check "nginx starts" start nginx
check "it answers" becomes answers
check "its memory is ordinary" ordinary nginx 2
step nginx use
check "it answers then" becomes answers
check "its memory is in a region" served nginx 2
check "which is listed" listed nginx 2
check "a reload" systemctl reload nginx
check "it answers after that" becomes answers
check "its memory is in a region after that" becomes served nginx 2
check "the program is replaced while it runs" upgrade
check "the new one answers" becomes answers
check "its memory is in a region, too" becomes served nginx 2
check "a restart" systemctl restart nginx
check "its memory is in a region again" becomes served nginx 2
step nginx undo
check "it answers without" becomes answers
check "its memory is ordinary without" becomes ordinary nginx 2
check "a stop" systemctl stop nginx
rm /etc/nginx/conf.d/zone.conf
