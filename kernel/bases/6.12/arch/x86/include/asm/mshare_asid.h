/* SPDX-License-Identifier: GPL-2.0 */
/*
 * mshare - ASIDs: how many there are, and what keeps them up to date
 */
#ifndef _ASM_X86_MSHARE_ASID_H
#define _ASM_X86_MSHARE_ASID_H

#include <asm/hardirq.h>
#include <asm/tlbflush.h>

/* ASIDs belong to a CPU, and each has its generation in cpu_tlbstate.ctxs[]. */
#define MSHARE_SEEN_SLOTS	TLB_NR_DYN_ASIDS

/* So many numbers are there for ASIDs. */
#define MSHARE_ASIDS		TLB_NR_DYN_ASIDS

static inline unsigned int mshare_seen_slot(u16 asid)
{
	return asid;
}

static inline bool mshare_asid_has_gen(u16 asid)
{
	return true;
}

#define mshare_count_flush_irq()	inc_irq_stat(irq_tlb_count)

#endif /* _ASM_X86_MSHARE_ASID_H */
