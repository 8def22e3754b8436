# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# podman; sourced by recipes.sh.

# What runs in the containers: shares memory with a child, which serves.
cat >/run/web.py <<'END'
import http.server, mmap, os
m = mmap.mmap(-1, 64 << 20)
m[0:5] = b'hello'
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(m[0:5])
if os.fork() == 0:
    http.server.HTTPServer(('127.0.0.1', 8080), Handler).serve_forever()
os.wait()
END
answers() { [ "$(curl -s http://127.0.0.1:8080/)" = hello ]; }
image() {
	podman import -q -c 'CMD ["python3", "-c", "'"$(sed ':a; N; $!ba; s/\n/\\n/g' /run/web.py)"'"]' \
		build/services/machine.tar web
}
# The server of a container, seen from outside.
server() { pgrep -f -n 'python3 .*HTTPServer'; }
is() { [ "$(areas "$(server)" | sort -u)" = "$1" ] || { areas "$(server)"; return 1; }; }
# The filter forbids what it lists.
forbids() {
	podman exec web python3 -c '
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
exit(not (libc.syscall(425, 1, 0) == -1 and ctypes.get_errno() == 1))'	# io_uring_setup, EPERM
}

# The runtime limits devices by BPF.  The kernel of the tests has none, that of the
# packages has it.
has_bpf() { zcat /proc/config.gz | grep -qx CONFIG_CGROUP_BPF=y; }
in_cgroup() { podman run --rm --network host localhost/web true; }
needs_bpf() {
	local said
	! said=$(in_cgroup 2>&1) || return
	[[ $said == *bpf* ]] || { echo "$said"; return 1; }
}

check "an image" image
if has_bpf; then
	check "a container in a cgroup" in_cgroup
else
	check "a container in a cgroup needs BPF" needs_bpf
	printf '[containers]\ncgroups = "disabled"\n' >/etc/containers/containers.conf
fi
check "a container starts" podman run -d --name web --network host localhost/web
check "it answers" becomes answers
check "its memory is ordinary" is ordinary
check "it ends" podman rm -f -t 1 web
step podman profile
step podman use
check "it answers then" becomes answers
check "its memory is a region" is region
check "which is listed" listed python3 2
check "there is a filter" grep -q 'Seccomp:.*2' "/proc/$(server)/status"
check "which forbids something" forbids
check "a restart" podman restart -t 1 web
check "it answers after that" becomes answers
check "its memory is a region again" is region
step podman undo
podman rmi -f localhost/web >/dev/null
rm -f /etc/containers/containers.conf
