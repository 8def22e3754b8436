// SPDX-License-Identifier: GPL-2.0
/*
 * mshare - PTE tables that are freed while the region is in use
 *
 * All objects are shared mappings of files, so a fault makes every entry again from the
 * page cache: the PTE tables of a region are a cache.  A table is freed if all its
 * entries are none.  Entries of any other kind keep it: those of pages, and those of
 * migration, poisoned pages or markers.
 *
 * With the mmap_lock of the host and the i_mmap_rwsem of the object held for writing, these
 * may still use the table:
 *
 * - Faults, with the lock of the object.  Nobody could wait for that here: the fault may be
 *   what needs memory.  A fault adds an entry under the lock of the table, once it has seen
 *   there that the PMD entry is the same, or that the entry is the same and not none.  The
 *   PMD entry is cleared under both locks, of empty tables only.  So the fault is earlier
 *   and the table stays, or it finds no table and starts again.
 * - Readers without a lock.  They are in an RCU read-side critical section, and the table
 *   is freed a grace period later.
 * - The hardware, and gup_fast.  The grace period begins after a flush of the host with
 *   freed_tables.  Until then a CPU may walk the old table beside a new one; it finds
 *   nothing there, and its fault makes it look again.
 *
 * Documentation/mm/mshare.rst lists everyone else.
 */
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/pagewalk.h>
#include <linux/pgalloc.h>
#include <linux/rcupdate.h>
#include <asm/tlb.h>

#include "mshare.h"

/**
 * struct mshare_freeing - Tables that are about to be freed.
 */
struct mshare_freeing {
	/** @tlb: For the flush of the host. */
	struct mmu_gather tlb;
	/** @tables: By ptdesc::pt_list; no PMD entry points to them any more. */
	struct list_head tables;
};

/* Are all entries of the table none?  Without its lock the answer may soon be wrong. */
static bool mshare_table_empty(pmd_t *pmd, unsigned long start)
{
	pte_t *pte = pte_offset_map(pmd, start);
	unsigned int i;

	if (!pte)
		return false;
	/* For sparse: pte_unmap() gives back what pte_offset_map() has taken out of line. */
	__acquire(RCU);
	for (i = 0; i < PTRS_PER_PTE; i++)
		if (!pte_none(ptep_get(pte + i)))
			break;
	pte_unmap(pte);
	return i == PTRS_PER_PTE;
}

/* Takes the table away from *@pmd if it is empty. */
static void mshare_take_table(struct vm_area_struct *vma, pmd_t *pmd, unsigned long start,
			      struct mshare_freeing *freeing)
{
	struct mm_struct *mm = vma->vm_mm;
	spinlock_t *pml, *ptl;
	pmd_t old;

	mmap_assert_write_locked(mm);
	i_mmap_assert_write_locked(vma->vm_file->f_mapping);

	pml = pmd_lock(mm, pmd);
	/* Whoever changes it from now on waits for pml, and whoever removes it is locked out. */
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
		list_add(&page_ptdesc(pmd_pgtable(old))->pt_list, &freeing->tables);
	}
	spin_unlock(ptl);
	spin_unlock(pml);
}

static int mshare_table_entry(pmd_t *pmd, unsigned long addr, unsigned long next,
			      struct mm_walk *walk)
{
	struct address_space *mapping = walk->vma->vm_file->f_mapping;

	/* Most tables are not empty, and need no lock. */
	addr &= PMD_MASK;
	if (!mshare_table_empty(pmd, addr))
		return 0;
	i_mmap_lock_write(mapping);
	mshare_take_table(walk->vma, pmd, addr, walk->private);
	i_mmap_unlock_write(mapping);
	return 0;
}

static const struct mm_walk_ops mshare_table_ops = {
	.pmd_entry	= mshare_table_entry,
	.walk_lock	= PGWALK_RDLOCK,
};

static void mshare_free_table_rcu(struct rcu_head *head)
{
	struct ptdesc *table = container_of(head, struct ptdesc, pt_rcu_head);

	pte_free(NULL, ptdesc_page(table));
}

/* No CPU uses the tables, but there may be readers under RCU. */
static void mshare_free_later(struct list_head *tables)
{
	struct ptdesc *table, *next;

	list_for_each_entry_safe(table, next, tables, pt_list)
		call_rcu(&table->pt_rcu_head, mshare_free_table_rcu);
}

/**
 * mshare_free_tables - Free the empty PTE tables of a range.
 * @region: The region; no lock of it is held.
 * @start: Start of the range, in the host mm.
 * @end: End of the range.  Tables that are not completely in the range stay.
 *
 * They are freed after a grace period, but no longer counted when this returns.
 *
 * Return: 0; or -EINTR if the task was killed, with some of the tables freed.
 */
int mshare_free_tables(struct mshare_region *region, unsigned long start, unsigned long end)
{
	struct mshare_freeing freeing = { .tables = LIST_HEAD_INIT(freeing.tables) };
	struct mm_struct *mm = region->mm;
	unsigned long next;

	end = ALIGN_DOWN(end, PMD_SIZE);
	for (start = ALIGN(start, PMD_SIZE); start < end; start = next) {
		/* As for other walks: all users share the lock. */
		next = min(end, ALIGN(start + 1, PUD_SIZE));
		if (mmap_write_lock_killable(mm))
			return -EINTR;
		tlb_gather_mmu(&freeing.tlb, mm);
		walk_page_range(mm, start, next, &mshare_table_ops, &freeing);
		tlb_finish_mmu(&freeing.tlb);
		mmap_write_unlock(mm);
		mshare_free_later(&freeing.tables);
		INIT_LIST_HEAD(&freeing.tables);
		cond_resched();
	}
	return 0;
}
