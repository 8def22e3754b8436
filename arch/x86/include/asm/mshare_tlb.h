/* SPDX-License-Identifier: GPL-2.0 */
/*
 * mshare - regions as the TLB code sees them
 */
#ifndef _ASM_X86_MSHARE_TLB_H
#define _ASM_X86_MSHARE_TLB_H

#include <linux/mm.h>
#include <linux/mshare.h>
#include <asm/tlbflush.h>

#ifdef CONFIG_MSHARE

/* Generations that an ASID records. */
#define MSHARE_SEEN_GENS	16

/**
 * struct mshare_attachment - A region in a guest.
 * @host: The region's mm.
 * @start: Its first address in the guest, %MSHARE_HOST_START in @host.
 * @end: Its end in the guest.
 * @vma: Its VMA, for faults of the guest.
 * @gen: Index of the generation of @host in &struct mshare_seen.  The hosts of a set
 *	are numbered in their order; those from %MSHARE_SEEN_GENS - 1 on share the
 *	last generation.
 * @first: This is the first attachment of @host in its set.  Work that is done once
 *	per host is done for this one.
 */
struct mshare_attachment {
	struct mm_struct *host;
	unsigned long start;
	unsigned long end;
	struct vm_area_struct *vma;
	unsigned int gen;
	bool first;
};

/**
 * struct mshare_set - The regions that are attached to a guest.
 *
 * mm->context.mshare points to it.  A set never changes once it is published there;
 * attaching and detaching replace it.  The attachments of one host are neighbours,
 * and the hosts are in the order of their addresses, so that two sets can be
 * compared in one pass.
 *
 * @id: Number of the set.  It is not 0 and is never reused.
 * @rcu: Frees it.
 * @nr: Entries in @at.
 * @hosts: Different hosts in @at.
 * @at: The attachments.
 */
struct mshare_set {
	u64 id;
	struct rcu_head rcu;
	unsigned int nr;
	unsigned int hosts;
	struct mshare_attachment at[] __counted_by(nr);
};

/**
 * struct mshare_seen - Generations of the hosts that an ASID has caught up with.
 * @id: The set that @gen belongs to.
 * @gen: The generations of its hosts.  The last is the sum of all that share it.
 *
 * The ASID holds nothing that is older than the hosts' tables at @gen.
 */
struct mshare_seen {
	u64 id;
	u64 gen[MSHARE_SEEN_GENS];
};

/**
 * enum mshare_flush - What an ASID must flush to be up to date.
 * @MSHARE_FLUSH_NONE: Nothing.
 * @MSHARE_FLUSH_RANGE: The range of the current flush.
 * @MSHARE_FLUSH_ALL: Everything.
 */
enum mshare_flush {
	MSHARE_FLUSH_NONE,
	MSHARE_FLUSH_RANGE,
	MSHARE_FLUSH_ALL,
};

/* Do several hosts of @set share the generation at @gen? */
static inline bool mshare_gen_is_sum(const struct mshare_set *set, unsigned int gen)
{
	return gen == MSHARE_SEEN_GENS - 1 && set->hosts > MSHARE_SEEN_GENS;
}

/**
 * mshare_see - Record the current generations of the hosts of a set in an ASID.
 * @seen: The previous record of the ASID.
 * @set: The set.
 * @cpu: The CPU of the ASID.  It enters the mask of each host before that host's
 *	generation is read.
 *
 * Return: true if the ASID was behind, so that the caller must flush all of it.
 */
static inline bool mshare_see(struct mshare_seen *seen, const struct mshare_set *set,
			      unsigned int cpu)
{
	const struct mshare_attachment *at;
	unsigned int left = set->hosts;
	u64 *last = &seen->gen[MSHARE_SEEN_GENS - 1], *old, gen, sum = 0;
	const bool same = seen->id == set->id;
	bool stale = !same;

	for (at = set->at; left; at++) {
		if (!at->first)
			continue;
		left--;
		if (!cpumask_test_cpu(cpu, mm_cpumask(at->host)))
			cpumask_set_cpu(cpu, mm_cpumask(at->host));
		gen = atomic64_read(&at->host->context.tlb_gen);
		old = &seen->gen[at->gen];
		if (old == last) {
			sum += gen;
			continue;
		}
		VM_WARN_ON_ONCE(same && *old > gen);
		stale |= *old != gen;
		*old = gen;
	}
	if (set->hosts >= MSHARE_SEEN_GENS) {
		VM_WARN_ON_ONCE(same && *last > sum);
		stale |= *last != sum;
		*last = sum;
	}
	seen->id = set->id;
	return stale;
}

