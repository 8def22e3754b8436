/* SPDX-License-Identifier: GPL-2.0 */
/*
 * mshare - internal definitions
 */
#ifndef _MM_MSHARE_MSHARE_H
#define _MM_MSHARE_MSHARE_H

#include <linux/fs.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/mshare.h>
#include <linux/mutex.h>
#include <linux/percpu.h>
#include <linux/pgtable.h>
#include <linux/sched/mm.h>
#include <linux/sizes.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>
#include <uapi/linux/mshare.h>

struct user_namespace;
struct user_struct;

/* The largest region, in bytes. */
#define MSHARE_SIZE_MAX		SZ_32T

/* The window for bases, which is normally free in all processes. */
#define MSHARE_WINDOW_START	0x200000000000UL
#define MSHARE_WINDOW_END	0x500000000000UL

/**
 * struct mshare_region - The region that an mshare file descriptor refers to.
 *
 * It belongs to the inode, not to the struct file: a reopened descriptor is
 * another file of the same inode.  The inode holds one user (mm_users) of the
 * host mm, and the region is freed together with that mm in __mmdrop(): other code,
 * such as khugepaged, may hold the mm longer than the inode lives.
 *
 * Lock order, outermost first: the inode's i_rwsem, a guest's mmap_lock (or the
 * lock of an attachment's VMA), the host mm's mmap_lock (or the lock of an
 * object's VMA), locks that nest inside any mmap_lock, @mshare_lock.  The holder of
 * a lock of the host mm must not touch user memory, wait for user space or take a
 * lock of a guest: the guest's fault may be waiting for the host's lock.
 */
struct mshare_region {
	/** @mm: The host mm.  Set before the region can be found. */
	struct mm_struct *mm;
	/** @id: Number of the region; never changes. */
	u64 id;
	/**
	 * @base: The preferred address of attachments, 0 until a size is first
	 * set.  Written once under the host's mmap_lock (write), read
	 * under it.
	 */
	unsigned long base;
	/**
	 * @slots: PUD tables of the host mm, one per slot of %P4D_SIZE; only
	 * ever grows.  Locked like @base.
	 */
	unsigned int slots;
	/**
	 * @size: Size in bytes, equal to i_size of the inode.  Written under
	 * the inode's i_rwsem and the host's mmap_lock (write), read under
	 * either.  For the region of a file, where it only ever grows, also the
	 * length of the one object.
	 */
	unsigned long size;
	/**
	 * @inode: The inode of the file if it is the region of a file, else NULL;
	 * below an overlay, the real one.  No reference: the object has one, or
	 * the openers if there is no object.  Never changes, like the next two.
	 */
	struct inode *inode;
	/** @uid: The user who has opened that file. */
	kuid_t uid;
	/** @user_ns: The user namespace of @uid; a reference. */
	struct user_namespace *user_ns;
	/** @writable: The object of the file is writable.  Set once, under i_rwsem. */
	bool writable;
	/** @attachments: VMAs of guests. */
	atomic_long_t attachments;
	/** @faults: Page faults handled, per CPU. */
	unsigned long __percpu *faults;
	/**
	 * @recent: An object that a fault has found, or NULL; faults try it before
	 * they walk the tree.  RCU; set with that object locked, cleared when all VMAs
	 * that a change may remove are locked for writing: a fault that reads it finds
	 * a VMA that is not freed before a grace period.
	 */
	struct vm_area_struct __rcu *recent;
	/** @tables_dropped: PTE tables that mshare_advise() has freed. */
	atomic_long_t tables_dropped;
	/** @tables_reclaimed: PTE tables that were freed because memory was short. */
	atomic_long_t tables_reclaimed;
	/**
	 * @shrink_next: Where in the host mm the shrinker goes on, or 0: at the start.
	 * Under the host's mmap_lock (write), as @shrink_turn.
	 */
	unsigned long shrink_next;
	/** @shrink_turn: How often it has come to the end. */
	unsigned int shrink_turn;
	/**
	 * @shrink_vain: How many turns in a row have taken nothing, the last of which ended at
	 * @shrink_ended.  Both are written under the same lock, and read without.
	 */
	unsigned int shrink_vain;
	/** @shrink_ended: In jiffies. */
	unsigned long shrink_ended;
	/**
	 * @shrink_lock: Held by the task that looks at tables; others that reclaim wait for it.
	 * Inside it, the host's mmap_lock is only tried.
	 */
	struct mutex shrink_lock;
	/** @shrink_due: How many bytes of tables it is to look at. */
	atomic_long_t shrink_due;
	/** @payer: In the list of regions that the same cgroup pays for; its own lock. */
	struct list_head payer;
	/** @changes: Changes that wait for faults in their objects; under @gate.lock. */
	struct list_head changes;
	/** @gate: Faults that such a change bars wait here. */
	wait_queue_head_t gate;
	/** @memcg: The cgroup of the creator; a reference.  Never changes. */
	struct mem_cgroup *memcg;
	/** @user: It counts for the limit of this user; a reference.  Never changes. */
	struct user_struct *user;
	/**
	 * @owner: In signal_struct::mshare_owned, until the owner or the inode
	 * is gone.  Changed under mshare_lock, walked under RCU.
	 */
	struct hlist_node owner;
	/** @owned: Made with MSHARE_OWNED.  Never changes. */
	bool owned;
	/**
	 * @dead: The owner is gone.  Set once, before @reap takes the host's
	 * mmap_lock (write) and every object's lock: it waits for a task that
	 * holds one of them and finds it clear.  Populating drops and retakes the
	 * mmap_lock.  It does not check this but the objects, which @reap
	 * leaves with no permission.
	 */
	bool dead;
	/** @reap: Frees the memory of a dead region. */
	struct work_struct reap;
	/**
	 * @drop: Drops the host mm a grace period after the inode: CPUs may
	 * still be reading a set that names it, others the region.
	 */
	struct rcu_work drop;
};

