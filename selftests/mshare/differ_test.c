// SPDX-License-Identifier: GPL-2.0
/*
 * Some episodes of differ: the same operations on a region and on ordinary
 * mappings tell the same.  And does it find a fault, make the list that leads to it
 * short, and find it again by that list?
 */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "mst.h"

#include <libgen.h>
#include <linux/limits.h>

/* All that differ with these arguments prints, its exit status; from malloc(). */
static char *differ(const char *args, int *status)
{
	char path[PATH_MAX] = "", command[PATH_MAX + 200], *text = NULL;
	size_t size, got;
	FILE *pipe, *all;

	*status = -1;
	if (readlink("/proc/self/exe", path, sizeof(path) - 1) < 0)
		return NULL;
	snprintf(command, sizeof(command), "exec %s/differ %s 2>&1", dirname(path), args);
	pipe = popen(command, "r");
	all = open_memstream(&text, &size);
	if (!pipe || !all)
		return NULL;
	do {
		got = fread(path, 1, sizeof(path), pipe);
		fwrite(path, 1, got, all);
	} while (got);
	fclose(all);
	*status = pclose(pipe);
	return text;
}

/* The list at the end of TEXT, into a file; how many operations it has. */
static int save_list(const char *text, const char *path)
{
	const char *line = text ? strstr(text, "operations are enough") : NULL;
	FILE *file = fopen(path, "w");
	int n = 0;

	while (line && file && (line = strchr(line, '\n')) && !strncmp(++line, "#   ", 4)) {
		fprintf(file, "%.*s\n", (int)strcspn(line, "\n"), line);
		n++;
	}
	if (file)
		fclose(file);
	return n;
}

TEST(a_region_is_like_ordinary_mappings)
{
	int status;
	char *text = differ("-n 12 1", &status);

	EXPECT_EQ(0, status) {
		fputs(text ? text : "", stderr);
	}
	free(text);
}

FIXTURE(fault) {
	char path[32];
};

FIXTURE_VARIANT(fault) {
	const char *kind;	/* of operations that the region's world leaves out */
	int most;		/* operations that show it */
};

FIXTURE_VARIANT_ADD(fault, unmap) { "unmap", 6 };
FIXTURE_VARIANT_ADD(fault, protect) { "protect", 6 };
FIXTURE_VARIANT_ADD(fault, map) { "map", 6 };

FIXTURE_SETUP(fault)
{
	strcpy(self->path, "/tmp/differ.XXXXXX");
	ASSERT_LE(0, mkstemp(self->path));
}

FIXTURE_TEARDOWN(fault)
{
	unlink(self->path);
}

TEST_F_TIMEOUT(fault, is_found_and_the_list_is_short, 1800)
{
	char args[100], *text;
	int status, n;

	snprintf(args, sizeof(args), "-s %s -n 20 7", variant->kind);
	text = differ(args, &status);
	EXPECT_NE(0, status);
	ASSERT_NE(NULL, text);
	EXPECT_NE(NULL, strstr(text, "\nnot ok 1 "));
	n = save_list(text, self->path);
	EXPECT_LT(0, n) {
		fputs(text, stderr);
	}
	EXPECT_GE(variant->most, n) {
		fputs(text, stderr);
	}
	free(text);

	/* The same again, and without the fault. */
	snprintf(args, sizeof(args), "-s %s -r %s", variant->kind, self->path);
	free(differ(args, &status));
	EXPECT_NE(0, status);
	snprintf(args, sizeof(args), "-r %s", self->path);
	free(differ(args, &status));
	EXPECT_EQ(0, status);
}

TEST(an_episode_is_the_same_list_each_time)
{
	int status[2];
	char *text[2] = { differ("-l 3 5", &status[0]), differ("-l 3 5", &status[1]) };

	ASSERT_NE(NULL, text[0]);
	ASSERT_NE(NULL, text[1]);
	EXPECT_EQ(0, status[0]);
	EXPECT_STREQ(text[0], text[1]);
	EXPECT_NE(NULL, strstr(text[0], "\nattach "));
}

TEST(a_list_with_an_error_is_refused)
{
	char path[] = "/tmp/differ.XXXXXX", args[64];
	int fd = mkstemp(path), status;

	ASSERT_LE(0, fd);
	dprintf(fd, "config\nmap at=0x1000 len=0x1000 prot=3 flags=0x21\nmop at=0\n");
	snprintf(args, sizeof(args), "-r %s", path);
	free(differ(args, &status));
	EXPECT_EQ(2, WEXITSTATUS(status));
	unlink(path);
}

TEST_HARNESS_MAIN
