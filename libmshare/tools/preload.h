/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Settings that mshare run passes to the library that it preloads. */
#ifndef MSHARE_PRELOAD_H
#define MSHARE_PRELOAD_H

#define PRELOAD_FILE	"mshare-run.so"

/* Bytes from which on an area is served. */
#define PRELOAD_MIN	"MSHARE_RUN_MIN"
/* If set: say what is done, on standard error. */
#define PRELOAD_VERBOSE	"MSHARE_RUN_VERBOSE"
/* If set: do not say that the kernel has no regions. */
#define PRELOAD_QUIET	"MSHARE_RUN_QUIET"
/* If set: MAP_32BIT is a hint. */
#define PRELOAD_ANYWHERE	"MSHARE_RUN_ANYWHERE"
/* A pattern of paths, at most PRELOAD_PATTERN bytes: files are served, too. */
#define PRELOAD_FILES	"MSHARE_RUN_FILES"
#define PRELOAD_PATTERN	4095
/* So many filters of system calls are known to let those of regions pass. */
#define PRELOAD_FILTERS	"MSHARE_RUN_FILTERS"

#endif /* MSHARE_PRELOAD_H */
