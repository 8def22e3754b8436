// SPDX-License-Identifier: GPL-2.0
/*
 * The cgroup that pays for a region is full and has nothing to reclaim.  The
 * kernel prints a call trace for each of these cases: run this test by itself.
 */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "random.h"

#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>

static long long now_ms(void)
{
	return now_ns() / 1000000;
}

FIXTURE(oom) {
	char dir[64];
	int fd;
	char *addr;
};

FIXTURE_SETUP(oom)
{
	if (!cgroup_make(self->dir, sizeof(self->dir)))
		SKIP(return, "no cgroup2 with memory: %m");
	self->fd = cgroup_region(self->dir, GIB);
	ASSERT_LE(0, self->fd);
	self->addr = mshare_attach(self->fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, self->addr);
	ASSERT_TRUE(write_text(cgroup_file(self->dir, "memory.swap.max"), "0"));
	ASSERT_TRUE(write_number(cgroup_file(self->dir, "memory.max"), 8 * MIB));
}

FIXTURE_TEARDOWN(oom)
{
	/* With room again, accesses succeed. */
	EXPECT_TRUE(write_text(cgroup_file(self->dir, "memory.max"), "max"));
	fill(self->addr, 16 * MIB, 1);
	EXPECT_EQ(0, wrong(self->addr, 16 * MIB, 1));
	EXPECT_OK(mshare_detach(self->addr, 0));
}

/* Pins as many pages as it can, and returns the result of the last attempt. */
static ssize_t pin_pages(const int *ends, char *addr, size_t length)
{
	struct iovec iov = { .iov_base = addr, .iov_len = length };
	ssize_t done;

	do {
		done = vmsplice(ends[1], &iov, 1, SPLICE_F_NONBLOCK);
		iov.iov_base = (char *)iov.iov_base + done;
		iov.iov_len -= done;
	} while (done > 0 && iov.iov_len);
	return done;
}

/* Makes a pipe with room for pages of LENGTH bytes. */
static bool big_pipe(int *ends, size_t length)
{
	return !pipe(ends) && fcntl(ends[1], F_SETPIPE_SZ, length) >= (int)length;
}

/* Stores into one page after the other up to END, until one faults. */
static int store_until(char *addr, uint64_t *offset, uint64_t end)
{
	int fault = 0;

	for (; *offset < end && !fault; *offset += PAGE)
		fault = try_store(addr + *offset, 1);
	return fault;
}

TEST_F(oom, an_access_from_outside_gets_SIGBUS)
{
	long long start = now_ms();
	uint64_t i = 0;

	ASSERT_EQ(0, map_anon(self->fd, 0, 16 * MIB, RW));
	EXPECT_EQ(SIGBUS, store_until(self->addr, &i, 16 * MIB) >> 8);
	EXPECT_LT(4 * MIB, i);
	/* It never spins. */
	EXPECT_GE(60000, now_ms() - start);
	/* And again, but for what a CPU had charged in advance. */
	EXPECT_EQ(SIGBUS, store_until(self->addr, &i, 16 * MIB) >> 8);
}

/* Alone in the cgroup, and no candidate: as if it were outside. */
TEST_F(oom, whom_the_OOM_killer_must_not_choose_gets_SIGBUS)
{
	pid_t pid;

	ASSERT_EQ(0, map_anon(self->fd, 0, 16 * MIB, RW));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		uint64_t i = 0;
		int ends[2];

		alarm(60);
		/* It could not get memory of its own there either, and would spin. */
		CHILD_CHECK(big_pipe(ends, MIB) && !mlockall(MCL_CURRENT));
		CHILD_CHECK(write_text("/proc/self/oom_score_adj", "-1000"));
		CHILD_CHECK(write_text(cgroup_file(self->dir, "cgroup.procs"), "0"));
		CHILD_CHECK(store_until(self->addr, &i, 16 * MIB) >> 8 == SIGBUS);
		CHILD_CHECK(i > 4 * MIB);
		CHILD_CHECK(pin_pages(ends, self->addr + 15 * MIB, MIB) < 0 && errno == EFAULT);
		_exit(0);
	}
	EXPECT_EQ(0, wait_for(pid));
}

/* The kernel's log from now on. */
static int log_open(void)
{
	int log = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);

	if (log >= 0)
		lseek(log, 0, SEEK_END);
	return log;
}

