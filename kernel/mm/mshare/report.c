// SPDX-License-Identifier: GPL-2.0
/*
 * mshare - reports to user space: stat, fdinfo, sysfs
 */
#include <linux/hugetlb.h>
#include <linux/kobject.h>
#include <linux/rcupdate_wait.h>
#include <linux/seq_file.h>
#include <linux/shmem_fs.h>
#include <linux/sysfs.h>

#include "mshare.h"

/*
 * EDQUOT for mshare_create() past this many regions of a user; 0: no limit.  Set at boot,
 * by the size of memory.
 */
unsigned int mshare_max_regions_per_user;
/* EPERM for mshare_create() if false; set at boot after initialisation. */
bool mshare_enabled;

/* Stat and fdinfo */

static unsigned long mshare_resident(struct mm_struct *mm)
{
	/* Exact: get_mm_rss() leaves out counts that CPUs have not yet added up. */
	s64 pages = percpu_counter_sum(&mm->rss_stat[MM_FILEPAGES]) +
		    percpu_counter_sum(&mm->rss_stat[MM_ANONPAGES]) +
		    percpu_counter_sum(&mm->rss_stat[MM_SHMEMPAGES]);

#ifdef CONFIG_HUGETLB_PAGE
	pages += atomic_long_read(&mm->hugetlb_usage);
#endif
	return pages << PAGE_SHIFT;
}

/* Objects to inspect before waiters for the mmap_lock are let in. */
#define MSHARE_BATCH	64

/*
 * Any task with a descriptor may inspect all objects, and changes would have to wait: lets
 * them in after each batch.  The objects that were found may be gone then.
 */
static int mshare_yield(struct mm_struct *mm, unsigned int *seen)
{
	if (++*seen % MSHARE_BATCH || !mmap_lock_is_contended(mm))
		return 0;
	mmap_read_unlock(mm);
	cond_resched();
	return mmap_read_lock_killable(mm);
}

/*
 * The swap space of the part of a tmpfs file that an object maps.  If that is not the
 * whole file, each page is looked at, so the lock is dropped meanwhile.
 */
static int mshare_count_swap(struct vm_area_struct *vma, u64 *swapped)
{
	unsigned long first = vma->vm_pgoff, end = first + vma_pages(vma);
	struct inode *inode = file_inode(vma->vm_file);
	struct mm_struct *mm = vma->vm_mm;
	struct file *file;

	if (!READ_ONCE(SHMEM_I(inode)->swapped))
		return 0;
	if (!first && end << PAGE_SHIFT >= i_size_read(inode)) {
		*swapped += shmem_swap_usage(vma);
		return 0;
	}
	file = get_file(vma->vm_file);
	mmap_read_unlock(mm);
	*swapped += shmem_partial_swap_usage(file->f_mapping, first, end);
	fput(file);
	return fatal_signal_pending(current) ? -EINTR : mmap_read_lock_killable(mm);
}

static u64 mshare_count_faults(const struct mshare_region *region)
{
	u64 faults = 0;
	int cpu;

	for_each_possible_cpu(cpu)
		faults += READ_ONCE(*per_cpu_ptr(region->faults, cpu));
	return faults;
}

/**
 * mshare_fill_stat - Collect the numbers for mshare_stat().
 * @region: The region.
 * @st: The destination.
 *
 * Return: 0, or -EINTR.
 */
