/* SPDX-License-Identifier: GPL-2.0 */
/*
 * mshare - hooks of the rest of the kernel
 *
 * Each hook is an unconditional call where it is needed; without CONFIG_MSHARE
 * the stubs at the end of this file make it vanish.  <linux/mm.h> tells guests
 * and hosts: vma_is_mshare() and mm_is_mshare_host().
 *
 * guest:      an mm that a region is attached to
 * attachment: a VMA of a guest with VM_MSHARE, a region placed in it
 * host mm:    the mm of a region, whose page tables the guests link to
 * object:     a VMA of a host mm
 */
#ifndef _LINUX_MSHARE_H
#define _LINUX_MSHARE_H

#include <linux/mm_types.h>

struct mem_cgroup;
struct mmu_gather;
struct pt_regs;
struct signal_struct;

/**
 * struct mshare_gup - A walk of slow GUP that went over to a host mm.
 *
 * @host: The host mm, its mmap_lock held for reading.
 * @address: Where in @host the walk goes on.
 * @memcg: What was the active memory cgroup of the task before.
 */
struct mshare_gup {
	struct mm_struct *host;
	unsigned long address;
	struct mem_cgroup *memcg;
};

#ifdef CONFIG_MSHARE

#include <asm/mshare.h>

/* mm/memory.c, kernel/fork.c */
vm_fault_t mshare_fault(struct vm_area_struct *vma, unsigned long address,
			unsigned int flags, struct pt_regs *regs);
int mshare_fork(struct vm_area_struct *vma);
void mshare_unlink(struct mmu_gather *tlb, struct vm_area_struct *vma,
		   unsigned long start, unsigned long end);
void mshare_mmdrop(struct mm_struct *mm);

/* mm/gup.c */
int mshare_gup_begin(struct mshare_gup *gup, struct vm_area_struct *vma,
		     unsigned long address, bool nowait);
long mshare_gup_end(struct mshare_gup *gup, bool locked, long ret);

/* mm/madvise.c, mm/mlock.c, mm/mmu_notifier.c */
bool mshare_in_range(struct mm_struct *mm, unsigned long start, unsigned long end);
bool mshare_attached(struct mm_struct *mm);
unsigned long mshare_total_vm(struct mm_struct *mm);

/* mm/memcontrol.c */
struct mem_cgroup *mshare_get_memcg(struct mm_struct *mm);

/* kernel/exit.c */
void mshare_owner_exit(struct signal_struct *signal);

/* arch/x86/mm/tlb.c */
void mshare_flush_host(struct mm_struct *mm, unsigned long start, unsigned long end);

#else /* CONFIG_MSHARE */

static inline bool arch_mshare_p4d_write(p4d_t p4d)
{
	return true;
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

static inline int mshare_gup_begin(struct mshare_gup *gup, struct vm_area_struct *vma,
				   unsigned long address, bool nowait)
{
	return 0;
}

static inline long mshare_gup_end(struct mshare_gup *gup, bool locked, long ret)
{
	return ret;
}

static inline bool mshare_in_range(struct mm_struct *mm, unsigned long start,
				   unsigned long end)
{
	return false;
}

static inline bool mshare_attached(struct mm_struct *mm)
{
	return false;
}

static inline unsigned long mshare_total_vm(struct mm_struct *mm)
{
	return 0;
}

static inline struct mem_cgroup *mshare_get_memcg(struct mm_struct *mm)
{
	return NULL;
}

static inline void mshare_owner_exit(struct signal_struct *signal)
{
}

static inline void mshare_flush_host(struct mm_struct *mm, unsigned long start,
				     unsigned long end)
{
}

#endif /* CONFIG_MSHARE */

#endif /* _LINUX_MSHARE_H */
