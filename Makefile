# pyxis: the commands people type. `make help` lists them.
#
#   make                          for the Slurm whose spank.h is installed
#   make SLURM=24.11              for that release, with the committed interface (no Slurm needed)
#   make SLURM_PREFIX=/opt/slurm  for the Slurm installed there, against its own spank.h
#   make deb, make rpm            packages for all releases, in dist/; SLURM and SLURM_PREFIX as above for one
#
# The recipes written for the original pyxis work as they are typed: `make` leaves ./spank_pyxis.so, CPPFLAGS=-I/opt/slurm/include
# names a Slurm (so do CFLAGS and CPATH), and where a Slurm's headers are, `make deb` and `make rpm` also make the one package that they install,
# ../nvslurm-plugin-pyxis_*.deb and x86_64/nvslurm-plugin-pyxis-*.rpm, for that Slurm and this machine.

prefix      ?= /usr/local
exec_prefix ?= $(prefix)
bindir      ?= $(exec_prefix)/bin
libdir      ?= $(exec_prefix)/lib
datarootdir ?= $(prefix)/share
datadir     ?= $(datarootdir)
sysconfdir  ?= $(prefix)/etc

SLURM        ?=
SLURM_PREFIX ?=
# Of packages: the processor (x86_64, aarch64), the oldest glibc they run with (`host`: this machine's, without zig), where they
# are put, and the key that a repository is signed with.
ARCH         ?=
GLIBC        ?=
DIST         ?= dist
KEY          ?=
CARGO        ?= cargo
INSTALL      ?= install

# A Slurm that is named as for a compiler of C: -I DIR, -IDIR or -isystem DIR in CPPFLAGS or CFLAGS, or CPATH; its own directory of
# headers (/opt/slurm/include/slurm) will do. And the one that is installed.
flags     := $(subst -isystem ,-I,$(subst -I ,-I,$(CPPFLAGS) $(CFLAGS)))
includes  := $(patsubst -I%,%,$(filter -I%,$(flags))) $(subst :, ,$(CPATH) $(C_INCLUDE_PATH))
named     := $(firstword $(foreach dir,$(patsubst %/slurm,%,$(patsubst %/,%,$(includes))) $(includes),$(if $(wildcard $(dir)/slurm/spank.h),$(dir))))
slurm     := $(or $(SLURM_PREFIX),$(if $(SLURM),,$(named)))
# Whose one package is made: nobody's where something else is asked for.
single    := $(if $(SLURM)$(SLURM_PREFIX)$(ARCH)$(GLIBC),,$(or $(named),$(if $(wildcard /usr/include/slurm/spank.h),$(shell test -w .. && echo /usr))))

machine   := $(shell uname -m)
plugindir := $(libdir)/slurm
confdir   := $(datadir)/pyxis
# Of AppArmor, where there is one. Not beside pyxis.conf: sites include all of that directory in plugstack.conf.
profiles  := $(datadir)/apparmor/extra-profiles
apparmord ?= /etc/apparmor.d
# One for each directory: two with one name would take each other's place. pyxis doctor and the runtime know these names.
profile   := pyxis-make$(if $(filter /usr/local/bin,$(abspath $(bindir))),,$(subst /,.,$(abspath $(bindir))))
# A name with a space is two to make: something else would be made, and removed.
$(foreach name,DESTDIR bindir plugindir libdir datadir sysconfdir,$(if $(word 2,$($(name))),$(error there is a space in $(name))))
# One plugin at a time: whatever was built last is what gets installed.
built     := target/make
# Whatever a site's configuration of cargo says: what is installed is looked for there.
export CARGO_TARGET_DIR := $(CURDIR)/target
matrix     = $(CARGO) run -q --release -p build-matrix --

.PHONY: all install uninstall install-enroot uninstall-enroot setcap deb rpm orig repo demo cluster check quick bench deps clean help

all: | need-cargo
	rm -rf $(built)
	$(matrix) build $(SLURM) $(if $(slurm),--slurm $(slurm)) --out $(built)
	$(CARGO) build --release -p pyxis
	ln -f $(built)/*/spank_pyxis.so spank_pyxis.so 2> /dev/null || cp -f $(built)/*/spank_pyxis.so spank_pyxis.so

