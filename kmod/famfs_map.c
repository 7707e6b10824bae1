// SPDX-License-Identifier: GPL-2.0
/*
 * Maps are judged here, once, before they are installed; afterwards every
 * fault and every read is answered from them.
 *
 * What comes in was copied from user space and may say anything. No sum or
 * product is made before its operands are known to be small enough.
 */
#include "famfs_map.h"

static bool aligned(__u64 value)
{
	return value % FAMFS_UNIT == 0;
}

static int check_extent(const struct famfs_range *ext, __u64 device_size)
{
	if (ext->len == 0 || !aligned(ext->offset) || !aligned(ext->len))
		return -EINVAL;
	if (ext->offset > device_size || ext->len > device_size - ext->offset)
		return -ERANGE;
	return 0;
}

static bool overlap(const struct famfs_range *a, const struct famfs_range *b)
{
	return a->offset < b->offset + b->len && b->offset < a->offset + a->len;
}

/* How many bytes of a file the strips can hold, from its start on. */
static __u64 interleaved_capacity(const struct famfs_map *map)
{
	__u64 chunks, least = ~0ULL;
	__u32 i;

	/*
	 * Chunk (whole chunks * count + i) is the first that strip i has no
	 * room for; the first of those ends the file. A strip lies inside the
	 * device, so that no product exceeds count times its size, which
	 * famfs_map_check() bounds.
	 */
	for (i = 0; i < map->count; i++) {
		chunks = map->ext[i].len / map->chunk_size * map->count + i;
		if (chunks < least)
			least = chunks;
	}
	return least * map->chunk_size;
}

/* Each kind of file has its place: none can be made to show another's. */
static int check_place(const struct famfs_map *map)
{
	__u32 i;

	switch (map->file_type) {
	case FAMFS_REG:
		for (i = 0; i < map->count; i++)
			if (map->ext[i].offset < 2 * FAMFS_UNIT)
				return -EINVAL;
		return 0;
	case FAMFS_SUPERBLOCK:
		if (map->count != 1 || map->chunk_size ||
		    map->ext[0].offset != 0 || map->ext[0].len != FAMFS_UNIT)
			return -EINVAL;
		return 0;
	case FAMFS_LOG:
		if (map->count != 1 || map->chunk_size ||
		    map->ext[0].offset != FAMFS_UNIT)
			return -EINVAL;
		return 0;
	default:
		return -EINVAL;
	}
}

/**
 * famfs_map_check - judge a map before it is installed
 * @map: the map, copied out of user space
 * @device_size: bytes of the device
 *
 * Return: 0, or -EINVAL for a map that makes no sense anywhere (unaligned,
 * overlapping itself, of the wrong size, in a place that is another file's),
 * -E2BIG for too many extents, -ERANGE for one that isn't on this device.
 */
int famfs_map_check(const struct famfs_map *map, __u64 device_size)
{
	__u64 capacity;
	__u32 i, j;
	int err;

	/* No device is larger: sums and products below stay inside 64 bits. */
	if (device_size > 1ULL << 58)
		device_size = 1ULL << 58;
	if (map->count > FAMFS_MAX_EXTENTS)
		return -E2BIG;
	if ((map->size == 0) != (map->count == 0))
		return -EINVAL;
	if (map->chunk_size &&
	    (map->chunk_size < FAMFS_UNIT || map->chunk_size > device_size ||
	     (map->chunk_size & (map->chunk_size - 1))))
		return -EINVAL;
	for (i = 0; i < map->count; i++) {
		err = check_extent(&map->ext[i], device_size);
		if (err)
			return err;
		for (j = 0; j < i; j++)
			if (overlap(&map->ext[i], &map->ext[j]))
				return -EINVAL;
	}
	err = check_place(map);
	if (err)
		return err;
	if (map->count == 0)
		return map->chunk_size ? -EINVAL : 0;
	capacity = map->chunk_size ? interleaved_capacity(map) :
				     famfs_map_allocated(map);
	return map->size <= capacity ? 0 : -EINVAL;
}

