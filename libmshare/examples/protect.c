// SPDX-License-Identifier: LGPL-2.1-or-later
/* Makes memory read-only for another process that has it attached. */
#define _DEFAULT_SOURCE
#include <err.h>
#include <mshare.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIZE	(1 << 20)

int main(void)
{
	struct mshare_region region;
	atomic_int *counter;
	int last, status;
	pid_t child;

	if (mshare_region_create(&region, "example", SIZE, 0))
		err(EXIT_FAILURE, "mshare_region_create");
	counter = region.addr;

	child = fork();
	if (child < 0)
		err(EXIT_FAILURE, "fork");
	if (!child) {
		alarm(60);	/* should the parent fail */
		for (;;)
			atomic_fetch_add(counter, 1);
	}

	while (atomic_load(counter) < 1000)
		usleep(1000);
	if (mshare_protect(region.fd, 0, SIZE, PROT_READ, 0))
		err(EXIT_FAILURE, "mshare_protect");
	last = atomic_load(counter);

	if (waitpid(child, &status, 0) != child)
		err(EXIT_FAILURE, "waitpid");
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSEGV)
		errx(EXIT_FAILURE, "the child did not get SIGSEGV");
	if (atomic_load(counter) != last)
		errx(EXIT_FAILURE, "the child wrote afterwards");
	puts("nobody writes any more");
	return EXIT_SUCCESS;
}
