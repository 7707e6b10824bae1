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

/*
 * Locks both directories as the VFS does for a rename across two, whose mutex
 * keeps any other such pair away; the versions' directory is never an
 * ancestor of the other.
 */
static void lock_both(struct dentry *dir, struct dentry *versions)
{
	mutex_lock(&dir->d_sb->s_vfs_rename_mutex);
	inode_lock_nested(d_inode(dir), I_MUTEX_PARENT);
	inode_lock_nested(d_inode(versions), I_MUTEX_PARENT2);
}

static void unlock_both(struct dentry *dir, struct dentry *versions)
{
	inode_unlock(d_inode(versions));
	inode_unlock(d_inode(dir));
	mutex_unlock(&dir->d_sb->s_vfs_rename_mutex);
}

/* The file that gets the name: of this mount, with a map, without a name. */
static int check_successor(struct file *file, struct super_block *sb)
{
	struct inode *inode = file_inode(file);

	if (inode->i_sb != sb)
		return -EXDEV;
	if (!S_ISREG(inode->i_mode) || !famfs_map_of(inode))
		return -EINVAL;
	return inode->i_nlink ? -EEXIST : 0;
}

/* What is in the way of a directory's name, or of a file's. */
static int check_old(struct dentry *old, bool successor)
{
	if (!old || d_is_negative(old))
		return -ENOENT;
	if (d_mountpoint(old))
		return -EBUSY;
	if (d_is_dir(old)) {
		if (successor)
			return -EISDIR;
		return simple_empty(old) ? 0 : -ENOTEMPTY;
	}
	return famfs_map_of(d_inode(old)) ? 0 : -EINVAL;
}

static void move_to_versions(struct dentry *old, struct dentry *place,
			     struct inode *dir, struct inode *versions)
{
	d_move(old, place);
	famfs_dir_changed(dir);
	famfs_dir_changed(versions);
	famfs_inode_changed(d_inode(old));
}

static int retire_locked(struct dentry *dir, struct dentry *versions,
			 const char *name, size_t len, u64 slot,
			 struct file *successor)
{
	struct dentry *old, *place = NULL, *fresh = NULL;
	char number[24];
	int err, digits;

	old = find(dir, name, len);
	err = check_old(old, successor != NULL);
	if (err)
		goto out;
	if (d_is_dir(old)) {
		err = simple_rmdir(d_inode(dir), old);
		goto out;
	}
	digits = snprintf(number, sizeof(number), "%llu", slot);
	place = find(versions, number, digits);
	err = -EEXIST;
	if (place && d_is_positive(place))
		goto out;
	/* Everything that can fail comes before the first change. */
	err = -ENOMEM;
	if (!place)
		place = make(versions, number, digits);
	if (!place)
		goto out;
	if (successor) {
		fresh = make(dir, name, len);
		if (!fresh)
			goto out;
		/* Looked at again: the lock is held only now. */
		err = check_successor(successor, dir->d_sb);
		if (err)
			goto out;
	}
	err = 0;
	move_to_versions(old, place, d_inode(dir), d_inode(versions));
	if (successor) {
		struct inode *inode = file_inode(successor);

		inc_nlink(inode);
		ihold(inode);
		famfs_inode_changed(inode);
		famfs_add_name(fresh, inode);
		fsnotify_create(d_inode(dir), fresh);
		fresh = NULL;
	}
out:
	dput(fresh);
	dput(place);
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

/* Files below .meta are not the log's to name. */
static bool is_below_meta(struct dentry *dir)
{
	struct dentry *meta = find(dir->d_sb->s_root, ".meta", 5);
	bool below = meta && is_subdir(dir, meta);

	dput(meta);
	return below;
}

static int retire_in(struct dentry *dir, const struct famfs_retire *ask,
		     struct file *successor)
{
	struct dentry *versions;
	char *name;
	int err;

	if (!d_is_dir(dir) || is_below_meta(dir))
		return -EINVAL;
	name = copy_name(ask);
	if (IS_ERR(name))
		return PTR_ERR(name);
	err = -ENOENT;
	versions = find_versions(dir->d_sb);
	if (!versions)
		goto out;
	lock_both(dir, versions);
	if (IS_DEADDIR(d_inode(dir)) || IS_DEADDIR(d_inode(versions)))
		err = -ENOENT;
	else
		err = retire_locked(dir, versions, name, ask->name_len,
				    ask->slot, successor);
	unlock_both(dir, versions);
	dput(versions);
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
