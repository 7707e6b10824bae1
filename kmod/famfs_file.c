// SPDX-License-Identifier: GPL-2.0
/*
 * Bytes. Every fault, read and write is answered from the file's map, which
 * never changes: no lock is needed to look at it, and nobody is asked.
 */
#include <linux/backing-dev.h>
#include <linux/dax.h>
#include <linux/fiemap.h>
#include <linux/huge_mm.h>
#include <linux/iomap.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/uio.h>
#include <linux/writeback.h>

#include "famfs_internal.h"
#include "famfs_trace.h"

static int famfs_iomap_begin(struct inode *inode, loff_t pos, loff_t length,
			     unsigned int flags, struct iomap *iomap,
			     struct iomap *srcmap)
{
	struct famfs_sb *sbi = FAMFS_SB(inode->i_sb);
	const struct famfs_map *map = famfs_map_of(inode);
	struct famfs_run run;
	int err;

	if (!map)
		return -EOPNOTSUPP;
	if (READ_ONCE(sbi->dead))
		return -EIO;
	iomap->offset = pos;
	iomap->flags = 0;
	iomap->bdev = NULL;
	iomap->dax_dev = sbi->dev.dax;
	if (!famfs_map_resolve(map, pos, &run)) {
		/* Behind the last extent: asked about, never touched. */
		iomap->type = IOMAP_HOLE;
		iomap->addr = IOMAP_NULL_ADDR;
		iomap->length = length;
		return 0;
	}
	if (!(flags & IOMAP_REPORT)) {
		/* Ends in front of a bad page; a 2 MiB fault then splits. */
		err = famfs_bad_clip(&sbi->dev, &run);
		if (err)
			return flags & IOMAP_FAULT ? -EHWPOISON : -EIO;
		run.offset += sbi->dev.base;
	}
	iomap->type = IOMAP_MAPPED;
	iomap->addr = run.offset;
	iomap->length = run.len;
	return 0;
}

static const struct iomap_ops famfs_iomap_ops = {
	.iomap_begin	= famfs_iomap_begin,
};

int famfs_fiemap(struct inode *inode, struct fiemap_extent_info *info,
		 u64 start, u64 len)
{
	int err;

	inode_lock_shared(inode);
	err = iomap_fiemap(inode, info, start, len, &famfs_iomap_ops);
	inode_unlock_shared(inode);
	return err;
}

static loff_t famfs_llseek(struct file *file, loff_t offset, int whence)
{
	struct inode *inode = file_inode(file);

	switch (whence) {
	case SEEK_HOLE:
		inode_lock_shared(inode);
		offset = iomap_seek_hole(inode, offset, &famfs_iomap_ops);
		inode_unlock_shared(inode);
		break;
	case SEEK_DATA:
		inode_lock_shared(inode);
		offset = iomap_seek_data(inode, offset, &famfs_iomap_ops);
		inode_unlock_shared(inode);
		break;
	default:
		return generic_file_llseek(file, offset, whence);
	}
	if (offset < 0)
		return offset;
	return vfs_setpos(file, offset, inode->i_sb->s_maxbytes);
}

static ssize_t famfs_read_iter(struct kiocb *iocb, struct iov_iter *to)
{
	struct inode *inode = file_inode(iocb->ki_filp);
	ssize_t ret;

	if (!famfs_map_of(inode))
		return -EOPNOTSUPP;
	if (!iov_iter_count(to))
		return 0;
	inode_lock_shared(inode);
	ret = dax_iomap_rw(iocb, to, &famfs_iomap_ops);
	inode_unlock_shared(inode);
	file_accessed(iocb->ki_filp);
	return ret;
}

static ssize_t famfs_write_iter(struct kiocb *iocb, struct iov_iter *from)
{
	struct file *file = iocb->ki_filp;
	struct inode *inode = file_inode(file);
	loff_t size;
	ssize_t ret;

	if (!famfs_map_of(inode))
		return -EOPNOTSUPP;
	inode_lock(inode);
	ret = generic_write_checks(iocb, from);
	if (ret <= 0)
		goto out;
	/* A file never grows: it ends where its map says. */
	size = i_size_read(inode);
	ret = -EFBIG;
	if (iocb->ki_pos >= size)
		goto out;
	iov_iter_truncate(from, size - iocb->ki_pos);
	ret = file_remove_privs(file);
	if (ret)
		goto out;
	ret = file_update_time(file);
	if (ret)
		goto out;
	ret = dax_iomap_rw(iocb, from, &famfs_iomap_ops);
out:
	inode_unlock(inode);
	return ret > 0 ? generic_write_sync(iocb, ret) : ret;
}

/*
 * The super block has no writeback of its own, which would make
 * filemap_fdatawrite() do nothing: dirty lines are written back from here.
 */
int famfs_write_back(struct inode *inode, loff_t start, loff_t end)
{
	struct famfs_sb *sbi = FAMFS_SB(inode->i_sb);
	struct writeback_control wbc = {
		.sync_mode	= WB_SYNC_ALL,
		.nr_to_write	= LONG_MAX,
		.range_start	= start,
		.range_end	= end,
	};

	if (!famfs_map_of(inode))
		return 0;
	if (READ_ONCE(sbi->dead))
		return -EIO;
	return dax_writeback_mapping_range(inode->i_mapping, sbi->dev.dax,
					   &wbc);
}

