/* SPDX-License-Identifier: GPL-2.0 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM mshare

#if !defined(_TRACE_MSHARE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_MSHARE_H

#include <linux/mm_types.h>
#include <linux/tracepoint.h>
#include <trace/events/mmflags.h>

#ifndef _TRACE_MSHARE_ID
#define _TRACE_MSHARE_ID
struct mshare_region;
u64 mshare_region_id(const struct mshare_region *region);
#endif

TRACE_EVENT(mshare_create,

	TP_PROTO(const struct mshare_region *region, const char *name, unsigned int flags),

	TP_ARGS(region, name, flags),

	TP_STRUCT__entry(
		__field(u64, id)
		__string(name, name)
		__field(unsigned int, flags)
	),

	TP_fast_assign(
		__entry->id = mshare_region_id(region);
		__assign_str(name);
		__entry->flags = flags;
	),

	TP_printk("id=%llu name=%s flags=0x%x",
		  __entry->id, __get_str(name), __entry->flags)
);

DECLARE_EVENT_CLASS(mshare_attachment,

	TP_PROTO(const struct mshare_region *region, const struct vm_area_struct *vma),

	TP_ARGS(region, vma),

	TP_STRUCT__entry(
		__field(u64, id)
		__field(unsigned long, start)
		__field(unsigned long, end)
		__field(unsigned long, vm_flags)
	),

	TP_fast_assign(
		__entry->id = mshare_region_id(region);
		__entry->start = vma->vm_start;
		__entry->end = vma->vm_end;
		__entry->vm_flags = vma->vm_flags;
	),

	TP_printk("id=%llu start=0x%lx end=0x%lx flags=%s",
		  __entry->id, __entry->start, __entry->end,
		  show_vma_flags(__entry->vm_flags))
);

DEFINE_EVENT(mshare_attachment, mshare_attach,
	TP_PROTO(const struct mshare_region *region, const struct vm_area_struct *vma),
	TP_ARGS(region, vma));

DEFINE_EVENT(mshare_attachment, mshare_detach,
	TP_PROTO(const struct mshare_region *region, const struct vm_area_struct *vma),
	TP_ARGS(region, vma));

DEFINE_EVENT(mshare_attachment, mshare_link,
	TP_PROTO(const struct mshare_region *region, const struct vm_area_struct *vma),
	TP_ARGS(region, vma));

DECLARE_EVENT_CLASS(mshare_range,

	TP_PROTO(const struct mshare_region *region, u64 offset, u64 length, unsigned int prot,
		 int ret),

	TP_ARGS(region, offset, length, prot, ret),

	TP_STRUCT__entry(
		__field(u64, id)
		__field(u64, offset)
		__field(u64, length)
		__field(unsigned int, prot)
		__field(int, ret)
	),

	TP_fast_assign(
		__entry->id = mshare_region_id(region);
		__entry->offset = offset;
		__entry->length = length;
		__entry->prot = prot;
		__entry->ret = ret;
	),

	TP_printk("id=%llu offset=0x%llx length=0x%llx prot=0x%x ret=%d",
		  __entry->id, __entry->offset, __entry->length, __entry->prot,
		  __entry->ret)
);

DEFINE_EVENT(mshare_range, mshare_map,
	TP_PROTO(const struct mshare_region *region, u64 offset, u64 length, unsigned int prot,
		 int ret),
	TP_ARGS(region, offset, length, prot, ret));

DEFINE_EVENT(mshare_range, mshare_unmap,
	TP_PROTO(const struct mshare_region *region, u64 offset, u64 length, unsigned int prot,
		 int ret),
	TP_ARGS(region, offset, length, prot, ret));

DEFINE_EVENT(mshare_range, mshare_protect,
	TP_PROTO(const struct mshare_region *region, u64 offset, u64 length, unsigned int prot,
		 int ret),
	TP_ARGS(region, offset, length, prot, ret));

TRACE_EVENT(mshare_fault,

	TP_PROTO(const struct mshare_region *region, u64 offset, unsigned int flags,
		 vm_fault_t ret),

	TP_ARGS(region, offset, flags, ret),

	TP_STRUCT__entry(
		__field(u64, id)
		__field(u64, offset)
		__field(unsigned int, flags)
		__field(unsigned int, ret)
	),

	TP_fast_assign(
		__entry->id = mshare_region_id(region);
		__entry->offset = offset;
		__entry->flags = flags;
		__entry->ret = (__force unsigned int)ret;
	),

	/* VM_FAULT_* bits: their names have a type that a table cannot hold. */
	TP_printk("id=%llu offset=0x%llx flags=%s ret=0x%x",
		  __entry->id, __entry->offset,
		  __print_flags(__entry->flags, "|", FAULT_FLAG_TRACE), __entry->ret)
);

TRACE_EVENT(mshare_free_tables,

	TP_PROTO(const struct mshare_region *region, u64 offset, u64 length, unsigned long nr,
		 bool reclaim),

	TP_ARGS(region, offset, length, nr, reclaim),

	TP_STRUCT__entry(
		__field(u64, id)
		__field(u64, offset)
		__field(u64, length)
		__field(unsigned long, nr)
		__field(bool, reclaim)
	),

	TP_fast_assign(
		__entry->id = mshare_region_id(region);
		__entry->offset = offset;
		__entry->length = length;
		__entry->nr = nr;
		__entry->reclaim = reclaim;
	),

	TP_printk("id=%llu offset=0x%llx length=0x%llx nr=%lu reclaim=%d", __entry->id,
		  __entry->offset, __entry->length, __entry->nr, __entry->reclaim)
);

TRACE_EVENT(mshare_flush,

	TP_PROTO(const struct mshare_region *region, unsigned long start, unsigned long end),

	TP_ARGS(region, start, end),

	TP_STRUCT__entry(
		__field(u64, id)
		__field(unsigned long, start)
		__field(unsigned long, end)
	),

	TP_fast_assign(
		__entry->id = mshare_region_id(region);
		__entry->start = start;
		__entry->end = end;
	),

	TP_printk("id=%llu start=0x%lx end=0x%lx", __entry->id, __entry->start, __entry->end)
);

#endif /* _TRACE_MSHARE_H */

#include <trace/define_trace.h>
