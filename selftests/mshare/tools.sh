#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The command mshare, as users meet it: tables, JSON, errors and exit codes,
# against what the kernel says.  Prints TAP; needs root, python3 and bash.
set -u
export LC_ALL=C
cd "$(dirname "$(realpath "$0")")/../.." || exit
# shellcheck source=SCRIPTDIR/../lib/command.sh disable=SC1091
. selftests/lib/command.sh
tmp=$(mktemp -d) || exit
chmod 755 "$tmp"
trap 'rm -rf "$tmp"' EXIT

# shellcheck source=SCRIPTDIR/../lib/tap.sh disable=SC1091
. selftests/lib/tap.sh
silent=yes
# is WANT COMMAND...: the command prints that and succeeds.
is() {
	local want=$1 got
	shift
	got=$("$@") || echo "$* failed with $?"
	[ "$got" = "$want" ] || printf '%s\nprints %s\nnot    %s\n' "$*" "$got" "$want"
}
# fails STATUS WORDS ARGUMENT...: mshare says that and ends so.
fails() {
	local want=$1 words=$2 out status
	shift 2
	out=$("$mshare" "$@" 2>&1 >/dev/null)
	status=$?
	[ $status = "$want" ] || echo "mshare $*: exit status $status, not $want"
	[[ $out == *"$words"* ]] || printf 'mshare %s says\n%s\nand not: %s\n' "$*" "$out" "$words"
}
# json EXPRESSION COMMAND...: true of what the command prints, as d.
json() {
	local expression=$1
	shift
	"$@" >"$tmp/json" 2>"$tmp/errors" || { echo "$* failed with $?"; cat "$tmp/errors"; }
	python3 -c 'import json, sys
d = json.load(open(sys.argv[1]))
if not eval("(" + sys.argv[2] + ")"): print("false:", sys.argv[2], d)' "$tmp/json" "$expression"
}

# A process with three children that share 64 MiB, half of it written.
cat >"$tmp/family.py" <<'END'
import mmap, os, signal, sys
m = mmap.mmap(-1, 64 << 20)
for at in range(0, 32 << 20, 4096):
    m[at] = 1
if "close" in sys.argv[1]:
    os.closerange(3, 1000)
for i in range(3):
    if os.fork() == 0:
        signal.pause()
