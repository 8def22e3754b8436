// SPDX-License-Identifier: GPL-2.0
/*
 * mshare - owners: a region that ends with the process that created it
 */
#include <linux/file.h>
#include <linux/hugetlb.h>
#include <linux/oom.h>
#include <linux/sched/signal.h>
#include <linux/futex.h>

#include "mshare.h"
#include "vma.h"

/* Memory */

/*
 * An object's file that belongs to the region, to be truncated without a lock of
 * the host mm: write(2) from an attachment takes those below the file's locks.
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
	if (vma && vma->vm_file->private_data == region &&
	    (wait || !is_vm_hugetlb_page(vma)))
		file = get_file(vma->vm_file);
	if (wait)
		mmap_read_unlock(mm);
	else if (vma)
		vma_end_read(vma);
	return file;
}

/*
 * Frees the memory of anonymous objects.  With @wait, it waits for objects that are being
 * changed.  Otherwise it skips them, so that no lock of the host can delay it.  It also skips
 * huge pages of hugetlbfs then, which do not help if memory is short.
 */
static void mshare_truncate_objects(struct mshare_region *region, bool wait)
{
	struct mm_struct *mm = region->mm;
	unsigned long addr = MSHARE_HOST_START;

	for (;;) {
		MA_STATE(mas, &mm->mm_mt, addr, addr);
		struct vm_area_struct *vma;
		struct file *file;
		int err;

		rcu_read_lock();
		vma = mas_find(&mas, ULONG_MAX);
		if (vma)
			addr = mas.index;
		rcu_read_unlock();
		if (!vma)
			break;
		file = mshare_own_file(region, addr, wait);
		if (file) {
			err = do_truncate(file_mnt_idmap(file), file->f_path.dentry, 0, 0, NULL);
			/* A task that is being killed does not wait: mshare_reap() does. */
			WARN_ON_ONCE(err && err != -EINTR);
			fput(file);
		}
		addr = mas.last + 1;
		cond_resched();
	}
}

/* Sleepers */

/* Files that are searched for in one pass over all sleepers. */
#define MSHARE_GONE_FILES	64

/**
 * struct mshare_gone - Memory that is gone, as the keys of futexes identify it.
 * @host: The mm of the region.
 * @nr: Number of @files.
 * @files: i_sequence of files that are objects.
 */
struct mshare_gone {
	const struct mm_struct *host;
	unsigned int nr;
	u64 files[MSHARE_GONE_FILES];
};

/* Does @key lead to memory that is gone?  Its waiter keeps its mm. */
static bool mshare_key_is_gone(const union futex_key *key, void *arg)
{
	const struct mshare_gone *gone = arg;
	unsigned int i;

	if (key->both.offset & FUT_OFF_INODE) {
		for (i = 0; i < gone->nr; i++)
			if (gone->files[i] == key->shared.i_seq)
				return true;
		return false;
	}
	/* In private memory, or FUTEX_PRIVATE_FLAG. */
	return !(key->both.offset & FUT_OFF_MMSHARED) &&
	       arch_mshare_host_at(key->private.mm, key->private.address) == gone->host;
}

/*
 * Wakes the sleepers in futexes of a dead region, all translations of which are
 * gone.  If a file is also mapped elsewhere, or only in part here, its sleepers
 * there are woken as well: they have to expect that of a futex.
 */
static void mshare_wake_sleepers(struct mshare_region *region)
{
	struct mshare_gone gone = { .host = region->mm };
	struct mm_struct *mm = region->mm;
	struct vm_area_struct *vma;
	struct vma_iterator vmi;
	u64 file, last = 0;

	vma_iter_init(&vmi, mm, 0);
	do {
		gone.nr = 0;
		mmap_read_lock(mm);
		for_each_vma(vmi, vma) {
			/* 0 if there never was a futex. */
			file = atomic64_read(&vma->vm_file->f_mapping->host->i_sequence);
			if (!file || file == last)
				continue;
			last = file;
			gone.files[gone.nr++] = file;
			if (gone.nr == MSHARE_GONE_FILES)
				break;
		}
		vma_iter_invalidate(&vmi);
		mmap_read_unlock(mm);
		futex_wake_gone(mshare_key_is_gone, &gone);
	} while (vma);
}

