// SPDX-License-Identifier: GPL-2.0
/*
 * Huge pages that there are not, and who may have them; and page tables of huge
 * pages, which mappings of the same file share with each other.
 */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "mst.h"

#include <linux/falloc.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#define POOL	"/sys/kernel/mm/hugepages/hugepages-2048kB/"
#define HUGETLB	(MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB | MAP_HUGE_2MB)

FIXTURE(hugetlb) {
	int fd;
	long long pool;
	/* Pages that others have, such as those that hwpoison_test took out of use. */
	long long others;
	char *addr;
};

/* A pool with two pages that nobody has. */
FIXTURE_SETUP(hugetlb)
{
	/* What other tests had is given back a little later. */
	ASSERT_EQ(0, settled());
	ASSERT_TRUE(BECOMES(read_number(POOL "resv_hugepages") == 0));
	self->pool = read_number(POOL "nr_hugepages");
	if (!huge_pages(HUGE, 2))
		SKIP(return, "no huge pages of 2 MiB");
	self->others = read_number(POOL "nr_hugepages") - read_number(POOL "free_hugepages");
	ASSERT_TRUE(write_number(POOL "nr_hugepages", self->others + 2));
	ASSERT_EQ(2, read_number(POOL "free_hugepages"));
	self->fd = region(GIB);
	ASSERT_LE(0, self->fd);
	self->addr = attached(self->fd, 0, PAGE);
	ASSERT_NE(NULL, self->addr);
}

FIXTURE_TEARDOWN(hugetlb)
{
	ASSERT_OK(mshare_detach(self->addr, 0));
	ASSERT_OK(close(self->fd));
	EXPECT_EQ(0, settled());
	/* All were given back. */
	EXPECT_EQ(self->others,
		  read_number(POOL "nr_hugepages") - read_number(POOL "free_hugepages"));
	EXPECT_EQ(0, read_number(POOL "resv_hugepages"));
	write_number(POOL "nr_hugepages", self->pool);
}

TEST_F(hugetlb, more_than_there_are_is_ENOMEM)
{
	struct snap before = snap_take(self->fd, self->addr, PAGE), after;

	EXPECT_ERR(ENOMEM, map_obj(self->fd, HUGE, 3 * HUGE, RW, HUGETLB, -1, 0));
	after = snap_take(self->fd, self->addr, PAGE);
	EXPECT_TRUE(snap_same(&before, &after));
	EXPECT_EQ(0, read_number(POOL "resv_hugepages"));
	ASSERT_EQ(HUGE, map_obj(self->fd, HUGE, 2 * HUGE, RW, HUGETLB, -1, 0));
	EXPECT_EQ(2, read_number(POOL "resv_hugepages"));
	/* What is reserved is there. */
	IN_CHILD(fill(self->addr + HUGE, 2 * HUGE, 1));
	EXPECT_EQ(0, wrong(self->addr + HUGE, 2 * HUGE, 1));
	ASSERT_OK(mshare_unmap(self->fd, HUGE, 2 * HUGE, 0));
}