static int famfs_fsync(struct file *file, loff_t start, loff_t end,
		       int datasync)
{
	return famfs_write_back(file_inode(file), start, end);
}

static void count_fault(struct famfs_sb *sbi, unsigned int order,
			vm_fault_t ret)
{
	if (ret & VM_FAULT_FALLBACK) {
		/* 1 GiB is asked for too, and never given. */
		if (order == PMD_ORDER)
			this_cpu_inc(sbi->stats->fallbacks);
		return;
	}
	if (ret & VM_FAULT_ERROR)
		this_cpu_inc(sbi->stats->failed);
	else if (order)
		this_cpu_inc(sbi->stats->faults_2m);
	else
		this_cpu_inc(sbi->stats->faults_4k);
}

static vm_fault_t famfs_fault_of(struct vm_fault *vmf, famfs_order_t size,
				 bool write)
{
	struct inode *inode = file_inode(vmf->vma->vm_file);
	struct super_block *sb = inode->i_sb;
	vm_fault_t ret;

	if (write) {
		sb_start_pagefault(sb);
		file_update_time(vmf->vma->vm_file);
	}
	/* Keeps a device that goes away from taking the pages meanwhile. */
	filemap_invalidate_lock_shared(inode->i_mapping);
	ret = dax_iomap_fault(vmf, size, NULL, NULL, &famfs_iomap_ops);
	filemap_invalidate_unlock_shared(inode->i_mapping);
	if (write)
		sb_end_pagefault(sb);
	count_fault(FAMFS_SB(sb), famfs_order(size), ret);
	trace_famfs_fault(inode, vmf->pgoff, famfs_order(size), write, ret);
	return ret;
}

/* A private mapping's writes go to its own copies: the file is only read. */
static bool is_write(const struct vm_fault *vmf)
{
	return (vmf->flags & FAULT_FLAG_WRITE) &&
	       (vmf->vma->vm_flags & VM_SHARED);
}

static vm_fault_t famfs_fault(struct vm_fault *vmf)
{
	return famfs_fault_of(vmf, FAMFS_ORDER_PAGE, is_write(vmf));
}

static vm_fault_t famfs_huge_fault(struct vm_fault *vmf, famfs_order_t size)
{
	return famfs_fault_of(vmf, size, is_write(vmf));
}

static vm_fault_t famfs_mkwrite(struct vm_fault *vmf)
{
	return famfs_fault_of(vmf, FAMFS_ORDER_PAGE, true);
}

/*
 * Nothing is mapped ahead. That there is such a function tells the kernel that
 * faults need no more than the lock of their own mapping (6.7 and newer): else
 * it begins each single page's fault again under the whole process's lock.
 */
static vm_fault_t famfs_map_pages(struct vm_fault *vmf, pgoff_t start,
				  pgoff_t end)
{
	return 0;
}

static const struct vm_operations_struct famfs_vm_ops = {
	.fault		= famfs_fault,
	.map_pages	= famfs_map_pages,
	.huge_fault	= famfs_huge_fault,
	.page_mkwrite	= famfs_mkwrite,
	.pfn_mkwrite	= famfs_mkwrite,
};

static int famfs_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct inode *inode = file_inode(file);
	struct famfs_sb *sbi = FAMFS_SB(inode->i_sb);

	if (!famfs_map_of(inode))
		return -EOPNOTSUPP;
	if (READ_ONCE(sbi->dead))
		return -EIO;
	/* No metadata of a file is ever dirty: the device alone decides. */
	if ((vma->vm_flags & VM_SYNC) && !dax_synchronous(sbi->dev.dax))
		return -EOPNOTSUPP;
	file_accessed(file);
	vma->vm_ops = &famfs_vm_ops;
	famfs_want_huge(vma);
	return 0;
}

/*
 * Publishers wait for each other by a lock on the log, which all may read: a
 * reader who took it would keep them all waiting.
 */
static int famfs_flock(struct file *file, int command, struct file_lock *lock)
{
	const struct famfs_map *map = famfs_map_of(file_inode(file));

	if (map && map->file_type == FAMFS_LOG &&
	    !(file->f_mode & FMODE_WRITE) && !capable(CAP_SYS_ADMIN))
		return -EACCES;
	return locks_lock_file_wait(file, lock);
}

const struct file_operations famfs_file_ops = {
	.llseek			= famfs_llseek,
	.read_iter		= famfs_read_iter,
	.write_iter		= famfs_write_iter,
	.mmap			= famfs_mmap,
	.get_unmapped_area	= thp_get_unmapped_area,
	.fsync			= famfs_fsync,
	.flock			= famfs_flock,
	.splice_read		= FAMFS_SPLICE_READ,
	.splice_write		= iter_file_splice_write,
	.unlocked_ioctl		= famfs_ioctl,
	.compat_ioctl		= compat_ptr_ioctl,
	FAMFS_MAY_SYNC,
};

const struct address_space_operations famfs_aops = {
	.dirty_folio	= noop_dirty_folio,
	.direct_IO	= noop_direct_IO,
};
