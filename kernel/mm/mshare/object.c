// SPDX-License-Identifier: GPL-2.0
/*
 * mshare - objects: mapping them in a region
 */
#include <linux/hugetlb.h>
#include <linux/magic.h>
#include <linux/mman.h>
#include <linux/secretmem.h>
#include <linux/security.h>
#include <linux/shmem_fs.h>
#include <trace/events/mshare.h>

#include "mshare.h"
#include "vma.h"

/* Checks of the file */

/*
 * Can @inode be an object?  It must have a page cache that faults fill: pseudo
 * files put pages or devices into the page tables in ->mmap(), and nothing
 * would remove them if the object is refused later.  DAX has no pages that all
 * users can pin.  A fault holds the object's lock while the file system answers:
 * FUSE asks a process, which may itself be waiting for that lock.
 */
static bool mshare_inode_mappable(const struct inode *inode)
{
	if (!S_ISREG(inode->i_mode) || IS_DAX(inode))
		return false;
	switch (inode->i_sb->s_magic) {
	case FUSE_SUPER_MAGIC:
	case SYSFS_MAGIC:
		return false;
	case HUGETLBFS_MAGIC:
	case OVERLAYFS_SUPER_MAGIC:
		/* No ->read_folio; the file that overlayfs maps is checked separately. */
		return true;
	default:
		return shmem_mapping(inode->i_mapping) || inode->i_mapping->a_ops->read_folio;
	}
}

/**
 * mshare_check_file - The checks of do_mmap() for a shared mapping.
 * @file: The file to map.
 * @args: The offset in it, and the accesses.
 * @length: The number of bytes.
 * @vm_flags: Of the mapping; some may be cleared.
 *
 * Return: 0, or an error.
 */
int mshare_check_file(struct file *file, const struct mshare_map_args *args,
		      u64 length, vm_flags_t *vm_flags)
{
	struct inode *inode = file_inode(file);
	u64 max = inode->i_sb->s_maxbytes;

	if (!can_mmap_file(file) || !mshare_inode_mappable(file_inode(mshare_real_file(file))))
		return -ENODEV;
	if (!(file->f_mode & FMODE_READ))
		return -EACCES;
	if (length > max || args->fd_offset > max - length)
		return -EOVERFLOW;
	if (args->prot & PROT_WRITE) {
		if (!(file->f_mode & FMODE_WRITE))
			return -EACCES;
		if (IS_SWAPFILE(file->f_mapping->host))
			return -ETXTBSY;
	}
	if (IS_APPEND(inode) && (file->f_mode & FMODE_WRITE))
		return -EACCES;
	if (!(file->f_mode & FMODE_WRITE))
		*vm_flags &= ~(VM_MAYWRITE | VM_SHARED);
	if (path_noexec(&file->f_path)) {
		if (args->prot & PROT_EXEC)
			return -EPERM;
		*vm_flags &= ~VM_MAYEXEC;
	}
	return mshare_check_seals(file, vm_flags);
}

/* The VMA */

/**
 * mshare_discard_vma - Undo mshare_build_vma().
 * @vma: It was never in a tree.
 */
void mshare_discard_vma(struct vm_area_struct *vma)
{
	vma_close(vma);
	if (vma->vm_file)
		fput(vma->vm_file);
	vm_area_free(vma);
}

/**
 * mshare_build_vma - Build a complete VMA.
 * @region: The region, whose host mm is locked for writing.
 * @file: The file; NULL for new memory.
 * @start: Its start in the host mm.
 * @end: Its end.
 * @vm_flags: Its flags.
 * @pgoff: The offset in the file, in pages.
 *
 * Return: The VMA, in no tree, or an error.
 */
