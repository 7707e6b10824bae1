// SPDX-License-Identifier: GPL-2.0
/*
 * The device under a mount. There are three kinds, and the rest of the module
 * sees a dax_device with a size:
 *
 *   /dev/pmemN		a block device with DAX, on every kernel
 *   /dev/daxX.Y	a character device bound to fsdev_dax, from 7.0 on
 *   range=START+SIZE	physical memory that nobody else owns: the module makes
 *			the dax_device itself
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/fs_context.h>
#include <linux/ioport.h>
#include <linux/memremap.h>
#include <linux/module.h>
#include <linux/namei.h>
#include <linux/slab.h>

#include "famfs_internal.h"

/**
 * struct famfs_own_range - physical memory that the module drives itself
 * @pgmap: its pages
 * @res: its place among the machine's resources
 * @addr: where the kernel sees it
 * @sbi: the mount to tell when a page fails
 */
struct famfs_own_range {
	struct dev_pagemap	pgmap;
	struct resource		*res;
	void			*addr;
	struct famfs_sb		*sbi;
};

static int open_bdev(struct fs_context *fc, struct famfs_sb *sbi)
{
	struct famfs_device *dev = &sbi->dev;
	struct famfs_bdev *bdev;

	bdev = famfs_bdev_open(fc->source, sbi);
	if (IS_ERR(bdev)) {
		errorf(fc, "famfs: %s can't be opened for it alone: %ld",
		       fc->source, PTR_ERR(bdev));
		return PTR_ERR(bdev);
	}
	dev->bdev = bdev;
	dev->dax = fs_dax_get_by_bdev(famfs_bdev_of(bdev), &dev->base, sbi,
				      &famfs_holder_ops);
	if (!dev->dax) {
		errorf(fc, "famfs: %s has no DAX", fc->source);
		return -EOPNOTSUPP;
	}
	dev->size = bdev_nr_bytes(famfs_bdev_of(bdev));
	snprintf(dev->name, sizeof(dev->name), "%pg", famfs_bdev_of(bdev));
	return 0;
}

/* No one tells the size of a character device: find where access ends. */
static u64 fsdev_size(struct dax_device *dax)
{
	u64 low = 0, high = 1ULL << (58 - 21), middle;
	int id = dax_read_lock();

	/* Units below low are there; high is not. */
	while (low + 1 < high) {
		middle = low + (high - low) / 2;
		if (dax_direct_access(dax,
				      (middle * FAMFS_UNIT >> PAGE_SHIFT) - 1,
				      1, DAX_ACCESS, NULL, NULL) > 0)
			low = middle;
		else
			high = middle;
	}
	dax_read_unlock(id);
	return low * FAMFS_UNIT;
}

static int open_fsdev(struct fs_context *fc, struct famfs_sb *sbi)
{
	struct famfs_device *dev = &sbi->dev;
	struct module *driver;
	struct file *file;
	dev_t devt;
	int err;

	if (!FAMFS_HAS_FSDEV) {
		errorf(fc, "famfs: before Linux 7.0 a character device can't carry a file system; unbind it and mount its memory with range=");
		return -EOPNOTSUPP;
	}
	/* dax_dev_get() makes a device of any number: ask the driver first. */
	file = filp_open(fc->source, O_RDWR | O_LARGEFILE, 0);
	if (IS_ERR(file)) {
		errorf(fc, "famfs: %s can't be opened: %ld", fc->source,
		       PTR_ERR(file));
		return PTR_ERR(file);
	}
	driver = file->f_op->owner;
	devt = file_inode(file)->i_rdev;
	if (!S_ISCHR(file_inode(file)->i_mode) || !driver ||
	    strcmp(module_name(driver), "fsdev_dax")) {
		errorf(fc, "famfs: %s isn't bound to the driver fsdev_dax",
		       fc->source);
		err = -ENODEV;
		goto out_file;
	}
	dev->dax = dax_dev_get(devt);
	if (!dev->dax) {
		err = -ENODEV;
		goto out_file;
	}
	err = fs_dax_get(dev->dax, sbi, &famfs_holder_ops);
	/* It took a reference of its own. */
	put_dax(dev->dax);
	if (err) {
		dev->dax = NULL;
		errorf(fc, "famfs: %s is in use: %d", fc->source, err);
		goto out_file;
	}
	dev->size = fsdev_size(dev->dax);
	snprintf(dev->name, sizeof(dev->name), "%s",
		 file->f_path.dentry->d_name.name);
out_file:
	filp_close(file, NULL);
	return err;
}

