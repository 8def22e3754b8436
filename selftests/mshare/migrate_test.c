// SPDX-License-Identifier: GPL-2.0
/*
 * Pages move while processes use them: words keep their values.  Between nodes
 * they do in numa_test.
 */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "crew.h"

#define SIZE	(4 * MIB)

/* The frames of the pages at ADDR, all of which are there. */
static void frames_of(char *addr, uint64_t *frame)
{
	int map = open("/proc/self/pagemap", O_RDONLY);
	uint64_t i;

	sum(addr, SIZE);
	if (pread(map, frame, SIZE / PAGE * 8, (uintptr_t)addr / PAGE * 8) != SIZE / PAGE * 8)
		memset(frame, 0, SIZE / PAGE * 8);
	for (i = 0; i < SIZE / PAGE; i++)
		frame[i] = frame[i] >> 63 ? frame[i] & ((1ULL << 55) - 1) : 0;
	close(map);
}

TEST(words_stay_when_memory_is_compacted)
{
	uint64_t *before = malloc(SIZE / PAGE * 8), *after = malloc(SIZE / PAGE * 8), i, moved = 0;
	int fd, file, round;
	char *addr, *plain;
	struct crew *crew;

	if (access("/proc/sys/vm/compact_memory", W_OK))
		SKIP(return, "no compaction");
	fd = region(GIB);
	ASSERT_LE(0, fd);
	addr = attached(fd, 0, 0);
	ASSERT_NE(NULL, addr);
	file = memfd(SIZE, 0);
	plain = mmap(NULL, SIZE, RW, MAP_SHARED, file, 0);
	ASSERT_NE(MAP_FAILED, plain);
	ASSERT_EQ(0, map_file(fd, 0, SIZE, RW, file));
	crew = crew_start(fd, 0, SIZE, 3);
	ASSERT_NE(NULL, crew);
	ASSERT_TRUE(crew_advances(crew, 1));
	for (round = 0; round < 8; round++) {
		frames_of(plain, before);
		ASSERT_TRUE(write_text("/proc/sys/vm/compact_memory", "1"));
		frames_of(plain, after);
		for (i = 0; i < SIZE / PAGE; i++)
			moved += before[i] && after[i] && before[i] != after[i];
		ASSERT_TRUE(crew_advances(crew, 1));
	}
	TH_LOG("%llu pages moved", (unsigned long long)moved);
	EXPECT_LT(0, moved);
	EXPECT_EQ(0, crew_ends(crew, addr));
	ASSERT_OK(mshare_detach(addr, 0));
}

TEST_HARNESS_MAIN