print(os.getpid(), flush=True)
signal.pause()
END
# family NAME COMMAND...: starts one; its first process is in $pid.
family() {
	local name=$1
	shift
	mkfifo "$tmp/$name"
	setsid "$@" "${python:-python3}" "$tmp/family.py" "$name" >"$tmp/$name" 2>/dev/null &
	read -r pid <"$tmp/$name" || echo "# no family of $*"
}
family_pids() { { echo "$pid"; pgrep -P "$pid"; } | sort -n; }
end_family() {
	# shellcheck disable=SC2046 # a list of words
	kill $(family_pids)
	becomes regions 0
}
fdinfo() { sed -n "s/^mshare-$1:\t//p" "/proc/$pid/fdinfo/200"; }
column() { "$mshare" ls -bnro "$1"; }
number() { is "$(fdinfo "$2")" column "$1"; }
saved() { is $(($(fdinfo pgtable_bytes) * 3)) column SAVED-MAX; }
sorted_pids() { is "$(family_pids | paste -sd,)" column PIDS; }
human() {
	is "python3 64M 32M" "$mshare" ls -rno NAME,SIZE,RESIDENT
	# 16 tables of 4 KiB lead to 32 MiB, and two to these.
	is "72K 216K" "$mshare" ls -rno PGTABLES,SAVED-MAX
}
default_columns() { is 'NAME SIZE RESIDENT PGTABLES ATTACHED SAVED-MAX PIDS PATH' sh -c "'$mshare' ls -r | head -n 1"; }
types() { "$mshare" show -rno TYPE "$@" | sort | uniq -c | awk '{ printf "%s%s %s", s, $1, $2; s = ", " }'; }
everything() { is "4 attachment, 4 descriptor, 1 object, 1 region" types "$@"; }
# Every column and option that --help names is in the page.
in_page() {
	local word
	"$mshare" "$1" --help | sed -n -e 's/^ *\([A-Z][A-Z-]*[A-Z]\)  .*/\1/p' -e 's/^ .*--\([a-z-]*\).*/\1/p' >"$tmp/words"
	[ "$(wc -l <"$tmp/words")" -ge 4 ] || cat "$tmp/words"
	while read -r word; do
		sed 's/\\//g' "man/man1/mshare-$1.1" | grep -qw -- "$word" || echo "mshare-$1.1 does not name $word"
	done <"$tmp/words"
}
# completes WANT WORD...: what is offered for the last of the words.
completes() {
	local want=$1
	shift
	is "$want" bash -c ". libmshare/tools/mshare.bash-completion; PATH=build/libmshare:\$PATH
		COMP_WORDS=(\"\$@\"); COMP_CWORD=\$((\$# - 1)); _mshare; echo \"\${COMPREPLY[*]}\"" - "$@"
}
# As a user who may not look at others.
nobody=(setpriv --reuid nobody --regid nogroup --clear-groups)
# Those that cannot be seen are counted.
tells_hidden() {
	local out
	out=$("${nobody[@]}" "$mshare" ls -n 2>&1)
	[ "$out" = "mshare ls: 1 more region is not listed, which this user may not look at" ] || echo "$out"
}
knows_hidden() { json 'd["hidden"] == 1' "${nobody[@]}" "$mshare" ls --json; }
# A process that has two files in a region, which is called files.
cat >"$tmp/files.py" <<'END'
import ctypes, os, signal, sys
class Args(ctypes.Structure):
    _fields_ = [("offset", ctypes.c_uint64), ("length", ctypes.c_uint64), ("prot", ctypes.c_uint32),
                ("flags", ctypes.c_uint32), ("fd", ctypes.c_int32), ("reserved", ctypes.c_uint32),
                ("fd_offset", ctypes.c_uint64)]
lib = ctypes.CDLL(sys.argv[1], use_errno=True)
lib.mshare_map.restype = ctypes.c_int64
lib.mshare_attach.restype = ctypes.c_void_p
region = lib.mshare_create(b"files", 0)
os.ftruncate(region, 1 << 20)
for i, name in enumerate(sys.argv[2:]):
    fd = os.open(name, os.O_RDWR | os.O_CREAT)
    os.ftruncate(fd, 8192)
    args = Args(i * 8192, 8192, 3, 1, fd, 0, 0)
    assert lib.mshare_map(region, ctypes.byref(args), ctypes.sizeof(args)) >= 0, ctypes.get_errno()
    os.close(fd)
at = lib.mshare_attach(region, None, 0)
os.close(region)
print(os.getpid(), flush=True)
signal.pause()
END
start_files() {
	mkdir "$tmp/mnt"
	mount -t tmpfs files "$tmp/mnt" || return
	mkfifo "$tmp/fifo"
	setsid python3 "$tmp/files.py" build/libmshare/libmshare.so "$@" >"$tmp/fifo" &
	read -r pid <"$tmp/fifo"
}
# A process that has the region of a file attached so many times, and not open.
cat >"$tmp/opener.py" <<'END'
import ctypes, os, signal, sys
lib = ctypes.CDLL(sys.argv[1], use_errno=True)
lib.mshare_open.argtypes = ctypes.c_int, ctypes.c_uint64, ctypes.c_uint
lib.mshare_attach.restype = ctypes.c_void_p
file = os.open(sys.argv[2], os.O_RDWR)
region = lib.mshare_open(file, 0, 0)
for i in range(int(sys.argv[3])):
    at = lib.mshare_attach(region, None, 0)
    ctypes.memset(at, 1, 8192)
os.close(region)
print(os.getpid(), flush=True)
signal.pause()
END
# start_opener FILE TIMES: starts one, no relative of the others; all are in openers.
openers=()
start_opener() {
	mkfifo "$tmp/opener"
	setsid python3 "$tmp/opener.py" build/libmshare/libmshare.so "$@" >"$tmp/opener" &
	read -r pid <"$tmp/opener"
	openers+=("$pid")
	rm "$tmp/opener"
}
end_openers() {
	kill "${openers[@]}"
	becomes regions 0
}
# As many tables as one process has, for the two attachments beside the first.
opened() {
	local tables
	tables=$("$mshare" ls -bnro PGTABLES)
	is "2 3 $tables $((2 * tables)) ${escaped/\\/'\x5c'}" "$mshare" ls -bnro PROCESSES,ATTACHED,PGTABLES,SAVED-MAX,PATH
}
end_files() {
	kill "$pid"
	becomes regions 0
	becomes umount "$tmp/mnt"
}
# checks STATUS RESULTS COMMAND...: mshare check ends so, after these lines.
checks() {
	local want=$1 results=$2 got
	shift 2
	got=$("$@" check -no CHECK,RESULT | grep -v -e manual -e '^$' -e Regions | tr -s ' \n' ' ')
	[ "$got" = "$results " ] || echo "$got"
	"$@" check >"$tmp/out"
	is "$want" echo $?
}
until_address='kernel ok filter ok enabled ok regions ok address space'
# without FILE VALUE COMMAND...: meanwhile the kernel has that in its file.
without() {
	local file=/sys/kernel/mm/mshare/$1 was
	was=$(cat "$file")
	echo "$2" >"$file"
	shift 2
	"$@"
	echo "$was" >"$file"
}
limited() { (ulimit -v 4000000; "$@"); }
alone() { cp "$mshare" "$tmp/mshare" && "$@"; }
# As the kernel says: nothing that is served, or one area of that many bytes.
served() {
	local want=$1
	shift
	"$mshare" run "$@" -- python3 -c '
import mmap
m = mmap.mmap(-1, 64 << 20)
print(*[line.split()[-1] for line in open("/proc/self/maps") if "/mshare:" in line])' >"$tmp/served"
	is "$want" cat "$tmp/served"
}
said() {
	"$mshare" run -v -- python3 -c '
import ctypes, mmap
m = mmap.mmap(-1, 64 << 20)
libc = ctypes.CDLL(None)
libc.mprotect(ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(m))), ctypes.c_size_t(4096), 1)' 2>"$tmp/said" ||
		echo "the program failed"
	sed -E -e 's/\[[0-9]+\]/[PID]/' -e 's/0x[0-9a-f]+/ADDR/' -i "$tmp/said"
}
says_all() {
	said
	is 'mshare run: python3[PID]: mmap: 67108864 bytes at ADDR are a region
mshare run: python3[PID]: mprotect: the area at ADDR leaves its region' cat "$tmp/said"
}
says_why() {
	echo 0 >/sys/kernel/mm/mshare/enabled
	said
	echo 1 >/sys/kernel/mm/mshare/enabled
	is 'mshare run: all memory remains ordinary: regions are disabled: /sys/kernel/mm/mshare/enabled is 0
mshare run: python3[PID]: mmap: 67108864 bytes remain ordinary memory: EPERM' cat "$tmp/said"
}
# reasons [OPTION...]: what -v says of mappings that are not served, one of each kind.
reasons() {
	truncate -s 64M "$tmp/file"
	"$mshare" run -v "$@" -- python3 - "$tmp/file" 2>"$tmp/said" <<-'END'
	import ctypes, mmap, sys
	n = 64 << 20
	libc = ctypes.CDLL(None)
	libc.mmap.restype = libc.shmat.restype = ctypes.c_void_p
	def map(addr, prot, flags, fd=-1, length=n, offset=0):
	    return libc.mmap(ctypes.c_void_p(addr), ctypes.c_size_t(length), prot, flags, fd, ctypes.c_long(offset))
	for flags in 0x21, 0x20021, 0x100021, 0x2021, 0x40021, 0x61, 0x8021:
	    map(0x600100000000, 3, flags | 0x10 * (flags == 0x20021))
	map(None, 1, 0x21)
	map(None, 3, 0x21, -1, 33 << 40)
	files = open(sys.argv[1], "r+b"), open("/dev/zero", "r+b", buffering=0)
	map(None, 3, 0x1, files[0].fileno())
	map(None, 3, 0x1, files[1].fileno(), n, 4096)
	map(None, 3, 0x22)
	map(None, 3, 0x21, -1, 8 << 20)
	id = libc.shmget(0, ctypes.c_size_t(n), 0o1600)
	libc.shmat(id, None, 0)
	libc.shmctl(id, 0, None)
	END
	sed -E -e 's/^mshare run: python3\[[0-9]+\]: //' -e 's/0x[0-9a-f]+/ADDR/' -e 's/[0-9]+ bytes/N bytes/' "$tmp/said"
}
says_each() {
	is 'mmap: N bytes at ADDR are a region
mmap: N bytes remain ordinary memory: MAP_FIXED
mmap: N bytes remain ordinary memory: MAP_FIXED
mmap: N bytes remain ordinary memory: MAP_LOCKED
mmap: N bytes remain ordinary memory: MAP_HUGETLB
mmap: N bytes remain ordinary memory: MAP_32BIT; see --anywhere
mmap: N bytes at ADDR are a region
mmap: N bytes remain ordinary memory: it is not for reading and writing
mmap: N bytes remain ordinary memory: it is too large
mmap: N bytes remain ordinary memory: it is a file
mmap: N bytes remain ordinary memory: it has an offset
shmat: N bytes remain ordinary memory: System V' reasons
}
serves_32bit() {
	reasons --anywhere >/dev/null
	is 3 grep -c "are a region" "$tmp/said"
	! grep MAP_32BIT "$tmp/said"
}
# before STATUS WORDS COMMAND...: it says that, in one line, and ends so.
before() {
	local want=$1 words=$2 out status
	shift 2
	out=$("$@" 2>&1 >/dev/null)
	status=$?
	[ $status = "$want" ] || echo "$*: exit status $status, not $want"
	[ "$out" = "${words:+mshare run: $words}" ] || printf '%s says\n%s\nand not: %s\n' "$*" "$out" "$words"
}
disabled() {
	local words='all memory remains ordinary: regions are disabled: /sys/kernel/mm/mshare/enabled is 0'
	echo 0 >/sys/kernel/mm/mshare/enabled
	before 42 "$words" "$mshare" run sh -c 'exit 42'
	before 42 "" "$mshare" run --quiet sh -c 'exit 42'
	before 125 "$words" "$mshare" run --require sh -c 'exit 42'
	before 125 "$words" "$mshare" run -qr sh -c 'exit 42'
	echo 1 >/sys/kernel/mm/mshare/enabled
	before 42 "" "$mshare" run --require sh -c 'exit 42'
}
overcommitted() {
	local words='all memory remains ordinary: /proc/sys/vm/overcommit_memory is 2'
	echo 2 >/proc/sys/vm/overcommit_memory
	before 0 "$words" "$mshare" run true
	before 125 "$words" "$mshare" run -r true
	served "" -q
	echo 0 >/proc/sys/vm/overcommit_memory
}
unsuitable() {
	before 0 "the memory of $busybox remains ordinary: it is statically linked" "$mshare" run "$busybox" true
	before 125 "the memory of $busybox remains ordinary: it is statically linked" "$mshare" run -r "$busybox" true
	cp "$(type -P true)" "$tmp/true"
	sed 's,/lib64/ld-linux-x86-64.so.2,/lib64/ld-musl-x86-64x.so.1,' "$tmp/true" >"$tmp/musl"
	chmod 755 "$tmp/musl"
	before 126 "the memory of $tmp/musl remains ordinary: it has another C library (musl)
mshare run: $tmp/musl: No such file or directory" sh -c "'$mshare' run '$tmp/musl'; [ \$? = 127 ] && exit 126"
	chmod u+s "$tmp/true"
	before 0 "" "$mshare" run "$tmp/true"
	before 0 "the memory of $tmp/true remains ordinary: it gains privileges" "${nobody[@]}" "$mshare" run "$tmp/true"
}
busybox=$(command -v busybox)
# A filter that gives the calls above 500 an answer, then a program.
cat >"$tmp/filter.py" <<'END'
import ctypes, os, struct, sys
code = b"".join(struct.pack("HBBI", *i) for i in (
    (0x20, 0, 0, 0), (0x35, 0, 1, 500), (0x06, 0, 0, int(sys.argv[1], 0)), (0x06, 0, 0, 0x7fff0000)))
