#!/usr/bin/env bash
# Brings everything the build and the tests need, and touches only what is missing: system packages by apt-get, the rest
# into third_party/ by pinned version and SHA-256. Every make target runs it; when nothing is missing it takes a moment.
#
#   setup.sh clang              only the compiler that fuzzing needs, which `make test` asks for and `make build` does not
#
#   RAVENWING_SKIP_PACKAGES=1   leave the system's packages alone
#   RAVENWING_SKIP_CLANG=1      leave out fuzzing and all else that needs Clang
#   RAVENWING_SKIP_MESA=1       no software Vulkan driver (a machine with a GPU needs none)
#   RAVENWING_DOWNLOADS=DIR     keep downloads there instead of in third_party/downloads
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

[ "$(uname -s)" = Linux ] || die "this script knows Linux with apt-get only; HACKING.md lists what a build needs elsewhere."

# Two makes at once (or make -j) must not unpack over each other.
mkdir -p "$third_party"
exec 9>"$third_party/.setup.lock"
flock -w 900 9 || die "another set-up of this folder has been running for 15 minutes; end it, then try again."

if [ "${1:-}" = clang ]; then
  [ -z "${RAVENWING_SKIP_CLANG:-}" ] || exit 0
  [ -n "${RAVENWING_SKIP_PACKAGES:-}" ] || "$root/tools/setup_packages.sh" clang
  # The sanitizers are a package of their own: try what the presets ask for.
  echo 'int main() {}' | clang++-19 -fsanitize=address,undefined -x c++ - -o /dev/null 2>/dev/null \
    || die "there is no clang++-19 that can link AddressSanitizer (Debian: clang-19 libclang-rt-19-dev)." \
    "Install it, or leave out what needs it: RAVENWING_SKIP_CLANG=1 make test"
  exit 0
fi

[ -n "${RAVENWING_SKIP_PACKAGES:-}" ] || "$root/tools/setup_packages.sh"
"$root/tools/setup_webgpu.sh"
[ -n "${RAVENWING_SKIP_MESA:-}" ] || "$root/tools/setup_mesa.sh"
