// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Finds the shared mappings of processes and counts their page tables, from the pages
 * that the kernel shows in them.  A table of the lowest level maps 2 MiB of addresses
 * and exists once one of these was accessed; tables of the next levels map 1 GiB and
 * 512 GiB.
 *
 * Only tables that lead to a single object count, since others would remain.  Tables
 * that are empty by now (MADV_DONTNEED, reclaim) cannot be seen, but the total number
 * of tables of a process can, which gives an upper bound, too.
 */
#include "mappings.h"

#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Tests have one of their own. */
#ifndef PROC
#define PROC	"/proc"
#endif

#define PAGE	4096UL
#define WINDOW	21		/* bits of an address below a table of the lowest level */
#define LEVEL	9		/* and that each level has more */
#define SLOT	(1UL << (WINDOW + 2 * LEVEL))
#define TOP	(1UL << 63)	/* the kernel's, and its page that all processes have */

/* PAGEMAP_SCAN, of Linux 6.7: <linux/fs.h> need not have it. */
struct page_row {
	uint64_t start, end, categories;
};

struct scan_arg {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t inverted, mask, anyof, returned;
};

#define SCAN_CALL	_IOWR('f', 16, struct scan_arg)
#define SCAN_PRESENT	(1 << 3)
#define SCAN_SWAPPED	(1 << 4)
#define SCAN_HUGE	(1 << 6)

/* Entries of /proc/PID/pagemap: present or swapped. */
#define ENTRY_USED	(3ULL << 62)

struct vma {
	uint64_t start, end, offset, inode;
	char perms[5];
	unsigned int major, minor;
	char *name;
	/* Bytes, of smaps: in the page tables, and of these by huge pages. */
	uint64_t used, huge;
	struct use *use;
};

/* Windows that come in the order of addresses, each counted once. */
struct seen {
	uint64_t next, count;
};

/* The use of some shared memory by a process. */
struct use {
	const struct vma *vma;	/* the first one */
	uint64_t mapped;	/* bytes */
	uint64_t tables;
	struct seen windows;	/* that it could have tables for .. */
	struct seen filled;	/* .. and where something is in them */
	struct rows rows;
};

/* The tables of one level, counted in the order of addresses. */
struct level {
	uint64_t window;
	struct use *owner;
	bool any, mixed, table;
	bool all;		/* those of private memory alone are counted, too */
	uint64_t count;
};

struct process {
	pid_t pid;
	int pagemap;
	bool exact;		/* the kernel has SCAN_CALL */
	bool gone;
	struct vma *vmas;
	size_t nvmas;
	struct use *uses;
	size_t nuses;
	struct level low, middle, high;
	uint64_t others;	/* tables of private memory, if not exact: at least */
};

/* Rows of windows */

static int by_place(const void *a, const void *b)
{
	const struct row *r = a, *s = b;

	if (r->huge != s->huge)
		return r->huge - s->huge;
	return r->first < s->first ? -1 : r->first > s->first;
}

static void merge(struct rows *rows)
{
	size_t i, n = 0;

	if (!rows->count)
		return;
	qsort(rows->list, rows->count, sizeof(*rows->list), by_place);
	for (i = 1; i < rows->count; i++) {
		struct row *last = &rows->list[n], *r = &rows->list[i];

		if (r->huge != last->huge || r->first > last->last + 1)
			rows->list[++n] = *r;
		else if (r->last > last->last)
			last->last = r->last;
	}
	rows->count = rows->sorted = n + 1;
}

static void add_row(struct rows *rows, uint64_t first, uint64_t last, bool huge)
{
	struct row *r = rows->count ? &rows->list[rows->count - 1] : NULL;

	if (r && r->huge == huge && first >= r->first && first <= r->last + 1) {
		if (last > r->last)
			r->last = last;
		return;
	}
	/* Many processes have the same windows. */
	if (rows->count > 1024 && rows->count > 2 * rows->sorted)
		merge(rows);
	rows->list = more(rows->list, rows->count, sizeof(*r));
	rows->list[rows->count++] = (struct row){ first, last, huge };
}

