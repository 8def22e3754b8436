/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The TLB protocol of shared page tables, for spin: no CPU may use a
 * translation, or walk a page table, after the flush that was to remove it.
 * What the words, the invariants S1 to S6 and the argument are, is in
 * Documentation/mm/mshare.rst.  ./run knows the configurations and what each
 * deliberate error must end in.
 *
 * Who runs here:
 *	cpu	switch_mm_irqs_off() in its single reads and writes, lazy and
 *		back, leave_mm(), and with IRQs on flush_tlb_func() for
 *		whatever was sent.  An ASID keeps its entries while another
 *		mm is loaded, as with PCIDs.
 *	flush	flush_tlb_mm_range() on a host: PTE, generation, mask, IPIs
 *	batch	arch_tlbbatch_add_pending() for one or two hosts, then
 *		arch_tlbbatch_flush()
 *	task	attaches, detaches and drops guests; at last the region goes
 *
 * LAZY_MASK and GLOBAL are what Linux 7.3 does otherwise than 6.12: see there.
 *
 * What is left out:
 *  - Weak memory: steps happen in one order that all see.  The stores whose
 *    order matters are locked instructions (mask bits, generations) or CR3
 *    writes, which are full barriers, and un-lazying has an smp_mb().
 *  - A fill is made as soon as it is possible, and of everything there is:
 *    the CPU may have that much, and nothing below depends on having less.
 *    Staleness is all that is asked for, so that PTEs only go from old to new.
 *  - An ASID is never evicted: that is the same as a flush of all of it.
 *  - CPU hotplug, text_poke's mm, PTI's second PCID, paravirtual flushes,
 *    preemption of the flusher (it may run on any CPU, or between them).
 *  - That an mm goes over to a global ASID: nothing is cached or recorded for
 *    that one yet, as at the beginning here.
 *  - While a CPU is in switch_mm_irqs_off() it is in neither mm for the checks
 *    (IRQs are off, and what it walks speculatively until it writes CR3
 *    goes into an ASID whose generation is then out of date): as with any mm.
 */

#ifndef CPUS
#define CPUS	2
#endif
#ifndef BUG
#define BUG	0
#endif

/* Deliberate errors.  Each: what is wrong, and the code that has it right. */
/* switch_mm_irqs_off() does not put the CPU into the masks of the hosts. */
#define HOST_MASK_EMPTY		1	/* mshare_see() */
/* It reads the hosts' generations before it is in their masks. */
#define GENS_BEFORE_BIT		2	/* order in mshare_see() */
/* Nothing is compared when a lazy CPU goes on with the mm it has loaded. */
#define UNLAZY_NO_COMPARE	3	/* prev == next in switch_mm_irqs_off() */
/* An ASID that was kept is used again whatever the hosts did meanwhile. */
#define ASID_NO_COMPARE		4	/* need_flush |= in switch_mm_irqs_off() */
/* A flush that frees tables leaves out lazy CPUs, whose walker goes on. */
#define FREED_SKIPS_LAZY	5	/* native_flush_tlb_multi() */
/* A ranged flush is taken for all that a sum over two hosts lacks. */
#define RANGED_TWO_HOSTS	6	/* mshare_gen_is_sum() in mshare_flush_needed() */
/* The table is linked before the CPUs know the new set. */
#define LINK_BEFORE_SYNC	7	/* arch_mshare_publish() before set_p4d() */
/* The sync records new generations without flushing: a flush is lost. */
#define SYNC_NO_FLUSH		8	/* mshare_sync_cpu() */
/* The set is withdrawn while entries are still cached. */
#define WITHDRAW_BEFORE_FLUSH	9	/* arch_mshare_withdraw() from ->close */
/* The region goes with no flush at detach. */
#define FREE_BEFORE_FLUSH	10	/* need_flush_all in mshare_unlink() */
/* The handler does nothing for a host. */
#define HANDLER_IGNORES_HOST	11	/* mshare_flush_cpu() in flush_tlb_func() */
/* Only other CPUs are asked: the flusher's own keeps its entries. */
#define NO_LOCAL_BRANCH		12	/* mshare_flush_here() in flush_tlb_mm_range() */
/* INVLPG takes the address in the host. */
#define HOST_ADDRESS		13	/* mshare_flush_range() */
/* Attach publishes and links, but tells no CPU. */
#define NO_SYNC			14	/* arch_mshare_publish() */
/* A batch brings only the loaded mm's own generation up to date. */
#define BATCH_IGNORES_HOSTS	15	/* !f->mm in flush_tlb_func() */
/* A region that is attached twice is flushed at its first address only. */
#define FIRST_ATTACHMENT_ONLY	16	/* loop in mshare_flush_range() */
/* The handler flushes, then reads the generations that it records. */
#define GENS_AFTER_FLUSH	17	/* order in __mshare_flush_cpu() */
/* should_flush_tlb() looks for a CPU that has the host itself loaded. */
#define HOST_MUST_BE_LOADED	18	/* should_flush_tlb() */
/* A forked child keeps its parent's set, without a region behind it. */
#define FORK_COPIES_SET		19	/* init_new_context() */
/* The host is freed while a CPU may be using a set that names it. */
#define NO_GRACE_PERIOD		20	/* mshare_region.put, an rcu_work */
/* Generations of different sets are compared. */
#define NO_SET_ID		21	/* seen->id in mshare_flush_needed() */
/* Bits of the mm that is left go after those of the next were set. */
#define CLEAR_AFTER_SET		22	/* order in switch_mm_irqs_off() */
/* A ranged flush whose generation is not the only one that is missing. */
#define RANGED_WHEN_BEHIND	23	/* seen->gen[gen] + 1 in mshare_flush_needed() */
/* The CPU is no longer in the guest's mask when it looks at the guest's links. */
#define LEAVE_MASK_FIRST	24	/* mshare_switch_out() in switch_mm_irqs_off() */

