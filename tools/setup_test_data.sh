#!/usr/bin/env bash
# build/test-data: files that tests need and nobody stores. Made only where the folder `shared` is; tests that need it
# are skipped elsewhere.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

model=$shared/models/tiny
f16=$root/build/test-data/tiny-rwkv7-F16.gguf
[ -d "$model" ] || exit 0

expected=$(sed -n 's/ .*tiny-rwkv7-F16\.gguf$//p' "$model/SHA256SUMS")
# The hash of 59 MB takes a third of a second; it is trusted once it was right.
if [ "$(cat "$f16.sha256" 2>/dev/null)" = "$expected" ] && [ -f "$f16" ]; then exit 0; fi

venv=$third_party/venv
requirements=$root/tools/requirements.txt
if ! cmp -s "$requirements" "$venv/requirements.txt"; then
  say "fetching the Python packages of tools/requirements.txt into third_party/venv"
  rm -rf "$venv"
  "$host_python" -m venv "$venv"
  "$venv/bin/pip" install --disable-pip-version-check --no-deps --only-binary=:all: --require-hashes -r "$requirements" \
    || die "pip could not fetch them. Check that this machine reaches a Python package index, then try again."
  cp "$requirements" "$venv/requirements.txt"
fi

say "making build/test-data/tiny-rwkv7-F16.gguf"
mkdir -p "${f16%/*}"
"$venv/bin/python" "$shared/tools/safetensors_to_gguf.py" "$model/tiny-rwkv7.safetensors" "$model/vocab.txt" "$f16" >/dev/null
has_sha256 "$f16" "$expected" || die "tiny-rwkv7-F16.gguf was made, but its SHA-256 is not the one in SHA256SUMS."
echo "$expected" > "$f16.sha256"
