# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# How the guests of the benchmarks run, and count instructions; sourced.
# shellcheck disable=SC2034 # used there

always=(--root initramfs --timeout 3000 --append nopti --append norandmaps)
# One processor, and a clock that counts instructions.  Without rep stosb, which
# clears a page in one instruction or in thousands.
# Nothing of the host's is in it: no time of day, no random numbers, no waiting.
# Nor is the work that the kernel does now and then by itself, such as looking for
# huge pages and compacting memory.
# Linux 7.3 sets a timer at each switch as soon as the clock is good enough for it, which
# is a matter of how long the boot takes.
counting=(--smp 1 --cpu 'max,-erms,-rdrand,-rdseed' --mem 3072 --append nokaslr
	--append highres=off --append transparent_hugepage=never --append sysctl.vm.compaction_proactiveness=0 --qemu)
# A processor keeps few pages: many are given back in bulk, sometimes within a measurement
# and sometimes after it.  Not for measurements of single pages: their cost would depend on
# how the few pages are used up.
bulk=(--append sysctl.vm.percpu_pagelist_high_fraction=1000000)
icount='-icount shift=0,sleep=off -rtc base=2026-01-01,clock=vm -seed 1'
