# SPDX-License-Identifier: GPL-2.0
# Everything that is made goes to build/; 'make help' names the targets.
MAKEFLAGS += --no-builtin-rules --no-print-directory
SHELL := /bin/bash
.DEFAULT_GOAL := help

# Debian packages: what builds, boots and tests.
PACKAGES := linux-source-6.12 gcc libc6-dev make bc bison flex libelf-dev libssl-dev \
	kmod cpio rsync xz-utils patch ccache perl binutils file git \
	qemu-system-x86 busybox-static e2fsprogs util-linux \
	sparse shellcheck mandoc groff gdb strace spin python3-docutils python3-pygments \
	g++ pkg-config valgrind libsmartcols-dev procps liburing-dev gnuplot-nox python3 musl-tools \
	python3-numpy python3-lmdb lmdb-utils sqlite3 python3-maxminddb mmdb-bin

CONFIGS := kernel/configs
# An empty series leaves a kernel without our Kconfig.
WITHOUT = $(if $(shell grep -v '^\#' kernel/series),,--without MSHARE)
SYMBOLS_CONFIG = $(if $(SYMBOLS),$(CONFIGS)/symbols.config)
# On which kernel source, a folder of kernel/bases; BUILD is where its results go.
export BASE ?= 6.12
BUILD = build$(if $(filter-out 6.12,$(BASE)),/$(BASE))
# Whose configuration: FLAVOUR of Debian's, or the file KCONFIG.
$(if $(filter-out amd64 cloud,$(FLAVOUR)),$(error FLAVOUR is amd64 or cloud, not '$(FLAVOUR)'))
$(if $(and $(KCONFIG),$(FLAVOUR)),$(error FLAVOUR and KCONFIG are one too many))
CHOSEN = $(or $(abspath $(KCONFIG)),$(FLAVOUR))
# Debian 12, with Debian's own kernel of the same version.
$(if $(filter-out 6.12,$(BASE)),$(foreach goal,$(filter image check-image bench-flavour,$(MAKECMDGOALS)),\
	$(error make $(goal) is for BASE=6.12, the kernel of Debian 12)))
# A mutated kernel must not pass for the real one.
OUT = $(BUILD)$(if $(MUTATION),/mutations/$(MUTATION))
WARN = if [ -s $(BUILD)/warning ]; then cat $(BUILD)/warning; fi

