// SPDX-License-Identifier: GPL-2.0
/*
 * What gdb.sh debugs: a process with one region at three places, which counts in
 * it and calls a function in it until it is told to stop.
 */
#define _GNU_SOURCE
#include "mst.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CODE	MIB	/* the offset of an object that holds a function */

struct shared {
	long word, count;
	volatile long stop;
};

/* At addresses that the script knows. */
static char *at(int fd, int slot, unsigned int flags)
{
	char *addr = mshare_attach(fd, (void *)(slot * SLOT), flags);

	return addr == MAP_FAILED ? NULL : addr;
}

__attribute__((noinline)) void tick(struct shared *s)
{
	s->count++;
}

int main(void)
{
	/* nop; ret: a breakpoint can be in front of something. */
	static const unsigned char code[] = { 0x90, 0xc3 };
	int fd = region(SLOT);
	char *rw = at(fd, 3, 0), *ro = at(fd, 5, MSHARE_ATTACH_RDONLY | MSHARE_ATTACH_EXEC);
	char *exec = at(fd, 7, MSHARE_ATTACH_EXEC);
	struct shared *s = (void *)rw;

	if (!rw || !ro || !exec || map_anon(fd, 0, 64 * KIB, RW) ||
	    map_anon(fd, CODE, PAGE, RW | PROT_EXEC) != CODE) {
		perror("gdb_target");
		return 1;
	}
	s->word = 4711;
	/* No core file may have this from elsewhere: the stack, or the program. */
	sprintf(rw + KIB, "the %s %d", "marker", (int)s->word * 3);
	memcpy(rw + CODE, code, sizeof(code));
	printf("%d\n", getpid());
	fflush(stdout);
	/* Ends it if it is forgotten. */
	alarm(1000);
	while (!s->stop) {
		tick(s);
		((void (*)(void))(exec + CODE))();
		sleep_ms(10);
	}
	printf("word %ld\n", s->word);
	return 0;
}