/* Tables of the level above for rows that are sorted by place. */
static uint64_t count_above(const struct rows *rows, int shift)
{
	uint64_t n = 0, next = 0, first, last;
	size_t i;

	for (i = 0; i < rows->count; i++) {
		first = rows->list[i].first >> shift;
		last = rows->list[i].last >> shift;
		if (first < next)
			first = next;
		if (last + 1 > first) {
			n += last + 1 - first;
			next = last + 1;
		}
	}
	return n;
}

uint64_t region_tables(struct mapping *m)
{
	struct rows all = { 0 };
	uint64_t n = 0;
	size_t i;

	merge(&m->rows);
	for (i = 0; i < m->rows.count; i++) {
		const struct row *r = &m->rows.list[i];

		if (!r->huge)
			n += r->last - r->first + 1;
		add_row(&all, r->first, r->last, false);
	}
	merge(&all);
	n += count_above(&all, LEVEL) + count_above(&all, 2 * LEVEL);
	free(all.list);
	return n;
}

bool only_huge(const struct mapping *m)
{
	size_t i;

	for (i = 0; i < m->rows.count; i++)
		if (!m->rows.list[i].huge)
			return false;
	return m->rows.count;
}

/* Tables of a process */

static void leave_window(struct level *l)
{
	if (!l->any || !l->table)
		return;
	l->count += l->owner || l->all;
	if (l->owner && !l->mixed)
		l->owner->tables++;
}

/* Something of OWNER's, NULL for private memory, is in these windows. */
static void enter_windows(struct level *l, uint64_t first, uint64_t last, struct use *owner, bool table)
{
	if (l->any && first == l->window) {
		l->mixed |= owner != l->owner;
		l->table |= table;
		if (first++ == last)
			return;
	}
	leave_window(l);
	/* Nothing else can be in those before the last. */
	if (table && owner)
		owner->tables += last - first;
	if (table && (owner || l->all))
		l->count += last - first;
	l->window = last;
	l->owner = owner;
	l->mixed = false;
	l->any = true;
	l->table = table;
}

static void enter(struct process *p, struct use *owner, uint64_t start, uint64_t end, bool huge)
{
	uint64_t first = start >> WINDOW, last = (end - 1) >> WINDOW;

	enter_windows(&p->low, first, last, owner, !huge);
	enter_windows(&p->middle, first >> LEVEL, last >> LEVEL, owner, true);
	enter_windows(&p->high, first >> 2 * LEVEL, last >> 2 * LEVEL, owner, true);
}

static void see(struct seen *seen, uint64_t start, uint64_t end)
{
	uint64_t first = start >> WINDOW, next = ((end - 1) >> WINDOW) + 1;

	if (first < seen->next)
		first = seen->next;
	if (next <= first)
		return;
	seen->count += next - first;
	seen->next = next;
}

/* Pages of V from START to END are in the page tables. */
static void fill(struct process *p, const struct vma *v, uint64_t start, uint64_t end, bool huge)
{
	uint64_t offset = v->offset + (start - v->start);

	enter(p, v->use, start, end, huge);
	if (!v->use)
		return;
	see(&v->use->filled, start, end);
	add_row(&v->use->rows, offset >> WINDOW, (offset + (end - start) - 1) >> WINDOW, huge);
}

static void scan_pages(struct process *p, const struct vma *v)
{
	struct page_row rows[256];
	struct scan_arg arg = {
		.size = sizeof(arg), .start = v->start, .end = v->end,
		.vec = (uintptr_t)rows, .vec_len = sizeof(rows) / sizeof(rows[0]),
		.anyof = SCAN_PRESENT | SCAN_SWAPPED, .returned = SCAN_HUGE,
	};
	int n, i;

	while (arg.start < v->end) {
		n = ioctl(p->pagemap, SCAN_CALL, &arg);
		if (n < 0) {
			/* Other errors are of memory that has no such pages. */
			p->gone |= errno == ESRCH;
			return;
		}
		for (i = 0; i < n; i++)
			fill(p, v, rows[i].start, rows[i].end, rows[i].categories & SCAN_HUGE);
		if (arg.walk_end <= arg.start)
			return;
		arg.start = arg.walk_end;
	}
}

