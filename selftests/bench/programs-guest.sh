#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Programs of Debian that share memory between a process and its children, without
# and with mshare run: prints a line for each,
#	PROGRAM VERSION WORKERS WAY SERVED PAGETABLES REGIONS FAULTS WHY
# by tabs: areas that are regions, bytes of page tables of the cgroup that the program
# has for itself, those of regions among them, page faults of the cgroup, and why
# something is not served.  Runs in the guest, from the top of the repository.
#	programs-guest.sh [PROGRAM...]
set -u
export LC_ALL=C
# shellcheck source=SCRIPTDIR/../lib/command.sh disable=SC1091
. selftests/lib/command.sh
# shellcheck source=SCRIPTDIR/../lib/tap.sh disable=SC1091
. selftests/lib/tap.sh
dir=/run/programs
mkdir -p $dir
chmod 755 $dir

# together NUMBER COMMAND...: so many at the same time.
together() {
	local n=$1 i
	shift
	for ((i = 0; i < n; i++)); do "$@" >/dev/null 2>>$dir/load & done
	wait
}
key() { sed -n "s/^$1 //p" "$cgroup/memory.stat"; }
has_ended() { [ ! -s "$cgroup/cgroup.procs" ] && rmdir "$cgroup"; }
# Areas of the first process that are regions; its children have the same.
count_served() {
	local pid n most=0
	while read -r pid; do
		n=$(grep -c ' /mshare:' "/proc/$pid/maps")
		[ "$n" -le "$most" ] || most=$n
	done <"$cgroup/cgroup.procs"
	echo "$most"
}

declare -A package=([php]=php8.2-fpm [python]=python3 [nginx]=nginx-light [apache]=apache2-bin [kamailio]=kamailio [uwsgi]=uwsgi-core [haproxy]=haproxy [postgresql]=postgresql-15)
declare -A option=([php]=--anywhere)
# ---- the programs: start_X begins with "${run[@]}", up_X tells when it can be used,
# load_X has each worker use the memory; $workers is how many there are.

