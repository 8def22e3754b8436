# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# For scripts that run guests; sourced.

# again DIR COMMAND...: runs vm/run, DIR gets what it prints, as "tap" and "errors".  Twice
# more if the guest failed of an int3 that the emulator lost, or anything failed of a clock
# that leaped (see the end of vm/run); DIR.lost keeps that DIR.
again() {
	local dir=$1 attempt status why
	shift
	for ((attempt = 0; attempt < 3; attempt++)); do
		rm -rf "$dir"
		mkdir -p "$dir"
		"$@" >"$dir/tap" 2>"$dir/errors"
		status=$?
		why=
		[ "$status" -ne 125 ] || ! grep -q 'Oops: int3' "$dir/errors" || why="the emulator lost an int3"
		[ "$status" -eq 0 ] || ! grep -q "^vm/run: the emulator's clock leaped" "$dir/errors" ||
			why="the emulator's clock leaped"
		[ -n "$why" ] || break
		rm -rf "$dir.lost"
		cp -r "$dir" "$dir.lost"
		echo "== ${dir##*/}: $why (see $dir.lost/)" >&2
	done
	return "$status"
}
