// SPDX-License-Identifier: LGPL-2.1-or-later
/* Determines the level of the ABI that the kernel has, if any. */
#include "lib.h"

#include <limits.h>
#include <stdbool.h>

/* The result or the negative errno. */
static long ask(long name, unsigned int flags)
{
	long ret = syscall(__NR_mshare_create, name, flags, -1L, -1L, -1L, -1L);

	return ret == -1 ? -errno : ret;
}

int mshare_abi_version(void)
{
	int err = errno;
	bool ours = false;
	long ret;

	/*
	 * A kernel that is not ours may have another call at this number, and
	 * a descriptor 0 or an address NULL could mean something to it.  So
	 * ask first for what nothing can be done with: all arguments are -1.
	 * Both flags are wrong in the same way for mshare_create(), and a call
	 * for which a descriptor or a pointer is wrong answers otherwise.
	 */
	ret = ask(-1, ~0U);
	if (ret == -EINVAL)
		ret = ask(-1, MSHARE_QUERY_ABI);
	if (ret == -EINVAL) {
		ours = true;
		ret = ask(0, MSHARE_QUERY_ABI);
	}
	if (ours && ret > 0 && ret <= INT_MAX) {
		errno = err;
		return ret;
	}
	if (ret == -ENOSYS || ret == -EPERM || (ours && ret == -EOPNOTSUPP))
		errno = -ret;
	else
		errno = EPROTO;
	return 0;
}
