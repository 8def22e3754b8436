// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Shows the first line of a file, from page tables that it shares with all
 * who do this; or from page tables of its own where there is no such thing.
 */
#define _DEFAULT_SOURCE
#include <err.h>
#include <fcntl.h>
#include <mshare.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* The first SIZE bytes of FILE, for reading. */
static const char *map(int file, uint64_t size)
{
	struct mshare_region region;
	void *memory;

	if (!mshare_region_open(&region, file, size, MSHARE_CLOEXEC)) {
		close(region.fd);	/* the attachment stays */
		return region.addr;
	}
	/* Whatever the reason: this takes more memory, and works. */
	memory = mmap(NULL, size, PROT_READ, MAP_SHARED, file, 0);
	return memory == MAP_FAILED ? NULL : memory;
}

int main(int argc, char *argv[])
{
	const char *memory, *end;
	struct stat st;
	int file;

	if (argc != 2)
		errx(EXIT_FAILURE, "usage: %s FILE", argv[0]);
	file = open(argv[1], O_RDONLY);
	if (file < 0 || fstat(file, &st))
		err(EXIT_FAILURE, "%s", argv[1]);
	if (!st.st_size)
		errx(EXIT_FAILURE, "%s is empty", argv[1]);
	memory = map(file, st.st_size);
	if (!memory)
		err(EXIT_FAILURE, "mmap: %s", argv[1]);
	close(file);

	end = memchr(memory, '\n', st.st_size);
	printf("%.*s\n", end ? (int)(end - memory) : (int)st.st_size, memory);
	return EXIT_SUCCESS;
}
