// SPDX-License-Identifier: GPL-2.0
/*
 * The ioctls. Whatever user space hands in is copied first and judged as a
 * copy; what goes back out is zeroed before it is filled.
 *
 * Who can install a map can reach any byte of the device: CAP_SYS_ADMIN.
 */
#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/mount.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "famfs_internal.h"
#include "famfs_trace.h"

static unsigned long first_unit(const struct famfs_range *ext)
{
	return ext->offset / FAMFS_UNIT;
}

static unsigned long last_unit(const struct famfs_range *ext)
{
	return (ext->offset + ext->len) / FAMFS_UNIT - 1;
}

static void unclaim(struct famfs_sb *sbi, const struct famfs_map *map, u32 n)
{
	while (n--)
		mtree_erase(&sbi->claims, first_unit(&map->ext[n]));
}

/* Takes the map's units, all or none: -EBUSY where another file has one. */
static int claim(struct famfs_sb *sbi, struct inode *inode,
		 const struct famfs_map *map)
{
	u32 i;
	int err;

	for (i = 0; i < map->count; i++) {
		err = mtree_insert_range(&sbi->claims,
					 first_unit(&map->ext[i]),
					 last_unit(&map->ext[i]), inode,
					 GFP_KERNEL);
		if (err) {
			unclaim(sbi, map, i);
			return err == -EEXIST ? -EBUSY : err;
		}
	}
	sbi->allocated += famfs_map_allocated(map);
	sbi->files++;
	return 0;
}

/**
 * famfs_unclaim - give the units of an inode's map back
 * @inode: an inode whose pages are gone; it may have no map
 */
void famfs_unclaim(struct inode *inode)
{
	struct famfs_sb *sbi = FAMFS_SB(inode->i_sb);
	const struct famfs_map *map = FAMFS_I(inode)->map;

	if (!map)
		return;
	mutex_lock(&sbi->lock);
	unclaim(sbi, map, map->count);
	sbi->allocated -= famfs_map_allocated(map);
	sbi->files--;
	mutex_unlock(&sbi->lock);
}

static int install_locked(struct inode *inode, const struct famfs_map *map)
{
	struct famfs_sb *sbi = FAMFS_SB(inode->i_sb);
	int err;

	if (FAMFS_I(inode)->map)
		return -EEXIST;
	mutex_lock(&sbi->lock);
	err = READ_ONCE(sbi->dead) ? -EIO : claim(sbi, inode, map);
	if (!err) {
		i_size_write(inode, map->size);
		inode->i_blocks = famfs_map_allocated(map) >> 9;
		/*
		 * Whoever sees the map sees it whole; and whoever finds the
		 * inode among the claims, under the lock, finds a map.
		 */
		smp_store_release(&FAMFS_I(inode)->map, map);
	}
	mutex_unlock(&sbi->lock);
	if (!err)
		trace_famfs_install(inode, map);
	return err;
}

/* Judges a map that was copied in, and gives it to the file, once. */
static int install(struct file *file, const struct famfs_map *from)
{
	struct inode *inode = file_inode(file);
	struct famfs_map *map;
	int err;

	err = famfs_map_check(from, FAMFS_SB(inode->i_sb)->dev.size);
	if (err)
		return err;
	err = mnt_want_write_file(file);
	if (err)
		return err;
	map = kmemdup(from, sizeof(*from), GFP_KERNEL_ACCOUNT);
	if (!map) {
		err = -ENOMEM;
		goto out;
	}
	inode_lock(inode);
	err = install_locked(inode, map);
	inode_unlock(inode);
	if (err)
		kfree(map);
out:
	mnt_drop_write_file(file);
	return err;
}