# `sudo make install` after `make` compiles nothing, and writes nothing here: root often has no Rust toolchain, and on NFS no say.
install:
	@test -x target/release/pyxis && ls $(built)/*/spank_pyxis.so > /dev/null 2>&1 || $(MAKE) all
	$(INSTALL) -d -m 755 $(DESTDIR)$(plugindir) $(DESTDIR)$(bindir) $(DESTDIR)$(confdir) $(DESTDIR)$(profiles)
	$(INSTALL) -m 755 target/release/pyxis $(DESTDIR)$(bindir)/pyxis
	$(INSTALL) -m 644 $(built)/*/spank_pyxis.so $(DESTDIR)$(plugindir)/spank_pyxis.so
	echo 'required $(plugindir)/spank_pyxis.so pyxis_path=$(bindir)/pyxis' | $(INSTALL) -m 644 /dev/stdin $(DESTDIR)$(confdir)/pyxis.conf
	sed -e '1s|.*|# Installed by make install of pyxis, and removed by make uninstall; what is to stay goes to local/$(profile). Without this first|' \
		-e 's|^profile .* flags|profile $(profile) $(bindir)/pyxis flags|' -e 's|local/pyxis>|local/$(profile)>|' \
		packaging/apparmor | $(INSTALL) -m 644 /dev/stdin $(DESTDIR)$(profiles)/pyxis
	$(RM) $(DESTDIR)$(confdir)/apparmor
	$(if $(DESTDIR),,packaging/apparmor-make install $(profiles)/pyxis $(apparmord) $(profile))
	@echo
	@echo 'Installed. To have Slurm load it (the path is that of your slurm.conf), on every node:'
	@echo '    ln -s $(confdir)/pyxis.conf /etc/slurm/plugstack.conf.d/pyxis.conf'

# The command under enroot's name, and what recipes copy, link and edit of enroot's, where `make install` of enroot has it with the
# same words. An enroot.conf that is there is the site's, as are links.
enroot_share := $(datadir)/enroot
enroot_conf  := $(sysconfdir)/enroot
enroot_lib   := $(libdir)/enroot
enroot_bins  := $(addprefix $(bindir)/enroot-,aufs2ovlfs makeself mksquashovlfs mount nsenter switchroot)
# What enroot's own hooks are known by, and ours once they have been made: what a site has taken away stays away.
enroot_hooks  = find $(DESTDIR)$(enroot_conf)/hooks.d -name README -o -name '10-*' -o -name '9[89]-nvidia.sh*' -o -name '99-mellanox.sh*'

