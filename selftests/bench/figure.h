/* SPDX-License-Identifier: GPL-2.0 */
/* Measurements that several programs of this folder take. */
#ifndef FIGURE_H
#define FIGURE_H

#include "mst.h"

#include <unistd.h>
#include <x86intrin.h>

/*
 * COUNT times: the cost of sending a byte to another process and back, as the mean of
 * TRIPS.  Returns false on failure.  The other process calls PREPARE first, if given.
 */
static inline bool ping_pong(uint64_t *cost, int count, int trips, void (*prepare)(void))
{
	int there[2], back[2], i, j;
	char byte = 0;
	pid_t pid;

	if (pipe(there) || pipe(back))
		return false;
	pid = fork();
	if (pid < 0)
		return false;
	if (!pid) {
		if (prepare)
			prepare();
		while (read(there[0], &byte, 1) == 1 && write(back[1], &byte, 1) == 1)
			;
		_exit(0);
	}
	for (i = 0; i < count; i++) {
		cost[i] = __rdtsc();
		for (j = 0; j < trips; j++)
			if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1)
				return false;
		cost[i] = (__rdtsc() - cost[i]) / trips;
	}
	kill(pid, SIGKILL);
	wait_for(pid);
	return true;
}

#endif /* FIGURE_H */
