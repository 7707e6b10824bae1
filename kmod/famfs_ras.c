// SPDX-License-Identifier: GPL-2.0
/*
 * Memory that fails, and devices that go away.
 *
 * A page that fails is marked, and those who map it, and nobody else, are
 * signalled. From then on a fault on it ends with SIGBUS and a read with EIO;
 * its neighbours go on.
 *
 * A device that goes away under a mount takes its pages with it: the mount is
 * marked dead, and every file lets go of them before that.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/dax.h>
#include <linux/delay.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "famfs_internal.h"
#include "famfs_trace.h"

/*
 * Read by who tells of a failure, which may come at any moment and from any
 * thread; written by who takes a device or lets it go. So nobody is told of a
 * device that is half open, and no mount goes while somebody acts for it.
 */
DECLARE_RWSEM(famfs_failure_sem);

static DEFINE_MUTEX(famfs_bad_lock);	/* the list, and who uses what on it */
static LIST_HEAD(famfs_bad_list);

static void bad_free(struct kref *users)
{
	struct famfs_bad *bad = container_of(users, struct famfs_bad, users);

	list_del(&bad->link);
	xa_destroy(&bad->pages);
	kfree(bad);
}

/**
 * famfs_bad_get - the bad pages of a device
 * @device: which one
 *
 * Return: what is known of it, with a reference; NULL without memory.
 */
struct famfs_bad *famfs_bad_get(u64 device)
{
	struct famfs_bad *bad;

	mutex_lock(&famfs_bad_lock);
	list_for_each_entry(bad, &famfs_bad_list, link)
		if (bad->device == device) {
			kref_get(&bad->users);
			goto out;
		}
	bad = kzalloc(sizeof(*bad), GFP_KERNEL);
	if (!bad)
		goto out;
	kref_init(&bad->users);
	bad->device = device;
	xa_init(&bad->pages);
	list_add(&bad->link, &famfs_bad_list);
out:
	mutex_unlock(&famfs_bad_lock);
	return bad;
}

/**
 * famfs_bad_put - a mount ends; bad pages are kept in mind all the same
 * @bad: what famfs_bad_get() returned
 */
void famfs_bad_put(struct famfs_bad *bad)
{
	mutex_lock(&famfs_bad_lock);
	/* With bad pages the last reference is the list's: until the end. */
	if (kref_read(&bad->users) > 1 || xa_empty(&bad->pages))
		kref_put(&bad->users, bad_free);
	mutex_unlock(&famfs_bad_lock);
}

/**
 * famfs_bad_forget - the device's memory was replaced or repaired
 * @bad: its bad pages
 */
void famfs_bad_forget(struct famfs_bad *bad)
{
	xa_destroy(&bad->pages);
}

/* The module goes: so does all that it kept in mind. */
void famfs_bad_exit(void)
{
	struct famfs_bad *bad, *next;

	list_for_each_entry_safe(bad, next, &famfs_bad_list, link)
		bad_free(&bad->users);
}

/**
 * famfs_bad_clip - end a run in front of its first bad page
 * @dev: the device
 * @run: in: a run; out: the part of it without a bad page
 *
 * Return: 0, or -EHWPOISON when already its first page is bad.
 */
int famfs_bad_clip(const struct famfs_device *dev, struct famfs_run *run)
{
	unsigned long first = run->offset >> PAGE_SHIFT, index = first;

	if (likely(xa_empty(&dev->bad->pages)))
		return 0;
	if (!xa_find(&dev->bad->pages, &index,
		     (run->offset + run->len - 1) >> PAGE_SHIFT, XA_PRESENT))
		return 0;
	if (index == first)
		return -EHWPOISON;
	run->len = ((u64)index << PAGE_SHIFT) - run->offset;
	return 0;
}

/**
 * famfs_bad_next - the next range of bad pages
 * @dev: the device
 * @range: in: the range before, {0, 0} at first; out: the next one
 *
 * Return: whether there is one.
 */
int famfs_bad_next(const struct famfs_device *dev, struct famfs_range *range)
{
	unsigned long first = (range->offset + range->len) >> PAGE_SHIFT, next;

	if (!xa_find(&dev->bad->pages, &first, ULONG_MAX, XA_PRESENT))
		return 0;
	next = first;
	/* Whoever asks may hold a page of sysfs: not longer than it takes. */
	while (xa_load(&dev->bad->pages, ++next))
		cond_resched();
	range->offset = (u64)first << PAGE_SHIFT;
	range->len = (u64)(next - first) << PAGE_SHIFT;
	return 1;
}

/**
 * famfs_next_file - the next file that has memory at or after a unit
 * @sbi: the mount
 * @unit: in: where to begin; out: behind the memory that was found
 * @last: the last unit to look at
 * @wait: for files that are being evicted, which still have their pages for a
 *	while, until they have let go of them; otherwise they are passed over
 *
 * Return: its inode, which the caller puts; NULL when there is none any more.
 */
