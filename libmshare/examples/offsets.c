// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A list in a region.  Its links are offsets, so that it can be read
 * wherever the region is attached.
 */
#include <err.h>
#include <mshare.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SIZE	(1 << 20)

struct item {
	uint64_t next;		/* MSHARE_ANY_OFFSET: none */
	int value;
};

static void print(const struct mshare_region *region, uint64_t first)
{
	uint64_t offset = first;

	while (offset != MSHARE_ANY_OFFSET) {
		const struct item *item = mshare_ptr(region, offset);

		if (!item)
			err(EXIT_FAILURE, "a link leads nowhere");
		printf(" %d", item->value);
		offset = item->next;
	}
	putchar('\n');
}

int main(void)
{
	struct mshare_region region, again;
	uint64_t first = MSHARE_ANY_OFFSET;
	struct item *items;
	int i, fd;

	if (mshare_region_create(&region, "list", SIZE, 0))
		err(EXIT_FAILURE, "mshare_region_create");
	items = region.addr;
	for (i = 1; i <= 3; i++) {
		items[i].value = i;
		items[i].next = first;
		first = mshare_offset(&region, &items[i]);
	}
	print(&region, first);

	/* The same region at another address. */
	fd = dup(region.fd);
	if (fd < 0)
		err(EXIT_FAILURE, "dup");
	if (mshare_region_attach(&again, fd, MSHARE_ATTACH_RDONLY))
		err(EXIT_FAILURE, "mshare_region_attach");
	print(&again, first);

	if (mshare_region_close(&again) || mshare_region_close(&region))
		err(EXIT_FAILURE, "mshare_region_close");
	return EXIT_SUCCESS;
}
