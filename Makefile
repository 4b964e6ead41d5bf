# Everything a person types. The real build is CMake's; this file installs what is missing and calls it.
# `make help` lists the targets.
BUILD    ?= build
JOBS     ?= $(shell nproc)
CXX_GCC   = g++-12
CXX_CLANG = clang++-19
GUEST     = $(BUILD)/guest
CTEST     = ctest --test-dir $(BUILD) --output-on-failure --no-tests=error -j$(JOBS)

# configure FOLDER, C++ compiler, further options: only when the folder is new or the options changed (CMake decides).
configure = cmake -S . -B $(1) -G Ninja -DCMAKE_CXX_COMPILER=$(2) $(3) >$(1).configure.log 2>&1 || { cat $(1).configure.log; exit 1; }

.PHONY: help run program web build criu test test-fast test-slow asan asan-inputs tsan clang fuzz bench kills kvm-boot guests debian format clean
.DEFAULT_GOAL := help

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: program ## build, then start a Debian machine (the first time its image is made): its shell on a terminal
	@scripts/install-packages run
	@scripts/run-debian $(BUILD)

program: ## install what is missing, configure, compile the programs only
	@scripts/install-packages build
	@mkdir -p $(BUILD)
	@$(call configure,$(BUILD),$(CXX_GCC))
	@ninja -C $(BUILD) -j$(JOBS) nagaya nagaya-vmm nagaya-net nagaya-agent nagaya-init nagaya-reaper nagaya-procview nagaya-server

build: program ## the same, the web console, and the tests
	@scripts/install-packages web
	@$(call configure,$(BUILD),$(CXX_GCC))
	@ninja -C $(BUILD) -j$(JOBS)

web: ## build the web console (npm) to build/web
	@scripts/install-packages build web
	@mkdir -p $(BUILD)
	@$(call configure,$(BUILD),$(CXX_GCC))
	@ninja -C $(BUILD) web

guests: ## fetch Debian's kernels and make their RAM disks
	@scripts/install-packages guest
	@scripts/guest-images -o $(GUEST) amd64 $(GUEST_EXTRA)

criu: ## fetch a CRIU that starts on this kernel, for containers that are checkpointed, restored and moved
	@scripts/fetch-criu $(BUILD)/criu

debian: program ## make the Debian image that tests and benchmarks use
	@scripts/install-packages run
	@scripts/debian-image $(BUILD)/src/nagaya $(GUEST)/state

test: GUEST_EXTRA = i386 fio
test: build guests debian criu ## every test: unit, law, conformance, whole guests
	@scripts/install-packages test
	@$(CTEST)

test-fast: build criu ## all tests but those with Debian guests
	@scripts/install-packages test
	@$(CTEST) -LE slow

test-slow: GUEST_EXTRA = i386 fio
test-slow: build guests debian ## only the tests with Debian guests
	@$(CTEST) -L slow

# boot takes minutes there (decompression); its parsers run under sanitizers as fuzz targets.
asan: ## unit tests under AddressSanitizer and UBSan
	@scripts/install-packages build test
	@mkdir -p $(BUILD)/asan
	@$(call configure,$(BUILD)/asan,$(CXX_GCC),-DNAGAYA_SANITIZE=address$(COMMA)undefined -DCMAKE_BUILD_TYPE=RelWithDebInfo)
	@ninja -C $(BUILD)/asan -j$(JOBS)
	@ctest --test-dir $(BUILD)/asan --output-on-failure --no-tests=error -j$(JOBS) -LE 'slow|guest' -E '^boot$$'

# What guests, files and peers write into, and what it takes to build that: a good part of the above in a third of its time.
ASAN_ROOMS = agent agent_guest api block fuse image memory net netd proto state virtio virtio_balloon virtio_blk virtio_console virtio_fs \
             virtio_net virtio_pmem virtio_rng virtio_vsock
asan-inputs: ## the same for the rooms that read what guests, files and peers say
	@scripts/install-packages build test
	@mkdir -p $(BUILD)/asan
	@$(call configure,$(BUILD)/asan,$(CXX_GCC),-DNAGAYA_SANITIZE=address$(COMMA)undefined -DCMAKE_BUILD_TYPE=RelWithDebInfo)
	@ninja -C $(BUILD)/asan -j$(JOBS) $(addsuffix _test,$(ASAN_ROOMS))
	@ctest --test-dir $(BUILD)/asan --output-on-failure --no-tests=error -j$(JOBS) -R '^($(subst $(SPACE),|,$(strip $(ASAN_ROOMS))))$$'

tsan: ## unit tests under ThreadSanitizer
	@scripts/install-packages build test
	@mkdir -p $(BUILD)/tsan
	@$(call configure,$(BUILD)/tsan,$(CXX_GCC),-DNAGAYA_SANITIZE=thread)
	@ninja -C $(BUILD)/tsan -j$(JOBS)
	@ctest --test-dir $(BUILD)/tsan --output-on-failure --no-tests=error -j$(JOBS) -L unit

clang: ## compile everything with Clang too
	@scripts/install-packages build clang
	@mkdir -p $(BUILD)/clang
	@$(call configure,$(BUILD)/clang,$(CXX_CLANG))
	@ninja -C $(BUILD)/clang -j$(JOBS)

fuzz: ## run each fuzz target for SECONDS (60)
	@scripts/install-packages build clang
	@mkdir -p $(BUILD)/fuzz
	@$(call configure,$(BUILD)/fuzz,$(CXX_CLANG),-DNAGAYA_FUZZ=ON -DNAGAYA_TESTS=OFF)
	@ninja -C $(BUILD)/fuzz -j$(JOBS) fuzz/all
	@scripts/run-fuzzers $(BUILD)/fuzz/fuzz $(or $(SECONDS),60)

bench: GUEST_EXTRA = fio
bench: program guests debian ## compare with QEMU's TCG, User-Mode Linux and this host, in one run
	@scripts/install-packages bench
	@bench/run -b $(BUILD)
	@bench/disk -b $(BUILD)
	@bench/net/run -b $(BUILD)

kills: build guests ## a thousand kill -9 of our own processes in a mixed life (KILLS=1000 SEED=20)
	@scripts/install-packages test
	@tests/kills $(BUILD)/src/nagaya $(GUEST) $(BUILD)/tests/guests --kills $(or $(KILLS),1000) --seed $(or $(SEED),20)

kvm-boot: program guests ## boot Debian on the KVM engine (needs a host whose KVM runs guest kernels)
	@scripts/run-guest -b $(BUILD) --engine kvm --command 'uname -a; dmesg | grep -i -m1 hypervisor'

format: ## format the sources
	@scripts/install-packages clang
	@git ls-files '*.cpp' '*.hpp' | xargs clang-format-19 -i

clean: ## remove what was built; fetched kernels stay (make clean-all removes them too)
	@test ! -d $(BUILD) || find $(BUILD) -mindepth 1 -maxdepth 1 ! -name guest -exec rm -rf {} +

.PHONY: clean-all
clean-all:
	@rm -rf $(BUILD)

COMMA := ,
EMPTY :=
SPACE := $(EMPTY) $(EMPTY)
