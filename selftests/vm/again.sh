# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# For scripts that run guests; sourced.

# again DIR COMMAND...: runs vm/run, DIR gets what it prints, as "tap" and "errors".  Twice
# more if that failed, and vm/run says that the emulator lost an int3 or that its clock leaped;
# DIR.lost keeps that DIR.
again() {
	local dir=$1 attempt status why
	shift
	for ((attempt = 0; attempt < 3; attempt++)); do
		rm -rf "$dir"
		mkdir -p "$dir"
		"$@" >"$dir/tap" 2>"$dir/errors"
		status=$?
		[ "$status" -ne 0 ] || break
		why=$(grep -xE "vm/run: the emulator( lost an int3|'s clock leaped by [0-9]+ s)" "$dir/errors") || break
		rm -rf "$dir.lost"
		cp -r "$dir" "$dir.lost"
		echo "== ${dir##*/}: ${why#vm/run: } (see $dir.lost/)" >&2
	done
	return "$status"
}
