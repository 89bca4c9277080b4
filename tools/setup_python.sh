#!/usr/bin/env bash
# setup_python.sh: third_party/venv-python, what the Python extension is built with and tested in, as
# python/requirements-test.txt pins it.
# setup_python.sh adapters: third_party/venv-adapters, the packages of others that python/tests/adapters.py runs against.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

case ${1:-} in
  "") venv=$third_party/venv-python list=requirements-test.txt options=(--only-binary=:all: --require-hashes) ;;
  adapters) venv=$third_party/venv-adapters list=requirements-adapters.txt options=() ;;
  *) die "usage: tools/setup_python.sh [adapters]" ;;
esac
requirements=$root/python/$list
if cmp -s "$requirements" "$venv/requirements.txt"; then exit 0; fi

# Two makes at once must not unpack over each other.
exec 9>"$third_party/.setup.lock"
flock -w 900 9 || die "another set-up of this folder has been running for 15 minutes; end it, then try again."
if cmp -s "$requirements" "$venv/requirements.txt"; then exit 0; fi

say "fetching the Python packages of python/$list into third_party/${venv##*/}"
rm -rf "$venv"
"$host_python" -m venv "$venv"
"$venv/bin/pip" install --disable-pip-version-check --quiet --no-deps "${options[@]}" -r "$requirements" \
  || die "pip could not fetch them. Check that this machine reaches a Python package index, then try again."
cp "$requirements" "$venv/requirements.txt"
