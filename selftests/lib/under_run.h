/* SPDX-License-Identifier: GPL-2.0 */
/* Common code of the tests of mshare run.  Included after the harness and mst.h. */
#ifndef UNDER_RUN_H
#define UNDER_RUN_H

#include <libgen.h>
#include <sys/mman.h>

/* The memory that a test has, filled by fill(.., 1). */
#define LENGTH	(16 * MIB)
#define PART	(4 * MIB)

/*
 * Starts the program once more, under the command that was built with it, with
 * OPTION.  For a constructor; returns if the program already runs under the command.
 */
static void run_again(int argc, char **argv, char *option)
{
	char self[4096] = "", command[4200], *args[argc + 6];
	int i;

	if (getenv("MSHARE_RUN_MIN"))
		return;
	if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
		exit(KSFT_FAIL);
	args[0] = "mshare";
	args[1] = "run";
	args[2] = "--min=16M";
	args[3] = option;
	args[4] = strdup(self);
	for (i = 1; i <= argc; i++)
		args[4 + i] = argv[i];
	snprintf(command, sizeof(command), "%s/../libmshare/mshare", dirname(self));
	execv(command, args);
	perror(command);
	exit(KSFT_FAIL);
}

static bool is_region(const void *addr)
{
	return strstr(maps_line(addr), "/mshare:");
}

static int descriptors(void)
{
	int fd, n = 0;

	for (fd = 0; fd < 1000; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* Makes a system call that no library sees. */
static long raw(long nr, long a, long b, long c, long d, long e, long f)
{
	register long r10 asm("r10") = d;
	register long r8 asm("r8") = e;
	register long r9 asm("r9") = f;
	long ret;

	asm volatile("syscall" : "=a" (ret) : "a" (nr), "D" (a), "S" (b), "d" (c), "r" (r10), "r" (r8), "r" (r9)
		     : "rcx", "r11", "memory");
	return ret;
}

/* Leaves no trace of itself. */
static bool store(char *addr, uint8_t value)
{
	uint8_t old = *addr;
	int ret = try_store(addr, value);

	*addr = old;
	return ret == FAULT_NONE;
}

/* Tests of anonymous memory and of files alike; REGION: that is what ADDR is. */

static void mprotect_is_for_one_process(struct __test_metadata *_metadata, char *addr, bool region)
{
	IN_CHILD({
		CHILD_CHECK(!mprotect(addr + PART, PART, PROT_READ));
		CHILD_CHECK(try_store(addr + PART, 7) == FAULT_ACCERR);
		CHILD_CHECK(!wrong(addr, LENGTH, 1));
		CHILD_CHECK(store(addr, 7) && store(addr + 2 * PART, 7));
		CHILD_CHECK(!mprotect(addr, LENGTH, PROT_NONE));
		CHILD_CHECK(try_load(addr) == FAULT_ACCERR);
		CHILD_CHECK(!mprotect(addr, LENGTH, RW));
		CHILD_CHECK(store(addr + PART, 7));
	});
	EXPECT_TRUE(store(addr + PART, 7));
	/* Nothing changes, so nothing is lost. */
	EXPECT_OK(mprotect(addr + PART, PART, RW));
	EXPECT_EQ(region, is_region(addr));
	EXPECT_ERR(EINVAL, mprotect(addr + 1, PART, RW));
}

static void advice_not_to_fork(struct __test_metadata *_metadata, char *addr)
{
	IN_CHILD({
		CHILD_CHECK(!madvise(addr, LENGTH, MADV_DONTFORK));
		CHILD_CHECK(!wrong(addr, LENGTH, 1));
		IN_CHILD(CHILD_CHECK(try_load(addr) == FAULT_MAPERR));
	});
}

#endif /* UNDER_RUN_H */
