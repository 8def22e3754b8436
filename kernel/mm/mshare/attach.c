// SPDX-License-Identifier: GPL-2.0
/*
 * mshare - attachments: the VMA of a guest and its link to shared page tables
 */
#include <linux/mman.h>
#include <linux/mmu_notifier.h>
#include <linux/sched/coredump.h>
#include <linux/security.h>
#include <linux/pgalloc.h>
#include <asm/tlb.h>
#include <trace/events/mshare.h>

#include "mshare.h"
#include "vma.h"

atomic_long_t mshare_nr_attachments;

/* Container VMA */

static void mshare_vm_open(struct vm_area_struct *vma)
{
	struct mshare_region *region = mshare_vma_region(vma);

	mshare_vma_set_class(vma);
	atomic_long_inc(&region->attachments);
	atomic_long_inc(&mshare_nr_attachments);
	trace_mshare_attach(region, vma);
}

static void mshare_vm_close(struct vm_area_struct *vma)
{
	struct mshare_region *region = mshare_vma_region(vma);

	trace_mshare_detach(region, vma);
	arch_mshare_withdraw(vma->vm_mm, vma->vm_start);
	atomic_long_dec(&mshare_nr_attachments);
	atomic_long_dec(&region->attachments);
}

static int mshare_vm_may_split(struct vm_area_struct *vma, unsigned long addr)
{
	return -EINVAL;
}

static int mshare_vm_mprotect(struct vm_area_struct *vma, unsigned long start,
			      unsigned long end, unsigned long newflags)
{
	return -EINVAL;
}

#ifdef CONFIG_NUMA
static int mshare_vm_set_policy(struct vm_area_struct *vma, struct mempolicy *policy)
{
	return policy ? -EINVAL : 0;
}
#endif

/* handle_mm_fault() calls mshare_fault() instead. */
static vm_fault_t mshare_vm_fault(struct vm_fault *vmf)
{
	WARN_ON_ONCE(1);
	return VM_FAULT_SIGBUS;
}

/*
 * No ->name: it would make the attachment part of core dumps.  No ->mremap: it
 * is called after the page tables have moved.
 */
static const struct vm_operations_struct mshare_vm_ops = {
	.open		= mshare_vm_open,
	.close		= mshare_vm_close,
	.may_split	= mshare_vm_may_split,
	.mprotect	= mshare_vm_mprotect,
	.fault		= mshare_vm_fault,
#ifdef CONFIG_NUMA
	.set_policy	= mshare_vm_set_policy,
#endif
};

/*
 * VM_SHARED even if it cannot be written: the OOM reaper skips shared VMAs, and
 * is_cow_mapping() must be false.  VM_DONTEXPAND excludes userfaultfd, KSM,
 * khugepaged, the MGLRU walk and merging.  Never VM_PFNMAP, VM_MIXEDMAP or
 * VM_IO: fork would copy the tables, and pfn walkers would pass through the
 * link.
 */
static vm_flags_t mshare_vm_flags(unsigned int flags)
{
	vm_flags_t vm_flags = VM_MSHARE | VM_SHARED | VM_MAYSHARE | VM_DONTEXPAND |
			      VM_DONTDUMP | VM_READ | VM_MAYREAD;

	if (!(flags & MSHARE_ATTACH_RDONLY))
		vm_flags |= VM_WRITE | VM_MAYWRITE;
	if (flags & MSHARE_ATTACH_EXEC)
		vm_flags |= VM_EXEC | VM_MAYEXEC;
	if (flags & MSHARE_ATTACH_DONTFORK)
		vm_flags |= VM_DONTCOPY;
	return vm_flags;
}

/* Links */

/*
 * Takes the steps that can fail before @vma is linked: allocates the tables above
 * the links, and notifies the CPUs.  Undone by mshare_vm_close() and free_pgd_range().
 */
static int mshare_link_prepare(struct vm_area_struct *vma)
{
	struct mm_struct *mm = vma->vm_mm;
	unsigned long addr;

	for (addr = vma->vm_start; addr < vma->vm_end; addr += P4D_SIZE)
		if (!p4d_alloc(mm, pgd_offset(mm, addr), addr))
			return -ENOMEM;
	return arch_mshare_publish(vma, mshare_vma_region(vma)->mm);
}

