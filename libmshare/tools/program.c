// SPDX-License-Identifier: LGPL-2.1-or-later
/* A program that is to be run: can a library be preloaded into it? */
#include "tools.h"

#include <elf.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

/* Where execvp() finds it, or NULL; to be freed. */
static char *find_program(const char *name)
{
	const char *at = getenv("PATH"), *end;
	struct stat st;
	char *path;

	if (strchr(name, '/'))
		return text("%s", name);
	for (at = at ? at : "/bin:/usr/bin"; at; at = *end ? end + 1 : NULL) {
		end = strchrnul(at, ':');
		path = end > at ? text("%.*s/%s", (int)(end - at), at, name) : text("%s", name);
		if (!stat(path, &st) && S_ISREG(st.st_mode) && !access(path, X_OK))
			return path;
		free(path);
	}
	return NULL;
}

/* The interpreter in the program's headers; the empty string if there is none. */
static bool read_interpreter(int fd, const Elf64_Ehdr *header, char *name, size_t size)
{
	Elf64_Phdr segment;
	ssize_t n;
	int i;

	*name = '\0';
	for (i = 0; i < header->e_phnum; i++) {
		n = pread(fd, &segment, sizeof(segment), header->e_phoff + i * sizeof(segment));
		if (n != sizeof(segment))
			return false;
		if (segment.p_type != PT_INTERP)
			continue;
		n = pread(fd, name, size - 1, segment.p_offset);
		if (n < 0)
			return false;
		name[n] = '\0';
	}
	return true;
}

static const char *why_not_file(int fd)
{
	char interpreter[256];
	Elf64_Ehdr header;
	struct stat st;

	if (pread(fd, &header, sizeof(header), 0) != sizeof(header) || memcmp(header.e_ident, ELFMAG, SELFMAG))
		return NULL;
	if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_machine != EM_X86_64)
		return "is not a 64-bit program for this processor";
	if (fstat(fd, &st) || !read_interpreter(fd, &header, interpreter, sizeof(interpreter)))
		return NULL;
	if (!*interpreter)
		return "is statically linked";
	if (strstr(interpreter, "/ld-musl-"))
		return "has another C library (musl)";
	if (((st.st_mode & S_ISUID) && st.st_uid != geteuid()) ||
	    ((st.st_mode & S_ISGID) && st.st_gid != getegid()) ||
	    (geteuid() && fgetxattr(fd, "security.capability", NULL, 0) > 0))
		return "gains privileges";
	return NULL;
}

const char *why_not_program(const char *name)
{
	char *path = find_program(name);
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	const char *why = fd >= 0 ? why_not_file(fd) : NULL;

	if (fd >= 0)
		close(fd);
	free(path);
	return why;
}
