/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Areas that are files of the program. */
#ifndef MSHARE_FILES_H
#define MSHARE_FILES_H

#include "area.h"

/* Is it an open regular file, which a region can map? */
bool is_regular(int fd);
/* A shared mapping of a file by its region; as serve(). */
long serve_file(size_t length, int prot, int flags, int fd, size_t offset, const char **why);
/* Advice about an area of a file, with the lock: 1 if it has to leave its region for it. */
long advise_file(const struct area *a, uintptr_t addr, size_t length, int advice);
/* msync() of a range in an area of a file; false if it is in none. */
bool sync_file(uintptr_t addr, size_t length, int flags, long *ret);

#endif /* MSHARE_FILES_H */
