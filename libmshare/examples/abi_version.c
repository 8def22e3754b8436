// SPDX-License-Identifier: LGPL-2.1-or-later
/* Uses a region if the kernel supports regions, and ordinary memory otherwise. */
#define _DEFAULT_SOURCE
#include <err.h>
#include <mshare.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#define SIZE	(1 << 20)

int main(void)
{
	struct mshare_region region = { .fd = -1 };
	int level = mshare_abi_version();
	char *memory;

	if (!level)
		warn("no regions here");
	else
		printf("level %d\n", level);

	/* Creating one can fail all the same: it may be disabled. */
	if (level && !mshare_region_create(&region, "spare", SIZE, 0)) {
		memory = region.addr;
	} else {
		memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		if (memory == MAP_FAILED)
			err(EXIT_FAILURE, "mmap");
	}
	memory[0] = 1;
	printf("memory from %s\n", region.fd < 0 ? "mmap" : "mshare");
	return EXIT_SUCCESS;
}
