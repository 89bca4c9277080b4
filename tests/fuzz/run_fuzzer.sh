#!/usr/bin/env bash
# run_fuzzer.sh PROGRAM FOLDER SEEDS...: fuzzes for $RAVENWING_FUZZ_SECONDS (20). FOLDER/corpus grows from run to run;
# an input that fails is left in FOLDER and its path printed.
set -euo pipefail
program=$1 folder=$2
shift 2
seeds=()
for seed in "$@"; do [ ! -d "$seed" ] || seeds+=("$seed"); done
mkdir -p "$folder/corpus"
# No input may take seconds, or memory out of proportion to its size (docs: "Damaged files" in HACKING.md).
exec "$program" -max_total_time="${RAVENWING_FUZZ_SECONDS:-20}" -max_len=65536 -timeout=10 -rss_limit_mb=1024 \
  -malloc_limit_mb=80 -artifact_prefix="$folder/" -print_final_stats=1 -verbosity=0 "$folder/corpus" "${seeds[@]}"
