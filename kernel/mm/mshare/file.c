// SPDX-License-Identifier: GPL-2.0
/*
 * mshare - files: the region that all openers of a file share
 *
 * The inode of such a region is in the inode hash, keyed by mshare_key.  The hash holds
 * no reference.  A lookup that finds an inode gets a reference to it or, if the last one
 * is gone, skips the inode and makes a new one.  It waits for an inode that is being made.
 */
#include <linux/cred.h>
#include <linux/dcache.h>
#include <linux/file.h>
#include <linux/hugetlb.h>
#include <linux/mman.h>
#include <linux/namei.h>
#include <linux/sched/user.h>
#include <linux/security.h>
#include <linux/user_namespace.h>
#include <trace/events/mshare.h>

#include "mshare.h"
#include "vma.h"

/* The registry */

/**
 * struct mshare_key - Identifies the region of a file.
 *
 * No user can disturb another one, make him pay, or see what he has in memory.
 */
struct mshare_key {
	/** @inode: The mapped inode: below an overlay, the real one. */
	const struct inode *inode;
	/** @uid: The user. */
	kuid_t uid;
	/** @user_ns: The namespace of @uid. */
	const struct user_namespace *user_ns;
	/** @memcg: The cgroup that pays. */
	const struct mem_cgroup *memcg;
};

/* Called with the inode hash locked, for regions of files. */
static int mshare_has_key(struct inode *inode, void *data)
{
	const struct mshare_region *region = inode->i_private;
	const struct mshare_key *key = data;

	return region->inode == key->inode && uid_eq(region->uid, key->uid) &&
	       region->user_ns == key->user_ns && region->memcg == key->memcg;
}

/*
 * Finds the region of a file, or makes an empty one.  The caller has the file open,
 * which keeps its inode until the region does.
 */
static struct inode *mshare_get_inode(struct inode *real, const char *name)
{
	unsigned long hash = (unsigned long)real;
	struct mem_cgroup *memcg = get_mem_cgroup_from_current();
	struct mshare_key key = {
		.inode = real,
		.uid = current_fsuid(),
		.user_ns = current_user_ns(),
		.memcg = memcg,
	};
	struct inode *inode, *new;
	struct mshare_region *region;
	int err;

	inode = ilookup5(mshare_mnt->mnt_sb, hash, mshare_has_key, &key);
	mem_cgroup_put(memcg);
	if (inode)
		return inode;

	new = mshare_new_inode();
	if (IS_ERR(new))
		return new;
	region = new->i_private;
	region->inode = real;
	region->uid = key.uid;
	region->user_ns = get_user_ns(current_user_ns());
	/* The task may have been moved meanwhile. */
	key.memcg = region->memcg;
	inode = inode_insert5(new, hash, mshare_has_key, NULL, &key);
	if (inode != new) {
		iput(new);
		return inode;
	}
	/* Only now, so that no opener is refused for a region that is not needed. */
	err = mshare_admit(region, 0);
	if (err) {
		/* The waiters must look again, and not take it. */
		remove_inode_hash(inode);
		discard_new_inode(inode);
		return ERR_PTR(err);
	}
	trace_mshare_create(region, name, 0);
	unlock_new_inode(inode);
	return inode;
}

/**
 * mshare_forget_file - Remove a region from the registry before it is freed.
 * @inode: Of the region; being evicted.
 *
 * The next steps may take long.  Tasks that wait for the inode make a new region.
 */
void mshare_forget_file(struct inode *inode)
{
	const struct mshare_region *region = inode->i_private;

	/* First, so that it leaves room for the next one in the limit. */
	if (region->id)
		atomic_long_dec(&region->user->mshare_regions);
	remove_inode_hash(inode);
	spin_lock(&inode->i_lock);
	/* As in evict() of Linux 6.12, for __wait_on_freeing_inode(). */
	smp_mb();
	inode_wake_up_bit(inode, __I_NEW);
	spin_unlock(&inode->i_lock);
}

/* The object */

/*
 * Opens a file once more, for the object: locks and leases of a program belong to its
 * own open file and must not live as long as a region that others use.  Below an overlay,
 * the real file is opened: the one that @file refers to, even if the overlay has another
 * one by now.
 */
static struct file *mshare_open_own(struct file *file)
{
	int flags = O_LARGEFILE | (file->f_mode & FMODE_WRITE ? O_RDWR : O_RDONLY);
	struct file *real = mshare_real_file(file);

	return dentry_open(&real->f_path, flags, real->f_cred);
}

/* Checks that the object can map @own, with the accesses that @own allows. */
static int mshare_check_upgrade(struct mshare_region *region, struct vm_area_struct *object,
				struct file *own, vm_flags_t vm_flags)
{
	struct vm_area_struct *vma;
	int err = 0;

	vma = mshare_build_vma(region, own, MSHARE_HOST_START, MSHARE_HOST_START + region->size,
			       vm_flags, 0);
	if (IS_ERR(vma))
		return PTR_ERR(vma);
	if (vma->vm_ops != object->vm_ops || vma->vm_file != own ||
	    vma->vm_private_data != object->vm_private_data ||
	    own->f_mapping != object->vm_file->f_mapping)
		err = -ENODEV;
	mshare_discard_vma(vma);
	return err;
}

