// A plan: the dispatches of a step, made once and encoded again each time it runs.
#pragma once

#include <array>
#include <cstring>
#include <string>
#include <type_traits>
#include <vector>

#include "gpu/shader.hpp"

namespace ravenwing::gpu {

struct Grid {
  uint32_t x = 1, y = 1, z = 1;
};

/// A grid of at least `n` workgroups folded into x and y (65 535 per dimension), times z. A shader takes its index as
/// workgroup_id.x + workgroup_id.y * num_workgroups.x and must leave when it is n or more.
Grid folded_grid(uint64_t n, uint32_t z = 1, uint32_t dimension_max = 65535);

struct Binding {
  BufferView view;
  Access access;
};
inline Binding read(BufferView view) { return {std::move(view), Access::read}; }
inline Binding read_write(BufferView view) { return {std::move(view), Access::read_write}; }
inline Binding uniform(BufferView view) { return {std::move(view), Access::uniform}; }

/// What a dispatch has to do, for profiles: bytes that it must move at least (weights and states; activations where it
/// has neither, each once), and floating-point operations.
struct Work {
  uint64_t bytes = 0, flops = 0;
};

struct Dispatch {
  wgpu::ComputePipeline pipeline;
  wgpu::BindGroup bindings;
  std::array<uint32_t, 16> immediates{};
  uint32_t n_immediates = 0;
  Grid grid;
  std::string label;  // layer and role: "L03.time_mix"; what profiles print
  Work work;
};

void encode(const wgpu::ComputePassEncoder& pass, const Dispatch& dispatch);

/// A flat array of dispatches; running it allocates nothing of ours.
class Plan {
 public:
  void add(Dispatch dispatch) { dispatches_.push_back(std::move(dispatch)); }
  /// What is added from here on can be encoded by itself.
  void begin_section() { sections_.push_back(dispatches_.size()); }
  size_t n_sections() const { return sections_.size(); }

  void encode(const wgpu::ComputePassEncoder& pass) const { encode(pass, 0, dispatches_.size()); }
  void encode_section(const wgpu::ComputePassEncoder& pass, size_t section) const;
  /// Dispatches `begin` to `end` - 1.
  void encode(const wgpu::ComputePassEncoder& pass, size_t begin, size_t end) const;
  /// The same in a pass of their own.
  void encode_pass(const wgpu::CommandEncoder& encoder, size_t begin, size_t end) const;
  void encode_pass(const wgpu::CommandEncoder& encoder) const { encode_pass(encoder, 0, dispatches_.size()); }
  const std::vector<Dispatch>& dispatches() const { return dispatches_; }

 private:
  std::vector<Dispatch> dispatches_;
  std::vector<size_t> sections_;  // index of the first dispatch of each
};

/// Adds dispatches to a plan: pipeline from the cache, bind group made here and now.
class Recorder {
 public:
  Recorder(PipelineCache& cache, Plan& plan) : cache_(cache), plan_(&plan) {}
  /// One that makes no plan, but has the pipelines of one compiled in the background.
  explicit Recorder(PipelineCache& cache) : cache_(cache) {}

  void begin_section() {
    if (plan_ != nullptr) plan_->begin_section();
  }

  /// `variant.bindings` is filled in from `bindings`; `immediates` is a struct of u32 and f32 of at most 64 bytes.
  template <typename Immediates>
  void dispatch(const std::string& label, ShaderVariant variant, const std::vector<Binding>& bindings,
                const Immediates& immediates, Grid grid, Work work = {}) {
    static_assert(std::is_trivially_copyable_v<Immediates> && sizeof(Immediates) <= 64 && sizeof(Immediates) % 4 == 0);
    Dispatch dispatch;
    dispatch.n_immediates = sizeof(Immediates) / 4;
    std::memcpy(dispatch.immediates.data(), &immediates, sizeof(Immediates));
    dispatch.grid = grid;
    dispatch.label = label;
    dispatch.work = work;
    add(std::move(dispatch), std::move(variant), bindings);
  }

  Device& device() const { return cache_.device(); }

 private:
  void add(Dispatch dispatch, ShaderVariant variant, const std::vector<Binding>& bindings);

  PipelineCache& cache_;
  Plan* plan_ = nullptr;
};

}  // namespace ravenwing::gpu