code = ctypes.create_string_buffer(code, len(code))
prog = struct.pack("HxxxxxxQ", 4, ctypes.addressof(code))
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, prog, 0, 0):
    sys.exit("no filter: " + os.strerror(ctypes.get_errno()))
os.execvp(sys.argv[2], sys.argv[2:])
END
kill=(python3 "$tmp/filter.py" 0x80000000) allow=(python3 "$tmp/filter.py" 0x7fff0000)
refuse=(python3 "$tmp/filter.py" 0x50001)
# filtered WANT COMMAND...: the program that it runs lives, and its memory is that.
filtered() {
	local want=$1
	shift
	is "$want" "$@" python3 -c '
import mmap
m = mmap.mmap(-1, 64 << 20)
print("alive", *[line.split()[-1] for line in open("/proc/self/maps") if "/mshare:" in line])'
}
filters() {
	local all='all memory remains ordinary'
	before 0 "$all: there is a filter (seccomp) that may kill for its calls; see --filtered" "${kill[@]}" "$mshare" run true
	before 125 "$all: there is a filter (seccomp) that may kill for its calls; see --filtered" "${allow[@]}" "$mshare" run -r true
	before 125 "$all: a filter (seccomp) kills for its calls" "${kill[@]}" "$mshare" run -fr true
	before 125 "$all: a filter (seccomp) does not allow its calls" "${refuse[@]}" "$mshare" run --filtered -r true
	filtered alive "${kill[@]}" "$mshare" run -q --
	filtered alive "${kill[@]}" "$mshare" run -qf --
	filtered alive "$mshare" run -- "${kill[@]}"
	filtered alive "${allow[@]}" "$mshare" run -q --
	filtered "alive /mshare:python3" "${allow[@]}" "$mshare" run -f --
	filtered "alive /mshare:python3" "${allow[@]}" "${allow[@]}" "$mshare" run -f --
	filtered alive "${allow[@]}" "$mshare" run -f -- "${kill[@]}"
	filtered "alive /mshare:python3" "${allow[@]}" env MSHARE_RUN_FILTERS=2 MSHARE_RUN_MIN=1000000 \
		LD_PRELOAD="$(dirname "$mshare")/mshare-run.so"
}
# telling FILE COMMAND...: /proc tells the command, as long as it is one process, of its
# status what the file says.
telling() {
	# shellcheck disable=SC2016 # that shell's
	unshare -m sh -c 'mount --bind "$0" /proc/$$/status && mount --bind "$0" /proc/$$/task/$$/status && exec "$@"' "$@"
}
# As a kernel without filters, one that does not count them, and a user with many groups.
told_of_filters() {
	local all='all memory remains ordinary'
	local filter="$all: there is a filter (seccomp) that may kill for its calls; see --filtered"
	grep -v '^Seccomp' /proc/self/status >"$tmp/none"
	sed '/^Seccomp_filters/d; /^Seccomp:/s/0/2/' /proc/self/status >"$tmp/uncounted"
	sed "/^Groups:/s/\$/ $(seq -s ' ' 10000 15000)/; /^Seccomp:/s/0/2/; /^Seccomp_filters:/s/0/1/" /proc/self/status >"$tmp/groups"
	before 0 "" telling "$tmp/none" "$mshare" run true
	filtered "alive /mshare:python3" telling "$tmp/none" "$mshare" run --
	checks 0 "$until_address ok library ok mshare run ok" telling "$tmp/none" "$mshare"
	before 0 "$filter" telling "$tmp/uncounted" "$mshare" run true
	filtered "alive /mshare:python3" telling "$tmp/uncounted" "$mshare" run --filtered
	before 0 "$filter" telling "$tmp/groups" "$mshare" run true
	filtered "alive" telling "$tmp/groups" "$mshare" run -q --
	sed -i '/^Seccomp:/s/2/0/; /^Seccomp_filters:/s/1/0/' "$tmp/groups"
	filtered "alive /mshare:python3" telling "$tmp/groups" "$mshare" run --
}
# The calls that a filter may refuse are those of the header.
names_the_calls() {
	sed -n 's/^#define __NR_mshare_[a-z]*[[:space:]]*//p' uapi/linux/mshare.h | sort -n >"$tmp/numbers"
	"${kill[@]}" "$mshare" check -no CHECK,DETAILS >"$tmp/out"
	grep -q "^filter .* the calls $(head -n 1 "$tmp/numbers") to $(tail -n 1 "$tmp/numbers")," "$tmp/out" || cat "$tmp/out"
}
long_name() {
	local name
	name=$(printf '%250s' '' | tr ' ' x)
	# shellcheck disable=SC2016 # that shell's
	"$mshare" run -v -- bash -c 'exec -a "$1" python3 -c "import mmap; mmap.mmap(-1, 64 << 20)"' - "$name" 2>&1 |
		sed -E -e 's/\[[0-9]+\]/[PID]/' -e 's/0x[0-9a-f]+/ADDR/' >"$tmp/said"
	is "mshare run: ${name::64}[PID]: mmap: 67108864 bytes at ADDR are a region" cat "$tmp/said"
}

