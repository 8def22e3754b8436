// SPDX-License-Identifier: GPL-2.0
/*
 * mshare - page faults and GUP, redirected to the host mm
 */
#include <linux/mm.h>
#include <linux/oom.h>
#include <linux/perf_event.h>
#include <linux/sched/signal.h>
#include <linux/swap.h>
#include <trace/events/mshare.h>

#include "mshare.h"
#include "vma.h"

/*
 * Is @current in the cgroup that pays for @region, or below it?  Then the OOM
 * killer of that cgroup can choose it.
 */
static bool mshare_memcg_is_ours(const struct mshare_region *region)
{
#ifdef CONFIG_MEMCG
	struct mem_cgroup *memcg = mshare_memcg(region);
	bool ours;

	if (!memcg)
		return true;
	rcu_read_lock();
	ours = mem_cgroup_is_descendant(mem_cgroup_from_task(current), memcg);
	rcu_read_unlock();
	return ours;
#else
	return true;
#endif
}

/*
 * The cgroup that pays is full, and its OOM killer has found no victim.  May @current
 * fault again?  Not if it is not a candidate itself: it would spin.  If user space
 * handles OOM (cgroup v1), it may, because it will wait for that.
 */
static bool mshare_may_retry_oom(const struct mshare_region *region)
{
	if (!mshare_memcg_is_ours(region))
		return false;
	return task_in_memcg_oom(current) || oom_badness(current, 0) != LONG_MIN;
}

#ifdef CONFIG_MEMCG
/*
 * The charge may exceed the memory.high of the cgroup that pays, or of an ancestor.  The
 * core makes @current reclaim from its own cgroup for that, on its return to user space,
 * but that may be another cgroup.  Called with no lock of the host.
 */
static void __mshare_reclaim_high(const struct mshare_region *region, unsigned int nr)
{
	struct mem_cgroup *memcg = mshare_memcg(region);

	if (mshare_memcg_is_ours(region))
		return;
	for (; memcg; memcg = parent_mem_cgroup(memcg)) {
		if (page_counter_read(&memcg->memory) <= READ_ONCE(memcg->memory.high))
			continue;
		memcg_memory_event(memcg, MEMCG_HIGH);
		try_to_free_mem_cgroup_pages(memcg, nr, GFP_KERNEL, MEMCG_RECLAIM_MAY_SWAP,
					     NULL);
	}
}

static void mshare_reclaim_high(const struct mshare_region *region)
{
	unsigned int nr = current->memcg_nr_pages_over_high;

	if (unlikely(nr))
		__mshare_reclaim_high(region, nr);
}
#else
static void mshare_reclaim_high(const struct mshare_region *region)
{
}
#endif

/* As mm_account_fault() does, but with the address that @current used. */
static void mshare_account_perf(struct pt_regs *regs, unsigned long address,
				unsigned int flags, vm_fault_t ret)
{
	if (!regs)
		return;
	if ((ret & VM_FAULT_MAJOR) || (flags & FAULT_FLAG_TRIED))
		perf_sw_event(PERF_COUNT_SW_PAGE_FAULTS_MAJ, 1, regs, address);
	else
		perf_sw_event(PERF_COUNT_SW_PAGE_FAULTS_MIN, 1, regs, address);
}

/* Does an attachment, or an object, allow the access? */
static bool mshare_may_access(const struct vm_area_struct *vma, unsigned int flags)
{
	if (flags & FAULT_FLAG_WRITE)
		return vma->vm_flags & VM_WRITE;
	if (flags & FAULT_FLAG_INSTRUCTION)
		return vma->vm_flags & VM_EXEC;
	return vma->vm_flags & VM_ACCESS_FLAGS;
}

static void mshare_unlock_guest(struct mshare_guest *guest)
{
	if (guest->vma)
		vma_end_read(guest->vma);
	else
		mmap_read_unlock(guest->mm);
}

/**
 * __mshare_fault_unlock - A fault has dropped its lock of a host mm.
 * @host: The host mm.
 *
 * The fault will sleep, so it drops the lock of the guest, too.  That lock keeps the
 * region and its objects.  It is dropped after the object's lock, whose lock word is in
 * the object.  Until the fault is over, a reference to the mm keeps the region.
 */