static long range_access(struct dax_device *dax, pgoff_t pgoff, long nr_pages,
			 enum dax_access_mode mode, void **kaddr,
			 famfs_pfn_t *pfn)
{
	struct famfs_own_range *range = dax_get_private(dax);
	u64 offset = PFN_PHYS(pgoff);
	u64 size = range_len(&range->pgmap.range);

	if (offset >= size)
		return -ERANGE;
	if (kaddr)
		*kaddr = range->addr + offset;
	if (pfn)
		*pfn = famfs_pfn(range->pgmap.range.start + offset);
	return min_t(u64, nr_pages, PHYS_PFN(size - offset));
}

static int range_zero(struct dax_device *dax, pgoff_t pgoff, size_t nr_pages)
{
	struct famfs_own_range *range = dax_get_private(dax);
	u64 offset = PFN_PHYS(pgoff), len = PFN_PHYS(nr_pages);
	u64 size = range_len(&range->pgmap.range);

	if (offset >= size || len > size - offset)
		return -ERANGE;
	memset(range->addr + offset, 0, len);
	dax_flush(dax, range->addr + offset, len);
	return 0;
}

static const struct dax_operations range_ops = {
	.direct_access		= range_access,
	.zero_page_range	= range_zero,
};

static int range_failure(struct dev_pagemap *pgmap, unsigned long pfn,
			 unsigned long nr_pages, int flags)
{
	struct famfs_own_range *range =
		container_of(pgmap, struct famfs_own_range, pgmap);

	int err = 0;

	down_read(&famfs_failure_sem);
	if (range->sbi)
		err = famfs_memory_failure(range->sbi,
					   PFN_PHYS(pfn) - pgmap->range.start,
					   PFN_PHYS(nr_pages), flags);
	up_read(&famfs_failure_sem);
	return err;
}

static const struct dev_pagemap_ops range_pgmap_ops = {
	.memory_failure	= range_failure,
};

/*
 * Whether all of the range is memory that somebody put aside for such a use:
 * not RAM, not a device's registers, not a hole.
 */
static bool is_set_aside(const struct famfs_range_option *option)
{
	static const unsigned long kinds[] = {
		IORES_DESC_RESERVED, IORES_DESC_PERSISTENT_MEMORY,
		IORES_DESC_PERSISTENT_MEMORY_LEGACY,
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++)
		if (region_intersects(option->start, option->size,
				      IORESOURCE_MEM, kinds[i]) ==
		    REGION_INTERSECTS)
			return true;
	return famfs_is_soft_reserved(option->start, option->size);
}

static int open_range(struct fs_context *fc, struct famfs_sb *sbi,
		      const struct famfs_range_option *option)
{
	struct famfs_device *dev = &sbi->dev;
	struct famfs_own_range *range;
	struct dax_device *dax;
	int err;

	if (!capable(CAP_SYS_RAWIO))
		return -EPERM;
	if (!option->size || option->start % FAMFS_UNIT ||
	    option->size % FAMFS_UNIT ||
	    option->start + option->size < option->start)
		return invalf(fc, "famfs: a range is whole units of 2 MiB");
	if (!is_set_aside(option)) {
		errorf(fc, "famfs: not all of the range is memory that was set aside (reserved, soft-reserved or persistent): see /proc/iomem");
		return -EBUSY;
	}
	range = kzalloc(sizeof(*range), GFP_KERNEL);
	if (!range)
		return -ENOMEM;
	dev->range = range;
	range->sbi = sbi;
	range->res = request_mem_region(option->start, option->size, "famfs");
	if (!range->res) {
		errorf(fc, "famfs: something else owns the range, or part of it: see /proc/iomem");
		return -EBUSY;
	}
	range->pgmap.type = MEMORY_DEVICE_FS_DAX;
	range->pgmap.range.start = option->start;
	range->pgmap.range.end = option->start + option->size - 1;
	range->pgmap.nr_range = 1;
	range->pgmap.ops = &range_pgmap_ops;
	range->addr = memremap_pages(&range->pgmap, NUMA_NO_NODE);
	if (IS_ERR(range->addr)) {
		err = PTR_ERR(range->addr);
		range->addr = NULL;
		errorf(fc, "famfs: the range can't be mapped: %d", err);
		return err;
	}
	dax = alloc_dax(range, &range_ops);
	if (IS_ERR_OR_NULL(dax))
		return dax ? PTR_ERR(dax) : -EOPNOTSUPP;
	/*
	 * As pmem does. Other hosts read this memory: write() stores around
	 * the caches, fsync() writes back what was stored by mappings, and
	 * read() of a page that failed is an error, not a machine check.
	 */
	dax_write_cache(dax, true);
	set_dax_nocache(dax);
	set_dax_nomc(dax);
	set_dax_synchronous(dax);
	dev->dax = dax;
	dev->size = option->size;
	snprintf(dev->name, sizeof(dev->name), "range-0x%llx+0x%llx",
		 option->start, option->size);
	return 0;
}