echo "TAP version 13"
check "check" checks 0 "$until_address ok library ok mshare run ok" "$mshare"
check "check: nobody" checks 0 "$until_address ok library ok mshare run ok" "${nobody[@]}" "$mshare"
check "check --json" json 'd["works"] is True and d["checks"][0]["details"].endswith("level 2 of the interface")' \
	"$mshare" check --json
check "check: disabled" without enabled 0 checks 2 \
	"${until_address/enabled ok/enabled no} ok library ok mshare run no" "$mshare"
check "check: no address space" limited checks 2 "$until_address no library ok mshare run no" "$mshare"
check "check: a filter that kills" checks 2 "kernel ok filter unknown enabled ok regions ok address space ok" \
	"${kill[@]}" "$mshare"
check "check: which calls a filter may refuse" names_the_calls
check "check: no library" alone checks 2 "$until_address ok library no mshare run no" "$tmp/mshare"
check "ls without regions" is "" "$mshare" ls -n
check "ls --json without regions" json 'd == {"hidden": 0, "regions": []}' "$mshare" ls --json

family one "$mshare" run --
check "ls: the usual columns" default_columns
check "ls: sizes for people" human
check "ls: size" number SIZE size
check "ls: resident" number RESIDENT resident
check "ls: page tables" number PGTABLES pgtable_bytes
check "ls: attachments" number ATTACHED attachments
check "ls: mapped" number MAPPED mapped
check "ls: faults" number FAULTS faults
check "ls: base" number BASE base
check "ls: saved" saved
check "ls: processes" sorted_pids
check "ls: what else there is" is "4 python3 root 1 0 live" "$mshare" ls -bnro PROCESSES,COMMAND,USER,OBJECTS,SWAPPED,STATE
check "ls: more columns" is "$(fdinfo id)" sh -c "'$mshare' ls -nr -o +id | cut -d ' ' -f 9"
check "ls: all columns" is 20 sh -c "'$mshare' ls --output-all -r | head -n 1 | wc -w"
check "ls --json" json 'len(d["regions"]) == 1 and d["regions"][0]["size"] == 64 << 20 and
	len(d["regions"][0]["pids"]) == 4 and d["regions"][0]["attached"] == 4' "$mshare" ls --json
