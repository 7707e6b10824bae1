/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the parts of the module know of each other.
 *
 * Who owns what:
 *   famfs_super.c	mounting, the super block, inodes' memory
 *   famfs_device.c	the device under a mount, whichever of three kinds
 *   famfs_inode.c	names: directories and what may be done to them
 *   famfs_retire.c	names that pass to another file in one step
 *   famfs_file.c	bytes: faults, read, write, fsync
 *   famfs_ioctl.c	the ioctls, and installing maps
 *   famfs_map.c	maps themselves, judged and resolved; pure
 *   famfs_ras.c	memory errors, and devices that go away
 *   famfs_sysfs.c	/sys/fs/famfs
 */
#ifndef FAMFS_INTERNAL_H
#define FAMFS_INTERNAL_H

#include <linux/dax.h>
#include <linux/fs.h>
#include <linux/iomap.h>
#include <linux/kobject.h>
#include <linux/kref.h>
#include <linux/maple_tree.h>
#include <linux/mutex.h>
#include <linux/percpu.h>
#include <linux/rwsem.h>
#include <linux/xarray.h>

#include "famfs_compat.h"
#include "famfs_ioctl.h"
#include "famfs_map.h"

#define FAMFS_VERSION "0.1.0"

#if BITS_PER_LONG != 64
#error "famfs is for 64-bit kernels"
#endif

struct famfs_sb;

/**
 * struct famfs_bad - the pages of a device that failed
 * @link: in the module's list of all of them
 * @users: mounts, and the list itself
 * @device: which memory, by the physical address that it begins at: whatever
 *	driver, device number or mount option leads to it
 * @pages: page number on the device -> a value, for each bad page
 *
 * Nothing else keeps a bad page away from those who map it again, and a new
 * mount must know of it too: so it outlives the mount, and goes with the
 * module, or when root says through sysfs that the memory was replaced.
 */
struct famfs_bad {
	struct list_head	link;
	struct kref		users;
	u64			device;
	struct xarray		pages;
};

/**
 * struct famfs_device - the device under a mount
 * @dax: its memory
 * @size: bytes, whole pages; files have whole units of it
 * @base: where on @dax it begins, bytes; not 0 on a partition
 * @bad: its bad pages
 * @bdev: the block device, for /dev/pmem
 * @range: the physical range and its pages, where the module owns them
 * @connected: whether failures of @dax are told to this mount
 * @name: as in /sys/fs/famfs
 */
struct famfs_device {
	struct dax_device	*dax;
	u64			size;
	u64			base;
	struct famfs_bad	*bad;
	struct famfs_bdev	*bdev;
	struct famfs_own_range	*range;
	bool			connected;
	char			name[64];
};

/**
 * struct famfs_stats - what was counted, for each CPU
 * @faults_4k: faults answered with one page
 * @faults_2m: faults answered with 2 MiB
 * @fallbacks: 2 MiB asked for, and left to single pages
 * @failed: faults answered with a signal
 */
struct famfs_stats {
	u64	faults_4k;
	u64	faults_2m;
	u64	fallbacks;
	u64	failed;
};

/**
 * struct famfs_sb - a mount
 * @sb: the VFS's part
 * @dev: its device
 * @lock: serialises changes of @claims; taken inside an inode's lock and
 *	never with a page of a file locked
 * @claims: unit of the device -> the inode whose map has it. Two live inodes
 *	over the same memory would break DAX, so that a map which overlaps
 *	another's is refused. An inode stays here until it is evicted: a file
 *	without a name keeps its memory as long as somebody maps it
 * @allocated: bytes of the device that @claims covers
 * @files: inodes with a map
 * @stats: counters
 * @kobj: in /sys/fs/famfs
 * @gone: completes when nobody uses @kobj any more
 * @dead: the device went away; set once
 */
struct famfs_sb {
	struct super_block	*sb;
	struct famfs_device	dev;
	struct mutex		lock;
	struct maple_tree	claims;
	u64			allocated;
	u64			files;
	struct famfs_stats __percpu *stats;
	struct kobject		kobj;
	struct completion	gone;
	bool			dead;
};

/**
 * struct famfs_inode - an inode
 * @vfs: the VFS's part
 * @map: of a regular file, once it has one; never changes from then on, and
 *	is freed with the inode
 */
struct famfs_inode {
	struct inode		vfs;
	const struct famfs_map	*map;
};

static inline struct famfs_sb *FAMFS_SB(const struct super_block *sb)
{
	return sb->s_fs_info;
}

static inline struct famfs_inode *FAMFS_I(struct inode *inode)
{
	return container_of(inode, struct famfs_inode, vfs);
}

/* The file's map, or NULL before it has one. */
static inline const struct famfs_map *famfs_map_of(struct inode *inode)
{
	/* Pairs with the release in famfs_install(). */
	return smp_load_acquire(&FAMFS_I(inode)->map);
}

/* famfs_device.c */
struct famfs_range_option {
	u64	start;
	u64	size;
};

int famfs_device_open(struct fs_context *fc, struct famfs_sb *sbi,
		      const struct famfs_range_option *range);
void famfs_device_disconnect(struct famfs_sb *sbi);
void famfs_device_close(struct famfs_sb *sbi);

/* famfs_file.c */
extern const struct file_operations famfs_file_ops;
extern const struct address_space_operations famfs_aops;
int famfs_write_back(struct inode *inode, loff_t start, loff_t end);
int famfs_fiemap(struct inode *inode, struct fiemap_extent_info *info,
		 u64 start, u64 len);

/* famfs_inode.c */
struct inode *famfs_new_inode(struct super_block *sb,
			      struct famfs_idmap *idmap,
			      const struct inode *dir, umode_t mode);

/* famfs_ioctl.c */
long famfs_ioctl(struct file *file, unsigned int cmd, unsigned long arg);
void famfs_unclaim(struct inode *inode);

/* famfs_retire.c */
int famfs_retire(struct file *dir, const struct famfs_retire __user *arg);

/* famfs_ras.c */
extern struct rw_semaphore famfs_failure_sem;
struct inode *famfs_next_file(struct famfs_sb *sbi, unsigned long *unit,
			      unsigned long last, bool wait);
extern const struct dax_holder_operations famfs_holder_ops;
struct famfs_bad *famfs_bad_get(u64 device);
void famfs_bad_put(struct famfs_bad *bad);
void famfs_bad_forget(struct famfs_bad *bad);
void famfs_bad_exit(void);
int famfs_bad_clip(const struct famfs_device *dev, struct famfs_run *run);
int famfs_bad_next(const struct famfs_device *dev, struct famfs_range *range);
int famfs_memory_failure(struct famfs_sb *sbi, u64 offset, u64 len, int flags);

/* famfs_sysfs.c */
int famfs_sysfs_init(void);
void famfs_sysfs_exit(void);
int famfs_sysfs_add(struct famfs_sb *sbi);
void famfs_sysfs_remove(struct famfs_sb *sbi);

#endif /* FAMFS_INTERNAL_H */
