/* SPDX-License-Identifier: GPL-2.0 */
/*
 * mshare - what the architecture provides for mm/mshare
 */
#ifndef _ASM_X86_MSHARE_H
#define _ASM_X86_MSHARE_H

#include <linux/mm.h>
#include <asm/cpufeature.h>
#include <asm/pgtable.h>

/**
 * arch_mshare_supported - Can page tables be shared on this machine?
 *
 * Xen PV pins page tables and types their pages.  It cannot handle a table below
 * two top-level tables.
 *
 * Return: true if they can.
 */
static inline bool arch_mshare_supported(void)
{
	return !cpu_feature_enabled(X86_FEATURE_XENPV);
}

/**
 * arch_mshare_link - Build a link to a PUD table.
 * @pud: The table.
 * @write: May the attachment be written to?
 * @exec: May it be executed?
 *
 * The permissions in this entry limit those of all entries below.  The entry is not
 * copied from the host mm: with page-table isolation the two copies of a top-level
 * entry differ.
 *
 * Return: The entry.
 */
static inline p4d_t arch_mshare_link(pud_t *pud, bool write, bool exec)
{
	unsigned long val = _PAGE_TABLE | __pa(pud);

	if (!write)
		val &= ~_PAGE_RW;
	if (!exec)
		val |= _PAGE_NX & __supported_pte_mask;
	return __p4d(val);
}

/* Does a top-level entry allow writing? */
static inline bool arch_mshare_p4d_write(p4d_t p4d)
{
	return p4d_write(p4d);
}

int arch_mshare_publish(struct vm_area_struct *vma, struct mm_struct *host);
void arch_mshare_withdraw(struct mm_struct *guest, unsigned long start);
bool arch_mshare_published(struct mm_struct *guest, struct mm_struct *host);
const struct mm_struct *arch_mshare_host_at(struct mm_struct *guest, unsigned long addr);
struct vm_area_struct *arch_mshare_vma_at(struct mm_struct *guest, unsigned long addr);
unsigned long arch_mshare_sum(struct mm_struct *guest,
			      unsigned long (*of)(struct mm_struct *host, void *arg), void *arg);

/* Is a region attached to @mm, or about to be? */
static inline bool arch_mshare_attached(const struct mm_struct *mm)
{
	/*
	 * A caller that acts on this reads the pointer once more.  A volatile
	 * read would cost an instruction in each switch between processes that
	 * are not guests.
	 */
	return data_race(mm->context.mshare);
}

#endif /* _ASM_X86_MSHARE_H */
