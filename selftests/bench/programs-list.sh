# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# The programs of programs-guest.sh, which sources this.
# shellcheck disable=SC2154,SC2317 # its variables, and functions that it calls by name
dir=/run/programs

# folder NAME USER: an empty folder in /run that belongs to the user.
folder() { rm -rf "/run/${1:?}" && mkdir "/run/$1" && chown "$2" "/run/$1"; }

program php php8.2-fpm 20 --anywhere
php_files() {
	local i
	# 64 MiB of compiled files, and as much of data.
	for ((i = 0; i < 64; i++)); do
		[ ! -e $dir/$i.php ] || continue
		{ printf '<?php return "%s' $i && head -c 1000000 /dev/zero | tr '\0' x && printf '";'; } >$dir/$i.php
		# New files are not cached.
		touch -d '1 hour ago' $dir/$i.php
	done
	cat >$dir/fill.php <<-END
	<?php
	for (\$i = 0; \$i < 64; \$i++) include "$dir/\$i.php";
	if (function_exists("apcu_store"))
		for (\$i = 0; \$i < 640; \$i++) apcu_store("k\$i", str_repeat("x", 100000));
	END
	cat >$dir/use.php <<-END
	<?php
	for (\$i = 0, \$n = 0; \$i < 64; \$i++) {
		\$s = include "$dir/\$i.php";
		for (\$j = 0; \$j < 1000000; \$j += 4096) \$n += ord(\$s[\$j]);
	}
	if (function_exists("apcu_fetch"))
		for (\$i = 0; \$i < 640; \$i++) \$n += strlen(apcu_fetch("k\$i"));
	touch("$dir/seen/" . getmypid());
	for (\$t = 0; \$t < 600 && count(scandir("$dir/seen")) < $n + 2; \$t++) usleep(100000);
	END
}
php_prepare() {
	php_files
	rm -f $dir/fpm.sock
	cat >$dir/fpm.conf <<-END
	[global]
	error_log = $dir/fpm.err
	[www]
	listen = $dir/fpm.sock
	user = nobody
	group = nogroup
	pm = static
	pm.max_children = $n
	END
}
php_start() {
	"${run[@]}" php-fpm8.2 -n -F -y $dir/fpm.conf -d zend_extension=opcache -d extension=apcu \
		-d opcache.memory_consumption=256 -d apc.shm_size=256M -d memory_limit=1G -d opcache.validate_timestamps=0 &
}
php_get() { SCRIPT_FILENAME=$dir/$1.php REQUEST_METHOD=GET cgi-fcgi -bind -connect $dir/fpm.sock; }
php_up() { [ -S $dir/fpm.sock ]; }
php_load() { php_get fill && together "$n" php_get use && saw "$n"; }

# The configuration of the package, with OPcache of 128 MiB.
program apache apache2-bin 20 --anywhere
apache_prepare() {
	php_files
	ln -sf $dir/{fill,use}.php /var/www/html/
	mkdir -p /run/lock
}
apache_start() {
	# shellcheck disable=SC1091 # the package's
	(set +u; . /etc/apache2/envvars && mkdir -p "$APACHE_RUN_DIR" "$APACHE_LOCK_DIR" && exec "${run[@]}" apache2 \
		-DFOREGROUND -c "StartServers $n" -c "MaxSpareServers $n" -c "ServerName localhost" -c "php_admin_value memory_limit 1G") &
}
apache_up() { listens 80; }
apache_load() { web 80 /fill.php && together "$n" web 80 /use.php && saw "$n"; }

program postgresql postgresql-15 20
postgresql_prepare() {
	rm -rf $dir/pg
	cp -a /var/lib/postgresql/15/main $dir/pg
	folder postgresql postgres
}
postgresql_start() {
	"${run[@]}" setpriv --reuid postgres --regid postgres --clear-groups /usr/lib/postgresql/15/bin/postgres -D $dir/pg \
		-c config_file=/etc/postgresql/15/main/postgresql.conf -c data_directory=$dir/pg -c ssl=off \
		-c shared_buffers=256MB -c fsync=off -c jit=off -c max_parallel_workers_per_gather=0 -c autovacuum=off &
}
psql() { as postgres psql -X -q -A -t postgres "${@/#/--command=}"; }
postgresql_up() { psql 'SELECT 1'; }
postgresql_load() {
	local i
	psql "CREATE TABLE t AS SELECT repeat('x', 1000) FROM generate_series(1, 60000)" &&
		psql 'CREATE EXTENSION pg_prewarm' && psql "SELECT pg_prewarm('t', 'buffer')" || return
	# The connections stay.
	for ((i = 0; i < n; i++)); do
		psql 'SELECT count(*) FROM t' "\\! touch $dir/seen/$i" 'SELECT pg_sleep(1000)' &
	done
	becomes saw "$n"
}

