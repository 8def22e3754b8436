# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# For scripts that run guests; sourced.

# again DIR COMMAND...: runs vm/run, DIR gets what it prints, as "tap" and "errors".  Twice
# more if the emulator lost an int3 (see the end of vm/run); DIR.int3 keeps that DIR.
again() {
	local dir=$1 attempt status
	shift
	for ((attempt = 0; attempt < 3; attempt++)); do
		rm -rf "$dir"
		mkdir -p "$dir"
		"$@" >"$dir/tap" 2>"$dir/errors"
		status=$?
		[ "$status" -eq 125 ] || break
		grep -q 'Oops: int3' "$dir/errors" || break
		rm -rf "$dir.int3"
		cp -r "$dir" "$dir.int3"
		echo "== ${dir##*/}: the emulator lost an int3 (see $dir.int3/)" >&2
	done
	return "$status"
}
