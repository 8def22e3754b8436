// SPDX-License-Identifier: GPL-2.0
/*
 * mshare - the shrinker: PTE tables are freed when memory is short
 *
 * Reclaim begins with a fraction of the objects of a shrinker, which rounds down to nothing
 * if there are only a few hundred.  So this shrinker always counts some thousands, and each
 * region looks at the same fraction of its tables.  These amounts add up until they are
 * worth the lock.
 *
 * Tables are charged to the cgroup of the region's creator, so reclaim of that cgroup takes
 * them.  Reclaim may start wherever memory is allocated, with locks of the region held, or in
 * a fault that is about to use the next table.  So nothing here waits for a lock of the host,
 * but only for another task that is here.
 */
#include <linux/init.h>
#include <linux/list_lru.h>
#include <linux/math.h>
#include <linux/memcontrol.h>
#include <linux/shrinker.h>
#include <linux/swap.h>
#include <linux/vmstat.h>

#include "mshare.h"
#include "vma.h"

/* Looks per table that reclaim asks for: a look is far cheaper than evicting a page. */
#define MSHARE_SHRINK_LOOKS	8UL

/*
 * Reclaim asks for this many objects at a time.  It begins with as many if there are at least
 * MSHARE_SHRINK_LEAST.
 */
#define MSHARE_SHRINK_OBJECTS	8UL
#define MSHARE_SHRINK_LEAST	(MSHARE_SHRINK_OBJECTS << 10)

/* So many regions of which nothing can be taken are passed over at a time. */
#define MSHARE_SHRINK_PASSED	256UL

/* NULL if there was no memory for it at boot. */
static struct shrinker *mshare_shrinker __ro_after_init;

/*
 * The regions, by the cgroup that pays.  When that cgroup is removed, they move to the
 * one above.  All of them are in the lists of node 0, as tables are on any node.
 */
static struct list_lru mshare_payers;

/*
 * The cgroup whose list a region is in.  list_lru finds the list by the ID of the cgroup, and
 * goes on to the parent if it has just moved there.  A cgroup that is offline is not asked for:
 * the next one that is made may have its ID.  mshare_memcg() would be wrong: it skips a cgroup
 * as soon as its removal begins, before its list moves.
 */
static struct mem_cgroup *mshare_payer(const struct mshare_region *region)
{
	struct mem_cgroup *memcg = memcg_kmem_online() ? region->memcg : NULL;

	while (memcg && !mem_cgroup_online(memcg))
		memcg = parent_mem_cgroup(memcg);
	return memcg;
}

/* A few seconds old, and includes the tables of processes: it is only a unit and a limit. */
static unsigned long mshare_shrink_total(const struct shrink_control *sc)
{
	unsigned long tables;

	if (!sc->memcg || mem_cgroup_is_root(sc->memcg))
		tables = global_node_page_state(NR_PAGETABLE);
	else
		tables = memcg_page_state(sc->memcg, NR_PAGETABLE);
	return max(tables, MSHARE_SHRINK_LEAST);
}

static unsigned long mshare_shrink_count(struct shrinker *shrinker, struct shrink_control *sc)
{
	/* Not SHRINK_EMPTY, which would undo what mshare_shrinker_add() has done. */
	return list_lru_count_one(&mshare_payers, 0, sc->memcg) ? mshare_shrink_total(sc) : 0;
}

static enum lru_status mshare_take_first(struct list_head *item, struct list_lru_one *list,
					 void *arg)
{
	struct mshare_region *region = container_of(item, struct mshare_region, payer);
	struct mshare_region **found = arg;

	/* It leaves the list before it drops its own reference. */
	mmgrab(region->mm);
	*found = region;
	return LRU_ROTATE;
}

/* The next of @regions regions that is worth a look, with a reference to its mm, or NULL. */
static struct mshare_region *mshare_shrink_next(struct mem_cgroup *memcg, unsigned long regions)
{
	unsigned long left = min(regions, MSHARE_SHRINK_PASSED);

	for (; left; left--) {
		struct mshare_region *region = NULL;
		unsigned long one = 1;

		mshare_lru_walk_one(&mshare_payers, memcg, mshare_take_first, &region, &one);
		if (!region || !mshare_shrink_in_vain(region))
			return region;
		mmdrop(region->mm);
	}
	return NULL;
}