/* The number of lines since then that contain TEXT. */
static int log_lines(int log, const char *text)
{
	char line[2048];
	ssize_t size;
	int lines = 0;

	while ((size = read(log, line, sizeof(line) - 1)) > 0 || errno == EPIPE) {
		line[size > 0 ? size : 0] = 0;
		lines += !!strstr(line, text);
	}
	return lines;
}

#define REPORT	"Out of memory and no killable processes"

/* Each of these would print a hundred lines, under a lock that all OOM killers need. */
TEST_F(oom, accesses_that_fail_again_and_again_print_nothing)
{
	int log = log_open(), zero = open("/dev/zero", O_RDONLY), i;
	uint64_t at = 0;

	ASSERT_LE(0, log);
	ASSERT_EQ(0, map_anon(self->fd, 0, 64 * MIB, RW));
	EXPECT_EQ(SIGBUS, store_until(self->addr, &at, 64 * MIB) >> 8);
	/* By an unprivileged user, for reading only.  Some CPUs may have charged in advance. */
	IN_CHILD({
		char *addr = mshare_attach(self->fd, NULL, MSHARE_ATTACH_RDONLY);
		int failed = 0;

		CHILD_CHECK(addr != MAP_FAILED && !setresuid(1000, 1000, 1000));
		for (at = 32 * MIB; failed < 50 && at < 40 * MIB; at += PAGE)
			failed += try_load(addr + at) >> 8 == SIGBUS;
		CHILD_CHECK(failed == 50);
	});
	for (i = 0; i < 20; i++) {
		mshare_advise(self->fd, 40 * MIB, MIB, MADV_POPULATE_WRITE, 0);
		read(zero, self->addr + 48 * MIB, PAGE);
	}
	EXPECT_EQ(0, log_lines(log, REPORT));
	close(log);
}

/* As often as the kernel prints such reports, which is ten times in five seconds. */
TEST_F(oom, accesses_from_inside_that_fail_print_at_the_usual_rate)
{
	long long start = now_ms();
	int log = log_open();

	ASSERT_LE(0, log);
	ASSERT_EQ(0, map_anon(self->fd, 0, 64 * MIB, RW));
	IN_CHILD({
		uint64_t i = 0;

		CHILD_CHECK(!mlockall(MCL_CURRENT));
		CHILD_CHECK(write_text("/proc/self/oom_score_adj", "-1000"));
		CHILD_CHECK(write_text(cgroup_file(self->dir, "cgroup.procs"), "0"));
		CHILD_CHECK(store_until(self->addr, &i, 64 * MIB) >> 8 == SIGBUS);
		for (i = 0; i < 60; i++)
			try_load(self->addr + 32 * MIB + i * PAGE);
	});
	/* The first five seconds may have begun before, and the last may have just begun. */
	EXPECT_GE(10 * ((now_ms() - start) / 5000 + 2), log_lines(log, REPORT));
	close(log);
}

/* The buffers of a page of a file are charged to the cgroup of that page, whoever writes. */
TEST_F(oom, a_charge_that_has_to_do_with_no_region_is_reported)
{
	const int pages = 256;
	int log, file, i;
	uint64_t at = 0;
	char *memory;

	file = ext4_file(pages * PAGE);
	if (file < 0)
		SKIP(return, NO_DISK);
	/* Holes that are read get no buffers yet. */
	IN_CHILD({
		char page[4096];

		CHILD_CHECK(write_text(cgroup_file(self->dir, "cgroup.procs"), "0"));
		for (i = 0; i < pages; i++)
			CHILD_CHECK(pread(file, page, PAGE, i * PAGE) == (ssize_t)PAGE);
	});
	memory = mmap(NULL, pages * PAGE, PROT_READ, MAP_SHARED, file, 0);
	ASSERT_NE(MAP_FAILED, memory);
	ASSERT_OK(mlock(memory, pages * PAGE));
	ASSERT_EQ(0, map_anon(self->fd, 0, 64 * MIB, RW));
	EXPECT_EQ(SIGBUS, store_until(self->addr, &at, 64 * MIB) >> 8);
	/* So far above the limit that nothing that is reclaimed makes room. */
	ASSERT_TRUE(write_number(cgroup_file(self->dir, "memory.max"), MIB));

	log = log_open();
	ASSERT_LE(0, log);
	for (i = 0; i < pages; i++)
		EXPECT_EQ(1, pwrite(file, "", 1, i * PAGE));
	EXPECT_LE(1, log_lines(log, REPORT));
	close(log);
	munmap(memory, pages * PAGE);
	close(file);
}

