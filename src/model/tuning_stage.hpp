// A device of a tuner's own, and the memory that a kernel is tried on.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "gpu/adapters.hpp"
#include "gpu/uniforms.hpp"
#include "model/tuning.hpp"

namespace ravenwing {

/// Texts of a step, and the tokens of each.
struct TrialStep {
  uint32_t n_texts = 1, n_tokens = 1;
};

/// Something that can be computed in several ways. Goes with its memory.
struct Trial {
  struct Output {
    gpu::BufferView view;
    bool is_f32 = false;  // else f16
  };
  std::vector<gpu::Buffer> memory;
  std::vector<Output> outputs;                         // what a kernel must get right, zero before
  uint32_t n_copies = 1;                               // of what must not lie in a cache
  uint32_t n_tokens = 1, n_chunks = 1, n_outputs = 1;  // that plans are made for
  std::vector<TrialStep> steps;                        // that are timed
  /// The reference is the kernel of exact mode.
  std::function<void(const kernels::Context&, uint32_t copy, bool is_reference)> record;
};

/// Whether numbers are those of the reference, up to what rounding does; "" or what is wrong.
std::string compare_results(std::span<const float> found, std::span<const float> expected);

class TuningStage {
 public:
  explicit TuningStage(std::unique_ptr<gpu::Device> device);

  gpu::Device& device() { return device_; }

  /// Throws Error{unsupported, out_of_memory} where the device has no room.
  Trial trial_of(const TuningJob& job);
  /// Compiles. Throws gpu::CompileError.
  gpu::Plan plan_of(const Trial& trial, const kernels::Tuning& tuning);
  /// The outputs of the trial's last step, [output][element], computed once from where it begins.
  std::vector<std::vector<float>> results_of(const Trial& trial, const kernels::Tuning& tuning, bool is_reference);
  /// Seconds for a plan, `n_repeats` times one after another.
  double time(const Trial& trial, const gpu::Plan& plan, const TrialStep& step, uint32_t n_repeats);

 private:
  Trial product_trial(const TunedProduct& product, uint32_t n_columns);
  Trial time_mix_trial(const kernels::TimeMixKey& key);
  gpu::Plan record(const Trial& trial, const kernels::Tuning& tuning, uint32_t n_copies, bool is_reference);
  void write_step(const Trial& trial, const TrialStep& step);
  gpu::Buffer make(const std::string& label, uint64_t bytes);
  /// Full of numbers that repeat, around `offset`.
  gpu::Buffer make_numbers(const std::string& label, uint64_t bytes, bool is_f32, float scale, float offset = 0);
  gpu::Buffer make_weights(const TunedProduct& product, uint64_t stride, uint32_t n_copies);
  void spread(std::span<const std::byte> pattern, const gpu::Buffer& to, uint64_t begin, uint64_t end);
  uint32_t copies_of(uint64_t bytes) const;
  uint32_t act_bytes() const { return device_.tier() == gpu::Tier::t0 ? 4 : 2; }

  std::unique_ptr<gpu::Device> owned_;
  gpu::Device& device_;
  gpu::PipelineCache pipelines_;
  gpu::UniformArena uniforms_;
  gpu::Buffer step_, control_;
  uint64_t random_ = 1;
};

}  // namespace ravenwing
