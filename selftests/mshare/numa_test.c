// SPDX-License-Identifier: GPL-2.0
/*
 * Memory on several nodes: its origin, the permission to move it, and that words
 * keep their values.  Boot with numa=fake=4.
 */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "crew.h"

#include <linux/mempolicy.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define NODES	4
#define PAGES	16
/* What a process of the test of balancing has for itself. */
#define OWN_PAGES	512
#define BALANCING	"/proc/sys/kernel/numa_balancing"

FIXTURE(numa) {
	int fd, file;
	char *addr, *plain;
};

FIXTURE_VARIANT(numa) {
	uint64_t page;
	bool thp, hugetlb;
};

FIXTURE_VARIANT_ADD(numa, pages) { .page = PAGE };
FIXTURE_VARIANT_ADD(numa, transparent_huge_pages) { .page = HUGE, .thp = true };
FIXTURE_VARIANT_ADD(numa, huge_pages) { .page = HUGE, .hugetlb = true };

FIXTURE_SETUP(numa)
{
	uint64_t size = PAGES * variant->page;

	if (access("/sys/devices/system/node/node3", F_OK))
		SKIP(return, "needs 4 NUMA nodes (numa=fake=4)");
	/* If its test has left it on, it moves pages to the reader of the ordinary mapping. */
	write_text(BALANCING, "0");
	/* As many on each node as the object has. */
	if (variant->hugetlb && !huge_pages(HUGE, NODES * PAGES))
		SKIP(return, "no huge pages of 2 MiB");
	if (variant->thp && !shmem_thp())
		SKIP(return, NO_THP);
	self->file = memfd(size, variant->hugetlb ? MFD_HUGETLB : 0);
	ASSERT_LE(0, self->file);
	self->addr = file_region(&self->fd, self->file, size);
	ASSERT_NE(NULL, self->addr);
	self->plain = mmap(NULL, size, RW, MAP_SHARED, self->file, 0);
	ASSERT_NE(MAP_FAILED, self->plain);
	if (variant->thp) {
		ASSERT_OK(mshare_advise(self->fd, 0, size, MADV_HUGEPAGE, 0));
		ASSERT_OK(madvise(self->plain, size, MADV_HUGEPAGE));
	}
}

FIXTURE_TEARDOWN(numa)
{
	EXPECT_OK(mshare_detach(self->addr, 0));
	EXPECT_OK(close(self->fd));
	EXPECT_EQ(0, settled());
}

static int policy(int mode, int node)
{
	unsigned long mask = 1UL << node;

	return syscall(SYS_set_mempolicy, mode, &mask, 8 * sizeof(mask));
}

/* A huge page is mapped as one by the region. */
#define EXPECT_WHOLE()								\
	EXPECT_EQ(variant->thp ? PAGES * variant->page : 0, smaps(self->addr, "ShmemPmdMapped"))

/* The nodes of the pages of a mapping; negative where there is none. */
static void nodes_of(char *addr, uint64_t page, int *node)
{
	void *at[PAGES];
	int i;

	for (i = 0; i < PAGES; i++) {
		at[i] = addr + i * page;
		(void)*(volatile char *)at[i];
	}
	if (syscall(SYS_move_pages, 0, PAGES, at, NULL, node, 0))
		node[0] = -errno;
}

/* How many of the pages are on that node. */
static int count_on(char *plain, uint64_t page, int want)
{
	int node[PAGES], i, count = 0;

	nodes_of(plain, page, node);
	for (i = 0; i < PAGES; i++)
		count += node[i] == want;
	return count;
}

TEST_F(numa, memory_comes_from_where_the_one_who_faults_wants_it)
{
	int node[PAGES], i;

	for (i = 0; i < PAGES; i++) {
		/* Some by the kernel, for a process. */
		IN_CHILD({
			char *at = self->addr + i * variant->page;
			int zero = open("/dev/zero", O_RDONLY);

			CHILD_CHECK(!policy(MPOL_BIND, i % NODES));
			if (i & 4)
				CHILD_CHECK(read(zero, at, 8) == 8);
			else
				*(volatile char *)at = 1;
		});
	}
	EXPECT_WHOLE();
	nodes_of(self->plain, variant->page, node);
	for (i = 0; i < PAGES; i++)
		EXPECT_EQ(i % NODES, node[i]);
}