check "ls: nobody can run it" "${nobody[@]}" test -x "$mshare"
check "ls: nobody sees nothing" is "" sh -c "${nobody[*]} '$mshare' ls -n 2>/dev/null"
check "ls: and is told" tells_hidden
check "ls --json: and is told" knows_hidden
check "check: one region too many" without max_regions_per_user 1 checks 2 \
	"${until_address/regions ok/regions no} ok library ok mshare run no" "$mshare"
check "show: a process" everything "$pid"
check "show: a child" everything "$(pgrep -P "$pid" | head -n 1)"
check "show: a descriptor" everything "/proc/$pid/fd/200"
check "show: both are one" everything "$pid" "/proc/$pid/fd/200"
check "show: the descriptor" is "$pid 200 rw" sh -c "'$mshare' show -rno PID,FD,PERM,TYPE $pid | sed -n 's/ descriptor//p' | grep '^$pid '"
check "show: an inherited one" is region sh -c "'$mshare' show -rno TYPE /dev/fd/9 9</proc/$pid/fd/200 | head -n 1"
check "show: a process without" is "" "$mshare" show -n $$
check "show --raw: no tree" is "/memfd:python3\x20(deleted) python3" sh -c "'$mshare' show -rno NAME $pid | sort -u | paste -sd ' '"
check "show --json" json '[c["type"] for c in d["regions"][0]["children"]].count("attachment") == 4 and
	d["regions"][0]["children"][0]["size"] == 64 << 20' "$mshare" show --json "$pid"
