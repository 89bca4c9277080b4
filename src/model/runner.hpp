// A model on a device, seen from above: no WebGPU type passes this header.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/idle_gate.hpp"
#include "kernels/step_input.hpp"
#include "model/readout.hpp"
#include "model/rwkv7_tensors.hpp"
#include "ravenwing/device_info.hpp"
#include "ravenwing/engine.hpp"
#include "ravenwing/hooks.hpp"
#include "ravenwing/profile.hpp"

namespace ravenwing {

/// Runs the self-test of options.tier, whatever earlier ones said, and writes the verdict down for later starts. Throws
/// Error{unsupported} where the tier is wrong.
void retest_tier(const rwkv7::ModelSource& source, const EngineOptions& options);

/// Owns the device and the model. Everything that throws Error{device_lost} keeps doing so, until reopen().
class Runner {
 public:
  /// Opens a device, at the best tier that is not found wrong (tier_ladder.hpp), and copies the model to it. `file` and
  /// `source` must outlive the runner.
  Runner(format::ModelFile& file, const rwkv7::ModelSource& source, const EngineOptions& options);
  ~Runner();

  /// Whether the GPU is gone.
  bool is_lost() const;
  /// Whether a step's results said that it had stalled (rwkv7::Model::has_stalled), until that is forgotten.
  bool has_stalled() const;
  void forget_stall();
  /// Tokens of the longest step of which nothing has come back yet, or of one since the newest such of several tokens.
  uint32_t tokens_at_risk() const;
  /// Opens device and model anew; all states are gone. If it throws, every call after it throws Error{device_lost}.
  void reopen();
  /// Waits for all that was submitted. Throws Error{device_lost}.
  void wait();

  const rwkv7::Config& config() const;
  const DeviceInfo& device() const;
  MemoryUse memory() const;
  /// Milliseconds that the device took to open.
  double device_ms() const;
  PipelineCacheUse pipeline_cache() const;
  StepCacheUse step_caches() const;
  TuningUse tuning() const;
  /// Later starts take it. Returns where it is kept; "": nowhere.
  std::filesystem::path keep_chunk(uint32_t chunk, double us, double default_us);
  /// Tokens of one step at most: as asked for, as tuned, or the default.
  uint32_t chunk() const;
  /// Tokens and outputs of one step at most.
  uint32_t tokens_max() const;
  uint32_t outputs_max() const;

  /// To be held by a call that runs steps: nothing is tuned meanwhile.
  struct InUse {
    explicit InUse(Runner& runner);
    std::optional<IdleGate::Busy> busy;
  };
  /// From now on the device may be tuned while it is idle.
  void end_of_answer();

  /// From now on steps call it, also after reopen(); meanwhile what computes throws Error{bad_request}.
  void set_hook(std::optional<Hook> hook);
  bool has_hook() const;
  /// Whether a step has thrown, since the last call, and its texts are as they were before (rwkv7::Model::take_undone).
  bool take_undone();
  /// Closes the model: every call after it throws Error{device_lost}.
  void give_up();

  void submit(const kernels::StepInput& input);
  /// Between steps that nobody takes results of: waits until all but the last kernels::kStepsInFlight are done, so that
  /// the GPU has enough to do and a cancelled call leaves little. Throws Error{device_lost}.
  void pace();
  /// Times a step, by dispatches and as a whole. The states advance by several such steps. Needs
  /// EngineOptions::profiling.
  StepProfile profile(const kernels::StepInput& input);
  /// Times `n_steps` such steps, which have one output each, after those that were submitted.
  SubmitReading time_submits(const kernels::StepInput& input, const SubmitShape& shape, uint32_t n_steps);
  MeasuredLimits measure_limits();
  /// The same, and sends the results of its outputs to the host, for take_sampled(). At most kernels::kStepsInFlight.
  void launch(const kernels::StepInput& input);
  /// Of the oldest launched step that was not taken yet; waits for it.
  void take_sampled(std::vector<kernels::Sampled>& sampled);
  /// Gives up what was launched and not taken.
  void forget_sampled();
  /// The same for pooled rows (rwkv7::Model::launch_pooled).
  void launch_pooled(const kernels::StepInput& input, const rwkv7::Readout& readout);
  void take_pooled(std::span<float> rows);
  void forget_pooled();
  /// A layer's wkv state. Waits.
  std::vector<float> read_wkv(uint32_t layer, uint32_t slot);
  /// Of the last step; both wait for it.
  std::vector<float> read_logits();
  std::vector<float> read_logits_of(uint32_t output);

  void reset_slot(uint32_t slot);
  /// What sampling is to do from now on; the session's memory of it stays.
  void begin_request(uint32_t slot, const kernels::ControlBlock& block);
  void write_additions(uint32_t slot, std::span<const kernels::LogitAddition> additions);
  State read_state(uint32_t slot);
  /// What the GPU has of a snapshot: the state and what sampling remembers.
  SessionSnapshot read_slot(uint32_t slot, SessionSnapshot used = {});
  void write_slot(uint32_t slot, const SessionSnapshot& snapshot);
  std::vector<float> read_counts(uint32_t slot);
  void write_counts(uint32_t slot, std::span<const float> counts);
  void copy_slot(uint32_t from, uint32_t to);
  void write_mirostat_mu(uint32_t slot, float mu);
  /// Keeps a copy of the slot on the GPU, in place 0 or 1; roll_back() puts it back.
  void checkpoint(uint32_t slot, uint32_t place);
  void roll_back(uint32_t slot, uint32_t place);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ravenwing