/* A ranged flush of one host is recorded as if it were for all. */
#define RANGED_IS_FOR_ALL	25	/* MSHARE_FLUSH_RANGE in __mshare_flush_cpu() */

/* ---- the configuration: run sets what differs from this */

#ifndef A1_HOST			/* attachment 0 is of host 0, 1 of this */
#define A1_HOST		0
#endif
#ifndef G_SET			/* attachments of G, J at the beginning, bits */
#define G_SET		1
#endif
#ifndef J_SET
#define J_SET		0
#endif
#ifndef MMS			/* init_mm, G and the first of J, N */
#define MMS		3
#endif
#ifndef FLUSHES			/* pages 0.. are flushed, each by a process */
#define FLUSHES		1
#endif
#ifndef P1_HOST			/* page 0 is of host 0 */
#define P1_HOST		0
#endif
#ifndef P2_HOST
#define P2_HOST		0
#endif
#ifndef FREED			/* pages that stand for a freed table, bits */
#define FREED		0
#endif
#ifndef RANGED
#define RANGED		0
#endif
#ifndef SUM			/* two hosts share one generation, as those of many do */
#define SUM		0
#endif
#ifndef BATCH			/* instead of flush: 1 page, or 2 */
#define BATCH		0
#endif
/* TASK: what task does, a list of attach(mm, a) and detach(mm, a) */
#ifndef LAZY_MASK		/* CPUs stay in the mask of an mm that they leave, */
#define LAZY_MASK	0	/* and a flusher that asks others reads it again */
#endif
#ifndef GLOBAL			/* mms whose ASID INVLPGB flushes everywhere, bits */
#define GLOBAL		0
#endif
#ifndef REGION			/* the region that goes when task is done */
#define REGION		99
#endif

/* With nobody who changes sets these steps touch what nobody else does. */
#ifdef TASK
#define QUIET
#else
#define QUIET	atomic
#define TASK		skip
#endif

#define INIT	0
#define G	1
#define J	2
#define NP	3			/* most pages */
#define BIT(i)	(1 << (i))
#define A_HOST(a)	((a) == 0 -> 0 : A1_HOST)
#define P_HOST(p)	((p) == 0 -> 0 : ((p) == 1 -> P1_HOST : P2_HOST))
/* Pages of a host, attachments of a host, hosts of a set of attachments. */
#define PAGES(h)	(((h) == 0 -> 1 : 0) | ((h) == P1_HOST -> 2 : 0) | ((h) == P2_HOST -> 4 : 0))
#define ATTS(h)		(((h) == 0 -> 1 : 0) | ((h) == A1_HOST -> 2 : 0))
#define HOSTS(s)	(((s) & 1 -> 1 : 0) | ((s) & 2 -> BIT(A1_HOST) : 0))
/* Where the generation of a host is, and whether that is a sum. */
#define GEN_OF(s, h)	((!SUM && HOSTS(s) == 3) -> (h) : 0)
#define IS_SUM(s)	(SUM && HOSTS(s) == 3)
#define A_GEN(k, n)	a_gen[2 * (k) + (n)]
#define AS(c, m)	((c) * MMS + (m))
#define OWN_STALE(c, m, g)	(!(GLOBAL & BIT(m)) && a_own[AS(c, m)] != (g))

