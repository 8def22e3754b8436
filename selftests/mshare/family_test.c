// SPDX-License-Identifier: GPL-2.0
/*
 * Relatives of an attached process that are unlike a child of fork: very many,
 * those that share its address space without being its threads, and programs
 * that are executed, also with other rights.
 */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "mst.h"

#include <sched.h>
#include <spawn.h>
#include <sys/auxv.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define LEN	MIB
#define EXECUTED	"MST_EXECUTED"	/* what an executed program is to look at */

FIXTURE(family) {
	int fd;
	char *addr;
	struct mshare_stat before;
};

FIXTURE_SETUP(family)
{
	self->addr = filled_region(&self->fd, 0, LEN);
	ASSERT_NE(NULL, self->addr);
	self->before = stat_of(self->fd);
}

/* The region is unchanged after all its users. */
FIXTURE_TEARDOWN(family)
{
	struct mshare_stat after = stat_of(self->fd);

	EXPECT_EQ(1, after.attachments);
	EXPECT_EQ(self->before.pgtable_bytes, after.pgtable_bytes);
	EXPECT_EQ(self->before.resident, after.resident);
	EXPECT_EQ(self->before.faults, after.faults);
	EXPECT_EQ(1, sys_mshare("attachments"));
	EXPECT_TRUE(sys_mshare_becomes("regions", 1));
}

TEST_F(family, a_thousand_children_at_once)
{
	enum { COUNT = 1000 };
	long long page_tables = meminfo("PageTables:");
	int *there = shared_page(), go[2];
	uint32_t *word = (void *)self->addr;
	struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };
	int i, j, count = COUNT;
	pid_t pid[COUNT];

	ASSERT_NE(NULL, there);
	ASSERT_OK(pipe(go));
	setrlimit(RLIMIT_NPROC, &limit);
	for (i = 0; i < count; i++)
		word[i] = i;
	for (i = 0; i < count; i++) {
		pid[i] = fork();
		if (pid[i] < 0)
			break;
		if (!pid[i]) {
			int before = word[i];

			/* Each its own, and at the end all see all. */
			CHILD_CHECK(before == i);
			word[i] = before + count;
			__atomic_add_fetch(there, 1, __ATOMIC_SEQ_CST);
			close(go[1]);
			CHILD_CHECK(!read(go[0], &before, 1));
			for (j = 0; j < count; j++)
				if (word[j] != j + count)
					break;
			_exit(j != count);
		}
	}
	EXPECT_EQ(count, i) {
		TH_LOG("fork: %m");
	}
	count = i;
	EXPECT_TRUE(BECOMES(__atomic_load_n(there, __ATOMIC_SEQ_CST) == count));
	EXPECT_EQ(count + 1, stat_of(self->fd).attachments);
	EXPECT_EQ(self->before.pgtable_bytes, stat_of(self->fd).pgtable_bytes);
	close(go[1]);
	for (i = 0; i < count; i++)
		EXPECT_EQ(0, wait_for(pid[i]));
	for (i = 0; i < count; i++)
		EXPECT_EQ(i + count, word[i]);
	/* Those of a thousand processes are 100 MiB; some may go a little later. */
	EXPECT_TRUE(BECOMES(meminfo("PageTables:") <= page_tables + 1000));
}