/*
 * Hardware and gup_fast walk a link from the moment it is set.  No lock of the host
 * is needed: its tables stay as long as the region, and since the region was
 * published, each change below them is flushed on every CPU that has this mm
 * loaded.
 */
static void mshare_link(struct vm_area_struct *vma)
{
	struct mshare_region *region = mshare_vma_region(vma);
	struct mm_struct *host = region->mm, *mm = vma->vm_mm;
	unsigned long addr;

	mmap_assert_write_locked(mm);
	VM_WARN_ON_ONCE(!arch_mshare_published(mm, host));
	spin_lock(&mm->page_table_lock);
	for (addr = vma->vm_start; addr < vma->vm_end; addr += P4D_SIZE) {
		unsigned long haddr = mshare_host_address(vma, addr);
		p4d_t *p4d = p4d_offset(pgd_offset(mm, addr), addr);
		p4d_t *hp4d = p4d_offset(pgd_offset(host, haddr), haddr);

		/* No pud_alloc(): neither counted nor announced in the guest. */
		if (!WARN_ON_ONCE(!p4d_none(*p4d) || p4d_none(*hp4d)))
			set_p4d(p4d, arch_mshare_link(p4d_pgtable(*hp4d),
						      vma->vm_flags & VM_WRITE,
						      vma->vm_flags & VM_EXEC));
	}
	spin_unlock(&mm->page_table_lock);
	trace_mshare_link(region, vma);
}

/**
 * mshare_unlink - Remove the links of an attachment.
 * @tlb: Of the guest.
 * @vma: The attachment.
 * @start: Its start.
 * @end: Its end.
 *
 * Replaces unmapping: the page tables stay for all other guests.  vm_ops may
 * be gone by now.
 *
 * Context: The guest's mmap_lock, or a @vma that cannot be found any more.
 */
void mshare_unlink(struct mmu_gather *tlb, struct vm_area_struct *vma,
		   unsigned long start, unsigned long end)
{
	struct mm_struct *mm = vma->vm_mm;
	unsigned long addr;

	/* Never a part, and the OOM reaper must not get here. */
	if (WARN_ON_ONCE(start != vma->vm_start || end != vma->vm_end ||
			 !(vma->vm_flags & VM_SHARED)))
		return;

	tlb_start_vma(tlb, vma);
	spin_lock(&mm->page_table_lock);
	for (addr = start; addr < end; addr += P4D_SIZE) {
		pgd_t *pgd = pgd_offset(mm, addr);
		p4d_t *p4d;

		/* A failed fork may not have set all links. */
		if (pgd_none(*pgd))
			continue;
		p4d = p4d_offset(pgd, addr);
		if (p4d_none(*p4d))
			continue;
		p4d_clear(p4d);
		/*
		 * P4D_SIZE is 0 to tlb_flush_p4d_range(), whose size is an
		 * unsigned int.  Any range will do to request a flush.  Everything
		 * is flushed, even on lazy CPUs, because their paging-structure
		 * caches may hold the entry.
		 */
		tlb_flush_pte_range(tlb, addr, PAGE_SIZE);
		tlb->need_flush_all = 1;
		tlb->freed_tables = 1;
	}
	spin_unlock(&mm->page_table_lock);
	tlb_end_vma(tlb, vma);
}

/**
 * mshare_fork - Link a child to the page tables that its parent is linked to.
 * @vma: The child's copy of an attachment, opened and in its tree.
 *
 * Return: 0, or -ENOMEM with nothing linked.
 */
int mshare_fork(struct vm_area_struct *vma)
{
	int err = mshare_link_prepare(vma);

	if (!err)
		mshare_link(vma);
	return err;
}

/* Attach and detach */

/* The first free place for @span bytes at a multiple of a slot, or 0. */
static unsigned long mshare_find_free(struct mm_struct *mm, unsigned long from,
				      unsigned long to, unsigned long span)
{
	unsigned long addr;

	for (addr = from; addr < to && span <= to - addr; addr += P4D_SIZE)
		if (!find_vma_intersection(mm, addr, addr + span))
			return addr;
	return 0;
}

