// SPDX-License-Identifier: GPL-2.0
/*
 * Names that change hands: what the log's REPLACE and DELETE entries ask for.
 *
 * The old file moves to .meta/versions/<slot>, and its successor, if there is
 * one, gets the name. Both happen while the two directories are locked: a
 * lookup that misses the dentry cache waits for that lock, so that no reader
 * finds the name missing in between.
 */
#include <linux/capability.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/fsnotify.h>
#include <linux/mount.h>
#include <linux/namei.h>
#include <linux/slab.h>
#include <linux/stringhash.h>

#include "famfs_internal.h"

static struct dentry *find(struct dentry *dir, const char *name, size_t len)
{
	struct qstr qstr = QSTR_INIT(name, len);

	qstr.hash = full_name_hash(dir, name, len);
	return d_lookup(dir, &qstr);
}

static struct dentry *make(struct dentry *dir, const char *name, size_t len)
{
	struct qstr qstr = QSTR_INIT(name, len);

	qstr.hash = full_name_hash(dir, name, len);
	return d_alloc(dir, &qstr);
}

static struct dentry *find_versions(struct super_block *sb)
{
	struct dentry *meta = find(sb->s_root, ".meta", 5), *versions;

	if (!meta)
		return NULL;
	versions = d_is_dir(meta) ? find(meta, "versions", 8) : NULL;
	dput(meta);
	if (versions && !d_is_dir(versions)) {
		dput(versions);
		return NULL;
	}
	return versions;
}

/* The file that gets the name: of this mount, with a map, without a name. */
static int check_successor(struct file *file, struct super_block *sb)
{
	struct inode *inode = file_inode(file);

	if (inode->i_sb != sb)
		return -EXDEV;
	if (!S_ISREG(inode->i_mode) || !famfs_map_of(inode))
		return -EINVAL;
	if (inode->i_nlink)
		return -EEXIST;
	/* Made to stay without one, or its name was taken away. */
	return famfs_is_linkable(inode) ? 0 : -EINVAL;
}

/*
 * A directory goes as by rmdir(2), of which this is the VFS's part too: nobody
 * can make anything in it any more, whoever has it open.
 */
static int retire_directory(struct inode *dir, struct dentry *old)
{
	struct inode *inode = d_inode(old);
	int err = -EBUSY;

	inode_lock_nested(inode, I_MUTEX_CHILD);
	if (!d_mountpoint(old)) {
		shrink_dcache_parent(old);
		err = simple_rmdir(dir, old);
	}
	if (!err) {
		inode->i_flags |= S_DEAD;
		dont_mount(old);
	}
	inode_unlock(inode);
	if (!err)
		d_delete(old);
	return err;
}

/*
 * Gives the successor the name, with both directories locked. Its own lock
 * comes after theirs, as in linkat(2), which could give it a name elsewhere.
 */
static int succeed(struct dentry *dir, struct dentry *old, struct dentry *place,
		   const char *name, size_t len, struct file *successor)
{
	struct inode *inode = file_inode(successor);
	struct dentry *fresh;
	int err;

	/* Everything that can fail comes before the first change. */
	fresh = make(dir, name, len);
	if (!fresh)
		return -ENOMEM;
	inode_lock(inode);
	err = check_successor(successor, dir->d_sb);
	if (!err) {
		d_move(old, place);
		inc_nlink(inode);
		ihold(inode);
		famfs_inode_changed(inode);
		famfs_add_name(fresh, inode);
		/* The name has the reference now. */
		fsnotify_create(d_inode(dir), fresh);
		fresh = NULL;
	}
	inode_unlock(inode);
	dput(fresh);
	return err;
}

/* With both directories locked. */
static int retire_file(struct dentry *dir, struct dentry *versions,
		       struct dentry *old, const char *name, size_t len,
		       u64 slot, struct file *successor)
{
	struct dentry *place;
	char number[24];
	int err, digits;

	if (d_mountpoint(old))
		return -EBUSY;
	if (!famfs_map_of(d_inode(old)))
		return -EINVAL;
	digits = snprintf(number, sizeof(number), "%llu", slot);
	place = find(versions, number, digits);
	err = -EEXIST;
	if (place && d_is_positive(place))
		goto out;
	err = -ENOMEM;
	if (!place)
		place = make(versions, number, digits);
	if (!place)
		goto out;
	err = 0;
	if (successor)
		err = succeed(dir, old, place, name, len, successor);
	else
		d_move(old, place);
	if (err)
		goto out;
	famfs_dir_changed(d_inode(dir));
	famfs_dir_changed(d_inode(versions));
	famfs_inode_changed(d_inode(old));
out:
	dput(place);
	return err;
}