static int map_create(struct file *file, const struct famfs_map_v1 __user *arg)
{
	struct famfs_map map = {};
	struct famfs_map_v1 v1;

	if (copy_from_user(&v1, arg, sizeof(v1)))
		return -EFAULT;
	if (v1.ext_type != FAMFS_EXT_SIMPLE)
		return -EINVAL;
	if (v1.count > FAMFS_V1_EXTENTS)
		return -E2BIG;
	map.size = v1.size;
	map.file_type = v1.file_type;
	map.count = v1.count;
	memcpy(map.ext, v1.ext, v1.count * sizeof(*map.ext));
	return install(file, &map);
}

/* Extents, or strips: of this device alone. */
static int copy_extents(struct famfs_map *map, u64 user, u64 count)
{
	struct famfs_extent ext[FAMFS_MAX_EXTENTS];
	u32 i;

	if (count > FAMFS_MAX_EXTENTS)
		return -E2BIG;
	if (copy_from_user(ext, u64_to_user_ptr(user), count * sizeof(*ext)))
		return -EFAULT;
	for (i = 0; i < count; i++) {
		if (ext[i].devindex != 0)
			return -ENODEV;
		map->ext[i].offset = ext[i].offset;
		map->ext[i].len = ext[i].len;
	}
	map->count = count;
	return 0;
}

static int copy_interleave(struct famfs_map *map, const struct famfs_map_v2 *v2)
{
	struct famfs_interleave in;

	if (v2->count != 1)
		return v2->count ? -E2BIG : -EINVAL;
	if (copy_from_user(&in, u64_to_user_ptr(v2->extents), sizeof(in)))
		return -EFAULT;
	if (!in.nstrips || !in.chunk_size || in.nbytes != map->size)
		return -EINVAL;
	map->chunk_size = in.chunk_size;
	return copy_extents(map, in.strips, in.nstrips);
}

static int map_create_v2(struct file *file,
			 const struct famfs_map_v2 __user *arg)
{
	struct famfs_map map = {};
	struct famfs_map_v2 v2;
	int err;

	if (copy_from_user(&v2, arg, sizeof(v2)))
		return -EFAULT;
	map.size = v2.size;
	map.file_type = v2.file_type;
	switch (v2.ext_type) {
	case FAMFS_EXT_SIMPLE:
		err = copy_extents(&map, v2.extents, v2.count);
		break;
	case FAMFS_EXT_INTERLEAVED:
		err = copy_interleave(&map, &v2);
		break;
	default:
		err = -EINVAL;
	}
	return err ? err : install(file, &map);
}

static u32 ext_type(const struct famfs_map *map)
{
	return map->chunk_size ? FAMFS_EXT_INTERLEAVED : FAMFS_EXT_SIMPLE;
}

static int map_get(const struct famfs_map *map,
		   struct famfs_map_v1 __user *arg)
{
	struct famfs_map_v1 v1 = {};

	v1.ext_type = ext_type(map);
	v1.file_type = map->file_type;
	v1.size = map->size;
	v1.count = map->chunk_size ? 1 : map->count;
	if (!map->chunk_size)
		memcpy(v1.ext, map->ext, sizeof(v1.ext));
	return copy_to_user(arg, &v1, sizeof(v1)) ? -EFAULT : 0;
}

/* As many as MAP_GET's count says: the caller has made room for them. */
static int map_getext(const struct famfs_map *map,
		      struct famfs_range __user *arg)
{
	if (map->chunk_size)
		return -EINVAL;
	if (copy_to_user(arg, map->ext, map->count * sizeof(*map->ext)))
		return -EFAULT;
	return 0;
}

static void fill_extents(const struct famfs_map *map, struct famfs_extent *ext,
			 u32 room)
{
	u32 i;

	for (i = 0; i < min(map->count, room); i++) {
		ext[i].devindex = 0;
		ext[i].offset = map->ext[i].offset;
		ext[i].len = map->ext[i].len;
	}
}

static int map_get_v2(const struct famfs_map *map,
		      struct famfs_map_v2_out __user *arg)
{
	struct famfs_map_v2_out *out;
	int err;