/* Bytes on each node, as numa_maps says. */
static void numa_maps(const char *addr, uint64_t *bytes)
{
	char *text = slurp("/proc/self/numa_maps"), want[32], *line, *at;
	uint64_t unit = 0;
	int node;

	snprintf(want, sizeof(want), "%lx ", (unsigned long)addr);
	line = strstr(text, want);
	if (line) {
		line[strcspn(line, "\n")] = 0;
		at = strstr(line, " kernelpagesize_kB=");
		unit = at ? strtoull(strchr(at, '=') + 1, NULL, 10) * KIB : 0;
	}
	for (node = 0; node < NODES; node++) {
		snprintf(want, sizeof(want), " N%d=", node);
		at = line ? strstr(line, want) : NULL;
		bytes[node] = at ? strtoull(strchr(at, '=') + 1, NULL, 10) * unit : 0;
	}
	free(text);
}

TEST_F(numa, the_nodes_of_an_attachment_are_those_of_an_ordinary_mapping)
{
	static const int where[PAGES] = { 3, 0, 1, 1, 2, 3, 1, 2, 2, 3, 3, 2, 3, 3, 2, 3 };
	uint64_t through[NODES], bytes[NODES], size = PAGES * variant->page;
	int node[PAGES], other[PAGES], last[PAGES], count[NODES] = {}, i;

	for (i = 0; i < PAGES; i++) {
		IN_CHILD({
			CHILD_CHECK(!policy(MPOL_BIND, where[i]));
			self->addr[i * variant->page] = 1;
		});
		count[where[i]]++;
	}
	EXPECT_WHOLE();
	nodes_of(self->addr, variant->page, node);
	nodes_of(self->addr + variant->page - PAGE, variant->page, last);
	nodes_of(self->plain, variant->page, other);
	for (i = 0; i < PAGES; i++) {
		EXPECT_EQ(where[i], node[i]);
		EXPECT_EQ(where[i], last[i]);
		EXPECT_EQ(where[i], other[i]);
	}
	/* What is not mapped there is not counted. */
	sum(self->plain, size);
	numa_maps(self->addr, through);
	numa_maps(self->plain, bytes);
	for (i = 0; i < NODES; i++) {
		EXPECT_EQ(count[i] * variant->page, through[i]);
		EXPECT_EQ(count[i] * variant->page, bytes[i]);
	}
}

/*
 * What mbind() says of an ordinary mapping of the file holds for the object; but
 * hugetlbfs remembers it for that mapping alone.
 */
TEST_F(numa, memory_comes_from_where_the_file_has_it)
{
	unsigned long mask = 1UL << 2;

	ASSERT_OK(syscall(SYS_mbind, self->plain, PAGES * variant->page, MPOL_BIND, &mask,
			  8 * sizeof(mask), 0));
	IN_CHILD({
		CHILD_CHECK(!policy(MPOL_BIND, 1));
		fill(self->addr, PAGES * variant->page, 1);
	});
	EXPECT_EQ(PAGES, count_on(self->plain, variant->page, variant->hugetlb ? 1 : 2));
	EXPECT_EQ(0, wrong(self->plain, PAGES * variant->page, 1));
}

/* Wants all pages on a node, until they are: those in use just now stay. */
static bool move_all(char *plain, uint64_t page, int node)
{
	int target[PAGES], status[PAGES], i, tries;
	void *at[PAGES];

	for (i = 0; i < PAGES; i++) {
		at[i] = plain + i * page;
		target[i] = node;
	}
	for (tries = 0; tries < 200; tries++) {
		if (count_on(plain, page, node) == PAGES)
			return true;
		syscall(SYS_move_pages, 0, PAGES, at, target, status, MPOL_MF_MOVE_ALL);
		if (tries > 2)
			sleep_ms(5);
	}
	return false;
}

TEST_F(numa, words_stay_when_pages_move)
{
	struct crew *crew = crew_start(self->fd, 0, PAGES * variant->page, 2);
	int i;

	ASSERT_NE(NULL, crew);
	ASSERT_TRUE(crew_advances(crew, 1));
	EXPECT_WHOLE();
	/* A huge page does not move while a task waits for it. */
	if (variant->hugetlb)
		crew->rest = 100;
	for (i = 0; i < 8; i++) {
		EXPECT_TRUE(move_all(self->plain, variant->page, i % NODES));
		ASSERT_TRUE(crew_advances(crew, 1));
	}
	EXPECT_WHOLE();
	EXPECT_EQ(0, crew_ends(crew, self->addr));
}

