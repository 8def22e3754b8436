/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Reading a file through io_uring into private buffers that are registered:
 * what a process does instead of mapping it.
 */
#ifndef URING_H
#define URING_H

#include "bench.h"

#include <liburing.h>

#define URING_BUFFERS	4
#define URING_BYTES	(256 * KIB)	/* each */

static inline void uring_request(struct io_uring *ring, int file, const struct iovec *buffer,
				 int index, uint64_t offset)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);

	io_uring_prep_read_fixed(sqe, file, buffer->iov_base, buffer->iov_len, offset, index);
	sqe->user_data = index;
}

/*
 * Reads BYTES of FILE from its start, and a word of every STEP of them; their
 * sum.  The ring and the buffers are made and taken away within the call.
 */
static inline uint64_t uring_read(int file, uint64_t bytes, uint64_t step)
{
	const size_t size = URING_BUFFERS * URING_BYTES;
	struct iovec buffers[URING_BUFFERS];
	uint64_t asked = 0, done = 0, sum = 0;
	struct io_uring_cqe *cqe;
	struct io_uring ring;
	unsigned long i;
	char *memory;
	int ret;

	memory = mmap(NULL, size, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		die("mmap");
	for (i = 0; i < URING_BUFFERS; i++)
		buffers[i] = (struct iovec){ memory + i * URING_BYTES, URING_BYTES };
	ret = io_uring_queue_init(URING_BUFFERS, &ring, 0);
	if (!ret)
		ret = io_uring_register_buffers(&ring, buffers, URING_BUFFERS);
	errno = -ret;
	if (ret)
		die("io_uring");
	for (i = 0; i < URING_BUFFERS && asked < bytes; i++, asked += URING_BYTES)
		uring_request(&ring, file, &buffers[i], i, asked);
	for (done = 0; done < bytes; done += URING_BYTES) {
		ret = io_uring_submit(&ring);
		if (ret >= 0)
			ret = io_uring_wait_cqe(&ring, &cqe);
		errno = -ret;
		if (ret < 0)
			die("io_uring");
		errno = -cqe->res;
		if (cqe->res != (int)URING_BYTES)
			die("a read through io_uring");
		i = cqe->user_data;
		io_uring_cqe_seen(&ring, cqe);
		sum += read_pages(buffers[i].iov_base, URING_BYTES, step);
		if (asked < bytes)
			uring_request(&ring, file, &buffers[i], i, asked);
		asked += URING_BYTES;
	}
	io_uring_queue_exit(&ring);
	munmap(memory, size);
	return sum;
}

#endif /* URING_H */
