// SPDX-License-Identifier: GPL-2.0
/* A library that run_test loads: it maps memory, and changes that of the program. */
#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>

void *plugin_map(size_t length)
{
	return mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

int plugin_protect(void *addr, size_t length, int prot)
{
	return mprotect(addr, length, prot);
}

int plugin_errno(void)
{
	return errno;
}