/* The last such place with an end not above @to, or 0. */
static unsigned long mshare_find_last(struct mm_struct *mm, unsigned long to,
				      unsigned long span)
{
	unsigned long addr;

	if (span > to)
		return 0;
	for (addr = round_down(to - span, P4D_SIZE); addr; addr -= P4D_SIZE)
		if (!find_vma_intersection(mm, addr, addr + span))
			return addr;
	return 0;
}

/* Chooses an address for @span bytes, or checks the requested one. */
static long mshare_place(struct mshare_region *region, unsigned long addr,
			 unsigned long span)
{
	struct mm_struct *mm = current->mm;

	mmap_assert_write_locked(mm);
	if (addr) {
		if (span > TASK_SIZE_MAX || addr > TASK_SIZE_MAX - span)
			return -ENOMEM;
		if (find_vma_intersection(mm, addr, addr + span))
			return -EEXIST;
		return addr;
	}
	addr = mshare_find_free(mm, region->base, region->base + span, span);
	if (!addr)
		addr = mshare_find_free(mm, MSHARE_WINDOW_START, MSHARE_WINDOW_END, span);
	/*
	 * The shadow memory of a sanitizer may fill the window.  With each of them, the
	 * program may use the addresses that mmap() returns, and mmap() begins at the top
	 * of these.  Above that is the stack, which may grow.
	 */
	if (!addr && mm_flags_test(MMF_TOPDOWN, mm))
		addr = mshare_find_last(mm, mm->mmap_base, span);
	if (!addr)
		addr = mshare_find_last(mm, DEFAULT_MAP_WINDOW, span);
	return addr ?: -ENOMEM;
}

/* Undoes mshare_link_prepare(). */
static void mshare_link_cancel(struct vm_area_struct *vma)
{
	struct mm_struct *mm = vma->vm_mm;
	struct vm_area_struct *prev, *next;
	struct mmu_gather tlb;

	arch_mshare_withdraw(mm, vma->vm_start);
	next = find_vma_prev(mm, vma->vm_start, &prev);
	tlb_gather_mmu(&tlb, mm);
	free_pgd_range(&tlb, vma->vm_start, vma->vm_end, prev ? prev->vm_end : 0,
		       next ? next->vm_start : USER_PGTABLES_CEILING);
	tlb_finish_mmu(&tlb);
}

static long mshare_attach_locked(struct mshare_region *region, struct vm_area_struct *vma,
				 unsigned long addr)
{
	struct mm_struct *mm = vma->vm_mm;
	unsigned long span, pages;
	long ret;

	mmap_assert_locked(region->mm);
	if (!region->size)
		return -EINVAL;
	span = mshare_slots(region->size) * P4D_SIZE;
	pages = region->size >> PAGE_SHIFT;
	ret = mshare_place(region, addr, span);
	if (IS_ERR_VALUE(ret))
		return ret;
	if (READ_ONCE(region->dead))
		return -EOWNERDEAD;
	if (mm->map_count >= get_sysctl_max_map_count() || !mshare_may_expand(vma, pages))
		return -ENOMEM;
	/* Subscribers to the guest would not be notified of changes of the region. */
	if (mm_has_notifiers(mm))
		return -EBUSY;

	mshare_vma_set_range(vma, ret, ret + span, 0);
	/* The constant value of mshare_vma_pages(), even if the region grows. */
	vma->vm_private_data = (void *)pages;
	/* Faults find it as soon as it is published, and must not lock it before the end. */
	vma_start_write(vma);
	if (mshare_link_prepare(vma) || insert_vm_struct(mm, vma)) {
		mshare_link_cancel(vma);
		mshare_vma_unused(vma);
		return -ENOMEM;
	}
	vm_stat_account(mm, vma->vm_flags, mshare_vma_pages(vma));
	mshare_vm_open(vma);
	mshare_link(vma);
	return ret;
}

