// SPDX-License-Identifier: GPL-2.0
/*
 * Writeback of file objects: data that were stored through an attachment before a
 * sync are on the disk after it.  The kernel makes the entry of a page read-only
 * before it writes the page.  If a CPU goes on storing through an old translation,
 * these data will never be written.
 *
 * Environment: ROUNDS (200), the number of syncs.
 */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "mst.h"

#include <linux/fs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/uio.h>

/* For as many rounds as there may be. */
#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT	3600

#define PAGES	2
#define WRITERS	2

#define NULLB		"/sys/kernel/config/nullb/mst-writeback"
#define DISK		"/dev/mst-writeback"
#define DIR_OF_DISK	"/tmp/mst-writeback"

/* In memory that the writers share with the test. */
struct log {
	/* What a writer has stored in all pages. */
	volatile uint64_t stored[WRITERS];
	volatile int stop;
};

/*
 * Mounts ext4 on a disk that is memory and completes requests where they are
 * made, and without a journal: a sync then waits for no other thread.
 */
static const char *null_disk(void)
{
	if (mkdir(DIR_OF_DISK, 0700) && errno != EEXIST)
		return NULL;
	mount("none", "/sys/kernel/config", "configfs", 0, NULL);
	if (mkdir(NULLB, 0700) || !write_text(NULLB "/memory_backed", "1") ||
	    !write_text(NULLB "/size", "32") || !write_text(NULLB "/irqmode", "0") ||
	    !write_text(NULLB "/power", "1"))
		return NULL;
	if (system("mkfs.ext4 -qF -b 4096 -O ^has_journal " DISK " >/dev/null 2>&1 ||"
		   " busybox mke2fs -F -b 4096 " DISK " >/dev/null 2>&1"))
		return NULL;
	return mount(DISK, DIR_OF_DISK, "ext4", 0, NULL) ? NULL : DIR_OF_DISK;
}

static uint64_t *word_in(void *file, int page, int writer)
{
	return (uint64_t *)((char *)file + page * PAGE + 64 + writer * 1024);
}

/* Stores in the first attachment or in another, or lets the kernel store. */
static void writer(struct log *log, int fd, int me)
{
	char *addr = mshare_attach(fd, NULL, 0);
	uint64_t n;
	int page;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	pin((1 + me) % cpus());
	CHILD_CHECK(addr != MAP_FAILED);
	if (me == 1)
		addr = mshare_attach(fd, NULL, 0);
	CHILD_CHECK(addr != MAP_FAILED);
	for (n = 1; !log->stop; n++) {
		for (page = 0; page < PAGES; page++) {
			uint64_t *to = word_in(addr, page, me);

			if (me == 1 && n % 8 == 0) {
				struct iovec from = { &n, sizeof(n) }, into = { to, sizeof(n) };

				CHILD_CHECK(process_vm_writev(getpid(), &from, 1, &into, 1, 0) ==
					    sizeof(n));
			} else {
				*(volatile uint64_t *)to = n;
			}
		}
		log->stored[me] = n;
	}
	_exit(0);
}

static bool advances(const struct log *log, const uint64_t *from)
{
	int i, tries;

	for (i = 0; i < WRITERS; i++) {
		for (tries = 0; log->stored[i] <= from[i]; tries++) {
			if (tries > 60000)
				return false;
			sleep_ms(1);
		}
	}
	return true;
}

