// SPDX-License-Identifier: GPL-2.0
/* The tracepoints mshare:* exist and fire. */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "mst.h"

#include <sys/mount.h>
#include <sys/stat.h>

#define TRACING	"/sys/kernel/tracing/"

static const char *const events[] = {
	"create", "attach", "detach", "map", "unmap", "protect", "link", "fault", "flush",
	"free_tables",
};
#define EVENTS	(sizeof(events) / sizeof(events[0]))

FIXTURE(trace) {
	const char *prefix;
};

FIXTURE_SETUP(trace)
{
	if (access(TRACING "events", F_OK))
		mount("none", TRACING, "tracefs", 0, NULL);
	if (access(TRACING "events", F_OK))
		SKIP(return, "no tracefs");
	/* mshare:create, or mshare:mshare_create as the kernel likes to name them. */
	self->prefix = access(TRACING "events/mshare/create", F_OK) ? "mshare_" : "";
}

FIXTURE_TEARDOWN(trace)
{
	write_text(TRACING "events/mshare/enable", "0");
}

TEST_F(trace, all_events_are_there)
{
	char path[128];
	unsigned int i;

	for (i = 0; i < EVENTS; i++) {
		sprintf(path, TRACING "events/mshare/%s%s/format", self->prefix, events[i]);
		EXPECT_OK(access(path, R_OK));
	}
}

TEST_F(trace, each_event_fires)
{
	int fd;
	unsigned int i;
	char *addr, *text, name[64];

	ASSERT_TRUE(write_text(TRACING "trace", "\n"));
	ASSERT_TRUE(write_text(TRACING "tracing_on", "1"));
	/* Names of tasks would patch the scheduler: see the end of vm/run. */
	ASSERT_TRUE(write_text(TRACING "options/record-cmd", "0"));
	ASSERT_TRUE(write_text(TRACING "events/mshare/enable", "1"));
	fd = region(GIB);
	addr = attached(fd, 0, PAGE);
	ASSERT_NE(NULL, addr);
	addr[0] = 1;
	ASSERT_OK(mshare_protect(fd, 0, PAGE, PROT_READ, 0));
	/* The rest of the range is a hole, but the table goes. */
	EXPECT_ERR(ENOMEM, mshare_advise(fd, 0, HUGE, MADV_DONTNEED, 0));
	ASSERT_OK(mshare_unmap(fd, 0, PAGE, 0));
	ASSERT_OK(mshare_detach(addr, 0));
	ASSERT_TRUE(write_text(TRACING "events/mshare/enable", "0"));
	text = slurp(TRACING "trace");
	for (i = 0; i < EVENTS; i++) {
		sprintf(name, " %s%s: ", self->prefix, events[i]);
		EXPECT_NE(NULL, strstr(text, name)) {
			TH_LOG("event %s did not fire", events[i]);
		}
	}
	free(text);
}

TEST_F(trace, nothing_is_recorded_when_off)
{
	char *text;

	ASSERT_TRUE(write_text(TRACING "events/mshare/enable", "0"));
	ASSERT_TRUE(write_text(TRACING "trace", "\n"));
	close(region(GIB));
	text = slurp(TRACING "trace");
	EXPECT_EQ(NULL, strstr(text, "create: "));
}

TEST_HARNESS_MAIN