TEST_F(numa, words_stay_when_a_binding_moves_pages)
{
	struct crew *crew = crew_start(self->fd, 0, PAGES * variant->page, 2);
	unsigned long mask, all = (1UL << NODES) - 1;
	int i, tries, moved = 0;

	ASSERT_NE(NULL, crew);
	ASSERT_TRUE(crew_advances(crew, 1));
	EXPECT_WHOLE();
	if (variant->hugetlb)
		crew->rest = 100;
	for (i = 0; i < 8; i++) {
		moved -= count_on(self->plain, variant->page, i % NODES);
		for (tries = 0; tries < 20; tries++) {
			mask = 1UL << i % NODES;
			syscall(SYS_mbind, self->plain, PAGES * variant->page, MPOL_BIND, &mask,
				8 * sizeof(mask), MPOL_MF_MOVE_ALL);
			if (count_on(self->plain, variant->page, i % NODES) == PAGES)
				break;
			sleep_ms(5);
		}
		moved += count_on(self->plain, variant->page, i % NODES);
		mask = 1UL << (i + 2) % NODES;
		syscall(SYS_migrate_pages, getpid(), 8 * sizeof(mask), &all, &mask);
		ASSERT_TRUE(crew_advances(crew, 1));
	}
	EXPECT_LT(PAGES, moved);
	EXPECT_WHOLE();
	EXPECT_EQ(0, crew_ends(crew, self->addr));
}

/*
 * Has pages on node 1 and asks for all of them to go to node 2.  One that khugepaged
 * is looking at just now stays, as in an ordinary mapping, and is asked for again.
 */
static bool migrate(char *addr, uint64_t page)
{
	unsigned long from = 1UL << 1, to = 1UL << 2;
	long left;
	int i;

	CHILD_CHECK(!policy(MPOL_BIND, 1));
	for (i = 0; i < PAGES; i++)
		addr[i * page] = i + 1;
	CHILD_CHECK(!syscall(SYS_set_mempolicy, MPOL_DEFAULT, NULL, 0));
	CHILD_CHECK(count_on(addr, page, 1) == PAGES);
	for (i = 0; i < 20; i++) {
		left = syscall(SYS_migrate_pages, 0, 8 * sizeof(to), &from, &to);
		CHILD_CHECK(left >= 0);
		if (!left)
			return true;
		/* It counts those that stay. */
		CHILD_CHECK(count_on(addr, page, 1) == left);
		sleep_ms(5);
	}
	return false;
}

static bool in_order(const char *addr, uint64_t page)
{
	int i;

	for (i = 0; i < PAGES; i++)
		if (addr[i * page] != i + 1)
			return false;
	return true;
}

TEST_F(numa, migrate_pages_moves_what_is_attached)
{
	IN_CHILD(CHILD_CHECK(migrate(self->addr, variant->page)));
	EXPECT_EQ(PAGES, count_on(self->addr, variant->page, 2));
	EXPECT_TRUE(in_order(self->addr, variant->page));
	EXPECT_TRUE(in_order(self->plain, variant->page));
	EXPECT_WHOLE();
}

static void become_nobody(void)
{
	CHILD_CHECK(!setgid(65534) && !setuid(65534));
}

/* As of other memory: what others have, too, takes CAP_SYS_NICE. */
TEST_F(numa, whoever_shares_it_may_not_move_it)
{
	/* The test has it attached. */
	IN_CHILD({
		become_nobody();
		CHILD_CHECK(migrate(self->addr, variant->page));
	});
	EXPECT_EQ(PAGES, count_on(self->addr, variant->page, 1));
	EXPECT_TRUE(in_order(self->addr, variant->page));
}

TEST_F(numa, whoever_has_it_alone_may_move_it)
{
	ASSERT_OK(munmap(self->plain, PAGES * variant->page));
	ASSERT_OK(mshare_detach(self->addr, 0));
	IN_CHILD({
		char *addr = mshare_attach(self->fd, NULL, 0);

		become_nobody();
		CHILD_CHECK(addr != MAP_FAILED && migrate(addr, variant->page));
		CHILD_CHECK(count_on(addr, variant->page, 2) == PAGES);
		CHILD_CHECK(in_order(addr, variant->page));
	});
	self->addr = mshare_attach(self->fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, self->addr);
	EXPECT_TRUE(in_order(self->addr, variant->page));
}

static bool set_mems(const char *dir, int node)
{
	char mems[2] = { '0' + node };

	return write_text(cgroup_file(dir, "cpuset.mems"), mems);
}