TEST_F(oom, the_kernel_gets_EFAULT_and_populate_ENOMEM)
{
	int zero = open("/dev/zero", O_RDONLY), ends[2];
	ssize_t done;

	ASSERT_TRUE(big_pipe(ends, MIB));
	ASSERT_EQ(0, map_anon(self->fd, 0, 16 * MIB, RW));
	done = read(zero, self->addr, 16 * MIB);
	EXPECT_GT(16 * MIB, done);
	populate_what_can_be_had(self->fd, 0, 16 * MIB);
	EXPECT_GT(15 * MIB, stat_of(self->fd).resident);
	EXPECT_ERR(EFAULT, read(zero, self->addr + 15 * MIB, MIB));
	EXPECT_ERR(EFAULT, pin_pages(ends, self->addr + 15 * MIB, MIB));
	EXPECT_ERR(ENOMEM, mshare_advise(self->fd, 0, 16 * MIB, MADV_POPULATE_WRITE, 0));
	/* MAP_POPULATE fails silently. */
	EXPECT_EQ(32 * MIB, map_obj(self->fd, 32 * MIB, 16 * MIB, RW,
				    MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0));
}

#define HOLDERS		4
#define BYSTANDERS	4
/* Memory that each bystander has of its own: more than a holder has. */
#define OWN		(12 * MIB)

static pid_t start(const char *dir, int fd, uint64_t own)
{
	pid_t pid = fork();
	char *addr;

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	CHILD_CHECK(!*dir || write_text(cgroup_file(dir, "cgroup.procs"), "0"));
	if (own) {
		close(fd);
		addr = mmap(NULL, own, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		CHILD_CHECK(addr != MAP_FAILED);
		fill(addr, own, 1);
		pause();
	}
	/* A holder: wants more of the region as long as it lives. */
	addr = mshare_attach(fd, NULL, 0);
	CHILD_CHECK(addr != MAP_FAILED);
	close(fd);
	for (uint64_t i = 0; ; i = (i + PAGE) % (4 * GIB))
		((volatile char *)addr)[i] = 1;
}

/*
 * The cgroup DIR runs out of memory or, if DIR is "", the machine does.  The processes that
 * have the region attached are killed, one after the other, and no others.
 */
static void holders_die(struct __test_metadata *_metadata, const char *dir)
{
	pid_t holder[HOLDERS], bystander[BYSTANDERS];
	int fd = *dir ? cgroup_region(dir, 4 * GIB) : region(4 * GIB);
	long long kills = file_key("/proc/vmstat", "oom_kill"), regions, first;
	long long scanned = file_key("/proc/vmstat", "slabs_scanned");
	/* In kB, before the holders fill it. */
	long long shmem = meminfo("Shmem:");
	int i;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, map_obj(fd, 0, 4 * GIB, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE,
			     -1, 0));
	for (i = 0; i < BYSTANDERS; i++)
		bystander[i] = start(dir, fd, OWN);
	for (i = 0; i < HOLDERS; i++)
		holder[i] = start(dir, fd, 0);
	ASSERT_OK(close(fd));
	/* Up to five minutes, as the machine may be slow. */
	for (i = 0; i < 6000 && file_key("/proc/vmstat", "oom_kill") == kills; i++)
		sleep_ms(50);
	first = now_ms();
	ASSERT_LT(kills, file_key("/proc/vmstat", "oom_kill"));
	for (i = 0; i < HOLDERS; i++)
		EXPECT_EQ(KILLED_BY(SIGKILL), wait_for(holder[i]));
	regions = settled();
	EXPECT_GE(first + 10000, now_ms());
	EXPECT_EQ(0, regions);
	/* All memory that they filled is free again; the machine has some of its own. */
	EXPECT_TRUE(BECOMES(meminfo("Shmem:") <= shmem + (long long)(4 * MIB / KIB))) {
		TH_LOG("Shmem was %lld kB, is %lld", shmem, meminfo("Shmem:"));
	}
	if (*dir) {
		/* That of the cgroup, too, which still has the bystanders' own memory. */
		EXPECT_TRUE(BECOMES(read_number(cgroup_file(dir, "memory.current")) <=
				    (long long)(BYSTANDERS * OWN + 16 * MIB)));
		/* Nor did the shrinker look for tables constantly: that would be millions. */
		EXPECT_GE(scanned + 1000000, file_key("/proc/vmstat", "slabs_scanned"));
	}
	EXPECT_EQ(kills + HOLDERS, file_key("/proc/vmstat", "oom_kill"));
	for (i = 0; i < BYSTANDERS; i++) {
		EXPECT_EQ(0, waitpid(bystander[i], NULL, WNOHANG)) {
			TH_LOG("a process without an attachment was killed");
		}
		kill(bystander[i], SIGKILL);
		wait_for(bystander[i]);
	}
}

