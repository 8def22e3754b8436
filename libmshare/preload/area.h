/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Areas: shared memory of the program that is a region. */
#ifndef MSHARE_AREA_H
#define MSHARE_AREA_H

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/types.h>

#define PAGE		4096UL
#define SLOT		(512UL << 30)
#define MAX_SIZE	(32UL << 40)
#define RW		(PROT_READ | PROT_WRITE)
#define ANON		(MAP_SHARED | MAP_ANONYMOUS)

/* Not all headers have them. */
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ	22
#define MADV_POPULATE_WRITE	23
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE		25
#endif

struct area {
	_Atomic uintptr_t start;	/* 0: unused */
	size_t length;			/* what the program has */
	size_t offset;			/* of START in the attachment */
	size_t span;			/* what the attachment takes */
	uintptr_t shadow;		/* the same memory, from 0 to the end of LENGTH */
	int prot;			/* of the attachment */
	bool policies;			/* the shadow may be several mappings */
	bool file;			/* of the program; no descriptor is kept */
	unsigned long serial;		/* no other area has had it */
	int fd;				/* of the region, unless the program closed it */
	dev_t device;
	ino_t inode;
};

/* The state of the thread before it took the lock. */
struct before {
	sigset_t blocked;
	int cancel;
};

/* Areas change only under this lock. */
void lock(struct before *before);
void unlock(const struct before *before);
/* Makes fork() wait for changes; false on failure. */
bool guard_fork(void);

/* LENGTH in whole pages; 0 if it is too large. */
static inline size_t pages(size_t length)
{
	return (length + PAGE - 1) & -PAGE;
}

/* Does the range begin at a page, and has an area some of it? */
bool touches(uintptr_t addr, size_t length);
/* The area that contains all of the range, or NULL. */
struct area *area_of(uintptr_t addr, size_t length);

/* Where the attachment begins, and the place of an address in the shadow. */
static inline uintptr_t base_of(const struct area *a)
{
	return a->start - a->offset;
}

static inline uintptr_t in_shadow_of(const struct area *a, uintptr_t addr)
{
	return a->shadow + (addr - base_of(a));
}

/* Making one, with the lock: a place for it, or NULL with the reason */
struct area *new_area(const char **why);
/* Its shadow of the memory that MEMORY is open for; LENGTH, OFFSET and SPAN are set. */
long map_shadow(struct area *a, int memory);
void unmap_shadow(const struct area *a);
/* Adds the area; returns the address that the program gets. */
uintptr_t add_area(struct area *a, uintptr_t base);

/*
 * Makes shared memory of that length in a region.  Returns its address, or an error;
 * then WHY is the reason in words if there is more to say than the error.
 */
long serve(uintptr_t hint, size_t length, int flags, const char **why);
/* munmap() of a range of whole pages, with the lock. */
long unmap(uintptr_t addr, size_t length);
/*
 * Makes all areas that overlap the range ordinary mappings of the same memory in this
 * process; WHY is the call that needs this.
 */
long leave_all(uintptr_t addr, size_t length, const char *why);
/* The program may have closed the descriptor, and opened another one there. */
bool fd_is_ours(const struct area *a);

#endif /* MSHARE_AREA_H */