TEST_F(hugetlb, without_a_reservation_an_access_may_get_SIGBUS)
{
	int zero = open("/dev/zero", O_RDONLY);
	long long count = read_number(POOL "nr_hugepages");

	ASSERT_EQ(HUGE, map_obj(self->fd, HUGE, 4 * HUGE, RW, HUGETLB | MAP_NORESERVE, -1, 0));
	EXPECT_EQ(0, read_number(POOL "resv_hugepages"));
	EXPECT_EQ(FAULT_NONE, try_store(self->addr + HUGE, 1));
	EXPECT_EQ(FAULT_NONE, try_store(self->addr + 2 * HUGE, 2));
	EXPECT_EQ(FAULT_BUS, try_store(self->addr + 3 * HUGE, 3));
	EXPECT_EQ(FAULT_BUS, try_load(self->addr + 3 * HUGE));
	IN_CHILD(CHILD_CHECK(try_store(self->addr + 4 * HUGE, 3) == FAULT_BUS));
	EXPECT_ERR(EFAULT, read(zero, self->addr + 3 * HUGE, 8));
	EXPECT_ERR(EFAULT, mshare_advise(self->fd, 3 * HUGE, HUGE, MADV_POPULATE_WRITE, 0));
	EXPECT_EQ(2 * HUGE, stat_of(self->fd).resident & ~(HUGE - 1));
	/* One more, and it goes on. */
	ASSERT_TRUE(write_number(POOL "nr_hugepages", count + 1));
	EXPECT_EQ(FAULT_NONE, try_store(self->addr + 3 * HUGE, 3));
	EXPECT_EQ(1, self->addr[HUGE]);
	EXPECT_EQ(2, self->addr[2 * HUGE]);
	/* And one that was given back. */
	ASSERT_OK(mshare_advise(self->fd, HUGE, HUGE, MADV_REMOVE, 0));
	EXPECT_EQ(FAULT_NONE, try_store(self->addr + 4 * HUGE, 4));
	EXPECT_EQ(FAULT_BUS, try_load(self->addr + HUGE));
	close(zero);
}

/* The cgroup of who faults has a limit; the region's creator does not matter. */
TEST_F(hugetlb, the_cgroup_of_who_faults_pays)
{
	char dir[64];

	snprintf(dir, sizeof(dir), "/sys/fs/cgroup/mst.%d", getpid());
	write_text("/sys/fs/cgroup/cgroup.subtree_control", "+hugetlb");
	if (mkdir(dir, 0755) || !write_number(cgroup_file(dir, "hugetlb.2MB.max"), HUGE))
		SKIP(return, "no cgroup2 with hugetlb: %m");
	ASSERT_EQ(HUGE, map_obj(self->fd, HUGE, 2 * HUGE, RW, HUGETLB, -1, 0));
	IN_CHILD({
		CHILD_CHECK(write_text(cgroup_file(dir, "cgroup.procs"), "0"));
		CHILD_CHECK(try_store(self->addr + HUGE, 1) == FAULT_NONE);
		CHILD_CHECK(try_store(self->addr + 2 * HUGE, 2) == FAULT_BUS);
	});
	EXPECT_EQ(HUGE, read_number(cgroup_file(dir, "hugetlb.2MB.current")));
	EXPECT_EQ(FAULT_NONE, try_store(self->addr + 2 * HUGE, 2));
	EXPECT_EQ(1, self->addr[HUGE]);
	EXPECT_EQ(HUGE, read_number(cgroup_file(dir, "hugetlb.2MB.current")));
	ASSERT_OK(mshare_unmap(self->fd, HUGE, 2 * HUGE, 0));
	EXPECT_EQ(0, read_number(cgroup_file(dir, "hugetlb.2MB.current")));
	EXPECT_OK(rmdir(dir));
}

/*
 * A GiB of a file that several mappings have whole, and at a multiple of it, has one
 * page table in all of them.  Here a region has one and an ordinary process: a guest
 * on CPU 1 and a thread of the process on CPU 2 are busy with one page of it.
 */
#define OTHERS_PLACE	((char *)(20 * SLOT))
/* Pages: one that only the region touches, one that all do, one that the process does. */
#define BUSY		HUGE
#define OTHERS		(2 * HUGE)
#define FOREIGN		0x5eed5eed5eed5eedULL
#define WRITTEN		0x00c0ffee00c0ffeeULL

enum work {
	STORES,		/* adds 1 to its word, and looks whether it is what it left */
	LOADS,
	LATER,		/* nothing until it is told; then its word is 0, and is written */
};

struct seat {
	volatile int ready, go, fault, done;
	/* Of the process: it is to make its change, and what that returned. */
	volatile int change, changed;
	/* Whether it has a page that it never touched: at first, and in the end. */
	volatile int shares, there;
	volatile uint64_t beats, stale, lost;
};

/* seat.fault of who was told to end. */
#define WAS_TOLD	(-1)
#define NOT_YET		(-2)