void __mshare_fault_unlock(struct mm_struct *host)
{
	struct mshare_guest *guest = current->mshare_guest;

	mshare_left(host->mshare, 0);
	/* What the kernel does of its own accord has no guest. */
	if (!guest || guest->keep || WARN_ON_ONCE(guest->host != host || guest->unlocked))
		return;
	mmgrab(host);
	guest->unlocked = true;
	mshare_unlock_guest(guest);
}

/* The host's lock was dropped: ensures that the guest's is dropped, too. */
static void mshare_finish_unlock(struct mshare_guest *guest)
{
	if (guest->unlocked)
		mmdrop(guest->host);
	else
		mshare_unlock_guest(guest);
}

/**
 * __mshare_lock_vma - Find the VMA at an address of a guest and lock it.
 * @mm: The guest.
 * @address: The address, of a page fault.
 *
 * Return: As lock_vma_under_rcu().
 */
struct vm_area_struct *__mshare_lock_vma(struct mm_struct *mm, unsigned long address)
{
	struct vm_area_struct *vma;

	/* Normally only attachments are there. */
	if (address < MSHARE_WINDOW_START || address >= MSHARE_WINDOW_END)
		return lock_vma_under_rcu(mm, address);
	rcu_read_lock();
	vma = arch_mshare_vma_at(mm, address);
	if (vma && !mshare_vma_lock_found(mm, vma, address))
		vma = NULL;
	rcu_read_unlock();
	return vma ?: lock_vma_under_rcu(mm, address);
}

/* The same in a host.  One object is found without a walk, until the next change. */
static struct vm_area_struct *mshare_lock_recent(struct mshare_region *region,
						 unsigned long address)
{
	struct vm_area_struct *object;

	rcu_read_lock();
	object = rcu_dereference(region->recent);
	/* Locking another object would delay a change of that object. */
	if (object && (address < READ_ONCE(object->vm_start) ||
		       address >= READ_ONCE(object->vm_end) ||
		       !mshare_vma_lock_found(region->mm, object, address)))
		object = NULL;
	rcu_read_unlock();
	if (likely(object))
		return object;

	object = lock_vma_under_rcu(region->mm, address);
	/* Freeing it waits for its lock, and then clears this.  Faults do not bounce the line. */
	if (object && !rcu_access_pointer(region->recent))
		rcu_assign_pointer(region->recent, object);
	return object;
}

static void mshare_end_read(struct mshare_region *region, struct vm_area_struct *object,
			    unsigned long address)
{
	vma_end_read(object);
	mshare_left(region, address);
}

/*
 * Finds the object at @address and locks it: by its own lock, and never by the
 * mmap_lock of the host, which a fault would hold while it waits for a device.
 *
 * A caller that holds the lock of a VMA must not wait here: neither for the host's
 * mmap_lock nor for a change, because either may be waiting for that VMA.  It will come
 * again with the guest's mmap_lock, and wait then.  From an object, VM_FAULT_RETRY never
 * means that a fault wants an mmap_lock: objects have vm_ops->map_pages().
 *
 * Return: 0 with *@object locked, or NULL if there is none; else VM_FAULT_RETRY.
 */
static vm_fault_t mshare_lock_object(struct mshare_region *region, unsigned long address,
				     unsigned int flags, struct vm_area_struct **object)
{
	const unsigned int killable = FAULT_FLAG_ALLOW_RETRY | FAULT_FLAG_KILLABLE;
	struct mm_struct *host = region->mm;

	/* A fault that may not be retried passes. */
	if ((flags & FAULT_FLAG_ALLOW_RETRY) && mshare_barred(region, address)) {
		if (!(flags & FAULT_FLAG_VMA_LOCK)) {
			__mshare_fault_unlock(host);
			mshare_await_change(region, address);
		}
		return VM_FAULT_RETRY;
	}
	*object = mshare_lock_recent(region, address);
	if (likely(*object))
		return 0;
	/* A hole or a change: the mmap_lock will tell. */
	if (flags & FAULT_FLAG_VMA_LOCK)
		return VM_FAULT_RETRY;

	if ((flags & killable) != killable)
		mmap_read_lock(host);
	else if (mmap_read_lock_killable(host))
		return VM_FAULT_RETRY;
	*object = vma_lookup(host, address);
	if (*object)
		mshare_vma_start_read(*object);
	mmap_read_unlock(host);
	return 0;
}

