// SPDX-License-Identifier: GPL-2.0
/*
 * mshare - ranges of a region: unmap, protect, advise
 */
#include <linux/hugetlb.h>
#include <linux/mman.h>
#include <linux/security.h>
#include <asm/tlb.h>
#include <trace/events/mshare.h>

#include "mshare.h"
#include "vma.h"

/**
 * mshare_check_range - Check a range against the size of a region.
 * @region: The region, the host's mmap_lock held.
 * @offset: Start of the range, in bytes.
 * @length: Of the range, in bytes.
 *
 * Return: 0, or -ENOMEM.
 */
int mshare_check_range(const struct mshare_region *region, u64 offset, u64 length)
{
	mmap_assert_locked(region->mm);
	/* A length rounded up to huge pages may make the sum overflow. */
	if (length > region->size || offset > region->size - length)
		return -ENOMEM;
	return 0;
}

/**
 * mshare_check_alive - Check that the owner is not gone.
 * @region: The region, the host's mmap_lock held.
 *
 * Return: 0, or -EOWNERDEAD.
 */
int mshare_check_alive(const struct mshare_region *region)
{
	return READ_ONCE(region->dead) ? -EOWNERDEAD : 0;
}

static int mshare_check_cut(struct vm_area_struct *vma, unsigned long addr)
{
	if (!vma || vma->vm_start == addr || !vma->vm_ops->may_split)
		return 0;
	return vma->vm_ops->may_split(vma, addr);
}

/**
 * mshare_check_cuts - Check that the ends of a range cut no huge page.
 * @mm: The host mm, its mmap_lock held.
 * @start: Start of the range, in @mm.
 * @end: End of the range.
 *
 * Return: 0, or -EINVAL.
 */
int mshare_check_cuts(struct mm_struct *mm, unsigned long start, unsigned long end)
{
	struct vm_area_struct *vma = vma_lookup(mm, start);
	int err = mshare_check_cut(vma, start);

	/* Most ranges are in one object. */
	if (err || (vma && vma->vm_end == end))
		return err;
	if (!vma || vma->vm_end < end)
		vma = vma_lookup(mm, end);
	return mshare_check_cut(vma, end);
}

/**
 * mshare_unmap_range - Unmap a range of a region.
 * @region: The region.
 * @offset: Start of the range, in bytes.
 * @length: Of the range, in bytes.
 *
 * Return: 0, even for a hole, or an error with nothing changed.
 */
int mshare_unmap_range(struct mshare_region *region, u64 offset, u64 length)
{
	unsigned long start = MSHARE_HOST_START + offset, end = start + length;
	struct mm_struct *mm = region->mm;
	struct vm_area_struct *vma;
	struct vma_iterator vmi;
	int err;

	vma_iter_init(&vmi, mm, start);
	if (mshare_write_lock(mm, start, end))
		return -EINTR;
	err = mshare_check_range(region, offset, length);
	if (!err)
		err = mshare_check_cuts(mm, start, end);
	if (!err)
		err = mshare_check_alive(region);
	if (!err) {
		/* do_vmi_munmap() would check it against the address limit of the task. */
		vma = vma_find(&vmi, end);
		if (vma)
			err = do_vmi_align_munmap(&vmi, vma, mm, start, end, NULL, false);
	}
	mmap_write_unlock(mm);
	trace_mshare_unmap(region, offset, length, 0, err);
	return err;
}

static vm_flags_t mshare_new_flags(const struct vm_area_struct *vma, unsigned long prot)
{
	return (vma->vm_flags & ~VM_ACCESS_FLAGS) | calc_vm_prot_bits(prot, 0);
}

/* The checks of mprotect(), for every object in the range. */
static int mshare_protect_check(struct mm_struct *mm, unsigned long start,
				unsigned long end, unsigned long prot)
{
	unsigned long at = start;
	struct vm_area_struct *vma;
	struct vma_iterator vmi;
	int err;

	vma_iter_init(&vmi, mm, start);
	for_each_vma_range(vmi, vma, end) {
		vm_flags_t new = mshare_new_flags(vma, prot);

		if (vma->vm_start > at)
			return -ENOMEM;
		at = vma->vm_end;
		/* VM_MAY* are the VM_* above them, shifted by four. */
		if ((new & ~(new >> 4)) & VM_ACCESS_FLAGS)
			return -EACCES;
		if (mshare_deny_write_exec(vma->vm_flags, new))
			return -EACCES;
		err = security_file_mprotect(vma, prot, prot);
		if (err)
			return err;
		if (vma->vm_ops->mprotect) {
			err = vma->vm_ops->mprotect(vma, max(start, vma->vm_start),
						    min(end, vma->vm_end), new);
			if (err)
				return err;
		}
	}
	return at < end ? -ENOMEM : 0;
}

/* Splits an object that contains @addr at @addr. */
static int mshare_split_at(struct mm_struct *mm, unsigned long addr)
{
	struct vm_area_struct *vma;
	struct vma_iterator vmi;

	vma_iter_init(&vmi, mm, addr);
	vma = vma_find(&vmi, addr + 1);
	if (!vma || vma->vm_start >= addr)
		return 0;
	return split_vma(&vmi, vma, addr, 1);
}

