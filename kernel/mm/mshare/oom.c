// SPDX-License-Identifier: GPL-2.0
/*
 * mshare - the out-of-memory killer: what it counts, and what it waits for
 */
#include <linux/hash.h>
#include <linux/oom.h>
#include <linux/sched/signal.h>
#include <linux/shmem_fs.h>

#include "mshare.h"

/* Pages in the swap behind @vma; all of the file's if it is mapped in parts. */
static unsigned long mshare_object_swap(struct vm_area_struct *vma)
{
	if (!shmem_file(vma->vm_file))
		return 0;
	return min(READ_ONCE(SHMEM_I(file_inode(vma->vm_file))->swapped), vma_pages(vma));
}

/*
 * Of very many objects the swap of the first ones counts: they are looked at for
 * each process that is attached, under spinlocks.
 */
#define MSHARE_OOM_OBJECTS	1000

/*
 * Pages that are free when @region is: resident, swapped and page tables.  Takes
 * from *@objects those whose swap it looks at.
 */
static unsigned long mshare_region_pages(const struct mshare_region *region,
					 unsigned int *objects)
{
	struct mm_struct *mm = region->mm;
	struct vm_area_struct *vma;
	unsigned long pages;
	struct vma_iterator vmi;

	pages = get_mm_rss(mm) + mm_pgtables_bytes(mm) / PAGE_SIZE;
	/* Nothing here may wait: who holds the lock may be waiting for memory. */
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

/* What counts for whoever is attached; a region that has an owner, for nobody else. */
static unsigned long mshare_shared_pages(struct mm_struct *host, void *objects)
{
	return host->mshare->owned ? 0 : mshare_region_pages(host->mshare, objects);
}

/**
 * mshare_badness - Count the regions that a process keeps.
 * @task: A task of it, with task_lock() and an mm.
 *
 * All that are attached, each in full: holders are to be chosen before
 * bystanders, one after the other until the memory is free.  A region that an
 * owner takes with it counts for the owner alone.
 *
 * Context: Does not sleep.  Takes mshare_lock.
 * Return: The number of pages.
 */
unsigned long mshare_badness(struct task_struct *task)
{
	unsigned int objects = MSHARE_OOM_OBJECTS;
	struct mshare_region *region;
	unsigned long pages;

	pages = arch_mshare_sum(task->mm, mshare_shared_pages, &objects);
	if (hlist_empty(&task->signal->mshare_owned))
		return pages;
	spin_lock(&mshare_lock);
	hlist_for_each_entry(region, &task->signal->mshare_owned, owner)
		pages += mshare_region_pages(region, &objects);
	spin_unlock(&mshare_lock);
	return pages;
}

/*
 * The memory of a region is free a while after its last holder has ended: there
 * are a file, an inode and a grace period in between.  The OOM killer must not
 * take that for having killed in vain and go on with bystanders.  But it must not
 * wait for ever either, for a process that cannot end.
 */
#define MSHARE_OOM_PATIENCE	(2 * HZ)
#define MSHARE_OOM_CLOSE	(HZ / 10)

/* When a holder was killed, has let go, or a region was freed; in jiffies. */
static unsigned long mshare_oom_progress;
/* When a region was left without an attachment. */
static unsigned long mshare_oom_alone;
/* Regions without an inode whose memory is not free yet. */
static atomic_t mshare_oom_going = ATOMIC_INIT(0);

/*
 * Whoever attaches and detaches all the time, or makes regions, would let the OOM
 * killers of all others wait for ever.  So each cgroup that is full, and the machine,
 * waits for so long until it has not asked for a while.  Those that share an entry
 * have less patience, never more.
 */
#define MSHARE_OOM_LIMIT	(8 * HZ)
#define MSHARE_OOM_FORGET	(10 * HZ)
#define MSHARE_OOM_BITS		4

/**
 * struct mshare_oom_wait - How long an OOM killer has waited for regions.
 * @seen: When it last did, in jiffies.
 * @spent: For how many jiffies in all.
 *
 * oom_lock guards both.
 */
struct mshare_oom_wait {
	unsigned long seen;
	unsigned long spent;
};

static struct mshare_oom_wait mshare_oom_waits[1 << MSHARE_OOM_BITS];

/* May the OOM killer wait once more? */
static bool mshare_oom_may_wait(const struct oom_control *oc)
{
	struct mshare_oom_wait *wait = &mshare_oom_waits[hash_ptr(oc->memcg, MSHARE_OOM_BITS)];
	unsigned long since = jiffies - wait->seen;

	lockdep_assert_held(&oom_lock);
	wait->seen = jiffies;
	/* Reclaim in between may take long: it is no end of the wait. */
	wait->spent = since < MSHARE_OOM_FORGET ? wait->spent + min(since, HZ) : 0;
	return wait->spent < MSHARE_OOM_LIMIT;
}

/**
 * mshare_oom_mark - The OOM killer has chosen a process.
 * @mm: Of the process.
 */
void mshare_oom_mark(struct mm_struct *mm)
{
	if (arch_mshare_attached(mm))
		WRITE_ONCE(mshare_oom_progress, jiffies);
}

/**
 * mshare_oom_holds - Is a process that was killed still to be waited for?
 * @oc: Who would wait; holds oom_lock.
 * @mm: Of the process, which the OOM killer would not wait for any more.
 *
 * Return: true if it is attached to a region.
 */
bool mshare_oom_holds(const struct oom_control *oc, struct mm_struct *mm)
{
	return arch_mshare_attached(mm) &&
	       time_before(jiffies, READ_ONCE(mshare_oom_progress) + MSHARE_OOM_PATIENCE) &&
	       mshare_oom_may_wait(oc);
}

/**
 * mshare_oom_pending - Is memory of regions about to be free?
 * @oc: Who would wait; holds oom_lock.
 *
 * Return: true if the OOM killer is to wait for it.
 */
bool mshare_oom_pending(const struct oom_control *oc)
{
	/* If it has a descriptor somewhere, it stays and this was in vain. */
	unsigned long end = READ_ONCE(mshare_oom_alone) + MSHARE_OOM_CLOSE;

	if (atomic_read(&mshare_oom_going))
		end = READ_ONCE(mshare_oom_progress) + MSHARE_OOM_PATIENCE;
	return time_before(jiffies, end) && mshare_oom_may_wait(oc);
}

/* A guest has let go of a region, the @last one that was attached to it. */
void mshare_oom_detached(bool last)
{
	WRITE_ONCE(mshare_oom_progress, jiffies);
	if (last)
		WRITE_ONCE(mshare_oom_alone, jiffies);
}

/* A region has lost its inode (1), or its memory is free (-1). */
void mshare_oom_count(int going)
{
	WRITE_ONCE(mshare_oom_progress, jiffies);
	atomic_add(going, &mshare_oom_going);
}
