/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What differs between kernels, and nothing else does: every test of
 * LINUX_VERSION_CODE stands here. Each kernel's way is given the name that the
 * rest of the module uses.
 */
#ifndef FAMFS_COMPAT_H
#define FAMFS_COMPAT_H

#include <linux/backing-dev.h>
#include <linux/blkdev.h>
#include <linux/dax.h>
#include <linux/fs.h>
#include <linux/ioport.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/version.h>
#include <linux/wait_bit.h>

#define FAMFS_HAS(major, minor) \
	(LINUX_VERSION_CODE >= KERNEL_VERSION(major, minor, 0))

#if !FAMFS_HAS(6, 1)
#error "famfs needs Linux 6.1 or newer"
#endif

/* File locks have a header of their own from 6.3 on. */
#if FAMFS_HAS(6, 3)
#include <linux/filelock.h>
#endif

/* Who maps owners: a user namespace before 6.3. */
#if FAMFS_HAS(6, 3)
#define famfs_idmap mnt_idmap
#else
#define famfs_idmap user_namespace
#endif

/* ->mkdir says what became of the dentry from 6.15 on. */
#if FAMFS_HAS(6, 15)
typedef struct dentry *famfs_mkdir_t;
#define famfs_mkdir_result(err)	ERR_PTR(err)
#else
typedef int famfs_mkdir_t;
#define famfs_mkdir_result(err)	(err)
#endif

/* ->create says whether it must be new until 7.3. */
#if FAMFS_HAS(7, 3)
#define FAMFS_CREATE_EXCL
#else
#define FAMFS_CREATE_EXCL	, bool excl
#endif

#if FAMFS_HAS(6, 7)
static inline void famfs_init_times(struct inode *inode)
{
	simple_inode_init_ts(inode);
}

static inline void famfs_dir_changed(struct inode *dir)
{
	inode_set_mtime_to_ts(dir, inode_set_ctime_current(dir));
}

static inline void famfs_inode_changed(struct inode *inode)
{
	inode_set_ctime_current(inode);
}
#else
static inline void famfs_init_times(struct inode *inode)
{
	inode->i_atime = inode->i_mtime = inode->i_ctime = current_time(inode);
}

static inline void famfs_dir_changed(struct inode *dir)
{
	dir->i_mtime = dir->i_ctime = current_time(dir);
}

static inline void famfs_inode_changed(struct inode *inode)
{
	inode->i_ctime = current_time(inode);
}
#endif

/* A name that stays until it is taken away: no disk has it. */
#if FAMFS_HAS(6, 19)
static inline void famfs_name(struct dentry *dentry, struct inode *inode)
{
	d_make_persistent(dentry, inode);
}

static inline void famfs_add_name(struct dentry *dentry, struct inode *inode)
{
	d_make_persistent(dentry, inode);
	dput(dentry);
}

#define famfs_kill_names	kill_anon_super
#else
static inline void famfs_name(struct dentry *dentry, struct inode *inode)
{
	d_instantiate(dentry, inode);
	dget(dentry);
}

/* For a dentry that was just allocated: it keeps the reference. */
static inline void famfs_add_name(struct dentry *dentry, struct inode *inode)
{
	d_add(dentry, inode);
}

#define famfs_kill_names	kill_litter_super
#endif

/* An inode without a name and without users goes at once. */
#if FAMFS_HAS(6, 18)
#define famfs_drop_inode	inode_just_drop
#else
#define famfs_drop_inode	generic_delete_inode
#endif

/* Whether an inode without a name may get one. */
#if FAMFS_HAS(6, 19)
static inline bool famfs_is_linkable(struct inode *inode)
{
	return inode_state_read_once(inode) & I_LINKABLE;
}
#else
static inline bool famfs_is_linkable(struct inode *inode)
{
	return READ_ONCE(inode->i_state) & I_LINKABLE;
}
#endif

/*
 * Takes a file's last pages out of its mapping, and waits until nobody has
 * them pinned: then their memory may become another file's.
 */
#if FAMFS_HAS(6, 15)
static inline void famfs_release_pages(struct inode *inode)
{
	dax_break_layout_final(inode);
	truncate_inode_pages_final(&inode->i_data);
}
#else
static inline void famfs_release_pages(struct inode *inode)
{
	struct page *page;

	while ((page = dax_layout_busy_page(&inode->i_data)))
		wait_var_event(&page->_refcount,
			       atomic_read(&page->_refcount) == 1);
	truncate_inode_pages_final(&inode->i_data);
}
#endif

/*
 * The same for a file that stays, with its invalidate_lock held, which is let
 * go while a pin is waited for. No signal ends it: the memory is about to go.
 */
#if FAMFS_HAS(6, 15)
#define famfs_wait_idle(page) \
	wait_var_event(page, dax_page_is_idle(page))
#define famfs_delete_entries(mapping) \
	dax_delete_mapping_range(mapping, 0, LLONG_MAX)
#else
#define famfs_wait_idle(page) \
	wait_var_event(&(page)->_refcount, \
		       atomic_read(&(page)->_refcount) == 1)
/* Truncation does it. */
#define famfs_delete_entries(mapping)	do { } while (0)
#endif

static inline void famfs_drop_pages(struct inode *inode)
{
	struct page *page;

	while ((page = dax_layout_busy_page(inode->i_mapping))) {
		filemap_invalidate_unlock(inode->i_mapping);
		famfs_wait_idle(page);
		filemap_invalidate_lock(inode->i_mapping);
	}
	famfs_delete_entries(inode->i_mapping);
	truncate_inode_pages(inode->i_mapping, 0);
}