TEST(holders_die_when_their_cgroup_is_full)
{
	char dir[64];

	if (!cgroup_make(dir, sizeof(dir)))
		SKIP(return, "no cgroup2 with memory: %m");
	ASSERT_TRUE(write_text(cgroup_file(dir, "memory.swap.max"), "0"));
	ASSERT_TRUE(write_number(cgroup_file(dir, "memory.max"), 128 * MIB));
	holders_die(_metadata, dir);
}

TEST(holders_die_when_the_machine_is_full)
{
	if (meminfo("MemTotal:") * KIB > GIB)
		SKIP(return, "fills all memory: needs a machine with less than 1 GiB");
	holders_die(_metadata, "");
}

/* Uses memory of its own again and again in the cgroup DIR, and counts. */
static pid_t bystander_in(const char *dir, int fd, volatile int *laps)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	CHILD_CHECK(!close(fd) && write_text(cgroup_file(dir, "cgroup.procs"), "0"));
	for (;;) {
		char *own = mmap(NULL, MIB, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		CHILD_CHECK(own != MAP_FAILED);
		memset(own, 1, MIB);
		CHILD_CHECK(!munmap(own, MIB));
		++*laps;
	}
}

/* It lives, and goes on. */
static void bystander_goes_on(struct __test_metadata *_metadata, pid_t pid, volatile int *laps)
{
	int lap = *laps;

	EXPECT_TRUE(BECOMES(*laps > lap + 1 || waitpid(pid, NULL, WNOHANG)));
	EXPECT_LT(lap + 1, *laps) {
		TH_LOG("a process without an attachment was killed");
	}
	kill(pid, SIGKILL);
	wait_for(pid);
}

/* Below the regions: a process that ends releases what is there before it releases them. */
#define LOW		((char *)0x100000000000)
#define MAPPINGS	20000

/*
 * A killed process counts as done when its own memory is free, long before all its
 * mappings are gone.  By then it has released its region: no other process is killed.
 */
