#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Installs the packages of 'make deb' in a guest that runs their kernel, and uses
# them: the examples compile and run, the command finds its library, the core tests
# pass, a module is built against the kernel's headers and loaded.  Prints TAP.
#	packages.sh DIR
set -u
export LC_ALL=C
dir=$(realpath "${1:?usage: packages.sh DIR}")
here=$(dirname "$(realpath "$0")")
cd "$(mktemp -d)" || exit

# shellcheck source=SCRIPTDIR/../lib/tap.sh disable=SC1091
. "$here/../lib/tap.sh"
# shellcheck source=SCRIPTDIR/../lib/core.sh disable=SC1091
. "$here/../lib/core.sh"
examples=/usr/share/doc/libmshare-dev/examples
known() { [ "$(pkg-config --cflags --libs mshare | xargs)" = -lmshare ]; }
build() { gcc -Wall -Wextra -Werror -pthread -o example "$1" -lmshare; }
# One of them writes a line into a file, and others show a file.
run() {
	if [[ $1 = */file_writer.c ]]; then
		./example message 'a line' && [ "$(head -n 1 message)" = 'a line' ]
	else
		./example "$examples/map_file.c" >out && [ -s out ]
	fi
}
shared() { ldd ./example | grep -q 'libmshare.so.1 => /'; }
# The path that it was built with, not that of the build.
served() {
	mshare run -- python3 -c '
import mmap
m = mmap.mmap(-1, 64 << 20)
maps = open("/proc/self/maps").read()
exit(not ("/mshare:python3" in maps and "/usr/lib/x86_64-linux-gnu/mshare/mshare-run.so" in maps))'
}

release=$(uname -r)
this_kernel() {
	[[ $release = *-mshare ]] && cmp "/boot/vmlinuz-$release" "$dir/../deb-kernel/bzImage" &&
		grep -qx CONFIG_MSHARE=y "/boot/config-$release"
}
# A module that asks for what only this kernel's headers have.
module() {
	mkdir module
	cat >module/hello.c <<-'END'
	#include <linux/module.h>
	#include <linux/mshare.h>
	static_assert(VM_MSHARE);
	static int __init hello_init(void) { return 0; }
	static void __exit hello_exit(void) { }
	module_init(hello_init);
	module_exit(hello_exit);
	MODULE_DESCRIPTION("Does a module build and load?");
	MODULE_LICENSE("GPL");
	END
	echo 'obj-m := hello.o' >module/Makefile
	make -C "/lib/modules/$release/build" M="$PWD/module" modules
}
load() { insmod module/hello.ko && grep -q '^hello ' /proc/modules && rmmod hello; }
without_kernel() { [ ! -e "/boot/vmlinuz-$release" ] && [ ! -e "/usr/src/linux-headers-$release" ]; }

# Files of that name; others may have some, too.
ours() { find /usr/bin /usr/lib /usr/libexec /usr/include /usr/share -name '*mshare*' | sort; }

# Else the manual of all packages is indexed once more, which takes minutes.
rm -f /var/lib/man-db/auto-update

ours >before
echo "TAP version 13"
check "they are installed" dpkg --force-unsafe-io -i "$dir"/libmshare1_*.deb "$dir"/libmshare-dev_*.deb "$dir"/mshare-{tools,tests}_*.deb
check "pkg-config" known
for file in "$examples"/*.c; do
	check "${file##*/} compiles" build "$file"
	check "${file##*/} uses the library" shared
	check "${file##*/} runs" run "$file"
done
check "mshare run finds its library" served
check "mshare ls" mshare ls
check "mshare check" mshare check
check "the core tests" core
check "the kernel and its headers are installed" dpkg --force-unsafe-io -i "$dir"/linux-image-*.deb "$dir"/linux-headers-*.deb
check "it is the one that runs" this_kernel
check "a module is built" module
check "and loaded" load
check "they are removed" dpkg --purge "linux-headers-$release" "linux-image-$release"
check "and leave nothing" without_kernel
check "all are removed" dpkg -r mshare-tests mshare-tools libmshare-dev libmshare1
check "nothing is left" diff before <(ours)
plan