help:
	@echo 'make demo         what sharing page tables saves, on a file: [FILE=..] [PROCS=64]'
	@echo 'make bench        mshare beside mmap, huge pages, threads, io_uring: [QUICK=1]'
	@echo 'make bench-tlb    IPIs and instructions: unmap, page fault, switch of processes'
	@echo 'make bench-flavour  what mshare costs those who do not use it, with Debian'\''s configuration:'
	@echo '                  [FLAVOUR=cloud]'
	@echo 'make bench-postgres  PostgreSQL with and without mshare run [QUICK=1]'
	@echo 'make bench-programs  Debian'\''s servers and others with and without mshare run'
	@echo 'make regress-postgres  its regression tests with and without mshare run'
	@echo 'make regress-files  the tests of LMDB and SQLite with and without mshare run --files'
	@echo '                  [TESTS="lmdb wal* .."]'
	@echo 'make regress-kselftest  the selftests of the kernel and of stress-ng, on the kernel'
	@echo '                  without our patches and on ours'
	@echo 'make check        the fast and the debug kernel, and every test on them [SEED=order]'
	@echo 'make smoke        the fast kernel and the core tests only'
	@echo 'make check-harness  does the harness notice kernels and tests that fail?'
	@echo 'make check-level1 do the tests of level 1 of the ABI, as they were, still pass?'
	@echo 'make lint         checkpatch, sparse, W=1, kernel-doc, documentation'
	@echo 'make mutate       do the tests notice faults put in on purpose? [MUTATIONS=..]'
	@echo 'make stress       random calls on the debug kernel [MINUTES=10] [SEED=..]'
	@echo 'make differ       a region beside ordinary mappings, at random [MINUTES=10] [SEED=..]'
	@echo 'make races        data races under random calls, found by KCSAN [MINUTES=10] [SEED=..]'
	@echo 'make model        do the TLB protocol and the registry of files hold in every order?'
	@echo '                  With spin, minutes'
	@echo 'make shuffle      every test on the debug kernel, in random order [SEED=..]'
	@echo 'make writeback    many rounds of stores and syncs [ROUNDS=100000] [SEED=..]'
	@echo 'make reclaim      reclaim on the debug kernel'
	@echo 'make oom          the OOM killer on the debug kernel'
	@echo 'make 4level       what depends on the paging mode, on the debug kernel with four levels'
	@echo 'make rt           the core tests with PREEMPT_RT'
	@echo 'make clang        the core tests on a kernel that clang makes, with LTO and CFI'
	@echo 'make check-long   mutate, stress, differ, races, shuffle, writeback, reclaim, oom,'
	@echo '                  4level, rt and clang'
	@echo 'make shell        a shell in a guest with the host'\''s files [KERNEL=..] [VM=".."]'
	@echo 'make kernel       build/bzImage and build/vmlinux'
	@echo 'make objects      what the patches touch and our files only, warnings are errors'
	@echo '                  [FLAVOUR=cloud|amd64, KCONFIG=FILE: with that configuration]'
	@echo 'make series       the kernel part as patches to be mailed, with a cover letter: build/send'
	@echo 'make series-check  does git am take them, does each compile, what says checkpatch, does it boot?'
	@echo 'make kernel-debug build/debug/bzImage and vmlinux: KASAN, lockdep, kmemleak ..'
	@echo 'make kernel-kcsan build/kcsan/bzImage and vmlinux: looks for data races'
	@echo 'make kernel-rt    build/rt/bzImage and vmlinux: with PREEMPT_RT'
	@echo 'make kernel-clang build/clang/bzImage and vmlinux: by clang, with LTO and CFI'
	@echo 'make kernel-flavour  build/FLAVOUR/bzImage and vmlinux, and the modules: of FLAVOUR or'
	@echo '                  KCONFIG (build/local) [DIRS="net fs ..": no modules, but the objects there]'
	@echo 'make kernel-base  build/base.bzImage: the kernel without our patches'
	@echo 'make kernel-off   build/off.bzImage: our kernel without CONFIG_MSHARE'
	@echo 'make tests        build/selftests/ and build/libmshare/'
	@echo 'make install      the library, its headers and manual; make uninstall:'
	@echo '                  [DESTDIR=] [prefix=/usr/local] [libdir=] [includedir=] [mandir=]'
	@echo 'make deb-tools    Debian packages of the library and the tools, in build/deb'
	@echo 'make deb          these, the core tests, and the kernel of the tests and its headers'
	@echo 'make deb FLAVOUR=cloud  or amd64: of a kernel with Debian'\''s configuration, for servers'
	@echo '                  and virtual machines, in build/deb-cloud; an hour or more'
	@echo 'make deb KCONFIG=FILE  with that configuration, in build/deb-local'
	@echo 'make check-deb    do these install, work, and go away without a trace?'
	@echo 'make image        a Debian machine with these packages, of FLAVOUR=cloud unless named:'
	@echo '                  build/image/disk'
	@echo 'make check-image  boots it in QEMU: services, reboots, removal of the packages'
	@echo 'make check-services  what mshare-services(7) says, done with Debian'\''s servers under'
	@echo '                  systemd [RECIPES="nginx .."]'
	@echo 'make check-lib    tests of the library that need no kernel of ours'
	@echo 'make deps         installs the Debian packages that all this needs'
	@echo 'make clean        removes build/'
	@echo 'Variables: JOBS=n, MUTATION=name (selftests/mutations/), LINUX_TARBALL=file,'
	@echo '           BASE=7.3 (kernel/bases/; results in build/7.3/),'
	@echo '           CCACHE_DIR=dir, SYMBOLS=1 (debug info), LIST=.. SUITES=".." for make suite'

