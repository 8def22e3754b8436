#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# mshare candidates against the kernel: what it says that programs would save is
# what their page tables take less under mshare run, or when they unmap the memory.
# Runs in the guest, also of a kernel without regions, where programs are not run
# with them; prints TAP.
set -u
export LC_ALL=C
cd "$(dirname "$(realpath "$0")")/../.." || exit
# shellcheck source=SCRIPTDIR/../lib/postgres.sh disable=SC1091
. selftests/lib/postgres.sh
servers=/run/build/servers
[ -e $servers/.complete ] || { echo "$0: there are no servers: run selftests/lib/servers-get" >&2; exit 2; }
tmp=$(mktemp -d) || exit
chmod 755 "$tmp"
trap 'rm -rf "$tmp"' EXIT

# shellcheck source=SCRIPTDIR/../lib/tap.sh disable=SC1091
. selftests/lib/tap.sh

# What candidates says of the memory of some processes, and what these need:
#	figures.py MSHARE claim PID...	"SAVES SAVES-MAX TABLES REGION KIND HOW": of what mshare
#					run serves, or else of the row with most tables
#	figures.py MSHARE used PID...	their page tables and those of all regions, in bytes
cat >"$tmp/figures.py" <<'END'
import json, subprocess, sys
mshare, what, *pids = sys.argv[1:]
pids = {int(p) for p in pids}
if what == "claim":
    out = subprocess.run([mshare, "candidates", "--json", "--all", "--output-all"], stdout=subprocess.PIPE, check=True).stdout
    rows = [c for c in json.loads(out)["candidates"] if pids & set(c["pids"])]
    rows.sort(key=lambda c: -c["tables"])
    rows = [c for c in rows if c["how"] == "mshare run"] or rows[:1]
    keys = "saves", "saves-max", "tables", "region"
    print(*(sum(c[k] for c in rows) for k in keys), rows[0]["kind"], rows[0]["how"])
else:
    used = 0
    for pid in pids:
        used += sum(int(l.split()[1]) << 10 for l in open(f"/proc/{pid}/status") if l.startswith("VmPTE"))
    try:
        used += int(open("/sys/kernel/mm/mshare/pgtable_bytes").read())
    except FileNotFoundError:
        pass
    print(used)
END
figures() { python3 "$tmp/figures.py" "$mshare" "$@"; }
family_of() { echo "$1"; pgrep -P "$1"; }

# Processes of our own, which share memory of some KIND at a place where nothing else
# is, have touched different parts of it, and unmap it when they are told.
cat >"$tmp/own.py" <<'END'
import ctypes, mmap, os, signal, sys
kind, folder = sys.argv[1:3]
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = libc.shmat.restype = ctypes.c_void_p
size, place = 64 << 20, 0x100000000000
FIXED, ANON = 0x10, 0x20
def map_at(at, flags, fd=-1, offset=0):
    got = libc.mmap(ctypes.c_void_p(at), ctypes.c_size_t(size), 3, 1 | flags, fd, ctypes.c_long(offset))
    assert got == at, ctypes.get_errno()
    return got
def advise(start, length, advice):
    assert libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(length), advice) == 0, ctypes.get_errno()
fd = -1
if kind in ("anonymous", "DONTNEED", "huge", "part"):
    at = map_at(place, FIXED | ANON)
elif kind == "System-V":
    id = libc.shmget(0, ctypes.c_size_t(size), 0o1600)
    at = libc.shmat(id, ctypes.c_void_p(place), 0)
    libc.shmctl(id, 0, 0)
    assert at == place
else:
    if kind == "memfd":
        fd = os.memfd_create("with \n line")
    elif kind == "POSIX":
        fd = os.open("/dev/shm/candidates", os.O_RDWR | os.O_CREAT)
    else:
        fd = os.open(folder + "/new\nline", os.O_RDWR | os.O_CREAT)
    os.ftruncate(fd, 2 * size)
    at = map_at(place, FIXED, fd)