/* A process with our address space that is no thread of ours. */
static pid_t with_our_memory(int (*work)(void *), void *arg)
{
	char *stack = mmap(NULL, 256 * KIB, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return stack == MAP_FAILED ? -1 : clone(work, stack + 256 * KIB, CLONE_VM | SIGCHLD, arg);
}

struct relative {
	int fd;
	char *addr, *new;
	volatile int step;
};

static int attaches_and_detaches(void *arg)
{
	struct relative *r = arg;

	if (mshare_detach(r->addr, 0))
		return 1;
	r->new = mshare_attach(r->fd, (void *)(5 * SLOT), 0);
	if (r->new == MAP_FAILED)
		return 2;
	r->new[1] = 'n';
	return 0;
}

TEST_F(family, CLONE_VM_is_one_address_space)
{
	struct relative r = { .fd = self->fd, .addr = self->addr };
	char *old = self->addr;
	pid_t pid = with_our_memory(attaches_and_detaches, &r);

	ASSERT_LE(0, pid);
	EXPECT_EQ(0, wait_for(pid));
	/* What it did outlives it, here. */
	EXPECT_EQ(FAULT_MAPERR, try_load(old));
	EXPECT_EQ(1, stat_of(self->fd).attachments);
	self->addr = r.new;
	EXPECT_EQ('n', self->addr[1]);
	fill(self->addr, LEN, 2);
	EXPECT_EQ(0, wrong(self->addr, LEN, 2));
}

static int waits(void *arg)
{
	struct relative *r = arg;

	r->step = 1;
	while (r->step == 1)
		sleep_ms(5);
	r->addr[1] = r->addr[0];
	r->step = 3;
	_exit(0);
}

TEST_F(family, the_exit_of_one_of_two_with_one_address_space_leaves_it)
{
	struct relative *r = shared_page();

	*r = (struct relative){ .fd = self->fd, .addr = self->addr };
	self->addr[1] = 0;
	IN_CHILD({
		CHILD_CHECK(with_our_memory(waits, r) > 0);
		CHILD_CHECK(await(&r->step));
	});
	/* The first is gone, and the second has its memory for itself. */
	EXPECT_EQ(2, stat_of(self->fd).attachments);
	self->addr[0] = 'p';
	r->step = 2;
	EXPECT_TRUE(BECOMES(r->step == 3));
	EXPECT_EQ('p', self->addr[1]);
	EXPECT_TRUE(sys_mshare_becomes("attachments", 1));
}

static int touches_until_SIGBUS(void *arg)
{
	struct relative *r = arg;
	int i;

	for (i = 0; i < 6000; i++) {
		if (try_load(r->addr) == FAULT_BUS) {
			r->step = mshare_attach(r->fd, NULL, 0) == MAP_FAILED &&
				  errno == EOWNERDEAD ? 1 : -1;
			_exit(0);
		}
		sleep_ms(5);
	}
	r->step = -2;
	_exit(0);
}

TEST(an_owned_region_ends_with_its_process_though_its_address_space_lives)
{
	struct relative *r = shared_page();
	pid_t pid = fork();

	ASSERT_LE(0, pid);
	if (!pid) {
		r->fd = mshare_create("owned", MSHARE_OWNED);
		CHILD_CHECK(r->fd >= 0 && !ftruncate(r->fd, GIB));
		r->addr = attached(r->fd, 0, PAGE);
		CHILD_CHECK(r->addr);
		r->addr[0] = 1;
		CHILD_CHECK(with_our_memory(touches_until_SIGBUS, r) > 0);
		_exit(0);
	}
	EXPECT_EQ(0, wait_for(pid));
	EXPECT_TRUE(await(&r->step));
	EXPECT_EQ(1, r->step);
	EXPECT_EQ(0, settled());
}

/* The other side of exec: what of ADDR and the descriptor is there? */
static int executed(void)
{
	unsigned long addr = 0;
	unsigned int uid = 0, euid = 0;
	int fd = -1;
	char byte, *maps;
	int mem;

	if (sscanf(getenv(EXECUTED), "%lx %d %u %u", &addr, &fd, &uid, &euid) != 4)
		return 2;
	/* It had the flag. */
	CHILD_CHECK(fcntl(fd, F_GETFD) == -1 && errno == EBADF);
	maps = slurp("/proc/self/maps");
	CHILD_CHECK(!strstr(maps, "/mshare:"));
	CHILD_CHECK(getuid() == uid && geteuid() == euid);
	CHILD_CHECK(getauxval(AT_SECURE) == (uid != euid));
	CHILD_CHECK(try_load((void *)addr) == FAULT_MAPERR);
	mem = open("/proc/self/mem", O_RDONLY);
	/* Without our rights over ourselves it cannot even be opened. */
	CHILD_CHECK(mem < 0 || (pread(mem, &byte, 1, addr) == -1 && errno == EIO));
	return 0;
}

static void tell(FIXTURE_DATA(family) *self, uid_t uid, uid_t euid)
{
	char text[100];

	sprintf(text, "%lx %d %u %u", (long)self->addr, self->fd, uid, euid);
	setenv(EXECUTED, text, 1);
}

TEST_F(family, a_spawned_program_has_nothing_of_it)
{
	char *argv[] = { "family_test", NULL };
	pid_t pid;

	tell(self, getuid(), getuid());
	ASSERT_EQ(0, posix_spawn(&pid, "/proc/self/exe", NULL, NULL, argv, environ));
	EXPECT_EQ(0, wait_for(pid));
	EXPECT_EQ(0, wrong(self->addr, LEN, 1));
}

TEST_F(family, a_program_after_vfork_has_nothing_of_it)
{
	pid_t pid;

	tell(self, getuid(), getuid());
	pid = vfork();
	if (!pid) {
		execl("/proc/self/exe", "family_test", NULL);
		_exit(127);
	}
	EXPECT_EQ(0, wait_for(pid));
	EXPECT_EQ(0, wrong(self->addr, LEN, 1));
}

TEST_F(family, a_set_uid_program_has_nothing_of_it)
{
	char path[] = "/tmp/mst-set-uid.XXXXXX";
	int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), to = mkostemp(path, O_CLOEXEC);
	char buf[65536];
	ssize_t got;

	ASSERT_LE(0, to);
	while ((got = read(from, buf, sizeof(buf))) > 0)
		ASSERT_EQ(got, write(to, buf, got));
	ASSERT_EQ(0, got);
	ASSERT_OK(fchmod(to, 04755));
	ASSERT_OK(close(to));
	/* The region is not the program's owner's: its user's is what must not go over. */
	ASSERT_OK(fchown(self->fd, 65534, 65534));
	IN_CHILD({
		CHILD_CHECK(!setresgid(65534, 65534, 65534));
		CHILD_CHECK(!setresuid(65534, 65534, 65534));
		CHILD_CHECK(!wrong(self->addr, LEN, 1));
		tell(self, 65534, 0);
		execl(path, "family_test", NULL);
		_exit(127);
	});
	unlink(path);
	EXPECT_EQ(0, wrong(self->addr, LEN, 1));
}

int main(int argc, char **argv)
{
	if (getenv(EXECUTED))
		return executed();
	return test_harness_run(argc, argv);
}
