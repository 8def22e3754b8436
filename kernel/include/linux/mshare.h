/* SPDX-License-Identifier: GPL-2.0 */
/*
 * mshare - hooks of the rest of the kernel
 *
 * Each hook is an unconditional call where it is needed.  Without CONFIG_MSHARE,
 * the stubs at the end of this file make it vanish.  <linux/mm.h> identifies guests
 * and hosts: vma_is_mshare() and mm_is_mshare_host().
 *
 * guest:      an mm that has a region attached
 * attachment: a VMA of a guest with VM_MSHARE, the place of a region in it
 * host mm:    the mm of a region, whose page tables the guests link to
 * object:     a VMA of a host mm
 */
#ifndef _LINUX_MSHARE_H
#define _LINUX_MSHARE_H

#include <linux/mm.h>
#include <linux/mmap_lock.h>

struct mem_cgroup;
struct mm_walk;
struct mm_walk_ops;
struct mmu_gather;
struct pt_regs;
struct task_struct;

/**
 * struct mshare_guest - The origin of a fault in a host mm, or of a call on the region.
 *
 * current->mshare_guest points to it.
 *
 * @host: The host mm; with a reference after the lock is dropped.
 * @mm: The guest; or, of a call, the mm of the caller, of which no lock is held.
 * @vma: The attachment, if its own lock is held; NULL if that of @mm is.
 * @keep: That lock must not be dropped.
 * @unlocked: It was dropped.
 * @outer: The previous current->mshare_guest.
 * @memcg: The previous active memory cgroup of the task.
 */
struct mshare_guest {
	struct mm_struct *host;
	struct mm_struct *mm;
	struct vm_area_struct *vma;
	bool keep;
	bool unlocked;
	struct mshare_guest *outer;
	struct mem_cgroup *memcg;
};

/**
 * struct mshare_gup - A walk of slow GUP that has switched to a host mm.
 *
 * @guest: The origin; the mmap_lock of guest.host is held for reading.
 * @address: The address in guest.host at which the walk goes on.
 */
struct mshare_gup {
	struct mshare_guest guest;
	unsigned long address;
};

/**
 * mshare_vma_pages - The pages of a VMA in total_vm.
 * @vma: The VMA; its mm's mmap_lock is held, or no other task can find it.
 *
 * An attachment takes whole slots, but uses only the part that the region fills.
 * It counts like a mapping with the size that the region had when it was
 * attached.
 *
 * Return: The number of pages, at least 1.
 */
static inline unsigned long mshare_vma_pages(struct vm_area_struct *vma)
{
	return vma_is_mshare(vma) ? (unsigned long)vma->vm_private_data : vma_pages(vma);
}

#ifdef CONFIG_MSHARE

#include <asm/mshare.h>

/*
 * Offset 0 of a region is this address in its host mm.  It is not 0, which code
 * that checks user pointers and mmap_min_addr would not allow.  It is the start
 * of a slot, so that a link is a whole table.
 */
#define MSHARE_HOST_START	P4D_SIZE

/* arch/x86/mm/fault.c */
struct vm_area_struct *__mshare_lock_vma(struct mm_struct *mm, unsigned long address);

/* Replaces lock_vma_under_rcu(). */
static inline struct vm_area_struct *mshare_lock_vma(struct mm_struct *mm,
						     unsigned long address)
{
	if (unlikely(arch_mshare_attached(mm)))
		return __mshare_lock_vma(mm, address);
	return lock_vma_under_rcu(mm, address);
}

/* mm/memory.c, kernel/fork.c */
vm_fault_t mshare_fault(struct vm_area_struct *vma, unsigned long address,
			unsigned int flags, struct pt_regs *regs);
int mshare_fork(struct vm_area_struct *vma);
void mshare_unlink(struct mmu_gather *tlb, struct vm_area_struct *vma,
		   unsigned long start, unsigned long end);
void mshare_mmdrop(struct mm_struct *mm);

/* mm/memory.c, mm/filemap.c, mm/shmem.c */
struct mm_struct *__mshare_fault_mm(struct mm_struct *host);

/* The mm that a fault in @mm is counted for.  No task owns a host mm. */
static inline struct mm_struct *mshare_fault_mm(struct mm_struct *mm)
{
	return unlikely(mm->mshare) ? __mshare_fault_mm(mm) : mm;
}

/* mm/gup.c */
int mshare_gup_begin(struct mshare_gup *gup, struct vm_area_struct *vma,
		     unsigned long address, unsigned int gup_flags);
long mshare_gup_end(struct mshare_gup *gup, bool locked, long ret);
vm_fault_t mshare_gup_fault(struct vm_area_struct *object, unsigned long address,
			    unsigned int flags);

