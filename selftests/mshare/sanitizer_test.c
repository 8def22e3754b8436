// SPDX-License-Identifier: GPL-2.0
/*
 * Programs that are built with a sanitizer: most of their address space, and all of
 * the window, is its shadow memory.
 */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "mst.h"

#include <libgen.h>

static bool reserve(uint64_t start, uint64_t end)
{
	return mmap((void *)start, end - start, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0) ==
		(void *)start;
}

/* The first free slot below the place where mmap() is. */
static uint64_t slot_below_mmap(void)
{
	uint64_t at = (uint64_t)mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	for (at -= at % SLOT; at; at -= SLOT)
		if (reserve(at - SLOT, at))
			break;
	at -= SLOT;
	munmap((void *)at, SLOT);
	return at;
}

/* What a sanitizer reserves, and where it takes memory for the program's own. */
struct sanitizer {
	const char *name;
	struct { uint64_t start, end; } reserved[4], app[4];
};

static const struct sanitizer sanitizers[] = {
	{
		"MemorySanitizer of clang",
		{ { 0x010000000000, 0x510000000000 }, { 0x600000000000, 0x740000000000 } },
		{ { 0, 0x010000000000 }, { 0x510000000000, 0x600000000000 },
		  { 0x740000000000, 0x800000000000 } },
	},
	{
		"ThreadSanitizer of gcc 12 and clang 14",
		{ { 0x008000000000, 0x550000000000 }, { 0x568000000000, 0x7e8000000000 } },
		{ { 0, 0x008000000000 }, { 0x550000000000, 0x568000000000 },
		  { 0x7e8000000000, 0x800000000000 } },
	},
	{
		/* Go's heap grows from 0xc000000000 on. */
		"ThreadSanitizer of Go",
		{ { 0x200000000000, 0x500000000000 } },
		{ { 0x510000000000, 0x800000000000 } },
	},
};

TEST(where_shadow_memory_fills_the_window_it_is_where_mmap_goes)
{
	int fd = region(GIB), i, j;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, map_anon(fd, 0, PAGE, RW));
	for (i = 0; i < ARRAY_SIZE(sanitizers); i++) {
		const struct sanitizer *s = &sanitizers[i];

		IN_CHILD({
			uint64_t addr, want;
			bool is_app = false;

			for (j = 0; j < 4 && s->reserved[j].end; j++)
				CHILD_CHECK(reserve(s->reserved[j].start, s->reserved[j].end));
			want = slot_below_mmap();
			addr = (uint64_t)mshare_attach(fd, NULL, 0);
			fprintf(stderr, "# %s: at %jx\n", s->name, (uintmax_t)addr);
			CHILD_CHECK(addr == want);
			for (j = 0; j < 4 && s->app[j].end; j++)
				is_app |= addr >= s->app[j].start && addr + SLOT <= s->app[j].end;
			CHILD_CHECK(is_app);
			CHILD_CHECK(try_store((void *)addr, 1) == FAULT_NONE);
		});
	}
}

FIXTURE(program) {
};

FIXTURE_VARIANT(program) {
	const char *name;
	bool window_is_free;
};

FIXTURE_VARIANT_ADD(program, AddressSanitizer) {
	.name = "sanitized-address", .window_is_free = true,
};

FIXTURE_VARIANT_ADD(program, ThreadSanitizer) {
	.name = "sanitized-thread",
};

FIXTURE_SETUP(program)
{
}

FIXTURE_TEARDOWN(program)
{
}

/* It reports errors and loses its life where memory has no shadow. */
TEST_F(program, runs_and_finds_nothing_wrong)
{
	char path[4000] = "", command[4100];
	uint64_t addr = 0;
	long turns = 0;
	FILE *out;

	ASSERT_LT(0, readlink("/proc/self/exe", path, sizeof(path) - 1));
	snprintf(command, sizeof(command), "%s/%s", dirname(path), variant->name);
	out = popen(command, "r");
	ASSERT_NE(NULL, out);
	EXPECT_EQ(2, fscanf(out, "%jx %ld", (uintmax_t *)&addr, &turns));
	EXPECT_EQ(0, pclose(out));
	EXPECT_EQ(2000, turns);
	EXPECT_EQ(variant->window_is_free, addr >= WINDOW_START && addr < WINDOW_END) {
		TH_LOG("at %jx", (uintmax_t)addr);
	}
}

TEST_HARNESS_MAIN
