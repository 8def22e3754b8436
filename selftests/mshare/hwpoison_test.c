// SPDX-License-Identifier: GPL-2.0
/*
 * Memory that fails.  Errors are injected by the pseudo file of debugfs and by
 * madvise() on an ordinary mapping of the file that is the object.
 */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "crew.h"

#include <setjmp.h>
#include <sys/prctl.h>
#include <sys/uio.h>

#ifndef MADV_HWPOISON
#define MADV_HWPOISON		100
#endif
#ifndef MADV_SOFT_OFFLINE
#define MADV_SOFT_OFFLINE	101
#endif

#define INJECT	"/sys/kernel/debug/hwpoison/corrupt-pfn"

static sigjmp_buf env;
static siginfo_t info;

static void on_signal(int sig, siginfo_t *si, void *context)
{
	info = *si;
	siglongjmp(env, sig);
}

/* The signal of an access, or 0; info has the rest. */
static int signal_of(volatile char *addr)
{
	struct sigaction act = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO };
	int sig;

	sigaction(SIGBUS, &act, NULL);
	memset(&info, 0, sizeof(info));
	sig = sigsetjmp(env, 1);
	if (!sig)
		(void)*addr;
	return sig;
}

/* The page frame behind an address of ours that is there; 0 if that is not told. */
static uint64_t frame_of(const void *addr)
{
	uint64_t entry;

	return page_map(addr, &entry, 1) && entry >> 63 ? entry & ((1ULL << 55) - 1) : 0;
}

FIXTURE(hwpoison) {
	int fd, file;
	char *addr, *plain;
};

FIXTURE_VARIANT(hwpoison) {
	bool disk;
	uint64_t page;
};

FIXTURE_VARIANT_ADD(hwpoison, memory) { .page = PAGE };
FIXTURE_VARIANT_ADD(hwpoison, a_file) { .page = PAGE, .disk = true };
FIXTURE_VARIANT_ADD(hwpoison, huge_pages) { .page = HUGE };

#define PAGES	4

FIXTURE_SETUP(hwpoison)
{
	uint64_t size = PAGES * variant->page;

	if (access(INJECT, W_OK))
		SKIP(return, "no %s: %m", INJECT);
	if (variant->disk) {
		self->file = ext4_file(size);
		if (self->file < 0)
			SKIP(return, NO_DISK);
	} else {
		if (variant->page == HUGE && !huge_pages(HUGE, 2 * PAGES))
			SKIP(return, "no huge pages of 2 MiB");
		self->file = memfd(size, variant->page == HUGE ? MFD_HUGETLB : 0);
		ASSERT_LE(0, self->file);
	}
	self->addr = file_region(&self->fd, self->file, size);
	ASSERT_NE(NULL, self->addr);
	self->plain = mmap(NULL, size, RW, MAP_SHARED, self->file, 0);
	ASSERT_NE(MAP_FAILED, self->plain);
}

FIXTURE_TEARDOWN(hwpoison)
{
	EXPECT_OK(mshare_detach(self->addr, 0));
	EXPECT_OK(close(self->fd));
	EXPECT_EQ(0, settled());
}

/* Each page with a seed of its own. */
static void write_pages(char *addr, uint64_t page)
{
	int i;

	for (i = 0; i < PAGES; i++)
		fill(addr + i * page, page, i);
}

/* All but the second. */
static uint64_t others_wrong(const char *addr, uint64_t page)
{
	uint64_t bad = 0;
	int i;

	for (i = 0; i < PAGES; i++)
		if (i != 1)
			bad += wrong(addr + i * page, page, i);
	return bad;
}

/* Where the second page is.  Then no ordinary mapping is left to get signals. */
static uint64_t second_page(FIXTURE_DATA(hwpoison) *self, uint64_t page)
{
	uint64_t frame;

	(void)*(volatile char *)(self->plain + page);
	frame = frame_of(self->plain + page);
	munmap(self->plain, PAGES * page);
	return frame;
}

