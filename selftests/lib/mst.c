// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include "mst.h"

#include <ctype.h>
#include <linux/loop.h>
#include <sched.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static sigjmp_buf probe_env;
static volatile int probe_result;
static void *volatile probe_addr;

static void probe_handler(int sig, siginfo_t *info, void *context)
{
	(void)context;
	probe_result = FAULT(sig, info->si_code);
	probe_addr = info->si_addr;
	siglongjmp(probe_env, 1);
}

static void probe_signals(struct sigaction *old, bool set)
{
	static const int sigs[] = { SIGSEGV, SIGBUS, SIGILL, SIGTRAP };
	struct sigaction act = { .sa_sigaction = probe_handler, .sa_flags = SA_SIGINFO };
	unsigned int i;

	for (i = 0; i < sizeof(sigs) / sizeof(sigs[0]); i++) {
		if (set)
			sigaction(sigs[i], &act, &old[i]);
		else
			sigaction(sigs[i], &old[i], NULL);
	}
}

/* What an access to ADDR did; the signal has to name the address. */
static int probed(const volatile void *addr)
{
	int sig = probe_result >> 8;

	if ((sig == SIGSEGV || sig == SIGBUS) && probe_addr != addr) {
		fprintf(stderr, "# signal %d, code %d: si_addr is %p, not %p\n", sig,
			probe_result & 0xff, probe_addr, (void *)addr);
		return FAULT_ELSEWHERE;
	}
	return probe_result;
}

int try_load(const volatile void *addr)
{
	struct sigaction old[4];

	probe_result = 0;
	probe_signals(old, true);
	if (!sigsetjmp(probe_env, 1))
		(void)*(const volatile uint8_t *)addr;
	probe_signals(old, false);
	return probed(addr);
}

int try_store(volatile void *addr, uint8_t value)
{
	struct sigaction old[4];

	probe_result = 0;
	probe_signals(old, true);
	if (!sigsetjmp(probe_env, 1))
		*(volatile uint8_t *)addr = value;
	probe_signals(old, false);
	return probed(addr);
}

int try_exec(const void *addr)
{
	struct sigaction old[4];

	probe_result = 0;
	probe_signals(old, true);
	if (!sigsetjmp(probe_env, 1))
		((void (*)(void))addr)();
	probe_signals(old, false);
	return probed(addr);
}

int region(uint64_t size)
{
	int fd = mshare_create("test", MSHARE_CLOEXEC);

	if (fd < 0) {
		fprintf(stderr, "# mshare_create: %m\n");
		return -1;
	}
	if (size && ftruncate(fd, size)) {
		fprintf(stderr, "# ftruncate of a region to %#llx: %m\n", (unsigned long long)size);
		close(fd);
		return -1;
	}
	return fd;
}

int64_t map_obj(int fd, uint64_t offset, uint64_t length, int prot, int flags, int file,
		uint64_t file_offset)
{
	struct mshare_map_args args = {
		.offset = offset,
		.length = length,
		.prot = prot,
		.flags = flags,
		.fd = file,
		.fd_offset = file_offset,
	};

	return mshare_map(fd, &args, sizeof(args));
}