/* Faults of one page and of 2 MiB. */
#if FAMFS_HAS(6, 6)
typedef unsigned int famfs_order_t;
#define FAMFS_ORDER_PAGE	0
#define famfs_order(order)	(order)
#else
typedef enum page_entry_size famfs_order_t;
#define FAMFS_ORDER_PAGE	PE_SIZE_PTE
#define famfs_order(size)	((size) == PE_SIZE_PMD ? PMD_ORDER : \
				 (size) == PE_SIZE_PTE ? 0 : PUD_ORDER)
#ifndef PMD_ORDER
#define PMD_ORDER		(PMD_SHIFT - PAGE_SHIFT)
#endif
#ifndef PUD_ORDER
#define PUD_ORDER		(PUD_SHIFT - PAGE_SHIFT)
#endif
#endif

#if !FAMFS_HAS(6, 17)
#include <linux/pfn_t.h>
typedef pfn_t famfs_pfn_t;
#define famfs_pfn(addr)		phys_to_pfn_t(addr, PFN_DEV | PFN_MAP)
#define famfs_pfn_phys(pfn)	pfn_t_to_phys(pfn)
#else
typedef unsigned long famfs_pfn_t;
#define famfs_pfn(addr)		PHYS_PFN(addr)
#define famfs_pfn_phys(pfn)	PFN_PHYS(pfn)
#endif

/* mmap: which flags a mapping gets, and that MAP_SYNC is understood. */
#if FAMFS_HAS(6, 3)
static inline void famfs_want_huge(struct vm_area_struct *vma)
{
	vm_flags_set(vma, VM_HUGEPAGE);
}
#else
static inline void famfs_want_huge(struct vm_area_struct *vma)
{
	vma->vm_flags |= VM_HUGEPAGE;
}
#endif

#if FAMFS_HAS(6, 10)
#define FAMFS_MAY_SYNC		.fop_flags = FOP_MMAP_SYNC
#else
#define FAMFS_MAY_SYNC		.mmap_supported_flags = MAP_SYNC
#endif

/* Block devices: an open one is a file from 6.9 on. */
#if FAMFS_HAS(6, 9)
struct famfs_bdev;

static inline struct famfs_bdev *famfs_bdev_open(const char *path, void *holder)
{
	return (struct famfs_bdev *)bdev_file_open_by_path(path,
			BLK_OPEN_READ | BLK_OPEN_WRITE, holder, NULL);
}

static inline struct block_device *famfs_bdev_of(struct famfs_bdev *bdev)
{
	return file_bdev((struct file *)bdev);
}

static inline void famfs_bdev_close(struct famfs_bdev *bdev)
{
	bdev_fput((struct file *)bdev);
}
#elif !FAMFS_HAS(6, 5)
struct famfs_bdev;

#define FAMFS_BDEV_MODE		(FMODE_READ | FMODE_WRITE | FMODE_EXCL)

static inline struct famfs_bdev *famfs_bdev_open(const char *path, void *holder)
{
	return (struct famfs_bdev *)blkdev_get_by_path(path, FAMFS_BDEV_MODE,
						       holder);
}

static inline struct block_device *famfs_bdev_of(struct famfs_bdev *bdev)
{
	return (struct block_device *)bdev;
}

static inline void famfs_bdev_close(struct famfs_bdev *bdev)
{
	blkdev_put((struct block_device *)bdev, FAMFS_BDEV_MODE);
}
#else
#error "Linux 6.5 to 6.8 open block devices in ways of their own: use 6.1 or 6.9"
#endif

/* Reading into a pipe: no page cache holds the bytes. */
#if FAMFS_HAS(6, 5)
#define FAMFS_SPLICE_READ	copy_splice_read
#else
#define FAMFS_SPLICE_READ	generic_file_splice_read
#endif

/* A kobject's type may be constant from 6.2 on. */
#if FAMFS_HAS(6, 2)
#define FAMFS_KTYPE(type)	(type)
#else
#define FAMFS_KTYPE(type)	((struct kobj_type *)(type))
#endif

/* Memory that firmware put aside for special use; from 7.0 on in a list apart. */
#if FAMFS_HAS(7, 0)
static inline bool famfs_is_soft_reserved(u64 start, u64 size)
{
	return region_intersects_soft_reserve(start, size) ==
	       REGION_INTERSECTS;
}
#else
static inline bool famfs_is_soft_reserved(u64 start, u64 size)
{
	return region_intersects(start, size, IORESOURCE_MEM,
				 IORES_DESC_SOFT_RESERVED) ==
	       REGION_INTERSECTS;
}
#endif

/* A device that goes away: 6.1 has no flag for it. */
#if !FAMFS_HAS(6, 8)
#define FAMFS_PRE_REMOVE	0
#else
#define FAMFS_PRE_REMOVE	MF_MEM_PRE_REMOVE
#endif

/* Character devices that a file system may use, by the driver fsdev_dax. */
#if FAMFS_HAS(7, 0)
#define FAMFS_HAS_FSDEV		1
#else
#define FAMFS_HAS_FSDEV		0

static inline struct dax_device *dax_dev_get(dev_t devt)
{
	return NULL;
}

static inline int fs_dax_get(struct dax_device *dax_dev, void *holder,
			     const struct dax_holder_operations *hops)
{
	return -EOPNOTSUPP;
}
#endif

#endif /* FAMFS_COMPAT_H */