static void close_range(struct famfs_device *dev)
{
	struct famfs_own_range *range = dev->range;

	if (dev->dax) {
		kill_dax(dev->dax);
		put_dax(dev->dax);
	}
	if (range->addr)
		memunmap_pages(&range->pgmap);
	if (range->res)
		release_mem_region(range->res->start,
				   resource_size(range->res));
	kfree(range);
}

/* Where the device's memory begins, whatever leads to it. */
static int find_bad_pages(struct famfs_device *dev)
{
	famfs_pfn_t pfn;
	long got;
	int id;

	id = dax_read_lock();
	got = dax_direct_access(dev->dax, dev->base >> PAGE_SHIFT, 1,
				DAX_ACCESS, NULL, &pfn);
	dax_read_unlock(id);
	if (got < 0)
		return got;
	dev->bad = famfs_bad_get(famfs_pfn_phys(pfn));
	return dev->bad ? 0 : -ENOMEM;
}

static int open_any(struct fs_context *fc, struct famfs_sb *sbi,
		    const struct famfs_range_option *range)
{
	struct path path;
	umode_t mode;
	int err;

	if (range)
		return open_range(fc, sbi, range);
	err = kern_path(fc->source, LOOKUP_FOLLOW, &path);
	if (err) {
		errorf(fc, "famfs: %s: %d", fc->source, err);
		return err;
	}
	mode = d_inode(path.dentry)->i_mode;
	path_put(&path);
	if (S_ISBLK(mode))
		return open_bdev(fc, sbi);
	if (S_ISCHR(mode))
		return open_fsdev(fc, sbi);
	return invalf(fc, "famfs: %s is no device", fc->source);
}

/**
 * famfs_device_open - take hold of the device for one mount
 * @fc: the mount's context: the device's path, and where messages go
 * @sbi: the mount; famfs_device_close() is called for it whatever comes
 * @range: physical memory to take instead, or NULL
 *
 * Return: 0, or why it can't be had: -EBUSY when something else has it,
 * -EOPNOTSUPP when this kernel has no way to it, -ENODEV when it is bound to
 * another driver, -EINVAL when it is no device or too small.
 */
int famfs_device_open(struct fs_context *fc, struct famfs_sb *sbi,
		      const struct famfs_range_option *range)
{
	int err;

	/* Nobody is told of a failure before it is known what failed. */
	down_write(&famfs_failure_sem);
	err = open_any(fc, sbi, range);
	if (!err)
		err = find_bad_pages(&sbi->dev);
	sbi->dev.connected = true;
	up_write(&famfs_failure_sem);
	if (err)
		return err;
	/* Not to whole units: the superblock has the size that user space sees. */
	sbi->dev.size = round_down(sbi->dev.size, PAGE_SIZE);
	if (sbi->dev.size < 2 * FAMFS_UNIT || sbi->dev.base % FAMFS_UNIT)
		return invalf(fc, "famfs: %s is too small, or doesn't begin on a whole 2 MiB",
			      fc->source);
	return 0;
}

/**
 * famfs_device_disconnect - be told of no failure any more
 * @sbi: the mount, whose inodes are gone
 *
 * Called with famfs_failure_sem held to be written.
 */
void famfs_device_disconnect(struct famfs_sb *sbi)
{
	struct famfs_device *dev = &sbi->dev;

	if (dev->range)
		dev->range->sbi = NULL;
	else if (dev->dax)
		fs_put_dax(dev->dax, sbi);
	dev->connected = false;
}

/**
 * famfs_device_close - let the device go
 * @sbi: the mount
 */
void famfs_device_close(struct famfs_sb *sbi)
{
	struct famfs_device *dev = &sbi->dev;

	if (dev->connected) {
		down_write(&famfs_failure_sem);
		famfs_device_disconnect(sbi);
		up_write(&famfs_failure_sem);
	}
	/*
	 * Not under the semaphore: who tells of a failure holds the pages
	 * that this waits for.
	 */
	if (dev->range)
		close_range(dev);
	if (dev->bdev)
		famfs_bdev_close(dev->bdev);
	if (dev->bad)
		famfs_bad_put(dev->bad);
}
