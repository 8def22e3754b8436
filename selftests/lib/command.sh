# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# The command mshare in the guest, at a place that every user may reach: not all
# may pass through the folders above the checkout.  Sourced, from the top of it.
# shellcheck disable=SC2034 # used there
mkdir -p /run/build
mount --bind build /run/build || exit
mshare=/run/build/libmshare/mshare

# regions NUMBER: are there so many in the machine?
regions() { [ "$(cat /sys/kernel/mm/mshare/regions)" = "$1" ]; }
