// SPDX-License-Identifier: GPL-2.0
/* The region of a file: which processes share it, its contents, its permissions. */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "mst.h"

#include <linux/fs.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define LEN	(64 * KIB)
#define SYS	"/sys/kernel/mm/mshare/"

/* The file of a descriptor once more, as another program would open it. */
static int reopened(int fd, int flags)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, flags | O_CLOEXEC);
}

static uint64_t id_of(int fd)
{
	return stat_of(fd).id;
}

/* The id of the region of FILE, which is opened and closed; 0 if that fails. */
static uint64_t id_for(int file, uint64_t length)
{
	int fd = mshare_open(file, length, MSHARE_CLOEXEC);
	uint64_t id = fd < 0 ? 0 : id_of(fd);

	if (fd >= 0)
		close(fd);
	return id;
}

/* Attaches a region for what it is open for; NULL and a message if that fails. */
static char *attached_at(int fd)
{
	return attached(fd, (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY ? MSHARE_ATTACH_RDONLY : 0,
			0);
}

/*
 * An unrelated program: this one, executed again, opens the file in its environment and
 * reports its region.  The mode says what it does there: it reads all of the content with
 * seed 1 (r), with write access too (w), or it loads from (l) or stores to (s) each page.
 * Its parent controls it by a pipe.
 */
struct answer {
	uint64_t id;
	uint64_t wrong;
	uint64_t faults;
};

static void __attribute__((constructor)) other_program(void)
{
	const char *path = getenv("FILE_TEST_PATH");
	struct mshare_region r;
	struct answer a = {};
	uint64_t length, i;
	int file, mode;

	if (!path)
		return;
	mode = *getenv("FILE_TEST_MODE");
	length = strtoull(getenv("FILE_TEST_LENGTH"), NULL, 0);
	file = open(path, mode == 'r' || mode == 'l' ? O_RDONLY : O_RDWR);
	if (mshare_region_open(&r, file, 0, 0))
		_exit(1);
	close(file);
	a.id = id_of(r.fd);
	a.faults = stat_of(r.fd).faults;
	for (i = 0; i < length; i += PAGE) {
		volatile char *byte = (char *)r.addr + i;

		if (mode == 's')
			*byte = 0;
		else if (mode == 'l' && *byte)
			a.wrong++;
	}
	if (mode == 'r' || mode == 'w')
		a.wrong = wrong(r.addr, length, 1);
	a.faults = stat_of(r.fd).faults - a.faults;
	if (write(1, &a, sizeof(a)) != sizeof(a) || close(1))
		_exit(2);
	/* Until nobody waits for more. */
	if (read(0, &a, 1))
		_exit(3);
	_exit(0);
}

/* Starts it; what it answers is read from *ANSWERS, and it ends when *HOLD is closed. */
static pid_t start_program(const char *path, const char *mode, uint64_t length, int *answers,
			   int *hold)
{
	int out[2], in[2];
	char text[32];
	pid_t pid;

	if (pipe2(out, O_CLOEXEC) || pipe2(in, O_CLOEXEC))
		return -1;
	pid = fork();
	if (!pid) {
		snprintf(text, sizeof(text), "%llu", (unsigned long long)length);
		setenv("FILE_TEST_PATH", path, 1);
		setenv("FILE_TEST_MODE", mode, 1);
		setenv("FILE_TEST_LENGTH", text, 1);
		dup2(in[0], 0);
		dup2(out[1], 1);
		execl("/proc/self/exe", "file_test", NULL);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	*hold = in[1];
	*answers = out[0];
	return pid;
}

FIXTURE(file) {
	char dir[32];		/* a tmpfs */
	char path[64];		/* a file of LEN bytes there, of seed 1 */
	int file;		/* open for reading and writing */
	int reader;		/* and for reading only */
	long long regions;
};

FIXTURE_SETUP(file)
{
	char *p;

	self->regions = settled();
	ASSERT_LE(0, self->regions);
	strcpy(self->dir, "/tmp/mst.XXXXXX");
	mkdir("/tmp", 0777);
	ASSERT_NE(NULL, mkdtemp(self->dir));
	ASSERT_OK(chmod(self->dir, 0755));
	/* Whatever a test leaves mounted goes with its process. */
	ASSERT_OK(unshare(CLONE_NEWNS));
	ASSERT_OK(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
	ASSERT_OK(mount("none", self->dir, "tmpfs", 0, "mode=0777"));
	snprintf(self->path, sizeof(self->path), "%s/file", self->dir);
	self->file = open(self->path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	ASSERT_LE(0, self->file);
	ASSERT_OK(ftruncate(self->file, LEN));
	self->reader = open(self->path, O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, self->reader);
	p = mmap(NULL, LEN, RW, MAP_SHARED, self->file, 0);
	ASSERT_NE(MAP_FAILED, p);
	fill(p, LEN, 1);
	munmap(p, LEN);
}

FIXTURE_TEARDOWN(file)
{
	close(self->file);
	close(self->reader);
	umount2(self->dir, MNT_DETACH);
	rmdir(self->dir);
}

/* Identity */

TEST_F(file, all_who_open_it_have_the_same_region)
{
	int fd = mshare_open(self->file, 0, MSHARE_CLOEXEC);
	int again = open(self->path, O_RDWR), second, i;
	char *addr, *other;

	ASSERT_LE(0, fd);
	ASSERT_LE(0, again);
	EXPECT_EQ(self->regions + 1, sys_mshare("regions"));
	second = mshare_open(again, 0, 0);
	ASSERT_LE(0, second);
	EXPECT_EQ(id_of(fd), id_of(second));
	EXPECT_EQ(id_of(fd), id_for(self->reader, 0));
	EXPECT_EQ(self->regions + 1, sys_mshare("regions"));
	EXPECT_EQ(FD_CLOEXEC, fcntl(fd, F_GETFD));
	EXPECT_EQ(0, fcntl(second, F_GETFD));

	addr = attached_at(fd);
	other = attached_at(second);
	ASSERT_NE(NULL, addr);
	ASSERT_NE(NULL, other);
	EXPECT_EQ(0, wrong(addr, LEN, 1));
	i = stat_of(fd).faults;
	EXPECT_EQ(0, wrong(other, LEN, 1));
	/* The other one has the page tables, too. */
	EXPECT_EQ(i, stat_of(fd).faults);
	IN_CHILD(CHILD_CHECK(id_for(open(self->path, O_RDWR), 0) == id_of(fd)));
}

TEST_F(file, programs_that_are_no_relatives_have_the_same)
{
	int answers[4], hold[4], i;
	struct answer a[4] = {};
	pid_t pid[4];

	for (i = 0; i < 4; i++) {
		pid[i] = start_program(self->path, i & 1 ? "w" : "r", LEN, &answers[i], &hold[i]);
		ASSERT_LT(0, pid[i]);
		ASSERT_EQ(sizeof(a[i]), read(answers[i], &a[i], sizeof(a[i])));
		EXPECT_EQ(a[0].id, a[i].id);
		EXPECT_EQ(0, a[i].wrong);
		/* The first one takes the faults; they map some pages around. */
		EXPECT_EQ(!i, a[i].faults > 0);
	}
	EXPECT_EQ(self->regions + 1, sys_mshare("regions"));
	for (i = 0; i < 4; i++) {
		close(hold[i]);
		EXPECT_EQ(0, wait_for(pid[i]));
	}
	EXPECT_TRUE(sys_mshare_becomes("regions", self->regions));
}

TEST_F(file, another_file_has_another_region)
{
	int fd = mshare_open(self->file, 0, 0), copy;
	char path[80];

	snprintf(path, sizeof(path), "%s/copy", self->dir);
	copy = open(path, O_RDWR | O_CREAT, 0600);
	ASSERT_OK(ftruncate(copy, LEN));
	EXPECT_NE(id_of(fd), id_for(copy, 0));
	EXPECT_NE(0, id_for(copy, 0));
}

TEST_F(file, names_do_not_matter)
{
	char name[300], path[400], *addr;
	int fd, other;

	snprintf(path, sizeof(path), "%s/other name", self->dir);
	ASSERT_OK(link(self->path, path));
	other = open(path, O_RDWR);
	fd = mshare_open(self->file, 0, 0);
	ASSERT_LE(0, fd);
	/* Each sees the name by which he has opened it. */
	addr = attached_at(fd);
	ASSERT_NE(NULL, addr);
	EXPECT_NE(NULL, strstr(maps_line(addr), " /mshare:file"));
	fd = mshare_open(other, 0, 0);
	addr = attached_at(fd);
	ASSERT_NE(NULL, addr);
	EXPECT_NE(NULL, strstr(maps_line(addr), " /mshare:other name"));
	EXPECT_EQ(id_of(fd), id_for(self->file, 0));
	/* As long as a name can be. */
	memset(name, 'n', 255);
	name[255] = 0;
	snprintf(path, sizeof(path), "%s/%s", self->dir, name);
	ASSERT_OK(rename(self->path, path));
	EXPECT_EQ(id_of(fd), id_for(self->file, 0));
	fd = mshare_open(open(path, O_RDWR), 0, 0);
	addr = attached_at(fd);
	ASSERT_NE(NULL, addr);
	EXPECT_NE(NULL, strstr(maps_line(addr), name));
	ASSERT_OK(unlink(path));
	EXPECT_EQ(id_of(fd), id_for(self->file, 0));
	EXPECT_EQ(0, wrong(addr, LEN, 1));
}

TEST_F(file, fdinfo_says_which_file)
{
	int fd = mshare_open(self->reader, 0, 0);
	char path[64], want[160], *text;

	ASSERT_LE(0, fd);
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	snprintf(want, sizeof(want), "mshare-object:\t0-%llx r--s %s\n", LEN, self->path);
	text = slurp(path);
	EXPECT_NE(NULL, strstr(text, want)) {
		TH_LOG("%s", text);
	}
	EXPECT_NE(NULL, strstr(text, "mshare-flags:\t0x4\n"));
	EXPECT_EQ(MSHARE_STAT_FILE, stat_of(fd).flags);
	EXPECT_EQ(0, stat_of(region(GIB)).flags);
}

TEST_F(file, below_an_overlay_it_is_the_real_file)
{
	static const char *const subs[] = { "lower", "upper", "work", "all" };
	char path[100], options[256], *addr;
	int file, real, reader, fd, i;
	uint64_t lower;

	for (i = 0; i < 4; i++) {
		snprintf(path, sizeof(path), "%s/%s", self->dir, subs[i]);
		ASSERT_OK(mkdir(path, 0755));
	}
	snprintf(path, sizeof(path), "%s/lower/file", self->dir);
	ASSERT_OK(rename(self->path, path));
	real = open(path, O_RDONLY);
	snprintf(path, sizeof(path), "%s/all", self->dir);
	snprintf(options, sizeof(options), "lowerdir=%s/lower,upperdir=%s/upper,workdir=%s/work",
		 self->dir, self->dir, self->dir);
	if (mount("none", path, "overlay", 0, options))
		SKIP(return, "no overlayfs");
	snprintf(path, sizeof(path), "%s/all/file", self->dir);
	reader = open(path, O_RDONLY);
	fd = mshare_open(reader, 0, 0);
	ASSERT_LE(0, fd);
	lower = id_of(fd);
	EXPECT_EQ(lower, id_for(real, 0));
	addr = attached_at(fd);
	ASSERT_NE(NULL, addr);

	/* Opening it for writing makes a copy, and the region is that of the copy. */
	file = open(path, O_RDWR);
	ASSERT_LE(0, file);
	fd = mshare_open(file, 0, 0);
	ASSERT_LE(0, fd);
	EXPECT_NE(lower, id_of(fd));
	attached_at(fd)[0] = 77;
	EXPECT_EQ(0, wrong(addr, LEN, 1));
	/* An earlier opener keeps the lower file, and cannot write to it. */
	EXPECT_EQ(lower, id_for(reader, 0));
	fd = mshare_open(reader, 0, 0);
	EXPECT_ERR(ESTALE, reopened(fd, O_RDWR));
	close(fd);
	real = open(path, O_RDONLY);
	EXPECT_EQ(77, attached_at(mshare_open(real, 0, 0))[0]);
}

/* Keys */

TEST_F(file, another_user_has_his_own)
{
	int fd = mshare_open(self->file, 0, 0);
	uint64_t id;

	ASSERT_LE(0, fd);
	id = id_of(fd);
	IN_CHILD(
		CHILD_CHECK(!seteuid(1000));
		uint64_t mine = id_for(self->reader, 0);
		CHILD_CHECK(mine && mine != id);
		CHILD_CHECK(!seteuid(0));
		CHILD_CHECK(id_for(self->reader, 0) == id));
}

TEST_F(file, in_another_user_namespace_it_is_another)
{
	int fd = mshare_open(self->file, 0, 0);
	uint64_t id;

	ASSERT_LE(0, fd);
	id = id_of(fd);
	IN_CHILD(
		CHILD_CHECK(id_for(self->file, 0) == id);
		CHILD_CHECK(!unshare(CLONE_NEWUSER));
		uint64_t mine = id_for(self->file, 0);
		CHILD_CHECK(mine && mine != id));
}

TEST_F(file, in_another_cgroup_it_is_another)
{
	int fd = mshare_open(self->file, 0, 0), *told = shared_page();
	char dir[64];
	uint64_t id;

	ASSERT_LE(0, fd);
	id = id_of(fd);
	if (!cgroup_make(dir, sizeof(dir)))
		SKIP(return, "no memory cgroup");
	IN_CHILD(
		CHILD_CHECK(write_text(cgroup_file(dir, "cgroup.procs"), "0"));
		int mine = mshare_open(self->file, 0, 0);
		CHILD_CHECK(mine >= 0 && id_of(mine) != id);
		/* In the same cgroup, it is the same region. */
		CHILD_CHECK(id_for(self->reader, 0) == id_of(mine));
		char *addr = attached_at(mine);
		CHILD_CHECK(addr && !wrong(addr, LEN, 1));
		*told = 1);
	EXPECT_EQ(1, *told);
	EXPECT_EQ(id, id_for(self->file, 0));
	EXPECT_TRUE(sys_mshare_becomes("regions", self->regions + 1));
	EXPECT_OK(rmdir(dir));
}

/* Layout and length */

TEST_F(file, offsets_are_those_of_the_file)
{
	int fd = mshare_open(self->file, 0, 0);
	struct mshare_stat st = stat_of(fd);
	struct stat inode;
	char *addr = attached_at(fd), byte;

	ASSERT_NE(NULL, addr);
	EXPECT_EQ(LEN, st.size);
	EXPECT_EQ(LEN, st.mapped);
	EXPECT_EQ(1, st.objects);
	ASSERT_OK(fstat(fd, &inode));
	EXPECT_EQ(LEN, inode.st_size);
	EXPECT_EQ(0600, inode.st_mode & 0777);
	EXPECT_EQ(0, wrong(addr, LEN, 1));
	addr[LEN - 1] ^= 0x55;
	ASSERT_EQ(1, pread(self->file, &byte, 1, LEN - 1));
	EXPECT_EQ(addr[LEN - 1], byte);
	EXPECT_EQ(FAULT_MAPERR, try_load(addr + LEN));
	EXPECT_EQ(FAULT_MAPERR, try_load(addr + GIB));
	/* Nothing of it can be executed, also through an attachment that could. */
	addr = mshare_attach(fd, NULL, MSHARE_ATTACH_EXEC);
	ASSERT_NE(MAP_FAILED, addr);
	EXPECT_EQ(FAULT_ACCERR, try_exec(addr));
}

TEST_F(file, a_length_is_rounded_up_to_pages)
{
	ASSERT_OK(ftruncate(self->file, 5000));
	EXPECT_EQ(2 * PAGE, stat_of(mshare_open(self->file, 0, 0)).size);
	EXPECT_EQ(3 * PAGE, stat_of(mshare_open(self->file, 2 * PAGE + 1, 0)).size);
	/* And once there it stays. */
	EXPECT_EQ(3 * PAGE, stat_of(mshare_open(self->file, 0, 0)).size);
	EXPECT_EQ(3 * PAGE, stat_of(mshare_open(self->file, 1, 0)).size);
}

TEST_F(file, past_the_end_is_SIGBUS_until_the_file_has_grown)
{
	int fd = mshare_open(self->file, 2 * LEN, 0);
	char *addr = attached_at(fd);

	ASSERT_NE(NULL, addr);
	EXPECT_EQ(FAULT_NONE, try_load(addr + LEN - 1));
	EXPECT_EQ(FAULT_BUS, try_load(addr + LEN));
	EXPECT_EQ(FAULT_BUS, try_store(addr + 2 * LEN - 1, 1));
	ASSERT_EQ(1, pwrite(self->file, "x", 1, 2 * LEN - 1));
	EXPECT_EQ('x', addr[2 * LEN - 1]);
	EXPECT_EQ(0, addr[LEN]);
	ASSERT_OK(ftruncate(self->file, PAGE));
	EXPECT_EQ(FAULT_BUS, try_load(addr + PAGE));
	EXPECT_EQ(0, wrong(addr, PAGE, 1));
}

TEST_F(file, who_has_it_sees_it_grow)
{
	int fd = mshare_open(self->reader, 0, 0), larger;
	char *addr = attached_at(fd);
	uint64_t resident;

	ASSERT_NE(NULL, addr);
	EXPECT_EQ(0, wrong(addr, LEN, 1));
	resident = stat_of(fd).resident;
	ASSERT_OK(ftruncate(self->file, 16 * MIB));
	EXPECT_EQ(FAULT_MAPERR, try_load(addr + LEN));
	larger = mshare_open(self->reader, 16 * MIB, 0);
	ASSERT_LE(0, larger);
	EXPECT_EQ(id_of(fd), id_of(larger));
	EXPECT_EQ(16 * MIB, stat_of(fd).size);
	/* One object, and nothing was taken out. */
	EXPECT_EQ(1, stat_of(fd).objects);
	EXPECT_EQ(16 * MIB, stat_of(fd).mapped);
	EXPECT_EQ(resident, stat_of(fd).resident);
	EXPECT_EQ(FAULT_NONE, try_load(addr + 16 * MIB - 1));
	EXPECT_EQ(FAULT_MAPERR, try_load(addr + 16 * MIB));
	ASSERT_EQ(4, pwrite(self->file, "tail", 4, 16 * MIB - 4));
	EXPECT_EQ(0, memcmp(addr + 16 * MIB - 4, "tail", 4));
}

TEST_F(file, however_often_it_grows_it_is_one_object)
{
	int fd = mshare_open(self->reader, PAGE, 0), i;
	char *addr = attached_at(fd);

	ASSERT_NE(NULL, addr);
	ASSERT_OK(ftruncate(self->file, 200 * PAGE));
	for (i = 2; i <= 100; i++)
		EXPECT_EQ(id_of(fd), id_for(self->reader, i * PAGE));
	EXPECT_EQ(1, stat_of(fd).objects);
	for (; i <= 200; i++)
		EXPECT_EQ(id_of(fd), id_for(self->file, i * PAGE));
	EXPECT_EQ(1, stat_of(fd).objects);
	EXPECT_EQ(200 * PAGE, stat_of(fd).mapped);
	EXPECT_EQ(FAULT_NONE, try_load(addr + 199 * PAGE));
	/* Advice splits it. */
	fd = mshare_open(self->file, 0, 0);
	ASSERT_OK(mshare_advise(fd, 150 * PAGE, 50 * PAGE, MADV_RANDOM, 0));
	EXPECT_EQ(2, stat_of(fd).objects);
	EXPECT_EQ(id_of(fd), id_for(self->file, 300 * PAGE));
	EXPECT_EQ(3, stat_of(fd).objects);
	EXPECT_EQ(300 * PAGE, stat_of(fd).mapped);
	EXPECT_EQ(0, wrong(addr, LEN, 1));
}

TEST_F(file, more_slots_want_a_new_attachment)
{
	int fd = mshare_open(self->file, 0, 0), i;
	char *addr = attached_at(fd), *other;

	ASSERT_NE(NULL, addr);
	ASSERT_OK(ftruncate(self->file, 2 * SLOT + GIB));
	ASSERT_EQ(1, pwrite(self->file, "a", 1, SLOT - 1));
	ASSERT_EQ(1, pwrite(self->file, "b", 1, SLOT));
	ASSERT_EQ(1, pwrite(self->file, "c", 1, 2 * SLOT + GIB - 1));
	EXPECT_EQ(id_of(fd), id_for(self->file, 0));
	/* What has one slot sees as far as that. */
	EXPECT_EQ('a', addr[SLOT - 1]);
	EXPECT_EQ(FAULT_MAPERR, try_load(addr + SLOT));
	other = attached_at(fd);
	ASSERT_NE(NULL, other);
	ASSERT_NE(addr, other);
	for (i = 0; i < 2; i++) {
		EXPECT_EQ('a', other[SLOT - 1]);
		EXPECT_EQ('b', other[SLOT]);
		EXPECT_EQ('c', other[2 * SLOT + GIB - 1]);
		EXPECT_EQ(0, wrong(other, LEN, 1));
	}
	EXPECT_EQ(1, stat_of(fd).objects);
	EXPECT_OK(mshare_detach(addr, 0));
	EXPECT_EQ('b', other[SLOT]);
}

TEST_F(file, it_cannot_be_larger_than_a_region)
{
	ASSERT_OK(ftruncate(self->file, 33 * TIB));
	EXPECT_ERR(EFBIG, mshare_open(self->file, 0, 0));
	EXPECT_ERR(EFBIG, mshare_open(self->file, 32 * TIB + 1, 0));
	EXPECT_EQ(32 * TIB, stat_of(mshare_open(self->file, 32 * TIB, 0)).size);
}

/* Seals */

TEST_F(file, nobody_changes_what_is_mapped)
{
	int fd = mshare_open(self->file, 0, 0);
	char *addr = attached_at(fd);
	struct snap before = snap_take(fd, addr, LEN), after;

	ASSERT_NE(NULL, addr);
	EXPECT_ERR(EPERM, map_anon(fd, 0, PAGE, RW));
	EXPECT_ERR(EPERM, map_obj(fd, 0, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	EXPECT_ERR(EPERM, map_file(fd, MSHARE_ANY_OFFSET, PAGE, RW, self->file));
	EXPECT_ERR(EPERM, mshare_unmap(fd, 0, PAGE, 0));
	EXPECT_ERR(EPERM, mshare_unmap(fd, GIB, PAGE, 0));
	EXPECT_ERR(EPERM, mshare_protect(fd, 0, PAGE, PROT_READ, 0));
	EXPECT_ERR(EPERM, mshare_protect(fd, 0, LEN, RW, 0));
	EXPECT_ERR(EPERM, ftruncate(fd, GIB));
	EXPECT_ERR(EPERM, ftruncate(fd, LEN));
	EXPECT_ERR(EPERM, ftruncate(fd, 1));
	EXPECT_ERR(EPERM, ftruncate(fd, 0));
	EXPECT_ERR(EPERM, reopened(fd, O_RDWR | O_TRUNC));
	/* Advice is free. */
	EXPECT_OK(mshare_advise(fd, 0, LEN, MADV_DONTNEED, 0));
	EXPECT_OK(mshare_advise(fd, 0, LEN, MADV_POPULATE_READ, 0));
	after = snap_take(fd, addr, LEN);
	EXPECT_TRUE(snap_same(&before, &after));
	/* With write access to the file, a hole can be made in it. */
	EXPECT_OK(mshare_advise(fd, 0, PAGE, MADV_REMOVE, 0));
	EXPECT_EQ(0, addr[0] | addr[PAGE - 1]);
}

/* Access */

TEST_F(file, a_reader_gets_what_he_can_read)
{
	int fd = mshare_open(self->reader, 0, 0);
	char *addr;

	ASSERT_LE(0, fd);
	EXPECT_EQ(O_RDONLY, fcntl(fd, F_GETFL) & O_ACCMODE);
	EXPECT_ERR(EACCES, (long)mshare_attach(fd, NULL, 0));
	addr = attached(fd, MSHARE_ATTACH_RDONLY, 0);
	ASSERT_NE(NULL, addr);
	EXPECT_EQ(0, wrong(addr, LEN, 1));
	EXPECT_EQ(FAULT_ACCERR, try_store(addr, 1));
	EXPECT_EQ(-1, pread(self->reader, addr, PAGE, 0));
	EXPECT_ERR(EBADF, mshare_advise(fd, 0, LEN, MADV_DONTNEED, 0));
	EXPECT_ERR(EBADF, mshare_unmap(fd, 0, LEN, 0));
	EXPECT_ERR(EINVAL, ftruncate(fd, 0));
	EXPECT_EQ(FAULT_ACCERR, try_store(addr, 1));
	/* No other writer exists: the region itself keeps no file open for writing. */
	close(self->file);
	EXPECT_OK(mount(NULL, self->dir, NULL, MS_REMOUNT | MS_RDONLY, NULL));
}

/* A reader is there, and has all pages; then comes a writer. */
static void upgrade(struct __test_metadata *_metadata, int reader, int writer)
{
	int fd = mshare_open(reader, 0, 0), other, i;
	char *addr = attached_at(fd), *mine;
	struct mshare_stat before, after;

	ASSERT_NE(NULL, addr);
	EXPECT_EQ(0, wrong(addr, LEN, 1));
	before = stat_of(fd);
	EXPECT_EQ(LEN, before.resident);
	other = mshare_open(writer, 0, 0);
	ASSERT_LE(0, other);
	EXPECT_EQ(O_RDWR, fcntl(other, F_GETFL) & O_ACCMODE);
	after = stat_of(other);
	EXPECT_EQ(before.id, after.id);
	EXPECT_EQ(1, after.objects);
	/* Nothing was taken away: the reader has no fault for it. */
	EXPECT_EQ(before.resident, after.resident);
	EXPECT_EQ(0, wrong(addr, LEN, 1));
	EXPECT_EQ(before.faults, stat_of(fd).faults);

	mine = attached_at(other);
	ASSERT_NE(NULL, mine);
	for (i = 0; i < LEN; i += PAGE)
		EXPECT_EQ(FAULT_NONE, try_store(mine + i, i / PAGE));
	for (i = 0; i < LEN; i += PAGE)
		EXPECT_EQ(i / PAGE, addr[i]);
	/* A reader he stays. */
	EXPECT_EQ(FAULT_ACCERR, try_store(addr, 1));
	EXPECT_ERR(EACCES, (long)mshare_attach(fd, NULL, 0));
	EXPECT_ERR(EBADF, mshare_advise(fd, 0, LEN, MADV_DONTNEED, 0));
	/* And no other is needed for the next writer. */
	EXPECT_EQ(before.id, id_for(writer, 0));
	EXPECT_EQ(1, stat_of(fd).objects);
}

TEST_F(file, a_writer_comes_and_readers_notice_nothing)
{
	upgrade(_metadata, self->reader, self->file);
}

TEST_F(file, a_writer_comes_on_a_disk)
{
	int file = ext4_file(LEN), reader;
	char *p;

	if (file < 0)
		SKIP(return, NO_DISK);
	reader = reopened(file, O_RDONLY);
	p = mmap(NULL, LEN, RW, MAP_SHARED, file, 0);
	ASSERT_NE(MAP_FAILED, p);
	fill(p, LEN, 1);
	munmap(p, LEN);
	ASSERT_OK(fsync(file));
	upgrade(_metadata, reader, file);
}

TEST_F(file, a_writer_comes_to_what_advice_has_split)
{
	int fd = mshare_open(self->file, 0, 0), reader;
	char *addr;
	int i;

	/* Only a writer can advise, so this one begins as one and is a reader's elsewhere. */
	ASSERT_LE(0, fd);
	ASSERT_OK(mshare_advise(fd, 4 * PAGE, PAGE, MADV_RANDOM, 0));
	EXPECT_EQ(3, stat_of(fd).objects);
	reader = mshare_open(self->reader, 2 * LEN, 0);
	addr = attached_at(fd);
	ASSERT_NE(NULL, addr);
	EXPECT_EQ(id_of(fd), id_of(reader));
	for (i = 0; i < LEN; i += PAGE)
		EXPECT_EQ(FAULT_NONE, try_store(addr + i, 1));
}

/* Reopens the region of READER, as a user who may write only files that he owns. */
static int reopen_as_user(int reader, int flags)
{
	int fd, ret = 0;

	if (seteuid(1000))
		return -1;
	fd = mshare_open(reader, 0, MSHARE_CLOEXEC);
	if (fd < 0 || (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDONLY) {
		ret = ENOTRECOVERABLE;
	} else {
		int other = reopened(fd, flags);

		if (other < 0) {
			ret = errno;
		} else {
			char *addr = attached_at(other);

			if (!addr || (flags == O_RDWR && try_store(addr, addr[0])))
				ret = EPROTO;
			if (id_of(other) != id_of(fd))
				ret = ESTALE;
			close(other);
		}
		close(fd);
	}
	if (seteuid(0))
		return -1;
	return ret;
}

TEST_F(file, reopening_is_opening_the_file)
{
	/* Root's file, which others may read. */
	EXPECT_EQ(EACCES, reopen_as_user(self->reader, O_RDWR));
	EXPECT_EQ(EACCES, reopen_as_user(self->reader, O_WRONLY));
	EXPECT_EQ(0, reopen_as_user(self->reader, O_RDONLY));
	ASSERT_OK(chmod(self->path, 0666));
	EXPECT_EQ(0, reopen_as_user(self->reader, O_RDWR));
	/* A descriptor of a file that may not be read does not permit to open another one. */
	ASSERT_OK(chmod(self->path, 0600));
	EXPECT_EQ(EACCES, reopen_as_user(self->reader, O_RDONLY));
	EXPECT_EQ(EACCES, reopen_as_user(self->reader, O_RDWR));
	/* The mode of the region's inode, which is the user's, does not help. */
	ASSERT_OK(chmod(self->path, 0644));
	IN_CHILD(
		CHILD_CHECK(!seteuid(1000));
		int fd = mshare_open(self->reader, 0, 0);
		CHILD_CHECK(!fchmod(fd, 0666));
		CHILD_CHECK(reopened(fd, O_RDWR) < 0 && errno == EACCES));
}

TEST_F(file, reopening_a_reader_makes_the_object_writable_if_that_is_allowed)
{
	int fd = mshare_open(self->reader, 0, 0);
	char *addr = attached_at(fd), *mine;
	int other;

	ASSERT_NE(NULL, addr);
	EXPECT_EQ(0, wrong(addr, LEN, 1));
	other = reopened(fd, O_RDWR);
	ASSERT_LE(0, other);
	mine = attached_at(other);
	ASSERT_NE(NULL, mine);
	EXPECT_EQ(FAULT_NONE, try_store(mine, 99));
	EXPECT_EQ(99, addr[0]);
	EXPECT_EQ(FAULT_ACCERR, try_store(addr, 1));
}

TEST_F(file, reopening_asks_the_mount_by_which_it_was_opened)
{
	char dir[64], path[80];
	int file, fd, writer;

	snprintf(dir, sizeof(dir), "%s/mnt", self->dir);
	ASSERT_OK(mkdir(dir, 0755));
	ASSERT_OK(mount(self->dir, dir, NULL, MS_BIND, NULL));
	ASSERT_OK(mount(NULL, dir, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL));
	/* The region is there, made by a writer, and through another mount. */
	writer = mshare_open(self->file, 0, 0);
	ASSERT_LE(0, writer);
	snprintf(path, sizeof(path), "%s/file", dir);
	file = open(path, O_RDONLY);
	fd = mshare_open(file, 0, 0);
	ASSERT_LE(0, fd);
	EXPECT_EQ(id_of(writer), id_of(fd));
	EXPECT_ERR(EROFS, reopened(fd, O_RDWR));
	EXPECT_LE(0, reopened(fd, O_RDONLY));
	EXPECT_LE(0, reopened(writer, O_RDWR));
	/* It holds that mount as a mapping would. */
	close(file);
	EXPECT_ERR(EBUSY, umount2(dir, 0));
}

TEST_F(file, a_sealed_memfd_has_readers_only)
{
	int file = memfd(LEN, MFD_ALLOW_SEALING), reader = reopened(file, O_RDONLY), fd;
	char *addr;

	fd = mshare_open(reader, 0, 0);
	ASSERT_LE(0, fd);
	/* With readers it can be sealed, and that bars a writer. */
	ASSERT_OK(fcntl(file, F_ADD_SEALS, F_SEAL_WRITE));
	EXPECT_ERR(EPERM, mshare_open(file, 0, 0));
	EXPECT_ERR(EPERM, reopened(fd, O_RDWR));
	addr = attached_at(fd);
	ASSERT_NE(NULL, addr);
	EXPECT_EQ(FAULT_NONE, try_load(addr));
	EXPECT_EQ(FAULT_ACCERR, try_store(addr, 1));
	EXPECT_EQ(id_of(fd), id_for(reader, 2 * LEN));
}

TEST_F(file, a_memfd_with_a_writer_cannot_be_sealed)
{
	int file = memfd(LEN, MFD_ALLOW_SEALING), reader = reopened(file, O_RDONLY), fd, other;

	/* Begun by a reader, and made larger afterwards: each part counts. */
	fd = mshare_open(reader, 0, 0);
	other = mshare_open(file, 0, 0);
	ASSERT_LE(0, other);
	EXPECT_ERR(EBUSY, fcntl(file, F_ADD_SEALS, F_SEAL_WRITE));
	EXPECT_NE(0, id_for(file, 4 * LEN));
	EXPECT_ERR(EBUSY, fcntl(file, F_ADD_SEALS, F_SEAL_WRITE));
	close(other);
	/* The object stays what it is as long as there is the region. */
	EXPECT_ERR(EBUSY, fcntl(file, F_ADD_SEALS, F_SEAL_WRITE));
	close(fd);
	EXPECT_TRUE(sys_mshare_becomes("regions", self->regions));
	EXPECT_TRUE(BECOMES(!fcntl(file, F_ADD_SEALS, F_SEAL_WRITE)));
}

/* One call makes the object writable and larger. */
TEST_F(file, a_writer_that_makes_it_larger_is_counted_once)
{
	int file = memfd(4 * LEN, MFD_ALLOW_SEALING), reader = reopened(file, O_RDONLY), fd, other;

	fd = mshare_open(reader, LEN, 0);
	ASSERT_LE(0, fd);
	EXPECT_EQ(LEN, stat_of(fd).size);
	other = mshare_open(file, 4 * LEN, 0);
	ASSERT_LE(0, other);
	EXPECT_EQ(4 * LEN, stat_of(fd).size);
	EXPECT_ERR(EBUSY, fcntl(file, F_ADD_SEALS, F_SEAL_WRITE));
	close(other);
	close(fd);
	EXPECT_TRUE(sys_mshare_becomes("regions", self->regions));
	EXPECT_TRUE(BECOMES(!fcntl(file, F_ADD_SEALS, F_SEAL_WRITE)));
}

/* Lifetime */

TEST_F(file, it_goes_with_the_last_who_has_it)
{
	int fd = mshare_open(self->file, 0, 0);
	uint64_t id = id_of(fd);
	char *addr = attached_at(fd);

	ASSERT_NE(NULL, addr);
	close(fd);
	EXPECT_EQ(self->regions + 1, sys_mshare("regions"));
	/* An attachment is enough. */
	EXPECT_EQ(id, id_for(self->reader, 0));
	addr[0] = 42;
	ASSERT_OK(mshare_detach(addr, 0));
	EXPECT_TRUE(sys_mshare_becomes("regions", self->regions));
	/* The file does not keep it: the next one is new. */
	fd = mshare_open(self->reader, 0, 0);
	ASSERT_LE(0, fd);
	EXPECT_NE(id, id_of(fd));
	EXPECT_EQ(42, attached_at(fd)[0]);
	/* And begins anew: for reading, as long as the file is. */
	EXPECT_ERR(EACCES, (long)mshare_attach(fd, NULL, 0));
}

TEST_F(file, it_keeps_the_file_and_the_mount)
{
	int fd = mshare_open(self->reader, 0, 0);
	char *addr = attached_at(fd);

	ASSERT_NE(NULL, addr);
	close(fd);
	close(self->file);
	close(self->reader);
	ASSERT_OK(unlink(self->path));
	EXPECT_ERR(EBUSY, umount2(self->dir, 0));
	EXPECT_EQ(0, wrong(addr, LEN, 1));
	ASSERT_OK(mshare_detach(addr, 0));
	EXPECT_TRUE(BECOMES(!umount2(self->dir, 0)));
}

TEST_F(file, a_descriptor_in_flight_keeps_it)
{
	int pair[2], fd = mshare_open(self->file, 0, 0);
	uint64_t id = id_of(fd);

	ASSERT_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	send_fd(pair[0], fd);
	close(fd);
	EXPECT_EQ(id, id_for(self->file, 0));
	fd = receive_fd(pair[1]);
	ASSERT_LE(0, fd);
	EXPECT_EQ(id, id_of(fd));
	close(fd);
	EXPECT_TRUE(sys_mshare_becomes("regions", self->regions));
	EXPECT_NE(id, id_for(self->file, 0));
}

TEST_F(file, fork_hands_it_on_and_exec_drops_it)
{
	int fd = mshare_open(self->file, 0, MSHARE_CLOEXEC), answers, hold;
	char *addr = attached_at(fd);
	struct answer a;
	pid_t pid;

	ASSERT_NE(NULL, addr);
	IN_CHILD(addr[LEN - 1] ^= 1; CHILD_CHECK(stat_of(fd).attachments == 2));
	addr[LEN - 1] ^= 1;
	pid = start_program(self->path, "w", LEN, &answers, &hold);
	ASSERT_EQ(sizeof(a), read(answers, &a, sizeof(a)));
	EXPECT_EQ(id_of(fd), a.id);
	EXPECT_EQ(0, a.wrong);
	/* Its own, and not one that it got from us. */
	EXPECT_EQ(2, stat_of(fd).attachments);
	close(hold);
	EXPECT_EQ(0, wait_for(pid));
	EXPECT_EQ(1, stat_of(fd).attachments);
}

/*
 * One process has the region and lets go of it, another opens it: in each round at about
 * the same time.  Either it is the same region, or a new one: never an error, and what
 * was written is there.  Both must have been seen.
 */
TEST_F(file, the_last_who_goes_and_the_next_who_comes)
{
	struct both {
		volatile int round, gone, opened;
		volatile uint64_t old, new;
		volatile int wrong;
	} *both = shared_page();
	int same = 0, fresh = 0, r, spin;
	pid_t pid = fork();

	ASSERT_LE(0, pid);
	if (!pid) {
		char *addr;
		int fd;

		for (r = 1; r <= 4000; r++) {
			while (both->round != r)
				;
			/* A little earlier or later. */
			for (spin = 0; spin < (r * 37) % 600; spin++)
				asm volatile("pause");
			fd = mshare_open(self->file, 0, 0);
			CHILD_CHECK(fd >= 0);
			both->new = id_of(fd);
			addr = attached_at(fd);
			CHILD_CHECK(addr && *(volatile int *)addr == r);
			/* A third one finds the one that is there now. */
			CHILD_CHECK(id_for(self->reader, 0) == both->new);
			CHILD_CHECK(!mshare_detach(addr, 0));
			close(fd);
			both->opened = r;
		}
		_exit(0);
	}
	for (r = 1; r <= 4000; r++) {
		int fd = mshare_open(self->file, 0, 0);
		char *addr = attached_at(fd);

		ASSERT_NE(NULL, addr) {
			kill(pid, SIGKILL);
		}
		*(volatile int *)addr = r;
		both->old = id_of(fd);
		/* Often with an attachment, and often with a descriptor as the last. */
		if (r & 1) {
			close(fd);
			both->round = r;
			mshare_detach(addr, 0);
		} else {
			mshare_detach(addr, 0);
			both->round = r;
			close(fd);
		}
		while (both->opened != r && waitpid(pid, NULL, WNOHANG) == 0)
			;
		if (both->opened != r)
			break;
		if (both->old == both->new)
			same++;
		else
			fresh++;
		EXPECT_LE(both->old, both->new);
		if (same >= 100 && fresh >= 100)
			break;
	}
	TH_LOG("%d times the same, %d times a new one", same, fresh);
	EXPECT_LE(1, same);
	EXPECT_LE(1, fresh);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	EXPECT_TRUE(sys_mshare_becomes("regions", self->regions));
}

/* The end of a large region takes long.  An opener meanwhile need not wait for it. */
TEST_F(file, who_comes_while_it_goes_has_a_new_one)
{
	const uint64_t size = 256 * MIB;
	struct during {
		volatile int begins, gone;
		volatile uint64_t id;
	} *d = shared_page();
	int file = memfd(size, 0), fd, round, during = 0;

	for (round = 0; round < 20 && !during; round++) {
		uint64_t id;
		pid_t pid;
		int gone;

		d->begins = d->gone = 0;
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			fd = mshare_open(file, 0, 0);
			CHILD_CHECK(fd >= 0 &&
				    !mshare_advise(fd, 0, size, MADV_POPULATE_READ, 0));
			d->id = id_of(fd);
			d->begins = 1;
			close(fd);
			d->gone = 1;
			_exit(0);
		}
		while (!d->begins)
			sched_yield();
		do {
			fd = mshare_open(file, 0, 0);
			ASSERT_LE(0, fd);
			id = id_of(fd);
			gone = d->gone;
			close(fd);
		} while (id == d->id && !gone);
		/* There was a new one before the old one had gone. */
		during += id != d->id && !gone;
		EXPECT_EQ(0, wait_for(pid));
	}
	TH_LOG("seen in round %d", round);
	EXPECT_EQ(1, during);
}

TEST_F(file, many_who_come_first_make_one)
{
	struct {
		volatile int go, ready;
		volatile uint64_t id[8];
	} *s = shared_page();
	int round, i, file;
	char path[80];

	for (round = 0; round < 30; round++) {
		pid_t pid[8];

		snprintf(path, sizeof(path), "%s/%d", self->dir, round);
		file = open(path, O_RDWR | O_CREAT, 0600);
		ASSERT_OK(ftruncate(file, LEN));
		s->go = s->ready = 0;
		for (i = 0; i < 8; i++) {
			pid[i] = fork();
			ASSERT_LE(0, pid[i]);
			if (!pid[i]) {
				int mine = open(path, i & 1 ? O_RDONLY : O_RDWR), fd;

				__sync_fetch_and_add(&s->ready, 1);
				while (!s->go)
					sched_yield();
				fd = mshare_open(mine, (i + 1) * LEN, 0);
				CHILD_CHECK(fd >= 0);
				s->id[i] = id_of(fd);
				__sync_fetch_and_add(&s->ready, 1);
				while (s->ready < 16)
					sched_yield();
				CHILD_CHECK(stat_of(fd).size == 8 * LEN &&
					    stat_of(fd).objects == 1);
				CHILD_CHECK(i & 1 || !try_store(attached_at(fd), 1));
				_exit(0);
			}
		}
		while (s->ready < 8)
			sched_yield();
		s->go = 1;
		for (i = 0; i < 8; i++) {
			ASSERT_EQ(0, wait_for(pid[i]));
			EXPECT_EQ(s->id[0], s->id[i]);
		}
		close(file);
	}
	EXPECT_TRUE(sys_mshare_becomes("regions", self->regions));
}

TEST_F(file, whoever_finds_it_is_not_refused_for_the_limit)
{
	struct {
		volatile int go, ready;
	} *s = shared_page();
	long long old = read_number(SYS "max_regions_per_user");
	int round, i;

	/* Each wants the only one that the user may have, and at the same time. */
	ASSERT_TRUE(write_number(SYS "max_regions_per_user", 1));
	for (round = 0; round < 30; round++) {
		pid_t pid[8];

		s->go = s->ready = 0;
		for (i = 0; i < 8; i++) {
			pid[i] = fork();
			ASSERT_LE(0, pid[i]);
			if (!pid[i]) {
				int fd;

				CHILD_CHECK(!setuid(1000));
				__sync_fetch_and_add(&s->ready, 1);
				while (!s->go)
					sched_yield();
				fd = mshare_open(self->reader, 0, 0);
				__sync_fetch_and_add(&s->ready, 1);
				while (s->ready < 16)
					sched_yield();
				CHILD_CHECK(fd >= 0);
				_exit(0);
			}
		}
		while (s->ready < 8)
			sched_yield();
		s->go = 1;
		for (i = 0; i < 8; i++)
			EXPECT_EQ(0, wait_for(pid[i]));
		EXPECT_TRUE(sys_mshare_becomes("regions", self->regions));
	}
	write_number(SYS "max_regions_per_user", old);
}

TEST_F(file, one_that_goes_leaves_room_in_the_limit)
{
	long long old = read_number(SYS "max_regions_per_user"), i;
	pid_t pid[4];

	ASSERT_TRUE(write_number(SYS "max_regions_per_user", 1));
	for (i = 0; i < 4; i++) {
		pid[i] = fork();
		ASSERT_LE(0, pid[i]);
		if (!pid[i]) {
			int n, fd;

			CHILD_CHECK(!setuid(1000));
			for (n = 0; n < 500; n++) {
				fd = mshare_open(self->reader, 0, 0);
				CHILD_CHECK(fd >= 0);
				close(fd);
			}
			_exit(0);
		}
	}
	for (i = 0; i < 4; i++)
		EXPECT_EQ(0, wait_for(pid[i]));
	write_number(SYS "max_regions_per_user", old);
}

TEST_F(file, whoever_is_killed_in_the_middle_leaves_it_whole)
{
	int fd = mshare_open(self->reader, 0, 0), round;
	char *addr = attached_at(fd);
	struct mshare_stat st;

	ASSERT_NE(NULL, addr);
	ASSERT_OK(ftruncate(self->file, GIB));
	for (round = 0; round < 60; round++) {
		pid_t pid = fork();

		ASSERT_LE(0, pid);
		if (!pid) {
			uint64_t length = stat_of(fd).size;

			for (;;)
				close(mshare_open(round & 1 ? self->file : self->reader,
						  length += PAGE, 0));
		}
		sleep_ms(round % 10);
		kill(pid, SIGKILL);
		EXPECT_EQ(KILLED_BY(SIGKILL), wait_for(pid));
		st = stat_of(fd);
		EXPECT_EQ(st.size, st.mapped);
		EXPECT_EQ(1, st.objects);
		EXPECT_EQ(0, wrong(addr, LEN, 1));
		EXPECT_EQ(FAULT_MAPERR, try_load(addr + st.size));
	}
}

/* What belongs to the program's own descriptor */

/* Can another process lock a byte of FILE? */
static bool lockable(const char *path, short type)
{
	struct flock lock = { .l_type = type, .l_whence = SEEK_SET, .l_len = 1 };
	int *told = shared_page(), ret;
	pid_t pid = fork();

	if (!pid) {
		*told = !fcntl(open(path, O_RDWR), F_SETLK, &lock);
		_exit(0);
	}
	wait_for(pid);
	ret = *told;
	munmap(told, PAGE);
	return ret;
}

TEST_F(file, record_locks_stay)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1 };
	struct mshare_region r;

	ASSERT_OK(fcntl(self->file, F_SETLK, &lock));
	EXPECT_FALSE(lockable(self->path, F_RDLCK));
	ASSERT_OK(mshare_region_open(&r, self->file, 0, 0));
	EXPECT_FALSE(lockable(self->path, F_RDLCK));
	EXPECT_EQ(0, wrong(r.addr, LEN, 1));
	ASSERT_OK(mshare_region_close(&r));
	EXPECT_TRUE(sys_mshare_becomes("regions", self->regions));
	EXPECT_FALSE(lockable(self->path, F_RDLCK));
	lock.l_type = F_UNLCK;
	ASSERT_OK(fcntl(self->file, F_SETLK, &lock));
	EXPECT_TRUE(lockable(self->path, F_WRLCK));
}

TEST_F(file, locks_of_the_first_opener_end_with_his_descriptor)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1 };
	int first = open(self->path, O_RDWR | O_CLOEXEC), fd, other;

	ASSERT_OK(flock(first, LOCK_EX));
	ASSERT_OK(fcntl(first, F_OFD_SETLK, &lock));
	fd = mshare_open(first, 0, 0);
	ASSERT_LE(0, fd);
	EXPECT_EQ(-1, flock(self->file, LOCK_EX | LOCK_NB));
	other = mshare_open(self->reader, 0, 0);
	EXPECT_EQ(id_of(fd), id_of(other));
	close(fd);
	close(first);
	/* The region lives on. */
	EXPECT_EQ(LEN, stat_of(other).size);
	EXPECT_OK(flock(self->file, LOCK_EX | LOCK_NB));
	lock.l_pid = 0;
	EXPECT_OK(fcntl(self->file, F_OFD_SETLK, &lock));
}

/* Stores are writes to the file */

/* In a region that a reader has begun, which is the longer way. */
static char *writable(struct __test_metadata *_metadata, int file, int *fd)
{
	char *addr;

	EXPECT_NE(0, id_for(reopened(file, O_RDONLY), 0));
	*fd = mshare_open(file, 0, 0);
	addr = attached_at(*fd);
	return addr;
}

TEST_F(file, stores_on_a_disk_are_writes)
{
	struct stat before, after;
	int file = ext4_file(LEN), reader, fd;
	char *addr, byte, page[PAGE];

	if (file < 0)
		SKIP(return, NO_DISK);
	memset(page, 1, PAGE);
	ASSERT_EQ(PAGE, pwrite(file, page, PAGE, 0));
	ASSERT_OK(fsync(file));
	reader = mshare_open(reopened(file, O_RDONLY), 0, 0);
	ASSERT_NE(NULL, attached_at(reader));
	addr = writable(_metadata, file, &fd);
	ASSERT_NE(NULL, addr);
	EXPECT_EQ(1, addr[0]);
	ASSERT_OK(fstat(file, &before));
	sleep_ms(20);
	addr[0] = 2;
	ASSERT_OK(fstat(file, &after));
	EXPECT_TRUE(after.st_mtim.tv_sec > before.st_mtim.tv_sec ||
		    after.st_mtim.tv_nsec > before.st_mtim.tv_nsec);
	ASSERT_OK(fsync(reopened(file, O_RDONLY)));
	/* What is on the disk, and not in the page cache. */
	ASSERT_OK(mshare_advise(fd, 0, LEN, MADV_DONTNEED, 0));
	ASSERT_OK(posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED));
	ASSERT_EQ(1, pread(file, &byte, 1, 0));
	EXPECT_EQ(2, byte);
	/* Clean again: the next store is a fault, which the file system hears of. */
	EXPECT_EQ(2, addr[0]);
	before = after;
	sleep_ms(20);
	addr[1] = 3;
	ASSERT_OK(fstat(file, &after));
	EXPECT_TRUE(after.st_mtim.tv_sec > before.st_mtim.tv_sec ||
		    after.st_mtim.tv_nsec > before.st_mtim.tv_nsec);
}

TEST_F(file, a_store_waits_for_a_frozen_file_system)
{
	int file = ext4_file(LEN), fd, frozen, *done = shared_page();
	const char *dir = file < 0 ? NULL : disk_mount();
	pid_t pid, grows;
	char *addr;

	if (file < 0)
		SKIP(return, NO_DISK);
	addr = writable(_metadata, file, &fd);
	ASSERT_NE(NULL, addr);
	EXPECT_EQ(0, addr[0]);
	frozen = open(dir, O_RDONLY);
	if (ioctl(frozen, FIFREEZE, 0))
		SKIP(return, "the file system cannot be frozen");
	pid = fork();
	if (!pid) {
		addr[0] = 1;
		*done = 1;
		_exit(0);
	}
	sleep_ms(300);
	EXPECT_EQ(0, *done);
	EXPECT_EQ(0, addr[0]);
	/* A process that makes it grow waits for that fault, and can be killed. */
	grows = fork();
	if (!grows) {
		mshare_open(file, 2 * LEN, 0);
		_exit(1);
	}
	sleep_ms(300);
	EXPECT_EQ(0, waitpid(grows, NULL, WNOHANG));
	/* An opener that needs no change does not wait for either. */
	EXPECT_EQ(id_of(fd), id_for(file, LEN));
	EXPECT_EQ(0, addr[1]);
	kill(grows, SIGKILL);
	EXPECT_EQ(KILLED_BY(SIGKILL), wait_for(grows));
	EXPECT_EQ(LEN, stat_of(fd).size);
	EXPECT_OK(ioctl(frozen, FITHAW, 0));
	EXPECT_EQ(0, wait_for(pid));
	EXPECT_EQ(1, addr[0]);
}

TEST_F(file, a_full_file_system_is_SIGBUS)
{
	int file, fd;
	char *addr;

	ASSERT_OK(mount(NULL, self->dir, NULL, MS_REMOUNT, "size=128k"));
	file = open(self->path, O_RDWR);
	ASSERT_OK(ftruncate(file, MIB));
	addr = writable(_metadata, file, &fd);
	ASSERT_NE(NULL, addr);
	EXPECT_EQ(FAULT_NONE, try_store(addr + LEN, 1));
	EXPECT_EQ(FAULT_BUS, try_store(addr + MIB - PAGE, 1) ?:
			     try_store(addr + MIB - 40 * PAGE, 1) ?: ({
				int i, last = 0;

				for (i = 0; i < 32 && !last; i++)
					last = try_store(addr + MIB - 40 * PAGE + i * PAGE, 1);
				last;
			     }));
	EXPECT_EQ(0, wrong(addr, LEN, 1));
}

/* What it saves */

static void many_programs(struct __test_metadata *_metadata, const char *path, const char *mode,
			  uint64_t size, int n)
{
	int answers[n], hold[n], i;
	uint64_t first = 0, faults = 0;
	long long one = 0, all;
	struct answer a;
	pid_t pid[n];

	for (i = 0; i < n; i++) {
		pid[i] = start_program(path, mode, size, &answers[i], &hold[i]);
		ASSERT_EQ(sizeof(a), read(answers[i], &a, sizeof(a)));
		EXPECT_EQ(0, a.wrong);
		if (!i) {
			first = a.faults;
			one = sys_mshare("pgtable_bytes");
		} else {
			faults += a.faults;
		}
	}
	all = sys_mshare("pgtable_bytes");
	TH_LOG("faults of the first %llu, of %d others %llu; page tables %lld, then %lld",
	       (unsigned long long)first, n - 1, (unsigned long long)faults, one, all);
	/* A fault maps no more than 16 pages. */
	EXPECT_LE(size / PAGE / 16, first);
	EXPECT_GE(64, faults);
	EXPECT_LE(size / PAGE * 8, one);
	EXPECT_LE(all * 100, one * 102);
	for (i = 0; i < n; i++) {
		close(hold[i]);
		EXPECT_EQ(0, wait_for(pid[i]));
	}
}

TEST_F(file, many_programs_have_the_page_tables_and_faults_of_one)
{
	/* A GiB, where there is one, and not on a kernel that checks each access. */
	bool large = meminfo("MemAvailable:") * KIB > 2 * GIB && access("/proc/lockdep", F_OK);
	uint64_t size = large ? GIB : 64 * MIB;
	int n = large ? 64 : 16;

	ASSERT_OK(ftruncate(self->file, 0));
	ASSERT_OK(mount(NULL, self->dir, NULL, MS_REMOUNT, "size=90%"));
	ASSERT_OK(fallocate(self->file, 0, 0, size));
	many_programs(_metadata, self->path, "l", size, n);
	EXPECT_TRUE(sys_mshare_becomes("regions", self->regions));
	many_programs(_metadata, self->path, "s", size, n);
}

TEST_HARNESS_MAIN
