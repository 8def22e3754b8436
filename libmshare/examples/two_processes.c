// SPDX-License-Identifier: LGPL-2.1-or-later
/* Two processes share memory, and the page tables that lead to it. */
#define _DEFAULT_SOURCE
#include <err.h>
#include <mshare.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIZE	(64 << 20)	/* bytes of the region */
#define REPLY	4096		/* offset of the answer in it */

static char *attach(int fd)
{
	void *memory = mshare_attach(fd, NULL, 0);

	if (memory == MAP_FAILED)
		err(EXIT_FAILURE, "mshare_attach");
	return (char *)memory;
}

static int use_region(int socket)
{
	char *memory;
	int fd;

	fd = mshare_recv_fd(socket);
	if (fd < 0)
		err(EXIT_FAILURE, "mshare_recv_fd");
	memory = attach(fd);
	close(fd);		/* the attachment stays */

	printf("child reads: %s\n", memory);
	strcpy(memory + REPLY, "hello from the child");
	return EXIT_SUCCESS;
}

static int make_region(void)
{
	struct mshare_map_args object;
	int fd;

	fd = mshare_create("example", MSHARE_CLOEXEC);
	if (fd < 0)
		err(EXIT_FAILURE, "mshare_create");
	if (ftruncate(fd, SIZE))
		err(EXIT_FAILURE, "ftruncate");

	/* Anonymous memory, read and write, from offset 0 on. */
	memset(&object, 0, sizeof(object));
	object.length = SIZE;
	object.prot = PROT_READ | PROT_WRITE;
	object.flags = MAP_SHARED | MAP_ANONYMOUS;
	object.fd = -1;
	if (mshare_map(fd, &object, sizeof(object)) < 0)
		err(EXIT_FAILURE, "mshare_map");
	return fd;
}

int main(void)
{
	int fd, sockets[2], status;
	char *memory;
	pid_t child;

	/* Any connected Unix domain socket will do. */
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, sockets))
		err(EXIT_FAILURE, "socketpair");
	child = fork();
	if (child < 0)
		err(EXIT_FAILURE, "fork");
	if (!child) {
		close(sockets[0]);
		return use_region(sockets[1]);
	}
	close(sockets[1]);

	fd = make_region();
	memory = attach(fd);
	strcpy(memory, "hello from the parent");
	if (mshare_send_fd(sockets[0], fd))
		err(EXIT_FAILURE, "mshare_send_fd");

	if (waitpid(child, &status, 0) != child || status)
		errx(EXIT_FAILURE, "the child failed");
	printf("parent reads: %s\n", memory + REPLY);
	return EXIT_SUCCESS;
}
