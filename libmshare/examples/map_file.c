// SPDX-License-Identifier: LGPL-2.1-or-later
/* Maps a file in a region and prints its first line from the region. */
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

int main(int argc, char *argv[])
{
	struct mshare_map_args object = {
		.offset = MSHARE_ANY_OFFSET,
		.prot = PROT_READ,
		.flags = MAP_SHARED,
	};
	struct stat st;
	int64_t offset;
	char *memory, *end;
	int fd;

	if (argc != 2)
		errx(EXIT_FAILURE, "usage: %s FILE", argv[0]);
	object.fd = open(argv[1], O_RDONLY);
	if (object.fd < 0 || fstat(object.fd, &st))
		err(EXIT_FAILURE, "%s", argv[1]);
	if (!st.st_size)
		errx(EXIT_FAILURE, "%s is empty", argv[1]);
	object.length = st.st_size;

	fd = mshare_create("files", MSHARE_CLOEXEC);
	if (fd < 0)
		err(EXIT_FAILURE, "mshare_create");
	/* A slot costs no more, and leaves room for other files. */
	if (ftruncate(fd, 1LL << 39))
		err(EXIT_FAILURE, "ftruncate");
	offset = mshare_map(fd, &object, sizeof(object));
	if (offset < 0)
		err(EXIT_FAILURE, "mshare_map: %s", argv[1]);
	close(object.fd);	/* the object stays */

	memory = mshare_attach(fd, NULL, MSHARE_ATTACH_RDONLY);
	if (memory == MAP_FAILED)
		err(EXIT_FAILURE, "mshare_attach");
	memory += offset;
	printf("%lld bytes at offset %lld: ", (long long)st.st_size,
	       (long long)offset);
	end = memchr(memory, '\n', st.st_size);
	fwrite(memory, 1, end ? end - memory : st.st_size, stdout);
	putchar('\n');
	return EXIT_SUCCESS;
}