int64_t map_anon(int fd, uint64_t offset, uint64_t length, int prot)
{
	return map_obj(fd, offset, length, prot, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

int64_t map_file(int fd, uint64_t offset, uint64_t length, int prot, int file)
{
	return map_obj(fd, offset, length, prot, MAP_SHARED, file, 0);
}

struct mshare_stat stat_of(int fd)
{
	struct mshare_stat st;

	if (mshare_stat(fd, &st, sizeof(st), 0)) {
		fprintf(stderr, "# mshare_stat: %m\n");
		memset(&st, 0xff, sizeof(st));
	}
	return st;
}

char *attached(int fd, unsigned int flags, uint64_t length)
{
	char *addr = mshare_attach(fd, NULL, flags);

	if (addr == MAP_FAILED) {
		fprintf(stderr, "# mshare_attach: %m\n");
		return NULL;
	}
	if (length && map_anon(fd, 0, length, RW)) {
		fprintf(stderr, "# mshare_map of %#llx bytes: %m\n", (unsigned long long)length);
		return NULL;
	}
	return addr;
}

char *filled_region(int *fd, unsigned int flags, uint64_t length)
{
	char *addr;

	*fd = region(GIB);
	addr = *fd < 0 ? NULL : attached(*fd, flags, length);
	if (addr)
		fill(addr, length, 1);
	return addr;
}

char *file_region(int *fd, int file, uint64_t size)
{
	char *addr;

	*fd = region(GIB);
	addr = attached(*fd, 0, 0);
	return addr && map_file(*fd, 0, size, RW, file) == 0 ? addr : NULL;
}

char *cgroup_file(const char *dir, const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

bool cgroup_make(char *dir, size_t size)
{
	snprintf(dir, size, "/sys/fs/cgroup/mst.%d", getpid());
	write_text("/sys/fs/cgroup/cgroup.subtree_control", "+memory");
	return !mkdir(dir, 0755) && !access(cgroup_file(dir, "memory.current"), F_OK);
}

bool cgroup_make_pair(const char *outer, char *inner, size_t size)
{
	snprintf(inner, size, "%s/inner", outer);
	return !mkdir(outer, 0755) &&
	       write_text(cgroup_file(outer, "cgroup.subtree_control"), "+memory") &&
	       !mkdir(inner, 0755);
}

int cgroup_region(const char *dir, uint64_t size)
{
	int pair[2], fd;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
		return -1;
	pid = fork();
	if (!pid) {
		if (!write_text(cgroup_file(dir, "cgroup.procs"), "0"))
			_exit(1);
		fd = region(size);
		if (fd < 0)
			_exit(1);
		send_fd(pair[0], fd);
		_exit(0);
	}
	close(pair[0]);
	fd = pid < 0 ? -1 : receive_fd(pair[1]);
	close(pair[1]);
	return pid >= 0 && !wait_for(pid) ? fd : -1;
}

int memfd(uint64_t size, unsigned int flags)
{
	int fd = memfd_create("object", MFD_CLOEXEC | flags);

	if (fd >= 0 && ftruncate(fd, size)) {
		close(fd);
		return -1;
	}
	return fd;
}

int file_on(const char *type, unsigned long flags, uint64_t size)
{
	char dir[] = "/tmp/mst.XXXXXX", path[64];
	int fd = -1;

	if (!mkdtemp(dir))
		return -1;
	if (!mount("none", dir, type, flags, NULL)) {
		snprintf(path, sizeof(path), "%s/file", dir);
		fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		if (fd >= 0 && ftruncate(fd, size)) {
			close(fd);
			fd = -1;
		}
		umount2(dir, MNT_DETACH);
	}
	rmdir(dir);
	return fd;
}

bool lru_drain(void)
{
	return write_text("/proc/sys/vm/drop_caches", "1");
}

bool swap_on(const char *path)
{
	char cmd[256];

	snprintf(cmd, sizeof(cmd),
		 "{ mkswap %s || busybox mkswap %s; } >/dev/null 2>&1", path, path);
	return !system(cmd) && !swapon(path, 0);
}

int loop_device(uint64_t size, char *path, size_t path_size)
{
	int ctl, nr, dev, back;

	ctl = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	if (ctl < 0)
		return -1;
	back = memfd(size, 0);
	nr = ioctl(ctl, LOOP_CTL_GET_FREE);
	close(ctl);
	if (nr < 0 || back < 0)
		return -1;
	snprintf(path, path_size, "/dev/loop%d", nr);
	dev = open(path, O_RDWR | O_CLOEXEC);
	if (dev < 0 || ioctl(dev, LOOP_SET_FD, back)) {
		close(dev);
		close(back);
		return -1;
	}
	/* Goes away with its last user. */
	ioctl(dev, LOOP_SET_STATUS64,
	      &(struct loop_info64){ .lo_flags = LO_FLAGS_AUTOCLEAR });
	close(back);
	return dev;
}

const char *disk_mount(void)
{
	static char dir[64];
	char dev[32], cmd[200];
	int fd, hold;

	if (getenv("MST_DISK"))
		return getenv("MST_DISK");
	if (*dir)
		return dir;
	fd = loop_device(128 * MIB, dev, sizeof(dev));
	if (fd < 0)
		return NULL;
	snprintf(dir, sizeof(dir), "/tmp/mst-disk.%d", getpid());
	mkdir("/tmp", 0777);
	/* In a mount namespace of our own the mount ends with us. */
	if (unshare(CLONE_NEWNS))
		return NULL;
	mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
	snprintf(cmd, sizeof(cmd),
		 "{ mkfs.ext4 -qF %s || busybox mke2fs -F %s; } >/dev/null 2>&1", dev, dev);
	/* Nothing that is open for writing can be mounted, and the last close frees it. */
	hold = open(dev, O_RDONLY | O_CLOEXEC);
	close(fd);
	if (system(cmd) || mkdir(dir, 0700) || mount(dev, dir, "ext4", 0, NULL)) {
		fprintf(stderr, "# no ext4 file system on %s: %m\n", dev);
		*dir = 0;
	}
	close(hold);
	return *dir ? dir : NULL;
}

int ext4_file(uint64_t size)
{
	const char *dir = disk_mount();
	char path[256];
	int fd;

	if (!dir)
		return -1;
	snprintf(path, sizeof(path), "%s/mst.XXXXXX", dir);
	fd = mkostemp(path, O_CLOEXEC);
	if (fd < 0)
		return -1;
	unlink(path);
	if (ftruncate(fd, size)) {
		close(fd);
		return -1;
	}
	return fd;
}

bool huge_pages(uint64_t size, long count)
{
	static const char *const names[] = { "nr_hugepages", "free_hugepages", "resv_hugepages" };
	char path[3][96];
	const int tries = 1200;
	long long have;
	int i;

	for (i = 0; i < 3; i++)
		snprintf(path[i], sizeof(path[i]), "/sys/kernel/mm/hugepages/hugepages-%llukB/%s",
			 (unsigned long long)(size / KIB), names[i]);
	if (read_number(path[0]) < 0)
		return false;
	/*
	 * A region that is being freed may still have some: wait for those, rather
	 * than make more of the largest ones.  Without any it is no use to wait long.
	 */
	for (i = 0; i < tries; i++) {
		bool hope = sys_mshare("regions") > 0 && read_number(path[0]) > 0;

		have = read_number(path[1]) - read_number(path[2]);
		if (have < count && (size < GIB || !hope || i == tries - 1)) {
			write_number(path[0], read_number(path[0]) + count - have);
			have = read_number(path[1]) - read_number(path[2]);
		}
		if (have >= count)
			return true;
		if (!hope && i >= 20)
			break;
		sleep_ms(50);
	}
	return false;
}

static uint64_t word_of(uint64_t i, uint64_t seed)
{
	return (i + 1) * 0x9e3779b97f4a7c15ULL ^ seed * 0xff51afd7ed558ccdULL;
}

bool shmem_thp(void)
{
	return write_text("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "advise");
}

void fill(void *addr, uint64_t length, uint64_t seed)
{
	volatile uint64_t *word = addr;
	uint64_t i;

	for (i = 0; i < length / 8; i++)
		word[i] = word_of(i, seed);
}

uint64_t wrong(const void *addr, uint64_t length, uint64_t seed)
{
	const volatile uint64_t *word = addr;
	uint64_t i, bad = 0;

	for (i = 0; i < length / 8; i++)
		if (word[i] != word_of(i, seed))
			bad += 8;
	return bad;
}

uint64_t sum(const void *addr, uint64_t length)
{
	const volatile uint64_t *word = addr;
	uint64_t i, total = 0;

	for (i = 0; i < length / 8; i++)
		total = total * 31 + word[i];
	return total;
}

char *slurp(const char *path)
{
	size_t used = 0, room = 65536;
	char *text = malloc(room);
	ssize_t got;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	while (text && fd >= 0 && (got = read(fd, text + used, room - used - 1)) > 0) {
		used += got;
		if (room - used < 4096)
			text = realloc(text, room *= 2);
	}
	if (fd >= 0)
		close(fd);
	if (text)
		text[used] = 0;
	return text;
}

long long read_number(const char *path)
{
	char *text = slurp(path);
	long long value = text && isdigit((unsigned char)*text) ? strtoll(text, NULL, 0) : -1;

	free(text);
	return value;
}

bool write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	int err = errno;

	if (fd >= 0)
		close(fd);
	errno = err;
	return ok;
}

bool write_number(const char *path, long long value)
{
	char text[32];

	snprintf(text, sizeof(text), "%lld", value);
	return write_text(path, text);
}

long long file_key(const char *path, const char *key)
{
	char *text = slurp(path), *line, *save = NULL;
	long long value = -1;

	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (!strncmp(line, key, strlen(key))) {
			value = strtoll(line + strlen(key), NULL, 0);
			break;
		}
	}
	free(text);
	return value;
}

long long sys_mshare(const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/kernel/mm/mshare/%s", name);
	return read_number(path);
}

bool sys_mshare_becomes(const char *name, long long value)
{
	if (BECOMES(sys_mshare(name) == value))
		return true;
	fprintf(stderr, "# /sys/kernel/mm/mshare/%s stays at %lld, not %lld\n", name,
		sys_mshare(name), value);
	return false;
}

void populate_what_can_be_had(int fd, uint64_t offset, uint64_t length)
{
	uint64_t resident = 0;
	int same;

	for (same = 0; same < 10; same++) {
		lru_drain();
		mshare_advise(fd, offset, length, MADV_POPULATE_WRITE, 0);
		if (stat_of(fd).resident != resident)
			same = 0;
		resident = stat_of(fd).resident;
		sleep_ms(50);
	}
}

long long settled(void)
{
	/* The tests have the machine for themselves. */
	sys_mshare_becomes("regions", 0);
	return sys_mshare("regions");
}

/* The part of maps or smaps that starts with the line of ADDR. */
static char *maps_part(const char *path, const void *addr)
{
	char *text = slurp(path), *line, *next, *part = NULL;
	unsigned long start, end, at = (unsigned long)addr;
	bool found = false;

	for (line = text; line && *line; line = next) {
		next = strchr(line, '\n');
		next = next ? next + 1 : line + strlen(line);
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2) {
			if (found)
				break;
			found = at >= start && at < end;
			if (found)
				part = line;
		}
	}
	part = strndup(part ? part : "", part ? line - part : 0);
	free(text);
	return part;
}

long long meminfo(const char *key)
{
	/* The counters are per CPU; reading this adds them up. */
	free(slurp("/proc/sys/vm/stat_refresh"));
	return file_key("/proc/meminfo", key);
}

char *maps_line(const void *addr)
{
	char *part = maps_part("/proc/self/maps", addr);

	part[strcspn(part, "\n")] = 0;
	return part;
}

char *smaps_block(const void *addr)
{
	return maps_part("/proc/self/smaps", addr);
}

long long smaps(const char *addr, const char *key)
{
	char *text = addr ? smaps_block(addr) : slurp("/proc/self/smaps_rollup"), *line, want[64];
	long long value;

	snprintf(want, sizeof(want), "\n%s:", key);
	line = strstr(text, want);
	value = line ? strtoll(line + strlen(want), NULL, 10) * KIB : -1;
	free(text);
	return value;
}

struct snap snap_take(int fd, const void *addr, uint64_t length)
{
	struct snap s = { .sum = sum(addr, length) };
	char path[64], *line;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	s.fdinfo = slurp(path);
	/* Reading may be a fault served: the only number that moves by itself. */
	line = strstr(s.fdinfo, "mshare-faults:");
	if (line)
		memset(line, 'x', strcspn(line, "\n"));
	s.smaps = smaps_block(addr);
	s.st = stat_of(fd);
	s.st.faults = 0;
	return s;
}

bool snap_same(const struct snap *before, const struct snap *after)
{
	static const char *const names[] = {
		"id", "size", "align", "base", "attachments", "objects", "mapped", "resident",
		"swapped", "pgtable_bytes", "faults", "flags",
	};
	const __u64 *old = &before->st.id, *new = &after->st.id;
	bool same = true;
	unsigned int i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (old[i] != new[i]) {
			fprintf(stderr, "# changed: %s was %llu, is %llu\n", names[i],
				(unsigned long long)old[i], (unsigned long long)new[i]);
			same = false;
		}
	}
	if (strcmp(before->smaps, after->smaps)) {
		fprintf(stderr, "# changed: smaps was\n%s# is\n%s", before->smaps, after->smaps);
		same = false;
	}
	if (strcmp(before->fdinfo, after->fdinfo)) {
		fprintf(stderr, "# changed: fdinfo was\n%s# is\n%s", before->fdinfo, after->fdinfo);
		same = false;
	}
	if (before->sum != after->sum) {
		fprintf(stderr, "# changed: the content\n");
		same = false;
	}
	return same;
}