# Each of the workers puts whole requests, which are large, into a table.
program kamailio kamailio 20
kamailio_prepare() {
	cat >$dir/kamailio.cfg <<-END
	children=$n
	listen=udp:127.0.0.1:5060
	loadmodule "pv.so"
	loadmodule "sl.so"
	loadmodule "htable.so"
	modparam("htable", "htable", "a=>size=14;")
	request_route { \$sht(a=>\$ci) = \$mb; sl_send_reply("200", "OK"); }
	END
}
kamailio_start() { "${run[@]}" kamailio -DD -E -f $dir/kamailio.cfg -m 256 -M 8 & }
kamailio_up() { [ "$(wc -l <"$cgroup/cgroup.procs")" -gt "$n" ]; }
kamailio_load() {
	sleep 2
	python3 - <<-'END'
	import socket
	s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
	s.bind(("127.0.0.1", 0))
	s.settimeout(30)
	for i in range(2500):
	    lines = ['OPTIONS sip:127.0.0.1 SIP/2.0', 'Via: SIP/2.0/UDP 127.0.0.1:%d;branch=z9hG4bK%d' % (s.getsockname()[1], i),
	             'Max-Forwards: 70', 'From: <sip:a@127.0.0.1>;tag=1', 'To: <sip:127.0.0.1>', 'Call-ID: %d' % i,
	             'CSeq: 1 OPTIONS', 'X: ' + 'x' * 10000, 'Content-Length: 0', '', '']
	    s.sendto('\r\n'.join(lines).encode(), ('127.0.0.1', 5060))
	    # As many at a time as there are workers.
	    if i >= 20: s.recv(4096)
	END
}

program uwsgi uwsgi-core 20
uwsgi_prepare() {
	cat >$dir/app.py <<-END
	import os, time, uwsgi
	def application(env, start):
	    for i in range(0, 64 << 20, 4096): uwsgi.sharedarea_read(0, i, 1)
	    open("$dir/seen/%d" % os.getpid(), "w")
	    for i in range(600):
	        if len(os.listdir("$dir/seen")) >= $n: break
	        time.sleep(0.1)
	    start("200 OK", [])
	    return [b"ok"]
	END
}
uwsgi_start() {
	"${run[@]}" uwsgi-core --plugin python3 --master --processes "$n" --sharedarea 16384 \
		--http-socket 127.0.0.1:8083 --wsgi-file $dir/app.py &
}
uwsgi_up() { listens 8083; }
uwsgi_load() { together "$n" web 8083 / && saw "$n"; }

# A limit of requests for each of some keys, which are as long as allowed.
program nginx nginx-light 20
nginx_prepare() {
	cat >$dir/nginx.conf <<-END
	worker_processes $n; pid $dir/nginx.pid; error_log $dir/nginx.err; daemon off; user www-data;
	events { worker_connections 256; }
	http { access_log off; limit_req_zone \$arg_k zone=k:64m rate=1000r/s;
	keepalive_requests 10000; large_client_header_buffers 4 32k;
	server { listen 127.0.0.1:8081 reuseport; limit_req zone=k nodelay burst=10; location / { root $dir/none; } } }
	END
	cat >$dir/keys.py <<-'END'
	import socket
	socks = [socket.create_connection(("127.0.0.1", 8081)) for i in range(200)]
	for i in range(1600):
	    s = socks[i % 200]
	    s.sendall(b"GET /?k=%s HTTP/1.1\r\nHost: x\r\n\r\n" % (b"%08d" % i * 3750))
	    assert b"404" in s.recv(65536)
	END
}
nginx_start() { "${run[@]}" nginx -c $dir/nginx.conf -e $dir/nginx.err & }
nginx_up() { listens 8081; }
nginx_load() { python3 $dir/keys.py; }

program haproxy haproxy 1
haproxy_prepare() {
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
}
haproxy_start() { "${run[@]}" haproxy -W -f $dir/haproxy.cfg & }
haproxy_up() { listens 8084; }

