// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Writes a line into a file that file_reader shows.  The two need to know
 * nothing of each other but the file.
 */
#define _DEFAULT_SOURCE
#include <err.h>
#include <fcntl.h>
#include <mshare.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define SIZE	4096		/* bytes of the file */

int main(int argc, char *argv[])
{
	char *memory;
	int file, fd;

	if (argc != 3)
		errx(EXIT_FAILURE, "usage: %s FILE LINE", argv[0]);
	file = open(argv[1], O_RDWR | O_CREAT, 0644);
	if (file < 0 || ftruncate(file, SIZE))
		err(EXIT_FAILURE, "%s", argv[1]);

	fd = mshare_open(file, SIZE, MSHARE_CLOEXEC);
	if (fd < 0)
		err(EXIT_FAILURE, "mshare_open: %s", argv[1]);
	close(file);		/* the region has the file */
	memory = mshare_attach(fd, NULL, 0);
	if (memory == MAP_FAILED)
		err(EXIT_FAILURE, "mshare_attach");

	snprintf(memory, SIZE, "%s\n", argv[2]);
	return EXIT_SUCCESS;
}
