// A model on a device, seen from above: no WebGPU type passes this header.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kernels/step_input.hpp"
#include "model/rwkv7_tensors.hpp"
#include "ravenwing/device_info.hpp"
#include "ravenwing/engine.hpp"

namespace ravenwing {

/// What sampling gave for an output of a step.
struct SampledToken {
  uint32_t id = kernels::kNoToken;
  kernels::Frozen frozen = kernels::Frozen::no;
};

/// Owns the device and the model. Everything that throws Error{device_lost} keeps doing so.
class Runner {
 public:
  /// Opens a device and copies the model to it. `file` and `source` must outlive the runner where loading is lazy.
  Runner(format::ModelFile& file, const rwkv7::ModelSource& source, const EngineOptions& options);
  ~Runner();

  const rwkv7::Config& config() const;
  const DeviceInfo& device() const;
  MemoryUse memory() const;
  /// Milliseconds that the device took to open.
  double device_ms() const;
  PipelineCacheUse pipeline_cache() const;
  /// Tokens and outputs of one step at most.
  uint32_t tokens_max() const;
  uint32_t outputs_max() const;

  void submit(const kernels::StepInput& input);
  /// Of the last step; all wait for it.
  std::vector<float> read_logits();
  std::vector<float> read_logits_of(uint32_t output);
  std::vector<SampledToken> read_sampled();

  void reset_slot(uint32_t slot);
  /// What sampling is to do from now on; the session's memory of it stays.
  void begin_request(uint32_t slot, const kernels::ControlBlock& block);
  void write_additions(uint32_t slot, std::span<const kernels::LogitAddition> additions);
  SessionState read_state(uint32_t slot);
  void write_state(uint32_t slot, const SessionState& state);
  std::vector<float> read_counts(uint32_t slot);
  void write_counts(uint32_t slot, std::span<const float> counts);
  void copy_slot(uint32_t from, uint32_t to);
  /// Keeps a copy of the slot's state on the GPU, one per slot; roll_back() puts the last one back.
  void checkpoint(uint32_t slot);
  void roll_back(uint32_t slot);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ravenwing
