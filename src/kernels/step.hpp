// What every kernel's host function is given.
#pragma once

#include "gpu/plan.hpp"
#include "kernels/step_input.hpp"
#include "ravenwing/state_storage.hpp"

namespace ravenwing::kernels {

struct Tuning;

/// The buffers that every kernel of a step reads.
struct StepBuffers {
  gpu::BufferView step;     // StepInput::bytes(tokens_max)
  gpu::BufferView control;  // [slot] ControlBlock
  uint32_t tokens_max = 0;
};

/// What every kernel's host function needs: where to record, and the size of the plan: the kernels themselves read the
/// true numbers of tokens, chunks and outputs, at most these, from the step's input.
struct Context {
  gpu::Recorder& recorder;
  StepBuffers buffers;
  uint32_t n_tokens = 0, n_chunks = 0, n_outputs = 0;
  const Tuning* tuning = nullptr;  // null: the built-in choices (kernels/tuning.hpp)

  gpu::Tier tier() const { return recorder.device().tier(); }
  /// Bytes of one activation.
  uint32_t act_bytes() const { return tier() == gpu::Tier::t0 ? 4 : 2; }
  /// A variant with the modules of the device's tier.
  gpu::ShaderVariant variant(std::string_view shader) const;
  /// The same for a shader that reduces over a workgroup.
  gpu::ShaderVariant reducing_variant(std::string_view shader, uint32_t workgroup_size) const;
  /// Of that, one whose workgroups keep rows of n_items in registers, EACH of them an invocation.
  gpu::ShaderVariant row_variant(std::string_view shader, uint32_t n_items) const;
};

/// The module of shaders that read and write wkv states: role and file.
std::pair<std::string_view, std::string_view> stored_module(StateStorage storage);

/// Elements from one row of activations to the next: whole octets, the rest zero.
constexpr uint32_t act_stride(uint32_t n) { return (n + 7) / 8 * 8; }

}  // namespace ravenwing::kernels
