#!/usr/bin/env bash
# Installs the system packages that are missing. Nothing else of the system is changed.
#   setup_packages.sh [clang]    those of the build, or what the presets with Clang need besides
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

build="g++ binutils make cmake ninja-build ccache git ca-certificates
  libfmt-dev nlohmann-json3-dev libcli11-dev doctest-dev libmd-dev libedit-dev libxxhash-dev"
tools="python3 python3-venv python3-dev xz-utils"
# The Vulkan loader, and what the unpacked software driver (tools/setup_mesa.sh) loads.
driver="libvulkan1 libllvm15 libexpat1 libzstd1 zlib1g libwayland-client0 libx11-xcb1 libxcb1 libxcb-dri3-0
  libxcb-present0 libxcb-randr0 libxcb-shm0 libxcb-sync1 libxcb-xfixes0 libxshmfence1"
[ -z "${RAVENWING_SKIP_MESA:-}" ] || driver=libvulkan1
# Clang with libFuzzer and its sanitizers: `make test` has it, `make build` does without.
clang="clang-19 libclang-rt-19-dev"
wanted=$(echo $build $tools $driver)
[ "${1:-}" != clang ] || wanted=$clang

command -v apt-get >/dev/null && command -v dpkg-query >/dev/null || die "this system has no apt-get." \
  "Install what stands for these Debian packages, then set RAVENWING_SKIP_PACKAGES=1: $wanted"

# "libc6:amd64" and "libc6" are one package; a removed one whose settings remain is not installed.
installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' $wanted 2>/dev/null | sed -n 's/^installed //p' | sort -u) || true
missing=$(comm -23 <(printf '%s\n' $wanted | sort -u) <(printf '%s\n' "$installed") | tr '\n' ' ')
missing=${missing% }
[ -n "$missing" ] || exit 0

install="apt-get install -y --no-install-recommends $missing"
if [ "$(id -u)" = 0 ]; then
  as_root="env"
elif command -v sudo >/dev/null; then
  as_root="sudo env"
else
  die "system packages are missing and this user can install none. As root: apt-get update && $install"
fi

say "installing system packages with apt-get: $missing"
# A source list that has nothing to do with us may be out of reach; what counts is whether the installation works.
$as_root DEBIAN_FRONTEND=noninteractive apt-get update -q 9>&- || warn "apt-get update reported a problem; going on"
$as_root DEBIAN_FRONTEND=noninteractive $install 9>&- \
  || die "apt-get could not install the packages; mend what it reports above, or install by hand: $install"