/* The pages of one window, or a part of it; *HUGE is how many of those are left to be found. */
static void read_window(struct process *p, const struct vma *v, uint64_t start, const uint64_t *entries,
			size_t n, uint64_t *huge)
{
	size_t i, used = 0, first = n, last = 0;
	bool is_huge;

	for (i = 0; i < n; i++) {
		if (!(entries[i] & ENTRY_USED))
			continue;
		if (!used++)
			first = i;
		last = i;
	}
	if (!used)
		return;
	is_huge = used == 512 && *huge;
	*huge -= is_huge;
	/* Its ends matter where the windows of the file are others. */
	fill(p, v, start + first * PAGE, start + (last + 1) * PAGE, is_huge);
}

/* Without that call: by the entry of each page, and smaps for what is huge. */
static void read_pages(struct process *p, const struct vma *v)
{
	uint64_t entries[16 * 512], addr, end, next, huge = v->huge >> WINDOW;
	const uint64_t *e;
	ssize_t bytes;
	size_t n;

	if (!v->used)
		return;
	if (!v->use) {
		/*
		 * Private memory may share a table with other memory, wherever it is.  It
		 * has this number for itself, except for one at each end.
		 */
		enter(p, NULL, v->start, v->end, false);
		if (v->used > 2UL << WINDOW)
			p->others += ((v->used - 1) >> WINDOW) - 1;
		return;
	}
	/* In pieces that end where windows do. */
	for (addr = v->start; addr < v->end; addr = end) {
		end = ((addr >> WINDOW) + 16) << WINDOW;
		if (end > v->end)
			end = v->end;
		n = (end - addr) / PAGE;
		bytes = pread(p->pagemap, entries, n * sizeof(*entries), addr / PAGE * sizeof(*entries));
		if (bytes != (ssize_t)(n * sizeof(*entries))) {
			p->gone = true;
			return;
		}
		for (e = entries; addr < end; addr = next) {
			next = ((addr >> WINDOW) + 1) << WINDOW;
			if (next > end)
				next = end;
			n = (next - addr) / PAGE;
			read_window(p, v, addr, e, n, &huge);
			e += n;
		}
	}
}

/* The shared memory of the machine */

static enum kind kind_of(const struct vma *v)
{
	const char *name = v->name;

	if (!v->major && (!strcmp(name, "/dev/zero (deleted)") || !strcmp(name, "/anon_hugepage (deleted)")))
		return ANONYMOUS;
	if (!v->major && !strncmp(name, "/SYSV", 5))
		return SYSTEM_V;
	if (!v->major && !strncmp(name, "/memfd:", 7))
		return MEMFD;
	if (!strncmp(name, "/dev/shm/", 9))
		return POSIX;
	if (*name != '/' || !strncmp(name, "/dev/", 5))
		return strncmp(name, "/dev/hugepages/", 15) ? DEVICE : FILE_SYSTEM;
	return FILE_SYSTEM;
}

/* An attachment of a region: its page tables are shared already. */
static bool is_attachment(const struct vma *v)
{
	return !strncmp(v->name, "/mshare:", 8) && !v->major && !(v->start % SLOT) && !(v->end % SLOT);
}

static bool is_shared(const struct vma *v)
{
	/* The first one of System V has 0 as its inode. */
	return v->perms[3] == 's' && !is_attachment(v);
}

/* The same memory, as far as maps shows. */
static bool same_memory(const struct vma *a, const struct vma *b)
{
	return a->inode == b->inode && a->major == b->major && a->minor == b->minor && !strcmp(a->name, b->name);
}

static void take_header(struct process *p, const char *line)
{
	struct vma v = { 0 };
	int at = 0;

	if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %x:%x %" SCNu64 "%n", &v.start, &v.end, v.perms,
		   &v.offset, &v.major, &v.minor, &v.inode, &at) < 7 || v.start >= v.end || v.end > TOP)
		return;
	line += at;
	line += strspn(line, " ");
	v.name = text("%.*s", (int)strcspn(line, "\n"), line);
	p->vmas = more(p->vmas, p->nvmas, sizeof(v));
	p->vmas[p->nvmas++] = v;
}