/*
 * Makes the object writable.  Page tables do not change: a store to a page that was
 * mapped for reading faults, as after mprotect(), which notifies the file system.
 */
static void mshare_upgrade(struct mshare_region *region, struct file *own,
			   vm_flags_t vm_flags)
{
	struct mm_struct *mm = region->mm;
	struct vm_area_struct *vma;
	struct vma_iterator vmi;

	vma_iter_init(&vmi, mm, 0);
	/* Advice may have split it. */
	for_each_vma(vmi, vma) {
		vma_start_write(vma);
		/*
		 * Counted as vma_link_file() counts it, which has done so with what was
		 * appended.  It cannot be denied any more.
		 */
		if (!vma_is_shared_maywrite(vma))
			mapping_allow_writable(own->f_mapping);
		vma_set_file(vma, own);
		vm_flags_set(vma, vm_flags);
		vma_set_page_prot(vma);
		cond_resched();
	}
}

/* Adds @vma at the end of the object. */
static int mshare_append(struct mshare_region *region, struct vm_area_struct *vma)
{
	unsigned int slots = mshare_slots(vma->vm_end - MSHARE_HOST_START);
	int err = -ENOMEM;

	if (region->mm->map_count < get_sysctl_max_map_count())
		err = mshare_host_grow(region, slots);
	if (err)
		return err;
	err = vma_insert_over(vma);
	if (err)
		mshare_host_shrink(region);
	return err;
}

/* Merges the VMA that was appended at @addr with the one before, if there is memory. */
static void mshare_merge_at(struct mm_struct *mm, unsigned long addr)
{
	struct vm_area_struct *vma, *prev;
	struct vma_iterator vmi;
	vm_flags_t vm_flags;

	vma_iter_init(&vmi, mm, addr);
	vma = find_vma_prev(mm, addr, &prev);
	vm_flags = vma->vm_flags;
	mshare_modify_flags(&vmi, prev, vma, vma->vm_start, vma->vm_end, &vm_flags);
}

static int mshare_fit_locked(struct inode *inode, struct file *own, bool upgrade,
			     unsigned long size)
{
	struct mshare_region *region = inode->i_private;
	unsigned long end = MSHARE_HOST_START + region->size;
	struct vm_area_struct *object, *vma = NULL;
	struct mm_struct *mm = region->mm;
	vm_flags_t vm_flags = VM_READ | VM_MAYREAD | VM_MAYSHARE;
	struct file *file = own;
	bool writable;
	int err = 0;

	object = find_vma(mm, MSHARE_HOST_START);
	/* VMAs with different files are not merged. */
	if (object && !upgrade)
		file = object->vm_file;
	writable = file->f_mode & FMODE_WRITE;
	if (writable) {
		vm_flags |= VM_WRITE | VM_MAYWRITE | VM_SHARED;
		err = mapping_map_writable(file->f_mapping);
		if (err)
			return err;
	}
	if (upgrade)
		err = mshare_check_upgrade(region, object, own, vm_flags);
	if (!err && size > region->size) {
		vma = mshare_build_vma(region, file, end, MSHARE_HOST_START + size, vm_flags,
				       region->size >> PAGE_SHIFT);
		if (IS_ERR(vma)) {
			err = PTR_ERR(vma);
		} else {
			err = mshare_append(region, vma);
			if (err)
				mshare_discard_vma(vma);
		}
	}
	/* From here on nothing fails. */
	if (!err) {
		if (upgrade)
			mshare_upgrade(region, own, vm_flags);
		if (vma && object)
			mshare_merge_at(mm, end);
		if (vma)
			mshare_resize(inode, size);
		WRITE_ONCE(region->writable, writable);
	}
	if (writable)
		mapping_unmap_writable(file->f_mapping);
	return err;
}

/*
 * Makes the object at least @length bytes long and, if @file is open for writing, writable.
 * Neither is ever undone.  An error changes nothing.
 */
static int mshare_fit(struct inode *inode, struct file *file, u64 length)
{
	struct mshare_region *region = inode->i_private;
	bool write = file->f_mode & FMODE_WRITE;
	struct mm_struct *mm = region->mm;
	unsigned long start, end, size;
	struct file *own = NULL;
	bool upgrade;
	int err;

	/* What is not needed now never will be, so no lock: its holders may be waiting. */
	upgrade = write && !READ_ONCE(region->writable);
	size = READ_ONCE(region->size);
	if (PAGE_ALIGN(length) <= size && !upgrade)
		return 0;
	/* No lock for this either, which may ask user space. */
	if (!size || upgrade) {
		own = mshare_open_own(file);
		if (IS_ERR(own))
			return PTR_ERR(own);
	}
	err = -EINTR;
	if (down_write_killable(&inode->i_rwsem))
		goto out;
	err = 0;
	size = max(region->size, PAGE_ALIGN(length));
	upgrade = region->size && write && !region->writable;
	if (size == region->size && !upgrade)
		goto out_unlock;

	/* The last part of the object may be merged with the new one; an upgrade is of all. */
	end = MSHARE_HOST_START + region->size;
	start = upgrade || !region->size ? MSHARE_HOST_START : end - PAGE_SIZE;
	err = mshare_write_lock(mm, start, end);
	if (!err) {
		err = mshare_fit_locked(inode, own, upgrade, size);
		mmap_write_unlock(mm);
	}
	trace_mshare_map(region, 0, size, write ? PROT_READ | PROT_WRITE : PROT_READ, err);
out_unlock:
	inode_unlock(inode);
out:
	if (own)
		fput(own);
	return err;
}