/* The end */

/**
 * mshare_reap - Free what a dead region holds.
 * @work: In the region; holds a user of the host mm.
 *
 * The first step frees memory although faults hold the host's mmap_lock while
 * they wait for memory.  The second waits for them, removes the translations
 * of file objects, and the permissions with which they could come back.  Then no
 * task can read a futex and fall asleep, and the sleepers are woken.  The last
 * finds the objects that were changing during the first; none can be added now.
 * VMAs, tables and links stay until the last put.  The flushes must be real ones
 * and the clearing atomic, because CPUs still run guests: no mmput() instead.
 */
void mshare_reap(struct work_struct *work)
{
	struct mshare_region *region = container_of(work, struct mshare_region, reap);
	struct mm_struct *mm = region->mm;
	struct vm_area_struct *vma;
	struct vma_iterator vmi;

	vma_iter_init(&vmi, mm, 0);
	wake_up_all(&region->gate);
	mshare_truncate_objects(region, false);

	/* No signal reaches a worker. */
	if (WARN_ON_ONCE(mshare_write_lock(mm, 0, ULONG_MAX)))
		mmap_write_lock(mm);
	for_each_vma(vmi, vma) {
		vma_start_write(vma);
		/* VM_MAYWRITE stays: the file's count of writers includes it. */
		vm_flags_clear(vma, VM_ACCESS_FLAGS);
		/* Code that maps without a fault, such as MADV_COLLAPSE, uses these. */
		vma_set_page_prot(vma);
		zap_vma(vma);
		cond_resched();
	}
	mmap_write_unlock(mm);
	mshare_wake_sleepers(region);
	mshare_truncate_objects(region, true);
	mmput(mm);
}

/* Does a thread of the process of @task still have its mm? */
static bool mshare_has_mm(struct task_struct *task)
{
	struct task_struct *thread;
	bool found = false;

	rcu_read_lock();
	for_each_thread(task, thread) {
		if (READ_ONCE(thread->mm)) {
			found = true;
			break;
		}
	}
	rcu_read_unlock();
	return found;
}

/**
 * mshare_owner_exit - End the regions that a process owns.
 * @task: A thread of it that exits, and has released its mm.
 *
 * Ends them for the last thread that gets here, or for several that see each other
 * gone.  Until then, each thread may have robust mutexes of the region to mark, and its
 * list of them may lead through the region.
 *
 * Only marks and queues: neither waits nor fails.  But the OOM killer wants the memory
 * of its victim before the victim is gone.
 */
void mshare_owner_exit(struct task_struct *task)
{
	struct signal_struct *signal = task->signal;
	bool victim = tsk_is_oom_victim(task);
	struct mshare_region *region;

	/*
	 * Each thread clears its mm and then looks at the others: the last to pass
	 * here sees that all of them are gone, and their additions to the list.
	 */
	smp_mb();
	if (hlist_empty(&signal->mshare_owned) || atomic_read(&signal->live) ||
	    mshare_has_mm(task))
		return;
	spin_lock(&mshare_lock);
	while (!hlist_empty(&signal->mshare_owned)) {
		region = hlist_entry(signal->mshare_owned.first, struct mshare_region, owner);
		hlist_del_init_rcu(&region->owner);
		WRITE_ONCE(region->dead, true);
		/* It was in the list, so the inode's user is there. */
		mmget(region->mm);
		if (victim)
			mmget(region->mm);
		queue_work(mshare_wq, &region->reap);
		/* There may be very many, and other tasks want the lock. */
		spin_unlock(&mshare_lock);
		if (victim) {
			mshare_truncate_objects(region, false);
			mmput(region->mm);
		}
		cond_resched();
		spin_lock(&mshare_lock);
	}
	spin_unlock(&mshare_lock);
}