/* mm/pagewalk.c, mm/ptdump.c, mm/migrate.c, fs/proc/task_mmu.c */
int mshare_walk(unsigned long start, unsigned long end, struct mm_walk *walk);
int mshare_walk_vma(struct vm_area_struct *vma, unsigned long start, unsigned long end,
		    const struct mm_walk_ops *ops, void *private);
bool mshare_at(struct mm_struct *mm, unsigned long addr);
unsigned long mshare_walk_shift(const struct vm_area_struct *vma);
struct vm_area_struct *mshare_walk_begin(struct vm_area_struct *vma, unsigned long *addr);
void mshare_walk_end(struct vm_area_struct *vma);
unsigned long mshare_attachments(const struct vm_area_struct *vma);

/* mm/madvise.c, mm/mlock.c */
int mshare_write_lock(struct mm_struct *mm, unsigned long start, unsigned long end);
bool mshare_in_range(unsigned long start, unsigned long end);
int mshare_get_own_page(unsigned long start, struct page **page);
unsigned long mshare_total_vm(struct mm_struct *mm);

/* mm/memcontrol.c */
struct mem_cgroup *mshare_get_memcg(struct mm_struct *mm);

/* kernel/exit.c */
void mshare_owner_exit(struct task_struct *task);
void mshare_exit_mm(struct mm_struct *mm);

/* mm/oom_kill.c */
unsigned long mshare_badness(struct task_struct *task);
bool mshare_oom_quiet(struct mem_cgroup *memcg);

#else /* CONFIG_MSHARE */

#include <linux/sched/mm.h>

static inline bool arch_mshare_attached(const struct mm_struct *mm)
{
	return false;
}

static inline bool arch_mshare_p4d_write(p4d_t p4d)
{
	return true;
}

static inline struct vm_area_struct *mshare_lock_vma(struct mm_struct *mm,
						     unsigned long address)
{
	return lock_vma_under_rcu(mm, address);
}

static inline vm_fault_t mshare_fault(struct vm_area_struct *vma, unsigned long address,
				      unsigned int flags, struct pt_regs *regs)
{
	return 0;
}

static inline int mshare_fork(struct vm_area_struct *vma)
{
	return 0;
}

static inline void mshare_unlink(struct mmu_gather *tlb, struct vm_area_struct *vma,
				 unsigned long start, unsigned long end)
{
}

static inline void mshare_mmdrop(struct mm_struct *mm)
{
}

static inline struct mm_struct *mshare_fault_mm(struct mm_struct *mm)
{
	return mm;
}

static inline int mshare_gup_begin(struct mshare_gup *gup, struct vm_area_struct *vma,
				   unsigned long address, unsigned int gup_flags)
{
	return 0;
}

static inline long mshare_gup_end(struct mshare_gup *gup, bool locked, long ret)
{
	return ret;
}

static inline vm_fault_t mshare_gup_fault(struct vm_area_struct *object,
					  unsigned long address, unsigned int flags)
{
	return 0;
}

static inline int mshare_walk(unsigned long start, unsigned long end, struct mm_walk *walk)
{
	return 0;
}

static inline int mshare_walk_vma(struct vm_area_struct *vma, unsigned long start,
				  unsigned long end, const struct mm_walk_ops *ops,
				  void *private)
{
	return 0;
}

static inline bool mshare_at(struct mm_struct *mm, unsigned long addr)
{
	return false;
}

static inline unsigned long mshare_walk_shift(const struct vm_area_struct *vma)
{
	return 0;
}

static inline struct vm_area_struct *mshare_walk_begin(struct vm_area_struct *vma,
						       unsigned long *addr)
{
	return vma;
}

static inline void mshare_walk_end(struct vm_area_struct *vma)
{
}

static inline unsigned long mshare_attachments(const struct vm_area_struct *vma)
{
	return 1;
}

static inline int mshare_write_lock(struct mm_struct *mm, unsigned long start,
				    unsigned long end)
{
	return mmap_write_lock_killable(mm);
}

static inline bool mshare_in_range(unsigned long start, unsigned long end)
{
	return false;
}

static inline int mshare_get_own_page(unsigned long start, struct page **page)
{
	return get_user_pages_fast(start, 1, 0, page);
}

static inline unsigned long mshare_total_vm(struct mm_struct *mm)
{
	return 0;
}

static inline struct mem_cgroup *mshare_get_memcg(struct mm_struct *mm)
{
	return NULL;
}

static inline void mshare_owner_exit(struct task_struct *task)
{
}

static inline void mshare_exit_mm(struct mm_struct *mm)
{
	mmput(mm);
}

static inline unsigned long mshare_badness(struct task_struct *task)
{
	return 0;
}

static inline bool mshare_oom_quiet(struct mem_cgroup *memcg)
{
	return false;
}

#endif /* CONFIG_MSHARE */

#endif /* _LINUX_MSHARE_H */