if kind == "huge":
    advise(at, size, 14)
    ctypes.memset(at, 1, size // 2)
ready, tell = os.pipe()
for i in range(5):
    if i < 4 and os.fork():
        continue
    # The parent last.
    if fd >= 0 and i == 3:
        # Another part of it, at an address that is not even 2 MiB's.
        place += 1 << 40
        at = map_at(place + 4096, FIXED, fd, 20480)
    start = at + i * (8 << 20)
    for page in range(start, start + (24 << 20), 8192):
        ctypes.c_char.from_address(page).value = b"x"
    if kind == "DONTNEED":
        advise(start, 12 << 20, 4)
    if kind == "part":
        libc.munmap(ctypes.c_void_p(start + 4096), ctypes.c_size_t(5 << 20))
    signal.signal(signal.SIGUSR1, lambda *a: (libc.munmap(ctypes.c_void_p(at), ctypes.c_size_t(size)),
                                              open(f"{folder}/unmapped.{os.getpid()}", "w")))
    if i < 4:
        os.write(tell, b"x")
        while True:
            signal.pause()
while len(os.read(ready, 1)) and i > 1:
    i -= 1
print(os.getpid(), flush=True)
while True:
    signal.pause()
END
unmapped() {
	local p
	for p in $pids; do [ -e "$tmp/unmapped.$p" ] || return; done
}
# own KIND: what is claimed beside what it becomes less by.
own() {
	local pid before after claim saves most tables region kind how
	rm -f "$tmp/fifo"
	mkfifo "$tmp/fifo"
	python3 "$tmp/own.py" "$1" "$tmp" >"$tmp/fifo" &
	read -r pid <"$tmp/fifo" || return
	pids=$(family_of "$pid")
	# shellcheck disable=SC2086 # a list
	claim=$(figures claim $pids) && before=$(figures used $pids)
	read -r saves most tables region kind how <<<"$claim"
	# shellcheck disable=SC2086
	kill -USR1 $pids
	becomes unmapped
	# shellcheck disable=SC2086
	after=$(figures used $pids)
	# shellcheck disable=SC2086
	kill $pids
	wait "$pid" 2>/dev/null
	echo "$1: $claim; page tables before $before, unmapped $after" | tee "$tmp/last"
	used=$((before - after))
	# Exact for what can be seen; what is empty has its bound.
	[ "$tables" -le $used ] && [ $used -le $((most + region)) ] || return
	[ "$1" = DONTNEED ] || [ "$tables" = $used ] || return
	[ "$1" = huge ] || [ "$saves" = $((tables - region)) ] || return
	case $1 in
	anonymous | DONTNEED | part) [ "$kind" = anonymous ] && [ "$how" = "mshare run" ] ;;
	huge) [ "$kind" = anonymous ] ;;
	System-V) [ "$kind" = System-V ] && [ "$how" = "none yet: System V" ] ;;
	memfd) [ "$kind" = memfd ] && [ "$how" = "mshare_map(2) in the program" ] ;;
	*) [ "$kind" = "$1" ] && [ "$how" = "mshare run --files" ] ;;
	esac
}

# program NAME: NAME_start [COMMAND...] starts it and leaves its processes in $pids,
# NAME_stop ends it.  Without and with mshare run; what is claimed is the difference,
# but for a twentieth and four tables of a process: what else it has is in other
# places if the area is not between them, and mshare run has a library of its own.
program() {
	local without with claim saves most tables region kind how n slack
	"$1_start" setarch -R || { echo "$1 does not start"; return 1; }
	# shellcheck disable=SC2086 # a list
	claim=$(figures claim $pids) && without=$(figures used $pids) || return
	n=$(wc -w <<<"$pids")
	"$1_stop"
	read -r saves most tables region kind how <<<"$claim"
	echo "$1: $n processes: $claim; page tables $without" | tee "$tmp/last"
	[ "$kind" = anonymous ] && [[ $how == "mshare run"* ]] && [ "$saves" -gt $((n * 40960)) ] || return
	[ -e /sys/kernel/mm/mshare ] || return 0
	"$1_start" setarch -R "$mshare" run || { echo "$1 does not start under mshare run"; return 1; }
	# shellcheck disable=SC2086
	with=$(figures used $pids)
	[ "$(wc -w <<<"$pids")" = "$n" ] || echo "it has $(wc -w <<<"$pids") processes"
	"$1_stop"
	slack=$((n * 16384 + saves / 20))
	echo "under mshare run $with, less by $((without - with)), slack $slack" | tee -a "$tmp/last"
	[ $((without - with)) -ge $((saves - slack)) ] && [ $((without - with)) -le $((most + slack)) ]
}