TEST(a_holder_that_takes_long_to_end_lets_go_of_the_region_first)
{
	volatile int *go = shared_page(), *ready = shared_page(), *laps = shared_page();
	long long kills = file_key("/proc/vmstat", "oom_kill");
	time_t end = time(NULL) + 20;
	pid_t holder, bystander;
	char dir[64];
	int fd, i;

	if (!cgroup_make(dir, sizeof(dir)))
		SKIP(return, "no cgroup2 with memory: %m");
	ASSERT_TRUE(write_text(cgroup_file(dir, "memory.swap.max"), "0"));
	ASSERT_TRUE(write_number(cgroup_file(dir, "memory.max"), 64 * MIB));
	fd = cgroup_region(dir, GIB);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, map_obj(fd, 0, GIB, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
	holder = fork();
	ASSERT_LE(0, holder);
	if (!holder) {
		char *addr = mshare_attach(fd, NULL, 0);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		CHILD_CHECK(write_text(cgroup_file(dir, "cgroup.procs"), "0"));
		CHILD_CHECK(addr != MAP_FAILED && addr > LOW && !close(fd));
		/* A seal does not keep it for longer, either. */
		CHILD_CHECK(!syscall(__NR_mseal, addr, SLOT, 0));
		CHILD_CHECK(mmap(LOW, MAPPINGS * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS |
				 MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0) == LOW);
		/* Debug kernels look at all of them each time: some will do. */
		for (i = 1; i < MAPPINGS && time(NULL) < end; i += 2)
			CHILD_CHECK(!mprotect(LOW + i * PAGE, PAGE, PROT_READ));
		*ready = 1;
		while (!*go)
			sleep_ms(1);
		for (uint64_t at = 0; ; at = (at + PAGE) % GIB)
			((volatile char *)addr)[at] = 1;
	}
	bystander = bystander_in(dir, fd, laps);
	ASSERT_LE(0, bystander);
	ASSERT_OK(close(fd));
	ASSERT_TRUE(await(ready));
	ASSERT_TRUE(BECOMES(*laps));
	*go = 1;
	EXPECT_EQ(KILLED_BY(SIGKILL), wait_for(holder));
	EXPECT_EQ(0, settled());
	bystander_goes_on(_metadata, bystander, laps);
	EXPECT_EQ(kills + 1, file_key("/proc/vmstat", "oom_kill"));
	EXPECT_OK(rmdir(dir));
}

static void on_bus(int sig)
{
	_exit(0);
}

/*
 * Others fill a region that its owner pays for.  The owner is killed before any other
 * process of its cgroup, and its region, which filled the cgroup, ends with it.
 */
TEST(an_owner_dies_and_its_region_with_it)
{
	long long kills = file_key("/proc/vmstat", "oom_kill");
	pid_t owner, bystander, stranger[2];
	volatile int *laps = shared_page();
	int pair[2], fd, i;
	char dir[64];

	if (!cgroup_make(dir, sizeof(dir)))
		SKIP(return, "no cgroup2 with memory: %m");
	ASSERT_TRUE(write_text(cgroup_file(dir, "memory.swap.max"), "0"));
	ASSERT_TRUE(write_number(cgroup_file(dir, "memory.max"), 32 * MIB));
	ASSERT_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	owner = fork();
	ASSERT_LE(0, owner);
	if (!owner) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		CHILD_CHECK(write_text(cgroup_file(dir, "cgroup.procs"), "0"));
		fd = mshare_create("owned", MSHARE_OWNED);
		CHILD_CHECK(fd >= 0 && !ftruncate(fd, GIB) && !map_anon(fd, 0, 64 * MIB, RW));
		CHILD_CHECK(mshare_attach(fd, NULL, 0) != MAP_FAILED);
		send_fd(pair[0], fd);
		pause();
	}
	fd = receive_fd(pair[1]);
	ASSERT_LE(0, fd);
	bystander = bystander_in(dir, fd, laps);
	ASSERT_LE(0, bystander);
	ASSERT_TRUE(BECOMES(*laps));
	for (i = 0; i < 2; i++) {
		stranger[i] = fork();
		ASSERT_LE(0, stranger[i]);
		if (!stranger[i]) {
			char *addr = mshare_attach(fd, NULL, 0);

			CHILD_CHECK(addr != MAP_FAILED);
			alarm(60);
			signal(SIGBUS, on_bus);
			for (uint64_t at = 0; ; at = (at + PAGE) % (64 * MIB))
				((volatile char *)addr)[at] = 1;
		}
	}
	EXPECT_EQ(KILLED_BY(SIGKILL), wait_for(owner));
	for (i = 0; i < 2; i++)
		EXPECT_EQ(0, wait_for(stranger[i]));
	bystander_goes_on(_metadata, bystander, laps);
	EXPECT_EQ(kills + 1, file_key("/proc/vmstat", "oom_kill"));
	EXPECT_EQ(MSHARE_STAT_OWNED | MSHARE_STAT_DEAD, stat_of(fd).flags);
	/* We still have it. */
	EXPECT_TRUE(BECOMES(read_number(cgroup_file(dir, "memory.current")) <= 4 * MIB));
	ASSERT_OK(close(fd));
	EXPECT_EQ(0, settled());
	EXPECT_OK(rmdir(dir));
}

static void attach_and_detach(void)
{
	int fd = region(PAGE);

	for (;;) {
		char *addr = mshare_attach(fd, NULL, 0);

		CHILD_CHECK(addr != MAP_FAILED && !mshare_detach(addr, 0));
	}
}

static void create_and_close(void)
{
	for (;;)
		CHILD_CHECK(!close(region(PAGE)));
}

/* As much work, with memory that has nothing to do with regions. */
static void other_work(void)
{
	for (;;) {
		int fd = memfd(PAGE, 0);

		CHILD_CHECK(!munmap(mmap(NULL, PAGE, RW, MAP_SHARED, fd, 0), PAGE));
		close(fd);
	}
}

