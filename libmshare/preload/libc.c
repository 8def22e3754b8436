// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The linker normally searches a preloaded library first, but not always: dlopen() with
 * RTLD_DEEPBIND, dlsym() with a handle or RTLD_NEXT, and libraries that dlmopen() loads
 * find the functions of the C library.  These would map memory that is not served; even
 * worse, their operations on an area of the program would have another meaning.
 *
 * Therefore our addresses replace those of the C library in its symbol table, in memory:
 * all later lookups there find our functions.  A C library that does not have the
 * expected form is left unchanged.
 *
 * Each namespace of dlmopen() has its own C library.  It is found at the first lookup of
 * a function in it, because dlsym() is replaced, too.  Libraries that have been loaded
 * there by then already have pointers, which are found by their value.
 */
#define _GNU_SOURCE
#include "area.h"
#include "calls.h"
#include "kernel.h"
#include "settings.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>

/* The mapping of a file, and the tables that the linker uses. */
struct object {
	uintptr_t base;
	const ElfW(Phdr) *segments;
	unsigned int nsegments;
	const char *names;
	const char *soname;
	ElfW(Sym) *symbols;
	const uint32_t *hash;
	const ElfW(Rela) *relocations[2];
	size_t nrelocations[2];
};

/* Two tables of relocations: those of functions, and all others. */
enum { FUNCTIONS, OTHERS };

/* GNU's linker changes the addresses in memory, others do not. */
static const void *in(const struct object *o, uintptr_t addr)
{
	return (const void *)(addr < o->base ? o->base + addr : addr);
}

/* False if something that is needed is missing. */
static bool examine(struct object *o, uintptr_t base, const ElfW(Phdr) *segments, unsigned int n)
{
	const ElfW(Dyn) *d = NULL;
	uintptr_t soname = 0;
	unsigned int i;

	*o = (struct object){ .base = base, .segments = segments, .nsegments = n };
	for (i = 0; i < n; i++)
		if (segments[i].p_type == PT_DYNAMIC)
			d = (const void *)(base + segments[i].p_vaddr);
	for (; d && d->d_tag != DT_NULL; d++) {
		switch (d->d_tag) {
		case DT_STRTAB:
			o->names = in(o, d->d_un.d_ptr);
			break;
		case DT_SYMTAB:
			o->symbols = (void *)in(o, d->d_un.d_ptr);
			break;
		case DT_GNU_HASH:
			o->hash = in(o, d->d_un.d_ptr);
			break;
		case DT_SONAME:
			soname = d->d_un.d_val;
			break;
		case DT_JMPREL:
			o->relocations[FUNCTIONS] = in(o, d->d_un.d_ptr);
			break;
		case DT_PLTRELSZ:
			o->nrelocations[FUNCTIONS] = d->d_un.d_val / sizeof(ElfW(Rela));
			break;
		case DT_RELA:
			o->relocations[OTHERS] = in(o, d->d_un.d_ptr);
			break;
		case DT_RELASZ:
			o->nrelocations[OTHERS] = d->d_un.d_val / sizeof(ElfW(Rela));
			break;
		}
	}
	o->soname = o->names ? o->names + soname : "";
	return o->names && o->symbols && o->hash;
}

