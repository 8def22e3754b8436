// SPDX-License-Identifier: LGPL-2.1-or-later
/* Frees the memory of a range and prints what that saves. */
#define _DEFAULT_SOURCE
#include <err.h>
#include <mshare.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define MIB	(1 << 20)

static void print_resident(const struct mshare_region *region)
{
	struct mshare_stat st;

	if (mshare_stat(region->fd, &st, sizeof(st), 0))
		err(EXIT_FAILURE, "mshare_stat");
	printf("resident: %d MiB\n", (int)(st.resident / MIB));
}

int main(void)
{
	struct mshare_region region;

	if (mshare_region_create(&region, "example", 16 * MIB, 0))
		err(EXIT_FAILURE, "mshare_region_create");
	memset(region.addr, 1, region.size);
	print_resident(&region);

	/* All but the first 4 MiB. */
	if (mshare_advise(region.fd, 4 * MIB, 12 * MIB, MADV_REMOVE, 0))
		err(EXIT_FAILURE, "mshare_advise");
	print_resident(&region);
	return EXIT_SUCCESS;
}
