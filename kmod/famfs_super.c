// SPDX-License-Identifier: GPL-2.0
/*
 * Mounting: a super block without a disk, over one device. The kernel never
 * reads the media; user space plays the log and says what is where.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/fs_context.h>
#include <linux/fs_parser.h>
#include <linux/module.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/statfs.h>

#include "famfs_internal.h"

#define CREATE_TRACE_POINTS
#include "famfs_trace.h"

/* Where the reference's tools look for the version of the interface. */
static int famfs_kabi_version = FAMFS_KABI_VERSION;
module_param(famfs_kabi_version, int, 0444);
MODULE_PARM_DESC(famfs_kabi_version, "version of the ioctls");

static struct kmem_cache *famfs_inodes;

/* What mount(2) was told, until there is a super block. */
struct famfs_options {
	struct famfs_range_option	range;
	bool				has_range;
};

enum famfs_param { Opt_range };

static const struct fs_parameter_spec famfs_params[] = {
	fsparam_string("range", Opt_range),
	{}
};

static struct inode *famfs_alloc_inode(struct super_block *sb)
{
	struct famfs_inode *fi;

	fi = alloc_inode_sb(sb, famfs_inodes, GFP_KERNEL);
	if (!fi)
		return NULL;
	fi->map = NULL;
	return &fi->vfs;
}

static void famfs_free_inode(struct inode *inode)
{
	kfree(FAMFS_I(inode)->map);
	kmem_cache_free(famfs_inodes, FAMFS_I(inode));
}

static void famfs_evict_inode(struct inode *inode)
{
	/* The order matters: its memory is free when nobody can reach it. */
	famfs_release_pages(inode);
	clear_inode(inode);
	famfs_unclaim(inode);
}

static int famfs_statfs(struct dentry *dentry, struct kstatfs *st)
{
	struct famfs_sb *sbi = FAMFS_SB(dentry->d_sb);

	st->f_type = FAMFS_SUPER_MAGIC;
	st->f_bsize = PAGE_SIZE;
	st->f_namelen = NAME_MAX;
	mutex_lock(&sbi->lock);
	st->f_blocks = sbi->dev.size >> PAGE_SHIFT;
	st->f_bfree = (sbi->dev.size - sbi->allocated) >> PAGE_SHIFT;
	mutex_unlock(&sbi->lock);
	st->f_bavail = st->f_bfree;
	st->f_fsid = u64_to_fsid(huge_encode_dev(dentry->d_sb->s_dev));
	return 0;
}

static int famfs_show_options(struct seq_file *seq, struct dentry *root)
{
	struct famfs_sb *sbi = FAMFS_SB(root->d_sb);

	if (sbi->dev.range)
		seq_printf(seq, ",range=%s", strchr(sbi->dev.name, '-') + 1);
	return 0;
}

/* What was stored through mappings, for all files: syncfs and umount. */
static int famfs_sync_fs(struct super_block *sb, int wait)
{
	struct famfs_sb *sbi = FAMFS_SB(sb);
	unsigned long unit = 0;
	struct inode *inode;
	int err = 0, ret;

	if (!wait)
		return 0;
	while ((inode = famfs_next_file(sbi, &unit, ULONG_MAX, false))) {
		ret = famfs_write_back(inode, 0, LLONG_MAX);
		err = err ? err : ret;
		iput(inode);
	}
	return err;
}

static const struct super_operations famfs_super_ops = {
	.alloc_inode	= famfs_alloc_inode,
	.free_inode	= famfs_free_inode,
	.evict_inode	= famfs_evict_inode,
	.drop_inode	= famfs_drop_inode,
	.statfs		= famfs_statfs,
	.sync_fs	= famfs_sync_fs,
	.show_options	= famfs_show_options,
};

static void famfs_sb_free(struct famfs_sb *sbi)
{
	if (!sbi)
		return;
	famfs_device_close(sbi);
	mtree_destroy(&sbi->claims);
	free_percpu(sbi->stats);
	kfree(sbi);
}

static struct famfs_sb *famfs_sb_alloc(void)
{
	struct famfs_sb *sbi = kzalloc(sizeof(*sbi), GFP_KERNEL);

	if (!sbi)
		return NULL;
	mutex_init(&sbi->lock);
	mt_init(&sbi->claims);
	sbi->stats = alloc_percpu(struct famfs_stats);
	if (!sbi->stats) {
		kfree(sbi);
		return NULL;
	}
	return sbi;
}

static int famfs_fill_super(struct super_block *sb, struct fs_context *fc)
{
	struct famfs_sb *sbi = FAMFS_SB(sb);
	struct inode *root;
	int err;

	sbi->sb = sb;
	sb->s_maxbytes = MAX_LFS_FILESIZE;
	sb->s_blocksize = PAGE_SIZE;
	/* dax_writeback_mapping_range() insists on it. */
	sb->s_blocksize_bits = PAGE_SHIFT;
	sb->s_magic = FAMFS_SUPER_MAGIC;
	sb->s_op = &famfs_super_ops;
	sb->s_time_gran = 1;
	root = famfs_new_inode(sb, NULL, NULL, S_IFDIR | 0755);
	if (IS_ERR(root))
		return PTR_ERR(root);
	sb->s_root = d_make_root(root);
	if (!sb->s_root)
		return -ENOMEM;
	err = famfs_sysfs_add(sbi);
	if (err)
		return err;
	return 0;
}