int mshare_fill_stat(struct mshare_region *region, struct mshare_stat *st)
{
	struct mm_struct *mm = region->mm;
	struct vm_area_struct *vma;
	unsigned long addr = 0;
	unsigned int seen = 0;

	if (mmap_read_lock_killable(mm))
		return -EINTR;
	st->size = region->size;
	st->base = region->base;
	st->objects = mm->map_count;
	st->mapped = mm->total_vm << PAGE_SHIFT;
	while ((vma = find_vma(mm, addr))) {
		addr = vma->vm_end;
		if (shmem_file(vma->vm_file) && mshare_count_swap(vma, &st->swapped))
			return -EINTR;
		if (mshare_yield(mm, &seen))
			return -EINTR;
	}
	mmap_read_unlock(mm);

	st->id = region->id;
	st->align = P4D_SIZE;
	st->attachments = atomic_long_read(&region->attachments);
	st->resident = mshare_resident(mm);
	st->pgtable_bytes = mm_pgtables_bytes(mm);
	st->faults = mshare_count_faults(region);
	st->tables_dropped = atomic_long_read(&region->tables_dropped);
	st->tables_reclaimed = atomic_long_read(&region->tables_reclaimed);
	if (region->owned)
		st->flags |= MSHARE_STAT_OWNED;
	if (READ_ONCE(region->dead))
		st->flags |= MSHARE_STAT_DEAD;
	if (mshare_is_sealed(region))
		st->flags |= MSHARE_STAT_FILE;
	return 0;
}

/* One line of fdinfo: the part of @vma from @start on. */
static void mshare_show_object(struct seq_file *m, struct vm_area_struct *vma,
			       unsigned long start, const struct file *file)
{
	const struct path *path = mshare_file_path(file);

	seq_printf(m, "mshare-object:\t%lx-%lx %c%c%cs ",
		   start - MSHARE_HOST_START, vma->vm_end - MSHARE_HOST_START,
		   vma->vm_flags & VM_READ ? 'r' : '-',
		   vma->vm_flags & VM_WRITE ? 'w' : '-',
		   vma->vm_flags & VM_EXEC ? 'x' : '-');
	if (vma->vm_file->private_data == mshare_file_region(file))
		seq_puts(m, is_vm_hugetlb_page(vma) ? "[anon_hugepage]" : "[anon]");
	else if (path)
		seq_path(m, path, "\n");
	else
		seq_file_path(m, vma->vm_file, "\n");
	seq_putc(m, '\n');
}

/**
 * mshare_show_fdinfo - Show a region in /proc/PID/fdinfo/N.
 * @m: The destination.
 * @file: An mshare file.
 */
void mshare_show_fdinfo(struct seq_file *m, struct file *file)
{
	struct mshare_region *region = mshare_file_region(file);
	struct mm_struct *mm = region->mm;
	struct mshare_stat st = {};
	struct vm_area_struct *vma;
	unsigned long addr = 0;
	unsigned int seen = 0;

	if (mshare_fill_stat(region, &st))
		return;
	seq_printf(m, "mshare-id:\t%llu\n", st.id);
	seq_printf(m, "mshare-size:\t%llu\n", st.size);
	seq_printf(m, "mshare-align:\t%llu\n", st.align);
	seq_printf(m, "mshare-base:\t0x%llx\n", st.base);
	seq_printf(m, "mshare-attachments:\t%llu\n", st.attachments);
	seq_printf(m, "mshare-objects:\t%llu\n", st.objects);
	seq_printf(m, "mshare-mapped:\t%llu\n", st.mapped);
	seq_printf(m, "mshare-resident:\t%llu\n", st.resident);
	seq_printf(m, "mshare-swapped:\t%llu\n", st.swapped);
	seq_printf(m, "mshare-pgtable_bytes:\t%llu\n", st.pgtable_bytes);
	seq_printf(m, "mshare-faults:\t%llu\n", st.faults);
	seq_printf(m, "mshare-flags:\t0x%llx\n", st.flags);
	seq_printf(m, "mshare-tables_dropped:\t%llu\n", st.tables_dropped);
	seq_printf(m, "mshare-tables_reclaimed:\t%llu\n", st.tables_reclaimed);

	/* seq_file writes to kernel memory: no user page is touched. */
	if (mmap_read_lock_killable(mm))
		return;
	while ((vma = find_vma(mm, addr))) {
		/* Objects may be merged in between: no offset is in two lines. */
		mshare_show_object(m, vma, max(addr, vma->vm_start), file);
		/* Everything will be printed once more, into a larger buffer. */
		if (seq_has_overflowed(m))
			break;
		addr = vma->vm_end;
		if (mshare_yield(mm, &seen))
			return;
	}
	mmap_read_unlock(mm);
}