/* The longest time, in ms, until a cgroup is full and the OOM killer has killed. */
static long long until_killed(struct __test_metadata *_metadata, const char *dir,
			      void (*one)(void), void (*two)(void))
{
	void (*const work[2])(void) = { one, two };
	long long start, longest = 0;
	pid_t pid, others[2];
	int i;

	for (i = 0; i < 2; i++) {
		others[i] = fork();
		if (!others[i]) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			work[i]();
		}
	}
	for (i = 0; i < 3; i++) {
		start = now_ms();
		pid = fork();
		if (!pid) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			CHILD_CHECK(write_text(cgroup_file(dir, "cgroup.procs"), "0"));
			fill(malloc(64 * MIB), 64 * MIB, 1);
			_exit(0);
		}
		EXPECT_EQ(KILLED_BY(SIGKILL), wait_for(pid));
		if (longest < now_ms() - start)
			longest = now_ms() - start;
	}
	for (i = 0; i < 2; i++) {
		kill(others[i], SIGKILL);
		EXPECT_EQ(KILLED_BY(SIGKILL), wait_for(others[i]));
	}
	return longest;
}

TEST(who_lets_go_of_regions_all_the_time_does_not_delay_the_oom_killer)
{
	long long beside_others, beside_regions;
	char dir[64];

	if (!cgroup_make(dir, sizeof(dir)))
		SKIP(return, "no cgroup2 with memory: %m");
	ASSERT_TRUE(write_text(cgroup_file(dir, "memory.swap.max"), "0"));
	ASSERT_TRUE(write_number(cgroup_file(dir, "memory.max"), 32 * MIB));
	beside_others = until_killed(_metadata, dir, other_work, other_work);
	beside_regions = until_killed(_metadata, dir, attach_and_detach, create_and_close);
	TH_LOG("after %lld ms, and %lld", beside_others, beside_regions);
	EXPECT_GE(2 * beside_others + 1000, beside_regions);
	EXPECT_OK(rmdir(dir));
}

/*
 * The limit of a cgroup in bytes.  A program there touches one page in every 2 MiB of a
 * sparse file, whose page tables would be 8 times as large.
 */
static uint64_t sparse_limit(void)
{
	const char *mib = getenv("MST_SPARSE_MIB");

	return (mib ? atoi(mib) : 16) * MIB;
}

static uint64_t sparse_size(void)
{
	return sparse_limit() * 8 / PAGE * HUGE;
}

/* Runs in the cgroup DIR.  The exit status is 2 if the tables have exceeded the limit. */
static void touches(const char *dir, int file, bool shared)
{
	uint64_t size = sparse_size(), at, most = 0, now;
	int fd = -1;
	char *addr;

	CHILD_CHECK(write_text(cgroup_file(dir, "cgroup.procs"), "0"));
	if (shared) {
		fd = mshare_open(file, size, 0);
		CHILD_CHECK(fd >= 0);
		addr = mshare_attach(fd, NULL, MSHARE_ATTACH_RDONLY);
		CHILD_CHECK(!mshare_advise(fd, 0, size, MADV_RANDOM, 0));
	} else {
		addr = mmap(NULL, size, PROT_READ, MAP_SHARED, file, 0);
		CHILD_CHECK(!madvise(addr, size, MADV_RANDOM));
	}
	CHILD_CHECK(addr != MAP_FAILED);
	for (at = 0; at < size; at += HUGE) {
		CHILD_CHECK(!*(volatile char *)(addr + at));
		if (!shared || at / HUGE % 256)
			continue;
		now = stat_of(fd).pgtable_bytes;
		most = most < now ? now : most;
		if (most > sparse_limit())
			_exit(2);
	}
	if (shared) {
		struct mshare_stat st = stat_of(fd);

		fprintf(stderr, "# at most %llu KiB of page tables, %llu reclaimed\n",
			(unsigned long long)most / 1024, (unsigned long long)st.tables_reclaimed);
		CHILD_CHECK(st.tables_reclaimed * PAGE > size / HUGE * PAGE - sparse_limit());
	}
	_exit(0);
}