static struct seat *dying;

static void last_fault(int sig, siginfo_t *info, void *context)
{
	dying->fault = FAULT(sig, info->si_code);
	/* The process may have something to say yet. */
	while (!dying->done || dying->there == NOT_YET)
		sleep_ms(5);
	_exit(0);
}

static void works(struct seat *seat, volatile uint64_t *word, int cpu, enum work work)
{
	struct sigaction act = { .sa_sigaction = last_fault, .sa_flags = SA_SIGINFO };

	CHILD_CHECK(pin(cpu));
	dying = seat;
	sigaction(SIGSEGV, &act, NULL);
	sigaction(SIGBUS, &act, NULL);
	(void)*word;
	seat->ready = 1;
	while (!seat->done) {
		bool after = seat->go;

		if (work == STORES) {
			seat->lost += *word != seat->beats;
			*word = seat->beats + 1;
		} else if (work == LOADS) {
			(void)*word;
		} else if (after) {
			seat->stale += *word && *word != WRITTEN;
			*word = WRITTEN;
		}
		seat->beats++;
		seat->stale += after && work != LATER;
	}
	seat->fault = WAS_TOLD;
}

static volatile uint64_t *guests_word(char *addr)
{
	return (volatile uint64_t *)(addr + BUSY + 512);
}

static volatile uint64_t *others_word(char *addr)
{
	return (volatile uint64_t *)(addr + BUSY + 1024);
}

/* Whether a page is in our page table; its frame is left in FRAME. */
static bool is_there(const void *addr, uint64_t *frame)
{
	uint64_t entry = 0;

	CHILD_CHECK(page_map(addr, &entry, 1));
	*frame = entry & ((1ULL << 55) - 1);
	return entry >> 63;
}

struct table {
	int fd, file;
	long long pool;
	char *addr;
	struct seat *guest, *other;
	pid_t guest_pid, other_pid;
};

static char *map_gib(int file)
{
	return mmap(OTHERS_PLACE, GIB, RW, MAP_SHARED | MAP_NORESERVE | MAP_FIXED_NOREPLACE, file,
		    0);
}

/* What one needs of the machine. */
static bool can_have_table(struct table *t)
{
	t->pool = read_number(POOL "nr_hugepages");
	return cpus() >= 4 && huge_pages(HUGE, 8);
}
#define NO_TABLE	"needs 4 CPUs and huge pages of 2 MiB"

/* The file in the second GiB of a region. */
static void make_table(struct __test_metadata *_metadata, struct table *t)
{
	t->fd = region(2 * GIB);
	ASSERT_LE(0, t->fd);
	t->file = memfd(GIB, MFD_HUGETLB);
	ASSERT_LE(0, t->file);
	ASSERT_EQ(GIB, map_obj(t->fd, GIB, GIB, RW, MAP_SHARED | MAP_NORESERVE, t->file, 0));
	t->addr = mshare_attach(t->fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, t->addr);
	t->addr += GIB;
}

static void end_table(struct __test_metadata *_metadata, struct table *t)
{
	EXPECT_OK(mshare_detach(t->addr - GIB, 0));
	EXPECT_OK(close(t->fd));
	EXPECT_OK(close(t->file));
	EXPECT_EQ(0, settled());
	write_number(POOL "nr_hugepages", t->pool);
}

static pid_t start_guest(struct table *t, enum work work)
{
	pid_t pid = fork();
	char *addr;

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* At another address than the tester. */
	addr = mshare_attach(t->fd, NULL, 0);
	CHILD_CHECK(addr != MAP_FAILED);
	works(t->guest, guests_word(addr + GIB), 1, work);
	_exit(0);
}

struct others_thread {
	struct seat *seat;
	char *addr;
	enum work work;
};

static void *others_thread(void *arg)
{
	struct others_thread *thread = arg;

	works(thread->seat, others_word(thread->addr), 2, thread->work);
	return NULL;
}