static void take_detail(struct vma *v, const char *line)
{
	unsigned long long k;
	char key[32];

	if (sscanf(line, "%31[A-Za-z]: %llu kB", key, &k) != 2)
		return;
	if (!strcmp(key, "Rss") || !strcmp(key, "Swap") || !strcmp(key, "Shared_Hugetlb") ||
	    !strcmp(key, "Private_Hugetlb"))
		v->used += k << 10;
	if (!strcmp(key, "ShmemPmdMapped") || !strcmp(key, "FilePmdMapped") || !strcmp(key, "Shared_Hugetlb") ||
	    !strcmp(key, "Private_Hugetlb"))
		v->huge += k << 10;
}

/* Must be read while the process is the one whose pagemap was opened. */
static void read_vmas(struct process *p, FILE *f)
{
	char *line = NULL;
	size_t size = 0;

	while (getline(&line, &size, f) > 0) {
		/* Keys of smaps begin with capitals, addresses do not. */
		if (*line < 'A' || *line > 'Z')
			take_header(p, line);
		else if (p->nvmas)
			take_detail(&p->vmas[p->nvmas - 1], line);
	}
	free(line);
}

static uint64_t status_of(pid_t pid, const char *key)
{
	char *path = text(PROC "/%d/status", pid), *line = NULL;
	FILE *f = fopen(path, "re");
	size_t length = strlen(key), size = 0;
	uint64_t value = 0;

	free(path);
	while (f && getline(&line, &size, f) > 0)
		if (!strncmp(line, key, length) && line[length] == ':')
			value = strtoull(line + length + 1, NULL, 10);
	free(line);
	if (f)
		fclose(f);
	return value;
}

static void find_uses(struct process *p)
{
	struct vma *v;
	size_t i, j;

	/* They must not move when the lines point to them. */
	p->uses = calloc(p->nvmas + 1, sizeof(*p->uses));
	if (!p->uses)
		err(EXIT_FAILURE, NULL);
	for (i = 0; i < p->nvmas; i++) {
		v = &p->vmas[i];
		if (!is_shared(v))
			continue;
		for (j = 0; j < p->nuses && !same_memory(p->uses[j].vma, v); j++)
			;
		if (j == p->nuses)
			p->uses[p->nuses++].vma = v;
		v->use = &p->uses[j];
		v->use->mapped += v->end - v->start;
		see(&v->use->windows, v->start, v->end);
	}
}

static bool ends_in(const char *name, const char *end)
{
	size_t n = strlen(name), m = strlen(end);

	return n >= m && !strcmp(name + n - m, end);
}

/* Identifiers of System V are those of a namespace. */
static uint64_t namespace_of(pid_t pid)
{
	char *path = text(PROC "/%d/ns/ipc", pid), link[64];
	ssize_t n = readlink(path, link, sizeof(link) - 1);
	uint64_t number = 0;

	free(path);
	if (n > 0) {
		link[n] = '\0';
		sscanf(link, "ipc:[%" SCNu64, &number);
	}
	return number;
}

static struct mapping *get(struct mappings *ms, const struct vma *v, uint64_t namespace)
{
	struct mapping *m;
	size_t i;

	for (i = 0; i < ms->count; i++) {
		m = &ms->list[i];
		if (m->inode == v->inode && m->major == v->major && m->minor == v->minor &&
		    m->namespace == namespace && !strcmp(m->name, v->name))
			return m;
	}
	ms->list = more(ms->list, ms->count, sizeof(*m));
	m = &ms->list[ms->count++];
	*m = (struct mapping){
		.major = v->major, .minor = v->minor, .inode = v->inode, .namespace = namespace,
		.name = text("%s", v->name), .kind = kind_of(v),
	};
	return m;
}