/*
 * With the directory locked. The versions' directory is locked after it, as
 * the VFS does for a rename across two: s_vfs_rename_mutex keeps any other
 * such pair away, and that directory is never an ancestor of this one.
 */
static int retire_locked(struct dentry *dir, const char *name,
			 const struct famfs_retire *ask, struct file *successor)
{
	struct dentry *old, *versions;
	int err = -ENOENT;

	old = find(dir, name, ask->name_len);
	if (!old || d_is_negative(old))
		goto out;
	if (d_is_dir(old)) {
		err = successor ? -EISDIR : retire_directory(d_inode(dir), old);
		goto out;
	}
	versions = find_versions(dir->d_sb);
	if (!versions)
		goto out;
	inode_lock_nested(d_inode(versions), I_MUTEX_PARENT2);
	if (!IS_DEADDIR(d_inode(versions)))
		err = retire_file(dir, versions, old, name, ask->name_len,
				  ask->slot, successor);
	inode_unlock(d_inode(versions));
	dput(versions);
out:
	dput(old);
	return err;
}

static char *copy_name(const struct famfs_retire *ask)
{
	char *name;

	if (ask->name_len == 0 || ask->name_len > FAMFS_NAME_MAX)
		return ERR_PTR(-EINVAL);
	name = memdup_user_nul(u64_to_user_ptr(ask->name), ask->name_len);
	if (IS_ERR(name))
		return name;
	if (strlen(name) != ask->name_len || strchr(name, '/') ||
	    !strcmp(name, ".") || !strcmp(name, "..")) {
		kfree(name);
		return ERR_PTR(-EINVAL);
	}
	return name;
}

/* What is below .meta, and .meta itself, is not the log's to name. */
static bool is_meta(struct dentry *dir, const char *name)
{
	struct dentry *meta;
	bool below;

	if (dir == dir->d_sb->s_root)
		return !strcmp(name, ".meta");
	meta = find(dir->d_sb->s_root, ".meta", 5);
	below = meta && is_subdir(dir, meta);
	dput(meta);
	return below;
}

static int retire_in(struct dentry *dir, const struct famfs_retire *ask,
		     struct file *successor)
{
	char *name;
	int err;

	if (!d_is_dir(dir))
		return -ENOTDIR;
	name = copy_name(ask);
	if (IS_ERR(name))
		return PTR_ERR(name);
	err = -EINVAL;
	if (is_meta(dir, name))
		goto out;
	mutex_lock(&dir->d_sb->s_vfs_rename_mutex);
	inode_lock_nested(d_inode(dir), I_MUTEX_PARENT);
	err = -ENOENT;
	if (!IS_DEADDIR(d_inode(dir)))
		err = retire_locked(dir, name, ask, successor);
	inode_unlock(d_inode(dir));
	mutex_unlock(&dir->d_sb->s_vfs_rename_mutex);
out:
	kfree(name);
	return err;
}

/**
 * famfs_retire - take a name away, or pass it to another file, in one step
 * @dir: the directory, opened
 * @arg: which name, the slot that made it, and the successor if there is one
 *
 * Return: 0; -ENOENT without such a name or without .meta/versions, -EEXIST
 * when that version is there or the successor has a name, -EINVAL for a
 * successor or an old file without a map, -ENOTEMPTY, -EISDIR, -EXDEV.
 */
int famfs_retire(struct file *dir, const struct famfs_retire __user *arg)
{
	struct file *successor = NULL;
	struct famfs_retire ask;
	int err;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	if (copy_from_user(&ask, arg, sizeof(ask)))
		return -EFAULT;
	if (ask.successor != -1) {
		successor = fget(ask.successor);
		if (!successor)
			return -EBADF;
		err = check_successor(successor, file_inode(dir)->i_sb);
		if (err)
			goto out;
	}
	err = mnt_want_write_file(dir);
	if (err)
		goto out;
	err = retire_in(dir->f_path.dentry, &ask, successor);
	mnt_drop_write_file(dir);
out:
	if (successor)
		fput(successor);
	return err;
}