/* What was sent: flush 0..2, or one of these. */
#define SYNC	3
#define OWN	4			/* flush of the guest's own, frees tables */
#define ALL	5			/* batch: no mm is named */

/* ---- state */

byte own[MMS] = 1;		/* context.tlb_gen */
byte set[MMS], set_id[MMS];	/* the published set */
byte linked[MMS];		/* attachments in the top-level table */
byte gone[MMS];			/* .. unlinked and flushed */
byte mask[MMS];			/* mm_cpumask() */
byte gen[2] = 1, hmask[2];	/* of the hosts */
byte freed;			/* hosts that are no more */
byte users[2];			/* flushes under way */
byte old_pte = 7;		/* pages as they were */
byte flushed;			/* pages whose flush returned */
byte last_id;

/* An ASID of a CPU: what is recorded of it, and what the TLB has. */
byte a_own[CPUS * MMS], a_id[CPUS * MMS], a_gen[2 * CPUS * MMS];
byte a_psc[CPUS * MMS];		/* attachments whose table is cached */
byte a_tlb[CPUS * MMS];		/* old pages, NP bits an attachment */

byte loaded[CPUS];
bool lazy[CPUS], irqs_off[CPUS], switching[CPUS];
byte sent[CPUS];		/* bits of what is to be handled */
byte new_gen[NP];		/* f->new_tlb_gen */
byte sync_mm, own_mm;
#ifdef BUDGET
byte budget[CPUS] = BUDGET;
#endif
hidden byte i, k;		/* within one step only */

/* ---- what run is told: neither is part of the state */

c_decl {
	#define PATHS \
		X(switch_flush) X(switch_keep) X(switch_own_only) X(switch_host_only) X(shared_bit) \
		X(unlazy_flush) X(unlazy_own) X(unlazy_keep) X(leave_mm) X(skip_lazy) X(ipi_lazy) \
		X(ranged) X(ranged_both) X(ranged_two_hosts) X(full) X(full_two_hosts) X(up_to_date) X(trim) X(trim_init) \
		X(sync) X(sync_done) X(sync_lazy) X(sync_elsewhere) X(own_flush) X(batch_own) X(batch_host) \
		X(batch_up_to_date) X(own_elsewhere) X(broadcast) X(broadcast_all) X(global_flush) X(old_set) X(leftover_bit) X(freed_region) X(attach_again)
	#define X(name) hit_##name,
	enum { PATHS hits };
	#undef X
	#define X(name) #name,
	static const char *const path[] = { PATHS };
	static unsigned long hit[hits];
	static const char *violated;
	static void report(void)
	{
		int n;

		for (n = 0; n < hits; n++)
			if (hit[n])
				printf("path %s %lu\n", path[n], hit[n]);
		if (violated)
			printf("violated: %s\n", violated);
	}
};

#define HIT(name)	c_code { hit[hit_##name]++; }
#define HIT_IF(cond, name)	if :: cond -> HIT(name) :: else fi
#define MUST(cond, why)	if :: cond :: else -> c_code { violated = why; }; assert(false) fi

/* ---- the hardware */

/* All that c can cache at any time from here on. */
inline fill(C)
{
	k = AS(C, loaded[C]);
	a_psc[k] = a_psc[k] | linked[loaded[C]];
	a_tlb[k] = a_tlb[k] | (a_psc[k] & 1 -> old_pte & PAGES(0) : 0) |
		   ((a_psc[k] & 2 -> old_pte & PAGES(A1_HOST) : 0) << NP)
}

inline flush_asid(C, M)
{
	a_psc[AS(C, M)] = 0;
	a_tlb[AS(C, M)] = 0
}

/* INVLPGB: an ASID on all CPUs, and whoever sent it waits. */
inline broadcast(M)
{
	for (i : 0 .. CPUS - 1) {
		flush_asid(i, M);
		if :: loaded[i] == M -> fill(i) :: else fi
	}
	i = 0
}

/* ---- what must hold: in every state in which c runs, so where it changes */

#define TLB_PAGES(k)	((a_tlb[k] | (a_tlb[k] >> NP)) & 7)