/**
 * mshare_fault - Handle a page fault in an attachment.
 * @vma: The attachment, locked as @flags say.
 * @address: The address in the guest.
 * @flags: FAULT_FLAG_*, allowed by @vma.
 * @regs: Of the access, for perf; or NULL.
 *
 * The locking rules of handle_mm_fault() apply to the guest's lock.  With
 * VM_FAULT_COMPLETED, and with VM_FAULT_RETRY unless FAULT_FLAG_RETRY_NOWAIT is
 * set, it was dropped, as the inner call has dropped the object's lock.  If the inner
 * call did so to wait for something, the guest's lock was dropped before that wait.
 *
 * Return: VM_FAULT_* bits.
 */
vm_fault_t mshare_fault(struct vm_area_struct *vma, unsigned long address,
			unsigned int flags, struct pt_regs *regs)
{
	struct mshare_region *region = mshare_vma_region(vma);
	unsigned long haddr = mshare_host_address(vma, address);
	/* Every member, or the compiler clears all of it before. */
	struct mshare_guest guest = {
		.host = region->mm, .mm = vma->vm_mm,
		.vma = flags & FAULT_FLAG_VMA_LOCK ? vma : NULL,
		.keep = false, .unlocked = false,
		.outer = NULL, .memcg = NULL,
	};
	struct vm_area_struct *object;
	vm_fault_t ret;

	/*
	 * If an entry below allows an access that the link forbids, the
	 * fault would succeed and the access would fault again, for ever.
	 */
	if (!mshare_may_access(vma, flags))
		return VM_FAULT_SIGSEGV | VM_FAULT_ACCERR;

	/* GUP that must not wait does not get here. */
	if (WARN_ON_ONCE(flags & FAULT_FLAG_RETRY_NOWAIT))
		return VM_FAULT_RETRY;

	mshare_enter(&guest);
	ret = mshare_lock_object(region, haddr, flags, &object);
	if (ret) {
		mshare_leave(&guest);
		mshare_finish_unlock(&guest);
		return ret;
	}

	if (READ_ONCE(region->dead)) {
		ret = VM_FAULT_SIGBUS;
	} else if (!object) {
		ret = VM_FAULT_SIGSEGV;
	} else if (!mshare_may_access(object, flags)) {
		ret = VM_FAULT_SIGSEGV | VM_FAULT_ACCERR;
	} else {
		/* The fault is accounted there, except for perf and its addresses. */
		ret = handle_mm_fault(object, haddr, flags | FAULT_FLAG_VMA_LOCK, NULL);
		if (likely(!(ret & (VM_FAULT_ERROR | VM_FAULT_RETRY)))) {
			mshare_account_perf(regs, address, flags, ret);
			this_cpu_inc(*region->faults);
		} else if ((ret & VM_FAULT_OOM) && !mshare_may_retry_oom(region)) {
			ret = (ret & ~VM_FAULT_OOM) | VM_FAULT_SIGBUS;
			/* pagefault_out_of_memory() will not clean this up. */
			if (task_in_memcg_oom(current))
				mem_cgroup_oom_synchronize(false);
		}
	}
	mshare_leave(&guest);
	/* @vma may be gone; the region is kept by its lock or by guest.host. */
	trace_mshare_fault(region, haddr - MSHARE_HOST_START, flags, ret);

	if (ret & (VM_FAULT_COMPLETED | VM_FAULT_RETRY)) {
		mshare_reclaim_high(region);
		mshare_finish_unlock(&guest);
		return ret;
	}
	if (object)
		mshare_end_read(region, object, haddr);
	mshare_reclaim_high(region);
	return ret;
}

/**
 * __mshare_fault_mm - Find the mm that a fault is counted for.
 * @host: The host mm in which @current handles a fault.
 *
 * Return: The guest, or the mm of a task that makes a call on the region.
 */
struct mm_struct *__mshare_fault_mm(struct mm_struct *host)
{
	return current->mshare_guest ? current->mshare_guest->mm : host;
}

