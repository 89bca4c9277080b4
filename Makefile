# A thin front of tools/ and CMake. `make help` lists the targets.
.DEFAULT_GOAL := help
.PHONY: help setup build demo test test-all format clean distclean
MAKEFLAGS += --no-print-directory

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

# `fuzz` has all of `asan` and more; that stands in where there is no Clang.
ifdef RAVENWING_SKIP_CLANG
test_presets := dev asan
more_presets :=
else
test_presets := dev fuzz
more_presets := asan clang tsan
endif

.PHONY: setup-clang setup-python test-programs more-test-programs
setup-clang: setup
	@tools/setup.sh clang

# CMake looks for nanobind there.
setup-python: setup
	@tools/setup_python.sh

$(call configured,dev): | setup-python

# Clang must be there before CMake looks for it.
$(foreach preset,clang fuzz tsan,$(call configured,$(preset))): | setup-clang

test-programs: build $(foreach preset,$(test_presets),$(call configured,$(preset)))
	@for preset in $(test_presets); do cmake --build --preset $$preset || exit 1; done
	@tools/setup_test_data.sh

more-test-programs: test-programs $(foreach preset,$(more_presets),$(call configured,$(preset)))
	@for preset in $(more_presets); do cmake --build --preset $$preset || exit 1; done

test: test-programs ## build and run every test that CI runs
	@tools/run_tests.sh $(test_presets)

test-all: more-test-programs ## the same and the slow ones: every weight type, longer fuzzing, other compilers, data races
	@tools/run_tests.sh $(patsubst %,%-all,$(test_presets)) $(more_presets)

format: ## lay out the C++ sources with clang-format 14
	@command -v clang-format >/dev/null || { echo "clang-format is missing: apt-get install clang-format"; exit 1; }
	@git ls-files '*.cpp' '*.hpp' | xargs clang-format -i

clean: ## remove what was built; downloads stay
	rm -rf build

distclean: clean ## remove what was fetched as well
	rm -rf third_party/*/
