/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Reading a file through io_uring into private, registered buffers: the alternative
 * to mapping it.
 */
#ifndef URING_H
#define URING_H

#include "bench.h"

#include <liburing.h>

#define URING_BUFFERS	4
#define URING_BYTES	(256 * KIB)	/* each */

struct uring {
	struct io_uring ring;
	struct iovec buffers[URING_BUFFERS];
};

static inline void uring_start(struct uring *u)
{
	char *memory;
	int ret, i;

	memory = mmap(NULL, URING_BUFFERS * URING_BYTES, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		err(1, "mmap");
	for (i = 0; i < URING_BUFFERS; i++)
		u->buffers[i] = (struct iovec){ memory + i * URING_BYTES, URING_BYTES };
	ret = io_uring_queue_init(URING_BUFFERS, &u->ring, 0);
	if (!ret)
		ret = io_uring_register_buffers(&u->ring, u->buffers, URING_BUFFERS);
	errno = -ret;
	if (ret)
		err(1, "io_uring");
}

static inline void uring_stop(struct uring *u)
{
	io_uring_queue_exit(&u->ring);
	munmap(u->buffers[0].iov_base, URING_BUFFERS * URING_BYTES);
}

static inline void uring_request(struct uring *u, int file, int index, uint64_t offset)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);

	io_uring_prep_read_fixed(sqe, file, u->buffers[index].iov_base, URING_BYTES, offset,
				 index);
	sqe->user_data = index;
}

/* Reads BYTES from the start of FILE; returns the sum of a word of every STEP bytes. */
static inline uint64_t uring_read(struct uring *u, int file, uint64_t bytes, uint64_t step)
{
	uint64_t asked = 0, done, sum = 0;
	struct io_uring_cqe *cqe;
	int ret, i;

	for (i = 0; i < URING_BUFFERS && asked < bytes; i++, asked += URING_BYTES)
		uring_request(u, file, i, asked);
	for (done = 0; done < bytes; done += URING_BYTES) {
		ret = io_uring_submit(&u->ring);
		if (ret >= 0)
			ret = io_uring_wait_cqe(&u->ring, &cqe);
		errno = -ret;
		if (ret < 0)
			err(1, "io_uring");
		errno = -cqe->res;
		if (cqe->res != (int)URING_BYTES)
			err(1, "a read through io_uring");
		i = cqe->user_data;
		io_uring_cqe_seen(&u->ring, cqe);
		sum += read_pages(u->buffers[i].iov_base, URING_BYTES, step);
		if (asked < bytes)
			uring_request(u, file, i, asked);
		asked += URING_BYTES;
	}
	return sum;
}

#endif /* URING_H */
