// SPDX-License-Identifier: GPL-2.0
/*
 * mshare - PTE tables that are freed while the region is in use
 *
 * All objects are shared mappings of files.  A fault makes every entry again from the page
 * cache, so the PTE tables of a region are a cache, too.  A table is freed if all its
 * entries are none.  Any other entry keeps it: that of a page, a migration entry, a
 * poisoned page or a marker.
 *
 * With the mmap_lock of the host held for writing, these may still use the table:
 *
 * - Faults, with the lock of the object.  This code must not wait for that lock: the fault
 *   may be what needs memory.  A fault adds an entry under the lock of the PTE table, after
 *   it has seen there that the PMD entry is unchanged, or that the PTE is unchanged and not
 *   none.  Only the PMD entry of an empty table is cleared, under the locks of both tables.
 *   So the fault comes first and the table stays, or it finds no table and starts again.
 * - Readers without a lock.  They are in an RCU read-side critical section, and the table
 *   is freed a grace period later.
 * - The hardware, and gup_fast.  The grace period begins after a flush of the host with
 *   freed_tables.  Until then a CPU may walk the old table even if there is a new one.  It
 *   finds nothing there, and its fault makes it look again.
 *
 * Documentation/mm/mshare.rst lists all other users.
 */
#include <linux/fs.h>
#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/mm_inline.h>
#include <linux/pagewalk.h>
#include <linux/pgalloc.h>
#include <linux/rcupdate.h>
#include <linux/shmem_fs.h>
#include <linux/swap.h>
#include <asm/tlb.h>
#include <trace/events/mshare.h>

#include "mshare.h"
#include "vma.h"

/* Of all regions since boot. */
atomic_long_t mshare_tables_dropped;
atomic_long_t mshare_tables_reclaimed;

/**
 * struct mshare_freeing - A walk that looks for tables that can be freed.
 */
struct mshare_freeing {
	/** @tlb: For the flush of the host. */
	struct mmu_gather tlb;
	/** @tables: The tables found, by ptdesc::pt_list; no PMD entry points to them now. */
	struct list_head *tables;
	/** @freed: Their number. */
	unsigned long freed;
	/** @left: How many tables it may still look at. */
	unsigned long left;
	/** @next: The end of the last table, in the host mm. */
	unsigned long next;
	/** @idle: The walk also takes tables that are not in use. */
	bool idle;
};

static void mshare_count_tables(struct mshare_region *region, unsigned long start,
				unsigned long end, unsigned long nr, bool reclaim)
{
	if (!nr)
		return;
	atomic_long_add(nr, reclaim ? &region->tables_reclaimed : &region->tables_dropped);
	atomic_long_add(nr, reclaim ? &mshare_tables_reclaimed : &mshare_tables_dropped);
	trace_mshare_free_tables(region, start - MSHARE_HOST_START, end - start, nr, reclaim);
}

/* Are all entries of the table none?  Without its lock the answer may soon be wrong. */
static bool mshare_table_empty(pmd_t *pmd, unsigned long start)
{
	pte_t *pte = pte_offset_map(pmd, start);
	unsigned int i;

	if (!pte)
		return false;
	/* For sparse: pte_unmap() releases what pte_offset_map() has taken out of line. */
	__acquire(RCU);
	for (i = 0; i < PTRS_PER_PTE; i++)
		if (!pte_none(ptep_get(pte + i)))
			break;
	pte_unmap(pte);
	return i == PTRS_PER_PTE;
}

/* Takes the table away from *@pmd if it is empty. */
static void mshare_take_table(struct mm_struct *mm, pmd_t *pmd, unsigned long start,
			      struct mshare_freeing *freeing)
{
	spinlock_t *pml, *ptl;
	pmd_t old;

	mmap_assert_write_locked(mm);