struct vm_area_struct *mshare_build_vma(struct mshare_region *region, struct file *file,
					unsigned long start, unsigned long end,
					vm_flags_t vm_flags, pgoff_t pgoff)
{
	struct mm_struct *mm = region->mm;
	struct vm_area_struct *vma;
	int err;

	vma = vm_area_alloc(mm);
	if (!vma)
		return ERR_PTR(-ENOMEM);
	mshare_vma_set_range(vma, start, end, pgoff);
	vm_flags_init(vma, vm_flags);
	vma->vm_page_prot = vm_get_page_prot(vm_flags);

	if (!file) {
		err = shmem_zero_setup(vma);
		if (err) {
			vm_area_free(vma);
			/* tmpfs has no free inode: this is not about space on a disk. */
			return ERR_PTR(err == -ENOSPC ? -ENOMEM : err);
		}
		/* The end of the owner may truncate it. */
		vma->vm_file->private_data = region;
		return vma;
	}

	vma->vm_file = get_file(file);
	err = mmap_file(file, vma);
	if (err) {
		fput(vma->vm_file);
		vm_area_free(vma);
		return ERR_PTR(err);
	}
	/*
	 * Checked on the result of ->mmap(), since overlayfs sets another file.  Without
	 * ->map_pages(), a fault wants the mmap_lock, and keeps it while it waits for
	 * the device.
	 */
	if (vma->vm_start != start || vma->vm_end != end || !vma->vm_ops ||
	    (!vma->vm_ops->map_pages && !is_vm_hugetlb_page(vma)) ||
	    (vma->vm_flags & (VM_IO | VM_PFNMAP | VM_MIXEDMAP)) ||
	    vma_is_secretmem(vma) || !mshare_inode_mappable(file_inode(vma->vm_file))) {
		mshare_discard_vma(vma);
		return ERR_PTR(-ENODEV);
	}
	return vma;
}

/* Finds the lowest free range of @length bytes at a multiple of @align. */
static unsigned long mshare_find_offset(const struct mshare_region *region, u64 length,
					unsigned long align)
{
	unsigned long low = MSHARE_HOST_START, end = low + region->size;

	for (;;) {
		MA_STATE(mas, &region->mm->mm_mt, 0, 0);

		if (low >= end || length > end - low ||
		    mas_empty_area(&mas, low, end - 1, length))
			return -ENOMEM;
		low = ALIGN(mas.index, align);
		if (low == mas.index)
			return low;
	}
}

/* Chooses the host address of an object, or checks the requested one. */
static long mshare_place_object(struct mshare_region *region,
				const struct mshare_map_args *args, u64 length,
				unsigned long align)
{
	unsigned long start = MSHARE_HOST_START + args->offset;
	bool any = args->offset == MSHARE_ANY_OFFSET;
	long ret;

	if (any) {
		ret = -ENOMEM;
		/* So that it can have huge pages. */
		if (length >= PMD_SIZE && align < PMD_SIZE)
			ret = mshare_find_offset(region, length, PMD_SIZE);
		if (IS_ERR_VALUE(ret))
			ret = mshare_find_offset(region, length, align);
		if (IS_ERR_VALUE(ret))
			return ret;
		start = ret;
	} else {
		ret = mshare_check_range(region, args->offset, length);
		if (ret)
			return ret;
		if (!(args->flags & MAP_FIXED) &&
		    find_vma_intersection(region->mm, start, start + length))
			return -EEXIST;
		if (!IS_ALIGNED(start, align))
			return -EINVAL;
		ret = mshare_check_cuts(region->mm, start, start + length);
		if (ret)
			return ret;
	}
	ret = mshare_check_alive(region);
	if (ret)
		return ret;
	/* Temporarily one more than the limit, as munmap() also allows. */
	if (region->mm->map_count >= get_sysctl_max_map_count())
		return -ENOMEM;
	return start;
}

static vm_flags_t mshare_object_flags(const struct mshare_map_args *args)
{
	/* No pkeys: each guest has its own, but the entries are shared. */
	vm_flags_t vm_flags = calc_vm_prot_bits(args->prot, 0) | VM_SHARED | VM_MAYSHARE |
			      VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC;

	if ((args->flags & MAP_NORESERVE) && sysctl_overcommit_memory != OVERCOMMIT_NEVER)
		vm_flags |= VM_NORESERVE;
	return vm_flags;
}

