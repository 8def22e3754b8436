// SPDX-License-Identifier: GPL-2.0
/*
 * mshare - regions: inode, size, base
 */
#include <linux/filelock.h>
#include <linux/fs.h>
#include <linux/hugetlb.h>
#include <linux/init.h>
#include <linux/mount.h>
#include <linux/pagemap.h>
#include <linux/pseudo_fs.h>
#include <linux/random.h>
#include <linux/sched/signal.h>
#include <linux/sched/user.h>
#include <linux/shmem_fs.h>

#include "mshare.h"
#include "vma.h"

#define CREATE_TRACE_POINTS
#include <trace/events/mshare.h>

#define MSHARE_MAGIC		0x6d736872

#define WINDOW_SLOTS		((MSHARE_WINDOW_END - MSHARE_WINDOW_START) / P4D_SIZE)

/*
 * Protects mshare_takers[], and changes of the lists of owned regions.  A leaf lock,
 * held for a few steps however many regions there are.
 */
DEFINE_SPINLOCK(mshare_lock);
/* By id, from creation until the inode goes, and a grace period longer for RCU. */
DEFINE_XARRAY(mshare_regions);
atomic_long_t mshare_nr_regions;

/* The number of regions that take each slot of the window; under mshare_lock. */
static unsigned int mshare_takers[WINDOW_SLOTS];

static atomic64_t mshare_last_id;
struct vfsmount *mshare_mnt __ro_after_init;
/* Unbound, and makes progress even if memory is short: it frees memory. */
struct workqueue_struct *mshare_wq __ro_after_init;
/* Where the search for a base starts, random per boot. */
static unsigned int mshare_first_slot __ro_after_init;

/**
 * mshare_region_id - The number of a region, for trace events.
 * @region: The region.
 *
 * Return: Its number.
 */
u64 mshare_region_id(const struct mshare_region *region)
{
	return region->id;
}

/* Size */

/* Chooses a base for @slots slots, at the place with the fewest regions. */
static unsigned long mshare_pick_base(unsigned int slots)
{
	unsigned long takers, fewest = ULONG_MAX;
	unsigned int i, j, first, best = 0;

	lockdep_assert_held(&mshare_lock);
	for (i = 0; fewest && i < WINDOW_SLOTS; i++) {
		first = (mshare_first_slot + i) % WINDOW_SLOTS;
		if (first + slots > WINDOW_SLOTS)
			continue;
		for (takers = j = 0; j < slots; j++)
			takers += mshare_takers[first + j];
		if (takers < fewest) {
			fewest = takers;
			best = first;
		}
	}
	return MSHARE_WINDOW_START + best * P4D_SIZE;
}

/**
 * mshare_take_slots - Change the number of slots that a region takes from its base on.
 * @region: The region; it is about to grow, or to be freed.
 * @slots: The new number; 0 to release all.
 *
 * Context: mshare_lock.
 */
void mshare_take_slots(struct mshare_region *region, unsigned int slots)
{
	unsigned int slot, first;

	lockdep_assert_held(&mshare_lock);
	if (!region->base && slots)
		region->base = mshare_pick_base(slots);
	first = (region->base - MSHARE_WINDOW_START) / P4D_SIZE;
	/* Slots past the window are not counted. */
	for (slot = region->slots; slot < slots && first + slot < WINDOW_SLOTS; slot++)
		mshare_takers[first + slot]++;
	for (slot = slots; slot < region->slots && first + slot < WINDOW_SLOTS; slot++)
		mshare_takers[first + slot]--;
	region->slots = slots;
}

/* The number of slots of the largest attachment. */
static unsigned int mshare_slots_in_use(struct address_space *mapping)
{
	struct vm_area_struct *vma;
	unsigned int slots = 0;

	i_mmap_lock_read(mapping);
	mapping_rmap_tree_foreach(vma, mapping, 0, ULONG_MAX)
		slots = max(slots, mshare_slots(vma->vm_end - vma->vm_start));
	i_mmap_unlock_read(mapping);
	return slots;
}

/**
 * mshare_resize - Set the size of a region.
 * @inode: The region, its i_rwsem and the host's mmap_lock held for writing.
 * @size: Its new size in bytes, for which tables exist.
 */