static int famfs_get_tree(struct fs_context *fc)
{
	struct famfs_options *options = fc->fs_private;
	struct super_block *sb;
	int err;

	if (!fc->source)
		return invalf(fc, "famfs: no device was named");
	fc->s_fs_info = famfs_sb_alloc();
	if (!fc->s_fs_info)
		return -ENOMEM;
	err = famfs_device_open(fc, fc->s_fs_info,
				options->has_range ? &options->range : NULL);
	if (err)
		return err;
	/* One mount a device: its exclusive opening has seen to that. */
	sb = sget_fc(fc, NULL, set_anon_super_fc);
	if (IS_ERR(sb))
		return PTR_ERR(sb);
	err = famfs_fill_super(sb, fc);
	if (err) {
		deactivate_locked_super(sb);
		return err;
	}
	sb->s_flags |= SB_ACTIVE;
	fc->root = dget(sb->s_root);
	return 0;
}

/* START+SIZE, each as C writes numbers. */
static int famfs_parse_range(struct fs_context *fc, char *text,
			     struct famfs_range_option *range)
{
	char *size = strchr(text, '+');

	if (!size)
		return invalf(fc, "famfs: range is START+SIZE");
	*size++ = 0;
	if (kstrtou64(text, 0, &range->start) ||
	    kstrtou64(size, 0, &range->size))
		return invalf(fc, "famfs: range is START+SIZE, two numbers");
	return 0;
}

static int famfs_parse_param(struct fs_context *fc, struct fs_parameter *param)
{
	struct famfs_options *options = fc->fs_private;
	struct fs_parse_result result;
	int opt;

	opt = fs_parse(fc, famfs_params, param, &result);
	if (opt < 0)
		return opt;
	options->has_range = true;
	return famfs_parse_range(fc, param->string, &options->range);
}

static void famfs_free_fc(struct fs_context *fc)
{
	/* Not ours any more once a super block has it. */
	famfs_sb_free(fc->s_fs_info);
	kfree(fc->fs_private);
}

/* The device stays; mount(8) hands its options back as they were. */
static int famfs_reconfigure(struct fs_context *fc)
{
	struct famfs_options *options = fc->fs_private;
	struct famfs_device *dev = &FAMFS_SB(fc->root->d_sb)->dev;
	char name[sizeof(dev->name)];

	if (!options->has_range)
		return 0;
	snprintf(name, sizeof(name), "range-0x%llx+0x%llx",
		 options->range.start, options->range.size);
	if (!dev->range || strcmp(name, dev->name))
		return invalf(fc, "famfs: a mounted range can't be changed");
	return 0;
}

static const struct fs_context_operations famfs_context_ops = {
	.parse_param	= famfs_parse_param,
	.get_tree	= famfs_get_tree,
	.reconfigure	= famfs_reconfigure,
	.free		= famfs_free_fc,
};

static int famfs_init_fs_context(struct fs_context *fc)
{
	fc->fs_private = kzalloc(sizeof(struct famfs_options), GFP_KERNEL);
	if (!fc->fs_private)
		return -ENOMEM;
	fc->ops = &famfs_context_ops;
	return 0;
}

static void famfs_kill_sb(struct super_block *sb)
{
	struct famfs_sb *sbi = FAMFS_SB(sb);

	if (sbi)
		famfs_sysfs_remove(sbi);
	/*
	 * Evicts all inodes; none reaches the device from here on. Whoever
	 * tells of a failure meanwhile waits, and then finds no mount.
	 */
	down_write(&famfs_failure_sem);
	famfs_kill_names(sb);
	if (sbi)
		famfs_device_disconnect(sbi);
	up_write(&famfs_failure_sem);
	famfs_sb_free(sbi);
}

static struct file_system_type famfs_type = {
	.owner			= THIS_MODULE,
	.name			= "famfs",
	.init_fs_context	= famfs_init_fs_context,
	.parameters		= famfs_params,
	.kill_sb		= famfs_kill_sb,
};
MODULE_ALIAS_FS("famfs");

static void famfs_inode_once(void *inode)
{
	inode_init_once(&((struct famfs_inode *)inode)->vfs);
}

static int __init famfs_init(void)
{
	int err;

	famfs_inodes = kmem_cache_create("famfs_inode",
					 sizeof(struct famfs_inode), 0,
					 SLAB_RECLAIM_ACCOUNT | SLAB_ACCOUNT,
					 famfs_inode_once);
	if (!famfs_inodes)
		return -ENOMEM;
	err = famfs_sysfs_init();
	if (err)
		goto out_cache;
	err = register_filesystem(&famfs_type);
	if (err)
		goto out_sysfs;
	return 0;

out_sysfs:
	famfs_sysfs_exit();
out_cache:
	kmem_cache_destroy(famfs_inodes);
	return err;
}

static void __exit famfs_exit(void)
{
	unregister_filesystem(&famfs_type);
	famfs_sysfs_exit();
	/* Inodes are freed after a grace period. */
	rcu_barrier();
	kmem_cache_destroy(famfs_inodes);
	famfs_bad_exit();
}

module_init(famfs_init);
module_exit(famfs_exit);

MODULE_DESCRIPTION("famfs: files in memory that hosts share");
MODULE_AUTHOR("famfs");
MODULE_LICENSE("GPL");
MODULE_VERSION(FAMFS_VERSION);
