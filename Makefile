# A thin front of tools/ and CMake. `make help` lists the targets.
.DEFAULT_GOAL := help
.PHONY: help setup build demo test test-all format clean distclean
MAKEFLAGS += --no-print-directory

# A second clone takes what the first one compiled.
export CCACHE_BASEDIR := $(CURDIR)
export CCACHE_NOHASHDIR := 1
# What ccache wants before it caches what uses precompiled headers (apps).
export CCACHE_SLOPPINESS := pch_defines,time_macros,include_file_mtime,include_file_ctime

program := build/release/bin/ravenwing
configured = build/$(1)/build.ninja

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20

setup: ## fetch what is missing: system packages, the WebGPU library, a software Vulkan driver
	@tools/setup.sh

# Ninja runs CMake again by itself when a CMakeLists.txt changes, but knows nothing of the presets.
build/%/build.ninja: CMakePresets.json | setup
	@cmake --preset $* -Wno-dev
	@touch $@

build: setup $(call configured,release) ## build build/release/bin/ravenwing
	@cmake --build --preset release

demo: build ## let the demo model tell a story
	@$(program) generate --echo --prompt "Once upon a time" -n 200 --temperature 0.8 --top-p 0.9 --seed 7

.PHONY: test-programs
test-programs: build $(call configured,dev) $(call configured,asan)
	@cmake --build --preset dev
	@cmake --build --preset asan
	@tools/setup_test_data.sh

test: test-programs ## build and run every test that CI runs
	@tools/run_tests.sh dev asan

test-all: test-programs ## the same and the slow ones: every weight type, longer fuzzing
	@tools/run_tests.sh dev-all asan-all

format: ## lay out the C++ sources with clang-format 14
	@command -v clang-format >/dev/null || { echo "clang-format is missing: apt-get install clang-format"; exit 1; }
	@git ls-files '*.cpp' '*.hpp' | xargs clang-format -i

clean: ## remove what was built; downloads stay
	rm -rf build

distclean: clean ## remove what was fetched as well
	rm -rf third_party/*/