void mshare_resize(struct inode *inode, unsigned long size)
{
	struct mshare_region *region = inode->i_private;
	unsigned int slots = mshare_slots(size);

	if (slots > region->slots) {
		spin_lock(&mshare_lock);
		mshare_take_slots(region, slots);
		spin_unlock(&mshare_lock);
	}
	WRITE_ONCE(region->size, size);
	i_size_write(inode, size);
}

static int mshare_set_size(struct inode *inode, unsigned long size)
{
	struct mshare_region *region = inode->i_private;
	struct mm_struct *mm = region->mm;
	unsigned int slots = mshare_slots(size);
	int err;

	lockdep_assert_held_write(&inode->i_rwsem);
	if (mmap_write_lock_killable(mm))
		return -EINTR;
	err = -EOWNERDEAD;
	if (READ_ONCE(region->dead))
		goto out;
	err = -EBUSY;
	if (size < region->size &&
	    (find_vma_intersection(mm, MSHARE_HOST_START + size, ULONG_MAX) ||
	     slots < mshare_slots_in_use(inode->i_mapping)))
		goto out;
	err = mshare_host_grow(region, slots);
	if (!err)
		mshare_resize(inode, size);
out:
	mmap_write_unlock(mm);
	return err;
}

/* Inode and file */

/*
 * Not simple_setattr(): truncating the inode's own page cache, which is empty,
 * would unmap the attachments.
 */
static int mshare_setattr(struct mnt_idmap *idmap, struct dentry *dentry,
			  struct iattr *attr)
{
	struct inode *inode = d_inode(dentry);
	int err;

	if ((attr->ia_valid & ATTR_SIZE) && mshare_is_sealed(inode->i_private))
		return -EPERM;
	if ((attr->ia_valid & ATTR_SIZE) && !PAGE_ALIGNED(attr->ia_size))
		return -EINVAL;
	err = setattr_prepare(idmap, dentry, attr);
	if (!err && (attr->ia_valid & ATTR_SIZE))
		err = mshare_set_size(inode, attr->ia_size);
	if (err)
		return err;
	setattr_copy(idmap, inode, attr);
	return 0;
}

static const struct inode_operations mshare_iops = {
	.setattr	= mshare_setattr,
};

static const struct file_operations mshare_fops = {
	.open		= mshare_reopen,
	.llseek		= generic_file_llseek,
	.setlease	= generic_setlease,
	.show_fdinfo	= mshare_show_fdinfo,
};

/**
 * mshare_is_file - Does a file refer to a region?
 * @file: Any file.
 *
 * Return: true if it does.
 */
bool mshare_is_file(const struct file *file)
{
	return file->f_op == &mshare_fops;
}

static void mshare_drop_work(struct work_struct *work)
{
	mmdrop(container_of(to_rcu_work(work), struct mshare_region, drop)->mm);
}

static struct mshare_region *mshare_region_alloc(void)
{
	struct mshare_region *region = kzalloc_obj(*region, GFP_KERNEL_ACCOUNT);

	if (!region)
		return NULL;
	region->memcg = get_mem_cgroup_from_current();
	if (mshare_shrinker_prepare(region))
		goto out_memcg;
	region->faults = alloc_percpu_gfp(unsigned long, GFP_KERNEL_ACCOUNT);
	if (!region->faults)
		goto out_memcg;
	region->mm = mshare_host_alloc();
	if (!region->mm)
		goto out_counter;
	region->user = get_uid(current_user());
	INIT_LIST_HEAD(&region->changes);
	init_waitqueue_head(&region->gate);
	INIT_WORK(&region->reap, mshare_reap);
	INIT_RCU_WORK(&region->drop, mshare_drop_work);
	region->mm->mshare = region;
	return region;

out_counter:
	free_percpu(region->faults);
out_memcg:
	mem_cgroup_put(region->memcg);
	kfree(region);
	return NULL;
}

/**
 * mshare_new_inode - Make an inode with an empty region, which is not yet admitted.
 *
 * Return: The inode, whose eviction frees it all, or an error.
 */
struct inode *mshare_new_inode(void)
{
	struct inode *inode;