# A proxy that is asked (1).  One that connects would do so here to itself, more often the
# longer it runs.  The database is made when it is started for the first time.
program zabbix zabbix-proxy-sqlite3 20
zabbix_prepare() {
	cat >$dir/zabbix.conf <<-END
	ProxyMode=1
	Server=127.0.0.1
	Hostname=x
	DBName=$dir/zabbix.db
	LogType=console
	AllowRoot=1
	ListenIP=127.0.0.1
	StartPollers=$n
	CacheSize=64M
	HistoryCacheSize=64M
	SocketDir=$dir
	PidFile=$dir/zabbix.pid
	END
}
zabbix_start() { "${run[@]}" zabbix_proxy -f -c $dir/zabbix.conf & }
zabbix_up() { [ "$(wc -l <"$cgroup/cgroup.procs")" -gt $((n + 20)) ] && listens 10051; }
zabbix_load() { sleep 10; }

program pgpool pgpool2 20
pgpool_prepare() {
	folder postgresql postgres
	cat >$dir/pgpool.conf <<-END
	backend_clustering_mode = 'raw'
	backend_hostname0 = '127.0.0.1'
	backend_port0 = 5432
	listen_addresses = '127.0.0.1'
	port = 5433
	num_init_children = $n
	memory_cache_enabled = on
	memqcache_method = 'shmem'
	memqcache_total_size = 64MB
	pid_file_name = '/run/postgresql/pgpool.pid'
	logdir = '/tmp'
	socket_dir = '/run/postgresql'
	pool_passwd = ''
	pcp_socket_dir = '/run/postgresql'
	wd_ipc_socket_dir = '/run/postgresql'
	END
	: >$dir/pcp.conf
	: >$dir/pool_hba.conf
}
pgpool_start() {
	"${run[@]}" setpriv --reuid postgres --regid postgres --clear-groups pgpool -n -f $dir/pgpool.conf \
		-F $dir/pcp.conf -a $dir/pool_hba.conf &
}
pgpool_up() { listens 5433; }

# Objects of 300 kB, requested through workers that take the connections as they can.
program squid squid 4 --files
squid_prepare() {
	local i
	folder squid proxy
	mkdir -p $dir/www
	for ((i = 0; i < 160; i++)); do
		head -c 300000 /dev/zero | tr '\0' "x" >$dir/www/$i
	done
	if ! listens 8085; then
		python3 -m http.server --directory $dir/www --bind 127.0.0.1 8085 >/dev/null 2>&1 &
		disown
		becomes listens 8085
	fi
	cat >$dir/squid.conf <<-END
	workers $n
	http_port 127.0.0.1:3128
	visible_hostname localhost
	cache_mem 64 MB
	http_access allow all
	access_log none
	pid_filename /run/squid/squid.pid
	refresh_pattern . 1000 100% 1000 ignore-reload override-expire
	END
}
squid_start() { "${run[@]}" squid --foreground -f $dir/squid.conf & }
squid_up() { listens 3128 && [ "$(wc -l <"$cgroup/cgroup.procs")" -gt $((n + 1)) ]; }
squid_load() {
	cat >$dir/proxy.py <<-'END'
	import http.client
	for i in range(480):
	    c = http.client.HTTPConnection("127.0.0.1", 3128)
	    c.request("GET", "http://127.0.0.1:8085/%d" % (i % 160))
	    assert len(c.getresponse().read()) == 300000
	END
	sleep 3
	python3 $dir/proxy.py
}

program varnish varnish 4 --files
varnish_prepare() {
	mkdir -p $dir/varnish
	printf 'vcl 4.0;\nbackend default none;\nsub vcl_recv { return (synth(200)); }\n' >$dir/x.vcl
}
varnish_start() {
	"${run[@]}" varnishd -j none -F -n $dir/varnish -a 127.0.0.1:8086 -f $dir/x.vcl -s malloc,64m -l 64m &
}
varnish_up() { listens 8086; }
varnish_load() {
	local i
	for ((i = 0; i < n; i++)); do
		inside "${run[@]}" varnishlog -n $dir/varnish >/dev/null &
	done
	python3 - <<-'END'
	import socket
	s = socket.create_connection(("127.0.0.1", 8086))
	f = s.makefile("rb")
	for i in range(5000):
	    s.sendall(b"GET /%s HTTP/1.1\r\nHost: x\r\n\r\n" % (b"x" * 1000))
	    n = 0
	    while (l := f.readline().strip()):
	        if l.lower().startswith(b"content-length:"): n = int(l.split(b":")[1])
	    f.read(n)
	END
}