/* Adds the results of a process to those of the others. */
static void add_process(struct mappings *ms, struct process *p)
{
	uint64_t seen = p->low.count + p->middle.count + p->high.count + p->others, all, hidden, empty;
	bool preloaded = false, glibc = false;
	struct mapping *m;
	size_t i, j;

	all = (status_of(p->pid, "VmPTE") << 10) / PAGE;
	hidden = all > seen ? all - seen : 0;
	for (i = 0; i < p->nvmas; i++) {
		preloaded |= ends_in(p->vmas[i].name, "/mshare-run.so");
		glibc |= ends_in(p->vmas[i].name, "/libc.so.6") || strstr(p->vmas[i].name, "/libc-2.");
	}
	for (i = 0; i < p->nuses; i++) {
		struct use *use = &p->uses[i];

		m = get(ms, use->vma, kind_of(use->vma) == SYSTEM_V ? namespace_of(p->pid) : 0);
		m->pids = more(m->pids, m->npids, sizeof(*m->pids));
		m->pids[m->npids++] = p->pid;
		if (use->mapped > m->size)
			m->size = use->mapped;
		m->tables += use->tables;
		empty = use->windows.count - use->filled.count;
		empty += (empty >> LEVEL) + (empty >> 2 * LEVEL);
		m->doubtful += empty < hidden ? empty : hidden;
		for (j = 0; j < use->rows.count; j++)
			add_row(&m->rows, use->rows.list[j].first, use->rows.list[j].last, use->rows.list[j].huge);
		m->preloaded |= preloaded;
		m->foreign |= !glibc;
		m->bits32 |= p->vmas[p->nvmas - 1].end <= 1UL << 32;
	}
}

static void free_process(struct process *p)
{
	while (p->nuses)
		free(p->uses[--p->nuses].rows.list);
	free(p->uses);
	while (p->nvmas)
		free(p->vmas[--p->nvmas].name);
	free(p->vmas);
}

static void scan_vmas(struct mappings *ms, struct process *p)
{
	size_t i;

	find_uses(p);
	for (i = 0; p->nuses && i < p->nvmas && !p->gone; i++) {
		if (is_attachment(&p->vmas[i]))
			continue;
		if (p->exact)
			scan_pages(p, &p->vmas[i]);
		else
			read_pages(p, &p->vmas[i]);
	}
	leave_window(&p->low);
	leave_window(&p->middle);
	leave_window(&p->high);
	/* Half of a process that has ended would be wrong. */
	if (!p->gone)
		add_process(ms, p);
}

/* Until it executes a program, a child of vfork() has the page tables of its parent. */
static bool borrowed(pid_t pid)
{
	pid_t parent = status_of(pid, "PPid");

	return parent && !syscall(SYS_kcmp, pid, parent, KCMP_VM, 0, 0);
}

static void scan_process_mappings(struct mappings *ms, pid_t pid, bool exact)
{
	struct process p = {
		.pid = pid, .exact = exact,
		.low.all = exact, .middle.all = exact, .high.all = exact,
	};
	char *path = text(PROC "/%d/%s", pid, exact ? "maps" : "smaps"), *pages = text(PROC "/%d/pagemap", pid);
	FILE *f = fopen(path, "re");

	p.pagemap = f ? open(pages, O_RDONLY | O_CLOEXEC) : -1;
	if (p.pagemap < 0) {
		/* Kernel threads have no memory. */
		if ((errno == EACCES || errno == EPERM) && (!f || getc(f) != EOF))
			ms->unreadable++;
	} else if (!borrowed(pid)) {
		read_vmas(&p, f);
		scan_vmas(ms, &p);
	}
	if (p.pagemap >= 0)
		close(p.pagemap);
	if (f)
		fclose(f);
	free_process(&p);
	free(path);
	free(pages);
}

static bool has_scan(void)
{
	int fd = open(PROC "/self/pagemap", O_RDONLY | O_CLOEXEC);
	struct scan_arg arg = { .size = sizeof(arg), .returned = SCAN_HUGE };
	bool has = fd >= 0 && ioctl(fd, SCAN_CALL, &arg) >= 0;

	if (fd >= 0)
		close(fd);
	return has;
}

void scan_mappings(struct mappings *ms)
{
	bool exact = has_scan();
	DIR *dir = opendir(PROC);
	struct dirent *entry;
	pid_t pid;

	if (!dir)
		err(EXIT_FAILURE, "%s", PROC);
	while ((entry = readdir(dir))) {
		pid = atoi(entry->d_name);
		if (pid > 0)
			scan_process_mappings(ms, pid, exact);
	}
	closedir(dir);
}