inline check(C)
{
	k = AS(C, loaded[C]);
	if
	:: loaded[C] != INIT && !irqs_off[C] ->
		MUST(lazy[C] || !(TLB_PAGES(k) & flushed & ~(FREED)), "stale page used");
		MUST(!(TLB_PAGES(k) & flushed & FREED), "freed table walked");
		MUST(!(a_psc[k] & gone[loaded[C]]), "detached table walked");
		MUST(!(HOSTS(a_psc[k]) & freed), "freed region walked")
#if BUG == 0
;		/* S1 */
		MUST(!(linked[loaded[C]] & ATTS(0)) || (hmask[0] & BIT(C)), "S1");
		MUST(!(linked[loaded[C]] & ATTS(1)) || (hmask[1] & BIT(C)), "S1")
#endif
	:: else
	fi
}

/* S2, but for sums: they do not tell whose steps they are. */
inline check_record(C, M)
{
#if BUG == 0 && !(SUM && A1_HOST == 1)
	for (i : 0 .. FLUSHES - 1) {
		MUST(!new_gen[i] || !(HOSTS(set[M]) & BIT(P_HOST(i))) || a_id[AS(C, M)] != set_id[M] ||
		     A_GEN(AS(C, M), GEN_OF(set[M], P_HOST(i))) < new_gen[i] ||
		     !(TLB_PAGES(AS(C, M)) & BIT(i)), "S2")
	}
	i = 0
#else
	skip
#endif
}

inline check_all()
{
	for (i : 0 .. CPUS - 1) {
		check(i)
	}
	i = 0
}

#define TOUCH(s)	MUST(!(HOSTS(s) & freed), "freed host touched")

/* ---- pieces of switch_mm_irqs_off() and flush_tlb_func() */

inline clear_bits(C, S)
{
	TOUCH(S);
	if :: HOSTS(S) & 1 -> hmask[0] = hmask[0] & ~BIT(C) :: else fi;
	if :: HOSTS(S) & 2 -> hmask[1] = hmask[1] & ~BIT(C) :: else fi
}

/* mshare_see(), as far as the comparison: for each host the bit, then its generation. */
inline put_bit(C, S, H)
{
	d_step {
		TOUCH(S);
		if
		:: (HOSTS(S) & BIT(H)) && BUG != HOST_MASK_EMPTY -> hmask[H] = hmask[H] | BIT(C)
		:: else
		fi
	}
}

inline read_gen1(S)
{
	d_step {
		TOUCH(S);
		if
		:: HOSTS(S) == 3 && !SUM -> g1 = gen[1]
		:: HOSTS(S) == 3 && SUM -> g0 = g0 + gen[1]
		:: HOSTS(S) == 2 -> g0 = gen[1]
		:: else
		fi
	}
}

inline read_gens(S)
{
	d_step { TOUCH(S); g0 = (HOSTS(S) & 1 -> gen[0] : 0) };
#if A1_HOST == 1
	read_gen1(S)
#endif
}

inline see(C, S)
{
	put_bit(C, S, 0);
	d_step { TOUCH(S); g0 = (HOSTS(S) & 1 -> gen[0] : 0) };
#if A1_HOST == 1
	put_bit(C, S, 1);
	read_gen1(S)
#endif
}

/* That of one host: mshare_gen_now(). */
inline read_gen(S, H)
{
	if
	:: IS_SUM(S) -> read_gens(S)
	:: else -> d_step { MUST(!(freed & BIT(H)), "freed host touched"); g0 = gen[H] }
	fi
}

/* mshare_catch_up(), as far as the comparison. */
inline catch_up(C, M)
{
	d_step { s = set[M]; id = set_id[M] };
	see(C, s)
}

/* Hosts of the mm that is left, other than those of the next. */
inline leave_hosts(C, NX, S)
{
#if BUG == 0 || BUG == LEAVE_MASK_FIRST
	/* mshare_assert_mask(): nothing is linked that we were not told of. */
	d_step {
		MUST(!(linked[loaded[C]] & ATTS(0)) || (hmask[0] & BIT(C)), "S1");
		MUST(!(linked[loaded[C]] & ATTS(1)) || (hmask[1] & BIT(C)), "S1")
	}
#endif
	/* cleared with the set as it is now: it may not be what bits were set by */
	S = set[loaded[C]];
	d_step {
		k = HOSTS(S) & HOSTS(set[NX]);
		k = (BUG == CLEAR_AFTER_SET -> 0 : (k & 1 -> ATTS(0) : 0) | (k & 2 -> ATTS(1) : 0));
		k = S & ~k;
		clear_bits(C, k);
		HIT_IF(NX != INIT && (HOSTS(S) & HOSTS(set[NX])), shared_bit);
		HIT_IF((hmask[0] & BIT(C)) && !(HOSTS(S | set[NX]) & 1), leftover_bit);
		S = 0
	}
}

