# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# Packages of Debian in a folder: unpacked, not installed.  For the scripts NAME-get of
# this folder, which set $dir, the folder, and run from anywhere.
# shellcheck disable=SC2154 # $dir
set -euo pipefail
export LC_ALL=C
top=$(realpath "$(dirname "${BASH_SOURCE[0]}")/../..")

die() { echo "${0##*/}: $*" >&2; exit 1; }

# begin: empties $dir, and goes to $dir/deb, where apt may write.
begin() {
	rm -rf "$dir"
	mkdir -p "$dir/deb/lists/partial"
	# A folder of root's is no place where apt's own user may write.
	export APT_CONFIG=$dir/deb/apt.conf
	echo 'APT::Sandbox::User "root";' >"$APT_CONFIG"
	cd "$dir/deb"
}

# known PACKAGE...: sees that apt has heard of them.
known() { [ -n "$(apt-cache depends "$@")" ] || apt-get -qq update; }

# unpack PACKAGE[=VERSION]...: into $dir; the archives stay in $dir/deb.
unpack() {
	local deb
	apt-get -qq download "$@"
	for deb in *.deb; do
		dpkg -x "$deb" "$dir"
	done
}

# libraries PATTERN PACKAGE...: installs what they depend on and PATTERN fits, as for any
# program.
libraries() {
	local pattern=$1 needed
	shift
	mapfile -t needed < <(apt-cache depends "$@" |
		awk -v pattern="$pattern" '$1 == "Depends:" && $2 ~ pattern { print $2 }' | sort -u)
	make -s -C "$top" deps PACKAGES="${needed[*]}"
}

# sources PATTERN: prepares for source_of(): the archives that apt has here, those whose
# lines PATTERN fits, in a state of its own.
sources() {
	source_apt=(-o "Dir::Etc::SourceList=$dir/deb/sources.list" -o Dir::Etc::SourceParts=-
		-o "Dir::State::Lists=$dir/deb/lists" -o Dir::Cache::srcpkgcache= -o Dir::Cache::pkgcache=)
	[ -n "$(archives)" ] || apt-get -qq update
	archives | sort -u | grep -E "$1" >"$dir/deb/sources.list" || die "apt has no archive of Debian here"
	apt-get -qq "${source_apt[@]}" update
}
# shellcheck disable=SC2016 # apt's variables
archives() { apt-get indextargets --format 'deb-src $(SITE) $(RELEASE) $(COMPONENT)' 'Created-By: Packages'; }

# source_of PACKAGE: downloads the newest version that is still there, and sets $version:
# archives keep programs longer than sources.
source_of() {
	for version in $(apt-cache "${source_apt[@]}" showsrc "$1" | sed -n 's/^Version: //p' | sort -ruV); do
		apt-get -qq "${source_apt[@]}" source --download-only "$1=$version" 2>errors && return
	done
	die "no source of $1 can be had: $(tail -n 1 errors)"
}
