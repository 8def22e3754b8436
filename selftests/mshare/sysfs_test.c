// SPDX-License-Identifier: GPL-2.0
/* /sys/kernel/mm/mshare: what it shows, limits and the switch. */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "mst.h"

#include <sys/stat.h>

#define DIR	"/sys/kernel/mm/mshare/"

TEST(align_is_a_slot)
{
	EXPECT_EQ(SLOT, sys_mshare("align"));
	EXPECT_EQ(stat_of(region(0)).align, sys_mshare("align"));
}

TEST(what_only_tells_cannot_be_written)
{
	static const char *const names[] = {
		"align", "regions", "attachments", "pgtable_bytes", "tables_dropped",
		"tables_reclaimed",
	};
	char path[64];
	struct stat st;
	unsigned int i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		sprintf(path, DIR "%s", names[i]);
		ASSERT_OK(stat(path, &st));
		EXPECT_EQ(0, st.st_mode & 0222);
		EXPECT_LE(0, read_number(path));
	}
}

TEST(regions_attachments_and_page_tables_are_counted)
{
	long long regions = settled(), attachments, tables;
	int fd[3], i;
	char *addr;

	attachments = sys_mshare("attachments");
	tables = sys_mshare("pgtable_bytes");
	for (i = 0; i < 3; i++) {
		fd[i] = region(GIB);
		ASSERT_LE(0, fd[i]);
		EXPECT_EQ(regions + i + 1, sys_mshare("regions"));
	}
	EXPECT_LE(tables + 3 * PAGE, sys_mshare("pgtable_bytes"));
	tables = sys_mshare("pgtable_bytes");
	addr = mshare_attach(fd[0], NULL, 0);
	ASSERT_NE(MAP_FAILED, addr);
	ASSERT_NE(MAP_FAILED, mshare_attach(fd[0], NULL, 0));
	ASSERT_NE(MAP_FAILED, mshare_attach(fd[1], NULL, 0));
	EXPECT_EQ(attachments + 3, sys_mshare("attachments"));
	IN_CHILD(CHILD_CHECK(sys_mshare("attachments") == attachments + 6));
	EXPECT_EQ(attachments + 3, sys_mshare("attachments"));
	ASSERT_EQ(0, map_anon(fd[0], 0, PAGE, RW));
	addr[0] = 1;
	/* A table of each of the two lower levels. */
	EXPECT_EQ(tables + 2 * PAGE, sys_mshare("pgtable_bytes"));
	ASSERT_OK(mshare_detach(addr, 0));
	EXPECT_EQ(attachments + 2, sys_mshare("attachments"));
}

TEST(while_disabled_create_is_EPERM)
{
	int fd = region(GIB), other;
	char *addr;

	ASSERT_LE(0, fd);
	ASSERT_EQ(1, sys_mshare("enabled"));
	ASSERT_TRUE(write_number(DIR "enabled", 0));
	EXPECT_ERR(EPERM, mshare_create("no", 0));
	EXPECT_EQ(0, sys_mshare("enabled"));
	/* What is there goes on, and asking is allowed. */
	EXPECT_EQ(2, mshare_create(NULL, MSHARE_QUERY_ABI));
	EXPECT_EQ(0, map_anon(fd, 0, PAGE, RW));
	addr = mshare_attach(fd, NULL, 0);
	EXPECT_NE(MAP_FAILED, addr);
	EXPECT_EQ(FAULT_NONE, try_store(addr, 1));
	ASSERT_TRUE(write_number(DIR "enabled", 1));
	other = mshare_create("yes", 0);
	EXPECT_LE(0, other);
	EXPECT_FALSE(write_text(DIR "enabled", "perhaps"));
	EXPECT_EQ(1, sys_mshare("enabled"));
}

TEST(only_root_may_disable)
{
	if (geteuid())
		SKIP(return, "not root");
	IN_CHILD({
		CHILD_CHECK(!setresuid(1000, 1000, 1000));
		CHILD_CHECK(!write_number(DIR "enabled", 0) && errno == EACCES);
		CHILD_CHECK(!write_number(DIR "max_regions_per_user", 1) && errno == EACCES);
	});
	EXPECT_EQ(1, sys_mshare("enabled"));
}

TEST(a_users_regions_are_limited)
{
	static const char path[] = DIR "max_regions_per_user";
	long long old = read_number(path);

	ASSERT_LE(0, old);
	if (geteuid())
		SKIP(return, "not root");
	ASSERT_TRUE(write_number(path, 3));
	IN_CHILD({
		int fd[3];
		int i;
		char *addr;

		CHILD_CHECK(!setresuid(1001, 1001, 1001));
		for (i = 0; i < 3; i++)
			CHILD_CHECK((fd[i] = mshare_create("mine", 0)) >= 0);
		CHILD_CHECK(mshare_create("mine", 0) == -1 && errno == EDQUOT);
		/* Held until the region is gone: an attachment holds it. */
		CHILD_CHECK(!ftruncate(fd[0], GIB));
		addr = mshare_attach(fd[0], NULL, 0);
		CHILD_CHECK(addr != MAP_FAILED);
		close(fd[0]);
		CHILD_CHECK(mshare_create("mine", 0) == -1 && errno == EDQUOT);
		CHILD_CHECK(!mshare_detach(addr, 0));
		CHILD_CHECK(BECOMES((fd[0] = mshare_create("mine", 0)) >= 0));
	});
	/* By user: another one has his own. */
	IN_CHILD({
		CHILD_CHECK(!setresuid(1002, 1002, 1002));
		CHILD_CHECK(mshare_create("mine", 0) >= 0);
	});
	ASSERT_TRUE(write_number(path, 0));
	IN_CHILD({
		int i;

		CHILD_CHECK(!setresuid(1001, 1001, 1001));
		for (i = 0; i < 10; i++)
			CHILD_CHECK(mshare_create("mine", 0) >= 0);
	});
	EXPECT_TRUE(write_number(path, old));
}

TEST(by_default_a_user_has_a_region_for_each_MiB_of_memory)
{
	long long limit = sys_mshare("max_regions_per_user"), mib = meminfo("MemTotal:") / 1024;

	if (mib < 1100)
		SKIP(return, "a machine with less than that has 1024");
	/* Some memory was still the boot loader's when the kernel looked. */
	EXPECT_LE(limit, mib);
	EXPECT_GE(limit, mib * 9 / 10);
}

TEST_HARNESS_MAIN
