#!/usr/bin/env bash
# third_party/mesa: lavapipe, a Vulkan driver that runs on the CPU, for machines without a GPU. Debian 12 has no Mesa new
# enough, its backports do. The two packages are unpacked here, with apt lists of our own: nothing is installed and the
# system's apt settings are not touched.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
source "$third_party/versions.sh"

target=$third_party/mesa
version="pinned: mesa $mesa_version, libdrm $libdrm_version"
if [ "$(head -n 1 "$target/VERSION" 2>/dev/null)" = "$version" ]; then exit 0; fi

give_up() { die "$* No software Vulkan driver; on a machine with a GPU set RAVENWING_SKIP_MESA=1 to go on without one."; }

codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
[ "$codename" = bookworm ] || {
  warn "this is not Debian 12: the software Vulkan driver is not unpacked. Without a GPU, install Mesa 25 or newer."
  exit 0
}
architecture=$(dpkg --print-architecture)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$downloads"

# private_apt COMMAND...: apt-get with lists and caches of its own and one source: bookworm-backports at the host's mirror.
private_apt() {
  (cd "$downloads" && apt-get -q -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=/dev/null \
    -o Dir::State::lists="$work/lists" -o Dir::Cache="$work/cache" -o Acquire::Languages=none \
    -o APT::Sandbox::User="$(id -un)" "$@")
}

update_lists() {
  [ ! -d "$work/lists" ] || return 0
  local mirror
  mirror=$(apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' 'Identifier: Packages' \
    | sed -n 's/^\(bookworm\|stable\) main //p' | head -n 1)
  [ -n "$mirror" ] || give_up "apt knows no mirror of Debian 12."
  say "reading the package list of bookworm-backports (kept apart from the system's)"
  mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror bookworm-backports main" > "$work/sources.list"
  private_apt update || give_up "apt-get could not read bookworm-backports."
}

# fetch_deb PACKAGE VERSION SHA256: leaves its path in `deb`. The archive keeps only the newest backport, so a newer one
# is taken where the pinned one is gone; apt has then checked it against the archive's signature.
fetch_deb() {
  deb=$downloads/$1_${2/:/%3a}_$architecture.deb
  if has_sha256 "$deb" "$3"; then return 0; fi
  update_lists
  if private_apt download "$1=$2"; then
    [ -z "$3" ] || has_sha256 "$deb" "$3" || give_up "$1 $2 is not the file that is pinned (SHA-256 $3)."
    return 0
  fi
  warn "$1 $2 is no longer in bookworm-backports; taking its newest version, which was not tested with this release"
  private_apt download "$1/bookworm-backports" || give_up "apt-get could not fetch $1 from bookworm-backports."
  deb=$(ls -t "$downloads/$1"_*_"$architecture".deb | head -n 1)
}

say "fetching the software Vulkan driver (Mesa of bookworm-backports) into third_party/mesa"
fetch_deb mesa-vulkan-drivers "$mesa_version" "$([ "$architecture" != amd64 ] || echo "$mesa_sha256_amd64")"
mesa_deb=$deb
fetch_deb libdrm2 "$libdrm_version" "$([ "$architecture" != amd64 ] || echo "$libdrm_sha256_amd64")"

dpkg -x "$mesa_deb" "$work/unpacked"
dpkg -x "$deb" "$work/unpacked"
libraries=$(echo "$work"/unpacked/usr/lib/*-linux-gnu*)
mkdir -p "$work/mesa/lib"
cp -L "$libraries/libvulkan_lvp.so" "$libraries/libdrm.so.2" "$work/mesa/lib/"
cp "$work/unpacked/usr/share/doc/mesa-vulkan-drivers/copyright" "$work/mesa/LICENSE"
# A path relative to the description itself, so that the folder may be moved.
sed 's#"library_path": *"[^"]*"#"library_path": "./lib/libvulkan_lvp.so"#' \
  "$work"/unpacked/usr/share/vulkan/icd.d/lvp_icd.*json > "$work/mesa/lvp_icd.json"
printf '%s\n' "$version" "${mesa_deb##*/}" "${deb##*/}" > "$work/mesa/VERSION"
rm -rf "$target"
mv "$work/mesa" "$target"