inline to_init(C, S)
{
	d_step { switching[C] = true; lazy[C] = false };
	QUIET {
		leave_hosts(C, INIT, S);
#if !LAZY_MASK
		mask[loaded[C]] = mask[loaded[C]] & ~BIT(C);
#endif
		d_step { loaded[C] = INIT; switching[C] = false }
	}
}

#define OTHER_ID(k, id)	(BUG != NO_SET_ID && a_id[k] != (id))
#define STALE(c, m, s, id)	((s) && (OTHER_ID(AS(c, m), id) || A_GEN(AS(c, m), 0) != g0 || \
					 (!SUM && HOSTS(s) == 3 && A_GEN(AS(c, m), 1) != g1)))

inline record(C, M, S, ID)
{
	if
	:: S ->
		a_id[AS(C, M)] = ID;
		A_GEN(AS(C, M), 0) = g0;
		if :: !SUM && HOSTS(S) == 3 -> A_GEN(AS(C, M), 1) = g1 :: else fi
	:: else
	fi
}

/* f names a host: __mshare_flush_cpu(). */
inline handle_host(C, F)
{
	if
	:: BUG == HANDLER_IGNORES_HOST -> skip
	:: else ->
		/* IRQs are off: the set that is read may be replaced, not freed. */
		d_step { m = loaded[C]; s = set[m]; id = set_id[m] };
		if
		:: !(HOSTS(s) & BIT(P_HOST(F))) ->
			d_step {
				MUST(!(freed & BIT(P_HOST(F))), "freed host touched");
				hmask[P_HOST(F)] = hmask[P_HOST(F)] & ~BIT(C);
				if :: m == INIT -> HIT(trim_init) :: else -> HIT(trim) fi
			}
		:: else ->
			if
			:: lazy[C] -> HIT(ipi_lazy); to_init(C, s)
			:: else ->
#if BUG == GENS_AFTER_FLUSH
				d_step { flush_asid(C, m); fill(C) };
				read_gens(s);
				d_step { record(C, m, s, id) }
#else
				read_gen(s, P_HOST(F));
				d_step {
					g = GEN_OF(s, P_HOST(F));
					if
					:: !OTHER_ID(AS(C, m), id) && A_GEN(AS(C, m), g) == g0 -> HIT(up_to_date)
					:: RANGED && (!IS_SUM(s) || BUG == RANGED_TWO_HOSTS) && !OTHER_ID(AS(C, m), id) &&
					   (new_gen[F] == g0 || IS_SUM(s)) && A_GEN(AS(C, m), g) != g0 &&
					   (A_GEN(AS(C, m), g) == g0 - 1 || BUG == RANGED_WHEN_BEHIND) ->
						k = BIT(F) & PAGES(0) & (s & 1 -> 7 : 0);
						k = k | ((BIT(F) & PAGES(A1_HOST) & (s & 2 -> 7 : 0)) << NP);
						if
						:: BUG == HOST_ADDRESS -> k = 0
						:: BUG == FIRST_ATTACHMENT_ONLY -> k = k & 7
						:: else
						fi;
						a_tlb[AS(C, m)] = a_tlb[AS(C, m)] & ~k;
						/* INVLPG takes all of these of the PCID. */
						a_psc[AS(C, m)] = 0;
						HIT(ranged);
						HIT_IF(s == 3, ranged_both);
						HIT_IF(HOSTS(s) == 3, ranged_two_hosts);
						fill(C);
						A_GEN(AS(C, m), g) = g0;
						if
						:: BUG == RANGED_IS_FOR_ALL && HOSTS(s) == 3 -> A_GEN(AS(C, m), 1 - g) = gen[1 - g]
						:: else
						fi;
						check_record(C, m)
					:: else -> nx = 1
					fi;
					g = 0
				};
				if
				:: nx ->
					/* everything, and so for all hosts */
					see(C, s);
					d_step {
						flush_asid(C, m);
						HIT(full);
						HIT_IF(HOSTS(s) == 3, full_two_hosts);
						fill(C);
						record(C, m, s, id);
						check_record(C, m);
						nx = 0
					}
				:: else
				fi
#endif
			fi
		fi
	fi
}