static pid_t start_other(struct table *t, enum work work, int (*change)(char *addr))
{
	struct others_thread arg = { .seat = t->other, .work = work };
	pid_t pid = fork();
	pthread_t thread;
	uint64_t frame;
	int present;

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	CHILD_CHECK(pin(3));
	arg.addr = map_gib(t->file);
	CHILD_CHECK(arg.addr == OTHERS_PLACE);
	/* That makes the table, and what the region has touched is in it. */
	arg.addr[OTHERS] = 1;
	t->other->shares = is_there(arg.addr, &frame);
	CHILD_CHECK(!pthread_create(&thread, NULL, others_thread, &arg));
	while (!t->other->change && !t->other->done)
		sleep_ms(5);
	if (t->other->change)
		t->other->changed = change(arg.addr);
	while (!t->other->done)
		sleep_ms(5);
	present = is_there(arg.addr, &frame);
	t->other->there = present;
	/* Unless it has had a fault, and ends us. */
	pthread_join(thread, NULL);
	_exit(0);
}

static bool goes_on(struct seat *seat)
{
	uint64_t from = seat->beats;

	return BECOMES(seat->fault || seat->beats > from + 1000) && !seat->fault;
}

/* Both are at work, and have one table. */
static void start_both(struct __test_metadata *_metadata, struct table *t, enum work guest,
		       enum work other, int (*change)(char *addr))
{
	uint64_t faults, frame;

	t->guest = shared_page();
	t->other = shared_page();
	t->addr[0] = 1;
	t->other->there = NOT_YET;
	t->other->changed = NOT_YET;
	ASSERT_TRUE(is_there(t->addr, &frame));
	ASSERT_FALSE(is_there(t->addr + OTHERS, &frame));
	faults = stat_of(t->fd).faults;
	t->other_pid = start_other(t, other, change);
	ASSERT_LE(0, t->other_pid);
	ASSERT_TRUE(await(&t->other->ready));
	EXPECT_TRUE(t->other->shares);
	/* What it touched is in the region, and no fault was needed. */
	EXPECT_TRUE(is_there(t->addr + OTHERS, &frame));
	EXPECT_EQ(1, t->addr[OTHERS]);
	EXPECT_EQ(faults, stat_of(t->fd).faults);
	t->guest_pid = start_guest(t, guest);
	ASSERT_LE(0, t->guest_pid);
	ASSERT_TRUE(await(&t->guest->ready));
	EXPECT_TRUE(pin(0));
	EXPECT_TRUE(goes_on(t->guest));
	EXPECT_TRUE(goes_on(t->other));
}

/* WHO is to have had that fault, or none if it is 0: then it goes on until it is told. */
static void ends(struct __test_metadata *_metadata, struct seat *seat, pid_t pid, int fault)
{
	if (fault) {
		EXPECT_TRUE(BECOMES(seat->fault || seat->stale > 10000));
	} else {
		EXPECT_TRUE(goes_on(seat));
	}
	seat->done = 1;
	EXPECT_EQ(0, wait_for(pid));
	EXPECT_EQ(fault ? fault : WAS_TOLD, seat->fault);
	EXPECT_EQ(0, seat->stale);
	EXPECT_EQ(0, seat->lost);
}

static int region_reads(int fd)
{
	return mshare_protect(fd, GIB, GIB, PROT_READ, 0);
}

static int region_reads_a_page(int fd)
{
	return mshare_protect(fd, GIB + BUSY, HUGE, PROT_READ, 0);
}

static int region_has_no_access(int fd)
{
	return mshare_protect(fd, GIB, GIB, PROT_NONE, 0);
}

static int region_unmaps(int fd)
{
	return mshare_unmap(fd, GIB, GIB, 0);
}

static int region_unmaps_a_page(int fd)
{
	return mshare_unmap(fd, GIB + BUSY, HUGE, 0);
}

static int other_reads(char *addr)
{
	return mprotect(addr, GIB, PROT_READ);
}

static int other_reads_a_page(char *addr)
{
	return mprotect(addr + BUSY, HUGE, PROT_READ);
}

