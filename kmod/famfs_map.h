/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Maps: where a file's bytes lie on the device. This part is pure: it touches
 * nothing but its arguments, allocates nothing, and is built and fuzzed in
 * user space too (tests/kmod).
 */
#ifndef FAMFS_MAP_H
#define FAMFS_MAP_H

#ifdef __KERNEL__
#include <linux/errno.h>
#include <linux/limits.h>
#include <linux/types.h>
#else
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <linux/types.h>
#endif

#include "famfs_ioctl.h"

/**
 * struct famfs_map - where a file's bytes lie
 * @size: of the file, bytes
 * @chunk_size: of an interleaved file, bytes; 0 when the extents are simple
 * @file_type: enum famfs_file_type
 * @count: extents, or strips; 0 only when @size is 0
 * @ext: the extents, or strips, in the file's order
 *
 * Once checked and installed a map never changes, and lives as long as its
 * inode: whoever holds the inode may read it without a lock.
 */
struct famfs_map {
	__u64	size;
	__u64	chunk_size;
	__u32	file_type;
	__u32	count;
	struct famfs_range	ext[FAMFS_MAX_EXTENTS];
};

/**
 * struct famfs_run - a contiguous part of a file, on the device
 * @offset: where it begins there, bytes
 * @len: how long it is, bytes
 */
struct famfs_run {
	__u64	offset;
	__u64	len;
};

int famfs_map_check(const struct famfs_map *map, __u64 device_size);
bool famfs_map_resolve(const struct famfs_map *map, __u64 pos,
		       struct famfs_run *run);
bool famfs_map_locate(const struct famfs_map *map, struct famfs_range *range,
		      __u64 *pos, __u64 *found);
__u64 famfs_map_allocated(const struct famfs_map *map);

#endif /* FAMFS_MAP_H */