/* The checks of mmap() for all accesses that @file is open for. */
static int mshare_check_use(struct file *file, u64 *length)
{
	struct mshare_map_args args = { .prot = PROT_READ };
	vm_flags_t vm_flags = VM_READ | VM_MAYREAD | VM_SHARED | VM_MAYSHARE | VM_MAYWRITE;
	int err;

	if (is_file_hugepages(file))
		return -ENODEV;
	if (file->f_mode & FMODE_WRITE) {
		args.prot |= PROT_WRITE;
		vm_flags |= VM_WRITE;
	}
	if (!*length)
		*length = i_size_read(file_inode(mshare_real_file(file)));
	err = mshare_check_file(file, &args, *length, &vm_flags);
	if (err)
		return err;
	if (!*length)
		return -EINVAL;
	err = security_mmap_file(file, args.prot, MAP_SHARED);
	if (err)
		return err;
	return *length > MSHARE_SIZE_MAX ? -EFBIG : 0;
}

/* Files of the region */

/**
 * mshare_file_path - The path by which a region was opened.
 * @file: An mshare file.
 *
 * Each opener has its own dentry, with the name and the path of its file, because a
 * region can be opened through mounts with different permissions.
 *
 * Return: The path of the file, or NULL if the region is not that of a file.
 */
const struct path *mshare_file_path(const struct file *file)
{
	return file->f_path.dentry->d_fsdata;
}

/**
 * mshare_release_path - Undo what mshare_open_file() did to a dentry.
 * @dentry: Of any region.
 */
void mshare_release_path(struct dentry *dentry)
{
	struct path *path = dentry->d_fsdata;

	if (!path)
		return;
	path_put(path);
	kfree(path);
}

/**
 * mshare_reopen - Open a region through /proc.
 * @inode: The region.
 * @file: The new file.
 *
 * This is equivalent to opening the file itself once more.  By mode and owner of the
 * region's inode, a reader could write a file that he may not write.
 *
 * Return: 0, or an error.
 */
int mshare_reopen(struct inode *inode, struct file *file)
{
	const struct path *path = mshare_file_path(file);
	bool write = file->f_mode & FMODE_WRITE;
	struct file *writer;
	u64 length = 1;
	int err;

	if (!path)
		return 0;
	err = path_permission(path, MAY_OPEN | MAY_READ | (write ? MAY_WRITE : 0));
	if (err || !write)
		return err;
	/* Checks the mount, and everything else that may refuse. */
	writer = dentry_open(path, O_RDWR | O_LARGEFILE, current_cred());
	if (IS_ERR(writer))
		return PTR_ERR(writer);
	err = mshare_check_use(writer, &length);
	/* An overlay may have copied it. */
	if (!err && file_inode(mshare_real_file(writer)) !=
		    ((struct mshare_region *)inode->i_private)->inode)
		err = -ESTALE;
	if (!err)
		err = mshare_fit(inode, writer, length);
	fput(writer);
	return err;
}

/**
 * mshare_open_file - Open the region of a file.
 * @file: The file, open for the accesses that the region is opened for.
 * @length: The minimum length of the region in bytes; 0: that of the file.
 *
 * Return: An mshare file, or an error with nothing changed.
 */
struct file *mshare_open_file(struct file *file, u64 length)
{
	struct name_snapshot name;
	struct file *region_file;
	struct inode *inode;
	struct path *path;
	int err;

	err = mshare_check_use(file, &length);
	if (err)
		return ERR_PTR(err);
	path = kmalloc_obj(*path, GFP_KERNEL_ACCOUNT);
	if (!path)
		return ERR_PTR(-ENOMEM);
	*path = file->f_path;
	path_get(path);
	take_dentry_name_snapshot(&name, path->dentry);

	inode = mshare_get_inode(file_inode(mshare_real_file(file)), name.name.name);
	if (IS_ERR(inode)) {
		region_file = ERR_CAST(inode);
		goto out;
	}
	/* First, so that nothing fails when the region has changed. */
	region_file = mshare_new_file(inode, name.name.name,
				      file->f_mode & FMODE_WRITE ? O_RDWR : O_RDONLY);
	if (IS_ERR(region_file)) {
		iput(inode);
		goto out;
	}
	region_file->f_path.dentry->d_fsdata = path;
	path = NULL;
	err = mshare_fit(inode, file, length);
	if (err) {
		fput(region_file);
		region_file = ERR_PTR(err);
	}
out:
	release_dentry_name_snapshot(&name);
	if (path) {
		path_put(path);
		kfree(path);
	}
	return region_file;
}