	inode = anon_inode_make_secure_inode(mshare_mnt->mnt_sb, "[mshare]", NULL);
	if (IS_ERR(inode))
		return inode;
	inode->i_private = mshare_region_alloc();
	if (!inode->i_private) {
		iput(inode);
		return ERR_PTR(-ENOMEM);
	}
	inode->i_mode |= S_IFREG;
	/* It has no name.  A watch (inotify) ends with the last file, as that of a memfd. */
	clear_nlink(inode);
	inode->i_op = &mshare_iops;
	/* For reopening through /proc. */
	inode->i_fop = &mshare_fops;
	return inode;
}

/**
 * mshare_admit - Number a region and count it.
 * @region: From mshare_new_inode().
 * @flags: MSHARE_OWNED or 0.
 *
 * Return: 0; or -EDQUOT or -ENOMEM, after which it can only be freed.
 */
int mshare_admit(struct mshare_region *region, unsigned int flags)
{
	unsigned int limit = READ_ONCE(mshare_max_regions_per_user);
	u64 id = atomic64_inc_return(&mshare_last_id);
	int err = -EDQUOT;

	if (atomic_long_inc_return(&region->user->mshare_regions) <= limit || !limit)
		err = xa_insert(&mshare_regions, id, region, GFP_KERNEL);
	if (err) {
		atomic_long_dec(&region->user->mshare_regions);
		return err;
	}
	mshare_shrinker_add(region);
	region->id = id;
	atomic_long_inc(&mshare_nr_regions);
	region->owned = flags & MSHARE_OWNED;
	if (region->owned) {
		spin_lock(&mshare_lock);
		hlist_add_head_rcu(&region->owner, &current->signal->mshare_owned);
		spin_unlock(&mshare_lock);
	}
	return 0;
}

/**
 * mshare_new_file - Make a file that refers to a region.
 * @inode: Of the region; the file takes over a reference.
 * @name: For people.
 * @flags: O_RDONLY or O_RDWR.
 *
 * Return: The file, or an error.
 */
struct file *mshare_new_file(struct inode *inode, const char *name, int flags)
{
	struct file *file;

	/* O_LARGEFILE: otherwise ftruncate() refuses sizes above 2 GiB. */
	file = alloc_file_pseudo(inode, mshare_mnt, name, flags | O_LARGEFILE, &mshare_fops);
	if (IS_ERR(file))
		return file;
	/* A file at a position, so that read and write are EINVAL, not ESPIPE. */
	file->f_mode |= FMODE_LSEEK | FMODE_PREAD | FMODE_PWRITE;
	return file;
}

/**
 * mshare_create_file - Make a region and a file that refers to it.
 * @name: For people, not unique.
 * @flags: MSHARE_OWNED or 0.
 *
 * Return: The file, open for reading and writing, or an error.
 */
struct file *mshare_create_file(const char *name, unsigned int flags)
{
	struct inode *inode = mshare_new_inode();
	struct file *file;
	int err;

	if (IS_ERR(inode))
		return ERR_CAST(inode);
	err = mshare_admit(inode->i_private, flags);
	file = err ? ERR_PTR(err) : mshare_new_file(inode, name, O_RDWR);
	if (IS_ERR(file))
		iput(inode);
	else
		trace_mshare_create(inode->i_private, name, flags);
	return file;
}

/*
 * Frees the memory of anonymous objects at once.  Unmapping them is not enough: the
 * last fput() of a file may free it much later.
 */
static void mshare_free_anon(struct mshare_region *region)
{
	struct mm_struct *mm = region->mm;
	struct vm_area_struct *vma;
	struct vma_iterator vmi;

	vma_iter_init(&vmi, mm, 0);
	mmap_read_lock(mm);
	for_each_vma(vmi, vma) {
		if (vma->vm_file->private_data != region || is_vm_hugetlb_page(vma))
			continue;
		/* All at once, and not page by page. */
		unmap_mapping_range(vma->vm_file->f_mapping, 0, 0, 1);
		shmem_truncate_range(file_inode(vma->vm_file), 0, (loff_t)-1);
		cond_resched();
	}
	mmap_read_unlock(mm);
}

