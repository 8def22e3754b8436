// SPDX-License-Identifier: GPL-2.0
/*
 * mshare - read-only walks of page tables, redirected to the host mm
 */
#include <linux/mm.h>
#include <linux/pagewalk.h>

#include "mshare.h"

/*
 * Walks the host mm, at most a GiB at a time: all users share its lock, and any task that
 * may attach may walk.  No page crosses the end of a piece.  Callbacks that advance their
 * private pointer get one piece: mincore() asks for less than that.
 */
static int mshare_walk_host(struct mm_struct *host, unsigned long start, unsigned long end,
			    struct mm_walk *walk)
{
	bool whole = end - start <= PUD_SIZE;
	unsigned long next;
	int err;

	for (; start < end; start = next) {
		next = whole ? end : min(end, ALIGN(start + 1, PUD_SIZE));
		err = walk_page_range(host, start, next, walk->ops, walk->private);
		if (err)
			return err;
		if (next < end && mmap_lock_is_contended(host)) {
			mmap_read_unlock(host);
			cond_resched();
			mmap_read_lock(host);
		}
	}
	return 0;
}

/**
 * mshare_walk - Walk a part of an attachment.
 * @start: Its start in the guest.
 * @end: Its end in the guest.
 * @walk: The walk; its VMA is the attachment, its mm is locked.
 *
 * The whole range is a hole unless the walk sets through_mshare.  Then callbacks
 * are called with VMAs and addresses of the host mm, as by walk_page_range().
 *
 * Return: The return value for the walk.
 */
int mshare_walk(unsigned long start, unsigned long end, struct mm_walk *walk)
{
	const struct mm_walk_ops *ops = walk->ops;
	struct mm_struct *host;
	unsigned long shift;
	int err;

	/* A walk that changes entries would flush the guest and not the host. */
	if (!ops->through_mshare || WARN_ON_ONCE(ops->walk_lock != PGWALK_RDLOCK))
		return ops->pte_hole ? ops->pte_hole(start, end, -1, walk) : 0;

	host = mshare_vma_region(walk->vma)->mm;
	shift = mshare_walk_shift(walk->vma);
	if (mmap_read_lock_killable(host))
		return -EINTR;
	err = mshare_walk_host(host, start - shift, end - shift, walk);
	mmap_read_unlock(host);
	return err;
}

/**
 * mshare_walk_vma - Walk the page tables behind an attachment.
 * @vma: The attachment, locked by itself or by its mm.
 * @start: Start of the walk in the guest.
 * @end: End of the walk in the guest.
 * @ops: Callbacks, for the host mm.
 * @private: For the callbacks.
 *
 * As walk_page_range_vma(), which checks the lock of the attachment against @ops.
 *
 * Return: The return value for the walk.
 */
int mshare_walk_vma(struct vm_area_struct *vma, unsigned long start, unsigned long end,
		    const struct mm_walk_ops *ops, void *private)
{
	struct mm_walk walk = {
		.ops = ops, .mm = vma->vm_mm, .vma = vma, .private = private,
	};

	return mshare_walk(start, end, &walk);
}

/**
 * mshare_at - Is there an attachment at an address?
 * @mm: Any mm, its mmap_lock held.
 * @addr: The address.
 *
 * Return: true if there is.
 */
bool mshare_at(struct mm_struct *mm, unsigned long addr)
{
	const struct vm_area_struct *vma = vma_lookup(mm, addr);

	return vma && vma_is_mshare(vma);
}

/**
 * mshare_walk_shift - The offset that a walk has to add to its addresses.
 * @vma: Any VMA, not of a host mm.
 *
 * Return: The difference between an address in the guest and in the host mm; 0
 * if @vma is not an attachment.
 */
unsigned long mshare_walk_shift(const struct vm_area_struct *vma)
{
	return vma_is_mshare(vma) ? vma->vm_start - MSHARE_HOST_START : 0;
}

/**
 * mshare_walk_begin - Find the VMA whose page tables map an address.
 * @vma: The VMA at @addr; its mm is locked.
 * @addr: Becomes an address of the host mm if @vma is an attachment.
 *
 * Return: @vma; or the object behind it, with the mmap_lock of the host mm held
 * for reading until mshare_walk_end(); or NULL if there is none.
 */
struct vm_area_struct *mshare_walk_begin(struct vm_area_struct *vma, unsigned long *addr)
{
	struct mm_struct *host;
	struct vm_area_struct *object;

	if (!vma_is_mshare(vma))
		return vma;
	host = mshare_vma_region(vma)->mm;
	if (mmap_read_lock_killable(host))
		return NULL;
	*addr = mshare_host_address(vma, *addr);
	object = vma_lookup(host, *addr);
	if (!object)
		mmap_read_unlock(host);
	return object;
}

/**
 * mshare_walk_end - Release the VMA that mshare_walk_begin() has found.
 * @vma: Its return value.
 */
void mshare_walk_end(struct vm_area_struct *vma)
{
	if (vma && mm_is_mshare_host(vma->vm_mm))
		mmap_read_unlock(vma->vm_mm);
}

/**
 * mshare_attachments - Count the attachments that share the memory of a region.
 * @vma: An attachment, whose mm is locked.
 *
 * Return: The number of attachments of its region, @vma among them.
 */
unsigned long mshare_attachments(const struct vm_area_struct *vma)
{
	return max(1, atomic_long_read(&mshare_vma_region(vma)->attachments));
}

/**
 * mshare_get_own_page - Get a page to inject a memory error into.
 * @start: An address of @current, maybe tagged; the mmap_lock is not held.
 * @page: Becomes the page, with a reference.
 *
 * The pages behind an attachment belong to all its users.  Faulting in may wait
 * for userfaultfd, and a region may be attached meanwhile: a check before the
 * lock is dropped would not see it.
 *
 * Return: 1, or an error as of get_user_pages().
 */
int mshare_get_own_page(unsigned long start, struct page **page)
{
	struct mm_struct *mm = current->mm;
	int ret;

	start = untagged_addr(start);
	ret = get_user_pages_fast(start, 1, 0, page);
	if (ret != 1)
		return ret;
	put_page(*page);
	mmap_read_lock(mm);
	ret = mshare_at(mm, start) ? -EINVAL : get_user_pages(start, 1, 0, page);
	mmap_read_unlock(mm);
	return ret;
}
