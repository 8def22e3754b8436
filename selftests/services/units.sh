# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# Any unit; sourced by recipes.sh.

mkdir -p /run/systemd/system
cat >/run/systemd/system/example.service <<END
[Service]
ExecStart=/usr/bin/python3 -c 'import mmap, time; m = mmap.mmap(-1, 64 << 20); time.sleep(100000)'
END
systemctl daemon-reload

check "the unit starts" start example
check "its memory is ordinary" becomes ordinary example 1
step unit use
check "its memory is in a region" becomes served example 1
check "which is listed" listed python3 1
step unit undo
check "its memory is ordinary without" becomes ordinary example 1
check "a stop" systemctl stop example
rm /run/systemd/system/example.service
systemctl daemon-reload
