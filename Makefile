# SPDX-License-Identifier: GPL-2.0
#
# Thin verbs; the work is in scripts/. The kernel's build system reads Kbuild,
# not this file.

.DEFAULT_GOAL := help
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules

help:
	@echo 'On a Debian 12 or 13 machine, as root or as a user who may use sudo:'
	@echo '  make demo              put real programs under memory pressure in a VM, with'
	@echo '                         zswap and zram on zsmalloc_rs; installs what it needs'
	@echo '  make test              build and run all tests; installs what it needs'
	@echo
	@echo 'For a machine of your own, with any 6.12 kernel that has CONFIG_RUST=y:'
	@echo '  make modules [KDIR=…]  build zsmalloc-rs.ko and zsmalloc.ko against the kernel'
	@echo '                         in KDIR (the running one)'
	@echo '  make modules_install   install them into updates/, as root or with'
	@echo '                         INSTALL_MOD_PATH=…'
	@echo '  make install           both'
	@echo
	@echo 'For work on the source:'
	@echo '  make setup             install the toolchain, QEMU and virtme-ng'
	@echo '  make kernel            build the kernel that the VMs boot (FLAVOUR=normal,'
	@echo '                         debug …; scripts/kernel --help names all)'
	@echo '  make soak              all tests with storms of ten minutes, on more kernels'
	@echo '                         (gcc, PREEMPT_RT, NUMA, arm64, KCSAN, UML): some hours'
	@echo '  make bench             measure zsmalloc_rs beside C zsmalloc'
	@echo '  make lint              formatting, clippy, unsafe budget, layers, scripts'
	@echo '  make doc               rustdoc, into out/doc'
	@echo '  make rust-analyzer     rust-project.json for editors'
	@echo '  make clean             remove what was built here; scripts/clean --cache'
	@echo '                         removes the tools and kernels, too'

setup:
	@scripts/setup

FLAVOUR ?= normal
kernel:
	@scripts/kernel build $(FLAVOUR)

modules:
	@scripts/external '$(KDIR)' modules

modules_install:
	@scripts/external '$(KDIR)' modules_install

install: modules
	@scripts/external '$(KDIR)' modules_install

demo:
	@scripts/demo

test:
	@scripts/test

soak:
	@scripts/test --soak

bench:
	@scripts/bench

lint:
	@scripts/lint

doc:
	@scripts/doc

rust-analyzer:
	@scripts/rust_analyzer

clean:
	@scripts/clean

.PHONY: help setup kernel modules modules_install install demo test soak bench lint doc rust-analyzer clean
