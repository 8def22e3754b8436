// SPDX-License-Identifier: LGPL-2.1-or-later
/* The wrappers of the nine system calls. */
#include "lib.h"

int mshare_create(const char *name, unsigned int flags)
{
	return syscall(__NR_mshare_create, name, flags);
}

void *mshare_attach(int fd, void *addr, unsigned int flags)
{
	/* -1 is MAP_FAILED. */
	return (void *)syscall(__NR_mshare_attach, fd, addr, flags);
}

int mshare_detach(void *addr, unsigned int flags)
{
	return syscall(__NR_mshare_detach, addr, flags);
}

int64_t mshare_map(int fd, const struct mshare_map_args *args, size_t size)
{
	return syscall(__NR_mshare_map, fd, args, size);
}

int mshare_unmap(int fd, uint64_t offset, uint64_t length, unsigned int flags)
{
	return syscall(__NR_mshare_unmap, fd, offset, length, flags);
}

int mshare_protect(int fd, uint64_t offset, uint64_t length, unsigned int prot,
		   unsigned int flags)
{
	return syscall(__NR_mshare_protect, fd, offset, length, prot, flags);
}

int mshare_advise(int fd, uint64_t offset, uint64_t length, int advice,
		  unsigned int flags)
{
	return syscall(__NR_mshare_advise, fd, offset, length, advice, flags);
}

int mshare_stat(int fd, struct mshare_stat *st, size_t size, unsigned int flags)
{
	return syscall(__NR_mshare_stat, fd, st, size, flags);
}

int mshare_open(int fd, uint64_t length, unsigned int flags)
{
	return syscall(__NR_mshare_open, fd, length, flags);
}