/* The file behind an object, NULL for anonymous memory; sets the length it takes. */
static struct file *mshare_object_file(const struct mshare_map_args *args, u64 *length,
				       unsigned long *align)
{
	struct hstate *hstate = NULL;
	struct file *file = NULL;

	if (!(args->flags & MAP_ANONYMOUS)) {
		file = fget(args->fd);
		if (!file)
			return ERR_PTR(-EBADF);
		if (is_file_hugepages(file)) {
			hstate = hstate_file(file);
		} else if (args->flags & MAP_HUGETLB) {
			fput(file);
			return ERR_PTR(-EINVAL);
		}
	} else if (args->flags & MAP_HUGETLB) {
		hstate = hstate_sizelog((args->flags >> MAP_HUGE_SHIFT) & MAP_HUGE_MASK);
		if (!hstate)
			return ERR_PTR(-EINVAL);
	}
	if (!hstate)
		return file;

	*align = huge_page_size(hstate);
	*length = ALIGN(*length, *align);
	if (!*length) {
		if (file)
			fput(file);
		return ERR_PTR(-EINVAL);
	}
	if (!file)
		file = mshare_hugetlb_file(*length, (args->flags >> MAP_HUGE_SHIFT) &
					   MAP_HUGE_MASK);
	return file;
}

static long mshare_map_locked(struct mshare_region *region, struct file *file,
			      const struct mshare_map_args *args, u64 length,
			      unsigned long align, vm_flags_t vm_flags)
{
	struct vm_area_struct *vma;
	long start;
	int err;

	start = mshare_place_object(region, args, length, align);
	if (IS_ERR_VALUE(start))
		return start;
	vma = mshare_build_vma(region, file, start, start + length, vm_flags,
			       args->fd_offset >> PAGE_SHIFT);
	if (IS_ERR(vma))
		return PTR_ERR(vma);
	err = vma_insert_over(vma);
	if (err) {
		mshare_discard_vma(vma);
		return err;
	}
	return start;
}

/**
 * mshare_map_object - Map an object in a region.
 * @region: The region.
 * @args: The object and its place; everything that does not depend on the region is checked.
 *
 * Return: The offset, or an error with nothing changed.
 */
long mshare_map_object(struct mshare_region *region, const struct mshare_map_args *args)
{
	vm_flags_t vm_flags = mshare_object_flags(args);
	unsigned long align = PAGE_SIZE;
	u64 length = PAGE_ALIGN(args->length);
	struct mm_struct *mm = region->mm;
	bool writable = false;
	unsigned long start;
	struct file *file;
	long ret;

	file = mshare_object_file(args, &length, &align);
	/* hugetlbfs has no free inode: this is not about space on a disk. */
	if (file == ERR_PTR(-ENOSPC))
		return -ENOMEM;
	if (IS_ERR(file))
		return PTR_ERR(file);
	if (file && (args->flags & MAP_ANONYMOUS)) {
		file->private_data = region;
	} else if (file) {
		ret = mshare_check_file(file, args, length, &vm_flags);
		if (ret)
			goto out_file;
	}
	if (file && is_file_hugepages(file) && (args->flags & MAP_NORESERVE))
		vm_flags |= VM_NORESERVE;
	ret = -EACCES;
	if (mshare_deny_write_exec(vm_flags, vm_flags))
		goto out_file;
	ret = security_mmap_file(file, args->prot, args->flags);
	if (ret)
		goto out_file;
	if (file && (vm_flags & (VM_SHARED | VM_MAYWRITE)) == (VM_SHARED | VM_MAYWRITE)) {
		ret = mapping_map_writable(file->f_mapping);
		if (ret)
			goto out_file;
		writable = true;
	}

	ret = -EINTR;
	start = MSHARE_HOST_START + args->offset;
	/* Only MAP_FIXED replaces an object. */
	if (!mshare_write_lock(mm, start, args->flags & MAP_FIXED ? start + length : start)) {
		ret = mshare_map_locked(region, file, args, length, align, vm_flags);
		mmap_write_unlock(mm);
	}
	if (writable)
		mapping_unmap_writable(file->f_mapping);
	if (!IS_ERR_VALUE(ret)) {
		struct mshare_guest caller = mshare_caller(region);

		mshare_enter(&caller);
		/* For reading, as mmap() does for a shared mapping; it may fail. */
		if (args->flags & MAP_POPULATE)
			do_madvise(mm, ret, length, MADV_POPULATE_READ);
		mshare_leave(&caller);
		ret -= MSHARE_HOST_START;
	}
	trace_mshare_map(region, IS_ERR_VALUE(ret) ? args->offset : ret, length, args->prot,
			 IS_ERR_VALUE(ret) ? ret : 0);
out_file:
	if (file)
		fput(file);
	return ret;
}