bool pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return !sched_setaffinity(0, sizeof(set), &set);
}

int cpus(void)
{
	return sysconf(_SC_NPROCESSORS_ONLN);
}

bool page_map(const void *addr, uint64_t *entries, uint64_t pages)
{
	int map = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	ssize_t size = pages * sizeof(*entries);
	bool good = pread(map, entries, size, (uintptr_t)addr / PAGE * sizeof(*entries)) == size;

	close(map);
	return good;
}

void sleep_ms(int ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000L };

	while (nanosleep(&ts, &ts) && errno == EINTR)
		;
}

uint64_t clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

uint64_t now_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

static int ascending(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

uint64_t median(uint64_t *values, int count)
{
	qsort(values, count, sizeof(*values), ascending);
	return values[count / 2];
}

bool await(const volatile int *flag)
{
	time_t end = time(NULL) + 120;

	while (!*flag) {
		if (time(NULL) > end)
			return false;
		sched_yield();
	}
	return true;
}

static int result_of(int status)
{
	return WIFSIGNALED(status) ? KILLED_BY(WTERMSIG(status)) : WEXITSTATUS(status);
}

int wait_for(pid_t pid)
{
	int status;

	return waitpid(pid, &status, 0) == pid ? result_of(status) : -1;
}

bool ended(pid_t pid, int *result)
{
	int status;

	if (waitpid(pid, &status, WNOHANG) != pid)
		return false;
	*result = result_of(status);
	return true;
}

void *shared_page(void)
{
	void *page = mmap(NULL, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return page == MAP_FAILED ? NULL : page;
}

void send_fd(int sock, int fd)
{
	union {
		struct cmsghdr hdr;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { .hdr = { .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET,
			       .cmsg_type = SCM_RIGHTS } };
	struct iovec iov = { "x", 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
			      .msg_controllen = sizeof(control) };

	memcpy(CMSG_DATA(&control.hdr), &fd, sizeof(fd));
	if (sendmsg(sock, &msg, 0) != 1)
		fprintf(stderr, "# sendmsg of a descriptor: %m\n");
}

int receive_fd(int sock)
{
	union {
		struct cmsghdr hdr;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	char byte;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	struct cmsghdr *c;
	int fd = -1;

	if (recvmsg(sock, &msg, 0) != 1)
		return -1;
	c = CMSG_FIRSTHDR(&msg);
	if (c && c->cmsg_type == SCM_RIGHTS)
		memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd;
}

bool cpu_has(const char *flag)
{
	char *text = slurp("/proc/cpuinfo"), *at = text;
	size_t len = strlen(flag);
	bool has = false;

	while (!has && (at = strstr(at, flag))) {
		has = at > text && isspace((unsigned char)at[-1]) &&
		      isspace((unsigned char)at[len]);
		at += len;
	}
	free(text);
	return has;
}