/* The set of the loaded mm was replaced: mshare_sync_cpu(). */
inline handle_sync(C)
{
	if
	:: loaded[C] != sync_mm -> HIT(sync_elsewhere)
	:: else ->
		if
		:: lazy[C] -> HIT(sync_lazy); to_init(C, s)
		:: else ->
			m = loaded[C];
			catch_up(C, m);
			d_step {
				if
				:: STALE(C, m, s, id) ->
					HIT(sync);
					if :: BUG != SYNC_NO_FLUSH -> flush_asid(C, m); fill(C) :: else fi;
					record(C, m, s, id);
					check_record(C, m)
				:: else -> HIT(sync_done)
				fi
			}
		fi
	fi
}

/* As for any mm. */
inline handle_own(C)
{
	if
	:: loaded[C] != own_mm ->
#if LAZY_MASK
		mask[own_mm] = mask[own_mm] & ~BIT(C);
#endif
		HIT(own_elsewhere)
	:: else ->
		if
		:: lazy[C] -> to_init(C, s)
		:: else ->
			d_step { m = loaded[C]; g = own[m] };
			d_step {
				if
				:: OWN_STALE(C, m, g) ->
					flush_asid(C, m); fill(C); a_own[AS(C, m)] = g; HIT(own_flush)
				:: else
				fi
			}
		fi
	fi
}

/* No mm is named: bring up to date whatever is loaded. */
inline handle_all(C)
{
	if
	:: loaded[C] == INIT
	:: else ->
		if
		:: lazy[C] -> to_init(C, s)
		:: else ->
			d_step { m = loaded[C]; g = own[m] };
			catch_up(C, m);
			d_step {
				if
				:: OWN_STALE(C, m, g) ->
					flush_asid(C, m); fill(C); a_own[AS(C, m)] = g;
					HIT(batch_own)
				:: !OWN_STALE(C, m, g) && BUG != BATCH_IGNORES_HOSTS && STALE(C, m, s, id) ->
					flush_asid(C, m); fill(C);
					record(C, m, s, id);
					check_record(C, m);
					HIT(batch_host)
				:: else -> HIT(batch_up_to_date)
				fi
			}
		fi
	fi
}

#ifdef BUDGET
#define MAY(c)		(budget[c] > 0)
#define SPEND(c)	budget[c]--
#else
#define MAY(c)		true
#define SPEND(c)	skip
#endif

