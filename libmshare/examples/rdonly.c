// SPDX-License-Identifier: LGPL-2.1-or-later
/* Shares a region with a process that can only read it. */
#include <err.h>
#include <errno.h>
#include <mshare.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIZE	(1 << 20)

/* All that this process has of the region is FD. */
static void read_region(int fd)
{
	struct mshare_region region;

	if (!mshare_region_attach(&region, fd, 0) || errno != EACCES)
		errx(EXIT_FAILURE, "it is not read-only");
	if (mshare_region_attach(&region, fd, MSHARE_ATTACH_RDONLY))
		err(EXIT_FAILURE, "mshare_region_attach");
	printf("child reads: %s\n", (char *)region.addr);
	fflush(stdout);
	strcpy(region.addr, "overwritten");	/* SIGSEGV */
}

int main(void)
{
	struct mshare_region region;
	int fd, status;
	pid_t child;

	if (mshare_region_create(&region, "example", SIZE, 0))
		err(EXIT_FAILURE, "mshare_region_create");
	strcpy(region.addr, "look, but do not touch");
	fd = mshare_reopen_rdonly(region.fd);
	if (fd < 0)
		err(EXIT_FAILURE, "mshare_reopen_rdonly");

	child = fork();
	if (child < 0)
		err(EXIT_FAILURE, "fork");
	if (!child) {
		/* What fork() has handed down allows writing. */
		if (mshare_region_close(&region))
			err(EXIT_FAILURE, "mshare_region_close");
		read_region(fd);
		return EXIT_SUCCESS;
	}

	if (waitpid(child, &status, 0) != child)
		err(EXIT_FAILURE, "waitpid");
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSEGV)
		errx(EXIT_FAILURE, "the child did not get SIGSEGV");
	printf("parent reads: %s\n", (char *)region.addr);
	return EXIT_SUCCESS;
}
