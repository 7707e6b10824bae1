/* SPDX-License-Identifier: GPL-2.0 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM famfs

#if !defined(FAMFS_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define FAMFS_TRACE_H

#include <linux/tracepoint.h>

#include "famfs_internal.h"

TRACE_EVENT(famfs_fault,
	TP_PROTO(struct inode *inode, pgoff_t pgoff, unsigned int order,
		 bool write, vm_fault_t result),
	TP_ARGS(inode, pgoff, order, write, result),
	TP_STRUCT__entry(
		__field(dev_t, dev)
		__field(u64, ino)
		__field(u64, pgoff)
		__field(unsigned int, order)
		__field(bool, write)
		__field(unsigned int, result)
	),
	TP_fast_assign(
		__entry->dev = inode->i_sb->s_dev;
		__entry->ino = inode->i_ino;
		__entry->pgoff = pgoff;
		__entry->order = order;
		__entry->write = write;
		__entry->result = (__force unsigned int)result;
	),
	TP_printk("dev %d:%d ino %llu page %llu order %u %s result 0x%x",
		  MAJOR(__entry->dev), MINOR(__entry->dev), __entry->ino,
		  __entry->pgoff, __entry->order,
		  __entry->write ? "write" : "read", __entry->result)
);

TRACE_EVENT(famfs_install,
	TP_PROTO(struct inode *inode, const struct famfs_map *map),
	TP_ARGS(inode, map),
	TP_STRUCT__entry(
		__field(dev_t, dev)
		__field(u64, ino)
		__field(u64, size)
		__field(u64, chunk_size)
		__field(u32, count)
		__field(u32, file_type)
	),
	TP_fast_assign(
		__entry->dev = inode->i_sb->s_dev;
		__entry->ino = inode->i_ino;
		__entry->size = map->size;
		__entry->chunk_size = map->chunk_size;
		__entry->count = map->count;
		__entry->file_type = map->file_type;
	),
	TP_printk("dev %d:%d ino %llu size %llu extents %u chunk %llu type %u",
		  MAJOR(__entry->dev), MINOR(__entry->dev), __entry->ino,
		  __entry->size, __entry->count, __entry->chunk_size,
		  __entry->file_type)
);

TRACE_EVENT(famfs_memory_failure,
	TP_PROTO(const char *name, u64 offset, u64 len, int flags),
	TP_ARGS(name, offset, len, flags),
	TP_STRUCT__entry(
		__array(char, name, 64)
		__field(u64, offset)
		__field(u64, len)
		__field(int, flags)
	),
	TP_fast_assign(
		strscpy(__entry->name, name, sizeof(__entry->name));
		__entry->offset = offset;
		__entry->len = len;
		__entry->flags = flags;
	),
	TP_printk("%s offset %llu length %llu flags 0x%x", __entry->name,
		  __entry->offset, __entry->len, __entry->flags)
);

TRACE_EVENT(famfs_shutdown,
	TP_PROTO(const char *name),
	TP_ARGS(name),
	TP_STRUCT__entry(
		__array(char, name, 64)
	),
	TP_fast_assign(
		strscpy(__entry->name, name, sizeof(__entry->name));
	),
	TP_printk("%s", __entry->name)
);

#endif /* FAMFS_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE famfs_trace
#include <trace/define_trace.h>