install-enroot:
	$(INSTALL) -d -m 755 $(DESTDIR)$(bindir) $(DESTDIR)$(enroot_lib) $(DESTDIR)$(enroot_share)/devices $(foreach dir,environ.d hooks.d mounts.d,$(DESTDIR)$(enroot_share)/$(dir) $(DESTDIR)$(enroot_conf)/$(dir)) $(DESTDIR)$(enroot_conf)/enroot.conf.d
	ln -sfn pyxis $(DESTDIR)$(bindir)/enroot
	for program in $(enroot_bins); do $(INSTALL) -m 755 packaging/enroot/program $(DESTDIR)$$program || exit 1; done
	$(INSTALL) -m 644 runtime/containers/src/start/environment/common.sh $(DESTDIR)$(enroot_lib)
	$(INSTALL) -m 755 packaging/enroot/share/hooks.d/*.sh $(DESTDIR)$(enroot_share)/hooks.d
	$(INSTALL) -m 644 packaging/enroot/share/mounts.d/*.fstab $(DESTDIR)$(enroot_share)/mounts.d
	$(INSTALL) -m 644 packaging/enroot/share/bash_completion packaging/enroot/share/enroot.conf $(DESTDIR)$(enroot_share)
	$(INSTALL) -m 755 packaging/enroot/share/devices/*.sh $(DESTDIR)$(enroot_share)/devices
	$(INSTALL) -m 644 packaging/enroot/share/devices/README $(DESTDIR)$(enroot_share)/devices
	test -e $(DESTDIR)$(enroot_conf)/enroot.conf -o -L $(DESTDIR)$(enroot_conf)/enroot.conf || $(INSTALL) -m 644 packaging/enroot/share/enroot.conf $(DESTDIR)$(enroot_conf)
	test -n "$$($(enroot_hooks))" || cp -p $(DESTDIR)$(enroot_share)/devices/* $(DESTDIR)$(enroot_conf)/hooks.d/

# enroot's recipes have it after `make install`; nothing of ours has use for capabilities.
setcap:
	@echo 'pyxis needs no capabilities: none are set'

# Of what enroot's own `make install` has put there since nothing.
uninstall-enroot:
	test "$$(readlink $(DESTDIR)$(bindir)/enroot)" != pyxis || $(RM) $(DESTDIR)$(bindir)/enroot
	for file in $(enroot_bins); do ! cmp -s packaging/enroot/program $(DESTDIR)$$file || $(RM) $(DESTDIR)$$file; done
	! cmp -s runtime/containers/src/start/environment/common.sh $(DESTDIR)$(enroot_lib)/common.sh || $(RM) $(DESTDIR)$(enroot_lib)/common.sh
	for name in README 98-nvidia.sh 99-mellanox.sh; do file=$(DESTDIR)$(enroot_conf)/hooks.d/$$name; \
		test -L $$file || ! cmp -s $(DESTDIR)$(enroot_share)/devices/$$name $$file || $(RM) $$file; done
	test -L $(DESTDIR)$(enroot_conf)/enroot.conf || ! cmp -s $(DESTDIR)$(enroot_share)/enroot.conf $(DESTDIR)$(enroot_conf)/enroot.conf || \
		$(RM) $(DESTDIR)$(enroot_conf)/enroot.conf
	for file in $(patsubst packaging/enroot/share/%,%,$(wildcard packaging/enroot/share/*.d/* packaging/enroot/share/devices/* packaging/enroot/share/bash_completion packaging/enroot/share/enroot.conf)); do \
		! cmp -s packaging/enroot/share/$$file $(DESTDIR)$(enroot_share)/$$file || $(RM) $(DESTDIR)$(enroot_share)/$$file; done
	-rmdir $(DESTDIR)$(enroot_lib) $(foreach dir,$(DESTDIR)$(enroot_share) $(DESTDIR)$(enroot_conf),$(addprefix $(dir)/,environ.d hooks.d mounts.d enroot.conf.d devices) $(dir)) 2> /dev/null

uninstall:
	$(if $(DESTDIR),,packaging/apparmor-make remove $(apparmord) $(profile))
	$(RM) $(DESTDIR)$(plugindir)/spank_pyxis.so $(DESTDIR)$(bindir)/pyxis \
		$(DESTDIR)$(confdir)/pyxis.conf $(DESTDIR)$(profiles)/pyxis
	-rmdir $(DESTDIR)$(confdir)

# $(call one,FORMAT,DIR): the package of the original's recipes, if a Slurm's headers are there.
one = $(if $(single),$(matrix) package --single --slurm $(single) --glibc host --format $(1) --out $(2))
# Where CPPFLAGS names that Slurm, it is all that is wanted.
zig = packaging/zig || { $(if $(single),echo 'The packages for all releases are not made: they want zig.'; exit 0,exit 1); };
packages = $(if $(filter host,$(GLIBC)),,$(zig)) $(matrix) package $(SLURM) --out $(DIST) \
	$(if $(SLURM_PREFIX),--slurm $(SLURM_PREFIX)) $(if $(ARCH),--arch $(ARCH)) $(if $(GLIBC),--glibc $(GLIBC))

deb: | need-cargo
	$(call one,deb,..)
	$(if $(named),,$(packages) --format deb)

# Where the README and where rpmbuild of the original put it.
rpm: | need-cargo
	$(if $(single),rm -f $(machine)/nvslurm-plugin-pyxis-*.rpm rpm/RPMS/$(machine)/nvslurm-plugin-pyxis-*.rpm)
	$(call one,rpm,$(machine))
	$(if $(single),mkdir -p rpm/RPMS/$(machine) && ln -f $(machine)/nvslurm-plugin-pyxis-*.rpm rpm/RPMS/$(machine)/)
	$(if $(named),,$(packages) --format rpm)

# For dpkg-buildpackage (debian/) and rpmbuild -ta (rpm/pyxis.spec).
orig:
	packaging/orig $(DIST)

repo: | need-cargo
	$(matrix) repo $(DIST)/repo --from $(DIST) $(if $(KEY),--sign $(KEY))

demo: | need-cargo
	tests/demo

cluster: | need-cargo
	tests/demo --shell

check: | need-cargo
	tests/run

# Format, lints and the unit tests of what was changed: no root, no Slurm.
quick: | need-cargo
	tests/run quick

# What `make` has built, as root; beside enroot, where that is installed.
bench:
	tests/bench/start
	tests/bench/steps
	tests/bench/import

deps:
	tests/deps
	@if command -v $(CARGO) > /dev/null; then tests/tools; else echo 'cargo-deny is built by make check, once there is a Rust toolchain'; fi

clean:
	rm -rf target dist spank_pyxis.so $(machine) rpm/RPMS

help:
	@echo 'make                build for the installed Slurm; SLURM=24.11 or SLURM_PREFIX=/opt/slurm for another'
	@echo 'make install        to prefix=$(prefix); bindir, libdir, datarootdir and DESTDIR as usual'
	@echo 'make install-enroot the command under the name enroot, and what recipes expect of enroot, beside it; sysconfdir=/etc as usual'
	@echo 'make uninstall      take that away again; make uninstall-enroot'
	@echo 'make deb            packages for all Slurm releases in $(DIST)/, no Slurm needed; SLURM=24.11 or SLURM_PREFIX for one'
	@echo 'make rpm            the same for rpm; ARCH=aarch64, GLIBC=host'
	@echo 'make orig           the source, for dpkg-buildpackage and rpmbuild -ta'
	@echo 'make repo           $(DIST)/repo from the packages in $(DIST)/, for apt and dnf; KEY=... signs it'
	@echo 'make demo           everything from nothing: a Slurm of two nodes on this machine, and a container on it'
	@echo 'make cluster        the same Slurm with the plugin, and a shell with srun'
	@echo 'make check          all tests; ends with one line "N passed, N failed"; tests/run SUITE runs one'
	@echo 'make quick          format, lints and unit tests of what you changed; no root, no Slurm'
	@echo 'make bench          what starting a container costs, against the floor and against enroot if it is installed'
	@echo 'make deps           what demo, cluster and check need from apt, and cargo-deny'
	@echo 'make clean          remove what was built (downloads and images stay in .cache)'

.PHONY: need-cargo
need-cargo:
	@command -v $(CARGO) > /dev/null || { echo 'No Rust toolchain: get one with  curl -sSf https://sh.rustup.rs | sh -s -- -y && . ~/.cargo/env  (Debian 12 packages too old a one)' >&2; exit 1; }
