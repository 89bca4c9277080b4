// Steps with a hook (ravenwing/hooks.hpp): their dispatches in pieces, and the callback between them.
#pragma once

#include <vector>

#include "gpu/plan.hpp"
#include "kernels/matmul.hpp"
#include "kernels/time_mix.hpp"
#include "kernels/token_shift.hpp"
#include "model/rwkv7_state.hpp"
#include "model/rwkv7_weights.hpp"
#include "ravenwing/hooks.hpp"

namespace ravenwing::rwkv7 {

/// Rows of a value in GPU memory, [plane, token, stride].
struct HookedRows {
  const gpu::Buffer* buffer = nullptr;
  uint64_t offset = 0;  // bytes
  uint32_t n_values = 0, stride = 0;
  uint32_t n_planes = 1;
  uint64_t plane_bytes = 0;
  bool f16 = false;
};

struct HookPlace {
  HookPoint point{};
  LayerHalf half{};
  uint32_t layer = 0;
};

/// Dispatches `begin` to `end` - 1 of a plan.
struct DispatchRange {
  size_t begin = 0, end = 0;
  bool empty() const { return begin == end; }
};

/// Where a step stops. A value that lies in memory is read there, and written there if the hook changed it. One that a
/// fused kernel keeps for itself is computed `aside` first, from the same inputs, while the step's data stay as they
/// are: where the hook leaves it alone, the step goes on with its own dispatches, in the same bits as without a hook.
/// Else what they give is made of the new value.
struct HookStop {
  HookPlace place;
  HookedRows rows;
  DispatchRange around;  // of the step: those that have the value in their midst; empty: `rows` is in place before them
  DispatchRange aside;   // of HookedPlan::aside
  DispatchRange patch;   // likewise: what comes after the value in `around`, as far as the GPU does it
  HookedRows target;     // else what `around` writes: of layer_norm the mixed inputs, of the halves' outputs x
};

struct HookedPlan {
  gpu::Plan steps, aside;
  std::vector<HookStop> stops;  // in the order in which they come
};

/// Whether what a hook left as it was is written all the same, for tests: it has to be without effect.
enum class HookWrites : uint8_t { changes, all };

/// A hook and what its steps need.
class HookedSteps {
 public:
  HookedSteps(gpu::Device& device, const Config& config, const Weights& weights, StateArenas& states,
              uint32_t tokens_max, Hook hook, HookWrites writes);

  bool wants(HookPoint point, uint32_t layer) const;
  /// Runs a step whose input was written. `undoable`: if anything is thrown and the GPU is there, the states of its
  /// texts are put back.
  void run(const HookedPlan& plan, const kernels::StepInput& input, bool undoable);

  /// What dispatches aside write and read: the value, [tokens_max, act_stride(n_embd)] f32; a layer norm's weight and
  /// bias and no token shift, [3, n_embd]; shift states that nobody needs.
  const gpu::Buffer& value() const { return value_; }
  const gpu::Buffer& norm_vectors() const { return norm_vectors_; }
  const gpu::Buffer& shift_states() const { return shift_states_; }

 private:
  void keep_states();
  void put_back_states();
  /// Returns the dispatch with which the step goes on.
  size_t visit(const HookedPlan& plan, const HookStop& stop);
  void look_aside(const HookedPlan& plan, const HookStop& stop);
  void encode(const gpu::Plan& plan, const DispatchRange& range);
  void copy_wkv(const wgpu::CommandEncoder& encoder, uint32_t layer, bool back);
  void shift_by_hand(const HookStop& stop);
  std::vector<float> read(const HookedRows& rows);
  void write(const HookedRows& rows, std::span<const float> values);
  std::vector<float> read_floats(const gpu::BufferView& view);

  gpu::Device& device_;
  const Config& config_;
  const Weights& weights_;
  StateArenas& states_;
  Hook hook_;
  HookWrites writes_;
  gpu::Buffer value_, norm_vectors_, shift_states_;
  gpu::Buffer wkv_;                // of a layer and a step's texts, while it is computed aside
  std::vector<gpu::Buffer> kept_;  // states before the step, by text
  std::vector<HookRows> texts_;    // of the step
  uint32_t n_tokens_ = 0;          // likewise
  std::vector<float> values_;      // of the point
};

/// Notes where a plan that is being recorded stops. Without a hook: nowhere.
class HookStops {
 public:
  HookStops() = default;
  HookStops(const HookedSteps& steps, HookedPlan& plan, gpu::Recorder& aside)
      : steps_(&steps), plan_(&plan), aside_(&aside) {}

  bool any() const { return steps_ != nullptr; }
  /// A value that now lies in memory.
  void at(const HookPlace& place, const HookedRows& rows);
  /// A value in the midst of what is recorded until after(): the layer norm of a token shift, whose result is `mixed`;
  /// what the time mix reads from its state, [token, n_embd] in op.y; a product that is added to the stream `x`.
  void before(const kernels::Context& context, const HookPlace& place, kernels::TokenShift op, const HookedRows& mixed);
  void before(const kernels::Context& context, const HookPlace& place, kernels::TimeMix op, const HookedRows& y);
  void before(const kernels::Context& context, gpu::UniformArena& uniforms, const HookPlace& place, kernels::MatMul op,
              const HookedRows& x);
  void after();

 private:
  bool wants(const HookPlace& place) const { return any() && steps_->wants(place.point, place.layer); }
  HookStop& add(const HookPlace& place, const HookedRows& rows);
  kernels::Context aside(const kernels::Context& context) const;
  size_t n_aside() const { return plan_->aside.dispatches().size(); }

  const HookedSteps* steps_ = nullptr;
  HookedPlan* plan_ = nullptr;
  gpu::Recorder* aside_ = nullptr;
  bool is_open_ = false;  // the last stop
};

}  // namespace ravenwing::rwkv7