proctype cpu(byte c)
{
	byte m, nx, g, id, s, g0, g1;

end:	do
	/* IRQs are on. */
	:: atomic { sent[c] -> irqs_off[c] = true };
		if
		:: sent[c] & 1 -> handle_host(c, 0); nx = BIT(0)
#if FLUSHES > 1
		:: sent[c] & 2 -> handle_host(c, 1); nx = BIT(1)
#endif
#if FLUSHES > 2
		:: sent[c] & 4 -> handle_host(c, 2); nx = BIT(2)
#endif
		:: sent[c] & BIT(SYNC) -> handle_sync(c); nx = BIT(SYNC)
		:: sent[c] & BIT(OWN) -> handle_own(c); nx = BIT(OWN)
		:: sent[c] & BIT(ALL) -> handle_all(c); nx = BIT(ALL)
		fi;
		d_step {
			irqs_off[c] = false;
			check(c);
			/* at last, so that who waits sees what was done */
			sent[c] = sent[c] & ~nx;
			m = 0; g = 0; id = 0; s = 0; g0 = 0; g1 = 0; nx = 0
		}

	:: d_step { loaded[c] != INIT && !lazy[c] && MAY(c) -> SPEND(c); lazy[c] = true }

	/* cpuidle */
	:: atomic { loaded[c] != INIT && lazy[c] -> irqs_off[c] = true; HIT(leave_mm) };
		to_init(c, s);
		d_step { irqs_off[c] = false; s = 0 }

	/* The same mm again: switch_mm_irqs_off(), prev == next. */
	:: d_step { loaded[c] != INIT && lazy[c] -> irqs_off[c] = true; lazy[c] = false; m = loaded[c] };
		QUIET {
			g = own[m];
			catch_up(c, m)
		};
		d_step {
			if
			:: OWN_STALE(c, m, g) ->
				/* nothing is compared then, nor recorded */
				flush_asid(c, m); fill(c);
				a_own[AS(c, m)] = g;
				HIT(unlazy_own)
			:: !OWN_STALE(c, m, g) && BUG != UNLAZY_NO_COMPARE && STALE(c, m, s, id) ->
				HIT_IF(GLOBAL & BIT(m), global_flush);
				flush_asid(c, m); fill(c);
				record(c, m, s, id);
				check_record(c, m);
				HIT(unlazy_flush)
			:: else -> HIT(unlazy_keep)
			fi;
			irqs_off[c] = false;
			check(c);
			m = 0; g = 0; id = 0; s = 0; g0 = 0; g1 = 0
		}

	:: atomic {
		MAY(c) ->
		if
		:: loaded[c] != G -> nx = G
#if MMS > 2
		:: loaded[c] != 2 -> nx = 2
#endif
#if MMS > 3
		:: loaded[c] != 3 -> nx = 3
#endif
		fi;
		SPEND(c); irqs_off[c] = true; lazy[c] = false; switching[c] = true
	   };
		QUIET {
			if
			:: loaded[c] != INIT ->
#if BUG == LEAVE_MASK_FIRST
				mask[loaded[c]] = mask[loaded[c]] & ~BIT(c);
				leave_hosts(c, nx, s)
#elif BUG == CLEAR_AFTER_SET
				mask[loaded[c]] = mask[loaded[c]] & ~BIT(c)
#else
				leave_hosts(c, nx, s);
#if !LAZY_MASK
				mask[loaded[c]] = mask[loaded[c]] & ~BIT(c)
#endif
#endif
			:: else
			fi;
			mask[nx] = mask[nx] | BIT(c);
			g = own[nx];
			/* own generation, then the set, then the bits, then their generations */
			d_step { s = set[nx]; id = set_id[nx] }
		};
#if BUG == GENS_BEFORE_BIT
		read_gens(s);
		put_bit(c, s, 0);
		put_bit(c, s, 1);
#else
		see(c, s);
#endif
#if BUG == CLEAR_AFTER_SET
		if
		:: loaded[c] != INIT -> m = s; leave_hosts(c, nx, s); s = m
		:: else
		fi;
#endif
		/* CR3 */
		d_step {
			HIT_IF(id != set_id[nx], old_set);
			loaded[c] = nx;
			switching[c] = false;
			if
			:: OWN_STALE(c, nx, g) || (BUG != ASID_NO_COMPARE && STALE(c, nx, s, id)) ->
				HIT(switch_flush);
				HIT_IF(s && OWN_STALE(c, nx, g) && !STALE(c, nx, s, id), switch_own_only);
				HIT_IF(!OWN_STALE(c, nx, g), switch_host_only);
				flush_asid(c, nx);
				a_own[AS(c, nx)] = g;
				record(c, nx, s, id)
			:: else -> HIT(switch_keep)
			fi;
			fill(c);
			check_record(c, nx);
			irqs_off[c] = false;
			check(c);
			m = 0; g = 0; id = 0; s = 0; g0 = 0; g1 = 0; nx = 0
		}
	od
}

/* ---- those who send */

/* cond: as should_flush_tlb() decides, CPU after CPU. */
inline send(TO, W, COND)
{
	n = 0;
	do
	:: n < CPUS ->
		d_step {
			if
			:: !(TO & BIT(n))
			:: (TO & BIT(n)) && COND && lazy[n] -> HIT(skip_lazy); TO = TO & ~BIT(n)
			:: (TO & BIT(n)) && COND && !lazy[n] && BUG == HOST_MUST_BE_LOADED && !switching[n] ->
				TO = TO & ~BIT(n)
			:: else -> sent[n] = sent[n] | BIT(W)
			fi;
			n++
		}
	:: else -> break
	od;
	n = 0;
	do
	:: n < CPUS ->
		!(TO & BIT(n)) || !(sent[n] & BIT(W));
		n++
	:: else -> break
	od;
	atomic { n = 0; TO = 0 }
}

proctype flush(byte p)
{
	byte to, n;

	/* The object is there as long as this goes on. */
	atomic {
		if
		:: freed & BIT(P_HOST(p)) -> goto out
		:: else -> users[P_HOST(p)]++
		fi
	};
	old_pte = old_pte & ~BIT(p);
	d_step { gen[P_HOST(p)]++; new_gen[p] = gen[P_HOST(p)] };
	to = hmask[P_HOST(p)];
#if LAZY_MASK
	/* With preemption off on CPU 0 if nobody else is in it, else from anywhere. */
	if :: to & ~1 -> to = hmask[P_HOST(p)] :: else fi;
#endif
#if BUG == NO_LOCAL_BRANCH
	if :: to == BIT(0) -> to = 0 :: else fi;	/* it runs on CPU 0 */
#endif
	send(to, p, ((FREED & BIT(p)) == 0 || BUG == FREED_SKIPS_LAZY));
	d_step {
		flushed = flushed | BIT(p);
		check_all();
		new_gen[p] = 0;
		users[P_HOST(p)]--
	};
out:	skip
}