TEST(page_tables_stay_below_the_limit_of_their_cgroup)
{
	int file = ext4_file(sparse_size()), shared;
	int status[2];
	char dir[64];

	if (file < 0)
		SKIP(return, NO_DISK);
	for (shared = 0; shared < 2; shared++) {
		pid_t pid;

		if (!cgroup_make(dir, sizeof(dir)))
			SKIP(return, "no cgroup2 with memory: %m");
		ASSERT_TRUE(write_number(cgroup_file(dir, "memory.max"), sparse_limit()));
		write_text(cgroup_file(dir, "memory.swap.max"), "0");
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid)
			touches(dir, file, shared);
		status[shared] = wait_for(pid);
		EXPECT_EQ(shared ? 0 : 1,
			  file_key(cgroup_file(dir, "memory.events"), "oom_kill "));
		ASSERT_TRUE(BECOMES(!rmdir(dir)));
	}
	EXPECT_EQ(KILLED_BY(SIGKILL), status[0]);
	EXPECT_EQ(0, status[1]);
}

#define READERS		16
#define SAMPLES		20
#define LOOKS		3

/* In the cgroup DIR: reads 2 MiB of the region at a time, at random, and counts pages. */
static void reads_at_random(const char *dir, int fd, uint64_t size, unsigned int seed,
			    volatile uint64_t *pages)
{
	uint64_t at, end;
	char *addr;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	CHILD_CHECK(write_text(cgroup_file(dir, "cgroup.procs"), "0"));
	addr = mshare_attach(fd, NULL, 0);
	CHILD_CHECK(addr != MAP_FAILED);
	rnd_seed(seed);
	for (;;) {
		at = rnd(size / HUGE) * HUGE;
		for (end = at + HUGE; at < end; at += PAGE, ++*pages)
			(void)*(volatile char *)(addr + at);
	}
}

/*
 * A file of four times the memory of the cgroup: the tables of evicted pages go, too.  When
 * as much as the size of the file has been read, there are at most 1.25 times the tables that
 * the mapped pages would fill, in one of three averages.  MST_READERS_MIB sets the memory.
 */
TEST(page_tables_follow_what_is_resident)
{
	const char *mib = getenv("MST_READERS_MIB");
	uint64_t limit = (mib ? atoi(mib) : 384) * MIB, size = 4 * limit, read;
	int file = ext4_file(size), fd, i, look = 0;
	uint64_t tables, resident;
	volatile uint64_t *pages = shared_page();
	struct mshare_stat st;
	pid_t pid[READERS];
	char dir[64];

	if (file < 0)
		SKIP(return, NO_DISK);
	if (!cgroup_make(dir, sizeof(dir)))
		SKIP(return, "no cgroup2 with memory: %m");
	ASSERT_TRUE(write_number(cgroup_file(dir, "memory.max"), limit));
	write_text(cgroup_file(dir, "memory.swap.max"), "0");
	fd = cgroup_region(dir, size);
	ASSERT_EQ(0, map_file(fd, 0, size, PROT_READ, file));
	for (i = 0; i < READERS; i++) {
		pid[i] = fork();
		ASSERT_LE(0, pid[i]);
		if (!pid[i])
			reads_at_random(dir, fd, size, i + 1, &pages[i]);
	}
	do {
		sleep_ms(1000);
		for (i = 0, read = 0; i < READERS; i++)
			read += pages[i];
	} while (read < size / PAGE && !file_key(cgroup_file(dir, "memory.events"), "oom_kill "));
	do {
		for (i = 0, tables = 0, resident = 0; i < SAMPLES; i++) {
			sleep_ms(1000);
			st = stat_of(fd);
			tables += st.pgtable_bytes;
			resident += st.resident;
		}
		TH_LOG("%llu MiB mapped, page tables %.2f times as large as if they were full",
		       (unsigned long long)(resident / SAMPLES / MIB), 512.0 * tables / resident);
	} while (4 * 512 * tables > 5 * resident && ++look < LOOKS);
	EXPECT_LE(4 * 512 * tables, 5 * resident);
	EXPECT_EQ(0, file_key(cgroup_file(dir, "memory.events"), "oom_kill "));
	EXPECT_LT(0, st.tables_reclaimed);
	for (i = 0; i < READERS; i++) {
		kill(pid[i], SIGKILL);
		EXPECT_EQ(KILLED_BY(SIGKILL), wait_for(pid[i]));
	}
	ASSERT_OK(close(fd));
	close(file);
	EXPECT_EQ(0, settled());
	EXPECT_TRUE(BECOMES(!rmdir(dir)));
}

TEST_HARNESS_MAIN