/* The current generation of @at in @set, or the sum if several hosts share it. */
static inline u64 mshare_gen_now(const struct mshare_set *set, const struct mshare_attachment *at)
{
	u64 sum = 0;

	if (!mshare_gen_is_sum(set, at->gen))
		return atomic64_read(&at->host->context.tlb_gen);
	for (at = set->at; at < set->at + set->nr; at++)
		if (at->first && at->gen == MSHARE_SEEN_GENS - 1)
			sum += atomic64_read(&at->host->context.tlb_gen);
	return sum;
}

/**
 * mshare_flush_needed - Decide what an ASID must flush for a change of a host.
 * @seen: The record of the ASID.
 * @set: The set of the loaded guest.
 * @gen: Index of the host's generation in @seen.
 * @now: The current value of that generation.
 * @range_gen: The generation of the range of the current flush, or
 *	%TLB_GENERATION_INVALID if everything is to be flushed.
 *
 * Changes of other hosts have flushes of their own.  Flushing the range is enough
 * only if the ASID is exactly one generation behind.  A sum does not tell which
 * host that generation is of.
 *
 * Return: What to flush.
 */
static inline enum mshare_flush mshare_flush_needed(const struct mshare_seen *seen,
						    const struct mshare_set *set,
						    unsigned int gen, u64 now, u64 range_gen)
{
	if (seen->id != set->id)
		return MSHARE_FLUSH_ALL;
	if (seen->gen[gen] == now)
		return MSHARE_FLUSH_NONE;
	if (range_gen != TLB_GENERATION_INVALID && !mshare_gen_is_sum(set, gen) &&
	    range_gen == now && seen->gen[gen] + 1 == now)
		return MSHARE_FLUSH_RANGE;
	return MSHARE_FLUSH_ALL;
}

static inline void mshare_set_add(struct mshare_set *set, const struct mshare_attachment *at)
{
	bool first = !set->nr || set->at[set->nr - 1].host != at->host;
	struct mshare_attachment *new;

	VM_WARN_ON_ONCE(set->nr && set->at[set->nr - 1].host > at->host);
	new = &set->at[set->nr++];
	*new = *at;
	new->first = first;
	set->hosts += first;
	new->gen = min(set->hosts, MSHARE_SEEN_GENS) - 1;
}

/**
 * mshare_set_fill - Fill a new set from another, with one attachment more or less.
 * @set: The new set, empty.
 * @old: The other set, or NULL.
 * @more: An attachment to add, or NULL.
 * @without: Index of the attachment in @old to leave out, or @old->nr for none.
 */
static inline void mshare_set_fill(struct mshare_set *set, const struct mshare_set *old,
				   const struct mshare_attachment *more, unsigned int without)
{
	unsigned int i;

	for (i = 0; old && i < old->nr; i++) {
		if (more && more->host < old->at[i].host) {
			mshare_set_add(set, more);
			more = NULL;
		}
		if (i != without)
			mshare_set_add(set, &old->at[i]);
	}
	if (more)
		mshare_set_add(set, more);
}

/**
 * struct mshare_leaving - The comparison of two sets.
 * @at: The first attachment of the one set that is still to be compared.
 * @left: The number of hosts from there on.
 * @to: The first attachment of the other set that may be of the same host.
 * @to_end: The end of the other set.
 */
struct mshare_leaving {
	const struct mshare_attachment *at;
	unsigned int left;
	const struct mshare_attachment *to, *to_end;
};

/**
 * mshare_next_left - Find the next host that is in one set and not in another.
 * @l: The comparison.
 *
 * All calls together read each set once.  IRQs are off, and a set may have
 * MSHARE_SET_MAX hosts.
 *
 * Return: The mm of the host, or NULL if there is none.
 */
static inline struct mm_struct *mshare_next_left(struct mshare_leaving *l)
{
	while (l->left) {
		const struct mshare_attachment *at = l->at++;

		if (!at->first)
			continue;
		l->left--;
		while (l->to < l->to_end && l->to->host < at->host)
			l->to++;
		if (l->to == l->to_end || l->to->host != at->host)
			return at->host;
	}
	return NULL;
}

/* Begin to find the hosts of @from that are not in @to.  Both may be NULL. */
static inline struct mshare_leaving mshare_begin_leaving(const struct mshare_set *from,
							 const struct mshare_set *to)
{
	return (struct mshare_leaving) {
		.at = from ? from->at : NULL, .left = from ? from->hosts : 0,
		.to = to ? to->at : NULL, .to_end = to ? to->at + to->nr : NULL,
	};
}