TEST_F(numa, a_change_of_the_cpuset_moves_it)
{
	char dir[64];
	int i, to, tries;

	if (!write_text("/sys/fs/cgroup/cgroup.subtree_control", "+cpuset"))
		SKIP(return, "no cpusets");
	snprintf(dir, sizeof(dir), "/sys/fs/cgroup/mst.%d", getpid());
	ASSERT_OK(mkdir(dir, 0755));
	ASSERT_TRUE(set_mems(dir, 0));
	/* The one that is in there leads to it. */
	IN_CHILD({
		CHILD_CHECK(write_text(cgroup_file(dir, "cgroup.procs"), "0"));
		for (i = 0; i < PAGES; i++)
			self->addr[i * variant->page] = i + 1;
		CHILD_CHECK(count_on(self->addr, variant->page, 0) == PAGES);
		for (to = 1; to < NODES; to++) {
			CHILD_CHECK(set_mems(dir, to));
			/* Again, for one that khugepaged was looking at. */
			for (tries = 0; tries < 20 &&
			     count_on(self->addr, variant->page, to) < PAGES; tries++)
				CHILD_CHECK(set_mems(dir, to - 1) && set_mems(dir, to));
			CHILD_CHECK(tries < 20);
		}
		CHILD_CHECK(in_order(self->addr, variant->page));
		CHILD_CHECK(write_text("/sys/fs/cgroup/cgroup.procs", "0"));
	});
	EXPECT_TRUE(in_order(self->plain, variant->page));
	EXPECT_WHOLE();
	EXPECT_OK(rmdir(dir));
}

/* The process on a distant node, with memory of its own there that may move. */
static void works_from_afar(volatile uint64_t *word, char *own, char *addr, uint64_t page)
{
	unsigned int i;

	for (;;) {
		for (i = 0; i < PAGES; i++)
			((volatile uint64_t *)(addr + i * page))[1]++;
		for (i = 0; i < OWN_PAGES; i++)
			((volatile uint64_t *)(own + i * PAGE))[1]++;
		(*word)++;
	}
}

TEST_F(numa, balancing_leaves_it_alone)
{
	static const char scan[] = "/sys/kernel/debug/sched/numa_balancing/";
	long long hints = file_key("/proc/vmstat", "numa_pte_updates ");
	unsigned int cpu, home;
	volatile uint64_t *laps = shared_page();
	int i, far;
	char path[96], *own;
	pid_t pid;

	if (!write_text(BALANCING, "1"))
		SKIP(return, "no NUMA balancing");
	sprintf(path, "%sscan_period_min_ms", scan);
	EXPECT_TRUE(write_text(path, "20"));
	sprintf(path, "%sscan_period_max_ms", scan);
	EXPECT_TRUE(write_text(path, "50"));
	sprintf(path, "%sscan_delay_ms", scan);
	EXPECT_TRUE(write_text(path, "0"));
	ASSERT_TRUE(pin(0));
	ASSERT_OK(getcpu(&cpu, &home));
	far = (home + 1) % NODES;
	/*
	 * Nothing is moved to a process with a policy, which this one is for the sake of its
	 * look at the ordinary mapping: a tick between the fault and the load would otherwise
	 * make the load move the page.
	 */
	ASSERT_OK(policy(MPOL_BIND, home));

	own = mmap(NULL, OWN_PAGES * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, own);
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		/* What is bound is left where it is: only where it came from counts. */
		CHILD_CHECK(!policy(MPOL_BIND, far));
		memset(own, 0, OWN_PAGES * PAGE);
		for (i = 0; i < PAGES; i++)
			self->addr[i * variant->page] = 0;
		CHILD_CHECK(!syscall(SYS_set_mempolicy, MPOL_DEFAULT, NULL, 0));
		works_from_afar(laps, own, self->addr, variant->page);
	}
	EXPECT_TRUE(BECOMES(*laps));
	/* The scanner has been at work, at what is the process's own. */
	EXPECT_TRUE(BECOMES(file_key("/proc/vmstat", "numa_pte_updates ") >= hints + OWN_PAGES / 2));
	kill(pid, SIGKILL);
	EXPECT_EQ(KILLED_BY(SIGKILL), wait_for(pid));
	EXPECT_EQ(PAGES, count_on(self->plain, variant->page, far));
	for (i = 0; i < PAGES; i++)
		EXPECT_LE(*laps, ((uint64_t *)(self->addr + i * variant->page))[1]);
	EXPECT_LT(0, *laps);
}

TEST_HARNESS_MAIN
