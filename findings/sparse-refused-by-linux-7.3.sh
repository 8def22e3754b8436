#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# sparse 0.6.4-3 (Debian 12) and linux-source-7.3 7.3.4-1~bpo13+1: "make C=2" checks
# nothing and succeeds.  Linux 7.3 first lets the checker parse a function with
# __typeof_unqual__ (scripts/checker-valid.sh).  sparse 0.6.4 does not know the word, so the
# Makefile turns the check off with a warning.  Nothing else tells a script, which goes by the
# exit status and the errors, that sparse has not run.
# Seen: checker-valid.sh prints 0 for sparse, and 1 for a checker that prints no error; the
# Makefile has "$(warning ..)" and "KBUILD_CHECKSRC = 0" for that.
set -euo pipefail
export LC_ALL=C
linux=7.3.4-1~bpo13+1 sparse=0.6.4-3
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

apt-get -qq -o APT::Sandbox::User=root download "sparse=$sparse"
dpkg-deb -x sparse_*.deb sparse

# The kernel of another release, by an apt with a state of its own.
# shellcheck disable=SC2016 # apt's variables
site=$(apt-get indextargets --format '$(ORIGIN) $(CODENAME) $(SITE)' 'Created-By: Packages' |
	awk '$1 == "Debian" && $2 !~ /-security$/ { print $3; exit }')
mkdir -p lists/partial cache/archives/partial
echo "deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $site trixie-backports main" >sources
cat >apt.conf <<END
APT::Sandbox::User "root";
Dir::State::Lists "$dir/lists";
Dir::Cache "$dir/cache";
Dir::Etc::SourceList "$dir/sources";
Dir::Etc::SourceParts "-";
END
export APT_CONFIG=$dir/apt.conf
apt-get -qq update
apt-get -qq download "linux-source-7.3=$linux"
dpkg-deb --fsys-tarfile linux-source-7.3_*.deb | tar xO ./usr/src/linux-source-7.3.tar.xz |
	tar xJ --wildcards --strip-components=1 '*/scripts/checker-valid.sh' 'linux-source-7.3/Makefile'

printf '#!/bin/sh\n' >quiet
chmod +x quiet
said=$(sh scripts/checker-valid.sh "$dir/sparse/usr/bin/sparse" -m64)
quiet=$(sh scripts/checker-valid.sh "$dir/quiet")
if [ "$said $quiet" != "0 1" ]; then
	echo "changed: checker-valid.sh prints $said for sparse $sparse, $quiet for a checker without errors"
	exit 1
fi
# Three lines: the test, the warning, and the end of the check.
if ! grep -A2 'checker-valid\.sh' Makefile | tr '\n' ' ' |
		grep -qE '\$\(warning .*\$\(CHECK\) is not available or not up to date\) +KBUILD_CHECKSRC = 0'; then
	echo "changed: the Makefile does something else with the answer"
	grep -A3 'checker-valid\.sh' Makefile
	exit 1
fi
echo "as seen: Linux $linux refuses sparse $sparse, and make C=2 checks nothing"
