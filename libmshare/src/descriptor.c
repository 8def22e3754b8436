// SPDX-License-Identifier: LGPL-2.1-or-later
/* Passes descriptors of regions to other processes, and reopens them. */
#include "lib.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

#ifndef SCM_PIDFD
#define SCM_PIDFD	4
#endif

int mshare_send_fd(int socket, int fd)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { .room = "" };
	char byte = 0;
	struct iovec data = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &data,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *rights = CMSG_FIRSTHDR(&msg);
	socklen_t size = sizeof(int);
	int domain;

	/* Others would send the byte and drop the descriptor. */
	if (getsockopt(socket, SOL_SOCKET, SO_DOMAIN, &domain, &size))
		return -1;
	if (domain != AF_UNIX) {
		errno = EAFNOSUPPORT;
		return -1;
	}
	rights->cmsg_level = SOL_SOCKET;
	rights->cmsg_type = SCM_RIGHTS;
	rights->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(rights), &fd, sizeof(int));
	return sendmsg(socket, &msg, MSG_NOSIGNAL) < 0 ? -1 : 0;
}

/*
 * Counts the descriptors that came with a message and leaves the first in *FD.
 * The others are closed, and so is the one that SO_PASSPIDFD adds.
 */
static unsigned int take_fds(struct msghdr *msg, int *fd)
{
	unsigned int count = 0, i, n;
	struct cmsghdr *c;
	int one;

	for (c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level != SOL_SOCKET ||
		    (c->cmsg_type != SCM_RIGHTS && c->cmsg_type != SCM_PIDFD))
			continue;
		n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (i = 0; i < n; i++) {
			memcpy(&one, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (c->cmsg_type == SCM_RIGHTS && count++ == 0)
				*fd = one;
			else if (one >= 0)
				close_quietly(one);
		}
	}
	return count;
}

int mshare_recv_fd(int socket)
{
	/* With room for what the socket may be set to add. */
	union {
		struct cmsghdr align;
		char room[512];
	} control;
	char byte;
	struct iovec data = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &data,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	unsigned int count;
	ssize_t length;
	int fd = -1;

	length = recvmsg(socket, &msg, MSG_CMSG_CLOEXEC);
	if (length < 0)
		return -1;
	count = take_fds(&msg, &fd);
	if (length == 1 && count == 1 && !(msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
		return fd;
	if (count)
		close_quietly(fd);
	if (length == 0 && count == 0)
		errno = ECONNRESET;
	else if (count == 0 && (msg.msg_flags & MSG_CTRUNC))
		errno = EMFILE;
	else
		errno = EPROTO;
	return -1;
}

int mshare_reopen_rdonly(int fd)
{
	/* Threads can have tables of descriptors of their own.  The rest is 0. */
	char path[sizeof("/proc/thread-self/fd/") + 10] = "/proc/thread-self/fd/";
	char digits[10], *end = path + strlen(path);
	struct mshare_stat st;
	int n = 0;

	/* Opening another kind of file could wait, or do something. */
	if (mshare_stat(fd, &st, sizeof(st), 0))
		return -1;
	/* By hand: snprintf() may not be called in signal handlers. */
	do {
		digits[n++] = '0' + fd % 10;
		fd /= 10;
	} while (fd);
	while (n)
		*end++ = digits[--n];
	return open(path, O_RDONLY | O_CLOEXEC);
}
