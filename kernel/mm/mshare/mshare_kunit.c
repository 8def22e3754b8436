// SPDX-License-Identifier: GPL-2.0
/*
 * mshare - tests of what needs no machine to be tested
 *
 * What an ASID must flush depends on a few numbers.  Emulated machines have no
 * ASIDs to get it wrong with.  Nor does anybody notice what a CPU has left for
 * nothing: it is back a moment later.  And no program can stop another one between two
 * steps of a system call.
 */
#include <kunit/test.h>
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/file.h>
#include <linux/kthread.h>
#include <asm/mshare_asid.h>
#include <asm/mshare_tlb.h>

#include "mshare.h"
#include "vma.h"

struct flush_case {
	const char *name;
	unsigned int hosts;
	unsigned int host;
	u64 id;
	u64 seen;
	u64 now;
	u64 range_gen;
	enum mshare_flush want;
};

#define MANY	(MSHARE_SEEN_GENS + 1)
#define LAST	(MSHARE_SEEN_GENS - 1)

/* The set always has the id 7. */
static const struct flush_case flush_cases[] = {
	{ "nothing seen yet", 1, 0, 0, 0, 0, 0, MSHARE_FLUSH_ALL },
	{ "nothing seen yet, a range", 1, 0, 0, 0, 1, 1, MSHARE_FLUSH_ALL },
	{ "another set at the same generation", 1, 0, 6, 9, 9, 0, MSHARE_FLUSH_ALL },
	{ "another set one step behind, a range", 1, 0, 6, 8, 9, 9, MSHARE_FLUSH_ALL },
	{ "up to date", 1, 0, 7, 9, 9, 0, MSHARE_FLUSH_NONE },
	{ "up to date before the first flush", 1, 0, 7, 0, 0, 0, MSHARE_FLUSH_NONE },
	{ "up to date, a range that came late", 1, 0, 7, 9, 9, 8, MSHARE_FLUSH_NONE },
	{ "up to date, many hosts", MANY, LAST, 7, 9, 9, 4, MSHARE_FLUSH_NONE },
	{ "one step behind, all", 1, 0, 7, 8, 9, 0, MSHARE_FLUSH_ALL },
	{ "one step behind, its range", 1, 0, 7, 8, 9, 9, MSHARE_FLUSH_RANGE },
	{ "the first range", 1, 0, 7, 0, 1, 1, MSHARE_FLUSH_RANGE },
	{ "one step behind, an older range", 1, 0, 7, 8, 9, 8, MSHARE_FLUSH_ALL },
	{ "two steps behind, the last range", 1, 0, 7, 7, 9, 9, MSHARE_FLUSH_ALL },
	{ "two steps behind, the first range", 1, 0, 7, 7, 9, 8, MSHARE_FLUSH_ALL },
	{ "two hosts, one step behind, a range", 2, 1, 7, 8, 9, 9, MSHARE_FLUSH_RANGE },
	{ "two hosts, two steps behind, a range", 2, 0, 7, 7, 9, 9, MSHARE_FLUSH_ALL },
	{ "the last host, one step behind, a range", MSHARE_SEEN_GENS, LAST, 7, 8, 9, 9,
	  MSHARE_FLUSH_RANGE },
	{ "many hosts, a range of one", MANY, LAST - 1, 7, 8, 9, 9, MSHARE_FLUSH_RANGE },
	{ "many hosts, a range of one in a sum", MANY, LAST, 7, 8, 9, 9, MSHARE_FLUSH_ALL },
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
	struct mshare_seen seen = { .id = c->id };

	seen.gen[c->host] = c->seen;
	KUNIT_EXPECT_EQ(test, c->want,
			mshare_flush_needed(&seen, &set, c->host, c->now, c->range_gen));
}

