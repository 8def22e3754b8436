#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# php8.2-opcache 8.2.36-1~deb12u1: the size decides where OPcache's shared memory is.
# With opcache.memory_consumption of an even number of MiB, as the default of 128, it is
# asked for below 2 GiB (MAP_32BIT); with an odd number, anywhere.  In the first case
# OPcache looks for huge pages of hugetlbfs first, at a multiple of 2 MiB that it finds by
# mapping and unmapping; without any it maps ordinary memory anew, which begins wherever
# the kernel puts it.  A program that serves shared memory by another mapping, at an address
# of its own, sees a request that it must refuse, or not, from one MiB to the next.
# Seen: mmap(NULL, 67108864, .., MAP_SHARED|MAP_ANONYMOUS|MAP_32BIT, ..) for 64, and
# mmap(NULL, 68157440, .., MAP_SHARED|MAP_ANONYMOUS, ..) for 65.
set -euo pipefail
export LC_ALL=C
version=8.2.36-1~deb12u1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

apt-get -qq -o APT::Sandbox::User=root download php8.2-{cli,opcache,common}="$version" \
	libargon2-1 libsodium23 libedit2 libmagic1 libbsd0 libmd0
for deb in *.deb; do
	dpkg -x "$deb" root
done
opcache=$(find "$PWD/root/usr/lib/php" -name opcache.so)

# flags MIB: the flags of the last mapping of that size that is not of huge pages.
flags() {
	LD_LIBRARY_PATH=$PWD/root/usr/lib/x86_64-linux-gnu strace -e trace=mmap -o trace \
		root/usr/bin/php8.2 -n -d zend_extension="$opcache" -d opcache.enable_cli=1 \
		-d opcache.memory_consumption="$1" -r 'echo opcache_get_status(false)["opcache_enabled"];' >enabled
	[ "$(cat enabled)" = 1 ] || { echo "changed: OPcache is not on" >&2; return 1; }
	sed -n "/MAP_HUGETLB/d; s/^mmap([^,]*, $(($1 << 20)), [^,]*, \\([A-Z0-9_|]*\\), -1, 0) = 0x.*/\\1/p" trace | tail -n 1
}
for mib in 64 65 127 128; do
	want='MAP_SHARED|MAP_ANONYMOUS'
	[ $((mib % 2)) = 1 ] || want+='|MAP_32BIT'
	got=$(flags $mib)
	[ "$got" = "$want" ] || { echo "changed: $mib MiB: $got"; exit 1; }
done
echo "as seen: OPcache $version asks for memory below 2 GiB for an even number of MiB only"