/* Cannot fail: the objects in the range end at its ends. */
static void mshare_protect_apply(struct mm_struct *mm, unsigned long start,
				 unsigned long end, unsigned long prot)
{
	struct vm_area_struct *vma, *prev, *merged;
	struct mmu_gather tlb;
	struct vma_iterator vmi;

	vma_iter_init(&vmi, mm, start);
	vma = vma_find(&vmi, end);
	prev = vma_prev(&vmi);
	tlb_gather_mmu(&tlb, mm);
	for_each_vma_range(vmi, vma, end) {
		unsigned long from = vma->vm_start, to = vma->vm_end;
		vm_flags_t new = mshare_new_flags(vma, prot);
		vm_flags_t old = vma->vm_flags;
		unsigned int cp_flags = 0;

		if (new == old) {
			prev = vma;
			continue;
		}
		/* Without memory to merge it, it stays as it is. */
		merged = mshare_modify_flags(&vmi, prev, vma, from, to, &new);
		if (!IS_ERR(merged))
			vma = merged;
		vma_start_write(vma);
		vm_flags_reset(vma, new);
		if (vma_wants_manual_pte_write_upgrade(vma))
			cp_flags |= MM_CP_TRY_CHANGE_WRITABLE;
		vma_set_page_prot(vma);
		change_protection(&tlb, vma, from, to, cp_flags);
		vm_stat_account(mm, old, -(long)PHYS_PFN(to - from));
		vm_stat_account(mm, new, PHYS_PFN(to - from));
		prev = vma;
	}
	tlb_finish_mmu(&tlb);
}

/**
 * mshare_protect_range - Change the protection of a range of a region.
 * @region: The region.
 * @offset: Start of the range, in bytes.
 * @length: Of the range, in bytes.
 * @prot: PROT_* bits.
 *
 * When it returns, no CPU uses an old translation.
 *
 * Return: 0, or an error with nothing changed.
 */
int mshare_protect_range(struct mshare_region *region, u64 offset, u64 length,
			 unsigned long prot)
{
	unsigned long start = MSHARE_HOST_START + offset, end = start + length;
	struct mm_struct *mm = region->mm;
	int err;

	if (mshare_write_lock(mm, start, end))
		return -EINTR;
	err = mshare_check_range(region, offset, length);
	if (!err)
		err = mshare_protect_check(mm, start, end, prot);
	if (!err)
		err = mshare_check_cuts(mm, start, end);
	if (!err)
		err = mshare_check_alive(region);
	if (!err)
		err = mshare_split_at(mm, start);
	if (!err)
		err = mshare_split_at(mm, end);
	if (!err)
		mshare_protect_apply(mm, start, end, prot);
	mmap_write_unlock(mm);
	trace_mshare_protect(region, offset, length, prot, err);
	return err;
}

/*
 * As do_madvise(), but a GiB at a time: for advice about pages, do_madvise() keeps the
 * mmap_lock while it walks the whole range.  Such a piece cuts no huge page.
 */
static int mshare_madvise(struct mshare_region *region, unsigned long start,
			  unsigned long end, int advice)
{
	bool whole = advice != MADV_DONTNEED && advice != MADV_COLD && advice != MADV_PAGEOUT;
	bool leaves_empty = advice == MADV_DONTNEED || advice == MADV_REMOVE ||
			    advice == MADV_PAGEOUT;
	struct mm_struct *mm = region->mm;
	unsigned long next;
	int err, ret = 0;

	for (; start < end; start = next) {
		next = whole ? end : min(end, ALIGN(start + 1, PUD_SIZE));
		err = do_madvise(mm, start, next - start, advice);
		/* It goes on after a hole, and returns the error in the end. */
		if (err && err != -ENOMEM)
			return err;
		ret = ret ?: err;
		if (fatal_signal_pending(current) ||
		    (leaves_empty && mshare_free_tables(region, start, next)))
			return -EINTR;
	}
	return ret;
}

/**
 * mshare_advise_range - Give advice about a range of a region.
 * @region: The region.
 * @offset: Start of the range, in bytes.
 * @length: Of the range, in bytes.
 * @advice: MADV_*, one that makes sense for shared memory.
 *
 * Return: 0, or an error; the advice up to the position of the error is kept.
 */
int mshare_advise_range(struct mshare_region *region, u64 offset, u64 length, int advice)
{
	struct mshare_guest caller = mshare_caller(region);
	unsigned long start = MSHARE_HOST_START + offset;
	struct mm_struct *mm = region->mm;
	int err;

	if (mmap_read_lock_killable(mm))
		return -EINTR;
	err = mshare_check_range(region, offset, length);
	if (!err)
		err = mshare_check_alive(region);
	mmap_read_unlock(mm);
	if (err)
		return err;
	/* If the region shrinks now, there is a hole. */
	mshare_enter(&caller);
	err = mshare_madvise(region, start, start + length, advice);
	mshare_leave(&caller);
	return err;
}
