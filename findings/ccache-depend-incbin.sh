#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# ccache 4.8+really4.7.5-1: with CCACHE_DEPEND=1 an object that contains another file by .incbin
# comes from the cache after that file has changed.
# ccache does not cache what has .incbin, and finds it in the preprocessor's output.  In
# depend mode it does not preprocess, and gcc names the file in no list of dependencies.
# Linux has its own image in arch/x86/boot/compressed/piggy.S that way.  The text of that
# file has two lengths in it, which seldom change with a small edit: vmlinux is new then
# and bzImage is the one of before, without a word.
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
export LD_LIBRARY_PATH=$dir/root/usr/lib/x86_64-linux-gnu
printf '.globl image\nimage: .incbin "image.bin"\n' >piggy.S

# stale [SETTING]: is the object of the second image that of the first?
stale() {
	local word
	for word in first other; do
		printf %s "$word" >image.bin
		env CCACHE_DIR="$dir/cache$#" "$@" root/usr/bin/ccache \
			gcc -Wp,-MMD,piggy.d -c -o "$word.o" piggy.S
	done
	cmp -s first.o other.o
}
unset CCACHE_DEPEND
stale CCACHE_DEPEND=1 || { echo "changed: the object is that of the second image"; exit 1; }
! stale || { echo "changed: without depend mode the object is that of the first image too"; exit 1; }
echo "as seen: ccache $version in depend mode gives the object of an image that has changed"
