// SPDX-License-Identifier: GPL-2.0
/*
 * mshare - TLB coherence of shared page tables
 *
 * No CPU ever loads a host mm.  The CPUs that load its guests maintain the state
 * that tells the rest of the TLB code about the users of an mm:
 *
 * S1  A CPU that has a guest loaded, lazy or not, is in mm_cpumask(host) as long
 *     as a link to the host may be set.  The mask may hold other CPUs, too.  Only
 *     the CPU itself clears its bit, with IRQs off.
 * S2  mshare_seen of an ASID is {id, gen[]}.  For each host in the set with that
 *     id, the ASID holds nothing from the host's tables that is older than their
 *     state at its gen, a value of its context.tlb_gen.  The CPU reads this value
 *     before the flush that makes the statement true.  The last gen may be the sum
 *     of the values of several hosts.  Each of them only grows, so no sum occurs twice.
 * S3  A set is published before the first link to a host that it names is set.  It
 *     is withdrawn after the last link was cleared and the guest was flushed.
 * S4  A link is set only after arch_mshare_publish() has returned.
 * S5  A host mm is freed only a grace period after it was withdrawn.  Readers of a
 *     set have IRQs off, and RCU waits for them.
 * S6  Flushing a host takes no lock and does not sleep.  Its callers hold
 *     page-table locks, and reclaim holds no lock of the mm at all.
 *
 * By S1, each flush of a host, ranged or batched, goes in one round to the CPUs
 * that run its guests and to no others, however many guests there are.  By S2,
 * guests that are not loaded, and ASIDs that are kept for them, catch up when they
 * are loaded again.
 *
 * Flush against switch: The flusher changes the tables, increments tlb_gen and
 * reads the mask.  The CPU sets its bit and then reads tlb_gen.  Both the
 * increment and the setting of the bit are full barriers.  Either the flusher
 * sees the bit, or the CPU sees the new generation and flushes.  A lazy CPU gets
 * no IPI unless tables are freed.  It compares the generations when it stops
 * being lazy.
 *
 * If the kernel and the CPU have INVLPGB, a guest may get the same ASID on all
 * CPUs.  Its own flushes are then broadcast.  The flush of S3 reaches the ASID on
 * each CPU, whatever mm is loaded there, and the sender waits for it.  A host has
 * no ASID, so its flushes are the usual ones: S1 and S2 hold for a global ASID as
 * for any other.  Emulated machines have no INVLPGB.  Only a KUnit test of the
 * slots and a model of the protocol, which has global ASIDs, cover this.
 *
 * CPUs may stay in mm_cpumask(guest) after a switch.  Publishing then
 * sends IPIs to CPUs that do not run the guest, and they find another mm loaded.
 * A CPU still leaves mm_cpumask(host) at once, because a flush of the host goes to
 * all CPUs in it.  A flusher that can be preempted after it has read the mask reads
 * it again before it sends.  A CPU that entered it in between is then like one that
 * entered it before.
 *
 * gup_fast walks a guest with IRQs off, on a CPU that has it loaded.  By S1 this
 * CPU gets the IPI that is sent before tables are freed, so the IPI waits for the
 * walk.
 */
#include <linux/hardirq.h>
#include <linux/linkage.h>
#include <linux/mmu_context.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/vmstat.h>
#include <asm/frame.h>
#include <asm/ibt.h>
#include <asm/mshare_asid.h>
#include <asm/mshare_tlb.h>
#include <trace/events/mshare.h>
#include <trace/events/tlb.h>

#include "mm_internal.h"

/* Indexed by mshare_seen_slot().  Only guests use it. */
static DEFINE_PER_CPU(struct mshare_seen, mshare_seen[MSHARE_SEEN_SLOTS]);

static atomic64_t mshare_last_set;

/* The first attachment of @host. */
static const struct mshare_attachment *mshare_set_find(const struct mshare_set *set,
						       const struct mm_struct *host)
{
	unsigned int i;

	for (i = 0; set && i < set->nr; i++)
		if (set->at[i].host == host)
			return &set->at[i];
	return NULL;
}

