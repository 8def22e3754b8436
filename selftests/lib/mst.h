/* SPDX-License-Identifier: GPL-2.0 */
/* Common definitions of the tests of mshare.  Included after, or without, the harness. */
#ifndef MST_H
#define MST_H

#include <errno.h>
#include <fcntl.h>
#include <mshare.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/types.h>

/*
 * Not the 30 s of the harness: guests are emulated, and a debug kernel may have
 * half a processor.
 */
#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT	600

#define PAGE		4096ULL
#define KIB		1024ULL
#define MIB		(1024ULL * 1024)
#define GIB		(1024ULL * MIB)
#define TIB		(1024ULL * GIB)
#define HUGE		(2 * MIB)
#define SLOT		(512 * GIB)
#define WINDOW_START	0x200000000000ULL
#define WINDOW_END	0x500000000000ULL

#define RW		(PROT_READ | PROT_WRITE)

#ifndef MAP_HUGE_2MB
#define MAP_HUGE_2MB	(21 << 26)
#endif
#ifndef MAP_HUGE_1GB
#define MAP_HUGE_1GB	(30 << 26)
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif
#ifndef __NR_process_mrelease
#define __NR_process_mrelease	448
#endif
#ifndef __NR_set_mempolicy_home_node
#define __NR_set_mempolicy_home_node	450
#endif
#ifndef __NR_mseal
#define __NR_mseal	462
#endif

/* The result of an access: 0, or the signal and its code. */
#define FAULT(sig, code)	((sig) << 8 | (code))
#define FAULT_NONE		0
#define FAULT_MAPERR		FAULT(SIGSEGV, SEGV_MAPERR)
#define FAULT_ACCERR		FAULT(SIGSEGV, SEGV_ACCERR)
#define FAULT_BUS		FAULT(SIGBUS, BUS_ADRERR)
/* A signal that names another address than that of the access. */
#define FAULT_ELSEWHERE		(-1)

/* Accesses that survive their signal; not for several threads at a time. */
int try_load(const volatile void *addr);
int try_store(volatile void *addr, uint8_t value);
int try_exec(const void *addr);

/* Creates a region of SIZE bytes; -1 and a message on failure. */
int region(uint64_t size);
/* Maps memory or (FILE >= 0) a file in a region, with the given flags. */
int64_t map_obj(int fd, uint64_t offset, uint64_t length, int prot, int flags, int file,
		uint64_t file_offset);
int64_t map_anon(int fd, uint64_t offset, uint64_t length, int prot);
int64_t map_file(int fd, uint64_t offset, uint64_t length, int prot, int file);
struct mshare_stat stat_of(int fd);
/*
 * Attaches a region and maps LENGTH bytes of writable memory, if any, at its
 * start; NULL and a message if that fails.
 */
char *attached(int fd, unsigned int flags, uint64_t length);
/* A new region of GIB, so attached, and filled with seed 1. */
char *filled_region(int *fd, unsigned int flags, uint64_t length);
/* A new region of GIB, so attached, with SIZE bytes of FILE at its start. */
char *file_region(int *fd, int file, uint64_t size);

/* Makes a memory cgroup; false if that is not possible. */
bool cgroup_make(char *dir, size_t size);
/* Makes OUTER, and a memory cgroup below it, whose path goes to INNER. */
bool cgroup_make_pair(const char *outer, char *inner, size_t size);
/* The path of a file of a cgroup, until the next call. */
char *cgroup_file(const char *dir, const char *name);
/* A region that a child has created in that cgroup before it exited; -1 on failure. */
int cgroup_region(const char *dir, uint64_t size);

/* Files of the kernel's own file systems that a test can use as objects. */
int memfd(uint64_t size, unsigned int flags);
/*
 * A new file of SIZE bytes, open for reading and writing, on a new mount of that
 * type, which ends with the file; -1 on failure.
 */
int file_on(const char *type, unsigned long flags, uint64_t size);
/* Moves pages from per-CPU batches to the LRU lists, so that they can be taken or moved. */
bool lru_drain(void);
/* Makes a file or device swap space and enables it; false on failure. */
bool swap_on(const char *path);
/* An ext4 file system made on a loop device, mounted at the path returned, or NULL. */
const char *disk_mount(void);
/* A new file of SIZE bytes there, which ends with its last use; -1 on failure. */
int ext4_file(uint64_t size);
#define NO_DISK		"no ext4 file system (loop device, mke2fs; or set MST_DISK)"
/* Makes a loop device on memory; stores its name in PATH. */
int loop_device(uint64_t size, char *path, size_t path_size);
/* Ensures that there are COUNT free huge pages of SIZE; false on failure. */
bool huge_pages(uint64_t size, long count);
/* Enables MADV_HUGEPAGE on shared memory; false on failure. */
bool shmem_thp(void);
#define NO_THP		"no transparent huge pages in shared memory"

/* Writes bytes that depend on position and seed; the check returns the number of wrong bytes. */
void fill(void *addr, uint64_t length, uint64_t seed);
uint64_t wrong(const void *addr, uint64_t length, uint64_t seed);
uint64_t sum(const void *addr, uint64_t length);

