// SPDX-License-Identifier: GPL-2.0
/*
 * Arbitrary maps, judged, resolved and located, against the model; under
 * AddressSanitizer and UndefinedBehaviorSanitizer.
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "model.h"

static void check_resolve(const struct famfs_map *map, __u64 pos)
{
	struct famfs_range range;
	struct famfs_run run;
	__u64 back, len;
	wide place;

	assert(famfs_map_resolve(map, pos, &run) ==
	       model_place(map, pos, &place));
	if (!model_place(map, pos, &place))
		return;
	assert(run.offset == place && run.len > 0);
	/* The whole run is the file's, in this order. */
	assert(model_place(map, (wide)pos + run.len - 1, &place));
	assert(place == (wide)run.offset + run.len - 1);
	/* And the device's range leads back to it. */
	range.offset = run.offset;
	range.len = 1;
	assert(famfs_map_locate(map, &range, &back, &len));
	assert(back == pos && len == 1);
	assert(!famfs_map_locate(map, &range, &back, &len));
}

/* All parts of a range of the device, which come in its order. */
static void check_locate(const struct famfs_map *map, __u64 offset, __u64 want)
{
	struct famfs_range range = { offset, want };
	__u64 pos, len, before = offset;
	int parts = 0;
	wide place;

	while (famfs_map_locate(map, &range, &pos, &len)) {
		assert(len > 0 && len <= want);
		assert(range.offset > before);
		before = range.offset;
		if (model_place(map, pos, &place))
			assert(place >= offset && place - offset < want);
		if (++parts > 4096)
			break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct { struct famfs_map map; __u64 device, pos, offset, len; } in;
	struct famfs_map *map = &in.map;
	__u32 i;

	memset(&in, 0, sizeof(in));
	memcpy(&in, data, size < sizeof(in) ? size : sizeof(in));
	/* Mostly small, so that what is valid is found; the top bit is raw. */
	if (!(in.device >> 63)) {
		in.device = in.device % 64 * FAMFS_UNIT;
		map->count %= FAMFS_MAX_EXTENTS + 2;
		map->file_type %= 4;
		map->chunk_size = map->chunk_size % 6 * FAMFS_UNIT;
		map->size %= 65 * FAMFS_UNIT;
		for (i = 0; i < FAMFS_MAX_EXTENTS; i++) {
			map->ext[i].offset = map->ext[i].offset % 64 *
					     FAMFS_UNIT;
			map->ext[i].len = map->ext[i].len % 16 * FAMFS_UNIT;
		}
		in.pos %= 65 * FAMFS_UNIT;
		in.offset %= 66 * FAMFS_UNIT;
	} else {
		in.device &= ~(1ULL << 63);
		if (in.device > 1ULL << 58)
			in.device = 1ULL << 58;
	}
	if (famfs_map_check(map, in.device)) {
		assert(!model_is_valid(map, in.device));
		return 0;
	}
	assert(model_is_valid(map, in.device));
	check_resolve(map, in.pos);
	check_resolve(map, 0);
	if (map->size)
		check_resolve(map, map->size - 1);
	check_locate(map, in.offset, in.len);
	return 0;
}