# Only asks dpkg when everything is there.
deps:
	@missing=$$(dpkg-query -W -f '$${Package} $${db:Status-Status}\n' $(PACKAGES) 2>/dev/null | \
		awk -v want='$(sort $(PACKAGES))' '$$2 == "installed" { have[$$1] } \
			END { n = split(want, p); for (i = 1; i <= n; i++) if (!(p[i] in have)) print p[i] }'); \
	[ -z "$$missing" ] || { \
		echo "installing:" $$missing; \
		export DEBIAN_FRONTEND=noninteractive; \
		[ "$$(id -u)" = 0 ] || { echo "run 'make deps' as root once" >&2; exit 1; }; \
		apt-get -qq update && \
		apt-get -qq -y --no-install-recommends -o Dpkg::Use-Pty=0 install $$missing >/dev/null; }

kernel: deps
	@kernel/prepare
	@kernel/build $(WITHOUT) $(BUILD)/src fast $(OUT) $(CONFIGS)/base.config $(CONFIGS)/fast.config $(SYMBOLS_CONFIG)
	@$(WARN)

# What finds more than the fast one: wrong accesses, locks and leaks (debug), data races
# (kcsan), locks that sleep (rt), another compiler with its checks (clang).
kernel-rt kernel-clang: ALSO = $(CONFIGS)/fast.config
kernel-clang clang: PACKAGES += clang-16 lld-16 llvm-16
kernel-clang: export LLVM := -16
kernel-debug kernel-kcsan kernel-rt kernel-clang: kernel-%: deps
	@kernel/prepare
	@kernel/build $(WITHOUT) $(BUILD)/src $* $(OUT)/$* $(CONFIGS)/base.config $(ALSO) $(CONFIGS)/$*.config $(SYMBOLS_CONFIG)
	@$(WARN)

# With Debian's configuration, or another one.
kernel-flavour bench-flavour $(if $(CHOSEN),deb): PACKAGES += openssl zstd
kernel-flavour: deps
	@kernel/prepare
	@kernel/flavour $(if $(DIRS),--dirs '$(DIRS)') '$(or $(CHOSEN),$(error make kernel-flavour wants FLAVOUR or KCONFIG))'

# What the series touches, and ours: does it fit, and compile without a warning?
objects: deps
	@FLAVOUR='$(CHOSEN)' kernel/objects

# For mailing lists; in build/send, of another BASE in build/BASE/send.
series: deps
	@kernel/send/make

series-check: PACKAGES += liburcu-dev
series-check: tests
	@kernel/send/check

kernel-base: deps
	@kernel/prepare --unpatched
	@kernel/build --without MSHARE $(BUILD)/src-base fast $(BUILD)/base-kernel $(CONFIGS)/base.config $(CONFIGS)/fast.config
	@ln -sf base-kernel/bzImage $(BUILD)/base.bzImage
	@$(WARN)

kernel-off: deps
	@kernel/prepare
	@kernel/build --without MSHARE $(BUILD)/src off $(BUILD)/off-kernel $(CONFIGS)/base.config $(CONFIGS)/fast.config
	@ln -sf off-kernel/bzImage $(BUILD)/off.bzImage
	@$(WARN)

# Whatever the kernel: the programs are the same, with the harness of one of them.
tests: deps
	@BASE=6.12 kernel/prepare
	@$(MAKE) -s -f libmshare/Makefile BUILD=$(CURDIR)/build
	@$(MAKE) -s -f selftests/mshare/Makefile BUILD=$(CURDIR)/build

# Neither needs the kernel source.
install uninstall:
	@$(MAKE) -s -f libmshare/Makefile BUILD=$(CURDIR)/build $@

check-lib: deps
	@libmshare/check

# The packages of the library and the tools, in build/deb, or build/deb-NAME, below BUILD.
DEB_NAME = $(if $(KCONFIG),local,$(FLAVOUR))
DEB = $(BUILD)/deb$(addprefix -,$(DEB_NAME))
deb-tools deb: PACKAGES += build-essential debhelper lintian fakeroot
deb-tools: deps
	@libmshare/debian/build $(DEB)