/* An ASID that follows some of the flushes must never be called up to date early. */
static void flush_sequences(struct kunit *test)
{
	unsigned int order, step;

	/* Each bit of order: is the IPI of that step late, or does it come? */
	for (order = 0; order < 1 << 6; order++) {
		const struct mshare_set set = { .id = 7, .hosts = 1 };
		struct mshare_seen seen = { .id = 7 };
		u64 flushed = 0;

		for (step = 0; step < 6; step++) {
			u64 gen = step + 1;

			if (order & 1 << step)
				continue;
			switch (mshare_flush_needed(&seen, &set, 0, gen, gen)) {
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
			seen.gen[0] = gen;
		}
	}
}

#define HOSTS	5

/* Nobody looks into them. */
static struct mm_struct *host_nr(unsigned int n)
{
	return (struct mm_struct *)(0x1000UL * (n + 1));
}

static struct mshare_set *new_set(struct kunit *test, unsigned int nr)
{
	struct mshare_set *set = kunit_kzalloc(test, struct_size(set, at, nr), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, set);
	return set;
}

static struct mshare_set *set_with(struct kunit *test, const struct mshare_set *old,
				   unsigned int host, unsigned long start)
{
	const struct mshare_attachment at = { .host = host_nr(host), .start = start };
	struct mshare_set *set = new_set(test, (old ? old->nr : 0) + 1);

	mshare_set_fill(set, old, &at, old ? old->nr : 0);
	return set;
}

/* Neighbours, in order, the first of each marked, numbered and counted. */
static void expect_in_order(struct kunit *test, const struct mshare_set *set)
{
	unsigned int i, hosts = 0;

	for (i = 0; i < set->nr; i++) {
		const struct mshare_attachment *at = &set->at[i];
		bool first = !i || at[-1].host != at->host;

		KUNIT_EXPECT_TRUE(test, !i || at[-1].host <= at->host);
		KUNIT_EXPECT_EQ(test, first, at->first);
		hosts += first;
		KUNIT_EXPECT_EQ(test, min(hosts, MSHARE_SEEN_GENS) - 1, at->gen);
	}
	KUNIT_EXPECT_EQ(test, hosts, set->hosts);
}

static void sets_are_in_order(struct kunit *test)
{
	static const unsigned int hosts[] = { 3, 1, 4, 1, 0, 3, 3, 2, 4 };
	struct mshare_set *set = NULL, *less;
	unsigned int i, j, found;

	for (i = 0; i < ARRAY_SIZE(hosts); i++) {
		set = set_with(test, set, hosts[i], i);
		KUNIT_EXPECT_EQ(test, i + 1, set->nr);
		expect_in_order(test, set);
		/* All that came so far, and each once. */
		for (j = 0, found = 0; j < set->nr; j++) {
			KUNIT_ASSERT_LE(test, set->at[j].start, i);
			KUNIT_EXPECT_PTR_EQ(test, host_nr(hosts[set->at[j].start]),
					    set->at[j].host);
			found |= 1 << set->at[j].start;
		}
		KUNIT_EXPECT_EQ(test, (1 << (i + 1)) - 1, found);
	}
	for (i = 0; i < set->nr; i++) {
		less = new_set(test, set->nr - 1);
		mshare_set_fill(less, set, NULL, i);
		KUNIT_EXPECT_EQ(test, set->nr - 1, less->nr);
		expect_in_order(test, less);
		for (j = 0; j < less->nr; j++)
			KUNIT_EXPECT_EQ(test, set->at[j + (j >= i)].start, less->at[j].start);
	}
}

/* NR hosts that have done some steps, or none; each is attached twice. */
static struct mshare_set *set_of_hosts(struct kunit *test, unsigned int nr, unsigned int steps)
{
	struct mshare_set *set = NULL, *more;
	unsigned int i;

	for (i = 0; i < nr; i++) {
		struct mshare_attachment at = {
			.host = kunit_kzalloc(test, sizeof(*at.host) + cpumask_size(), GFP_KERNEL),
		};

		KUNIT_ASSERT_NOT_NULL(test, at.host);
		atomic64_set(&at.host->context.tlb_gen, steps * i);
		more = new_set(test, 2 * nr);
		mshare_set_fill(more, set, &at, set ? set->nr : 0);
		set = new_set(test, 2 * nr);
		at.start = P4D_SIZE;
		mshare_set_fill(set, more, &at, more->nr);
	}
	set->id = 7;
	KUNIT_ASSERT_EQ(test, nr, set->hosts);
	return set;
}

/* A step of any host is noticed, once, whatever other hosts have done. */
static void follow(struct kunit *test, struct mshare_set *set)
{
	struct mshare_seen *seen = kunit_kzalloc(test, sizeof(*seen), GFP_KERNEL);
	unsigned int i, j, changed;

	KUNIT_ASSERT_NOT_NULL(test, seen);
	/* From a set of before. */
	for (i = 0; i < MSHARE_SEEN_GENS; i++)
		seen->gen[i] = 1;
	KUNIT_EXPECT_TRUE(test, mshare_see(seen, set, 0));
	KUNIT_EXPECT_EQ(test, 7, seen->id);
	KUNIT_EXPECT_FALSE(test, mshare_see(seen, set, 0));
	for (i = 0; i < set->nr; i++) {
		KUNIT_EXPECT_TRUE(test, cpumask_test_cpu(0, mm_cpumask(set->at[i].host)));
		atomic64_inc(&set->at[i].host->context.tlb_gen);
		/* Those that have another generation are this one and who shares it. */
		for (j = 0; j < set->nr; j++) {
			changed = mshare_gen_now(set, &set->at[j]) != seen->gen[set->at[j].gen];
			KUNIT_EXPECT_EQ(test, set->at[j].gen == set->at[i].gen, changed);
		}
		KUNIT_EXPECT_TRUE(test, mshare_see(seen, set, 0));
		KUNIT_EXPECT_FALSE(test, mshare_see(seen, set, 0));
	}
	/* The same generations, and another set. */
	set->id = 8;
	KUNIT_EXPECT_TRUE(test, mshare_see(seen, set, 0));
	KUNIT_EXPECT_FALSE(test, mshare_see(seen, set, 0));
}

static void each_host_is_followed(struct kunit *test)
{
	static const unsigned int nr[] = {
		1, 2, MSHARE_SEEN_GENS - 1, MSHARE_SEEN_GENS, MSHARE_SEEN_GENS + 2,
	};
	unsigned int i, steps;

	for (i = 0; i < ARRAY_SIZE(nr); i++)
		for (steps = 0; steps < 20; steps += 10)
			follow(test, set_of_hosts(test, nr[i], steps));
}

/* The hosts in the bits of HOSTS, attached once and twice in turn. */
static struct mshare_set *set_of(struct kunit *test, unsigned long hosts)
{
	struct mshare_set *set = NULL;
	unsigned int n;

	/* From above, so that there is something to put in order. */
	for (n = HOSTS; n-- > 0;) {
		if (!(hosts & BIT(n)))
			continue;
		set = set_with(test, set, n, 0);
		if (n & 1)
			set = set_with(test, set, n, 1);
	}
	return set;
}

/* What a CPU leaves when it goes from each set of hosts to each other. */
static void hosts_that_are_left(struct kunit *test)
{
	struct mshare_set *sets[1 << HOSTS];
	struct mshare_leaving leaving;
	unsigned int a, b, n;

	for (a = 0; a < ARRAY_SIZE(sets); a++)
		sets[a] = set_of(test, a);
	for (a = 0; a < ARRAY_SIZE(sets); a++) {
		for (b = 0; b < ARRAY_SIZE(sets); b++) {
			leaving = mshare_begin_leaving(sets[a], sets[b]);
			for (n = 0; n < HOSTS; n++)
				if (a & ~b & BIT(n))
					KUNIT_EXPECT_PTR_EQ(test, host_nr(n),
							    mshare_next_left(&leaving));
			KUNIT_EXPECT_NULL(test, mshare_next_left(&leaving));
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

/* Each ASID has a slot, and those that a CPU hands out have one for themselves. */
static void slots_of_asids(struct kunit *test)
{
	unsigned int asid;

	for (asid = 0; asid < MSHARE_ASIDS; asid++) {
		unsigned int slot = mshare_seen_slot(asid);

		KUNIT_ASSERT_LT(test, slot, MSHARE_SEEN_SLOTS);
		KUNIT_ASSERT_EQ(test, slot == asid, asid < TLB_NR_DYN_ASIDS);
		KUNIT_ASSERT_EQ(test, slot < TLB_NR_DYN_ASIDS, mshare_asid_has_gen(asid));
	}
}

/*
 * The last who has the region of a file and the next who opens it.  Each is a thread;
 * the one who lets go is stopped twice: by I_SYNC before the region leaves the registry,
 * and by the lock of the host mm before its memory is freed.
 */

/* A thread that opens the region of a file, or that lets go of one. */
struct party {
	struct file *file;	/* whose region is wanted, or NULL: lets go */
	struct file *region;
	struct completion done;
};

static int party_main(void *data)
{
	struct party *p = data;

	if (p->file)
		p->region = mshare_open_file(p->file, PAGE_SIZE);
	else
		__fput_sync(p->region);
	complete(&p->done);
	return 0;
}

/* Lives until it is done: the caller waits for that. */
static void party_start(struct kunit *test, struct party *p, struct file *file)
{
	struct task_struct *task;

	p->file = file;
	init_completion(&p->done);
	task = kthread_run(party_main, p, "mshare_kunit");
	KUNIT_ASSERT_FALSE(test, IS_ERR(task));
}

static bool party_done_within(struct party *p, unsigned int seconds)
{
	return wait_for_completion_timeout(&p->done, seconds * HZ);
}

static u64 opened_id(const struct file *region)
{
	return IS_ERR(region) ? 0 : mshare_file_region(region)->id;
}

/* The number of the region that an opener gets now, who keeps nothing; 0 if he does not. */
static u64 id_now(struct file *file)
{
	struct file *region = mshare_open_file(file, PAGE_SIZE);
	u64 id = opened_id(region);

	if (!IS_ERR(region))
		__fput_sync(region);
	return id;
}

static void opener_before_the_last_goes(struct kunit *test)
{
	struct file *file = mshare_kunit_file(PAGE_SIZE);
	struct party last = {}, next = {};
	u64 id;

	KUNIT_ASSERT_FALSE(test, IS_ERR(file));
	last.region = mshare_open_file(file, PAGE_SIZE);
	KUNIT_ASSERT_FALSE(test, IS_ERR(last.region));
	id = opened_id(last.region);
	KUNIT_EXPECT_NE(test, 0, id);

	party_start(test, &next, file);
	wait_for_completion(&next.done);
	party_start(test, &last, NULL);
	wait_for_completion(&last.done);
	/* It has what the last one had, and so has the one after it. */
	KUNIT_EXPECT_EQ(test, id, opened_id(next.region));
	KUNIT_EXPECT_EQ(test, id, id_now(file));
	if (!IS_ERR(next.region))
		__fput_sync(next.region);
	/* Nobody has it any more. */
	KUNIT_EXPECT_GT(test, id_now(file), id);
	fput(file);
}

/* Waits until the inode that is being evicted has come so far. */
static bool evicted_to(struct inode *inode, bool (*there)(struct inode *inode))
{
	unsigned int i;

	for (i = 0; i < 10000 && !there(inode); i++)
		usleep_range(1000, 2000);
	return there(inode);
}

static bool is_going(struct inode *inode)
{
	return mshare_inode_state(inode) & I_FREEING;
}

static bool is_forgotten(struct inode *inode)
{
	return inode_unhashed(inode);
}

static void opener_after_the_last_has_gone(struct kunit *test)
{
	struct file *file = mshare_kunit_file(PAGE_SIZE);
	struct party last = {}, next = {};
	struct inode *inode;
	struct mm_struct *mm;
	u64 id;

	KUNIT_ASSERT_FALSE(test, IS_ERR(file));
	last.region = mshare_open_file(file, PAGE_SIZE);
	KUNIT_ASSERT_FALSE(test, IS_ERR(last.region));
	id = opened_id(last.region);
	inode = file_inode(last.region);
	mm = mshare_file_region(last.region)->mm;
	mmgrab(mm);

	spin_lock(&inode->i_lock);
	mshare_inode_set_state(inode, I_SYNC);
	spin_unlock(&inode->i_lock);
	mmap_write_lock(mm);

	/* It has let go, and the registry still has the region: who comes now waits. */
	party_start(test, &last, NULL);
	KUNIT_EXPECT_TRUE(test, evicted_to(inode, is_going));
	KUNIT_EXPECT_FALSE(test, is_forgotten(inode));
	party_start(test, &next, file);
	KUNIT_EXPECT_FALSE(test, party_done_within(&next, 1));

	/* The registry forgets it, but its memory is still there: that is not waited for. */
	spin_lock(&inode->i_lock);
	mshare_inode_clear_state(inode, I_SYNC);
	inode_wake_up_bit(inode, __I_SYNC);
	spin_unlock(&inode->i_lock);
	KUNIT_EXPECT_TRUE(test, evicted_to(inode, is_forgotten));
	KUNIT_EXPECT_TRUE(test, party_done_within(&next, 10));
	KUNIT_EXPECT_FALSE(test, completion_done(&last.done));

	/* Nor does it matter to the new one when the old one ends. */
	mmap_write_unlock(mm);
	wait_for_completion(&last.done);
	if (!next.region)
		wait_for_completion(&next.done);
	KUNIT_EXPECT_GT(test, opened_id(next.region), id);
	KUNIT_EXPECT_EQ(test, opened_id(next.region), id_now(file));
	if (!IS_ERR(next.region))
		__fput_sync(next.region);
	mmdrop(mm);
	fput(file);
}

static struct kunit_case mshare_cases[] = {
	KUNIT_CASE_PARAM(flush_needed, flush_gen_params),
	KUNIT_CASE(flush_sequences),
	KUNIT_CASE(sets_are_in_order),
	KUNIT_CASE(each_host_is_followed),
	KUNIT_CASE(hosts_that_are_left),
	KUNIT_CASE(slots_of_a_size),
	KUNIT_CASE(slots_of_asids),
	KUNIT_CASE(link_permissions),
	KUNIT_CASE(name_of_the_flag),
	KUNIT_CASE(opener_before_the_last_goes),
	KUNIT_CASE_SLOW(opener_after_the_last_has_gone),
	{}
};

static struct kunit_suite mshare_suite = {
	.name = "mshare",
	.test_cases = mshare_cases,
};

kunit_test_suite(mshare_suite);
