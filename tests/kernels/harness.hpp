// What every test of a kernel shares: a device per tier, and a scene: guarded memory, a step, and a run that checks all
// that can be checked without knowing the kernel.
#pragma once

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "gpu/uniforms.hpp"
#include "kernels/step.hpp"

namespace ravenwing::test {

/// A device at one tier and what its kernels share: one per tier and program, because shaders compile slowly.
struct Gpu {
  explicit Gpu(gpu::Tier tier, bool f16_sums = false);

  gpu::Device device;
  gpu::PipelineCache pipelines;
  gpu::UniformArena uniforms;

  /// Whether activations are f16.
  bool half() const { return device.tier() != gpu::Tier::t0; }
  std::string name() const {
    return std::string(gpu::name(device.tier())) + (device.matrix_shape().f16_sums ? ", sums in f16" : "");
  }
};

/// T0 and, where the adapter has them, T1 and T2, also with sums in f16, on the adapter that RAVENWING_TEST_DEVICE
/// selects. Empty where there is none; then says so once, or throws if RAVENWING_REQUIRE_GPU is 1.
const std::vector<std::unique_ptr<Gpu>>& gpus();

/// The environment's RAVENWING_TEST_DEVICE, or "".
std::string test_device();
/// Unless the environment's RAVENWING_TEST_UNCHECKED is 1: devices as the released program opens them.
bool validate();

/// The bits of outputs before a run and of the bands around every region: NaN as f32 and as two f16, so that what is
/// read from there is seen in the results.
inline constexpr uint32_t kCanary = 0x7fedfeed;

/// A stretch of GPU memory in a scene.
using Region = size_t;

/// How many tokens, chunks and outputs a plan is made for.
struct PlanSize {
  uint32_t n_tokens = 0, n_chunks = 0, n_outputs = 0;
};

/// Memory for one or more kernels, a step and control blocks. Every region lies between bands of canaries and is bound
/// with the band after it, so that a kernel that leaves its region is caught (WebGPU clamps it to the binding).
class Scene {
 public:
  Scene(Gpu& gpu, uint32_t tokens_max);

  Gpu& gpu() const { return gpu_; }
  kernels::StepInput& step() { return step_; }

  /// Control blocks, slot by slot. Kernels may not write them unless control_written is set.
  std::vector<kernels::ControlBlock> control{1};
  bool control_written = false;

  /// Memory that the kernel only reads.
  Region input(std::span<const std::byte> contents) { return add(contents, false); }
  Region input(std::span<const float> contents) { return input(std::as_bytes(contents)); }
  /// The same as activations of the tier: rows of n values, act_stride(n) apart, the rest zero.
  Region input_acts(std::span<const float> values, uint32_t n);
  /// Memory that it writes, canaries before the run.
  Region output(size_t n_words) { return in_place(std::vector<uint32_t>(n_words, kCanary)); }
  Region output_acts(size_t n) { return output(half() ? (n + 1) / 2 : n); }
  /// Memory that it reads and writes.
  Region in_place(std::span<const uint32_t> contents) { return add(std::as_bytes(contents), true); }
  Region in_place(std::span<const float> contents) { return add(std::as_bytes(contents), true); }
  Region in_place_acts(std::span<const float> values, uint32_t n);

  /// Of a region, in `record` only.
  gpu::BufferView view(Region region) const;

  /// Records dispatches and runs them twice from the same memory. Checks that both runs give the same bits, that inputs
  /// and canaries are as they were, and that WebGPU has nothing to say. The plan is made for `size`, or for the step's
  /// numbers rounded up as the model rounds them.
  void run(const std::function<void(const kernels::Context&)>& record);
  void run(const PlanSize& size, const std::function<void(const kernels::Context&)>& record);

  /// What was recorded, after the run.
  const gpu::Plan& plan() const { return plan_; }
  /// What a region holds after the run.
  std::vector<float> floats(Region region) const { return values<float>(region); }
  std::vector<uint32_t> words(Region region) const { return values<uint32_t>(region); }
  std::vector<float> acts(Region region) const;
  kernels::ControlBlock control_after(uint32_t slot) const;

 private:
  struct Stretch {
    std::vector<std::byte> before, after;
    bool written = false;
    uint64_t offset = 0;
  };

  bool half() const { return gpu_.half(); }
  Region add(std::span<const std::byte> contents, bool written);
  std::vector<std::byte> act_bytes(std::span<const float> values, uint32_t n) const;
  void place();
  std::vector<std::byte> arena_before(bool written) const;
  void check_bands(std::span<const std::byte> arena, bool written) const;

  template <typename T>
  std::vector<T> values(Region region) const {
    const std::vector<std::byte>& bytes = regions_.at(region).after;
    std::vector<T> result(bytes.size() / sizeof(T));
    std::memcpy(result.data(), bytes.data(), result.size() * sizeof(T));
    return result;
  }

  Gpu& gpu_;
  uint32_t tokens_max_;
  kernels::StepInput step_;
  std::vector<Stretch> regions_;
  uint64_t arena_bytes_[2] = {0, 0};  // of what is read, of what is written
  gpu::Buffer arenas_[2];
  Region control_region_ = 0;
  gpu::Plan plan_;
};

/// `value` as the tier stores an activation.
float as_act(const Gpu& gpu, float value);
std::vector<float> as_acts(const Gpu& gpu, std::vector<float> values);

}  // namespace ravenwing::test
