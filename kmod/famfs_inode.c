// SPDX-License-Identifier: GPL-2.0
/*
 * Names. They live in the dentry cache alone, as a RAM file system's do; what
 * they should be stands in the log, which user space plays. So whoever could
 * change them behind the log's back is refused: rename, symlink and mknod are
 * not there, a file with a map keeps its name and its size, and files are made
 * by those who may install maps.
 */
#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/namei.h>

#include "famfs_internal.h"

static const struct inode_operations famfs_dir_iops;
static const struct inode_operations famfs_file_iops;
static const struct file_operations famfs_dir_ops;

struct inode *famfs_new_inode(struct super_block *sb,
			      struct famfs_idmap *idmap,
			      const struct inode *dir, umode_t mode)
{
	struct inode *inode = new_inode(sb);

	if (!inode)
		return ERR_PTR(-ENOMEM);
	inode->i_ino = get_next_ino();
	if (dir) {
		inode_init_owner(idmap, inode, dir, mode);
	} else {
		inode->i_mode = mode;
		inode->i_uid = current_fsuid();
		inode->i_gid = current_fsgid();
	}
	famfs_init_times(inode);
	if (S_ISDIR(mode)) {
		inode->i_op = &famfs_dir_iops;
		inode->i_fop = &famfs_dir_ops;
		/* Its own ".", beside the name in its parent. */
		inc_nlink(inode);
	} else {
		inode->i_op = &famfs_file_iops;
		inode->i_fop = &famfs_file_ops;
		inode->i_mapping->a_ops = &famfs_aops;
		inode->i_flags |= S_DAX;
	}
	return inode;
}

static int famfs_create(struct famfs_idmap *idmap, struct inode *dir,
			struct dentry *dentry, umode_t mode FAMFS_CREATE_EXCL)
{
	struct inode *inode;

	/* Nobody else could give it a map: a file of no use would stay. */
	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	inode = famfs_new_inode(dir->i_sb, idmap, dir, mode | S_IFREG);
	if (IS_ERR(inode))
		return PTR_ERR(inode);
	famfs_name(dentry, inode);
	famfs_dir_changed(dir);
	return 0;
}

static famfs_mkdir_t famfs_mkdir(struct famfs_idmap *idmap, struct inode *dir,
				 struct dentry *dentry, umode_t mode)
{
	struct inode *inode;

	/* Names follow the log: others would get in the way of it. */
	if (!capable(CAP_SYS_ADMIN))
		return famfs_mkdir_result(-EPERM);
	inode = famfs_new_inode(dir->i_sb, idmap, dir, mode | S_IFDIR);
	if (IS_ERR(inode))
		return famfs_mkdir_result(PTR_ERR(inode));
	inc_nlink(dir);
	famfs_name(dentry, inode);
	famfs_dir_changed(dir);
	return famfs_mkdir_result(0);
}

/* An inode that gets its map and its content before its name. */
static int famfs_tmpfile(struct famfs_idmap *idmap, struct inode *dir,
			 struct file *file, umode_t mode)
{
	struct inode *inode;

	/* Programs that only want scratch space look for it elsewhere then. */
	if (!capable(CAP_SYS_ADMIN))
		return -EOPNOTSUPP;
	inode = famfs_new_inode(dir->i_sb, idmap, dir, mode | S_IFREG);
	if (IS_ERR(inode))
		return PTR_ERR(inode);
	d_tmpfile(file, inode);
	return finish_open_simple(file, 0);
}

/* The one name that an inode without a name gets. */
static int famfs_link(struct dentry *old, struct inode *dir,
		      struct dentry *dentry)
{
	struct inode *inode = d_inode(old);

	/* The log was written first: by those who may install maps. */
	if (!capable(CAP_SYS_ADMIN) || inode->i_nlink)
		return -EPERM;
	if (!famfs_map_of(inode))
		return -EINVAL;
	inc_nlink(inode);
	ihold(inode);
	famfs_inode_changed(inode);
	famfs_name(dentry, inode);
	famfs_dir_changed(dir);
	return 0;
}

static int famfs_unlink(struct inode *dir, struct dentry *dentry)
{
	/* The log names it: the next replay would bring it back. */
	if (famfs_map_of(d_inode(dentry)))
		return -EPERM;
	return simple_unlink(dir, dentry);
}

static int famfs_rmdir(struct inode *dir, struct dentry *dentry)
{
	/* Nobody would make it again, although the log has it. */
	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	return simple_rmdir(dir, dentry);
}

static int famfs_setattr(struct famfs_idmap *idmap, struct dentry *dentry,
			 struct iattr *attr)
{
	struct inode *inode = d_inode(dentry);
	int err;

	err = setattr_prepare(idmap, dentry, attr);
	if (err)
		return err;
	/* The map says how long a file is. */
	if (attr->ia_valid & ATTR_SIZE) {
		if (attr->ia_size != i_size_read(inode))
			return -EPERM;
		attr->ia_valid &= ~ATTR_SIZE;
	}
	setattr_copy(idmap, inode, attr);
	return 0;
}

static const struct inode_operations famfs_dir_iops = {
	.lookup		= simple_lookup,
	.create		= famfs_create,
	.mkdir		= famfs_mkdir,
	.rmdir		= famfs_rmdir,
	.link		= famfs_link,
	.unlink		= famfs_unlink,
	.tmpfile	= famfs_tmpfile,
	.setattr	= famfs_setattr,
};

static const struct inode_operations famfs_file_iops = {
	.setattr	= famfs_setattr,
	.fiemap		= famfs_fiemap,
};

static const struct file_operations famfs_dir_ops = {
	.open		= dcache_dir_open,
	.release	= dcache_dir_close,
	.llseek		= dcache_dir_lseek,
	.read		= generic_read_dir,
	.iterate_shared	= dcache_readdir,
	.fsync		= noop_fsync,
	.unlocked_ioctl	= famfs_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
};