program python_mmap python3-minimal 20
python_mmap_prepare() {
	cat >$dir/family.py <<-'END'
	import mmap, os, signal, sys
	m = mmap.mmap(-1, 64 << 20)
	m[::4096] = b"x" * (len(m) // 4096)
	for i in range(int(sys.argv[1])):
	    if os.fork() == 0:
	        if m[::4096].count(b"x") == len(m) // 4096:
	            open(sys.argv[2] + "/" + str(os.getpid()), "w")
	        signal.pause()
	signal.pause()
	END
}
python_mmap_start() { "${run[@]}" python3 $dir/family.py "$n" $dir/seen & }

# A multiprocessing array is a file.
program python_array libpython3-stdlib 20 --files
python_array_prepare() {
	cat >$dir/array.py <<-'END'
	import ctypes, multiprocessing, os, signal, sys
	array = multiprocessing.RawArray(ctypes.c_ubyte, 64 << 20)
	def work():
	    if sum(array[::4096]) == 0:
	        open(sys.argv[2] + "/" + str(os.getpid()), "w")
	    signal.pause()
	for i in range(int(sys.argv[1])):
	    multiprocessing.Process(target=work).start()
	signal.pause()
	END
}
python_array_start() { "${run[@]}" python3 $dir/array.py "$n" $dir/seen & }

program perl_map libfile-map-perl 20
perl_map_prepare() {
	cat >$dir/map.pl <<-'END'
	use File::Map "map_anonymous";
	map_anonymous my $m, 64 << 20, "shared";
	for (1 .. $ARGV[0]) {
		next if fork;
		my $n = 0;
		for (my $i = 0; $i < 64 << 20; $i += 4096) { $n += ord substr $m, $i, 1 }
		open my $f, ">", "$ARGV[1]/$$";
		close $f;
		sleep 1000;
	}
	sleep 1000;
	END
}
perl_map_start() { "${run[@]}" perl $dir/map.pl "$n" $dir/seen & }

program perl_fastmmap libcache-fastmmap-perl 20 --files
perl_fastmmap_prepare() {
	cat >$dir/cache.pl <<-'END'
	use Cache::FastMmap;
	my $c = Cache::FastMmap->new(share_file => "$ARGV[1].cache", init_file => 1, raw_values => 1, cache_size => "64m");
	$c->set("k$_", "x" x 4000) for 1 .. 12000;
	for (1 .. $ARGV[0]) {
		next if fork;
		$c->get("k$_") for 1 .. 12000;
		open my $f, ">", "$ARGV[1]/$$";
		close $f;
		sleep 1000;
	}
	sleep 1000;
	END
}
perl_fastmmap_start() { "${run[@]}" perl $dir/cache.pl "$n" $dir/seen & }

program openmpi openmpi-bin 4 --files
openmpi_prepare() {
	cat >$dir/mpi.py <<-'END'
	import os, signal, sys
	from mpi4py import MPI
	comm = MPI.COMM_WORLD
	win = MPI.Win.Allocate_shared((64 << 20) if comm.rank == 0 else 0, 1, comm=comm)
	m = memoryview(win.Shared_query(0)[0]).cast("B")
	if comm.rank == 0:
	    for i in range(0, 64 << 20, 4096): m[i] = 1
	comm.Barrier()
	if sum(m[::4096]) == 16384:
	    open(sys.argv[1] + "/" + str(os.getpid()), "w")
	signal.pause()
	END
}
openmpi_start() {
	"${run[@]}" mpirun --allow-run-as-root --oversubscribe --bind-to none -n "$n" --mca plm isolated \
		--mca btl self,vader --mca mpi_yield_when_idle 1 python3 $dir/mpi.py $dir/seen &
}

# Unrelated processes.
program lmdb python3-lmdb 8 --files
lmdb_prepare() {
	[ ! -d $dir/lmdb ] || return 0
	python3 - $dir/lmdb <<-'END'
	import lmdb, sys
	env = lmdb.open(sys.argv[1], map_size=128 << 20)
	with env.begin(write=True) as t:
	    for i in range(15000): t.put(b"%08d" % i, b"x" * 4000)
	END
	cat >$dir/readers.py <<-'END'
	import lmdb, os, signal, sys
	env = lmdb.open(sys.argv[1], map_size=128 << 20, readonly=True)
	with env.begin(buffers=True) as t:
	    if sum(v[0] for k, v in t.cursor()) == 15000 * ord("x"):
	        open(sys.argv[2] + "/" + str(os.getpid()), "w")
	signal.pause()
	END
}
lmdb_start() {
	for ((i = 0; i < n; i++)); do
		"${run[@]}" python3 $dir/readers.py $dir/lmdb $dir/seen &
	done
}

program sqlite sqlite3 8 --files
sqlite_prepare() {
	[ ! -e $dir/x.db ] || return 0
	mkfifo $dir/fifo
	sqlite3 $dir/x.db "CREATE TABLE t AS WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 60000)
		SELECT i, hex(zeroblob(500)) AS x FROM c"
}
sqlite_start() {
	for ((i = 0; i < n; i++)); do
		"${run[@]}" sqlite3 $dir/x.db "PRAGMA mmap_size=134217728" "SELECT sum(length(x)) FROM t" \
			".output $dir/seen/$i" ".read $dir/fifo" &
	done
}

# ---- programs whose memory is private, or belongs to one process

program mariadb mariadb-server 1
mariadb_prepare() {
	rm -rf $dir/mysql
	cp -a /var/lib/mysql $dir/mysql
	folder mysqld mysql
}
mariadb_start() { "${run[@]}" mariadbd --user=mysql --datadir=$dir/mysql --innodb-buffer-pool-size=64M & }
mariadb_up() { mariadb-admin ping; }

program redis redis-server 1
redis_prepare() { rm -f $dir/dump.rdb; }
redis_start() { (cd $dir && exec "${run[@]}" redis-server --port 6379 --save '' --bind 127.0.0.1 \
	--enable-debug-command yes) & }
redis_up() { listens 6379; }
redis_load() {
	redis-cli debug populate 30000 k 1000
	redis-cli config set rdb-key-save-delay 1000
	redis-cli bgsave
	sleep 2
}

program memcached memcached 1
memcached_start() { "${run[@]}" memcached -u nobody -l 127.0.0.1 -m 64 & }
memcached_up() { listens 11211; }

program java openjdk-17-jre-headless 1 --files
java_start() { "${run[@]}" rmiregistry -J-XX:+UseZGC -J-Xms64m -J-Xmx64m -J-XX:+AlwaysPreTouch 1099 & }
java_up() { listens 1099; }

program gunicorn gunicorn 20
gunicorn_prepare() {
	cat >$dir/web.py <<-END
	import os, time
	data = [b"x" * 4000 for i in range(8000)]
	def application(env, start):
	    sum(d[0] for d in data)
	    open("$dir/seen/%d" % os.getpid(), "w")
	    for i in range(600):
	        if len(os.listdir("$dir/seen")) >= $n: break
	        time.sleep(0.1)
	    start("200 OK", [])
	    return [b"ok"]
	END
}
gunicorn_start() { "${run[@]}" gunicorn --chdir $dir --preload -w "$n" -t 1000 -b 127.0.0.1:8087 web & }
gunicorn_up() { listens 8087; }
gunicorn_load() { together "$n" web 8087 / && saw "$n"; }

program slapd slapd 1 --files
slapd_prepare() { folder slapd openldap; }
slapd_start() { "${run[@]}" slapd -h ldap://127.0.0.1 -u openldap -g openldap -F /etc/ldap/slapd.d -d 0 & }
slapd_up() { listens 389; }

program nsd nsd 8
nsd_prepare() {
	cat >$dir/nsd.conf <<-END
	server:
	  server-count: $n
	  ip-address: 127.0.0.1@5300
	  database: ""
	  zonesdir: "$dir"
	  pidfile: "$dir/nsd.pid"
	  xfrdfile: ""
	  zonelistfile: "$dir/zone.list"
	  username: nobody
	zone:
	  name: example
	  zonefile: example.zone
	remote-control:
	  control-enable: no
	END
	{
		printf '@ 3600 IN SOA a b 1 3600 3600 3600 3600\n@ 3600 IN NS a\n'
		for ((i = 0; i < 30000; i++)); do echo "h$i 3600 IN A 192.0.2.1"; done
	} >$dir/example.zone
}
nsd_start() { "${run[@]}" nsd -d -c $dir/nsd.conf & }
nsd_up() { [ "$(wc -l <"$cgroup/cgroup.procs")" -gt "$n" ] && listens 5300; }

program etcd etcd-server 1 --files
etcd_prepare() { rm -rf $dir/etcd; }
etcd_start() { "${run[@]}" etcd --data-dir $dir/etcd --log-level error & }
etcd_up() { listens 2379; }