/**
 * mshare_gup_begin - Switch to the host mm in a walk of slow GUP.
 * @gup: State for mshare_gup_end().
 * @vma: The attachment, which allows the access; the guest's mmap_lock is held.
 * @address: The address in the guest.
 * @gup_flags: FOLL_*, as the caller has them: FOLL_NOWAIT if it must not wait for a
 *	lock, FOLL_UNLOCKABLE if the guest's mmap_lock may be dropped.
 *
 * Return: 1 with the host's mmap_lock held for reading; 0 if it would have to
 * wait for that lock; or an error.
 */
int mshare_gup_begin(struct mshare_gup *gup, struct vm_area_struct *vma,
		     unsigned long address, unsigned int gup_flags)
{
	struct mshare_region *region = mshare_vma_region(vma);
	struct mm_struct *host = region->mm;

	mmap_assert_locked(vma->vm_mm);
	if (gup_flags & FOLL_NOWAIT) {
		if (!mmap_read_trylock(host))
			return 0;
	} else if (mmap_read_lock_killable(host)) {
		return -EINTR;
	}
	if (READ_ONCE(region->dead)) {
		mmap_read_unlock(host);
		return -EFAULT;
	}
	gup->address = mshare_host_address(vma, address);
	gup->guest = (struct mshare_guest) {
		.host = host, .mm = vma->vm_mm, .keep = !(gup_flags & FOLL_UNLOCKABLE),
	};
	mshare_enter(&gup->guest);
	return 1;
}

/**
 * mshare_gup_end - Return from the host mm.
 * @gup: From mshare_gup_begin().
 * @locked: Is the host's mmap_lock still held?
 * @ret: The return value of the walk there.
 *
 * Drops the host's mmap_lock.  gup->guest.unlocked says whether the guest's was dropped.
 *
 * Return: The return value for the walk of the guest.
 */
long mshare_gup_end(struct mshare_gup *gup, bool locked, long ret)
{
	struct mm_struct *host = gup->guest.host;

	mshare_leave(&gup->guest);
	/* As for a page fault. */
	if (ret == -ENOMEM && !mshare_may_retry_oom(host->mshare))
		ret = -EFAULT;
	if (locked)
		mmap_read_unlock(host);
	mshare_reclaim_high(host->mshare);
	if (gup->guest.unlocked)
		mmdrop(host);
	return ret;
}

/**
 * mshare_gup_fault - Handle a fault of slow GUP in a host mm.
 * @object: The object, the host's mmap_lock held for reading.
 * @address: The address in the host mm.
 * @flags: FAULT_FLAG_*.
 *
 * The object's own lock takes the place of the mmap_lock, so that users of other
 * objects do not wait for a device.
 *
 * Return: VM_FAULT_* bits; the mmap_lock is held again unless VM_FAULT_COMPLETED or,
 * without FAULT_FLAG_RETRY_NOWAIT, VM_FAULT_RETRY is among them.
 */
vm_fault_t mshare_gup_fault(struct vm_area_struct *object, unsigned long address,
			    unsigned int flags)
{
	const struct mshare_guest *guest = current->mshare_guest;
	struct mm_struct *host = object->vm_mm;
	struct mshare_region *region = host->mshare;
	vm_fault_t ret;

	/* It would have to wait. */
	if (flags & FAULT_FLAG_RETRY_NOWAIT)
		return VM_FAULT_RETRY;
	/* A task that keeps a guest's lock passes. */
	if (!(guest && guest->keep) && mshare_barred(region, address)) {
		mmap_read_unlock(host);
		__mshare_fault_unlock(host);
		mshare_await_change(region, address);
		return VM_FAULT_RETRY;
	}

	mshare_vma_start_read(object);
	mmap_read_unlock(host);
	ret = handle_mm_fault(object, address, flags | FAULT_FLAG_VMA_LOCK, NULL);
	if (ret & (VM_FAULT_COMPLETED | VM_FAULT_RETRY))
		return ret;
	/* The object does not change under its lock: the caller can go on with it. */
	if (mmap_read_trylock(host)) {
		mshare_end_read(region, object, address);
		return ret;
	}
	mshare_end_read(region, object, address);
	/* An error must not be returned with a dropped lock. */
	if (!(ret & VM_FAULT_ERROR))
		return ret | VM_FAULT_COMPLETED;
	mmap_read_lock(host);
	return ret;
}
