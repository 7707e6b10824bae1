/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * The ioctls of famfs, KABI 43: what user space and the module say to each
 * other. This file is the whole of it, for both sides.
 *
 * Numbers 0x50 to 0x55 are those of the reference implementation, with its
 * layouts; a tool made for it works unchanged. Numbers from 0x60 on are ours,
 * for what the others can't say.
 */
#ifndef FAMFS_IOCTL_H
#define FAMFS_IOCTL_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define FAMFS_KABI_VERSION	43
#define FAMFS_SUPER_MAGIC	0x87b282fe
#define FAMFS_IOC_MAGIC		'u'

/* Extents begin and end on whole units of this many bytes. */
#define FAMFS_UNIT		0x200000ULL

/* What a file is, in a map. */
enum famfs_file_type {
	FAMFS_REG		= 0,	/* a published file */
	FAMFS_SUPERBLOCK	= 1,	/* the superblock, at offset 0 */
	FAMFS_LOG		= 2,	/* the log, right after it */
};

/* How a file's extents lie, in a map. */
enum famfs_extent_type {
	FAMFS_EXT_SIMPLE	= 0,	/* one after the other */
	FAMFS_EXT_INTERLEAVED	= 1,	/* in chunks, over strips in turn */
};

/* A range of the one device, bytes. */
struct famfs_range {
	__u64	offset;
	__u64	len;
};

#define FAMFS_V1_EXTENTS	2	/* in a famfs_map_v1 */

/* A map, version 1: simple extents only. */
struct famfs_map_v1 {
	__u32	ext_type;	/* FAMFS_EXT_SIMPLE */
	__u32	file_type;	/* enum famfs_file_type */
	__u64	size;		/* of the file, bytes */
	__u64	count;		/* extents used */
	struct famfs_range	ext[FAMFS_V1_EXTENTS];
};

/* A simple extent, or a strip of an interleaved one. */
struct famfs_extent {
	__u64	devindex;	/* 0: the mounted device */
	__u64	offset;		/* on the device, bytes */
	__u64	len;		/* bytes */
};

/* An interleaved extent: chunk n of the file lies on strip n % nstrips. */
struct famfs_interleave {
	__u64	nstrips;
	__u64	chunk_size;	/* bytes, a power of two, FAMFS_UNIT or more */
	__u64	nbytes;		/* of the file that lie here */
	__u64	strips;		/* user pointer: struct famfs_extent[nstrips] */
};

#define FAMFS_MAX_EXTENTS	16	/* or strips: as many as a log entry has */
#define FAMFS_V2_EXTENTS	2	/* simple ones in a famfs_map_v2_out */

/* A map to install, version 2. */
struct famfs_map_v2 {
	__u64	size;		/* of the file, bytes */
	__u32	file_type;	/* enum famfs_file_type */
	__u32	ext_type;	/* enum famfs_extent_type */
	__u32	count;		/* simple extents, or 1 interleaved */
	__u32	pad;		/* 0 */
	__u64	extents;	/* user pointer: famfs_extent[], or _interleave */
};

/* A map read back, version 2; it can't tell of more than two extents. */
struct famfs_map_v2_out {
	struct famfs_map_v2	map;	/* .extents is 0 */
	union {
		struct famfs_extent	simple[FAMFS_V2_EXTENTS];
		struct {
			struct famfs_interleave	interleave; /* .strips is 0 */
			struct famfs_extent	strips[FAMFS_MAX_EXTENTS];
		};
		__u8	room[416];
	};
};

/* All extents of a map, or all strips, whatever their number. */
struct famfs_map_extents {
	__u32	capacity;	/* in: room at extents */
	__u32	count;		/* out: how many there are */
	__u64	chunk_size;	/* out: 0 when they are simple ones */
	__u64	extents;	/* user pointer: struct famfs_extent[capacity] */
};

/* A range of pages with memory errors. */
struct famfs_bad_ranges {
	__u32	capacity;	/* in: room at ranges */
	__u32	count;		/* out: how many there are */
	__u64	ranges;		/* user pointer: struct famfs_range[capacity] */
};

#define FAMFS_NAME_MAX	255

/*
 * On a directory: take a file's name away, or give it to another file, in one
 * step. The old file stays reachable as .meta/versions/<slot>, by the number
 * of the log slot that made it.
 */
struct famfs_retire {
	__u64	slot;		/* what the old file is called from now on */
	__s32	successor;	/* the file that gets it, without a name yet; or -1 */
	__u32	name_len;	/* bytes */
	__u64	name;		/* user pointer: the last part of the path */
};

#define FAMFSIOC_MAP_CREATE	_IOW(FAMFS_IOC_MAGIC, 0x50, struct famfs_map_v1)
#define FAMFSIOC_MAP_GET	_IOR(FAMFS_IOC_MAGIC, 0x51, struct famfs_map_v1)
#define FAMFSIOC_MAP_GETEXT	_IOR(FAMFS_IOC_MAGIC, 0x52, struct famfs_range)
#define FAMFSIOC_NOP		_IO(FAMFS_IOC_MAGIC, 0x53)
#define FAMFSIOC_MAP_CREATE_V2	_IOW(FAMFS_IOC_MAGIC, 0x54, struct famfs_map_v2)
#define FAMFSIOC_MAP_GET_V2 \
	_IOR(FAMFS_IOC_MAGIC, 0x55, struct famfs_map_v2_out)

#define FAMFSIOC_MAP_EXTENTS \
	_IOWR(FAMFS_IOC_MAGIC, 0x60, struct famfs_map_extents)
#define FAMFSIOC_BAD_RANGES \
	_IOWR(FAMFS_IOC_MAGIC, 0x61, struct famfs_bad_ranges)
#define FAMFSIOC_RETIRE		_IOW(FAMFS_IOC_MAGIC, 0x62, struct famfs_retire)

/* What the other side of each number reads: sizes never change. */
#if defined(__KERNEL__) || defined(__STDC_VERSION__)
_Static_assert(sizeof(struct famfs_map_v1) == 56, "famfs_map_v1");
_Static_assert(sizeof(struct famfs_extent) == 24, "famfs_extent");
_Static_assert(sizeof(struct famfs_interleave) == 32, "famfs_interleave");
_Static_assert(sizeof(struct famfs_map_v2) == 32, "famfs_map_v2");
_Static_assert(sizeof(struct famfs_map_v2_out) == 448, "famfs_map_v2_out");
_Static_assert(FAMFSIOC_MAP_CREATE == 0x40387550, "MAP_CREATE");
_Static_assert(FAMFSIOC_MAP_GET == 0x80387551, "MAP_GET");
_Static_assert(FAMFSIOC_MAP_GETEXT == 0x80107552, "MAP_GETEXT");
_Static_assert(FAMFSIOC_NOP == 0x00007553, "NOP");
_Static_assert(FAMFSIOC_MAP_CREATE_V2 == 0x40207554, "MAP_CREATE_V2");
_Static_assert(FAMFSIOC_MAP_GET_V2 == 0x81c07555, "MAP_GET_V2");
#endif

#endif /* FAMFS_IOCTL_H */