/**
 * famfs_map_allocated - bytes of the device that a map takes
 * @map: a map whose extents lie on a device
 *
 * Return: their sum.
 */
__u64 famfs_map_allocated(const struct famfs_map *map)
{
	__u64 sum = 0;
	__u32 i;

	for (i = 0; i < map->count; i++)
		sum += map->ext[i].len;
	return sum;
}

static bool resolve_simple(const struct famfs_map *map, __u64 pos,
			   struct famfs_run *run)
{
	__u32 i;

	for (i = 0; i < map->count; i++) {
		if (pos < map->ext[i].len) {
			run->offset = map->ext[i].offset + pos;
			run->len = map->ext[i].len - pos;
			return true;
		}
		pos -= map->ext[i].len;
	}
	return false;
}

/**
 * famfs_map_resolve - find the run that begins at a position in the file
 * @map: a map that was found right
 * @pos: bytes from the file's start
 * @run: out: the longest contiguous run from there on
 *
 * Extents are whole units, so a run may go on behind the file's end.
 *
 * Return: whether the map has that position.
 */
bool famfs_map_resolve(const struct famfs_map *map, __u64 pos,
		       struct famfs_run *run)
{
	__u64 chunk, within, skip;
	const struct famfs_range *strip;

	if (!map->chunk_size)
		return resolve_simple(map, pos, run);
	if (map->count == 0)
		return false;
	chunk = pos / map->chunk_size;
	within = pos % map->chunk_size;
	strip = &map->ext[chunk % map->count];
	/* chunk / count is at most pos / chunk_size: no overflow. */
	skip = chunk / map->count * map->chunk_size;
	if (skip >= strip->len || strip->len - skip < map->chunk_size)
		return false;
	run->offset = strip->offset + skip + within;
	run->len = map->chunk_size - within;
	return true;
}

/* The part of an extent that lies between two offsets of the device. */
static bool clip(const struct famfs_range *ext, __u64 offset, __u64 end,
		 __u64 *skip, __u64 *found)
{
	__u64 last = ext->offset + ext->len;

	if (offset >= end || offset >= last || end <= ext->offset)
		return false;
	*skip = offset > ext->offset ? offset - ext->offset : 0;
	*found = (end < last ? end : last) - ext->offset - *skip;
	return true;
}

/**
 * famfs_map_locate - find where in a file a range of the device lies
 * @map: a map that was found right
 * @range: in: the range; out: what is left of it behind the part found
 * @pos: out: where that part begins in the file, bytes
 * @found: out: how long it is, bytes
 *
 * The inverse of famfs_map_resolve(), used when memory fails. A range may lie
 * in several parts of the file: they are found in the device's order, one by
 * one, until there is none. A part may lie behind the file's end, in the rest
 * of a unit.
 *
 * Return: whether any byte of the range is the file's.
 */
bool famfs_map_locate(const struct famfs_map *map, struct famfs_range *range,
		      __u64 *pos, __u64 *found)
{
	__u64 end = range->len > ~0ULL - range->offset ?
		    ~0ULL : range->offset + range->len;
	__u64 before = 0, lowest = ~0ULL, skip, part, chunk;
	__u32 i;

	for (i = 0; i < map->count; before += map->ext[i].len, i++) {
		const struct famfs_range *ext = &map->ext[i];

		if (!clip(ext, range->offset, end, &skip, &part) ||
		    ext->offset + skip >= lowest)
			continue;
		lowest = ext->offset + skip;
		*pos = before + skip;
		*found = part;
		if (!map->chunk_size)
			continue;
		chunk = skip / map->chunk_size;
		skip %= map->chunk_size;
		*pos = (chunk * map->count + i) * map->chunk_size + skip;
		if (part > map->chunk_size - skip)
			*found = map->chunk_size - skip;
	}
	if (lowest == ~0ULL)
		return false;
	range->offset = lowest + *found;
	range->len = end - range->offset;
	return true;
}
