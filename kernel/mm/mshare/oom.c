// SPDX-License-Identifier: GPL-2.0
/*
 * mshare - the out-of-memory killer: what it counts, what its victims release
 */
#include <linux/oom.h>
#include <linux/ratelimit.h>
#include <linux/rculist.h>
#include <linux/sched/signal.h>
#include <linux/shmem_fs.h>

#include "mshare.h"
#include "vma.h"

/* Pages in the swap behind @vma; those of the whole file if it is mapped in parts. */
static unsigned long mshare_object_swap(struct vm_area_struct *vma)
{
	if (!shmem_file(vma->vm_file))
		return 0;
	return min(READ_ONCE(SHMEM_I(file_inode(vma->vm_file))->swapped), vma_pages(vma));
}

/*
 * If there are very many objects, only the swap of the first ones counts: they are
 * inspected for each process that is attached, in atomic context.
 */
#define MSHARE_OOM_OBJECTS	1000

/*
 * Pages that are freed with @region: resident, swapped and page tables.  Subtracts
 * from *@objects the number of objects whose swap it counts.
 */
static unsigned long mshare_region_pages(const struct mshare_region *region,
					 unsigned int *objects)
{
	struct mm_struct *mm = region->mm;
	struct vm_area_struct *vma;
	unsigned long pages;
	struct vma_iterator vmi;

	pages = get_mm_rss_sum(mm) + mm_pgtables_bytes(mm) / PAGE_SIZE;
	/* Nothing here may wait: the holder of the lock may be waiting for memory. */
	if (*objects && mmap_read_trylock(mm)) {
		vma_iter_init(&vmi, mm, 0);
		for_each_vma(vmi, vma) {
			if (!*objects)
				break;
			--*objects;
			pages += mshare_object_swap(vma);
		}
		mmap_read_unlock(mm);
	}
	return pages;
}

/* The pages that count for each attached process; an owned region counts for its owner only. */
static unsigned long mshare_shared_pages(struct mm_struct *host, void *objects)
{
	return host->mshare->owned ? 0 : mshare_region_pages(host->mshare, objects);
}

/**
 * mshare_badness - Count the regions that a process keeps.
 * @task: A task of it, with task_lock() and an mm.
 *
 * Counts each attached region in full: holders must be chosen before
 * bystanders, one after the other until the memory is free.  A region that
 * ends with its owner counts for the owner alone.
 *
 * Context: Does not sleep.
 * Return: The number of pages.
 */
unsigned long mshare_badness(struct task_struct *task)
{
	unsigned int objects = MSHARE_OOM_OBJECTS;
	struct mshare_region *region;
	unsigned long pages;

	pages = arch_mshare_sum(task->mm, mshare_shared_pages, &objects);
	rcu_read_lock();
	hlist_for_each_entry_rcu(region, &task->signal->mshare_owned, owner)
		pages += mshare_region_pages(region, &objects);
	rcu_read_unlock();
	return pages;
}

/* Detaches all regions from an mm that no task runs on any more. */
static void mshare_detach_all(struct mm_struct *mm)
{
	struct vm_area_struct *vma;
	unsigned long addr = 0;
	struct vma_iterator vmi;
	struct file *file;
	int err = 0;

	while (!err) {
		mmap_write_lock(mm);
		vma_iter_init(&vmi, mm, addr);
		for_each_vma(vmi, vma)
			if (vma_is_mshare(vma))
				break;
		if (!vma) {
			mmap_write_unlock(mm);
			return;
		}
		addr = vma->vm_end;
		/* A seal does not outlive the process. */
		vm_flags_clear(vma, VM_SEALED);
		file = get_file(vma->vm_file);
		/* If there is no memory for this, exit_mmap() will do it. */
		err = do_munmap(mm, vma->vm_start, vma->vm_end - vma->vm_start, NULL);
		mmap_write_unlock(mm);
		/* Synchronously: this may free the memory. */
		__fput_sync(file);
	}
}

/**
 * mshare_exit_mm - mmput() for a task that exits.
 * @mm: Its former mm.
 *
 * A process that the OOM killer has chosen releases its regions first.  exit_mmap()
 * releases them at its end.  Long before that, it has told the OOM killer that it may
 * choose another process if memory is still short.
 *
 * Context: Sleeps.  With no lock: this may free regions.
 */
void mshare_exit_mm(struct mm_struct *mm)
{
	if (unlikely(tsk_is_oom_victim(current)) && arch_mshare_attached(mm)) {
		/* Other threads may still have robust mutexes there to mark. */
		if (atomic_add_unless(&mm->mm_users, -1, 1))
			return;
		mshare_detach_all(mm);
	}
	mmput(mm);
}

/**
 * mshare_oom_quiet - Suppress the report if a full cgroup has no task to kill?
 * @memcg: The cgroup, or NULL if memory itself is short.
 *
 * With regions, one cgroup pays for the faults of others.  Such a fault fails for a task
 * that is not in that cgroup or must not be chosen, and may be repeated without end.
 * Reports about charges of other kinds are as they were.
 *
 * Return: true to suppress the report.
 */
bool mshare_oom_quiet(struct mem_cgroup *memcg)
{
#ifdef CONFIG_MEMCG
	static DEFINE_RATELIMIT_STATE(rs, DEFAULT_RATELIMIT_INTERVAL, DEFAULT_RATELIMIT_BURST);
	bool member;

	/* A task that charges its own cgroup is reported as usual. */
	if (!memcg || !current->mshare_guest)
		return false;
	rcu_read_lock();
	member = mem_cgroup_is_descendant(mem_cgroup_from_task(current), memcg);
	rcu_read_unlock();
	return !member || !__ratelimit(&rs);
#else
	return false;
#endif
}