/* region.c */
extern spinlock_t mshare_lock;
extern struct xarray mshare_regions;
extern atomic_long_t mshare_nr_regions;
extern struct workqueue_struct *mshare_wq;
extern struct vfsmount *mshare_mnt;
void mshare_take_slots(struct mshare_region *region, unsigned int slots);
void mshare_resize(struct inode *inode, unsigned long size);
struct inode *mshare_new_inode(void);
int mshare_admit(struct mshare_region *region, unsigned int flags);
struct file *mshare_new_file(struct inode *inode, const char *name, int flags);
struct file *mshare_create_file(const char *name, unsigned int flags);
bool mshare_is_file(const struct file *file);

/* file.c */
const struct path *mshare_file_path(const struct file *file);
struct file *mshare_open_file(struct file *file, u64 length);
int mshare_reopen(struct inode *inode, struct file *file);
void mshare_forget_file(struct inode *inode);
void mshare_release_path(struct dentry *dentry);

/* host.c */
struct mm_struct *mshare_host_alloc(void);
struct mem_cgroup *__mshare_memcg(struct mem_cgroup *memcg);
int mshare_host_grow(struct mshare_region *region, unsigned int slots);
void mshare_host_shrink(struct mshare_region *region);

/* owner.c */
void mshare_reap(struct work_struct *work);

/* attach.c */
extern atomic_long_t mshare_nr_attachments;
long mshare_attach_file(struct file *file, unsigned long addr, unsigned int flags);
int mshare_detach_at(unsigned long addr);

/* lock.c */
bool __mshare_barred(struct mshare_region *region, unsigned long address);
void __mshare_left(struct mshare_region *region, unsigned long address);
void mshare_await_change(struct mshare_region *region, unsigned long address);

/* object.c */
int mshare_check_file(struct file *file, const struct mshare_map_args *args,
		      u64 length, vm_flags_t *vm_flags);
struct vm_area_struct *mshare_build_vma(struct mshare_region *region, struct file *file,
					unsigned long start, unsigned long end,
					vm_flags_t vm_flags, pgoff_t pgoff);
void mshare_discard_vma(struct vm_area_struct *vma);
long mshare_map_object(struct mshare_region *region, const struct mshare_map_args *args);

/* range.c */
int mshare_check_range(const struct mshare_region *region, u64 offset, u64 length);
int mshare_check_alive(const struct mshare_region *region);
int mshare_check_cuts(struct mm_struct *mm, unsigned long start, unsigned long end);
int mshare_unmap_range(struct mshare_region *region, u64 offset, u64 length);
int mshare_protect_range(struct mshare_region *region, u64 offset, u64 length,
			 unsigned long prot);
