// What `bench` and its sub-commands measure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "command.hpp"
#include "ravenwing/engine.hpp"

namespace ravenwing::apps {

/// Readings of one figure.
struct Readings {
  std::vector<double> values;
  double median() const;
  double least() const;
  double most() const;
};

struct BenchFlags {
  EngineFlags engine;
  std::string synthetic, write;
  std::string prompt;  // "": some of n_prompt tokens
  std::string title, change, file = "benchmarks.md";
  uint32_t n_prompt = 512, n_tokens = 128, batch = 32, repeat = 5;
  std::optional<uint32_t> chunk;
  bool titled = false, json = false;
};

/// What a step asks of the GPU, and its time for it.
struct StepWork {
  uint32_t n_tokens = 0;
  uint64_t bytes = 0, flops = 0;
  double us = 0;
};

struct BenchResults {
  std::string model;
  uint64_t file_bytes = 0;
  DeviceInfo device;
  double load_ms = 0, device_ms = 0;  // of the first load of this process, whatever its caches held
  double first_token_ms = 0;          // from opening the file, shaders and plans included
  double first_prefill_ms = 0;        // of the first prompt, likewise
  PipelineCacheUse pipeline_cache;    // of that load and all that followed
  std::optional<double> cold_load_ms;
  Readings warm_load_ms;  // none without a cache of shaders

  uint32_t chunk = 0;
  size_t n_prompt = 0;
  Readings prefill_tok_s, decode_tok_s, batch_decode_tok_s;
  Readings prompt_to_token_ms;
  double token_p50_ms = 0, token_p99_ms = 0;  // from one token to the next, one sequence
  StepCacheUse caches;                        // of all measured runs, which come after one that is not
  std::optional<StepWork> decode, prefill;    // none where the GPU has no clock that gives sense
  std::optional<MeasuredLimits> limits;
  std::optional<double> joules_per_token;

  std::string quality_hash;
  double quality_nats = 0;
  MemoryUse gpu;
  uint64_t host_peak_bytes = 0, host_anonymous_bytes = 0;

  /// The share of a decode step that the GPU works.
  std::optional<double> gpu_busy() const;
};

/// Opens the model several times, one engine after another.
BenchResults measure(const BenchFlags& flags);

/// The name that the file gives it, else the file's.
std::string model_name(const Engine& engine);
GenerateOptions greedy(uint32_t n_tokens);
/// Any ids do: the work is the same.
std::vector<uint32_t> some_ids(const Engine& engine, size_t n);
double per_second(double n, double ms);
/// Reads prompts alone; the first time, which makes plans and compiles shaders, is left out.
Readings measure_prefill(Engine& engine, size_t n_prompt, uint32_t repeat);
/// Decodes alone, likewise.
Readings measure_decode(Engine& engine, uint32_t n_tokens, uint32_t repeat);
/// "VmHWM:   123 kB" of this process, in bytes.
uint64_t process_bytes(std::string_view key);

}  // namespace ravenwing::apps
