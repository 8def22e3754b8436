/* SPDX-License-Identifier: GPL-2.0 */
/*
 * mshare - VMAs, their files and their locks
 *
 * What Linux 7.3 has is here by the name that it has there.
 */
#ifndef _MM_MSHARE_VMA_H
#define _MM_MSHARE_VMA_H

#include <linux/fs.h>
#include <linux/hugetlb.h>
#include <linux/list_lru.h>
#include <linux/magic.h>
#include <linux/memfd.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/shmem_fs.h>

#include "../internal.h"

#define mapping_rmap_tree_foreach(vma, mapping, first, last) \
	vma_interval_tree_foreach(vma, &(mapping)->i_mmap, first, last)

static inline bool mm_flags_test(int flag, const struct mm_struct *mm)
{
	return test_bit(flag, &mm->flags);
}

static inline void mm_flags_clear_all(struct mm_struct *mm)
{
	mm->flags = 0;
}

static inline unsigned long get_mm_rss_sum(struct mm_struct *mm)
{
	return get_mm_rss(mm);
}

static inline int get_sysctl_max_map_count(void)
{
	return sysctl_max_map_count;
}

static inline void zap_vma(struct vm_area_struct *vma)
{
	zap_vma_pages(vma);
}

/* Not for hugetlb, and without notifiers: those of a host are never called. */
static inline void zap_vma_range_batched(struct mmu_gather *tlb, struct vm_area_struct *vma,
					 unsigned long address, unsigned long size,
					 struct zap_details *details)
{
	update_hiwater_rss(vma->vm_mm);
	unmap_page_range(tlb, vma, address, address + size, details);
}

typedef enum lru_status (*mshare_lru_cb)(struct list_head *item, struct list_lru_one *list,
					 void *arg);

struct mshare_lru_walk {
	mshare_lru_cb cb;
	void *arg;
};

/* Newer kernels do not name the lock. */
static inline enum lru_status mshare_lru_item(struct list_head *item, struct list_lru_one *list,
					      spinlock_t *lock, void *arg)
{
	struct mshare_lru_walk *walk = arg;

	return walk->cb(item, list, walk->arg);
}

static inline unsigned long mshare_lru_walk_one(struct list_lru *lru, struct mem_cgroup *memcg,
						mshare_lru_cb cb, void *arg, unsigned long *nr)
{
	struct mshare_lru_walk walk = { cb, arg };

	return list_lru_walk_one(lru, 0, memcg, mshare_lru_item, &walk, nr);
}

static inline bool can_mmap_file(const struct file *file)
{
	return file->f_op->mmap;
}

/*
 * What overlayfs would map, of another file the file itself.  Also its ->mmap() may not
 * be called for what is refused: that of FUSE can wait for the process that answers it.
 * A file keeps what it was opened with even if the inode has another one by now.
 * private_data is the real file: see ovl_open().
 */
static inline struct file *mshare_real_file(struct file *file)
{
	while (file_inode(file)->i_sb->s_magic == OVERLAYFS_SUPER_MAGIC &&
	       S_ISREG(file_inode(file)->i_mode) && file->private_data)
		file = file->private_data;
	return file;
}

static inline bool mshare_deny_write_exec(vm_flags_t old, vm_flags_t new)
{
	return map_deny_write_exec(old, new);
}

static inline bool mshare_may_expand(const struct vm_area_struct *vma, unsigned long pages)
{
	return may_expand_vm(vma->vm_mm, vma->vm_flags, pages);
}

static inline int mshare_check_seals(struct file *file, vm_flags_t *vm_flags)
{
	return memfd_check_seals_mmap(file, vm_flags);
}

static inline struct file *mshare_hugetlb_file(u64 length, int page_size_log)
{
	return hugetlb_file_setup(HUGETLB_ANON_FILE, length, VM_NORESERVE,
				  HUGETLB_ANONHUGE_INODE, page_size_log);
}

/* A file of memory, for tests. */
static inline struct file *mshare_kunit_file(loff_t size)
{
	return shmem_file_setup("kunit", size, 0);
}

static inline void mshare_vma_set_range(struct vm_area_struct *vma, unsigned long start,
					unsigned long end, pgoff_t pgoff)
{
	vma_set_range(vma, start, end, pgoff);
}

/* Locked, split and merged for flags that the caller is going to set. */
static inline struct vm_area_struct *
mshare_modify_flags(struct vma_iterator *vmi, struct vm_area_struct *prev,
		    struct vm_area_struct *vma, unsigned long start, unsigned long end,
		    vm_flags_t *vm_flags)
{
	return vma_modify_flags(vmi, prev, vma, start, end, *vm_flags);
}

/* State of inodes, with i_lock held to change it */

static inline unsigned long mshare_inode_state(struct inode *inode)
{
	return READ_ONCE(inode->i_state);
}

static inline void mshare_inode_set_state(struct inode *inode, unsigned long flags)
{
	WRITE_ONCE(inode->i_state, inode->i_state | flags);
}

static inline void mshare_inode_clear_state(struct inode *inode, unsigned long flags)
{
	WRITE_ONCE(inode->i_state, inode->i_state & ~flags);
}

/* Locks of VMAs */

/* For lockdep the lock of @vma, an attachment, is like any other. */
static inline void mshare_vma_set_class(struct vm_area_struct *vma)
{
}

/* Locks @vma.  The mmap_lock is held and keeps those out that lock it for writing. */
static inline void mshare_vma_start_read(struct vm_area_struct *vma)
{
	mmap_assert_locked(vma->vm_mm);
	/* Not vma_start_read(), which may fail all the same. */
	down_read(&vma->vm_lock->lock);
}

/*
 * As lock_vma_under_rcu(), for a VMA that was found without the tree.  RCU keeps it
 * from being freed, but not in the tree: what is in there is not detached.
 */
static __always_inline bool mshare_vma_lock_found(struct mm_struct *mm,
						  struct vm_area_struct *vma,
						  unsigned long address)
{
	if (!vma_start_read(vma))
		return false;
	if (likely(!vma->detached && address >= vma->vm_start && address < vma->vm_end))
		return true;
	vma_end_read(vma);
	return false;
}

/* A new @vma, locked for writing, that others may have found will be in no tree. */
static inline void mshare_vma_unused(struct vm_area_struct *vma)
{
	vma_mark_detached(vma, true);
}

/* As vma_start_write(), unless it would wait. */
static inline bool mshare_vma_try_start_write(struct vm_area_struct *vma)
{
	unsigned int seq;

	if (__is_vma_write_locked(vma, &seq))
		return true;
	if (!down_write_trylock(&vma->vm_lock->lock))
		return false;
	WRITE_ONCE(vma->vm_lock_seq, seq);
	up_write(&vma->vm_lock->lock);
	return true;
}

/* Does anybody hold the lock of @vma?  Under RCU. */
static inline bool mshare_vma_busy(struct vm_area_struct *vma)
{
	return rwsem_is_locked(&vma->vm_lock->lock);
}

#endif /* _MM_MSHARE_VMA_H */