/**
 * mshare_attach_file - Attach a region to the calling process.
 * @file: An mshare file that the caller may use in this way.
 * @addr: The address, a multiple of %P4D_SIZE, or 0 to let the kernel choose.
 * @flags: MSHARE_ATTACH_* flags.
 *
 * Does not use do_mmap(), which would clear VM_SHARED for a file that is not
 * writable, add PROT_EXEC for old binaries, populate the attachment and count
 * it as locked after mlockall(MCL_FUTURE).
 *
 * Return: The address, or an error with nothing changed.
 */
long mshare_attach_file(struct file *file, unsigned long addr, unsigned int flags)
{
	struct mshare_region *region = mshare_file_region(file);
	vm_flags_t vm_flags = mshare_vm_flags(flags);
	struct mm_struct *mm = current->mm;
	struct vm_area_struct *vma;
	unsigned long prot = PROT_READ;
	long ret;

	if (mshare_deny_write_exec(vm_flags, vm_flags))
		return -EACCES;
	if (vm_flags & VM_WRITE)
		prot |= PROT_WRITE;
	if (vm_flags & VM_EXEC)
		prot |= PROT_EXEC;
	ret = security_mmap_file(file, prot, MAP_SHARED);
	if (ret)
		return ret;

	vma = vm_area_alloc(mm);
	if (!vma)
		return -ENOMEM;
	vm_flags_init(vma, vm_flags);
	vma->vm_page_prot = vm_get_page_prot(vm_flags);
	vma->vm_ops = &mshare_vm_ops;
	vma->vm_file = get_file(file);

	ret = -EINTR;
	if (mmap_write_lock_killable(mm))
		goto out_free;
	/* The size must not change until the attachment can be found. */
	if (mmap_read_lock_killable(region->mm))
		goto out_unlock;
	ret = mshare_attach_locked(region, vma, addr);
	mmap_read_unlock(region->mm);
out_unlock:
	mmap_write_unlock(mm);
out_free:
	if (IS_ERR_VALUE(ret)) {
		fput(vma->vm_file);
		vm_area_free(vma);
	}
	return ret;
}

/**
 * mshare_detach_at - Detach a region from the calling process.
 * @addr: The address of the attachment.
 *
 * Return: 0, or an error with nothing changed.
 */
int mshare_detach_at(unsigned long addr)
{
	struct mm_struct *mm = current->mm;
	struct vm_area_struct *vma;
	int err = -EINVAL;

	if (mmap_write_lock_killable(mm))
		return -EINTR;
	vma = vma_lookup(mm, addr);
	if (vma && vma_is_mshare(vma) && vma->vm_start == addr)
		err = do_munmap(mm, addr, vma->vm_end - addr, NULL);
	mmap_write_unlock(mm);
	return err;
}

/* Queries by the rest of mm */

/**
 * mshare_total_vm - Sum up the pages of attachments in the total_vm of a process.
 * @mm: The guest, its mmap_lock held.
 *
 * Return: The number of pages.
 */
unsigned long mshare_total_vm(struct mm_struct *mm)
{
	struct vm_area_struct *vma;
	unsigned long pages = 0;
	struct vma_iterator vmi;

	vma_iter_init(&vmi, mm, 0);
	mmap_assert_locked(mm);
	for_each_vma(vmi, vma)
		if (vma_is_mshare(vma))
			pages += mshare_vma_pages(vma);
	return pages;
}

/**
 * mshare_in_range - Is there an attachment in a range of addresses of @current?
 * @start: Start of the range, maybe tagged; the mmap_lock is not held.
 * @end: End of the range.
 *
 * Return: true if there is one.
 */
bool mshare_in_range(unsigned long start, unsigned long end)
{
	struct mm_struct *mm = current->mm;
	struct vm_area_struct *vma;
	struct vma_iterator vmi;
	bool found = false;

	vma_iter_init(&vmi, mm, untagged_addr(start));
	mmap_read_lock(mm);
	for_each_vma_range(vmi, vma, untagged_addr(end)) {
		found = vma_is_mshare(vma);
		if (found)
			break;
	}
	mmap_read_unlock(mm);
	return found;
}
