# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# The core tests as the package mshare-tests has installed them; sourced.

# core: do all of them pass, and is none skipped?  Says what is wrong.
core() {
	local dir=/usr/libexec/mshare/tests out
	out=$(sh "$dir/run_tests.sh" "$dir" 2>&1)
	! grep -E '^ *not ok|# SKIP' <<<"$out" || return
	[ "$(grep -c '^ *ok ' <<<"$out")" -ge 82 ] || { tail <<<"$out"; return 1; }
}