	pml = pmd_lock(mm, pmd);
	/* Any change or removal of the entry waits for pml. */
	old = pmdp_get(pmd);
	if (!pmd_present(old) || pmd_leaf(old)) {
		spin_unlock(pml);
		return;
	}
	ptl = pte_lockptr(mm, &old);
	spin_lock_nested(ptl, SINGLE_DEPTH_NESTING);
	if (mshare_table_empty(pmd, start)) {
		pmd_clear(pmd);
		mm_dec_nr_ptes(mm);
		/* One address: a paging-structure cache has the whole table or nothing. */
		tlb_flush_pmd_range(&freeing->tlb, start, PAGE_SIZE);
		freeing->tlb.freed_tables = 1;
		list_add(&page_ptdesc(pmd_pgtable(old))->pt_list, freeing->tables);
		freeing->freed++;
	}
	spin_unlock(ptl);
	spin_unlock(pml);
}

/*
 * Has no CPU walked the table since the last look?  The accessed bit of the PMD entry
 * tells.  Those of the pages are left for reclaim.  As in folio_referenced(), there is no
 * flush: the aim is to find tables that are not used at all.
 */
static bool mshare_table_idle(struct vm_area_struct *vma, pmd_t *pmd, unsigned long start)
{
	spinlock_t *pml = pmd_lock(vma->vm_mm, pmd);
	pmd_t entry = pmdp_get(pmd);
	bool idle;

	idle = pmd_present(entry) && !pmd_leaf(entry) &&
	       !pmdp_test_and_clear_young(vma, start, pmd);
	spin_unlock(pml);
	return idle;
}

/* Does the table, which @vma covers, have entries of pages only? */
static bool mshare_table_has_pages(struct vm_area_struct *vma, pmd_t *pmd, unsigned long start)
{
	spinlock_t *ptl = NULL;
	pte_t *first, *pte;
	unsigned long addr;
	bool pages = true;

	first = pte_offset_map_lock(vma->vm_mm, pmd, start, &ptl);
	if (!first)
		return false;
	__acquire(RCU);
	for (pte = first, addr = start; pages && addr < start + PMD_SIZE; addr += PAGE_SIZE) {
		pte_t entry = ptep_get(pte++);

		/* Otherwise it is migrating or poisoned, or its page is not counted. */
		pages = pte_none(entry) ||
			(pte_present(entry) && vm_normal_folio(vma, addr, entry));
	}
	pte_unmap_unlock(first, ptl);
	return pages;
}

/*
 * May the table that maps 2 MiB from @start on be emptied?  Only if @vma covers all of it.
 * The memory of shmem stays when nothing maps it any more, but the OOM killer would not
 * count it for the processes that keep the region.
 */
static bool mshare_may_empty(struct vm_area_struct *vma, unsigned long start)
{
	return range_in_vma(vma, start, start + PMD_SIZE) && !(vma->vm_flags & VM_LOCKED) &&
	       !shmem_file(vma->vm_file);
}

/* Empties the table as MADV_DONTNEED does if it is not in use, and takes it if it is empty. */
static int mshare_table_entry(pmd_t *pmd, unsigned long addr, unsigned long next,
			      struct mm_walk *walk)
{
	struct mshare_freeing *freeing = walk->private;
	struct vm_area_struct *vma = walk->vma;

	addr &= PMD_MASK;
	if (freeing->idle && mshare_may_empty(vma, addr) && mshare_table_idle(vma, pmd, addr) &&
	    mshare_table_has_pages(vma, pmd, addr))
		zap_vma_range_batched(&freeing->tlb, vma, addr, PMD_SIZE, NULL);
	/* Most tables are not empty, and need no lock. */
	if (mshare_table_empty(pmd, addr))
		mshare_take_table(vma->vm_mm, pmd, addr, freeing);
	freeing->next = addr + PMD_SIZE;
	return !--freeing->left;
}

static const struct mm_walk_ops mshare_table_ops = {
	.pmd_entry	= mshare_table_entry,
	.walk_lock	= PGWALK_RDLOCK,
};

