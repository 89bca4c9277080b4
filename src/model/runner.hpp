// A model on a device, seen from above: no WebGPU type passes this header.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kernels/step_input.hpp"
#include "model/rwkv7_config.hpp"
#include "ravenwing/device_info.hpp"
#include "ravenwing/engine.hpp"

namespace ravenwing {

/// What sampling gave for an output of a step.
struct SampledToken {
  uint32_t id = kernels::kNoToken;
  kernels::Frozen frozen = kernels::Frozen::no;
};

/// Owns the device, the file and the model. Everything that throws Error{device_lost} keeps doing so.
class Runner {
 public:
  explicit Runner(const EngineOptions& options);
  ~Runner();

  const rwkv7::Config& config() const;
  const DeviceInfo& device() const;
  MemoryUse memory() const;
  double load_ms() const;
  double device_ms() const;
  /// Tokens and outputs of one step at most.
  uint32_t tokens_max() const;
  uint32_t outputs_max() const;

  void submit(const kernels::StepInput& input);
  /// Of the last step; both wait for it.
  std::vector<float> read_logits();
  std::vector<SampledToken> read_sampled();

  void reset_slot(uint32_t slot);
  void write_control(uint32_t slot, const kernels::ControlBlock& block);
  SessionState read_state(uint32_t slot);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ravenwing