static int sync_by(int round, int file, void *plain)
{
	switch (round % 4) {
	case 0:
		return sync_file_range(file, 0, 0, SYNC_FILE_RANGE_WAIT_BEFORE |
				       SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
	case 1:
		return msync(plain, PAGES * PAGE, MS_SYNC);
	case 2:
		return fdatasync(file);
	default:
		return fsync(file);
	}
}

/* Reads the disk, past the page cache; reading the file would write it first. */
static bool read_disk(int dev, const int *block, char *disk)
{
	int page;

	for (page = 0; page < PAGES; page++)
		if (pread(dev, disk + page * PAGE, PAGE, block[page] * PAGE) != PAGE)
			return false;
	return true;
}

TEST(no_store_before_a_sync_is_lost)
{
	const char *dir = null_disk(), *rounds = getenv("ROUNDS");
	int file, dev, block[PAGES], fd, i, page, round, count = rounds ? atoi(rounds) : 200;
	uint64_t before[WRITERS] = {}, lost = 0, compared = 0;
	char path[256], *plain, *disk, *addr;
	struct log *log = shared_page();
	pid_t pid[WRITERS];

	if (!dir)
		SKIP(return, "no ext4 file system (null_blk, configfs, mke2fs): %m");
	ASSERT_LT(0, count);
	sprintf(path, "%s/log", dir);
	file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	ASSERT_LE(0, file);
	/* No allocation of blocks later: syncs are quick. */
	disk = aligned_alloc(PAGE, PAGES * PAGE);
	memset(disk, 0, PAGES * PAGE);
	ASSERT_EQ(PAGES * PAGE, pwrite(file, disk, PAGES * PAGE, 0));
	ASSERT_OK(fsync(file));
	for (page = 0; page < PAGES; page++) {
		block[page] = page;
		ASSERT_OK(ioctl(file, FIBMAP, &block[page]));
		ASSERT_LT(0, block[page]);
	}
	dev = open(DISK, O_RDONLY | O_DIRECT);
	ASSERT_LE(0, dev);
	plain = mmap(NULL, PAGES * PAGE, PROT_READ, MAP_SHARED, file, 0);
	ASSERT_NE(MAP_FAILED, plain);

	fd = region(GIB);
	ASSERT_LE(0, fd);
	addr = attached(fd, 0, 0);
	ASSERT_NE(NULL, addr);
	ASSERT_EQ(0, map_file(fd, 0, PAGES * PAGE, RW, file));
	for (i = 0; i < WRITERS; i++) {
		pid[i] = fork();
		ASSERT_LE(0, pid[i]);
		if (!pid[i])
			writer(log, fd, i);
	}
	/* The writers keep their processors busy: the sync does not wait for one. */
	pin(0);
	sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){ .sched_priority = 1 });
	for (round = 0; round < count && !lost; round++) {
		/* Something new, else there is nothing to lose. */
		ASSERT_TRUE(advances(log, before)) {
			TH_LOG("a writer stands still in round %d", round);
		}
		for (i = 0; i < WRITERS; i++)
			before[i] = log->stored[i];
		ASSERT_OK(sync_by(round, file, plain));
		ASSERT_TRUE(read_disk(dev, block, disk));
		for (page = 0; page < PAGES; page++) {
			for (i = 0; i < WRITERS; i++) {
				uint64_t is = *word_in(disk, page, i);

				compared++;
				if (is >= before[i])
					continue;
				if (!lost++)
					TH_LOG("round %d, writer %d, page %d: %llu is stored, the disk has %llu",
					       round, i, page, (unsigned long long)before[i],
					       (unsigned long long)is);
			}
		}
	}
	log->stop = 1;
	for (i = 0; i < WRITERS; i++)
		EXPECT_EQ(0, wait_for(pid[i]));
	EXPECT_EQ(0, lost);
	EXPECT_EQ((uint64_t)count * PAGES * WRITERS, compared);
	/* And the last ones are where all will look for them. */
	for (page = 0; page < PAGES; page++)
		for (i = 0; i < WRITERS; i++)
			EXPECT_EQ(log->stored[i], *(volatile uint64_t *)word_in(plain, page, i));
	ASSERT_OK(mshare_detach(addr, 0));
	ASSERT_OK(mshare_unmap(fd, 0, PAGES * PAGE, 0));
	ASSERT_OK(munmap(plain, PAGES * PAGE));
	ASSERT_OK(close(file));
	ASSERT_OK(close(dev));
	EXPECT_OK(umount(dir));
	EXPECT_OK(rmdir(dir));
	EXPECT_OK(rmdir(NULLB));
}

TEST_HARNESS_MAIN
