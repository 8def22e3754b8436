/* SPDX-License-Identifier: GPL-2.0 */
/*
 * mshare - ASIDs: how many there are, and what keeps them up to date
 */
#ifndef _ASM_X86_MSHARE_ASID_H
#define _ASM_X86_MSHARE_ASID_H

#include <asm/hardirq.h>
#include <asm/tlbflush.h>

/*
 * A global ASID is one number on all CPUs: thousands, of which few are of guests
 * that a CPU runs.  They share some slots.  That an ASID finds in one what another has
 * left does no harm: the set that is named there is of a single mm, which has its
 * global ASID as long as it lives.
 */
#define MSHARE_GLOBAL_SLOTS	16
#define MSHARE_SEEN_SLOTS	(TLB_NR_DYN_ASIDS + MSHARE_GLOBAL_SLOTS)

/* So many numbers are there for ASIDs. */
#define MSHARE_ASIDS		BIT(X86_CR3_PCID_BITS)

static inline unsigned int mshare_seen_slot(u16 asid)
{
	return is_dyn_asid(asid) ? asid : TLB_NR_DYN_ASIDS + asid % MSHARE_GLOBAL_SLOTS;
}

/* Is it kept up to date by generations?  INVLPGB does so for the others. */
static inline bool mshare_asid_has_gen(u16 asid)
{
	return is_dyn_asid(asid);
}

#define mshare_count_flush_irq()	inc_irq_stat(TLB)

#endif /* _ASM_X86_MSHARE_ASID_H */
