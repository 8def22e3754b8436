// SPDX-License-Identifier: GPL-2.0
/*
 * mshare - the host mm of a region: its tables, its cgroup, its end
 */
#include <linux/cgroup.h>
#include <linux/sched/user.h>
#include <linux/pgalloc.h>
#include <linux/user_namespace.h>

#include "mshare.h"
#include "vma.h"

static struct lock_class_key mshare_mmap_lock_key;

/**
 * mshare_host_alloc - Make the mm of a region.
 *
 * Return: An empty mm that no task runs on, or NULL.
 */
struct mm_struct *mshare_host_alloc(void)
{
	struct mm_struct *mm = mm_alloc();

	if (!mm)
		return NULL;
	/*
	 * mm_alloc() copies settings of the calling process.  Its settings for
	 * huge pages, KSM and W^X do not apply to the region, and nothing
	 * would update the owner when the creator exits.
	 */
#ifdef CONFIG_MEMCG
	WRITE_ONCE(mm->owner, NULL);
#endif
	mm_flags_clear_all(mm);
	mm->def_flags = 0;
	/*
	 * A fault holds a guest's mmap_lock and takes this one.  With a separate
	 * class, lockdep also reports any access to user memory under it.
	 */
	lockdep_set_class_and_name(&mm->mmap_lock, &mshare_mmap_lock_key,
				   "mshare_host_mmap_lock");
	return mm;
}

/* The tables of the first @slots slots stay. */
static void mshare_host_free_tables(struct mm_struct *mm, unsigned int slots)
{
	unsigned long addr, end = MSHARE_HOST_START + MSHARE_SIZE_MAX;
	unsigned long next;

	for (addr = MSHARE_HOST_START + slots * P4D_SIZE; addr < end; addr = next) {
		pgd_t *pgd = pgd_offset(mm, addr);
		p4d_t *p4d;

		next = pgd_addr_end(addr, end);
		if (pgd_none(*pgd))
			continue;
		for (; addr < next; addr += P4D_SIZE) {
			p4d = p4d_offset(pgd, addr);
			if (p4d_none(*p4d))
				continue;
			pud_free(mm, p4d_pgtable(*p4d));
			p4d_clear(p4d);
			mm_dec_nr_puds(mm);
		}
		/* With five levels: the slots that stay may be in this table. */
		if (mm_p4d_folded(mm) || slots)
			continue;
		p4d = p4d_offset(pgd, 0);
		set_pgd(pgd, __pgd(0));
		p4d_free(mm, p4d);
	}
}

/**
 * mshare_host_shrink - Undo mshare_host_grow() before the region has grown.
 * @region: The region, its mmap_lock held for writing.
 */
void mshare_host_shrink(struct mshare_region *region)
{
	mmap_assert_write_locked(region->mm);
	mshare_host_free_tables(region->mm, region->slots);
}

/**
 * mshare_host_grow - Allocate PUD tables.
 * @region: The region, its mmap_lock held for writing.
 * @slots: The number of slots that need tables; existing tables stay.
 *
 * The cgroup of the region pays.
 *
 * Return: 0, or -ENOMEM with nothing changed.
 */
int mshare_host_grow(struct mshare_region *region, unsigned int slots)
{
	struct mshare_guest caller = mshare_caller(region);
	struct mm_struct *mm = region->mm;
	unsigned int slot;
	int err = 0;

	mmap_assert_write_locked(mm);
	mshare_enter(&caller);
	for (slot = region->slots; !err && slot < slots; slot++) {
		unsigned long addr = MSHARE_HOST_START + slot * P4D_SIZE;
		p4d_t *p4d = p4d_alloc(mm, pgd_offset(mm, addr), addr);

		if (!p4d || !pud_alloc(mm, p4d, addr))
			err = -ENOMEM;
	}
	mshare_leave(&caller);
	/* No link leads there yet, and there is no object. */
	if (err)
		mshare_host_shrink(region);
	return err;
}

/**
 * mshare_mmdrop - Free the region of a host mm with the mm.
 * @mm: Any mm whose last reference went.
 *
 * By now no task is attached: each attachment holds the inode, and the inode holds
 * the mm until a grace period after the last attachment.  Does not sleep.
 */
void mshare_mmdrop(struct mm_struct *mm)
{
	struct mshare_region *region = mm->mshare;

	if (!region)
		return;
	WARN_ON_ONCE(atomic_long_read(&region->attachments));
	spin_lock(&mshare_lock);
	mshare_take_slots(region, 0);
	spin_unlock(&mshare_lock);
	/* If it was ever admitted. */
	if (region->id)
		atomic_long_dec(&mshare_nr_regions);

	mshare_host_free_tables(mm, 0);
	mm->mshare = NULL;
	free_percpu(region->faults);
	mem_cgroup_put(region->memcg);
	free_uid(region->user);
	if (mshare_is_sealed(region))
		put_user_ns(region->user_ns);
	kfree(region);
}

#ifdef CONFIG_MEMCG
/*
 * Called by mshare_memcg() if @memcg has been removed, so that its limit can no longer
 * be seen or raised.
 */
struct mem_cgroup *__mshare_memcg(struct mem_cgroup *memcg)
{
	while (memcg && css_is_dying(&memcg->css))
		memcg = parent_mem_cgroup(memcg);
	return memcg;
}

/**
 * mshare_get_memcg - mshare_memcg() for the core, which has the mm.
 * @mm: A host mm.
 *
 * Return: The memory cgroup with a reference, or NULL.
 */
struct mem_cgroup *mshare_get_memcg(struct mm_struct *mm)
{
	struct mem_cgroup *memcg = mshare_memcg(mm->mshare);

	if (memcg)
		css_get(&memcg->css);
	return memcg;
}
#endif