check "completion: processes" completes "$pid" mshare show "$pid"
check "ls --total" is "64M 32M 72K 216K 4" sh -c "'$mshare' ls --total -rno SIZE,RESIDENT,PGTABLES,SAVED-MAX,ATTACHED | tail -n 1"
check "ls --total: the word" is total sh -c "'$mshare' ls --total -rno NAME,SIZE | tail -n 1 | cut -d ' ' -f 1"
check "ls --total --json" json 'd["total"] == {"size": 64 << 20, "saved-max": 216 << 10} and len(d["regions"]) == 1' \
	"$mshare" ls --total --json -o NAME,SIZE,SAVED-MAX
check "candidates: no regions" json '[c for c in d["candidates"] if c["command"] == "python3" and c["saves"]] == []' \
	"$mshare" candidates --json --all
check "the family ends" end_family

# Largest first, whatever is shown.
family three "$mshare" run
"$mshare" run -- python3 -c 'import mmap, signal; m = mmap.mmap(-1, 96 << 20); signal.pause()' &
alone=$!
check "a second region" becomes regions 2
check "ls: as they were made" is "64M 96M" sh -c "'$mshare' ls -rno SIZE | paste -sd ' '"
check "ls --sort: numbers" is "96M 64M" sh -c "'$mshare' ls -rno SIZE --sort size | paste -sd ' '"
check "ls --sort: a hidden column" is "64M 96M" sh -c "'$mshare' ls -rno SIZE --sort ATTACHED | paste -sd ' '"
check "ls --sort: it stays hidden" json '[list(r) for r in d["regions"]] == [["size"], ["size"]]' "$mshare" ls --sort ID -Jo SIZE
kill "$alone"
check "they end" end_family