/* Is any link of @at set?  IRQs are off, so the tables stay, as for gup_fast. */
static bool __maybe_unused mshare_linked(struct mm_struct *guest,
					 const struct mshare_attachment *at)
{
	unsigned long addr;

	for (addr = at->start; addr < at->end; addr += P4D_SIZE) {
		pgd_t pgd = READ_ONCE(*pgd_offset(guest, addr));

		if (!pgd_none(pgd) &&
		    !p4d_none(READ_ONCE(*p4d_offset_lockless(pgd_offset(guest, addr), pgd, addr))))
			return true;
	}
	return false;
}

/* S1 */
static void mshare_assert_mask(struct mm_struct *guest, const struct mshare_set *set)
{
#ifdef CONFIG_DEBUG_VM
	unsigned int i;

	for (i = 0; set && i < set->nr; i++)
		WARN_ON_ONCE(!cpumask_test_cpu(smp_processor_id(),
					       mm_cpumask(set->at[i].host)) &&
			     mshare_linked(guest, &set->at[i]));
#endif
}

/* Hooks of tlb.c */

/**
 * __mshare_switch_out - This CPU switches from one mm to another.
 * @prev: A guest.
 * @next: Any mm.
 *
 * A switch between guests of the same region writes nothing, so no shared cache
 * line moves.
 */
void __mshare_switch_out(struct mm_struct *prev, struct mm_struct *next)
{
	unsigned int cpu = smp_processor_id();
	struct mshare_leaving leaving;
	struct mshare_set *from;
	struct mm_struct *host;

	/*
	 * This is the idle task of a CPU that is going down.  RCU no longer waits
	 * for it, so it must not read the sets.  An offline CPU gets no
	 * IPI.  __mshare_flush_cpu() clears the bits that are left here.
	 */
	if (!cpu_online(cpu))
		return;
	from = mshare_set_of(prev);
	mshare_assert_mask(prev, from);
	leaving = mshare_begin_leaving(from, mshare_set_of(next));
	while ((host = mshare_next_left(&leaving)))
		cpumask_clear_cpu(cpu, mm_cpumask(host));
}

/**
 * __mshare_catch_up - Record which state of the hosts an ASID has seen.
 * @mm: The guest, loaded or about to be.
 * @asid: The ASID.
 *
 * The order matters.  The caller has set this CPU's bit in mm_cpumask(@mm) and then
 * read the tlb_gen of @mm.  This function reads the set.  For each host it sets the
 * bit and then reads the generation.
 *
 * Return: true if the caller must flush the ASID.  The flush is recorded as done.
 */
bool __mshare_catch_up(struct mm_struct *mm, u16 asid)
{
	struct mshare_set *set = mshare_set_of(mm);

	return set && mshare_see(this_cpu_ptr(&mshare_seen[mshare_seen_slot(asid)]), set,
				 smp_processor_id());
}

/* Calls __mshare_NAME() and saves all registers that it may change except RAX. */
#define MSHARE_THUNK(name)							\
	asm(".pushsection .text, \"ax\"\n"					\
	    ".globl mshare_" #name "_thunk\n"					\
	    ".type mshare_" #name "_thunk, @function\n"			\
	    ASM_FUNC_ALIGN							\
	    "mshare_" #name "_thunk:\n"					\
	    ASM_ENDBR								\
	    FRAME_BEGIN								\
	    "push %rcx\n push %rdx\n push %rsi\n push %rdi\n"			\
	    "push %r8\n push %r9\n push %r10\n push %r11\n"			\
	    "call __mshare_" #name "\n"					\
	    "pop %r11\n pop %r10\n pop %r9\n pop %r8\n"			\
	    "pop %rdi\n pop %rsi\n pop %rdx\n pop %rcx\n"			\
	    FRAME_END								\
	    ASM_RET								\
	    ".size mshare_" #name "_thunk, .-mshare_" #name "_thunk\n"		\
	    ".popsection")

MSHARE_THUNK(switch_out);
MSHARE_THUNK(catch_up);

