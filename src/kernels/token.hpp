// All layers of one token in one dispatch, or in one for each of their stages.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "gpu/uniforms.hpp"
#include "kernels/activation.hpp"
#include "kernels/step.hpp"
#include "kernels/weight_layout.hpp"

namespace ravenwing::kernels {

/// How steps of one token run: through the kernels of all steps; stage by stage; all stages in one dispatch, whose
/// workgroups wait for each other.
enum class TokenUse : uint8_t { none, stages, whole };

/// What a stage does with its input before its products.
enum class TokenInput : uint32_t { plain = 0, normed = 1, time_mix = 2 };

/// Where the elements of a product go: activations, in pairs from a word of the shared buffer on; the residual stream,
/// added; logits.
enum class TokenOutput : uint32_t { act = 0, residual = 1, logits = 2 };

/// One matrix of a stage.
struct TokenProduct {
  MatrixView weights;
  uint32_t mix = 0;  // by which of the stage's x_m its input is mixed
  TokenOutput to = TokenOutput::act;
  uint32_t output = 0;  // word, or row
  Activation activation = Activation::none;
  float scale = 1;  // of what is added to the residual stream
};

/// Stages run one after another; each reads what those before it wrote.
struct TokenStage {
  std::string label;
  TokenInput input = TokenInput::plain;
  uint32_t n_in = 0;
  uint32_t input_word = 0;                    // of a plain input: pairs from this word of the shared buffer on
  gpu::BufferView vectors;                    // normed: weight, bias, x_m...; those of the time mix
  std::optional<gpu::BufferView> shift;       // state of the token shift, in the buffer TokenModel::shifts
  std::optional<gpu::BufferView> kept_shift;  // of the stage before this one, which now writes it
  gpu::BufferView wkv;                        // of the time mix, in the buffer TokenModel::wkv
  bool first_layer = false;
  std::array<MatrixView, 4> up{};  // of w a v g, f16; v: none in the first layer
  std::array<uint32_t, 4> lows{};  // words of their inputs
  std::vector<TokenProduct> products;
};

/// Words of the shared buffer, after the residual streams that it begins with. Pairs of f16 but for v_first and kept.
struct TokenLayout {
  TokenLayout(uint64_t begin, uint32_t n_embd, uint32_t n_ffn, const std::array<uint32_t, 4>& ranks);
  uint32_t arrived, r_k_v, v_first, kept, gated, hidden;
  std::array<uint32_t, 4> lows;
  uint64_t end;
};

struct TokenModel {
  uint32_t n_embd = 0, n_ffn = 0, head_size = 0;
  float norm_epsilon = 0, group_norm_epsilon = 0;
  StateStorage storage = StateStorage::f32;  // of the wkv states
  gpu::BufferView shared, shifts, logits;
  TokenLayout layout;
  std::vector<TokenStage> stages;
};

/// Whether what workgroups store is there before they are counted as arrived, though WGSL promises nothing
/// (grid_barrier.wgsl): where that has been tried, billions of words without one that came late
/// (tests/kernels/grid_barrier_test.cpp). Making sure costs 6 % of the tokens.
bool stores_come_first(const DeviceInfo& device);

/// The kernel with its table of who does what.
class TokenKernel {
 public:
  /// Words of the shared buffer, from TokenLayout::arrived on.
  struct Counters {
    uint32_t arrived = 0, stalled = 0, left = 0, residents = 0;
  };

  /// None where the device or the model is not made for it: tier T0, subgroups of less than 8, matrices in parts, rows
  /// that are no whole spans of 64 weights, low-rank matrices that are not f16, fewer workgroups than a stage has
  /// products.
  static std::optional<TokenKernel> make(gpu::Device& device, TokenModel model, uint32_t n_workgroups);

  /// Stages begin to end. `whole`: in one dispatch, or one for each stretch of weights that a binding holds, which
  /// needs all workgroups to run at a time.
  void record(const Context& context, size_t begin, size_t end, bool whole) const;
  /// How many workgroups of this kernel the device runs at a time, by trying. Waits.
  uint32_t count_residents(gpu::PipelineCache& pipelines, const Context& context) const;
  /// Whether workgroups of a whole dispatch gave up waiting since this was last asked: its logits have NaN among them
  /// then, and what it leaves behind is useless. Waits.
  bool take_stalled(gpu::Device& device) const;
  /// The same for another number of workgroups.
  std::optional<TokenKernel> with(gpu::Device& device, uint32_t n_workgroups) const {
    return make(device, model_, n_workgroups);
  }
  uint32_t n_workgroups() const { return n_workgroups_; }
  size_t n_stages() const { return model_.stages.size(); }

 private:
  /// Stages from `begin` to the next group's, whose weights and wkv states fit a binding each.
  struct Group {
    size_t begin;
    gpu::BufferView weights, wkv;
  };
  /// None where a stage does not fit.
  static std::vector<Group> groups_of(const TokenModel& model, const DeviceLimits& limits);
  const Group& group_of(size_t stage) const;

  TokenKernel(gpu::Device& device, TokenModel model, uint32_t n_workgroups);
  gpu::ShaderVariant variant(const Context& context) const;
  /// Reads and clears them. Waits.
  Counters take_counters(gpu::Device& device) const;
  void dispatch(const Context& context, size_t begin, size_t end, bool census, gpu::Grid grid) const;

  TokenModel model_;
  uint32_t n_workgroups_;
  uint32_t lanes_;
  std::vector<WeightFormat> formats_;
  std::vector<Group> groups_;
  gpu::Buffer table_;
};

}  // namespace ravenwing::kernels
