/* SPDX-License-Identifier: GPL-2.0 */
/*
 * mshare - VMAs, their files and their locks
 */
#ifndef _MM_MSHARE_VMA_H
#define _MM_MSHARE_VMA_H

#include <linux/fs.h>
#include <linux/hugetlb.h>
#include <linux/list_lru.h>
#include <linux/lockdep.h>
#include <linux/magic.h>
#include <linux/memfd.h>
#include <linux/mm.h>
#include <linux/overlayfs.h>
#include <linux/refcount.h>
#include <linux/shmem_fs.h>

#include "../internal.h"

/*
 * What overlayfs would map, of another file the file itself.  Also its ->mmap() may not
 * be called for what is refused: that of FUSE can wait for the process that answers it.
 * A file keeps what it was opened with even if the inode has another one by now.
 */
static inline struct file *mshare_real_file(struct file *file)
{
	while (file_inode(file)->i_sb->s_magic == OVERLAYFS_SUPER_MAGIC &&
	       S_ISREG(file_inode(file)->i_mode) && file->private_data)
		file = ((const struct ovl_file *)file->private_data)->realfile;
	return file;
}

static inline unsigned long mshare_lru_walk_one(struct list_lru *lru, struct mem_cgroup *memcg,
						list_lru_walk_cb cb, void *arg, unsigned long *nr)
{
	return list_lru_walk_one(lru, 0, memcg, cb, arg, nr);
}

static inline bool mshare_deny_write_exec(vm_flags_t old, vm_flags_t new)
{
	const vma_flags_t o = legacy_to_vma_flags(old), n = legacy_to_vma_flags(new);

	return map_deny_write_exec(&o, &n);
}

static inline bool mshare_may_expand(const struct vm_area_struct *vma, unsigned long pages)
{
	return may_expand_vm(vma->vm_mm, &vma->flags, pages);
}

static inline int mshare_check_seals(struct file *file, vm_flags_t *vm_flags)
{
	vma_flags_t flags = legacy_to_vma_flags(*vm_flags);
	int err = memfd_check_seals_mmap(file, &flags);

	*vm_flags = vma_flags_to_legacy(flags);
	return err;
}

static inline struct file *mshare_hugetlb_file(u64 length, int page_size_log)
{
	return hugetlb_file_setup(HUGETLB_ANON_FILE, length, mk_vma_flags(VMA_NORESERVE_BIT),
				  HUGETLB_ANONHUGE_INODE, page_size_log);
}

/* A file of memory, for tests. */
static inline struct file *mshare_kunit_file(loff_t size)
{
	return shmem_file_setup("kunit", size, EMPTY_VMA_FLAGS);
}

static inline void mshare_vma_set_range(struct vm_area_struct *vma, unsigned long start,
					unsigned long end, pgoff_t pgoff)
{
	vma->vm_start = start;
	vma->vm_end = end;
	vma_set_pgoff(vma, pgoff);
	vma_set_anon_pgoff(vma, start >> PAGE_SHIFT);
}

/*
 * Locked, split and merged for flags that the caller is going to set; those that a
 * VMA has once one of its parts had them are added to *@vm_flags.
 */
static inline struct vm_area_struct *
mshare_modify_flags(struct vma_iterator *vmi, struct vm_area_struct *prev,
		    struct vm_area_struct *vma, unsigned long start, unsigned long end,
		    vm_flags_t *vm_flags)
{
	vma_flags_t flags = legacy_to_vma_flags(*vm_flags);

	vma = vma_modify_flags(vmi, prev, vma, start, end, &flags);
	*vm_flags = vma_flags_to_legacy(flags);
	return vma;
}

/* State of inodes, with i_lock held to change it */

static inline unsigned long mshare_inode_state(struct inode *inode)
{
	return inode_state_read_once(inode);
}

static inline void mshare_inode_set_state(struct inode *inode, unsigned long flags)
{
	inode_state_set(inode, flags);
}

