// SPDX-License-Identifier: GPL-2.0
/*
 * mshare - owners: a region that dies with the process that made it
 */
#include <linux/file.h>
#include <linux/sched/signal.h>

#include "mshare.h"

/*
 * An object's file that is the region's own, to be truncated with no lock of
 * the host mm: write(2) from an attachment takes those below the file's.
 */
static struct file *mshare_own_file(struct mshare_region *region, unsigned long addr,
				    bool wait)
{
	struct mm_struct *mm = region->mm;
	struct vm_area_struct *vma;
	struct file *file = NULL;

	if (wait) {
		mmap_read_lock(mm);
		vma = vma_lookup(mm, addr);
	} else {
		vma = lock_vma_under_rcu(mm, addr);
	}
	if (vma && vma->vm_file->private_data == region)
		file = get_file(vma->vm_file);
	if (wait)
		mmap_read_unlock(mm);
	else if (vma)
		vma_end_read(vma);
	return file;
}

/**
 * mshare_truncate_objects - Take the memory of anonymous objects away.
 * @region: The region.
 * @wait: Wait for objects that change just now, else pass them by.
 *
 * Without @wait no lock can keep it waiting.
 */
void mshare_truncate_objects(struct mshare_region *region, bool wait)
{
	struct mm_struct *mm = region->mm;
	unsigned long addr = MSHARE_HOST_START;

	for (;;) {
		MA_STATE(mas, &mm->mm_mt, addr, addr);
		struct vm_area_struct *vma;
		struct file *file;

		rcu_read_lock();
		vma = mas_find(&mas, ULONG_MAX);
		if (vma)
			addr = mas.index;
		rcu_read_unlock();
		if (!vma)
			break;
		file = mshare_own_file(region, addr, wait);
		if (file) {
			WARN_ON_ONCE(do_truncate(file_mnt_idmap(file), file->f_path.dentry,
						 0, 0, NULL));
			fput(file);
		}
		addr = mas.last + 1;
		cond_resched();
	}
}

/**
 * mshare_reap - Free what a dead region holds.
 * @work: In the region; holds a user of the host mm.
 *
 * The first step frees memory although faults hold the host's mmap_lock while
 * they wait for memory.  The second waits for them, takes away the translations
 * of file objects, and the permissions with which they could come back.  The
 * third finds the objects that were changing during the first; nobody adds any
 * now.  VMAs, tables and links stay until the last put.  The flushes must be
 * real ones and the clearing atomic, for CPUs still run guests: no mmput()
 * instead.
 */
void mshare_reap(struct work_struct *work)
{
	struct mshare_region *region = container_of(work, struct mshare_region, reap);
	struct mm_struct *mm = region->mm;
	struct vm_area_struct *vma;
	struct vma_iterator vmi;

	vma_iter_init(&vmi, mm, 0);
	mshare_truncate_objects(region, false);

	mmap_write_lock(mm);
	for_each_vma(vmi, vma) {
		vma_start_write(vma);
		/* VM_MAYWRITE stays: the file's count of writers knows it. */
		vm_flags_clear(vma, VM_ACCESS_FLAGS);
		/* Who maps without a fault, as MADV_COLLAPSE does, asks for these. */
		vma_set_page_prot(vma);
		zap_vma_pages(vma);
		cond_resched();
	}
	mmap_write_unlock(mm);
	mshare_truncate_objects(region, true);
	mmput(mm);
}

/**
 * mshare_owner_exit - End the regions that a process owns.
 * @signal: Of a process whose last thread exits.
 *
 * Marks and queues only: neither waits nor fails.
 */
void mshare_owner_exit(struct signal_struct *signal)
{
	struct mshare_region *region;
	struct hlist_node *next;

	/* Only a thread of this process adds to the list. */
	if (hlist_empty(&signal->mshare_owned))
		return;
	spin_lock(&mshare_lock);
	hlist_for_each_entry_safe(region, next, &signal->mshare_owned, owner) {
		hlist_del_init(&region->owner);
		WRITE_ONCE(region->dead, true);
		/* Without a user left the region is going anyway. */
		if (mmget_not_zero(region->mm))
			queue_work(mshare_wq, &region->reap);
	}
	spin_unlock(&mshare_lock);
}
