# Sourced by the scripts of this folder.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
third_party=$root/third_party
# Set RAVENWING_DOWNLOADS to share one folder of downloads between clones.
downloads=${RAVENWING_DOWNLOADS:-$third_party/downloads}
# Trained models and reference outputs, which developers have beside the clone.
shared=${RAVENWING_SHARED:-$root/../shared}
host_python=/usr/bin/python3

say() { printf 'setup: %s\n' "$*"; }
warn() { printf 'setup: warning: %s\n' "$*" >&2; }
die() { printf 'setup: %s\n' "$*" >&2; exit 1; }

# has_sha256 FILE HASH: whether FILE is there with that content.
has_sha256() { [ -f "$1" ] && [ "$(sha256sum "$1" | cut -d' ' -f1)" = "$2" ]; }