/*
 * No guest is attached, and every former guest has been flushed.  The task that drops the
 * last reference frees the memory here, with no lock held: the OOM killer may have chosen
 * it to get that memory.
 */
static void mshare_evict_inode(struct inode *inode)
{
	struct mshare_region *region = inode->i_private;

	if (region && mshare_is_sealed(region))
		mshare_forget_file(inode);
	truncate_inode_pages_final(&inode->i_data);
	clear_inode(inode);
	if (!region)
		return;
	spin_lock(&mshare_lock);
	hlist_del_init_rcu(&region->owner);
	spin_unlock(&mshare_lock);
	mmgrab(region->mm);
	mshare_free_anon(region);
	mmput(region->mm);
	if (region->id) {
		xa_erase(&mshare_regions, region->id);
		if (!mshare_is_sealed(region))
			atomic_long_dec(&region->user->mshare_regions);
	}
	mshare_shrinker_del(region);
	queue_rcu_work(mshare_wq, &region->drop);
}

static const struct super_operations mshare_super_ops = {
	.statfs		= simple_statfs,
	.evict_inode	= mshare_evict_inode,
};

/* dynamic_dname() does not take a name of MSHARE_NAME_MAX bytes. */
static char *mshare_dname(struct dentry *dentry, char *buffer, int buflen)
{
	int len = scnprintf(buffer, buflen, "/mshare:%s", dentry->d_name.name) + 1;

	if (len >= buflen)
		return ERR_PTR(-ENAMETOOLONG);
	return memmove(buffer + buflen - len, buffer, len);
}

static const struct dentry_operations mshare_dentry_ops = {
	.d_dname	= mshare_dname,
	.d_release	= mshare_release_path,
};

static int mshare_init_fs_context(struct fs_context *fc)
{
	struct pseudo_fs_context *ctx = init_pseudo(fc, MSHARE_MAGIC);

	if (!ctx)
		return -ENOMEM;
	ctx->ops = &mshare_super_ops;
	ctx->dops = &mshare_dentry_ops;
	return 0;
}

static struct file_system_type mshare_fs_type = {
	.name			= "mshare",
	.init_fs_context	= mshare_init_fs_context,
	.kill_sb		= kill_anon_super,
};

static int __init mshare_init(void)
{
	int err;

	BUILD_BUG_ON(sizeof(struct mshare_map_args) != MSHARE_MAP_ARGS_SIZE_VER0);
	BUILD_BUG_ON(sizeof(struct mshare_stat) != MSHARE_STAT_SIZE_VER1);
	BUILD_BUG_ON(MSHARE_CLOEXEC != O_CLOEXEC);
	BUILD_BUG_ON(MSHARE_CLOEXEC & (MSHARE_OWNED | MSHARE_QUERY_ABI));
	BUILD_BUG_ON(MSHARE_SIZE_MAX / P4D_SIZE > WINDOW_SLOTS);
	/* "mshare:" and a name together are a file name. */
	BUILD_BUG_ON(MSHARE_NAME_MAX + sizeof("mshare:") - 1 > NAME_MAX);

	mshare_first_slot = get_random_u32_below(WINDOW_SLOTS);
	/* An empty region of one slot takes some 16 KiB, those of a user less than 2%. */
	mshare_max_regions_per_user = clamp(totalram_pages() >> (20 - PAGE_SHIFT),
					    1024UL, (unsigned long)UINT_MAX);
	mshare_wq = alloc_workqueue("mshare", WQ_UNBOUND | WQ_MEM_RECLAIM, 0);
	if (!mshare_wq)
		return -ENOMEM;
	mshare_mnt = kern_mount(&mshare_fs_type);
	if (IS_ERR(mshare_mnt)) {
		err = PTR_ERR(mshare_mnt);
		goto out_wq;
	}
	mshare_mnt->mnt_sb->s_maxbytes = MSHARE_SIZE_MAX;
	err = mshare_sysfs_init();
	if (err)
		goto out_mnt;
	mshare_enabled = true;
	return 0;

out_mnt:
	kern_unmount(mshare_mnt);
out_wq:
	destroy_workqueue(mshare_wq);
	return err;
}
fs_initcall(mshare_init);