static int other_has_no_access(char *addr)
{
	return mprotect(addr, GIB, PROT_NONE);
}

static int other_unmaps(char *addr)
{
	return munmap(addr, GIB);
}

static int file_ends(int file)
{
	return ftruncate(file, 0);
}

FIXTURE(shared_table) {
	struct table t;
};

/* What is changed, how who is busy there notices, and what the other has, if anything. */
FIXTURE_VARIANT(shared_table) {
	int (*region)(int fd);
	int (*other)(char *addr);
	int (*file)(int file);
	enum work work;
	int guest_fault, other_fault;
};

#define TABLE(name, ...) FIXTURE_VARIANT_ADD(shared_table, name) { __VA_ARGS__ }
TABLE(region_reads, .region = region_reads, .guest_fault = FAULT_ACCERR);
TABLE(region_reads_a_page, .region = region_reads_a_page, .guest_fault = FAULT_ACCERR);
TABLE(region_has_no_access, .region = region_has_no_access, .work = LOADS,
      .guest_fault = FAULT_ACCERR);
TABLE(region_unmaps, .region = region_unmaps, .guest_fault = FAULT_MAPERR);
TABLE(region_unmaps_a_page, .region = region_unmaps_a_page, .guest_fault = FAULT_MAPERR);
TABLE(other_reads, .other = other_reads, .other_fault = FAULT_ACCERR);
TABLE(other_reads_a_page, .other = other_reads_a_page, .other_fault = FAULT_ACCERR);
TABLE(other_has_no_access, .other = other_has_no_access, .work = LOADS,
      .other_fault = FAULT_ACCERR);
TABLE(other_unmaps, .other = other_unmaps, .other_fault = FAULT_MAPERR);
TABLE(file_ends, .file = file_ends, .guest_fault = FAULT_BUS, .other_fault = FAULT_BUS);

FIXTURE_SETUP(shared_table)
{
	if (!can_have_table(&self->t))
		SKIP(return, NO_TABLE);
	make_table(_metadata, &self->t);
}

FIXTURE_TEARDOWN(shared_table)
{
	end_table(_metadata, &self->t);
}

TEST_F(shared_table, is_changed_for_whom_it_is_meant)
{
	bool guest = variant->guest_fault, other = variant->other_fault;
	struct table *t = &self->t;
	uint64_t words[2], frame;

	start_both(_metadata, t, guest ? variant->work : STORES, other ? variant->work : STORES,
		   variant->other);
	if (variant->region) {
		EXPECT_OK(variant->region(t->fd));
	} else if (variant->file) {
		EXPECT_OK(variant->file(t->file));
	} else {
		t->other->change = 1;
		ASSERT_TRUE(BECOMES(t->other->changed != NOT_YET));
		EXPECT_EQ(0, t->other->changed);
	}
	t->guest->go = guest;
	t->other->go = other;
	/* Who was not meant has the table still, and the other has it no more. */
	EXPECT_EQ(!guest, is_there(t->addr + OTHERS, &frame));
	ends(_metadata, t->guest, t->guest_pid, variant->guest_fault);
	ends(_metadata, t->other, t->other_pid, variant->other_fault);
	EXPECT_EQ(!other, t->other->there);
	/* Each store that was made is in the file. */
	if (!variant->file) {
		ASSERT_EQ(8, pread(t->file, words, 8, BUSY + 512));
		ASSERT_EQ(8, pread(t->file, words + 1, 8, BUSY + 1024));
		EXPECT_EQ(guest && variant->work == LOADS ? 0 : t->guest->beats, words[0]);
		EXPECT_EQ(other && variant->work == LOADS ? 0 : t->other->beats, words[1]);
	}
}

/*
 * The page that was in the hole is given to another file before anybody looks: who
 * has an old translation reads and writes that.
 */
