/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Counts the TLB flushes that this process asks other CPUs for: one trace
 * instance a CPU, with a filter; its ring buffer is never read, only its count.
 */
#ifndef TLB_COUNT_H
#define TLB_COUNT_H

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mst.h"

#define TLB_TRACE	"/sys/kernel/tracing/instances"

static inline char *tlb_trace_path(int cpu, const char *format, ...)
{
	static char path[192];
	va_list ap;
	int len;

	len = snprintf(path, sizeof(path), TLB_TRACE "/tlb.%d.%d/", getpid(), cpu);
	va_start(ap, format);
	vsnprintf(path + len, sizeof(path) - len, format, ap);
	va_end(ap);
	return path;
}

static inline bool is_function(const char *name)
{
	char *text = slurp("/proc/kallsyms"), word[64];
	bool is;

	snprintf(word, sizeof(word), " %s\n", name);
	is = text && strstr(text, word);
	free(text);
	return is;
}

static inline void tlb_count_end(void)
{
	int cpu;

	for (cpu = 0; cpu < cpus(); cpu++) {
		write_text(tlb_trace_path(cpu, "events/csd/csd_queue_cpu/enable"), "0");
		rmdir(tlb_trace_path(cpu, ""));
	}
}

/* What the kernel has of the functions that an IPI for a flush may run. */
static inline bool tlb_count_begin(void)
{
	static const char *const functions[] = {
		"flush_tlb_func", "do_flush_tlb_all", "mshare_sync_cpu",
	};
	char any[256] = "", filter[320];
	unsigned int i;
	int cpu;

	for (i = 0; i < sizeof(functions) / sizeof(*functions); i++)
		if (is_function(functions[i]))
			sprintf(any + strlen(any), "%sfunc.function == %s", *any ? " || " : "",
				functions[i]);
	/*
	 * Instances take the options over.  Names of tasks would patch the
	 * scheduler, which emulators do not always survive: the end of vm/run.
	 */
	write_text("/sys/kernel/tracing/options/record-cmd", "0");
	for (cpu = 0; cpu < cpus(); cpu++) {
		snprintf(filter, sizeof(filter), "cpu == %d && common_pid == %d && (%s )", cpu,
			 getpid(), any);
		if (mkdir(tlb_trace_path(cpu, ""), 0700) ||
		    !write_text(tlb_trace_path(cpu, "events/csd/csd_queue_cpu/filter"), filter) ||
		    !write_text(tlb_trace_path(cpu, "events/csd/csd_queue_cpu/enable"), "1")) {
			fprintf(stderr, "# %s: %m\n", tlb_trace_path(cpu, ""));
			tlb_count_end();
			return false;
		}
	}
	return true;
}

/* How many events a trace instance has seen; INSTANCE ends with a slash. */
static inline long long trace_events(const char *instance)
{
	long long total = 0;
	char path[256];
	int cpu;

	for (cpu = 0; cpu < cpus(); cpu++) {
		snprintf(path, sizeof(path), "%sper_cpu/cpu%d/stats", instance, cpu);
		total += file_key(path, "entries:") + file_key(path, "overrun:");
	}
	return total;
}

/* How often CPU has been asked since the beginning. */
static inline long long tlb_ipis(int cpu)
{
	return trace_events(tlb_trace_path(cpu, ""));
}

/* Where flushes of everything that this process makes on its own CPU are counted. */
#define TLB_FULL	TLB_TRACE "/tlb.full/"

static inline void tlb_full_end(void)
{
	write_text(TLB_FULL "events/enable", "0");
	rmdir(TLB_FULL);
}

static inline bool tlb_full_begin(void)
{
	char filter[80];

	/* TLB_LOCAL_MM_SHOOTDOWN: a switch of processes is another reason. */
	snprintf(filter, sizeof(filter), "reason == 3 && pages == 0x%lx && common_pid == %d", -1UL,
		 getpid());
	write_text("/sys/kernel/tracing/options/record-cmd", "0");
	if (mkdir(TLB_FULL, 0700) ||
	    !write_text(TLB_FULL "events/tlb/tlb_flush/filter", filter) ||
	    !write_text(TLB_FULL "events/tlb/tlb_flush/enable", "1")) {
		fprintf(stderr, "# " TLB_FULL ": %m\n");
		tlb_full_end();
		return false;
	}
	return true;
}

/* How many there have been since the beginning. */
static inline long long tlb_fulls(void)
{
	return trace_events(TLB_FULL);
}

/* The row TLB of /proc/interrupts: flushes that CPU was asked for by anybody. */
static inline long long tlb_row(int cpu)
{
	char *text = slurp("/proc/interrupts"), *at = text ? strstr(text, "TLB:") : NULL;
	long long value = -1;
	int i;

	for (i = 0, at = at ? at + 4 : NULL; at && i <= cpu; i++)
		value = strtoll(at, &at, 10);
	free(text);
	return value;
}

#endif /* TLB_COUNT_H */