/* Flush the range of @f, which is in the host's addresses, in each attachment. */
static unsigned long mshare_flush_range(const struct mshare_set *set,
					const struct mshare_attachment *at,
					const struct flush_tlb_info *f)
{
	unsigned long addr, nr = 0;

	for (; at < set->at + set->nr && at->host == f->mm; at++) {
		/*
		 * The region may have grown since it was attached.  Addresses
		 * past the end of the attachment belong to other mappings, or
		 * are not canonical, and INVPCID would fault.
		 */
		for (addr = f->start; addr < f->end &&
		     addr - MSHARE_HOST_START < at->end - at->start;
		     addr += 1UL << f->stride_shift, nr++)
			flush_tlb_one_user(addr - MSHARE_HOST_START + at->start);
	}
	return nr;
}

/*
 * The generation of the range of @f, or TLB_GENERATION_INVALID if a flush of
 * everything is cheaper.  The range is flushed once for each attachment, and the
 * limit applies to all of them together.
 */
static u64 mshare_range_gen(const struct mshare_set *set, const struct mshare_attachment *at,
			    const struct flush_tlb_info *f)
{
	unsigned int nr = 0;

	if (f->end == TLB_FLUSH_ALL || f->start < MSHARE_HOST_START)
		return TLB_GENERATION_INVALID;
	for (; at < set->at + set->nr && at->host == f->mm; at++)
		nr++;
	if (((f->end - f->start) >> f->stride_shift) * nr > tlb_single_page_flush_ceiling)
		return TLB_GENERATION_INVALID;
	return f->new_tlb_gen;
}

/**
 * __mshare_flush_cpu - Flush a host on this CPU.
 * @f: The flush, f->mm is the host.
 *
 * Replaces flush_tlb_func() for hosts, and follows its rules.
 */
void __mshare_flush_cpu(const struct flush_tlb_info *f)
{
	struct mm_struct *guest = this_cpu_read(cpu_tlbstate.loaded_mm);
	u16 asid = this_cpu_read(cpu_tlbstate.loaded_mm_asid);
	bool local = smp_processor_id() == f->initiating_cpu;
	struct mshare_seen *seen = this_cpu_ptr(&mshare_seen[mshare_seen_slot(asid)]);
	struct mshare_set *set = mshare_set_of(guest);
	const struct mshare_attachment *at = mshare_set_find(set, f->mm);
	unsigned long nr = 0;
	u64 now;

	if (!local) {
		mshare_count_flush_irq();
		count_vm_tlb_event(NR_TLB_REMOTE_FLUSH_RECEIVED);
	}
	if (!at) {
		/* Detached, or switched away from, since the mask was read. */
		cpumask_clear_cpu(smp_processor_id(), mm_cpumask(f->mm));
		return;
	}
	if (this_cpu_read(cpu_tlbstate_shared.is_lazy)) {
		/* As in flush_tlb_func(): nothing may walk freed tables speculatively. */
		switch_mm_irqs_off(NULL, &init_mm, NULL);
		return;
	}
	mshare_assert_mask(guest, set);

	now = mshare_gen_now(set, at);
	switch (mshare_flush_needed(seen, set, at->gen, now, mshare_range_gen(set, at, f))) {
	case MSHARE_FLUSH_NONE:
		/* Another flush has covered this one. */
		break;
	case MSHARE_FLUSH_RANGE:
		seen->gen[at->gen] = now;
		nr = mshare_flush_range(set, at, f);
		if (local)
			count_vm_tlb_events(NR_TLB_LOCAL_FLUSH_ONE, nr);
		break;
	case MSHARE_FLUSH_ALL:
		/* This covers all hosts, and the guest itself. */
		mshare_see(seen, set, smp_processor_id());
		nr = TLB_FLUSH_ALL;
		flush_tlb_local();
		if (local)
			count_vm_tlb_event(NR_TLB_LOCAL_FLUSH_ALL);
		break;
	}
	trace_tlb_flush(local ? TLB_LOCAL_MM_SHOOTDOWN : TLB_REMOTE_SHOOTDOWN, nr);
}

/**
 * __mshare_trace_flush - Report that a host is flushed.
 * @mm: The host.
 * @start: First address of the change, in @mm.
 * @end: End of the change, or %TLB_FLUSH_ALL.
 */