/* Takes tables, with the mmap_lock held for writing.  Returns 1 if it may look at no more. */
static int mshare_take_tables(struct mm_struct *mm, unsigned long start, unsigned long end,
			      struct mshare_freeing *freeing)
{
	int more;

	tlb_gather_mmu(&freeing->tlb, mm);
	more = walk_page_range(mm, start, end, &mshare_table_ops, freeing);
	tlb_finish_mmu(&freeing->tlb);
	return more;
}

static void mshare_free_table_rcu(struct rcu_head *head)
{
	struct ptdesc *table = container_of(head, struct ptdesc, pt_rcu_head);

	pte_free(NULL, ptdesc_page(table));
}

/**
 * mshare_put_tables - Free tables that no CPU walks any more.
 * @tables: The tables, by ptdesc::pt_list.
 * @wait: Wait until they are free.
 */
void mshare_put_tables(struct list_head *tables, bool wait)
{
	struct ptdesc *table, *next;

	if (list_empty(tables))
		return;
	/* For readers without a lock, which do not wait for memory. */
	if (wait)
		synchronize_rcu_expedited();
	list_for_each_entry_safe(table, next, tables, pt_list) {
		if (wait)
			pte_free(NULL, ptdesc_page(table));
		else
			call_rcu(&table->pt_rcu_head, mshare_free_table_rcu);
	}
}

/**
 * mshare_free_tables - Free the empty PTE tables of a range.
 * @region: The region; no lock of it is held.
 * @start: Start of the range, in the host mm.
 * @end: End of the range.  Tables that are not completely in the range stay.
 *
 * The tables are freed after a grace period, but no longer counted when this returns.
 *
 * Return: 0; or -EINTR if the task was killed, with some of the tables freed.
 */
int mshare_free_tables(struct mshare_region *region, unsigned long start, unsigned long end)
{
	struct mm_struct *mm = region->mm;
	unsigned long next;

	end = ALIGN_DOWN(end, PMD_SIZE);
	for (start = ALIGN(start, PMD_SIZE); start < end; start = next) {
		LIST_HEAD(tables);
		struct mshare_freeing freeing = { .tables = &tables, .left = ULONG_MAX };

		/* GiB by GiB, as in other walks: all users share the lock. */
		next = min(end, ALIGN(start + 1, PUD_SIZE));
		if (mmap_write_lock_killable(mm))
			return -EINTR;
		mshare_take_tables(mm, start, next, &freeing);
		mmap_write_unlock(mm);
		mshare_put_tables(&tables, false);
		mshare_count_tables(region, start, next, freeing.freed, false);
		cond_resched();
	}
	return 0;
}

/* This many tables are worth the mmap_lock.  It is held for at most twice as many. */
#define MSHARE_SHRINK_BATCH	32UL

/* And for this much of a region, as there may be many PMD entries without a table. */
#define MSHARE_SHRINK_RANGE	SZ_1T

/*
 * One turn in this many also takes tables that are not in use.  A table that is emptied and
 * still needed comes back only partly full, so frequent turns of this kind make more tables.
 */
#define MSHARE_SHRINK_TURNS	16

/* In ms: how long the shrinker pauses when two such turns have taken nothing. */
#define MSHARE_SHRINK_PAUSE	20

/* A trylock variant of mmap_write_lock(), which no other code needs. */
static bool mshare_mmap_write_trylock(struct mm_struct *mm)
{
	if (!down_write_trylock(&mm->mmap_lock))
		return false;
	mm_lock_seqcount_begin(mm);
	return true;
}

