// SPDX-License-Identifier: GPL-2.0
/*
 * mshare - TLB coherence of shared page tables
 */
#include <linux/mm.h>
#include <linux/mshare.h>
#include <asm/tlbflush.h>
#include <trace/events/mshare.h>

/**
 * mshare_flush_host - Make a change of a region's page tables visible.
 * @mm: The host mm.
 * @start: First address of the change, in @mm.
 * @end: End of the change, or TLB_FLUSH_ALL.
 *
 * No CPU loads a host mm, any CPU may run a guest: every TLB goes.  That covers
 * sleeping guests in other PCIDs, lazy CPUs and paging-structure caches, and it
 * waits for gup_fast, which keeps interrupts off while it walks.
 *
 * Callers hold page-table locks: nothing here sleeps or takes a lock.
 */
void mshare_flush_host(struct mm_struct *mm, unsigned long start, unsigned long end)
{
	trace_mshare_flush(mm->mshare, start, end);
	flush_tlb_all();
}