# And those of the core tests and of the kernel: that of the tests, or with FLAVOUR or KCONFIG one for a machine.
deb: deps
	@kernel/prepare
	@$(if $(CHOSEN),kernel/flavour '$(CHOSEN)',\
		kernel/build $(BUILD)/src deb $(BUILD)/deb-kernel $(CONFIGS)/base.config $(CONFIGS)/fast.config $(CONFIGS)/deb.config)
	@libmshare/debian/build $(DEB) $(BUILD)/src
	@kernel/deb $(BUILD)/src $(or $(DEB_NAME),deb) $(DEB)
	@$(WARN)

# Boots that kernel, and installs and uses all of them in its guest.
check-deb: deb
	@set -o pipefail; selftests/vm/run --kernel $(BUILD)/deb-kernel/bzImage --smp 4 --mem 3072 --timeout 3000 -- \
		bash selftests/mshare/packages.sh $(DEB) | selftests/vm/tap --min 41

# The recipes of the manual, in a Debian system of its own; RECIPES: some of them.  The
# OOM killer shows where it was called.  With KERNEL=build/deb-kernel/bzImage of make deb,
# containers have cgroups.
check-services: PACKAGES += mmdebstrap
check-services: kernel tests
	@selftests/services/image build/services
	@$(MAKE) -s install DESTDIR=$(CURDIR)/build/services/install
	@set -o pipefail; selftests/vm/run --kernel $(KERNEL) --root build/services/disk --mem 3072 --timeout 3600 \
		--append nopti --allow 'Call Trace:' -- \
		bash selftests/services/recipes.sh build/services/install $(RECIPES) | \
		tee build/services/tap | selftests/vm/tap $(if $(RECIPES),,--min 230)
	@$(WARN)

# A Debian of its own that boots with the kernel of FLAVOUR, and what is done there; takes
# the packages that are in build/deb-FLAVOUR, if there are any.
IMAGE_FLAVOUR = $(or $(FLAVOUR),cloud)
IMAGE_PACKAGES = ls build/deb-$(IMAGE_FLAVOUR)/linux-image-*.deb build/deb-$(IMAGE_FLAVOUR)/mshare-tests_*.deb >/dev/null 2>&1 || $(MAKE) deb FLAVOUR=$(IMAGE_FLAVOUR)
image check-image: PACKAGES += mmdebstrap fdisk dpkg-dev
image: deps
	@[ -z '$(KCONFIG)' ] || { echo 'make image: FLAVOUR is amd64 or cloud; KCONFIG is for other machines' >&2; exit 1; }
	@$(IMAGE_PACKAGES)
	@selftests/image/make build/image build/deb-$(IMAGE_FLAVOUR)

check-image: image
	@set -o pipefail; selftests/image/check build/image | tee build/image/tap | selftests/vm/tap --min 69

