/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a map is, said once more without a thought for speed: the tests and the
 * fuzzer hold the module's own arithmetic against it.
 */
#ifndef MODEL_H
#define MODEL_H

#include "famfs_map.h"

typedef unsigned __int128 wide;

/* Where byte pos of the file lies on the device; false when nowhere. */
static bool model_place(const struct famfs_map *map, wide pos, wide *place)
{
	wide chunk, within;
	__u32 i;

	if (!map->chunk_size) {
		for (i = 0; i < map->count; i++) {
			if (pos < map->ext[i].len) {
				*place = map->ext[i].offset + pos;
				return true;
			}
			pos -= map->ext[i].len;
		}
		return false;
	}
	chunk = pos / map->chunk_size;
	within = pos % map->chunk_size;
	i = (__u32)(chunk % map->count);
	pos = chunk / map->count * map->chunk_size + within;
	/* A chunk lies whole on its strip. */
	if (pos - within + map->chunk_size > map->ext[i].len)
		return false;
	*place = (wide)map->ext[i].offset + pos;
	return true;
}

static bool model_extents(const struct famfs_map *map, __u64 device)
{
	__u32 i, j;

	for (i = 0; i < map->count; i++) {
		wide first = map->ext[i].offset, end = first + map->ext[i].len;

		if (first == end || first % FAMFS_UNIT || end % FAMFS_UNIT ||
		    end > device)
			return false;
		for (j = 0; j < map->count; j++) {
			wide other = map->ext[j].offset;

			if (i != j && first < other + map->ext[j].len &&
			    other < end)
				return false;
		}
	}
	return true;
}

/* Whether a map may be installed. */
static bool model_is_valid(const struct famfs_map *map, __u64 device)
{
	wide place, last, pos;
	__u32 i;

	if (map->count > FAMFS_MAX_EXTENTS || map->file_type > FAMFS_LOG ||
	    (map->size == 0) != (map->count == 0))
		return false;
	if (map->chunk_size) {
		if (map->chunk_size % FAMFS_UNIT || map->chunk_size > device ||
		    map->chunk_size & (map->chunk_size - 1) || !map->count)
			return false;
	}
	if (!model_extents(map, device))
		return false;
	if (map->file_type == FAMFS_REG) {
		for (i = 0; i < map->count; i++)
			if (map->ext[i].offset < 2 * FAMFS_UNIT)
				return false;
	} else if (map->count != 1 || map->chunk_size ||
		   map->ext[0].offset !=
		   (map->file_type == FAMFS_LOG ? FAMFS_UNIT : 0) ||
		   (map->file_type == FAMFS_SUPERBLOCK &&
		    map->ext[0].len != FAMFS_UNIT)) {
		return false;
	}
	/* Every byte has a place: a unit's bytes have theirs together. */
	last = map->size;
	for (pos = 0; pos < last; pos += FAMFS_UNIT) {
		if (pos / FAMFS_UNIT > 16384)
			break;
		if (!model_place(map, pos, &place))
			return false;
	}
	return last == 0 || model_place(map, last - 1, &place);
}

#endif /* MODEL_H */