first=$tmp/mnt/one
second=$tmp/two$'\n'lines
escaped="$tmp/two\\012lines"
start_files "$first" "$second" || echo "# no files in a region"
check "ls: a file" is files "$mshare" ls -rno NAME "$first"
check "ls: its process" is "$pid" "$mshare" ls -rno PIDS "$second"
check "ls: another name of it" is files sh -c "ln '$first' '$tmp/mnt/link' && '$mshare' ls -rno NAME '$tmp/mnt/link'"
check "ls: another file" is "" "$mshare" ls -n /etc/passwd
check "ls: any of two" is files "$mshare" ls -rno NAME /etc/passwd "$first"
check "ls: a file system" is files "$mshare" ls -rno NAME "$tmp/mnt"
check "ls: another file system" is "" "$mshare" ls -n /proc
check "ls: paths" json "d['regions'][0]['files'] == ['$first', r'$escaped']" "$mshare" ls --json "$first"
check "ls: it is the region of none of them" json "d['regions'][0]['path'] is None" "$mshare" ls --json
check "ls: a file that is gone" is files sh -c "rm '$tmp/mnt/link' '$first' && '$mshare' ls -rno NAME '$first'"
check "that process ends" end_files

printf '%8192s' '' >"$second"
start_opener "$second" 2
start_opener "$second" 1
check "ls: the file whose region it is, who has it, what that saves" opened
check "ls --json: that file" json "d['regions'][0]['path'] == r'$escaped' and d['regions'][0]['name'] == r'two\012lines'" \
	"$mshare" ls --json
check "ls: the region of a file" is file "$mshare" ls -rno STATE "$second"
check "show: that file" is "two\x5c012lines region 2 ${escaped/\\/'\x5c'}" sh -c "'$mshare' show -rno NAME,TYPE,PROCESSES,PATH $pid | head -n 1"
check "show --json: that file" json "d['regions'][0]['path'] == r'$escaped' and d['regions'][0]['processes'] == 2 and
	[c['path'] for c in d['regions'][0]['children']] == 4 * [None]" "$mshare" show --json -o +PATH,PROCESSES "$pid"
rm "$second"
check "ls: that file when it is gone" is "$escaped (deleted)" "$mshare" ls -no PATH
check "those processes end" end_openers

family close "$mshare" run --
check "ls: nobody has it open" is "64M 32M 4" "$mshare" ls -rno SIZE,RESIDENT,ATTACHED
check "show: nobody has it open" is "4 attachment, 1 object, 1 region" types "$pid"
check "that family ends" end_family

family close-as-nobody "${nobody[@]}" "$mshare" run --
check "ls: without the right to open it" is "  python3" sh -c "${nobody[*]} '$mshare' ls -rno SIZE,SAVED-MAX,COMMAND 2>/dev/null"
check "ls: and is told so" is "mshare ls: of 1 listed here only root can see the numbers" \
	sh -c "${nobody[*]} '$mshare' ls -rno INODE 2>&1 >/dev/null"
check "and the third family" end_family

