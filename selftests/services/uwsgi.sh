# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# uWSGI, by the script of its package; sourced by recipes.sh.
mkdir -p /srv/app
cat >/srv/app/app.py <<'END'
import uwsgi

def application(environ, start_response):
    n = int(uwsgi.cache_get('n') or 0) + 1
    uwsgi.cache_update('n', str(n).encode())
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'%d\n' % n]
END
cat >/etc/uwsgi/apps-enabled/app.ini <<'END'
[uwsgi]
plugins = python3
http-socket = 127.0.0.1:8080
wsgi-file = /srv/app/app.py
processes = 4
cache2 = name=counter,items=1000,blocksize=32768
END

# The next number, whichever process gives it.
answer() { curl -s http://127.0.0.1:8080/; }
counts_on() {
	for _ in {1..20}; do
		answer
	done | sort -n | uniq | wc -l | grep -qx 20
}

check "uWSGI starts" start uwsgi
check "it answers" becomes answer
check "its processes count together" counts_on
check "its memory is ordinary" ordinary uwsgi 4
step uwsgi use
check "it answers then" becomes answer
check "its memory is in a region" served uwsgi 4
check "which is listed" listed uwsgi 4
check "its processes count together then" counts_on
check "a reload" systemctl reload uwsgi
check "it answers after that" becomes answer
check "its memory is in a region after that" becomes served uwsgi 4
check "a restart" systemctl restart uwsgi
check "its memory is in a region again" becomes served uwsgi 4
step uwsgi undo
check "it answers without" becomes answer
check "its memory is ordinary without" becomes ordinary uwsgi 4
check "a stop" systemctl stop uwsgi
rm -r /etc/uwsgi/apps-enabled/app.ini /srv/app
