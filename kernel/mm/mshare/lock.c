// SPDX-License-Identifier: GPL-2.0
/*
 * mshare - locks of objects: how a change waits for the faults in them
 *
 * A fault that waits for a device, or for a frozen file system, holds the lock of its
 * object and no other lock of the host mm.  A change of that object must wait for the
 * fault.  vma_start_write() would wait with the host's mmap_lock held, and everything
 * that uses the region would wait for that lock, and could not be killed.
 *
 * Therefore a change takes no lock of an object that it would have to wait for.  It drops
 * the mmap_lock, waits, and looks again.  Meanwhile it bars those objects to new faults;
 * otherwise there might always be another one.
 */
#include <linux/maple_tree.h>
#include <linux/mm.h>
#include <linux/rcuwait.h>

#include "mshare.h"
#include "vma.h"

/*
 * A fault that leaves an object wakes the change that waits for it.  But
 * lock_vma_under_rcu() may also lock a VMA for a moment, and wake nobody.
 */
#define MSHARE_LOOK_AGAIN	(HZ / 10)

/**
 * struct mshare_change - A change that waits for faults in its objects.
 */
struct mshare_change {
	/** @node: In mshare_region::changes, if it ever waited; under gate.lock. */
	struct list_head node;
	/** @start: Start of the barred range, a host address; under gate.lock. */
	unsigned long start;
	/** @end: End of the barred range; under gate.lock. */
	unsigned long end;
	/** @wait: The task. */
	struct rcuwait wait;
};

/* Called by mshare_barred() if there are changes. */
bool __mshare_barred(struct mshare_region *region, unsigned long address)
{
	struct mshare_change *change;
	bool barred = false;

	/* There is nothing to wait for: each access gets SIGBUS. */
	if (READ_ONCE(region->dead))
		return false;
	spin_lock_irq(&region->gate.lock);
	list_for_each_entry(change, &region->changes, node)
		barred |= address >= change->start && address < change->end;
	spin_unlock_irq(&region->gate.lock);
	return barred;
}

/* Called by mshare_left() if there are changes. */
void __mshare_left(struct mshare_region *region, unsigned long address)
{
	struct mshare_change *change;

	spin_lock_irq(&region->gate.lock);
	list_for_each_entry(change, &region->changes, node)
		if (!address || (address >= change->start && address < change->end))
			rcuwait_wake_up(&change->wait);
	spin_unlock_irq(&region->gate.lock);
}

/**
 * mshare_await_change - Wait until no change bars an object.
 * @region: The region; no lock of it is held, nor that of the guest if it may be dropped.
 * @address: In the object, in the host mm.
 *
 * Ends early if the task is killed.
 */
void mshare_await_change(struct mshare_region *region, unsigned long address)
{
	wait_event_killable(region->gate, !mshare_barred(region, address));
}

/* Could @next be merged with @vma, which would lock it? */
static bool mshare_mergeable(const struct vm_area_struct *vma,
			     const struct vm_area_struct *next)
{
	return vma && vma->vm_end == next->vm_start && vma->vm_file == next->vm_file;
}

/*
 * Locks the objects that a change of the range locks, until the mmap_lock is dropped.
 * Returns the first one that a fault holds, or NULL, and sets *@from to the start of
 * the first one of all.
 */
static struct vm_area_struct *mshare_lock_objects(struct mm_struct *mm, unsigned long start,
						  unsigned long end, unsigned long *from)
{
	struct vm_area_struct *vma, *prev;
	struct vma_iterator vmi;

	mmap_assert_write_locked(mm);
	if (start >= end)
		return NULL;
	vma_iter_init(&vmi, mm, start);
	vma = vma_find(&vmi, end);
	if (!vma)
		return NULL;
	*from = vma->vm_start;
	prev = vma_prev(&vmi);
	if (mshare_mergeable(prev, vma)) {
		*from = prev->vm_start;
		if (!mshare_vma_try_start_write(prev))
			return prev;
	}
	/* Forward again, from the one in front of the range. */
	for_each_vma(vmi, vma) {
		if (vma->vm_start > end ||
		    (vma->vm_start == end && !mshare_mergeable(prev, vma)))
			break;
		if (!mshare_vma_try_start_write(vma))
			return vma;
		prev = vma;
	}
	return NULL;
}

/* Does a fault, or another task, hold the lock of the object at @address? */
static bool mshare_busy(struct mm_struct *mm, unsigned long address)
{
	MA_STATE(mas, &mm->mm_mt, address, address);
	struct vm_area_struct *vma;
	bool busy;

	rcu_read_lock();
	vma = mas_walk(&mas);
	busy = vma && mshare_vma_busy(vma);
	rcu_read_unlock();
	return busy;
}

/*
 * Waits until no task holds the lock of the object at @address.  Pairs with mshare_left():
 * this side publishes the change and then reads the lock, that side drops the lock and
 * then looks for changes.
 */
static int mshare_await_faults(struct mm_struct *mm, unsigned long address,
			       struct mshare_change *change)
{
	long ret;

	do
		ret = rcuwait_wait_event_timeout(&change->wait, !mshare_busy(mm, address),
						 TASK_KILLABLE, MSHARE_LOOK_AGAIN);
	while (!ret);
	return ret < 0 ? -EINTR : 0;
}

/* Bars the range from @start to @end, and the range that was barred before. */
static void mshare_bar(struct mshare_region *region, struct mshare_change *change,
		       unsigned long start, unsigned long end)
{
	spin_lock_irq(&region->gate.lock);
	if (list_empty(&change->node))
		list_add_tail(&change->node, &region->changes);
	change->start = min(change->start, start);
	change->end = max(change->end, end);
	spin_unlock_irq(&region->gate.lock);
}

static void mshare_unbar(struct mshare_region *region, struct mshare_change *change)
{
	if (list_empty(&change->node))
		return;
	spin_lock_irq(&region->gate.lock);
	list_del(&change->node);
	spin_unlock_irq(&region->gate.lock);
	wake_up_all(&region->gate);
}

/**
 * mshare_write_lock - Take the mmap_lock to change a range of addresses.
 * @mm: Any mm.
 * @start: Start of the range.
 * @end: End of the range; may be no more than @start: then it is empty.
 *
 * In a host mm, also locks the objects in the range, and those they may be merged
 * with.  The mmap_lock is not held while this waits for a fault.
 *
 * Return: 0; or -EINTR if the task was killed, with nothing locked.
 */
int mshare_write_lock(struct mm_struct *mm, unsigned long start, unsigned long end)
{
	struct mshare_region *region = mm->mshare;
	struct mshare_change change = {
		.node = LIST_HEAD_INIT(change.node), .start = ULONG_MAX,
	};
	struct vm_area_struct *vma;
	unsigned long first, busy;
	int err;

	if (!region)
		return mmap_write_lock_killable(mm);
	for (;;) {
		err = mmap_write_lock_killable(mm);
		if (err)
			break;
		vma = mshare_lock_objects(mm, start, end, &first);
		if (!vma) {
			/* Faults must not find a freed VMA; they set it with an object locked. */
			RCU_INIT_POINTER(region->recent, NULL);
			break;
		}
		busy = vma->vm_start;
		mshare_bar(region, &change, first, vma->vm_end);
		mmap_write_unlock(mm);
		err = mshare_await_faults(mm, busy, &change);
		if (err)
			break;
	}
	mshare_unbar(region, &change);
	return err;
}
