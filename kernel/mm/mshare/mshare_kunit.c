// SPDX-License-Identifier: GPL-2.0
/*
 * mshare - tests of what needs no machine to be tested
 *
 * What an ASID must flush depends on three numbers.  Emulated machines have no
 * ASIDs to get it wrong with.
 */
#include <kunit/test.h>
#include <asm/mshare_tlb.h>

#include "mshare.h"

struct flush_case {
	const char *name;
	struct mshare_seen seen;
	unsigned int hosts;
	u64 gen;
	u64 range_gen;
	enum mshare_flush want;
};

/* The set always has the id 7. */
static const struct flush_case flush_cases[] = {
	{ "nothing seen yet", { 0, 0 }, 1, 0, 0, MSHARE_FLUSH_ALL },
	{ "nothing seen yet, a range", { 0, 0 }, 1, 1, 1, MSHARE_FLUSH_ALL },
	{ "another set at the same sum", { 6, 9 }, 1, 9, 0, MSHARE_FLUSH_ALL },
	{ "another set one step behind, a range", { 6, 8 }, 1, 9, 9, MSHARE_FLUSH_ALL },
	{ "up to date", { 7, 9 }, 1, 9, 0, MSHARE_FLUSH_NONE },
	{ "up to date before the first flush", { 7, 0 }, 1, 0, 0, MSHARE_FLUSH_NONE },
	{ "up to date, a range that came late", { 7, 9 }, 1, 9, 8, MSHARE_FLUSH_NONE },
	{ "up to date, two hosts", { 7, 9 }, 2, 9, 4, MSHARE_FLUSH_NONE },
	{ "one step behind, all", { 7, 8 }, 1, 9, 0, MSHARE_FLUSH_ALL },
	{ "one step behind, its range", { 7, 8 }, 1, 9, 9, MSHARE_FLUSH_RANGE },
	{ "the first range", { 7, 0 }, 1, 1, 1, MSHARE_FLUSH_RANGE },
	{ "one step behind, an older range", { 7, 8 }, 1, 9, 8, MSHARE_FLUSH_ALL },
	{ "two steps behind, the last range", { 7, 7 }, 1, 9, 9, MSHARE_FLUSH_ALL },
	{ "two steps behind, the first range", { 7, 7 }, 1, 9, 8, MSHARE_FLUSH_ALL },
	{ "two hosts, one step behind, a range", { 7, 8 }, 2, 9, 9, MSHARE_FLUSH_ALL },
	{ "two hosts, a range of one that has done less", { 7, 8 }, 2, 9, 3, MSHARE_FLUSH_ALL },
};

static void flush_case_name(const struct flush_case *c, char *name)
{
	strscpy(name, c->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(flush, flush_cases, flush_case_name);

static void flush_needed(struct kunit *test)
{
	const struct flush_case *c = test->param_value;
	const struct mshare_set set = { .id = 7, .hosts = c->hosts };

	KUNIT_EXPECT_EQ(test, c->want,
			mshare_flush_needed(&c->seen, &set, c->gen, c->range_gen));
}

/* An ASID that follows some of the flushes must never be called up to date early. */
static void flush_sequences(struct kunit *test)
{
	unsigned int order, step;

	/* Each bit of order: is the IPI of that step late, or does it come? */
	for (order = 0; order < 1 << 6; order++) {
		const struct mshare_set set = { .id = 7, .hosts = 1 };
		struct mshare_seen seen = { .id = 7, .gen = 0 };
		u64 flushed = 0;

		for (step = 0; step < 6; step++) {
			u64 gen = step + 1;

			if (order & 1 << step)
				continue;
			switch (mshare_flush_needed(&seen, &set, gen, gen)) {
			case MSHARE_FLUSH_NONE:
				break;
			case MSHARE_FLUSH_RANGE:
				/* The range holds what changed at gen, and only that. */
				KUNIT_EXPECT_EQ(test, flushed, gen - 1);
				flushed = gen;
				break;
			case MSHARE_FLUSH_ALL:
				flushed = gen;
				break;
			}
			KUNIT_EXPECT_EQ(test, flushed, gen);
			seen.gen = gen;
		}
	}
}

static void slots_of_a_size(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, 0, mshare_slots(0));
	KUNIT_EXPECT_EQ(test, 1, mshare_slots(PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, 1, mshare_slots(P4D_SIZE));
	KUNIT_EXPECT_EQ(test, 2, mshare_slots(P4D_SIZE + PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, 64, mshare_slots(MSHARE_SIZE_MAX));
}

static void link_permissions(struct kunit *test)
{
	pud_t *pud = (pud_t *)get_zeroed_page(GFP_KERNEL);
	unsigned int write, exec;

	KUNIT_ASSERT_NOT_NULL(test, pud);
	for (write = 0; write < 2; write++) {
		for (exec = 0; exec < 2; exec++) {
			p4d_t p4d = arch_mshare_link(pud, write, exec);

			KUNIT_EXPECT_TRUE(test, p4d_present(p4d));
			KUNIT_EXPECT_FALSE(test, p4d_bad(p4d));
			KUNIT_EXPECT_PTR_EQ(test, pud, p4d_pgtable(p4d));
			KUNIT_EXPECT_EQ(test, write, arch_mshare_p4d_write(p4d));
			KUNIT_EXPECT_EQ(test, !exec && (__supported_pte_mask & _PAGE_NX),
					!!(p4d_val(p4d) & _PAGE_NX));
		}
	}
	free_page((unsigned long)pud);
}

static void name_of_the_flag(struct kunit *test)
{
	unsigned long flags = VM_MSHARE;
	char name[32];

	snprintf(name, sizeof(name), "%pGv", &flags);
	KUNIT_EXPECT_STREQ(test, "mshare", name);
}

static struct kunit_case mshare_cases[] = {
	KUNIT_CASE_PARAM(flush_needed, flush_gen_params),
	KUNIT_CASE(flush_sequences),
	KUNIT_CASE(slots_of_a_size),
	KUNIT_CASE(link_permissions),
	KUNIT_CASE(name_of_the_flag),
	{}
};

static struct kunit_suite mshare_suite = {
	.name = "mshare",
	.test_cases = mshare_cases,
};

kunit_test_suite(mshare_suite);
