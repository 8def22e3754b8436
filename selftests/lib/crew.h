/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A crew is a group of processes that have a region attached at different addresses.
 * They work on an object while a test takes its pages away.  Each member has its own
 * word in every page.  In a lap it adds 1 to all of them, and checks that they have
 * the values of the previous lap and that the words of another member are not older
 * than announced.  This detects words that were lost, or belong to another page.
 */
#ifndef CREW_H
#define CREW_H

#include "mst.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define CREW_MAX	4

struct crew {
	volatile int stop;
	/* Milliseconds between laps: memory in constant use is hard to take away. */
	volatile int rest;
	volatile uint64_t bad;
	volatile uint64_t laps[CREW_MAX];
	/* Pages, to distinguish a slow member from one that is stuck. */
	volatile uint64_t steps[CREW_MAX];
	int members;
	pid_t pid[CREW_MAX];
	uint64_t pages;
};

static inline volatile uint64_t *crew_word(char *object, uint64_t page, int member)
{
	/* Neither the first words nor all in one cache line. */
	return (volatile uint64_t *)(object + page * PAGE + 512 + member * 1024);
}

/* The words are lap * 2^32 + page, so that a word in the wrong place is detected. */
static inline uint64_t crew_value(uint64_t lap, uint64_t page)
{
	return lap << 32 | page;
}

static inline void crew_bad(struct crew *crew, int member, uint64_t page, uint64_t value,
			    uint64_t want)
{
	if (__atomic_add_fetch(&crew->bad, 1, __ATOMIC_RELAXED) <= 4)
		fprintf(stderr, "# member %d, page %llu: %#llx, not %#llx\n", member,
			(unsigned long long)page, (unsigned long long)value,
			(unsigned long long)want);
}

static inline void crew_works(struct crew *crew, char *object, int me)
{
	uint64_t lap, page, value, least;
	int other = (me + 1) % crew->members;

	for (lap = 0; !crew->stop; lap++) {
		least = crew->laps[other];
		for (page = 0; page < crew->pages; page++) {
			volatile uint64_t *word = crew_word(object, page, me);

			value = *word;
			if (value != (lap ? crew_value(lap, page) : 0))
				crew_bad(crew, me, page, value, crew_value(lap, page));
			*word = crew_value(lap + 1, page);
			crew->steps[me]++;
			value = *crew_word(object, page, other);
			if (value >> 32 < least || (value && (uint32_t)value != page))
				crew_bad(crew, me, page, value, crew_value(least, page));
		}
		crew->laps[me] = lap + 1;
		if (crew->rest)
			sleep_ms(crew->rest);
	}
}

/*
 * MEMBERS processes begin to work on LENGTH bytes at OFFSET of a region, which
 * read as zeros.  Returns NULL if there is no memory; other errors of a member are
 * reported at the end.
 */
static inline struct crew *crew_start(int fd, uint64_t offset, uint64_t length, int members)
{
	struct crew *crew = shared_page();
	char *addr;
	int i;

	if (!crew)
		return NULL;
	crew->members = members;
	crew->pages = length / PAGE;
	fflush(NULL);
	for (i = 0; i < members; i++) {
		pid_t pid = fork();

		if (pid) {
			crew->pid[i] = pid;
			continue;
		}
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		/* Not where the others have it: that address is taken in every second one. */
		if (i & 1)
			mshare_attach(fd, NULL, 0);
		addr = mshare_attach(fd, NULL, 0);
		if (addr == MAP_FAILED)
			_exit(2);
		crew_works(crew, addr + offset, i);
		_exit(0);
	}
	return crew;
}

/* Waits until every member has done LAPS more; false if one is stuck. */
static inline bool crew_advances(struct crew *crew, uint64_t laps)
{
	uint64_t goal[CREW_MAX], steps = 0;
	int i, tries;

	for (i = 0; i < crew->members; i++)
		goal[i] = crew->laps[i] + laps;
	for (i = 0; i < crew->members; i++) {
		for (tries = 0; crew->laps[i] < goal[i]; tries++) {
			if (crew->steps[i] != steps)
				tries = 0;
			steps = crew->steps[i];
			if (tries == 12000) {
				fprintf(stderr, "# member %d stands still in lap %llu\n", i,
					(unsigned long long)crew->laps[i]);
				return false;
			}
			sleep_ms(10);
		}
	}
	return true;
}

/* The crew pauses until crew_continues(); false if a member has ended. */
static inline bool crew_pauses(struct crew *crew)
{
	int i, status;

	for (i = 0; i < crew->members; i++) {
		if (kill(crew->pid[i], SIGSTOP) ||
		    waitpid(crew->pid[i], &status, WUNTRACED) != crew->pid[i] ||
		    !WIFSTOPPED(status))
			return false;
	}
	return true;
}

static inline void crew_continues(struct crew *crew)
{
	int i;

	for (i = 0; i < crew->members; i++)
		kill(crew->pid[i], SIGCONT);
}

/* Ends the crew, which worked on OBJECT.  Returns the number of wrong words. */
static inline uint64_t crew_ends(struct crew *crew, char *object)
{
	uint64_t page, value, bad;
	int i, status;

	crew->stop = 1;
	for (i = 0; i < crew->members; i++) {
		status = wait_for(crew->pid[i]);
		if (status) {
			fprintf(stderr, "# member %d ended with status %d\n", i, status);
			crew->bad++;
		}
	}
	for (i = 0; i < crew->members; i++) {
		for (page = 0; page < crew->pages; page++) {
			value = *crew_word(object, page, i);
			if (value != crew_value(crew->laps[i], page))
				crew_bad(crew, i, page, value, crew_value(crew->laps[i], page));
		}
	}
	bad = crew->bad;
	munmap(crew, PAGE);
	return bad;
}

#endif /* CREW_H */