/* Scans one region on behalf of all that are in the list. */
static unsigned long mshare_shrink_scan(struct shrinker *shrinker, struct shrink_control *sc)
{
	unsigned long regions = list_lru_count_one(&mshare_payers, 0, sc->memcg);
	unsigned long total = mshare_shrink_total(sc), freed, bytes;
	struct mshare_region *region = mshare_shrink_next(sc->memcg, regions);
	LIST_HEAD(tables);

	if (!region)
		return SHRINK_STOP;
	bytes = mm_pgtables_bytes(region->mm) * MSHARE_SHRINK_LOOKS * max(regions, 1UL);
	freed = mshare_shrink_tables(region, mult_frac(bytes, min(sc->nr_to_scan, total), total),
				     &tables);
	mmdrop(region->mm);
	/*
	 * Otherwise a task that needs memory now would find none, try again, and call the
	 * OOM killer in the end.  This wait depends on no task that might wait for memory.
	 */
	mshare_put_tables(&tables, !current_is_kswapd());
	mm_account_reclaimed_pages(freed);
	return freed;
}

/**
 * mshare_shrinker_prepare - Allocate what mshare_shrinker_add() needs.
 * @region: Has its memcg, and is not yet known to others.
 *
 * Return: 0 or -ENOMEM.
 */
int mshare_shrinker_prepare(struct mshare_region *region)
{
	INIT_LIST_HEAD(&region->payer);
	mutex_init(&region->shrink_lock);
#ifdef CONFIG_MEMCG
	if (mshare_shrinker) {
		struct mem_cgroup *memcg;
		int err;

		/* The lists of those above, too, unless it has gone offline meanwhile. */
		do {
			memcg = mshare_payer(region);
			err = memcg ? memcg_list_lru_alloc(memcg, &mshare_payers, GFP_KERNEL) : 0;
		} while (!err && memcg != mshare_payer(region));
		return err;
	}
#endif
	return 0;
}

#ifdef CONFIG_MEMCG
/* Reclaim of @memcg and of the cgroups above calls the shrinker, on all nodes. */
static void mshare_shrinker_call(struct mem_cgroup *memcg)
{
	int nid;

	for (; memcg; memcg = parent_mem_cgroup(memcg))
		for_each_node(nid)
			set_shrinker_bit(memcg, nid, mshare_shrinker->id);
}
#else
static void mshare_shrinker_call(struct mem_cgroup *memcg) { }
#endif

/**
 * mshare_shrinker_add - Let reclaim of its cgroup know about a region.
 * @region: Has been prepared.
 *
 * On all nodes, and also reclaim of the cgroups above, to which the region may move.
 */
void mshare_shrinker_add(struct mshare_region *region)
{
	struct mem_cgroup *memcg;

	if (!mshare_shrinker)
		return;
	rcu_read_lock();
	memcg = mshare_payer(region);
	list_lru_add(&mshare_payers, &region->payer, 0, memcg);
	mshare_shrinker_call(memcg);
	rcu_read_unlock();
}

/**
 * mshare_shrinker_del - Let reclaim forget about a region.
 * @region: Has been prepared, and still has its reference to the mm.
 */
void mshare_shrinker_del(struct mshare_region *region)
{
	if (!mshare_shrinker)
		return;
	rcu_read_lock();
	list_lru_del(&mshare_payers, &region->payer, 0, mshare_payer(region));
	rcu_read_unlock();
}

static int __init mshare_shrinker_init(void)
{
	struct shrinker *shrinker = shrinker_alloc(SHRINKER_MEMCG_AWARE, "mshare");

	if (!shrinker)
		return -ENOMEM;
	if (list_lru_init_memcg(&mshare_payers, shrinker)) {
		shrinker_free(shrinker);
		return -ENOMEM;
	}
	shrinker->count_objects = mshare_shrink_count;
	shrinker->scan_objects = mshare_shrink_scan;
	shrinker->batch = MSHARE_SHRINK_OBJECTS;
	/* A fault makes a table again without I/O. */
	shrinker->seeks = 1;
	shrinker_register(shrinker);
	mshare_shrinker = shrinker;
	return 0;
}
fs_initcall(mshare_shrinker_init);
