#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Runs in the guest: is this the machine and the kernel that tests count on?
#	boots.sh CPUS [la57|4level] [pti|nopti]
n=0
# check NAME COMMAND...: one result, passed if the command succeeds.
check() {
	name=$1
	shift
	n=$((n + 1))
	if "$@" >/dev/null 2>&1; then
		echo "ok $n $name"
	else
		echo "not ok $n $name: $*"
	fi
}
# mounted PLACE TYPE
mounted() { grep -q " $1 $2 " /proc/mounts; }
# filesystem TYPE
filesystem() { grep -qw "$1\$" /proc/filesystems; }
# built SYMBOL: the kernel was built with it.
zcat /proc/config.gz >/tmp/config
built() { grep -qx "CONFIG_$1=y" /tmp/config; }
no() { ! "$@"; }
# said REGEX: in the log of the boot.
said() { dmesg | grep -qE "$1"; }
one_loop() { d=$(losetup -f) && [ -b "$d" ]; }
swaps() {
	echo 16M >/sys/block/zram0/disksize && mkswap /dev/zram0 && swapon /dev/zram0 &&
		grep -q zram0 /proc/swaps && swapoff /dev/zram0
}
overlays() {
	mkdir -p /dev/shm/l /dev/shm/u /dev/shm/w /dev/shm/m &&
		mount -t overlay -o lowerdir=/dev/shm/l,upperdir=/dev/shm/u,workdir=/dev/shm/w overlay /dev/shm/m &&
		umount /dev/shm/m
}
ext4s() {
	d=/sys/kernel/config/nullb/boots
	mkdir -p /tmp/ext4
	grep -q /sys/kernel/config /proc/mounts ||
		mount -t configfs configfs /sys/kernel/config || return
	# Unlike nullb0 this one keeps what is written.
	mkdir $d && echo 64 >$d/size && echo 1 >$d/memory_backed && echo 1 >$d/power &&
		mkfs.ext4 -q /dev/boots &&
		mount -t ext4 /dev/boots /tmp/ext4 && umount /tmp/ext4 &&
		echo 0 >$d/power && rmdir $d
}

cpus=${1:-1}
check "$cpus processors are online" [ "$(grep -c ^processor /proc/cpuinfo)" = "$cpus" ]
case ${2:-la57} in
la57) check "five levels" grep -qw la57 /proc/cpuinfo ;;
*) check "four levels" no grep -qw la57 /proc/cpuinfo ;;
esac
case ${3:-} in
pti) check "page tables are isolated" said 'page tables isolation: enabled' ;;
nopti) check "page tables are not isolated" no said 'page tables isolation: enabled' ;;
esac
check "warnings panic" [ "$(cat /proc/sys/kernel/panic_on_warn)" = 1 ]
for mount in "proc /proc" "sysfs /sys" "devtmpfs /dev" "devpts /dev/pts" "tmpfs /dev/shm" \
	"mqueue /dev/mqueue" "debugfs /sys/kernel/debug" "tracefs /sys/kernel/tracing" \
	"hugetlbfs /dev/hugepages" "cgroup2 /sys/fs/cgroup"; do
	# shellcheck disable=SC2086 # a type and a place
	check "${mount%% *} is on ${mount##* }" mounted ${mount##* } ${mount%% *}
done
for type in ext4 tmpfs overlay 9p hugetlbfs; do
	check "there is $type" filesystem $type
done
check "memory.max limits cgroups" grep -qw memory /sys/fs/cgroup/cgroup.subtree_control
check "2 MiB pages" [ -d /sys/kernel/mm/hugepages/hugepages-2048kB ]
check "1 GiB pages" [ -d /sys/kernel/mm/hugepages/hugepages-1048576kB ]
check "transparent huge pages on request" grep -q '\[madvise\]' /sys/kernel/mm/transparent_hugepage/enabled
check "and for shmem" [ -e /sys/kernel/mm/transparent_hugepage/shmem_enabled ]
check "multi-generation LRU" grep -q '^0x000[1-9a-f]' /sys/kernel/mm/lru_gen/enabled
check "KSM" [ -e /sys/kernel/mm/ksm/run ]
check "KVM with AMD's nested paging" [ -c /dev/kvm ]
check "null_blk" [ -b /dev/nullb0 ]
check "a loop device" one_loop
check "zram holds a swap" swaps
check "overlayfs works" overlays
command -v mkfs.ext4 >/dev/null && check "ext4 on a block device works" ext4s
check "memory failures can be injected" [ -d /sys/kernel/debug/hwpoison ]
check "page tables can be dumped" [ -d /sys/kernel/debug/page_tables ]
check "KUnit" [ -d /sys/kernel/debug/kunit ]
if built MSHARE; then
	# Its last line is the verdict on all cases.
	kunit=/sys/kernel/debug/kunit/mshare/results
	check "KUnit tests of mshare" sh -c "tail -n 1 $kunit | grep -q '^ok '"
fi
check "system calls can be traced" [ -d /sys/kernel/tracing/events/syscalls/sys_enter_mmap ]
check "pagemap" [ -r /proc/self/pagemap ]
check "soft-dirty bits" [ -w /proc/self/clear_refs ]
check "user namespaces" unshare -U true
check "process namespaces" unshare -p -f true
for symbol in USERFAULTFD PTE_MARKER_UFFD_WP IO_URING AIO FUTEX SYSVIPC POSIX_MQUEUE SECRETMEM ADVISE_SYSCALLS \
	CROSS_MEMORY_ATTACH NUMA_EMU NUMA_BALANCING COMPACTION MIGRATION PARAVIRT \
	MITIGATION_PAGE_TABLE_ISOLATION PER_VMA_LOCK SECCOMP SECURITY_LANDLOCK \
	CHECKPOINT_RESTORE MEMORY_FAILURE VIRTIO_PCI VIRTIO_BLK; do
	check "built with $symbol" built $symbol
done
# Linux 7.3 always is, and has no such option.
check "built with X86_5LEVEL" no grep -q '^# CONFIG_X86_5LEVEL is' /tmp/config
if built KASAN; then
	for symbol in PROVE_LOCKING DEBUG_VM DEBUG_VM_PGTABLE PAGE_TABLE_CHECK_ENFORCED \
		DEBUG_ATOMIC_SLEEP DEBUG_LIST DEBUG_KMEMLEAK FAILSLAB FAIL_PAGE_ALLOC; do
		check "built with $symbol" built $symbol
	done
	check "kmemleak watches" [ -w /sys/kernel/debug/kmemleak ]
	check "lockdep watches" grep -q 'debug_locks: *1' /proc/lockdep_stats
fi
echo "1..$n"