/* Each access gets a signal with the address in the attachment through which it was made. */
static void is_poisoned(struct __test_metadata *_metadata, char *addr, uint64_t page)
{
	int pipes[2];

	EXPECT_EQ(SIGBUS, signal_of(addr + page + 64));
	EXPECT_EQ(BUS_MCEERR_AR, info.si_code);
	EXPECT_EQ(addr + page + 64, info.si_addr);
	EXPECT_EQ(page == HUGE ? 21 : 12, info.si_addr_lsb);
	/* The kernel's own, in a copy and in GUP. */
	ASSERT_OK(pipe(pipes));
	EXPECT_ERR(EFAULT, write(pipes[1], addr + page, 8));
	IN_CHILD({
		char byte;
		struct iovec to = { &byte, 1 }, from = { addr + page, 1 };

		CHILD_CHECK(process_vm_readv(getppid(), &to, 1, &from, 1, 0) < 0 &&
			    errno == EFAULT);
	});
	close(pipes[0]);
	close(pipes[1]);
}

TEST_F(hwpoison, who_touches_it_gets_SIGBUS_and_nobody_else)
{
	uint64_t page = variant->page;
	volatile int *ready = shared_page();
	int go[2], bystander, other;
	uint64_t frame;
	char byte;

	write_pages(self->addr, page);
	frame = second_page(self, page);
	ASSERT_NE(0, frame);
	ASSERT_OK(pipe(go));
	/* Has it attached, asks for early word, and gets none. */
	bystander = fork();
	if (!bystander) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0);
		close(go[1]);
		CHILD_CHECK(!others_wrong(self->addr, page));
		CHILD_CHECK(read(go[0], &byte, 1) == 0);
		CHILD_CHECK(!others_wrong(self->addr, page));
		_exit(0);
	}
	/* Has it at another address and touches it. */
	other = fork();
	if (!other) {
		char *addr = mshare_attach(self->fd, NULL, 0);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(go[1]);
		CHILD_CHECK(addr != MAP_FAILED && addr != self->addr);
		CHILD_CHECK(!signal_of(addr + page));
		*ready = 1;
		CHILD_CHECK(read(go[0], &byte, 1) == 0);
		CHILD_CHECK(signal_of(addr + page) == SIGBUS);
		CHILD_CHECK(info.si_code == BUS_MCEERR_AR && info.si_addr == addr + page);
		_exit(0);
	}
	ASSERT_TRUE(await(ready));
	ASSERT_TRUE(write_number(INJECT, frame));
	close(go[1]);
	is_poisoned(_metadata, self->addr, page);
	EXPECT_EQ(0, wait_for(other));
	EXPECT_EQ(0, wait_for(bystander));
	EXPECT_EQ(0, others_wrong(self->addr, page));
	/* The dirty data are lost, and fsync() reports this. */
	if (variant->disk)
		EXPECT_ERR(EIO, fsync(self->file));
}

TEST_F(hwpoison, an_error_injected_by_madvise)
{
	uint64_t page = variant->page;
	int pid;

	write_pages(self->addr, page);
	/* The caller gets it: the access to its own mapping has failed. */
	pid = fork();
	if (!pid) {
		madvise(self->plain + page, page, MADV_HWPOISON);
		_exit(1);
	}
	EXPECT_EQ(KILLED_BY(SIGBUS), wait_for(pid));
	is_poisoned(_metadata, self->addr, page);
	EXPECT_EQ(0, others_wrong(self->addr, page));
	if (variant->disk)
		EXPECT_ERR(EIO, fsync(self->file));
}