/* Looks at freeing->left tables, starting where the last call ended. */
static void mshare_go_on(struct mshare_region *region, struct mshare_freeing *freeing)
{
	unsigned long start = max(region->shrink_next, MSHARE_HOST_START);
	unsigned long last = MSHARE_HOST_START + region->size;
	unsigned long end = min(last, start + MSHARE_SHRINK_RANGE);
	struct mm_struct *mm = region->mm;
	bool more = false;

	freeing->idle = region->shrink_turn % MSHARE_SHRINK_TURNS == MSHARE_SHRINK_TURNS - 1;
	/* Without a user, exit_mmap() has run or is about to wait for the lock. */
	if (start < end && atomic_read(&mm->mm_users))
		more = mshare_take_tables(mm, start, end, freeing);
	if (!more && end < last) {
		freeing->next = end;
		more = true;
	}
	region->shrink_next = more ? freeing->next : 0;
	if (freeing->freed)
		WRITE_ONCE(region->shrink_vain, 0);
	else if (!more)
		WRITE_ONCE(region->shrink_vain, region->shrink_vain + 1);
	if (!more) {
		region->shrink_turn++;
		WRITE_ONCE(region->shrink_ended, jiffies);
	}
	mshare_count_tables(region, start, end, freeing->freed, true);
}

/**
 * mshare_shrink_in_vain - Is it too early to look at the tables of a region again?
 * @region: The region; the caller has a reference to the mm.
 *
 * Before memory counts as used up, reclaim asks for all objects many times, in a few thousand
 * calls each time.
 *
 * Return: true if enough turns to take any table that can be taken have taken none, and the
 * last of them has just ended.
 */
bool mshare_shrink_in_vain(const struct mshare_region *region)
{
	return READ_ONCE(region->shrink_vain) >= 2 * MSHARE_SHRINK_TURNS &&
	       time_before(jiffies, READ_ONCE(region->shrink_ended) +
				    msecs_to_jiffies(MSHARE_SHRINK_PAUSE));
}

/**
 * mshare_shrink_tables - Take some PTE tables of a region because memory is short.
 * @region: The region; the caller may hold any of its locks, and has a reference to the mm.
 * @nr: How many bytes of tables to look at, in addition to those that are still due.
 * @tables: The tables are added here, for mshare_put_tables().
 *
 * Does nothing until a batch is due.  It goes through the region in turns.  All of them take
 * the empty tables, and one in sixteen also takes those that were not used since the last
 * such turn.
 *
 * One task at a time looks at the tables of a region, and others wait for it.  They may find
 * that it has done what was due.
 *
 * A turn is not a measure of time.  With much to reclaim, one call of the shrinker makes
 * several.
 *
 * Return: The number of tables taken, 0 also if the mmap_lock was not available.
 */
unsigned long mshare_shrink_tables(struct mshare_region *region, unsigned long nr,
				   struct list_head *tables)
{
	struct mshare_freeing freeing = { .tables = tables };
	struct mm_struct *mm = region->mm;
	unsigned long due, batch;

	due = atomic_long_add_return(nr, &region->shrink_due);
	/* For a small region, a quarter of its tables is enough. */
	batch = clamp(mm_pgtables_bytes(mm) / PAGE_SIZE / 4, 1UL, MSHARE_SHRINK_BATCH);
	if (due < batch * PAGE_SIZE)
		return 0;
	/*
	 * Safe with any lock of the region held: inside, nothing sleeps for a lock, and the
	 * mmap_lock is only tried.  Without this wait, the others would go on evicting pages
	 * and leave the task that looks a small part of the processors.
	 */
	mutex_lock(&region->shrink_lock);
	if (atomic_long_read(&region->shrink_due) >= batch * PAGE_SIZE &&
	    mshare_mmap_write_trylock(mm)) {
		due = atomic_long_xchg(&region->shrink_due, 0);
		freeing.left = min(due / PAGE_SIZE, 2 * MSHARE_SHRINK_BATCH);
		mshare_go_on(region, &freeing);
		mmap_write_unlock(mm);
	}
	mutex_unlock(&region->shrink_lock);
	return freeing.freed;
}