void __mshare_trace_flush(struct mm_struct *mm, unsigned long start, unsigned long end)
{
	trace_mshare_flush(mm->mshare, start, end);
}

/* Sets */

static void mshare_sync_cpu(void *info)
{
	u16 asid = this_cpu_read(cpu_tlbstate.loaded_mm_asid);
	struct mm_struct *guest = info;
	u64 gen;

	if (this_cpu_read(cpu_tlbstate.loaded_mm) != guest)
		return;
	if (this_cpu_read(cpu_tlbstate_shared.is_lazy)) {
		switch_mm_irqs_off(NULL, &init_mm, NULL);
		return;
	}
	/*
	 * This flush is for the hosts in the old set: the generations recorded in
	 * the new one include their flushes in flight.  It covers the guest
	 * itself, too.
	 */
	gen = atomic64_read(&guest->context.tlb_gen);
	if (__mshare_catch_up(guest, asid)) {
		flush_tlb_local();
		if (mshare_asid_has_gen(asid))
			this_cpu_write(cpu_tlbstate.ctxs[asid].tlb_gen, gen);
	}
}

/*
 * A switch of processes reads two sets, and the masks and generations of all their
 * hosts, with IRQs off.  arch_mshare_withdraw() allocates a set with __GFP_NOFAIL,
 * so a set has to fit into a slab object.
 */
#define MSHARE_SET_MAX		200

static_assert(struct_size_t(struct mshare_set, at, MSHARE_SET_MAX) <= KMALLOC_MAX_CACHE_SIZE);

static struct mshare_set *mshare_set_alloc(unsigned int nr, gfp_t gfp)
{
	struct mshare_set *set = kzalloc(struct_size(set, at, nr), gfp);

	if (set)
		set->id = atomic64_inc_return(&mshare_last_set);
	return set;
}

static struct mshare_set *mshare_set_locked(struct mm_struct *guest)
{
	return rcu_dereference_protected(guest->context.mshare,
					 lockdep_is_held(&guest->context.lock));
}

/**
 * arch_mshare_publish - Tell the CPUs that a region is going to be linked.
 * @vma: The attachment.  Its mm is locked for writing, and nobody can lock the VMA yet.
 * @host: The region's mm.
 *
 * When this returns, each CPU that has the guest loaded is in mm_cpumask(@host)
 * and takes part in its flushes.  So does each CPU that loads the guest later.
 *
 * Context: Sleeps, and waits for other CPUs.
 * Return: 0, or -ENOMEM with nothing changed.  -ENOMEM also means that the guest has
 * %MSHARE_SET_MAX attachments.
 */
int arch_mshare_publish(struct vm_area_struct *vma, struct mm_struct *host)
{
	const struct mshare_attachment at = {
		.host = host, .start = vma->vm_start, .end = vma->vm_end, .vma = vma,
	};
	struct mm_struct *guest = vma->vm_mm;
	struct mshare_set *old, *new;
	unsigned int nr;

	/* The mmap_lock is not enough: arch_mshare_withdraw() may hold it for reading. */
	mutex_lock(&guest->context.lock);
	old = mshare_set_locked(guest);
	nr = old ? old->nr : 0;
	new = nr < MSHARE_SET_MAX ? mshare_set_alloc(nr + 1, GFP_KERNEL_ACCOUNT) : NULL;
	if (!new) {
		mutex_unlock(&guest->context.lock);
		return -ENOMEM;
	}
	mshare_set_fill(new, old, &at, nr);
	rcu_assign_pointer(guest->context.mshare, new);
	/*
	 * This is a full barrier between writing the pointer and reading the
	 * mask.  A CPU that has read the old set is in the mask.
	 */
	inc_mm_tlb_gen(guest);
	on_each_cpu_mask(mm_cpumask(guest), mshare_sync_cpu, guest, true);
	mutex_unlock(&guest->context.lock);
	if (old)
		kfree_rcu(old, rcu);
	return 0;
}

