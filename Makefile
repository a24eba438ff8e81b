# What a newcomer types first: make quickstart. What a change must pass: make test.

CARGO ?= cargo
GO ?= go
BUILD := build
REFERENCE := $(BUILD)/reference
OLDER := $(REFERENCE)/containers-storage-1.24 $(REFERENCE)/containers-storage-1.53
# Alone, a package gets fewer features of the crates below it, and would have the library compiled once more.
WITH_COMMAND := --package orlop-cli
GO_TAGS := exclude_graphdriver_btrfs containers_image_openpgp

.PHONY: help
help: ## list what can be made
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

.PHONY: quickstart
quickstart: ## build orlop and take the tour: load, mount, change, commit, save
	@scripts/deps quickstart
	@CARGO="$(CARGO)" scripts/quickstart

.PHONY: deps
deps: ## install what building and testing need (Debian, Ubuntu)
	@scripts/deps

.PHONY: build
build: ## build the orlop command, optimised
	$(CARGO) build --locked --release

.PHONY: capi
capi: ## build liborlop.so and liborlop.a in target/capi
	$(CARGO) build --locked --release $(WITH_COMMAND) --package orlop-static
	scripts/link-capi

.PHONY: install
install: build capi ## install command, libraries, header and orlop.pc below $(DESTDIR)$(PREFIX), /usr/local by default
	DESTDIR="$(DESTDIR)" PREFIX="$(PREFIX)" scripts/install

.PHONY: reference
reference: $(REFERENCE)/containers-storage $(REFERENCE)/imagecopy $(REFERENCE)/in-process $(OLDER) ## build the Go programs to compare with

$(REFERENCE)/containers-storage: tests/go/reference/go.mod tests/go/reference/go.sum
	@mkdir -p $(REFERENCE)
	cd tests/go/reference && $(GO) build -mod=readonly -tags "$(GO_TAGS)" \
		-o $(abspath $@) go.podman.io/storage/cmd/containers-storage

$(OLDER): $(REFERENCE)/containers-storage-%: tests/go/storage-%/go.mod tests/go/storage-%/go.sum
	@mkdir -p $(REFERENCE)
	cd tests/go/storage-$* && $(GO) build -mod=readonly -tags "$(GO_TAGS) exclude_graphdriver_devicemapper" \
		-o $(abspath $@) github.com/containers/storage/cmd/containers-storage

$(REFERENCE)/imagecopy $(REFERENCE)/in-process: tests/go/reference/go.mod tests/go/reference/go.sum $(wildcard tests/go/reference/*/*.go)
	@mkdir -p $(REFERENCE)
	cd tests/go/reference && $(GO) build -mod=readonly -tags "$(GO_TAGS)" -o $(abspath $@) ./$(@F)

.PHONY: s3-server
s3-server: $(BUILD)/test/versitygw ## build the server that the tests of orlop-s3 send layers to

$(BUILD)/test/versitygw: tests/go/s3-server/go.mod tests/go/s3-server/go.sum
	@mkdir -p $(@D)
	cd tests/go/s3-server && $(GO) build -mod=readonly -o $(abspath $@) github.com/versity/versitygw/cmd/versitygw

.PHONY: test
test: ## everything a change must pass, within 20 minutes
	@scripts/deps
	@CARGO="$(CARGO)" MAKE="$(MAKE)" scripts/test

.PHONY: test-long
test-long: ## fuzz, sanitizers, race detector, other kernels, and the tests by chance (stress, crashes, power cuts) for longer
	@scripts/deps
	@CARGO="$(CARGO)" MAKE="$(MAKE)" scripts/test long

.PHONY: go-test
go-test: capi reference ## only the Go module, and Go programs with orlop's driver beside the ones without
	GO="$(GO)" scripts/go-test

.PHONY: interop
interop: build reference ## only the tests beside podman, buildah, skopeo and Go
	tests/interop/run

.PHONY: stress
stress: build reference ## only the many processes on one store
	tests/interop/stress

.PHONY: crash-sweep
crash-sweep: build reference ## kill and fail orlop at every system call that changes anything
	tests/crash/sweep --random 500

.PHONY: powercut
powercut: build reference ## only the power cuts of a virtual machine
	tests/powercut/run

.PHONY: test-vm
test-vm: capi reference ## only the tests on other kernels and file systems, each in a virtual machine
	CARGO="$(CARGO)" GO="$(GO)" tests/vm/run

.PHONY: fuzz
fuzz: ## fuzz each reader of what comes from outside for SECONDS (10)
	@scripts/deps quickstart
	@CARGO="$(CARGO)" scripts/fuzz --seconds $(or $(SECONDS),10) $(TARGETS)

.PHONY: bench
bench: bench-programs ## compare orlop with the Go library, in 15 minutes (BENCH=--quick: less)
	benches/run $(BENCH)

.PHONY: bench-programs
bench-programs: build reference ## build what make bench runs
	@scripts/deps
	$(CARGO) build --locked --release $(WITH_COMMAND) --package in-process
	$(CARGO) build --locked --release --package floor-codecs
	@mkdir -p $(BUILD)/bench
	cc -O2 -Wall -Wextra -pthread -o $(BUILD)/bench/floor benches/floor/*.c \
		$(or $(CARGO_TARGET_DIR),target)/release/libfloor_codecs.a -l:libcrypto.a -lm

.PHONY: bench-capi
bench-capi: build capi ## compare calls from Go through the C ABI with the same in Rust and by the command (BENCH="-rounds 3")
	$(CARGO) build --locked --release $(WITH_COMMAND) --package in-process
	@mkdir -p $(BUILD)/bench
	cd benches/capi && $(GO) build -a -mod=readonly -tags "orlop_checkout $(GO_TAGS)" -o $(abspath $(BUILD))/bench/bench-capi .
	$(BUILD)/bench/bench-capi $(BENCH) $(or $(CARGO_TARGET_DIR),target)/release/orlop \
		$(or $(CARGO_TARGET_DIR),target)/release/in-process

.PHONY: bench-migrate
bench-migrate: build ## compare `orlop migrate docker` with `docker save | podman load` (BENCH="--check --file-system btrfs")
	benches/migrate $(BENCH)

.PHONY: fmt
fmt: ## format the sources
	$(CARGO) fmt --all

.PHONY: clean
clean: ## remove what was built
	$(CARGO) clean
	rm -rf $(BUILD)