# Names that are UTF-8, and that are not.
for name in pythonä python$'\xff\xc3'; do
	python=$tmp/$name
	ln -s "$(command -v python3)" "$python"
	family "family-$name" "$mshare" run --
	name=${name/$'\xff\xc3'/'\xff\xc3'}
	check "ls --json: $name" json "[d['regions'][0][k] for k in ('name', 'command')] == 2 * [r'$name']" "$mshare" ls --json -o NAME,COMMAND
	check "show --json: $name" json "[d['regions'][0]['name'], d['regions'][0]['children'][1]['name']] == 2 * [r'$name']" "$mshare" show --json "$pid"
	check "ls: $name" is "${name/ä/'\xc3\xa4'}" "$mshare" ls -no NAME
	check "ls: $name, in UTF-8" is "$name" env LC_ALL=C.UTF-8 "$mshare" ls -no NAME
	check "and its family ends" end_family
done
unset python

check "run: the status of the program" is 42 sh -c "'$mshare' run -- sh -c 'exit 42'; echo \$?"
check "run: not found" fails 127 "/nonexistent: No such file or directory" run /nonexistent
check "run: no program" fails 126 "/etc/passwd: Permission denied" run /etc/passwd
check "run: arguments are the program's" is "-v --min" "$mshare" run echo -v --min
check "run: 64 MiB are served" served /mshare:python3
check "run: unless the least is above" served "" --min 65M
check "run: or just that" served /mshare:python3 -m $((64 << 20))
check "run --verbose" says_all
check "run --verbose: why not" says_why
check "run --verbose: a long name" long_name
check "run --verbose: each reason" says_each
check "run --anywhere" serves_32bit
check "run: regions are disabled" disabled
check "run: memory is not overcommitted" overcommitted
check "run: programs that cannot have it" unsuitable
check "run: filters" filters
check "run and check: what /proc tells of filters" told_of_filters
check "run: no such option" fails 125 "Try 'mshare run --help'" run --frobnicate true
check "run: which program" fails 125 "which program?" run
check "run: other libraries stay" is ":libm.so.6" env LD_PRELOAD=libm.so.6 sh -c "'$mshare' run sh -c 'echo \$LD_PRELOAD' | sed 's/.*mshare-run.so//'"
for size in 0 -1 x 16X 16MB 99999999999T '' ' 1'; do
	check "run: '$size' is no size" fails 125 "'$size' is no size" run --min "$size" true
done

check "no command" fails 1 "no command"
check "no such command" fails 1 "list: there is no such command" list
check "no such option" fails 1 "Try 'mshare ls --help'" ls --frobnicate
check "no such column" fails 1 "there is no column 'PID'" ls -o NAME,PID
check "two formats" fails 1 "exclude each other" ls --raw --json
check "check: an argument too many" fails 1 "'1' is one argument too many" check 1
check "candidates: an argument too many" fails 1 "'1' is one argument too many" candidates 1
check "show: nothing to sort" fails 1 "unrecognized option '--sort=NAME'" show --sort=NAME 1
check "ls: no such file" fails 1 "/nonexistent: there is no such file" ls /nonexistent
check "ls: no mount" fails 1 "/etc: neither a file nor the root of a file system" ls /etc
check "ls: sort by what" fails 1 "there is no column 'BIG'" ls --sort BIG
check "show: of what" fails 1 "of which process" show
check "show: no such process" fails 1 "there is no process 4194305" show 4194305
check "show: no region" fails 1 "/etc/passwd: not a region" show /etc/passwd
check "show: no such file" fails 1 "/nonexistent: No such file" show /nonexistent
check "a full disk" is 1 sh -c "'$mshare' ls --help >/dev/full 2>/dev/null; echo \$?"
for command in ls show run candidates check; do
	check "$command --help: the page has it all" in_page $command
	check "$command --version" is "$("$mshare" --version)" "$mshare" $command --version
done
check "completion: commands" completes "ls show run candidates check -h --help -V --version" mshare ""
check "completion: options" completes "--output --output-all" mshare ls --out
check "completion: columns" completes "NAME,PGTABLES NAME,PIDS NAME,PATH NAME,PROCESSES" mshare ls -o NAME,P
check "completion: the column to sort by" completes "SAVED-MAX" mshare ls --sort SAV
check "completion: more columns" completes "+NAME" mshare ls -o +NA
check "completion: columns behind =" completes "NAME,PGTABLES" mshare show --output = NAME,PG
check "completion: sizes behind =" completes "64M" mshare run --min = 6
check "completion: a program behind them" completes readarray mshare run --min = 16M readarra
plan
