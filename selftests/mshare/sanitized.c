// SPDX-License-Identifier: GPL-2.0
/*
 * Two threads that use a region, to be built with a sanitizer: an access to memory
 * that has no shadow kills the program.  It prints where the region is.
 */
#define _GNU_SOURCE
#include <mshare.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define LENGTH	(4UL << 20)
#define TURNS	1000

struct shared {
	pthread_mutex_t lock;
	long turns;
	char bytes[];
};

static void *use(void *arg)
{
	struct shared *s = arg;
	long i;

	for (i = 0; i < TURNS; i++) {
		pthread_mutex_lock(&s->lock);
		memset(s->bytes + i * 4096, ++s->turns, 4096);
		pthread_mutex_unlock(&s->lock);
	}
	return NULL;
}

int main(void)
{
	struct mshare_map_args object = {
		.length = LENGTH + 4096, .prot = PROT_READ | PROT_WRITE,
		.flags = MAP_SHARED | MAP_ANONYMOUS, .fd = -1,
	};
	int fd = mshare_create("sanitized", MSHARE_CLOEXEC);
	pthread_mutexattr_t attr;
	pthread_t threads[2];
	struct shared *s;
	int i;

	if (fd < 0 || ftruncate(fd, 1UL << 30) || mshare_map(fd, &object, sizeof(object)) < 0) {
		perror("a region");
		return 1;
	}
	s = mshare_attach(fd, NULL, 0);
	if (s == MAP_FAILED) {
		perror("mshare_attach");
		return 1;
	}
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_mutex_init(&s->lock, &attr);
	for (i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, use, s);
	for (i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	printf("%p %ld\n", (void *)s, s->turns);
	return s->turns != 2 * TURNS;
}