proctype batch()
{
	byte to, n, p;

	d_step { users[0]++; users[1]++ };
	do
	:: p < BATCH ->
		old_pte = old_pte & ~BIT(p);
		d_step { gen[P_HOST(p)]++; new_gen[p] = gen[P_HOST(p)] };
		to = to | hmask[P_HOST(p)];
		p++
	:: else -> break
	od;
#if GLOBAL
	/* Who has INVLPGB flushes all ASIDs of all CPUs. */
	to = 0;
	d_step { HIT(broadcast_all); for (p : 1 .. MMS - 1) { broadcast(p) }; p = 0 };
#else
	send(to, ALL, true);
#endif
	d_step {
		flushed = flushed | (BATCH == 2 -> 3 : 1);
		check_all();
		users[0]--; users[1]--
	}
}

inline publish(MM, S)
{
	d_step {
		if :: S -> last_id++; set_id[MM] = last_id :: else -> set_id[MM] = 0 fi;
		set[MM] = S
	}
}

inline link(MM, A)
{
	d_step {
		HIT_IF(gone[MM] & BIT(A), attach_again);
		gone[MM] = gone[MM] & ~BIT(A);
		linked[MM] = linked[MM] | BIT(A);
		for (i : 0 .. CPUS - 1) {
			if
			:: loaded[i] == MM -> fill(i); check(i)
			:: else
			fi
		}
		i = 0
	}
}

/* What can fail comes before: the page tables and the memory of the set. */
inline attach(MM, A)
{
	publish(MM, (set[MM] | BIT(A)));
#if BUG == LINK_BEFORE_SYNC
	link(MM, A);
#endif
	own[MM]++;
#if BUG != NO_SYNC
	d_step { sync_mm = MM; to = mask[MM] };
	send(to, SYNC, false);
#endif
#if BUG != LINK_BEFORE_SYNC
	link(MM, A)
#endif
}

inline unlink_and_flush(MM, A)
{
	linked[MM] = linked[MM] & ~BIT(A);
#if BUG != FREE_BEFORE_FLUSH
	own[MM]++;
	if
	:: GLOBAL & BIT(MM) -> d_step { HIT(broadcast); broadcast(MM) }
	:: else ->
		d_step { own_mm = MM; to = mask[MM] };
		send(to, OWN, false)
	fi;
	d_step { gone[MM] = gone[MM] | BIT(A); check_all() }
#endif
}

/* Nobody is told: set ids do that, and leftover bits are dropped later. */
inline withdraw(MM, A)
{
	publish(MM, (set[MM] & ~BIT(A)))
}

inline detach(MM, A)
{
#if BUG == WITHDRAW_BEFORE_FLUSH
	withdraw(MM, A);
	unlink_and_flush(MM, A)
#else
	unlink_and_flush(MM, A);
	withdraw(MM, A)
#endif
}

proctype task()
{
	byte to, n;

	TASK;
	/* The last reference: a grace period, then the host goes. */
	if
	:: REGION == 99 -> goto out
	:: else
	fi;
#if BUG != NO_GRACE_PERIOD
	do
	:: n < CPUS -> !irqs_off[n]; n++
	:: else -> break
	od;
	n = 0;
#endif
	d_step {
		users[REGION % 2] == 0 -> freed = freed | BIT(REGION % 2);
		HIT(freed_region);
		check_all()
	};
out:	skip
}

init {
	atomic {
		c_code { atexit(report); };
		d_step {
			set[G] = G_SET; linked[G] = G_SET;
			if :: G_SET -> last_id++; set_id[G] = last_id :: else fi;
#if MMS > 2
			set[J] = J_SET; linked[J] = J_SET;
			if :: J_SET -> last_id++; set_id[J] = last_id :: else fi;
#if BUG == FORK_COPIES_SET
			set[J] = set[G]; set_id[J] = set_id[G];
#endif
#endif
#ifdef BUDGET1
			budget[1] = BUDGET1;
#endif
			i = 0
		};
		run cpu(0);
#if CPUS > 1
		run cpu(1);
#endif
#if BATCH
		run batch();
#else
#if FLUSHES > 0
		run flush(0);
#endif
#if FLUSHES > 1
		run flush(1);
#endif
#if FLUSHES > 2
		run flush(2);
#endif
#endif
		run task()
	}
}
