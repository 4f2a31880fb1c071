# One door to everything. `make help` lists what there is.

CARGO    ?= cargo
PROFILE  := release
PREFIX   ?= /usr/local
DESTDIR  ?=
ENGINE   ?= wharf
TARGET   := $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')
BIN      := target/$(TARGET)/$(PROFILE)/wharf

# Each shell with the file below share/ in which it looks for completions.
COMPLETIONS := bash:bash-completion/completions/wharf zsh:zsh/site-functions/_wharf \
  fish:fish/vendor_completions.d/wharf.fish

export ENGINE

.PHONY: help build run test torture bench bench-full install uninstall trace layout deps deps-build deps-test toolchain clean

help:
	@echo "make run         build, start a private engine, run a container from the built-in image, stop"
	@echo "make test        every check and test (ENGINE=dockerd runs the end-to-end cases on Docker's daemon)"
	@echo "make torture     the long runs: a kill before every state-changing call, and 200 at random"
	@echo "make bench       figures beside Docker, crun and the floor (make bench-full for the long rows)"
	@echo "make install     binary, links, systemd units, manual pages, completions (PREFIX, DESTDIR)"
	@echo "make uninstall   removes these again"
	@echo "make trace       daemon, launcher, shim and first process of one run on one time line"
	@echo "make layout      finds the functions that starts execute, for the linker to lay together"
	@echo "make build       the program alone"

toolchain:
	@command -v $(CARGO) >/dev/null || { echo "Wharf needs Rust 1.90 or newer: no cargo was found. See https://rustup.rs" >&2; exit 1; }
	@$(CARGO) --version | awk '{split($$2, v, "."); if (v[1] < 1 || (v[1] == 1 && v[2] < 90)) { \
	  print "Wharf needs Rust 1.90 or newer, and this is cargo " $$2 ". See https://rustup.rs" > "/dev/stderr"; exit 1 }}'

deps-build: toolchain
	@packaging/deps build

deps-test: toolchain
	@packaging/deps build test

deps: deps-test

build: deps-build
	$(CARGO) build --$(PROFILE) --package wharf

run: build
	@packaging/first-run $(BIN)

test: deps-test
	@tests/run

torture: deps-test build
	@tests/run torture

bench: deps-test
	@bench/run

bench-full: deps-test
	@bench/run --full

trace: deps-test build
	@bench/trace $(BIN)

layout: deps-test
	@bench/layout

# What is installed is what the tree says, where it can be built; a package's build may have left a binary alone.
install:
	@if command -v $(CARGO) >/dev/null; then $(MAKE) --no-print-directory build; \
	  else test -x $(BIN) || $(MAKE) --no-print-directory toolchain; fi
	install -D -m 0755 $(BIN) $(DESTDIR)$(PREFIX)/bin/wharf
	ln -sf wharf $(DESTDIR)$(PREFIX)/bin/wharfd
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system
	sed 's|@PREFIX@|$(PREFIX)|' packaging/wharf.service > $(DESTDIR)$(PREFIX)/lib/systemd/system/wharf.service
	install -m 0644 packaging/wharf.socket $(DESTDIR)$(PREFIX)/lib/systemd/system/wharf.socket
	install -d $(DESTDIR)$(PREFIX)/share/man/man1
	$(BIN) man $(DESTDIR)$(PREFIX)/share/man/man1
	for at in $(COMPLETIONS); do \
	  install -d $(DESTDIR)$(PREFIX)/share/$$(dirname $${at#*:}) && \
	  $(BIN) completion $${at%%:*} > $(DESTDIR)$(PREFIX)/share/$${at#*:} || exit 1; done
	@test -n "$(DESTDIR)" || echo "next: systemctl daemon-reload && systemctl enable --now wharf.socket wharf.service"

uninstall:
	rm -f $(DESTDIR)$(PREFIX)/bin/wharf $(DESTDIR)$(PREFIX)/bin/wharfd
	rm -f $(DESTDIR)$(PREFIX)/share/man/man1/wharf.1 $(DESTDIR)$(PREFIX)/share/man/man1/wharf-*.1
	for at in $(COMPLETIONS); do rm -f $(DESTDIR)$(PREFIX)/share/$${at#*:}; done
	rm -f $(DESTDIR)$(PREFIX)/lib/systemd/system/wharf.service $(DESTDIR)$(PREFIX)/lib/systemd/system/wharf.socket

clean:
	$(CARGO) clean