# Clients that keep their connections, each of which is a process of the server's.
postgres_start() {
	local i
	# shellcheck disable=SC2119 # initdb as it is
	buffers=256MB pg_init >/dev/null && pg_start "$@" || return
	# shellcheck disable=SC2016 # a string of SQL
	sql 'CREATE TABLE t AS SELECT g, repeat($$x$$, 100) FROM generate_series(1, 400000) g' >/dev/null
	sql 'VACUUM t' >/dev/null
	for i in 1 2 3 4 5 6; do
		pg "$bin/psql" -X -q -A -t -c "SELECT count(g + $i) FROM t" -c '\! touch '"$pg/read.$i" \
			-c 'SELECT pg_sleep(1000)' >/dev/null 2>&1 &
	done
	becomes postgres_ready || return
	sleep 2
	pids=$(family_of "$(postmaster)")
}
postgres_ready() { [ "$(find $pg -maxdepth 1 -name 'read.*' | wc -l)" = 6 ] && [ "$(sql "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep%'")" = 7 ]; }
postgres_stop() {
	pg_stop immediate
	becomes umount $pg
	rmdir $pg
}

# get PORT CONNECTIONS REQUESTS PATH...: keeps the connections until it is killed.
cat >"$tmp/get.py" <<'END'
import signal, socket, sys
port, connections, requests, path, done = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5]
socks = [socket.create_connection(("127.0.0.1", port)) for i in range(connections)]
n = 0
for r in range(requests):
    for s in socks:
        n += 1
        key = f"{n:08}" * (3750 if "=" in path else 0)
        s.sendall(f"GET {path}{key} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        f, length = s.makefile("rb"), 0
        while (line := f.readline().strip()):
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
            if line.lower() == b"transfer-encoding: chunked":
                length = -1
        if length >= 0:
            f.read(length)
        else:
            while (size := int(f.readline(), 16)):
                f.read(size + 2)
            f.readline()
open(done, "w")
signal.pause()
END
get() {
	rm -f "$tmp/got"
	python3 "$tmp/get.py" "$@" "$tmp/got" &
	client=$!
	becomes test -e "$tmp/got"
}

# Its scoreboard is read for server-status, by each process.
apache_start() {
	mkdir -p "$tmp/apache"
	cat >"$tmp/apache/conf" <<-END
	ServerRoot $tmp/apache
	ServerName x
	Listen 127.0.0.1:8101
	$(for m in mpm_prefork authz_core status; do echo "LoadModule ${m}_module $servers/usr/lib/apache2/modules/mod_$m.so"; done)
	PidFile $tmp/apache/pid
	ErrorLog $tmp/apache/log
	DefaultRuntimeDir $tmp/apache
	User nobody
	Group nogroup
	ServerLimit 200000
	MaxRequestWorkers 200000
	StartServers 6
	MinSpareServers 1
	MaxSpareServers 200000
	KeepAliveTimeout 3000
	MaxKeepAliveRequests 0
	<Location /server-status>
	SetHandler server-status
	</Location>
	END
	# It ends its whole process group.
	setsid "$@" $servers/usr/sbin/apache2 -f "$tmp/apache/conf" -D FOREGROUND >"$tmp/apache/out" 2>&1 &
	becomes grep -q 'resuming normal' "$tmp/apache/log" || { cat "$tmp/apache/out" "$tmp/apache/log"; return 1; }
	get 8101 6 4 '/server-status?auto' || return
	# One more for those that are busy.
	sleep 4
	pids=$(family_of "$(cat "$tmp/apache/pid")")
}
apache_stop() {
	kill "$client"
	kill "$(cat "$tmp/apache/pid")"
	becomes test ! -e "$tmp/apache/pid"
	wait
	rm -r "$tmp/apache"
}

# A zone with some pages for each key, which all workers search.  nginx takes out what
# is older than a minute, so it is done sooner.
nginx_start() {
	mkdir -p "$tmp/nginx"
	cat >"$tmp/nginx/conf" <<-END
	pid $tmp/nginx/pid;
	error_log $tmp/nginx/log crit;
	worker_processes 4;
	user nobody nogroup;
	events { worker_connections 256; }
	http {
		access_log off;
		client_body_temp_path $tmp/nginx/a;
		proxy_temp_path $tmp/nginx/b;
		fastcgi_temp_path $tmp/nginx/c;
		uwsgi_temp_path $tmp/nginx/d;
		scgi_temp_path $tmp/nginx/e;
		keepalive_requests 10000;
		large_client_header_buffers 4 32k;
		limit_req_zone \$arg_k zone=z:128m rate=1000r/s;
		server {
			listen 127.0.0.1:8102 reuseport;
			location / { root $tmp/none; limit_req zone=z nodelay burst=10; }
		}
	}
	END
	"$@" $servers/usr/sbin/nginx -c "$tmp/nginx/conf" -e "$tmp/nginx/log" -g 'daemon off;' >"$tmp/nginx/out" 2>&1 &
	becomes test -s "$tmp/nginx/pid" || { cat "$tmp/nginx/out" "$tmp/nginx/log"; return 1; }
	get 8102 64 22 '/x?k=' || return
	pids=$(family_of "$(cat "$tmp/nginx/pid")")
}
nginx_stop() {
	kill "$client"
	kill "$(cat "$tmp/nginx/pid")"
	wait
	rm -r "$tmp/nginx"
}

# Each worker reads the whole shared area.
uwsgi_start() {
	mkdir -p "$tmp/uwsgi"
	cat >"$tmp/uwsgi/app.py" <<-'END'
	import os, uwsgi
	for at in range(0, 120 << 20, 4096):
	    uwsgi.sharedarea_read(0, at, 1)
	def application(env, start):
	    start("200 OK", [])
	    return [b""]
	open(f"ready.{os.getpid()}", "w")
	END
	(cd "$tmp/uwsgi" && exec "$@" $servers/usr/bin/uwsgi-core --plugins-dir $servers/usr/lib/uwsgi/plugins \
		--plugin python311 --master --processes 4 --lazy-apps --need-app --sharedarea 32768 \
		--wsgi-file app.py --socket "$tmp/uwsgi/socket" --die-on-term --pidfile "$tmp/uwsgi/pid") >"$tmp/uwsgi/out" 2>&1 &
	becomes uwsgi_ready || { cat "$tmp/uwsgi/out"; return 1; }
	pids=$(family_of "$(cat "$tmp/uwsgi/pid")")
}
uwsgi_ready() { [ "$(find "$tmp/uwsgi" -name 'ready.*' | wc -l)" = 4 ]; }
uwsgi_stop() {
	kill "$(cat "$tmp/uwsgi/pid")"
	wait
	rm -r "$tmp/uwsgi"
}

# An array of multiprocessing's, and anonymous memory, of a pool of workers.
cat >"$tmp/pool.py" <<'END'
import mmap, multiprocessing, os, signal, sys
area = mmap.mmap(-1, 192 << 20)
def work(i):
    for at in range(i << 20, 180 << 20, 4096):
        area[at] = 1
    barrier.wait()
    signal.pause()
barrier = multiprocessing.Barrier(5)
for i in range(4):
    multiprocessing.Process(target=work, args=(i,)).start()
barrier.wait()
print(os.getpid(), flush=True)
signal.pause()
END
pool_start() {
	rm -f "$tmp/fifo"
	mkfifo "$tmp/fifo"
	"$@" python3 "$tmp/pool.py" >"$tmp/fifo" &
	read -r pool <"$tmp/fifo"
	pids=$(family_of "$pool")
}
pool_stop() {
	# shellcheck disable=SC2086 # a list
	kill $pids
	wait
}

# The same figures where the kernel has no PAGEMAP_SCAN.
cat >"$tmp/noscan.c" <<'END'
#define _GNU_SOURCE
#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>
int ioctl(int fd, unsigned long call, void *arg)
{
	if ((call & 0xffff) == (('f' << 8) | 16)) {
		errno = ENOTTY;
		return -1;
	}
	return syscall(SYS_ioctl, fd, call, arg);
}
END
without_scan() {
	gcc -shared -fPIC -o "$tmp/noscan.so" "$tmp/noscan.c" || return
	pool_start env || return
	"$mshare" candidates -Jo +REGION >"$tmp/with"
	LD_PRELOAD=$tmp/noscan.so strace -o "$tmp/trace" "$mshare" candidates -Jo +REGION >"$tmp/without"
	pool_stop
	grep -q "/proc/$pool/smaps" "$tmp/trace" || { echo "smaps was not read"; return 1; }
	python3 - "$tmp/with" "$tmp/without" <<-'END'
	import json, sys
	a, b = (json.load(open(f))["candidates"][0] for f in sys.argv[1:])
	print(a, b)
	less = a.pop("tables") - b.pop("tables")
	exit(not (a.pop("saves") - b.pop("saves") == less and 0 <= less <= 5 * 2 * 4096 and a == b))
	END
}
# All that may not be looked at are counted, and none of the kernel's.
nobody_counts() {
	local p users=0
	pool_start env || return
	# Kernel threads have an empty command line.
	for p in /proc/[0-9]*; do
		! { read -r -d '' _ <"$p/cmdline"; } 2>/dev/null || users=$((users + 1))
	done
	cp "$mshare" "$tmp/mshare"
	setpriv --reuid nobody --regid nogroup --clear-groups "$tmp/mshare" candidates --json 2>/dev/null >"$tmp/json"
	pool_stop
	python3 - "$tmp/json" "$users" <<-'END'
	import json, sys
	d, users = json.load(open(sys.argv[1])), int(sys.argv[2])
	print(d, users)
	# Some may have come or gone.
	exit(not (d["candidates"] == [] and abs(d["unreadable"] - users) <= 2))
	END
}
# Processes come and go meanwhile.
races() {
	local churn ok i
	(while :; do python3 -c 'import mmap, os
m = mmap.mmap(-1, 32 << 20)
for at in range(0, 32 << 20, 4096): m[at] = 1
os.fork(); os.fork()
m[5] = 1'; done) &
	churn=$! ok=0
	for i in {1..40}; do
		"$mshare" candidates --json >"$tmp/json" 2>/dev/null && python3 -m json.tool "$tmp/json" >/dev/null &&
			ok=$((ok + 1))
	done
	kill $churn
	wait
	echo "$ok of $i times"
	[ $ok = "$i" ]
}

echo advise >/sys/kernel/mm/transparent_hugepage/shmem_enabled
echo "TAP version 13"
for kind in anonymous part DONTNEED huge System-V memfd POSIX file; do
	check "own: $kind" own $kind
	sed 's/^/# /' "$tmp/last"
done
for name in pool postgres apache nginx uwsgi; do
	check "$name" program $name
	sed 's/^/# /' "$tmp/last"
done
check "without PAGEMAP_SCAN" without_scan
check "processes of others" nobody_counts
check "processes that come and go" races
plan