	out = kzalloc(sizeof(*out), GFP_KERNEL);
	if (!out)
		return -ENOMEM;
	out->map.size = map->size;
	out->map.file_type = map->file_type;
	out->map.ext_type = ext_type(map);
	if (map->chunk_size) {
		out->map.count = 1;
		out->interleave.nstrips = map->count;
		out->interleave.chunk_size = map->chunk_size;
		out->interleave.nbytes = map->size;
		fill_extents(map, out->strips, FAMFS_MAX_EXTENTS);
	} else {
		out->map.count = map->count;
		fill_extents(map, out->simple, FAMFS_V2_EXTENTS);
	}
	err = copy_to_user(arg, out, sizeof(*out)) ? -EFAULT : 0;
	kfree(out);
	return err;
}

static int map_extents(const struct famfs_map *map,
		       struct famfs_map_extents __user *arg)
{
	struct famfs_extent ext[FAMFS_MAX_EXTENTS] = {};
	struct famfs_map_extents ask;
	u32 count;

	if (copy_from_user(&ask, arg, sizeof(ask)))
		return -EFAULT;
	fill_extents(map, ext, FAMFS_MAX_EXTENTS);
	count = min(map->count, ask.capacity);
	if (copy_to_user(u64_to_user_ptr(ask.extents), ext,
			 count * sizeof(*ext)))
		return -EFAULT;
	ask.count = map->count;
	ask.chunk_size = map->chunk_size;
	return copy_to_user(arg, &ask, sizeof(ask)) ? -EFAULT : 0;
}

static int bad_ranges(const struct famfs_device *dev,
		      struct famfs_bad_ranges __user *arg)
{
	struct famfs_range range = {}, __user *to;
	struct famfs_bad_ranges ask;
	u32 count = 0;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	if (copy_from_user(&ask, arg, sizeof(ask)))
		return -EFAULT;
	to = u64_to_user_ptr(ask.ranges);
	for (; famfs_bad_next(dev, &range); count++) {
		if (count < ask.capacity &&
		    copy_to_user(to + count, &range, sizeof(range)))
			return -EFAULT;
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
	}
	ask.count = count;
	return copy_to_user(arg, &ask, sizeof(ask)) ? -EFAULT : 0;
}

static long file_ioctl(struct file *file, unsigned int cmd, void __user *arg)
{
	const struct famfs_map *map;

	switch (cmd) {
	case FAMFSIOC_MAP_CREATE:
		return capable(CAP_SYS_ADMIN) ? map_create(file, arg) : -EPERM;
	case FAMFSIOC_MAP_CREATE_V2:
		return capable(CAP_SYS_ADMIN) ? map_create_v2(file, arg) :
						-EPERM;
	}
	map = famfs_map_of(file_inode(file));
	switch (cmd) {
	case FAMFSIOC_MAP_GET:
		return map ? map_get(map, arg) : -ENODATA;
	case FAMFSIOC_MAP_GETEXT:
		return map ? map_getext(map, arg) : -ENODATA;
	case FAMFSIOC_MAP_GET_V2:
		return map ? map_get_v2(map, arg) : -ENODATA;
	case FAMFSIOC_MAP_EXTENTS:
		return map ? map_extents(map, arg) : -ENODATA;
	default:
		return -ENOTTY;
	}
}

long famfs_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct inode *inode = file_inode(file);
	void __user *user = (void __user *)arg;

	switch (cmd) {
	case FAMFSIOC_NOP:
		return 0;
	case FAMFSIOC_BAD_RANGES:
		return bad_ranges(&FAMFS_SB(inode->i_sb)->dev, user);
	case FAMFSIOC_RETIRE:
		if (!S_ISDIR(inode->i_mode))
			return -ENOTDIR;
		return famfs_retire(file, user);
	default:
		if (!S_ISREG(inode->i_mode))
			return -ENOTTY;
		return file_ioctl(file, cmd, user);
	}
}