/* Of a clean page only a copy is lost; there is none of what is in memory only. */
TEST_F(hwpoison, what_is_on_the_disk_too_is_read_again)
{
	uint64_t page = variant->page, frame;

	write_pages(self->addr, page);
	frame = second_page(self, page);
	ASSERT_NE(0, frame);
	ASSERT_OK(fsync(self->file));
	ASSERT_TRUE(write_number(INJECT, frame));
	if (variant->disk) {
		EXPECT_EQ(0, wrong(self->addr + page, page, 1));
		EXPECT_OK(fsync(self->file));
	} else {
		is_poisoned(_metadata, self->addr, page);
	}
	EXPECT_EQ(0, others_wrong(self->addr, page));
}

TEST_F(hwpoison, pages_that_are_taken_out_of_use_keep_their_words)
{
	uint64_t size = PAGES * variant->page, frame;
	int i, moved = 0, rounds = variant->page == HUGE ? 1 : 8;
	struct crew *crew = crew_start(self->fd, 0, size, 2);

	ASSERT_NE(NULL, crew);
	ASSERT_TRUE(crew_advances(crew, 1));
	crew->rest = 50;
	/* A page that is in use just now stays. */
	for (i = 0; i < 200 && moved < rounds; i++) {
		char *at = self->plain + i % PAGES * variant->page;

		(void)*(volatile char *)at;
		frame = frame_of(at);
		if (madvise(at, variant->page, MADV_SOFT_OFFLINE)) {
			sleep_ms(5);
			continue;
		}
		(void)*(volatile char *)at;
		EXPECT_NE(frame, frame_of(at));
		moved++;
	}
	ASSERT_TRUE(crew_advances(crew, 1));
	EXPECT_EQ(rounds, moved);
	EXPECT_EQ(0, crew_ends(crew, self->addr));
}

#define POISONED	(HUGE / 2)

/* A huge page that the kernel can split: only the part that fails is lost. */
TEST(of_a_transparent_huge_page_4_KiB_are_lost)
{
	long long mapped = meminfo("ShmemPmdMapped:"), huge = meminfo("ShmemHugePages:");
	char *addr, *end;
	uint64_t frame;
	int fd;

	if (access(INJECT, W_OK) || !shmem_thp())
		SKIP(return, "no %s, or " NO_THP, INJECT);
	fd = region(GIB);
	ASSERT_LE(0, fd);
	addr = attached(fd, 0, 0);
	ASSERT_NE(NULL, addr);
	ASSERT_EQ(0, map_anon(fd, 0, HUGE, RW));
	ASSERT_OK(mshare_advise(fd, 0, HUGE, MADV_HUGEPAGE, 0));
	end = addr + POISONED + PAGE;
	fill(addr, POISONED, 1);
	fill(end, HUGE - POISONED - PAGE, 2);
	EXPECT_EQ(mapped + (long long)(HUGE / KIB), meminfo("ShmemPmdMapped:"));
	frame = frame_of(addr + POISONED);
	ASSERT_NE(0, frame);
	ASSERT_TRUE(write_number(INJECT, frame));
	EXPECT_EQ(mapped, meminfo("ShmemPmdMapped:"));
	EXPECT_EQ(huge, meminfo("ShmemHugePages:"));
	/* The page before is the first of what is_poisoned() is about. */
	is_poisoned(_metadata, addr + POISONED - PAGE, PAGE);
	EXPECT_EQ(0, wrong(addr, POISONED, 1));
	EXPECT_EQ(0, wrong(end, HUGE - POISONED - PAGE, 2));
	/* Another guest has it at another address. */
	IN_CHILD({
		char *again = mshare_attach(fd, NULL, 0);

		CHILD_CHECK(again != MAP_FAILED && again != addr);
		CHILD_CHECK(!wrong(again, POISONED, 1));
		CHILD_CHECK(signal_of(again + POISONED) == SIGBUS);
		CHILD_CHECK(info.si_code == BUS_MCEERR_AR && info.si_addr == again + POISONED);
	});
	ASSERT_OK(mshare_detach(addr, 0));
	ASSERT_OK(close(fd));
	EXPECT_EQ(0, settled());
	write_text("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "never");
}

TEST_HARNESS_MAIN
