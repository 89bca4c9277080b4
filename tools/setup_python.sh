#!/usr/bin/env bash
# third_party/venv-python: what the Python extension is built with and tested in, as python/requirements-test.txt pins it.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

venv=$third_party/venv-python
requirements=$root/python/requirements-test.txt
if cmp -s "$requirements" "$venv/requirements.txt"; then exit 0; fi

# Two makes at once must not unpack over each other.
exec 9>"$third_party/.setup.lock"
flock -w 900 9 || die "another set-up of this folder has been running for 15 minutes; end it, then try again."
if cmp -s "$requirements" "$venv/requirements.txt"; then exit 0; fi

say "fetching the Python packages of python/requirements-test.txt into third_party/venv-python"
rm -rf "$venv"
"$host_python" -m venv "$venv"
"$venv/bin/pip" install --disable-pip-version-check --quiet --no-deps --only-binary=:all: --require-hashes -r "$requirements" \
  || die "pip could not fetch them. Check that this machine reaches a Python package index, then try again."
cp "$requirements" "$venv/requirements.txt"