TEST(a_hole_is_in_all_who_share_a_table)
{
	int file = memfd(4 * HUGE, MFD_HUGETLB), i;
	volatile uint64_t *foreign, *found = NULL;
	uint64_t old, frame, j, words[2];
	struct table t;

	if (!can_have_table(&t))
		SKIP(return, NO_TABLE);
	make_table(_metadata, &t);
	ASSERT_LE(0, file);
	foreign = mmap(NULL, 4 * HUGE, RW, MAP_SHARED | MAP_NORESERVE, file, 0);
	ASSERT_NE(MAP_FAILED, foreign);
	*guests_word(t.addr) = 1;
	*others_word(t.addr) = 1;
	start_both(_metadata, &t, LATER, LATER, NULL);
	ASSERT_TRUE(is_there(t.addr + BUSY, &old));
	ASSERT_OK(fallocate(t.file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, BUSY, HUGE));
	EXPECT_FALSE(is_there(t.addr + BUSY, &frame));
	/* The pages that were freed last are the first to be used again. */
	for (i = 0; i < 4 && !found; i++) {
		foreign[i * HUGE / 8] = FOREIGN;
		ASSERT_TRUE(is_there((void *)(foreign + i * HUGE / 8), &frame));
		if (frame == old)
			found = foreign + i * HUGE / 8;
	}
	ASSERT_NE(NULL, found);
	for (j = 0; j < HUGE / 8; j++)
		found[j] = FOREIGN;
	t.guest->go = 1;
	t.other->go = 1;
	ends(_metadata, t.guest, t.guest_pid, 0);
	ends(_metadata, t.other, t.other_pid, 0);
	for (j = 0; j < HUGE / 8; j++)
		ASSERT_EQ(FOREIGN, found[j]);
	ASSERT_EQ(8, pread(t.file, words, 8, BUSY + 512));
	ASSERT_EQ(8, pread(t.file, words + 1, 8, BUSY + 1024));
	EXPECT_EQ(WRITTEN, words[0]);
	EXPECT_EQ(WRITTEN, words[1]);
	/* The others of the table are what they were. */
	EXPECT_EQ(1, t.addr[0]);
	EXPECT_EQ(1, t.addr[OTHERS]);
	ASSERT_OK(munmap((void *)foreign, 4 * HUGE));
	ASSERT_OK(close(file));
	end_table(_metadata, &t);
}

/* Whoever made it: the one who ends leaves it to the one who stays. */
TEST(a_shared_table_stays_with_who_is_left)
{
	uint64_t frame, faults;
	struct table t;
	char *plain;

	if (!can_have_table(&t))
		SKIP(return, NO_TABLE);
	make_table(_metadata, &t);
	/* The process makes it, and the region's first access finds all pages there. */
	IN_CHILD({
		plain = map_gib(t.file);
		CHILD_CHECK(plain == OTHERS_PLACE);
		fill(plain, 2 * HUGE, 1);
		faults = stat_of(t.fd).faults;
		CHILD_CHECK(!wrong(t.addr, HUGE, 1));
		CHILD_CHECK(stat_of(t.fd).faults == faults + 1);
		CHILD_CHECK(is_there(t.addr + HUGE, &frame));
	});
	EXPECT_TRUE(is_there(t.addr + HUGE, &frame));
	EXPECT_EQ(0, wrong(t.addr, 2 * HUGE, 1));
	/* And the region, before it ends. */
	plain = map_gib(t.file);
	ASSERT_EQ(OTHERS_PLACE, plain);
	EXPECT_EQ(0, wrong(plain, PAGE, 1));
	EXPECT_TRUE(is_there(plain + HUGE, &frame));
	ASSERT_OK(mshare_detach(t.addr - GIB, 0));
	ASSERT_OK(close(t.fd));
	EXPECT_EQ(0, settled());
	EXPECT_TRUE(is_there(plain + HUGE, &frame));
	EXPECT_EQ(0, wrong(plain, 2 * HUGE, 1));
	ASSERT_OK(munmap(plain, GIB));
	ASSERT_OK(close(t.file));
	write_number(POOL "nr_hugepages", t.pool);
}

TEST_HARNESS_MAIN