/* The number in a file; -1 if there is none. */
long long read_number(const char *path);
bool write_text(const char *path, const char *text);
bool write_number(const char *path, long long value);
/* The value after KEY at the start of a line, e.g. "VmSize:"; -1 if there is none. */
long long file_key(const char *path, const char *key);
/* The same of /proc/meminfo, exactly. */
long long meminfo(const char *key);
/* All of a file, NUL-terminated, from malloc(). */
char *slurp(const char *path);
long long sys_mshare(const char *name);
/* Waits, at most a minute or so, until the file in /sys/kernel/mm/mshare contains VALUE. */
bool sys_mshare_becomes(const char *name, long long value);
/* The number of regions, after those that are being freed are gone. */
long long settled(void);
/*
 * Waits, at most a minute or so, until COND is true: for actions of a worker or another
 * process that happen soon, even on a slow machine.  Returns whether COND became true.
 */
#define BECOMES(cond) ({							\
	int __tries = 0;							\
	bool __is;								\
										\
	while (!(__is = (cond)) && ++__tries < 6000)				\
		sleep_ms(10);							\
	__is;									\
})

/* The line of ADDR in /proc/self/maps or its block in smaps; "" if none; from malloc(). */
char *maps_line(const void *addr);
char *smaps_block(const void *addr);
/* A line of smaps, in bytes; of the whole process if ADDR is NULL. */
long long smaps(const char *addr, const char *key);

/*
 * The state of an attachment and its region: nothing has changed if two of these
 * are equal.  Taking a snapshot reads the LENGTH bytes at ADDR.
 */
struct snap {
	char *smaps;
	char *fdinfo;
	struct mshare_stat st;
	uint64_t sum;
};

struct snap snap_take(int fd, const void *addr, uint64_t length);
/* Reports differences on stderr. */
bool snap_same(const struct snap *before, const struct snap *after);

/*
 * Populates in a cgroup until it is full.  Charges that other CPUs have made in advance
 * are returned a little later, and used up, too.
 */
void populate_what_can_be_had(int fd, uint64_t offset, uint64_t length);
/* Reads the pagemap entries of PAGES pages; false on failure. */
bool page_map(const void *addr, uint64_t *entries, uint64_t pages);
bool pin(int cpu);
int cpus(void);
void sleep_ms(int ms);
/* The time of a clock, and that of CLOCK_MONOTONIC, in nanoseconds. */
uint64_t clock_ns(clockid_t clock);
uint64_t now_ns(void);
/* The median of COUNT values; sorts them. */
uint64_t median(uint64_t *values, int count);
/* Spins until the flag is set; false if that does not happen for two minutes. */
bool await(const volatile int *flag);
/* Waits for a child and returns its exit status, or 256 + its signal. */
int wait_for(pid_t pid);
/* Has the child ended?  Its status, as wait_for() returns it. */
bool ended(pid_t pid, int *result);
#define KILLED_BY(sig)	(256 + (sig))

/* An anonymous page of memory that children share, for flags and counters. */
void *shared_page(void);
void send_fd(int sock, int fd);
int receive_fd(int sock);
bool cpu_has(const char *flag);

#ifdef EXPECT_EQ
/* Expects that the call fails with -1 (or MAP_FAILED) and the errno WANT. */
#define EXPECT_ERR(want, call) do {						\
	errno = 0;								\
	long long __ret = (long long)(call);					\
	int __err = __ret == -1 ? errno : 0;					\
	EXPECT_EQ(want, __err) {						\
		TH_LOG("%s returned %lld (%m)", #call, __ret);			\
	}									\
} while (0)

/* Expects that the call returns 0. */
#define EXPECT_OK(call) do {							\
	errno = 0;								\
	long long __ret = (long long)(call);					\
	int __err = errno;							\
	EXPECT_EQ(0, __ret) {							\
		TH_LOG("%s: %s", #call, strerror(__err));			\
	}									\
} while (0)
#define ASSERT_OK(call) do {							\
	errno = 0;								\
	long long __ret = (long long)(call);					\
	int __err = errno;							\
	ASSERT_EQ(0, __ret) {							\
		TH_LOG("%s: %s", #call, strerror(__err));			\
	}									\
} while (0)

/*
 * A check that may stand in a forked child, where the harness does not see
 * ASSERT: the exit status is the line.
 */
#define CHILD_CHECK(cond) do {							\
	if (!(cond)) {								\
		fprintf(stderr, "# %s:%d: in a child: %s is false (errno %d)\n", \
			__FILE__, __LINE__, #cond, errno);			\
		_exit(1);							\
	}									\
} while (0)

/* Runs a statement in a forked child and expects exit status 0. */
#define IN_CHILD(...) do {							\
	fflush(NULL);								\
	pid_t __pid = fork();							\
	ASSERT_LE(0, __pid);							\
	if (!__pid) {								\
		__VA_ARGS__;							\
		_exit(0);							\
	}									\
	EXPECT_EQ(0, wait_for(__pid));						\
} while (0)
#endif

#endif /* MST_H */