# The guest's /tmp hides the host's: a file from there has to be shared.
FILE = $(shell . kernel/bases/6.12/BASE && echo $$TARBALL)
PROCS = 64
demo: kernel tests
	@[ -f '$(FILE)' ] && [ -r '$(FILE)' ] || { echo "demo: $(FILE) is no readable file" >&2; exit 1; }
	@file=$$(realpath '$(FILE)'); sum=$$(sha256sum <"$$file"); share=; \
	case $$file in /tmp/* | /dev/*) share="--out $$(dirname "$$file")" ;; esac; \
	selftests/vm/run --kernel $(BUILD)/bzImage --mem $$((2048 + $$(stat -c %s "$$file") / 1048576 * 3 / 2)) --timeout 3600 $$share -- \
		sh build/selftests/demo.sh "$$file" $(PROCS) 256 "$${sum%% *}"
	@$(WARN)

# What it costs those who do not use it, with Debian's configuration FLAVOUR.
bench-flavour: tests
	@kernel/prepare
	@kernel/flavour --image --without MSHARE '$(IMAGE_FLAVOUR)'
	@$(IMAGE_PACKAGES)
	@kernel/flavour '$(IMAGE_FLAVOUR)'
	@selftests/bench/flavour.sh '$(IMAGE_FLAVOUR)'
	@$(WARN)

# A report in build/bench/; ROWS="1 4" leaves the others out.
bench: kernel kernel-base kernel-off tests
	@selftests/bench/bench.sh $(ROWS)
	@$(WARN)

bench-tlb: kernel kernel-base tests
	@selftests/bench/tlb.sh
	@$(WARN)

# PostgreSQL beside itself under mshare run; QUICK=1: smaller, some minutes.
bench-postgres: kernel tests postgres
	@selftests/bench/postgres.sh
	@$(WARN)

# The table of mshare-run(1), in a Debian system of its own; PROGRAMS: some of it.
bench-programs: PACKAGES += mmdebstrap
bench-programs: kernel tests
	@selftests/lib/programs-get build/programs
	@selftests/bench/programs.sh $(PROGRAMS)
	@$(WARN)

# PostgreSQL's own regression tests, with and without.
regress-postgres: PACKAGES += dpkg-dev
regress-postgres: kernel tests
	@selftests/lib/postgres-get --regress build/postgres-regress
	@set -o pipefail; selftests/vm/run --smp 2 --mem 4096 --timeout 10800 --append nopti -- \
		bash selftests/mshare/postgres-regress.sh build/postgres-regress | \
		tee $(BUILD)/postgres-regress.tap | selftests/vm/tap --min 11
	@sed -n 's/^# summary: //p' $(BUILD)/postgres-regress.tap
	@$(WARN)

# LMDB's and SQLite's own tests, with and without; TESTS: patterns of SQLite's, or lmdb.
# First SQLite's on the kernel of this machine, then in the guest those that could notice.
regress-files: PACKAGES += dpkg-dev tcl-dev
regress-files: kernel tests
	@selftests/lib/databases-get build/databases
	@set -f -o pipefail; [ -n '$(TESTS)' ] && [ -z '$(filter-out lmdb,$(TESTS))' ] || \
		selftests/mshare/databases-native.sh build/databases $(filter-out lmdb,$(TESTS)) | \
		tee $(BUILD)/databases-native.tap | selftests/vm/tap $(if $(TESTS),,--min 222)
	@set -f -o pipefail; selftests/vm/run --smp 4 --mem 6144 --timeout 43200 --append nopti -- \
		bash selftests/mshare/databases-regress.sh build/databases $(TESTS) | \
		tee $(BUILD)/databases-regress.tap | selftests/vm/tap $(if $(TESTS),,--min 146)
	@sed -n 's/^# summary: //p' $(BUILD)/databases-regress.tap
	@$(WARN)

# The kernel's own selftests and stress-ng's, on the kernel without our patches and ours.
regress-kselftest: PACKAGES += libcap-dev libnuma-dev libfuse-dev stress-ng
regress-kselftest: kernel kernel-base
	@selftests/lib/kselftest-get $(BUILD)/kselftest
	@set -o pipefail; selftests/lib/kselftest $(BUILD)/kselftest $(BUILD)/check/kselftest \
		$(BUILD)/base.bzImage $(BUILD)/bzImage | tee $(BUILD)/kselftest.tap | selftests/vm/tap --min 5
	@sed -n 's/^# summary: //p' $(BUILD)/kselftest.tap
	@$(WARN)

# Debian's packages, not installed.
postgres: deps
	@selftests/lib/postgres-get build/postgres

servers: deps
	@selftests/lib/servers-get build/servers

# What the suite "files" has of programs that are not on every machine.
files: deps
	@selftests/lib/files-get build/files

check suite: postgres
check smoke: deps
	@MAKE='$(MAKE)' selftests/vm/suite $@ $(SUITES)

check-harness: deps
	@MAKE='$(MAKE)' selftests/vm/suite harness

LIST = check
suite: deps
	@MAKE='$(MAKE)' selftests/vm/suite $(LIST) $(SUITES)

# The tests of the commit before level 2 of the ABI, on this kernel.
check-level1: kernel
	@set -o pipefail; selftests/vm/level1 | tee $(BUILD)/level1.tap | \
		selftests/vm/tap --min 1237 --skip 'no /dev/hmm_dmirror0'
	@$(WARN)

# Warnings of the tools that kernel developers run.
lint: kernel
	@kernel/lint

# Every deliberate fault must make the tests fail that it names.
mutate: kernel tests
	@selftests/mutations/run $(MUTATIONS)

# Random calls in several processes and two regions, on the debug kernel; a line
# in selftests/results.tsv.
MINUTES ?= 10
# One number, wherever it is named.
SEED := $(or $(SEED),$(shell shuf -i 1-1000000 -n 1))
stress: kernel-debug tests
	@selftests/vm/long debug/stress $(SEED) "--mem 3072 --timeout $$(($(MINUTES) * 60 + 600))" \
		build/selftests/stress $$(($(MINUTES) * 60)) $(SEED)

# The same operations on a region and on ordinary mappings, on the debug kernel.  When
# they differ, the list is made short, which takes its time.
differ: kernel-debug tests
	@selftests/vm/long debug/differ $(SEED) "--mem 3072 --timeout $$(($(MINUTES) * 60 + 3600))" \
		build/selftests/differ $$(($(MINUTES) * 60)) $(SEED)

# Random calls on a kernel that looks for data races.
races: kernel-kcsan tests
	@selftests/vm/long kcsan/races $(SEED) "--mem 3072 --timeout $$(($(MINUTES) * 60 + 1200))" \
		build/selftests/stress $$(($(MINUTES) * 60)) $(SEED)

# The machine of most tests, and what runs them there.
MACHINE = --mem 4096 --disk 256 --append hugepagesz=1G --append hugepages=1
RUN_TESTS = sh build/selftests/run_tests.sh build/selftests

# Every test on the debug kernel, its programs in random order.
shuffle: kernel-debug tests
	@selftests/vm/long debug/shuffle $(SEED) "$(MACHINE) --timeout 10800" \
		env MST_SEED=$(SEED) $(RUN_TESTS) all

# No lost write in so many rounds, on the fast kernel.
ROUNDS ?= 100000
writeback: kernel tests
	@selftests/vm/long fast/writeback-$(ROUNDS) $(SEED) "--timeout 10800" \
		env ROUNDS=$(ROUNDS) MST_TIMEOUT=10800 \
		$(RUN_TESTS) writeback_test

# The OOM killer on the debug kernel, as large as on the fast one.  It shows where it was called.
oom: kernel-debug tests
	@skip='fills all memory' selftests/vm/long debug/oom $(SEED) "--mem 3072 --timeout 7200 --allow Call.Trace:" \
		$(RUN_TESTS) oom_test

# The core tests with PREEMPT_RT, which has no transparent huge pages, and on a kernel made
# by clang with LTO and CFI.
rt: private export skip := no transparent huge pages
rt clang: %: kernel-% tests
	@selftests/vm/long $@/core $(SEED) "$(MACHINE) --timeout 3600" \
		$(RUN_TESTS) core

# Reclaim on the debug kernel.
reclaim: kernel-debug tests
	@selftests/vm/long debug/reclaim $(SEED) "$(MACHINE) --timeout 7200" \
		$(RUN_TESTS) reclaim_test

# All that depends on the paging mode, on the debug kernel with four levels.
4level: kernel-debug tests
	@selftests/vm/long debug/4level $(SEED) "$(MACHINE) --timeout 7200 --cpu max,la57=off" \
		$(RUN_TESTS) paging

# The TLB protocol and the registry of files as models, every configuration.
model: deps
	@selftests/model/run

# What is too long for make check, one line a run in selftests/results.tsv.
check-long: mutate stress differ races shuffle writeback reclaim oom 4level rt clang

KERNEL = $(BUILD)/bzImage
shell: deps
	@[ -e $(KERNEL) ] || $(MAKE) kernel$(if $(findstring /debug/,$(KERNEL)),-debug)
	@selftests/vm/run --kernel $(KERNEL) $(VM) --shell

clean:
	rm -rf build

.PHONY: help deps kernel kernel-debug kernel-kcsan kernel-rt kernel-clang kernel-flavour objects series series-check kernel-base kernel-off tests check smoke check-harness suite shell demo bench bench-tlb bench-postgres bench-programs regress-postgres regress-kselftest postgres servers deb-tools deb check-deb lint mutate stress differ races shuffle writeback reclaim oom 4level rt clang model check-long clean install uninstall check-lib check-services check-level1 files regress-files image check-image bench-flavour
