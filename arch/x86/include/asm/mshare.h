/* SPDX-License-Identifier: GPL-2.0 */
/*
 * mshare - what mm/mshare asks of the architecture
 */
#ifndef _ASM_X86_MSHARE_H
#define _ASM_X86_MSHARE_H

#include <linux/mm.h>
#include <asm/cpufeature.h>
#include <asm/pgtable.h>

/**
 * arch_mshare_supported - Can page tables be shared on this machine?
 *
 * Xen PV pins page tables and types their pages: one table below two top-level
 * tables confuses it.
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
 * The permissions in this entry limit whatever the entries below allow.  It is
 * built and never copied from the host mm: with page-table isolation the two
 * copies of a top-level entry differ.
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

/* Does a top-level entry let writes through? */
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
	 * Who acts on it reads the pointer once more.  Not volatile, for then
	 * it would be an instruction more in each switch between others.
	 */
	return data_race(mm->context.mshare);
}

#endif /* _ASM_X86_MSHARE_H */