/* The functions for it may be those of a sanitizer, which has not begun yet. */
static bool same(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

/* A library in the linker's list; all that are linked as usual begin with their headers. */
static bool examine_link(struct object *o, const struct link_map *map)
{
	const ElfW(Ehdr) *header = (const void *)map->l_addr;

	/* The program may be anywhere, and has no name. */
	if (!header || !*map->l_name || header->e_ident[0] != ELFMAG0 || header->e_ident[1] != ELFMAG1)
		return false;
	return examine(o, map->l_addr, (const void *)(map->l_addr + header->e_phoff), header->e_phnum);
}

/* The C library in such a list. */
static bool find_libc(struct object *libc, const struct link_map *map)
{
	for (; map; map = map->l_next)
		if (examine_link(libc, map) && same(libc->soname, "libc.so.6"))
			return true;
	return false;
}

/* The next symbol of that name that is defined: one name may have several versions. */
static ElfW(Sym) *next_symbol(const struct object *o, const char *name, const ElfW(Sym) *last)
{
	uint32_t buckets = o->hash[0], first = o->hash[1], filter_words = o->hash[2], h = 5381, i;
	const uint32_t *bucket = o->hash + 4 + filter_words * (sizeof(ElfW(Addr)) / sizeof(uint32_t));
	const uint32_t *chain = bucket + buckets;
	ElfW(Sym) *symbol;
	const char *c;

	for (c = name; *c; c++)
		h = 33 * h + (unsigned char)*c;
	i = buckets ? bucket[h % buckets] : 0;
	if (i < first)
		return NULL;
	do {
		symbol = o->symbols + i;
		if ((!last || symbol > last) && !((chain[i - first] ^ h) >> 1) &&
		    symbol->st_shndx != SHN_UNDEF && same(o->names + symbol->st_name, name))
			return symbol;
	} while (!(chain[i++ - first] & 1));
	return NULL;
}

#define for_each_symbol(symbol, o, name) \
	for ((symbol) = NULL; ((symbol) = next_symbol(o, name, symbol));)

static uintptr_t address_of(const struct object *o, const char *name)
{
	const ElfW(Sym) *symbol = next_symbol(o, name, NULL);

	return symbol ? o->base + symbol->st_value : 0;
}

/* The segment of that type and with that place in memory. */
static const ElfW(Phdr) *segment_of(const struct object *o, uint32_t type, uintptr_t addr)
{
	const ElfW(Phdr) *s;

	for (s = o->segments; s < o->segments + o->nsegments; s++)
		if (s->p_type == type && addr - o->base >= s->p_vaddr &&
		    addr - o->base - s->p_vaddr < s->p_memsz)
			return s;
	return NULL;
}

/* Is it an ordinary function? */
static bool is_function(const struct object *o, const ElfW(Sym) *symbol)
{
	const ElfW(Phdr) *s = segment_of(o, PT_LOAD, o->base + symbol->st_value);

	return ELF64_ST_TYPE(symbol->st_info) == STT_FUNC && s && (s->p_flags & PF_X);
}

/* Why the table of the C library cannot be changed, or NULL. */
static const char *unusual(const struct object *libc)
{
	const struct replacement *r;
	const ElfW(Phdr) *s;
	ElfW(Sym) *symbol;

	s = segment_of(libc, PT_LOAD, (uintptr_t)libc->symbols);
	/* Other code may run meanwhile. */
	if (!s || (s->p_flags & (PF_R | PF_X)) != PF_R)
		return "its symbols are not in a segment of their own";
	if (!next_symbol(libc, "mmap", NULL) || !next_symbol(libc, "syscall", NULL))
		return "it has no mmap()";
	for (r = replacements; r->name; r++)
		for_each_symbol(symbol, libc, r->name)
			if (!is_function(libc, symbol))
				return r->name;
	return NULL;
}

static uintptr_t page_of(const void *addr)
{
	return (uintptr_t)addr & -PAGE;
}

/* Writes to memory that may be read-only. */
static bool poke(uintptr_t *at, uintptr_t value, bool read_only)
{
	if (read_only && kernel(SYS_mprotect, page_of(at), PAGE, RW))
		return false;
	__atomic_store_n(at, value, __ATOMIC_RELAXED);
	if (read_only)
		kernel(SYS_mprotect, page_of(at), PAGE, PROT_READ);
	return true;
}

/* Replaces all symbols at once, and restores the protection of the table. */
static bool replace_symbols(const struct object *libc)
{
	uintptr_t first = ~0UL, last = 0;
	const struct replacement *r;
	ElfW(Sym) *symbol;

	for (r = replacements; r->name; r++)
		for_each_symbol(symbol, libc, r->name) {
			first = page_of(symbol) < first ? page_of(symbol) : first;
			last = page_of(symbol + 1) > last ? page_of(symbol + 1) : last;
		}
	if (kernel(SYS_mprotect, first, last + PAGE - first, RW))
		return false;
	for (r = replacements; r->name; r++)
		for_each_symbol(symbol, libc, r->name)
			__atomic_store_n(&symbol->st_value, (uintptr_t)r->function - libc->base,
					 __ATOMIC_RELAXED);
	kernel(SYS_mprotect, first, last + PAGE - first, PROT_READ);
	return true;
}

/* Of the program; without a table of symbols if it is not found. */
static struct object libc;
static uintptr_t real_dlsym;
static __typeof__(dl_iterate_phdr) *real_iterate = dl_iterate_phdr;

extern struct r_debug _r_debug __attribute__((weak));

void find_functions(void)
{
	if (!&_r_debug || !find_libc(&libc, _r_debug.r_map)) {
		libc.symbols = NULL;
		return;
	}
	real_dlsym = address_of(&libc, "dlsym");
	real_iterate = (void *)address_of(&libc, "dl_iterate_phdr");
}

void take_over_libc(void)
{
	const char *why = libc.symbols ? unusual(&libc) : "it is not found";

	if (!why && !replace_symbols(&libc))
		why = "it cannot be written to";
	if (why)
		say("the C library stays as it is (%s): no plug-in with RTLD_DEEPBIND is seen", why);
}

/* Other namespaces */

/* Set if the C library of a namespace has been changed. */
static atomic_bool namespaces;

/* In one object, all pointers to what a symbol of the C library was. */
static void replace_pointers(const struct object *o, const char *name, uintptr_t old, uintptr_t new)
{
	const ElfW(Rela) *rela;
	ElfW(Sym) *symbol;
	uintptr_t *at;
	int table;

	for (table = FUNCTIONS; table <= OTHERS; table++)
		for (rela = o->relocations[table]; rela && rela < o->relocations[table] + o->nrelocations[table];
		     rela++) {
			switch (ELF64_R_TYPE(rela->r_info)) {
			case R_X86_64_JUMP_SLOT:
			case R_X86_64_GLOB_DAT:
			case R_X86_64_64:
				symbol = o->symbols + ELF64_R_SYM(rela->r_info);
				at = (uintptr_t *)(o->base + rela->r_offset);
				if (*at == old && same(o->names + symbol->st_name, name))
					poke(at, new, segment_of(o, PT_GNU_RELRO, (uintptr_t)at));
			}
		}
}

static void take_over_namespace(const struct link_map *maps)
{
	const struct replacement *r;
	const struct link_map *map;
	uintptr_t old[64];
	struct object its, o;
	int i;

	/* A table that has been changed has none of its own functions. */
	if (!find_libc(&its, maps) || unusual(&its))
		return;
	for (r = replacements, i = 0; r->name; r++, i++)
		old[i] = address_of(&its, r->name);
	if (!replace_symbols(&its))
		return;
	for (map = maps; map; map = map->l_next)
		for (r = replacements, i = 0; r->name && examine_link(&o, map); r++, i++)
			if (old[i])
				replace_pointers(&o, r->name, old[i], (uintptr_t)r->function);
	atomic_store(&namespaces, true);
}

/* The linker's lists, the first of which is the program's. */
static const struct r_debug_extended *lists;

static void find_lists(const struct dl_phdr_info *program)
{
	const ElfW(Dyn) *d = NULL;
	unsigned int i;

	for (i = 0; i < program->dlpi_phnum; i++)
		if (program->dlpi_phdr[i].p_type == PT_DYNAMIC)
			d = (const void *)(program->dlpi_addr + program->dlpi_phdr[i].p_vaddr);
	for (; d && d->d_tag != DT_NULL; d++)
		if (d->d_tag == DT_DEBUG)
			lists = (const void *)d->d_un.d_ptr;
}

/* Called with the linker's lock, for the program; it is told how much was loaded so far. */
static int look_at_namespaces(struct dl_phdr_info *program, size_t size, void *arg)
{
	static unsigned long long seen;
	const struct r_debug_extended *list;

	(void)size;
	(void)arg;
	if (program->dlpi_adds == seen)
		return 1;
	seen = program->dlpi_adds;
	if (!lists)
		find_lists(program);
	/* Before that version, and before there are others, a list has no successor. */
	if (lists && lists->base.r_version > 1)
		for (list = lists->r_next; list; list = list->r_next)
			take_over_namespace(list->base.r_map);
	return 1;
}

/* Of this library. */
extern const ElfW(Ehdr) __ehdr_start __attribute__((visibility("hidden")));

static int find_dlsym(struct dl_phdr_info *info, size_t size, void *found)
{
	struct object o;

	(void)size;
	if (info->dlpi_addr != (uintptr_t)&__ehdr_start &&
	    examine(&o, info->dlpi_addr, info->dlpi_phdr, info->dlpi_phnum))
		*(uintptr_t *)found = address_of(&o, "dlsym");
	return *(uintptr_t *)found != 0;
}

/* Looks who is there before somebody looks there for a function; see dlsym(). */
__attribute__((used)) uintptr_t before_dlsym(void)
{
	/* Not in the C library of others, nor of old. */
	if (!real_dlsym)
		real_iterate(find_dlsym, &real_dlsym);
	if (settings.min)
		real_iterate(look_at_namespaces, NULL);
	return real_dlsym;
}

/* Its caller matters to it, so it has to be called from there: by a jump. */
__asm__(".pushsection .text\n"
	"	.globl	dlsym\n"
	"	.type	dlsym, @function\n"
	"dlsym:\n"
	"	.cfi_startproc\n"
	"	endbr64\n"
	"	push	%rdi\n"
	"	.cfi_adjust_cfa_offset 8\n"
	"	push	%rsi\n"
	"	.cfi_adjust_cfa_offset 8\n"
	"	sub	$8, %rsp\n"
	"	.cfi_adjust_cfa_offset 8\n"
	"	call	before_dlsym\n"
	"	add	$8, %rsp\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"	pop	%rsi\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"	pop	%rdi\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"	jmp	*%rax\n"
	"	.cfi_endproc\n"
	"	.size	dlsym, . - dlsym\n"
	".popsection");

#pragma weak dladdr1

/* Where the caller's C library has its errno. */
static int *errno_of(const void *caller)
{
	struct link_map *map = NULL;
	struct object its;
	Dl_info info;

	if (!atomic_load(&namespaces) || !dladdr1 ||
	    !dladdr1(caller, &info, (void **)&map, RTLD_DL_LINKMAP))
		return &errno;
	while (map && map->l_prev)
		map = map->l_prev;
	if (map == lists->base.r_map)
		return &errno;
	if (!find_libc(&its, map))
		return &errno;
	return ((int *(*)(void))address_of(&its, "__errno_location"))();
}

long answer(long ret, const void *caller)
{
	if (!is_error(ret))
		return ret;
	*errno_of(caller) = -ret;
	return -1;
}