int mshare_advise_range(struct mshare_region *region, u64 offset, u64 length, int advice);

/* table.c */
extern atomic_long_t mshare_tables_dropped;
extern atomic_long_t mshare_tables_reclaimed;
int mshare_free_tables(struct mshare_region *region, unsigned long start, unsigned long end);
bool mshare_shrink_in_vain(const struct mshare_region *region);
unsigned long mshare_shrink_tables(struct mshare_region *region, unsigned long nr,
				   struct list_head *tables);
void mshare_put_tables(struct list_head *tables, bool wait);

/* shrink.c */
int mshare_shrinker_prepare(struct mshare_region *region);
void mshare_shrinker_add(struct mshare_region *region);
void mshare_shrinker_del(struct mshare_region *region);

/* report.c */
extern unsigned int mshare_max_regions_per_user;
extern bool mshare_enabled;
int mshare_fill_stat(struct mshare_region *region, struct mshare_stat *st);
void mshare_show_fdinfo(struct seq_file *m, struct file *file);
int mshare_sysfs_init(void);

/* The region that @file, an mshare file, refers to. */
static inline struct mshare_region *mshare_file_region(const struct file *file)
{
	return file_inode(file)->i_private;
}

/* The region of @vma, an attachment. */
static inline struct mshare_region *mshare_vma_region(const struct vm_area_struct *vma)
{
	VM_WARN_ON_ONCE(!vma_is_mshare(vma));
	return mshare_file_region(vma->vm_file);
}

/* The address in the host mm of @addr in the attachment @vma. */
static inline unsigned long mshare_host_address(const struct vm_area_struct *vma,
						unsigned long addr)
{
	return addr - vma->vm_start + MSHARE_HOST_START;
}

/*
 * The memory cgroup to charge for allocations of @region: that of its creator, or its
 * nearest ancestor that has not been removed.  NULL without memory cgroups.
 * The region's reference keeps all of them.
 */
static inline struct mem_cgroup *mshare_memcg(const struct mshare_region *region)
{
#ifdef CONFIG_MEMCG
	if (region->memcg && unlikely(css_is_dying(&region->memcg->css)))
		return __mshare_memcg(region->memcg);
	return region->memcg;
#else
	return NULL;
#endif
}

/* From here on @current acts in @guest->host for @guest->mm, and the region's cgroup pays. */
static inline void mshare_enter(struct mshare_guest *guest)
{
	guest->outer = current->mshare_guest;
	guest->memcg = set_active_memcg(mshare_memcg(guest->host->mshare));
	current->mshare_guest = guest;
}

static inline void mshare_leave(struct mshare_guest *guest)
{
	set_active_memcg(guest->memcg);
	current->mshare_guest = guest->outer;
}

/* For mshare_enter(): a call on the region itself, which needs no attachment. */
static inline struct mshare_guest mshare_caller(const struct mshare_region *region)
{
	return (struct mshare_guest) {
		.host = region->mm, .mm = current->mm ?: region->mm, .keep = true,
	};
}

/* Is it the region of a file?  Then users cannot change its size and its mappings. */
static inline bool mshare_is_sealed(const struct mshare_region *region)
{
	return region->inode;
}

static inline unsigned int mshare_slots(unsigned long size)
{
	return DIV_ROUND_UP(size, P4D_SIZE);
}

/* Does a change that waits for faults bar new ones at @address of the host mm? */
static inline bool mshare_barred(struct mshare_region *region, unsigned long address)
{
	return unlikely(!list_empty(&region->changes)) && __mshare_barred(region, address);
}

/*
 * An object's lock was dropped: at @address of the host mm, or somewhere if that is 0.
 * The caller must still hold the lock or reference that keeps the region.
 */
static inline void mshare_left(struct mshare_region *region, unsigned long address)
{
	/* Pairs with set_current_state() in mshare_await_faults(). */
	smp_mb__after_atomic();
	if (unlikely(!list_empty(&region->changes)))
		__mshare_left(region, address);
}

#endif /* _MM_MSHARE_MSHARE_H */