start_php() {
	local i
	mkdir -p $dir/seen && rm -f $dir/seen/* && chmod 777 $dir/seen
	cat >$dir/fpm.conf <<-END
	[global]
	error_log = $dir/fpm.err
	[www]
	listen = $dir/fpm.sock
	user = nobody
	group = nogroup
	pm = static
	pm.max_children = $workers
	END
	# 64 MiB of compiled files, and as much of data.
	for ((i = 0; i < 64; i++)); do
		{ printf '<?php return "%s' $i && head -c 1000000 /dev/zero | tr '\0' x && printf '";'; } >$dir/$i.php
	done
	cat >$dir/fill.php <<-'END'
	<?php for ($i = 0; $i < 64; $i++) apcu_store("k$i", str_repeat(chr($i), 1000000));
	END
	cat >$dir/use.php <<-END
	<?php
	for (\$i = 0, \$n = 0; \$i < 64; \$i++) {
		\$n += crc32(include "$dir/\$i.php");
		\$n += crc32(apcu_fetch("k\$i"));
	}
	touch("$dir/seen/" . getmypid());
	for (\$t = 0; \$t < 600 && count(scandir("$dir/seen")) < $workers + 2; \$t++) usleep(100000);
	END
	"${run[@]}" php-fpm8.2 -n -F -y $dir/fpm.conf -d zend_extension=opcache -d extension=apcu \
		-d opcache.memory_consumption=256 -d apc.shm_size=256M -d memory_limit=1G -d opcache.validate_timestamps=0 &
}
php() { SCRIPT_FILENAME=$dir/$1.php REQUEST_METHOD=GET cgi-fcgi -bind -connect $dir/fpm.sock; }
up_php() { [ -S $dir/fpm.sock ]; }
load_php() {
	php fill >/dev/null
	together "$workers" php use
	[ "$(find $dir/seen -type f | wc -l)" = "$workers" ] || echo "some were not seen"
}

start_python() {
	cat >$dir/family.py <<-'END'
	import mmap, os, signal, sys
	m = mmap.mmap(-1, 64 << 20)
	m[::4096] = b"x" * (len(m) // 4096)
	for i in range(int(sys.argv[1])):
	    if os.fork() == 0:
	        if m[::4096].count(b"x") == len(m) // 4096:
	            open(sys.argv[2] + str(os.getpid()), "w")
	        signal.pause()
	signal.pause()
	END
	rm -f $dir/python-*
	"${run[@]}" python3 $dir/family.py "$workers" $dir/python- &
}
up_python() { [ "$(find $dir -name 'python-*' | wc -l)" = "$workers" ]; }
load_python() { :; }

start_nginx() {
	cat >$dir/nginx.conf <<-END
	worker_processes $workers; pid $dir/nginx.pid; error_log $dir/nginx.err; daemon off; events {}
	http { access_log off; limit_req_zone \$arg_k zone=k:64m rate=1000r/s;
	server { listen 8081; limit_req zone=k burst=1000; location / { return 204; } } }
	END
	"${run[@]}" nginx -c $dir/nginx.conf &
}
up_nginx() { ask 8081; }
ask() { (exec 3<>/dev/tcp/127.0.0.1/"$1") 2>/dev/null; }
load_nginx() {
	cat >$dir/keys.py <<-'END'
	import http.client, os
	c = http.client.HTTPConnection("127.0.0.1", 8081)
	for i in range(900):
	    c.request("GET", "/?k=%d" % (i * 100003 + os.getpid())); c.getresponse().read()
	END
	together "$workers" python3 $dir/keys.py
}

start_apache() {
	local m=/usr/lib/apache2/modules
	mkdir -p $dir/apache
	cat >$dir/apache.conf <<-END
	LoadModule mpm_prefork_module $m/mod_mpm_prefork.so
	LoadModule authz_core_module $m/mod_authz_core.so
	LoadModule socache_shmcb_module $m/mod_socache_shmcb.so
	LoadModule ssl_module $m/mod_ssl.so
	ServerRoot $dir/apache
	ServerName localhost
	PidFile $dir/apache/pid
	ErrorLog $dir/apache/err
	Listen 8082
	StartServers $workers
	User nobody
	Group nogroup
	SSLSessionCache shmcb:$dir/apache/cache(67000000)
	END
	"${run[@]}" apache2 -f $dir/apache.conf -DFOREGROUND &
}
up_apache() { ask 8082; }
load_apache() { sleep 3; }

start_kamailio() {
	cat >$dir/kamailio.cfg <<-END
	children=$workers
	listen=udp:127.0.0.1:5060
	loadmodule "/usr/lib/x86_64-linux-gnu/kamailio/modules/htable.so"
	modparam("htable", "htable", "a=>size=16;")
	request_route { drop; }
	END
	"${run[@]}" kamailio -DD -E -f $dir/kamailio.cfg -m 256 -M 8 &
}
up_kamailio() { [ "$(wc -l <"$cgroup/cgroup.procs")" -gt "$workers" ]; }
load_kamailio() { sleep 5; }

start_uwsgi() {
	cat >$dir/app.py <<-END
	import os, time, uwsgi
	def application(env, start):
	    for i in range(64): uwsgi.sharedarea_read(0, i << 20, 1 << 20)
	    open("$dir/uwsgi-%d" % os.getpid(), "w")
	    for i in range(600):
	        if len([f for f in os.listdir("$dir") if f.startswith("uwsgi-")]) >= $workers: break
	        time.sleep(0.1)
	    start("200 OK", [])
	    return [b"ok"]
	END
	rm -f $dir/uwsgi-*
	"${run[@]}" uwsgi --plugin python3 --master --processes "$workers" --sharedarea 16384 \
		--http-socket 127.0.0.1:8083 --wsgi-file $dir/app.py &
}
up_uwsgi() { ask 8083; }
load_uwsgi() { together "$workers" python3 -c 'import urllib.request as u; u.urlopen("http://127.0.0.1:8083/").read()'; }

start_haproxy() {
	cat >$dir/haproxy.cfg <<-END
	defaults
	  mode http
	  timeout client 1s
	  timeout connect 1s
	  timeout server 1s
	cache c
	  total-max-size 64
	frontend f
	  bind 127.0.0.1:8084
	  http-request cache-use c
	END
	"${run[@]}" haproxy -W -f $dir/haproxy.cfg &
}
up_haproxy() { ask 8084; }
load_haproxy() { :; }

start_postgresql() {
	local bin=/usr/lib/postgresql/15/bin pg=$dir/pg
	rm -rf $pg
	mkdir $pg
	chown nobody $pg
	setpriv --reuid nobody --regid nogroup --clear-groups $bin/initdb -A trust -U postgres -N -D $pg >/dev/null
	"${run[@]}" setpriv --reuid nobody --regid nogroup --clear-groups $bin/postgres -D $pg -k $dir/pg \
		-c shared_buffers=256MB -c listen_addresses= -c jit=off -c max_parallel_workers_per_gather=0 \
		-c huge_pages=off &
}
psql() { command psql -X -q -A -t -h $dir/pg -U postgres postgres -c "$1"; }
up_postgresql() { psql 'SELECT 1'; }
load_postgresql() {
	psql "CREATE TABLE t AS SELECT repeat('x', 1000) FROM generate_series(1, 60000)"
	psql 'CREATE EXTENSION pg_prewarm' && psql "SELECT pg_prewarm('t', 'buffer')"
	# The connections stay until all have read it.
	together "$workers" psql 'SET enable_seqscan = on; SELECT count(*) FROM t; SELECT pg_sleep(8)' &
	sleep 7
}

# ----

# measure PROGRAM WORKERS
measure() {
	local name=$1 workers=$2 way run
	for way in mmap mshare; do
		run=()
		[ $way = mmap ] || run=("$mshare" run -v "${option[$name]:--q}" --)
		cgroup=/sys/fs/cgroup/$name-$workers-$way
		mkdir "$cgroup"
		(echo $BASHPID >"$cgroup/cgroup.procs" && "start_$name") >$dir/log 2>&1
		becomes "up_$name" || sed 's/^/# /' $dir/log
		"load_$name" >>$dir/load 2>&1
		# Statistics of cgroups are put together every two seconds.
		sleep 3
		printf '%s\t%s\t%d\t%s\t%d\t%d\t%d\t%d\t%s\n' "$name" "$(dpkg-query -W -f '${Version}' "${package[$name]}")" \
			"$workers" $way "$(count_served)" "$(key pagetables)" \
			"$("$mshare" ls -brno PGTABLES | awk '{ n += $1 } END { print n }')" "$(key pgfault)" \
			"$(sed -n 's/.*remain.* ordinary.*: //p' $dir/log | sort -u | paste -sd,)"
		echo 1 >"$cgroup/cgroup.kill"
		wait
		becomes has_ended
	done
}

[ $# != 0 ] || set -- php postgresql kamailio uwsgi nginx apache haproxy python
for program; do
	[ "$program" != php ] || measure php 1
	measure "$program" 20
done
