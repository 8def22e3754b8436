// SPDX-License-Identifier: GPL-2.0
/*
 * mshare - the shrinker: PTE tables are freed when memory is short
 *
 * Its objects are the bytes of tables.  Reclaim begins with a fraction of 1/4096 of the
 * objects, and a cgroup of some hundred MiB has some hundred tables: of these it would
 * never ask for one.  What it asks for adds up, until it is worth taking the lock.
 *
 * Tables are charged to the cgroup of the region's creator, so reclaim of that cgroup takes
 * them.  Reclaim may come from any place that allocates memory, with locks of the
 * region held, or in a fault that is about to use the next table: no lock of the host is
 * waited for.
 */
#include <linux/init.h>
#include <linux/memcontrol.h>
#include <linux/rcupdate_wait.h>
#include <linux/shrinker.h>
#include <linux/swap.h>

#include "mshare.h"

/* Looks at each table that reclaim asks for: one is far cheaper than to evict a page. */
#define MSHARE_SHRINK_LOOKS	4

/* NULL if there was no memory for it at boot. */
static struct shrinker *mshare_shrinker __ro_after_init;

/* The number of the region at which the next scan begins; races do no harm. */
static unsigned long mshare_shrink_id;

static struct mem_cgroup *mshare_no_root(struct mem_cgroup *memcg)
{
	return memcg && mem_cgroup_is_root(memcg) ? NULL : memcg;
}

/* The cgroup whose reclaim takes the tables of @region, or NULL for the root. */
static struct mem_cgroup *mshare_shrink_memcg(const struct mshare_region *region)
{
#ifdef CONFIG_MEMCG
	if (memcg_kmem_online())
		return mshare_no_root(mshare_memcg(region));
#endif
	return NULL;
}

static unsigned long mshare_shrink_count(struct shrinker *shrinker, struct shrink_control *sc)
{
	struct mem_cgroup *memcg = mshare_no_root(sc->memcg);
	const struct mshare_region *region;
	unsigned long id, nr = 0;
	bool any = false;

	rcu_read_lock();
	xa_for_each(&mshare_regions, id, region) {
		/* Among the tables are some of upper levels: one in 512, or a few. */
		if (mshare_shrink_memcg(region) == memcg)
			nr += mm_pgtables_bytes(region->mm);
		/* It becomes ours if the cgroups below are removed. */
		any |= !memcg || mem_cgroup_is_descendant(region->memcg, memcg);
		cond_resched_rcu();
	}
	rcu_read_unlock();
	/* SHRINK_EMPTY undoes mshare_shrinker_see(). */
	return nr || any ? nr : SHRINK_EMPTY;
}

/* The first region from *@id to @last that @memcg pays for, with a reference to its mm. */
static struct mshare_region *mshare_shrink_find(unsigned long *id, unsigned long last,
						struct mem_cgroup *memcg)
{
	struct mshare_region *region;

	rcu_read_lock();
	xa_for_each_range(&mshare_regions, *id, region, *id, last) {
		if (mshare_shrink_memcg(region) == memcg) {
			/* Its own reference is dropped a grace period after it was erased. */
			mmgrab(region->mm);
			break;
		}
		cond_resched_rcu();
	}
	rcu_read_unlock();
	return region;
}

static unsigned long mshare_shrink_scan(struct shrinker *shrinker, struct shrink_control *sc)
{
	struct mem_cgroup *memcg = mshare_no_root(sc->memcg);
	unsigned long first = READ_ONCE(mshare_shrink_id);
	unsigned long id = first, last = ULONG_MAX;
	unsigned long nr, freed = 0, left = sc->nr_to_scan;
	struct mshare_region *region;
	LIST_HEAD(tables);

	while (left) {
		region = mshare_shrink_find(&id, last, memcg);
		if (!region) {
			if (!first || last < first)
				break;
			/* Now those before the first. */
			id = 0;
			last = first - 1;
			continue;
		}
		nr = min(left, MSHARE_SHRINK_BATCH * PAGE_SIZE);
		freed += mshare_shrink_tables(region, nr * MSHARE_SHRINK_LOOKS, &tables);
		mmdrop(region->mm);
		left -= nr;
		id++;
	}
	WRITE_ONCE(mshare_shrink_id, id);
	/*
	 * Who needs memory now would find none, look again, and kill somebody in the end.
	 * This wait depends on nobody who might wait for memory.
	 */
	mshare_put_tables(&tables, !current_is_kswapd());
	mm_account_reclaimed_pages(freed);
	return freed * PAGE_SIZE;
}

/**
 * mshare_shrinker_see - Let reclaim of its cgroup know of a region.
 * @region: In mshare_regions.
 *
 * Also reclaim of the cgroups above, which pay if that one is removed.
 */
void mshare_shrinker_see(struct mshare_region *region)
{
#ifdef CONFIG_MEMCG
	struct mem_cgroup *memcg;
	int nid;

	if (!mshare_shrinker)
		return;
	for (memcg = region->memcg; memcg; memcg = parent_mem_cgroup(memcg))
		for_each_node(nid)
			set_shrinker_bit(memcg, nid, mshare_shrinker->id);
#endif
}

static int __init mshare_shrinker_init(void)
{
	struct shrinker *shrinker = shrinker_alloc(SHRINKER_MEMCG_AWARE, "mshare");

	if (!shrinker)
		return -ENOMEM;
	shrinker->count_objects = mshare_shrink_count;
	shrinker->scan_objects = mshare_shrink_scan;
	/* A fault makes a table again without I/O. */
	shrinker->seeks = 1;
	shrinker_register(shrinker);
	mshare_shrinker = shrinker;
	return 0;
}
fs_initcall(mshare_shrinker_init);