static inline void mshare_inode_clear_state(struct inode *inode, unsigned long flags)
{
	inode_state_clear(inode, flags);
}

/* Locks of VMAs */

/*
 * With the lock of @vma, an attachment, held smaps takes the mmap_lock of the host;
 * and below that one the locks of objects are taken.  For lockdep those are others.
 */
static inline void mshare_vma_set_class(struct vm_area_struct *vma)
{
#ifdef CONFIG_DEBUG_LOCK_ALLOC
	static struct lock_class_key key;

	lockdep_init_map(&vma->vmlock_dep_map, "mshare_attachment_lock", &key, 0);
#endif
}

/*
 * Locks @vma.  The mmap_lock is held and keeps those out that lock it for writing.
 * Only a full count could fail now, and there are not as many tasks.
 */
static inline void mshare_vma_start_read(struct vm_area_struct *vma)
{
	WARN_ON_ONCE(!vma_start_read_locked(vma));
}

/*
 * As lock_vma_under_rcu(), for a VMA that was found without the tree.  Under RCU it stays
 * a VMA, but may become another one, even of another mm.  What has a count is in a tree,
 * and with one more it stays there: if that is the tree of @mm, which the caller keeps,
 * and it covers @address, it is what the tree would have told.
 */
static __always_inline bool mshare_vma_lock_found(struct mm_struct *mm,
						  struct vm_area_struct *vma,
						  unsigned long address)
{
	struct mm_struct *other;
	int old;

	/* Spares those that write the trouble; what counts is below. */
	if (READ_ONCE(vma->vm_lock_seq) == READ_ONCE(mm->mm_lock_seq.sequence))
		return false;
	/* Nor while somebody waits for readers to go: that is above the limit. */
	if (!__refcount_inc_not_zero_limited_acquire(&vma->vm_refcnt, &old, VM_REFCNT_LIMIT))
		return false;
	__vma_lockdep_acquire_read(vma);
	other = vma->vm_mm;
	if (unlikely(other != mm)) {
		/* It may go as soon as the count does, and is to be woken after that. */
		mmgrab(other);
		vma_refcount_put(vma);
		/* That can be much work.  The caller has no more use for @vma. */
		rcu_read_unlock();
		mmdrop(other);
		rcu_read_lock();
		return false;
	}
	/* Acquire: what was done to @vma with the lock of a former writer is seen. */
	if (likely(vma->vm_lock_seq != raw_read_seqcount(&mm->mm_lock_seq) &&
		   address >= vma->vm_start && address < vma->vm_end))
		return true;
	vma_end_read(vma);
	return false;
}

/* A new @vma that others may have found will be in no tree: it has no count as yet. */
static inline void mshare_vma_unused(struct vm_area_struct *vma)
{
}

/* As vma_start_write(), unless it would wait. */
static inline bool mshare_vma_try_start_write(struct vm_area_struct *vma)
{
	bool busy;

	if (__is_vma_write_locked(vma))
		return true;
	/* Nobody can start to read now; how many do?  The 1 is the tree's. */
	if (WARN_ON_ONCE(!refcount_add_not_zero(VM_REFCNT_EXCLUDE_READERS_FLAG,
						&vma->vm_refcnt)))
		return false;
	busy = refcount_read(&vma->vm_refcnt) != VM_REFCNT_EXCLUDE_READERS_FLAG + 1;
	if (!busy) {
		/* Those that left did so with release: see what they did. */
		smp_acquire__after_ctrl_dep();
		WRITE_ONCE(vma->vm_lock_seq, __vma_raw_mm_seqnum(vma));
	}
	WARN_ON_ONCE(refcount_sub_and_test(VM_REFCNT_EXCLUDE_READERS_FLAG, &vma->vm_refcnt));
	return !busy;
}

/* Does anybody hold the lock of @vma?  Under RCU. */
static inline bool mshare_vma_busy(struct vm_area_struct *vma)
{
	return refcount_read(&vma->vm_refcnt) > 1;
}

#endif /* _MM_MSHARE_VMA_H */
