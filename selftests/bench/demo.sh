#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# In the guest: puts FILE where it can be mapped shared, in memory, and runs the
# demo next to this script.
#
#	demo.sh FILE [PROCS [MIB [SHA256]]]
set -e
here=$(dirname "$0")
file=$1
shift
dir=$(mktemp -d)
mount -t tmpfs none "$dir"
cp "$file" "$dir/${file##*/}"
status=0
"$here/demo" "$dir/${file##*/}" "$@" || status=$?
# The region may hold the file for a moment longer.
umount -l "$dir"
exit $status