/* /sys/kernel/mm/mshare */

static ssize_t align_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%lu\n", P4D_SIZE);
}

static ssize_t regions_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%ld\n", atomic_long_read(&mshare_nr_regions));
}

static ssize_t attachments_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%ld\n", atomic_long_read(&mshare_nr_attachments));
}

static ssize_t pgtable_bytes_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	const struct mshare_region *region;
	unsigned long id, bytes = 0;

	/* There may be very many, so no lock is held.  RCU keeps the mm. */
	rcu_read_lock();
	xa_for_each(&mshare_regions, id, region) {
		bytes += mm_pgtables_bytes(region->mm);
		cond_resched_rcu();
	}
	rcu_read_unlock();
	return sysfs_emit(buf, "%lu\n", bytes);
}

static ssize_t tables_dropped_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%ld\n", atomic_long_read(&mshare_tables_dropped));
}

static ssize_t tables_reclaimed_show(struct kobject *kobj, struct kobj_attribute *attr,
				     char *buf)
{
	return sysfs_emit(buf, "%ld\n", atomic_long_read(&mshare_tables_reclaimed));
}

static ssize_t max_regions_per_user_show(struct kobject *kobj, struct kobj_attribute *attr,
					 char *buf)
{
	return sysfs_emit(buf, "%u\n", READ_ONCE(mshare_max_regions_per_user));
}

static ssize_t max_regions_per_user_store(struct kobject *kobj, struct kobj_attribute *attr,
					  const char *buf, size_t count)
{
	unsigned int limit;
	int err = kstrtouint(buf, 0, &limit);

	if (err)
		return err;
	WRITE_ONCE(mshare_max_regions_per_user, limit);
	return count;
}

static ssize_t enabled_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%d\n", READ_ONCE(mshare_enabled));
}

static ssize_t enabled_store(struct kobject *kobj, struct kobj_attribute *attr,
			     const char *buf, size_t count)
{
	bool enabled;
	int err = kstrtobool(buf, &enabled);

	if (err)
		return err;
	WRITE_ONCE(mshare_enabled, enabled);
	return count;
}

static struct kobj_attribute align_attr = __ATTR_RO(align);
static struct kobj_attribute regions_attr = __ATTR_RO(regions);
static struct kobj_attribute attachments_attr = __ATTR_RO(attachments);
static struct kobj_attribute pgtable_bytes_attr = __ATTR_RO(pgtable_bytes);
static struct kobj_attribute tables_dropped_attr = __ATTR_RO(tables_dropped);
static struct kobj_attribute tables_reclaimed_attr = __ATTR_RO(tables_reclaimed);
static struct kobj_attribute max_regions_per_user_attr = __ATTR_RW(max_regions_per_user);
static struct kobj_attribute enabled_attr = __ATTR_RW(enabled);

static struct attribute *mshare_attrs[] = {
	&align_attr.attr,
	&regions_attr.attr,
	&attachments_attr.attr,
	&pgtable_bytes_attr.attr,
	&tables_dropped_attr.attr,
	&tables_reclaimed_attr.attr,
	&max_regions_per_user_attr.attr,
	&enabled_attr.attr,
	NULL,
};

static const struct attribute_group mshare_group = {
	.attrs = mshare_attrs,
};

/**
 * mshare_sysfs_init - Make /sys/kernel/mm/mshare.
 *
 * Return: 0, or an error.
 */
int __init mshare_sysfs_init(void)
{
	struct kobject *kobj = kobject_create_and_add("mshare", mm_kobj);
	int err;

	if (!kobj)
		return -ENOMEM;
	err = sysfs_create_group(kobj, &mshare_group);
	if (err)
		kobject_put(kobj);
	return err;
}