/**
 * arch_mshare_withdraw - Forget about a region that is not linked any more.
 * @guest: The mm it was linked to.
 * @start: First address of the attachment there.
 *
 * All its links were cleared and @guest was flushed.  If there is no such region,
 * this does nothing: publishing may have failed.
 *
 * No CPU is told.  The state that a CPU has recorded is for another set, so it
 * flushes everything the next time.  The next flush that reaches it in vain clears
 * its bit in the mask of the host.
 *
 * Context: Sleeps.  The mmap_lock may be held for reading only.
 */
void arch_mshare_withdraw(struct mm_struct *guest, unsigned long start)
{
	struct mshare_set *old, *new = NULL;
	unsigned int found;

	mutex_lock(&guest->context.lock);
	old = mshare_set_locked(guest);
	for (found = 0; old && found < old->nr; found++)
		if (old->at[found].start == start)
			break;
	if (!old || found == old->nr) {
		mutex_unlock(&guest->context.lock);
		return;
	}
	/* The process may be exiting, so no caller could handle a failure. */
	if (old->nr > 1) {
		new = mshare_set_alloc(old->nr - 1, GFP_KERNEL_ACCOUNT | __GFP_NOFAIL);
		mshare_set_fill(new, old, NULL, found);
	}
	rcu_assign_pointer(guest->context.mshare, new);
	mutex_unlock(&guest->context.lock);
	kfree_rcu(old, rcu);
}

/**
 * arch_mshare_published - May a region be linked?
 * @guest: The mm to link it to, its mmap_lock held for writing.
 * @host: The region's mm.
 *
 * Return: true if arch_mshare_publish() was called for it.
 */
bool arch_mshare_published(struct mm_struct *guest, struct mm_struct *host)
{
	bool found;

	rcu_read_lock();
	found = mshare_set_find(rcu_dereference(guest->context.mshare), host);
	rcu_read_unlock();
	return found;
}

/**
 * arch_mshare_host_at - Which region is attached at an address?
 * @guest: The guest.
 * @addr: The address.
 *
 * Takes no lock and does not sleep.
 *
 * Return: The mm of the region, which may only be compared: it can be freed at any
 * time.  NULL if there is none.
 */
const struct mm_struct *arch_mshare_host_at(struct mm_struct *guest, unsigned long addr)
{
	const struct mm_struct *host = NULL;
	struct mshare_set *set;
	unsigned int i;

	rcu_read_lock();
	set = rcu_dereference(guest->context.mshare);
	for (i = 0; set && i < set->nr; i++)
		if (addr >= set->at[i].start && addr < set->at[i].end)
			host = set->at[i].host;
	rcu_read_unlock();
	return host;
}

/* With more attachments than this, the tree is faster. */
#define MSHARE_FEW		8

/**
 * arch_mshare_vma_at - Find the attachment at an address.
 * @guest: The guest.
 * @addr: The address.
 *
 * A VMA enters the set before it enters the tree, and stays there until it is closed.
 * It is freed a grace period after that.  The caller locks it and then checks that it
 * is in the tree.
 *
 * Context: RCU.
 * Return: The VMA, not locked, or NULL if the set gives no answer.
 */
struct vm_area_struct *arch_mshare_vma_at(struct mm_struct *guest, unsigned long addr)
{
	struct mshare_set *set = rcu_dereference(guest->context.mshare);
	unsigned int i;

	if (!set || set->nr > MSHARE_FEW)
		return NULL;
	for (i = 0; i < set->nr; i++)
		if (addr >= set->at[i].start && addr < set->at[i].end)
			return set->at[i].vma;
	return NULL;
}

/**
 * arch_mshare_sum - Add something up over the regions attached to a guest.
 * @guest: The guest.
 * @of: What to add for the mm of a region; called under RCU.
 * @arg: For @of.
 *
 * Return: The sum.
 */
unsigned long arch_mshare_sum(struct mm_struct *guest,
			      unsigned long (*of)(struct mm_struct *host, void *arg), void *arg)
{
	struct mshare_set *set;
	unsigned long sum = 0;
	unsigned int i;

	rcu_read_lock();
	set = rcu_dereference(guest->context.mshare);
	for (i = 0; set && i < set->nr; i++)
		if (set->at[i].first)
			sum += of(set->at[i].host, arg);
	rcu_read_unlock();
	return sum;
}
