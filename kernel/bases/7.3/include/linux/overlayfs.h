/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _LINUX_OVERLAYFS_H
#define _LINUX_OVERLAYFS_H

struct file;

/**
 * struct ovl_file - What the private_data of an open regular file of overlayfs is.
 * @realfile: The file that was opened below; mmap() maps this one.
 * @upperfile: Opened when that was copied up, NULL before.
 */
struct ovl_file {
	struct file *realfile;
	struct file *upperfile;
};

#endif /* _LINUX_OVERLAYFS_H */
