#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# ccache 4.8+really4.7.5-1: with CCACHE_DEPEND=1 an object that contains another file by
# .incbin comes from the cache after that file has changed.
# ccache does not cache what has .incbin, since its issue 136 of 2016, and finds it in the
# preprocessor's output.  In depend mode it does not preprocess, and gcc names the file in
# no list of dependencies.  Its pull request 1765 of July 2026 finds it there, too.
# Linux has its own image in arch/x86/boot/compressed/piggy.S that way.  Of that image the
# text has two lengths.  If an edit leaves both as they were, vmlinux is new and bzImage
# is the one of before, without a word.
# Seen: the first object again, counted as a hit.  Without CCACHE_DEPEND, the new one.
set -euo pipefail
export LC_ALL=C
version=4.8+really4.7.5-1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

apt-get -qq -o APT::Sandbox::User=root download ccache="$version" libhiredis0.14
for deb in *.deb; do
	dpkg -x "$deb" root
done
# Nothing that the caller has set for ccache.
clean=(env -i PATH="$PATH" LD_LIBRARY_PATH="$dir/root/usr/lib/x86_64-linux-gnu")
printf '.globl image\nimage: .incbin "image.bin"\n' >piggy.S

# objects DIR [SETTING]: DIR/first.o and DIR/other.o of two images; DIR/stats.
objects() {
	local out=$1 word
	shift
	mkdir "$out"
	for word in first other; do
		printf %s "$word" >image.bin
		"${clean[@]}" CCACHE_DIR="$dir/$out/cache" "$@" root/usr/bin/ccache \
			gcc -Wp,-MMD,piggy.d -c -o "$out/$word.o" piggy.S
	done
	"${clean[@]}" CCACHE_DIR="$dir/$out/cache" root/usr/bin/ccache --print-stats >"$out/stats"
}
objects depend CCACHE_DEPEND=1
objects plain
cmp -s depend/first.o depend/other.o || { echo "changed: the object is that of the second image"; exit 1; }
grep -qxP 'direct_cache_hit\t1' depend/stats || { echo "changed: it is not counted as a hit"; exit 1; }
! cmp -s plain/first.o plain/other.o || { echo "changed: without depend mode, too, it is that of the first"; exit 1; }
echo "as seen: ccache $version in depend mode gives the object of an image that has changed"