struct inode *famfs_next_file(struct famfs_sb *sbi, unsigned long *unit,
			      unsigned long last, bool wait)
{
	struct inode *found, *inode;

	for (;;) {
		MA_STATE(mas, &sbi->claims, *unit, *unit);

		mutex_lock(&sbi->lock);
		rcu_read_lock();
		found = *unit <= last ? mas_find(&mas, last) : NULL;
		rcu_read_unlock();
		inode = found ? igrab(found) : NULL;
		if (inode || !wait)
			*unit = mas.last + 1;
		mutex_unlock(&sbi->lock);
		if (inode || !found)
			return inode;
		if (wait)
			fsleep(1000);
	}
}

/* Signals those who map the range through this file. */
static void kill_mappers(struct inode *inode, struct famfs_range range,
			 int flags)
{
	const struct famfs_map *map = famfs_map_of(inode);
	u64 pos, len;

	while (famfs_map_locate(map, &range, &pos, &len)) {
		if (pos >= map->size)
			continue;
		len = min(len, round_up(map->size, PAGE_SIZE) - pos);
		mf_dax_kill_procs(inode->i_mapping, pos >> PAGE_SHIFT,
				  len >> PAGE_SHIFT, flags);
	}
}

static int mark_bad(struct famfs_bad *bad, const struct famfs_range *range)
{
	unsigned long index = range->offset >> PAGE_SHIFT;
	unsigned long last = (range->offset + range->len - 1) >> PAGE_SHIFT;
	int err;

	for (; index <= last; index++) {
		err = xa_err(xa_store(&bad->pages, index, xa_mk_value(1),
				      GFP_KERNEL));
		if (err)
			return err;
	}
	return 0;
}

/* The device is about to go: no file may keep a page of it. */
static void shut_down(struct famfs_sb *sbi)
{
	unsigned long unit = 0;
	struct inode *inode;

	mutex_lock(&sbi->lock);
	WRITE_ONCE(sbi->dead, true);
	mutex_unlock(&sbi->lock);
	pr_err("%s is gone: unmount it\n", sbi->dev.name);
	trace_famfs_shutdown(sbi->dev.name);
	while ((inode = famfs_next_file(sbi, &unit, ULONG_MAX, true))) {
		filemap_invalidate_lock(inode->i_mapping);
		unmap_mapping_range(inode->i_mapping, 0, 0, 1);
		famfs_drop_pages(inode);
		filemap_invalidate_unlock(inode->i_mapping);
		iput(inode);
	}
}

/**
 * famfs_memory_failure - memory under a mount failed, or is going away
 *
 * Called with famfs_failure_sem held to be read.
 *
 * @sbi: the mount
 * @offset: where it begins on the device, bytes
 * @len: how long it is, bytes; all of it from 0 on says that the device goes
 * @flags: MF_*
 *
 * Return: 0, or -ENOMEM when a page could not be marked.
 */
int famfs_memory_failure(struct famfs_sb *sbi, u64 offset, u64 len, int flags)
{
	struct famfs_range range;
	struct inode *inode;
	unsigned long unit, last;
	int err;

	if ((flags & FAMFS_PRE_REMOVE) || (offset == 0 && len == U64_MAX)) {
		shut_down(sbi);
		return 0;
	}
	if (offset >= sbi->dev.size || !len)
		return 0;
	range.offset = round_down(offset, PAGE_SIZE);
	range.len = round_up(min(len, sbi->dev.size - offset) +
			     offset - range.offset, PAGE_SIZE);
	pr_err("%s: memory error at %llu, %llu bytes\n", sbi->dev.name,
	       range.offset, range.len);
	trace_famfs_memory_failure(sbi->dev.name, range.offset, range.len,
				   flags);
	/* Marked first: whoever is signalled and comes back is refused. */
	err = mark_bad(sbi->dev.bad, &range);
	unit = range.offset / FAMFS_UNIT;
	last = (range.offset + range.len - 1) / FAMFS_UNIT;
	while ((inode = famfs_next_file(sbi, &unit, last, false))) {
		kill_mappers(inode, range, flags);
		iput(inode);
	}
	return err;
}

static int notify_failure_of(struct famfs_sb *sbi, u64 offset, u64 len,
			     int flags)
{
	/* The mount went meanwhile: nobody has the memory through it. */
	if (!sbi)
		return 0;
	/* A partition sees its own part of the device alone. */
	if (offset == 0 && len == U64_MAX)
		return famfs_memory_failure(sbi, 0, U64_MAX, flags);
	if (offset < sbi->dev.base) {
		if (len <= sbi->dev.base - offset)
			return 0;
		len -= sbi->dev.base - offset;
		offset = sbi->dev.base;
	}
	return famfs_memory_failure(sbi, offset - sbi->dev.base, len, flags);
}

static int famfs_notify_failure(struct dax_device *dax, u64 offset, u64 len,
				int flags)
{
	int err;

	down_read(&famfs_failure_sem);
	err = notify_failure_of(dax_holder(dax), offset, len, flags);
	up_read(&famfs_failure_sem);
	return err;
}

const struct dax_holder_operations famfs_holder_ops = {
	.notify_failure	= famfs_notify_failure,
};