/* The set of @mm.  IRQs are off, so it stays. */
static inline struct mshare_set *mshare_set_of(struct mm_struct *mm)
{
	return rcu_dereference_check(mm->context.mshare, irqs_disabled());
}

/**
 * mshare_stay - Do two guests have the same region, and no other?
 * @prev: The guest that this CPU leaves.
 * @next: The mm that it switches to, guest or not.
 *
 * The set of @prev is not read if @next is not a guest: see __mshare_switch_out().
 *
 * Return: true if this CPU stays in the masks of all hosts of @prev.
 */
static inline bool mshare_stay(struct mm_struct *prev, struct mm_struct *next)
{
	const struct mshare_set *from = mshare_set_of(prev), *to = mshare_set_of(next);

	return to && from && from->hosts == 1 && to->hosts == 1 &&
	       from->at[0].host == to->at[0].host;
}

/* Hooks of arch/x86/mm/tlb.c; their out-of-line parts are in arch/x86/mm/mshare.c. */

void __mshare_switch_out(struct mm_struct *prev, struct mm_struct *next);
bool __mshare_catch_up(struct mm_struct *mm, u16 asid);
void __mshare_flush_cpu(const struct flush_tlb_info *f);
void __mshare_trace_flush(struct mm_struct *mm, unsigned long start, unsigned long end);

/*
 * These are called through thunks that save all registers.  With ordinary calls, a switch
 * between processes that are not guests would have to save those that a call changes.
 */
static inline void mshare_switch_out(struct mm_struct *prev, struct mm_struct *next)
{
	unsigned long rax;

	if (unlikely(arch_mshare_attached(prev)) && !mshare_stay(prev, next))
		asm volatile("call mshare_switch_out_thunk" : "=a" (rax), ASM_CALL_CONSTRAINT
			     : "D" (prev), "S" (next) : "memory", "cc");
}

static inline bool mshare_catch_up(struct mm_struct *mm, u16 asid)
{
	bool stale = false;

	VM_WARN_ON_ONCE(mm_is_mshare_host(mm));
	if (unlikely(arch_mshare_attached(mm)))
		asm volatile("call mshare_catch_up_thunk" : "=a" (stale), ASM_CALL_CONSTRAINT
			     : "D" (mm), "S" ((u32)asid) : "memory", "cc");
	return stale;
}

/* The same, on a CPU that may just have stopped being lazy. */
static inline bool mshare_catch_up_lazy(struct mm_struct *mm, u16 asid)
{
	if (likely(!arch_mshare_attached(mm)))
		return false;
	/* Either the flusher sees a CPU that is not lazy, or this CPU sees the generation. */
	smp_mb();
	return mshare_catch_up(mm, asid);
}

static inline bool mshare_flush_cpu(const struct flush_tlb_info *f)
{
	/* The first two tests read no cache line of an mm that another CPU is writing to. */
	if (likely(!f->mm || f->mm == this_cpu_read(cpu_tlbstate.loaded_mm) ||
		   !mm_is_mshare_host(f->mm)))
		return false;
	__mshare_flush_cpu(f);
	return true;
}

/* Is a guest of @mm loaded here?  A host never is. */
static inline bool mshare_flush_here(struct mm_struct *mm, int cpu)
{
	return mm_is_mshare_host(mm) && cpumask_test_cpu(cpu, mm_cpumask(mm));
}

static inline void mshare_trace_flush(struct mm_struct *mm, unsigned long start,
				      unsigned long end)
{
	if (unlikely(mm_is_mshare_host(mm)))
		__mshare_trace_flush(mm, start, end);
}

#else /* CONFIG_MSHARE */

static inline void mshare_switch_out(struct mm_struct *prev, struct mm_struct *next)
{
}

static inline bool mshare_catch_up(struct mm_struct *mm, u16 asid)
{
	return false;
}

static inline bool mshare_catch_up_lazy(struct mm_struct *mm, u16 asid)
{
	return false;
}

static inline bool mshare_flush_cpu(const struct flush_tlb_info *f)
{
	return false;
}

static inline bool mshare_flush_here(struct mm_struct *mm, int cpu)
{
	return false;
}

static inline void mshare_trace_flush(struct mm_struct *mm, unsigned long start,
				      unsigned long end)
{
}

#endif /* CONFIG_MSHARE */

#endif /* _ASM_X86_MSHARE_TLB_H */
