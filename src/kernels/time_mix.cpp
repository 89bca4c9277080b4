// src/kernels/time_mix.cpp
#include "kernels/time_mix.hpp"

#include <algorithm>
#include <bit>

#include "base/bytes.hpp"
#include "kernels/tuning.hpp"

namespace ravenwing::kernels {
namespace {

constexpr uint32_t kBlockMax = 16;
constexpr uint32_t kSharesMax = 4;
constexpr uint32_t kTokenSharesMax = 16;
// Of the form `pairs`: neighbours to two rows; rows of a workgroup, and where there are so many heads of chunks; tokens
// that are prepared at a time, as there is room: the shader takes eight of them without a branch.
constexpr uint32_t kPairsShares = 8, kPairsRows = 32, kPairsRowsMany = 64, kPairsHeadsMany = 256;
constexpr uint32_t kPairsBlocks[] = {16, 8};
// Tokens a chunk up to which the form `tokens` is the fastest, and from which `wy` and `pairs` are (H200).
constexpr uint32_t kTokensFew = 4, kTokensMany = 32;
constexpr uint32_t kNormTokens = 16;      // of a workgroup
constexpr uint64_t kFlopsPerElement = 9;  // of the state and token: S kk, the update, S r

/// Tokens whose inputs a workgroup has room for: r w k kk kk*a v y of each channel, sums of each quad.
uint32_t block_tokens(const Context& context, uint32_t head_size) {
  const uint32_t token_bytes = head_size * 7 * 4 + head_size / 4 * 8 + 8;
  const uint32_t room = context.recorder.device().limits().workgroup_storage_bytes_max;
  return std::bit_floor(std::clamp(room / token_bytes, 1u, std::min(kBlockMax, head_size)));
}

/// The largest power of two of neighbours that each have a part of a row of `quads`, at most `most`.
uint32_t neighbours(const Context& context, uint32_t quads, uint32_t most) {
  if (context.tier() == gpu::Tier::t0) return 1;
  uint32_t result = std::min(most, std::bit_floor(context.recorder.device().info().subgroup_size_min));
  while (quads % result != 0) result /= 2;
  return result;
}

/// What a workgroup of the form `pairs` takes of a head.
struct PairsShape {
  uint32_t rows = kPairsRows;  // of the state
  uint32_t block = 0;          // tokens prepared at a time; 0: the device has no room for them
};

PairsShape pairs_shape(const gpu::Device& device, uint32_t n_embd, uint32_t head_size, uint32_t n_chunks) {
  PairsShape shape;
  // Few rows fill the GPU when there are few heads; each workgroup prepares the same keys anew, so that many are
  // cheaper when there are many.
  if (head_size % kPairsRowsMany == 0 && n_chunks * (n_embd / head_size) >= kPairsHeadsMany)
    shape.rows = kPairsRowsMany;
  const uint32_t room = device.limits().workgroup_storage_bytes_max;
  for (const uint32_t block : kPairsBlocks) {
    // Of two blocks nine vectors and ten numbers a pair, v of each token.
    if (shape.block == 0 && 4 * block * (9 * head_size + 10 + 2 * shape.rows) <= room) shape.block = block;
  }
  return shape;
}

PairsShape pairs_shape(const Context& context, const TimeMix& op) {
  return pairs_shape(context.recorder.device(), op.n_embd, op.head_size, context.n_chunks);
}

/// Of the form `wy`: rows of a workgroup, what it keeps of a block of a head, and its workgroup memory (wy.wgsl).
constexpr uint32_t kWyRows = 32, kWyHeadSize = 64, kWySubgroup = 32;
constexpr uint64_t kWyRecordBytes = (5 * kWyBlock * kWyHeadSize + kWyBlock * kWyBlock) * 2 + kWyHeadSize * 4;
constexpr uint32_t kWyWorkgroupBytes = 37 * 1024;

uint64_t block_bytes(uint32_t n_embd, uint32_t n_tokens, uint32_t n_chunks) {
  return (n_tokens / kWyBlock + n_chunks) * (n_embd / kWyHeadSize) * kWyRecordBytes;
}

bool has_form(const Context& context, const TimeMix& op, TimeMixForm form) {
  if (form == TimeMixForm::wy && block_bytes(op.n_embd, context.n_tokens, context.n_chunks) > op.blocks.size)
    return false;
  return has_time_mix_form(context.recorder.device(), form, op.n_embd, op.head_size, context.n_chunks);
}

/// What was measured to be fastest, where nothing else is asked for.
const TimeMixChoice* tuned_choice(const Context& context, const TimeMix& op) {
  if (context.tuning == nullptr || op.exact || op.form || op.shares) return nullptr;
  const TimeMixChoice* choice = context.tuning->find(op, context.n_chunks, context.n_tokens);
  return choice != nullptr && has_form(context, op, choice->form) ? choice : nullptr;
}

TimeMixForm form_of_whole(const Context& context, const TimeMix& op) {
  if (op.form) {
    RAVENWING_CHECK(has_form(context, op, *op.form));
    return *op.form;
  }
  if (const TimeMixChoice* tuned = tuned_choice(context, op)) return tuned->form;
  // Software compiles each shader for seconds.
  if (op.exact || context.recorder.device().info().software) return TimeMixForm::blocks;
  TimeMixForm form = TimeMixForm::blocks;
  if (context.n_tokens <= kTokensFew * context.n_chunks)
    form = TimeMixForm::tokens;
  else if (context.n_tokens >= kTokensMany * context.n_chunks)
    form = has_form(context, op, TimeMixForm::wy) ? TimeMixForm::wy : TimeMixForm::pairs;
  return has_form(context, op, form) ? form : TimeMixForm::blocks;
}

TimeMixForm form_of(const Context& context, const TimeMix& op) {
  const TimeMixForm form = form_of_whole(context, op);
  return op.part != TimeMixPart::whole && form == TimeMixForm::tokens ? TimeMixForm::blocks : form;
}

gpu::ShaderVariant blocks_variant(const Context& context, const TimeMix& op) {
  gpu::ShaderVariant variant = context.variant("time_mix");
  variant.modules.push_back(stored_module(op.storage));
  variant.constants.emplace_back("HEAD_SIZE", op.head_size);
  variant.constants.emplace_back("BLOCK", block_tokens(context, op.head_size));
  variant.constants.emplace_back("QUADS", op.head_size / 4);
  const TimeMixChoice* tuned = tuned_choice(context, op);
  const uint32_t shares =
      tuned ? tuned->shares : op.shares.value_or(time_mix_shares(context.recorder.device(), op.head_size));
  variant.modules.emplace_back("state", shares > 0 ? "state_registers" : "state_loops");
  variant.modules.emplace_back("share", shares > 1 ? "share_subgroup" : "share_alone");
  variant.modules.emplace_back("finish", op.part == TimeMixPart::whole ? "finish_gated" : "finish_y");
  if (shares > 0) {
    variant.constants.emplace_back("SHARES", shares);
    variant.constants.emplace_back("STATE_QUADS", op.head_size / 4 / shares);
  }
  return variant;
}

/// A variant whose invocations share the rows of a head, `most` or fewer of them.
gpu::ShaderVariant sharing_variant(const Context& context, const TimeMix& op, std::string_view shader, uint32_t most) {
  const uint32_t quads = op.head_size / 4, shares = neighbours(context, quads, most);
  gpu::ShaderVariant variant = context.variant(shader);
  variant.constants.insert(
      variant.constants.end(),
      {{"HEAD_SIZE", op.head_size}, {"QUADS", quads}, {"SHARES", shares}, {"QUADS_EACH", quads / shares}});
  return variant;
}

gpu::ShaderVariant tokens_variant(const Context& context, const TimeMix& op) {
  const uint32_t room = context.recorder.device().limits().invocations_per_workgroup_max;
  const uint32_t most = std::min(kTokenSharesMax, room / (op.head_size / 4));
  gpu::ShaderVariant variant = sharing_variant(context, op, "time_mix_token", most);
  variant.modules.push_back(stored_module(op.storage));
  return variant;
}

gpu::ShaderVariant pairs_variant(const Context& context, const TimeMix& op) {
  gpu::ShaderVariant variant = sharing_variant(context, op, "time_mix_pairs", kPairsShares);
  variant.modules.push_back(stored_module(op.storage));
  const PairsShape shape = pairs_shape(context, op);
  variant.constants.insert(variant.constants.end(),
                           {{"ROWS", shape.rows}, {"BLOCK", shape.block}, {"PAIRS", shape.block / 2}});
  return variant;
}

gpu::ShaderVariant norm_variant(const Context& context, const TimeMix& op) {
  gpu::ShaderVariant variant = sharing_variant(context, op, "time_mix_norm", kPairsShares);
  const bool alone = context.tier() == gpu::Tier::t0;
  variant.modules.emplace_back("share", alone ? "share_alone" : "share_subgroup");
  variant.constants.emplace_back("TOKENS", kNormTokens);
  return variant;
}

gpu::ShaderVariant wy_variant(const Context& context, const TimeMix& op) {
  gpu::ShaderVariant variant = context.variant("time_mix_wy");
  variant.modules.push_back(stored_module(op.storage));
  variant.constants.emplace_back("STATE_BINDING", 4);
  return variant;
}

}  // namespace

uint64_t time_mix_block_bytes(const gpu::Device& device, uint32_t n_embd, uint32_t head_size, uint32_t tokens_max) {
  if (!has_time_mix_form(device, TimeMixForm::wy, n_embd, head_size, 1)) return 0;
  return block_bytes(n_embd, tokens_max, std::max(tokens_max / (2 * kWyBlock), 1u));
}

bool has_time_mix_form(const gpu::Device& device, TimeMixForm form, uint32_t n_embd, uint32_t head_size,
                       uint32_t n_chunks) {
  if (form == TimeMixForm::blocks) return true;
  if (device.tier() == gpu::Tier::t0) return false;
  if (form == TimeMixForm::tokens) return true;
  if (form == TimeMixForm::wy)
    return device.tier() == gpu::Tier::t2 && device.matrix_shape() == gpu::MatrixShape{16, 16, 16, false} &&
           head_size == kWyHeadSize && device.info().subgroup_size_min == kWySubgroup &&
           device.info().subgroup_size_max == kWySubgroup &&
           device.limits().workgroup_storage_bytes_max >= kWyWorkgroupBytes;
  return head_size % kPairsRows == 0 && device.info().subgroup_size_min >= kPairsShares &&
         pairs_shape(device, n_embd, head_size, n_chunks).block > 0;
}

uint32_t time_mix_shares(const gpu::Device& gpu, uint32_t head_size) {
  const DeviceInfo& device = gpu.info();
  if (device.software) return 0;
  if (gpu.tier() == gpu::Tier::t0) return 1;
  // A state of 64 x 64 is too little work for 64 invocations that wait for each other's sums.
  uint32_t shares = kSharesMax;
  while (shares > 1 && (head_size * shares > device.limits.invocations_per_workgroup_max ||
                        head_size / 4 % shares != 0 || shares > device.subgroup_size_min))
    shares /= 2;
  return shares;
}

void time_mix(const Context& context, const TimeMix& op) {
  struct Immediates {
    uint32_t n_embd, stride, first_layer;
    float epsilon;
  };
  const uint64_t state_size = uint64_t(op.n_embd) * op.head_size;
  const uint32_t n_head = op.n_embd / op.head_size;
  const gpu::Work work{2 * value_bytes(op.storage) * state_size * context.n_chunks,
                       kFlopsPerElement * state_size * context.n_tokens};
  const Immediates immediates{op.n_embd, act_stride(op.n_embd), op.first_layer, op.epsilon};
  const auto dispatch = [&](const std::string& label, const gpu::ShaderVariant& variant,
                            const std::vector<gpu::Binding>& others, gpu::Grid grid, gpu::Work its_work) {
    std::vector<gpu::Binding> bindings = {gpu::read(context.buffers.step),
                                          gpu::read(context.buffers.control),
                                          gpu::read(op.r_k_v),
                                          gpu::read(op.up),
                                          gpu::read_write(op.v_first),
                                          gpu::read(op.vectors)};
    bindings.insert(bindings.end(), others.begin(), others.end());
    context.recorder.dispatch(label, variant, bindings, immediates, grid, its_work);
  };
  const gpu::Grid norm_grid{n_head, uint32_t(divide_up(context.n_tokens, kNormTokens))};
  const gpu::Binding state = gpu::read_write(op.wkv_state), gated = gpu::read_write(op.gated),
                     y = gpu::read_write(op.y);
  const auto norm = [&] { dispatch(op.label + ".norm", norm_variant(context, op), {y, gated}, norm_grid, {}); };
  const bool whole = op.part == TimeMixPart::whole;
  if (op.part == TimeMixPart::norm) return norm();
  switch (form_of(context, op)) {
    case TimeMixForm::blocks:
      return dispatch(op.label, blocks_variant(context, op), {state, whole ? gated : y}, {n_head, context.n_chunks},
                      work);
    case TimeMixForm::tokens:
      return dispatch(op.label, tokens_variant(context, op), {state, gated}, {n_head, context.n_chunks}, work);
    case TimeMixForm::pairs: {
      const uint32_t parts = op.head_size / pairs_shape(context, op).rows;
      dispatch(op.label, pairs_variant(context, op), {state, y}, {n_head * parts, context.n_chunks}, work);
      if (whole) norm();
      return;
    }
    case TimeMixForm::wy: {
      dispatch(op.label + ".prepare", context.variant("time_mix_wy_prepare"), {gpu::read_write(op.blocks)},
               {n_head, context.n_chunks, uint32_t(divide_up(context.n_tokens, kWyBlock))}, {});
      context.recorder.dispatch(
          op.label, wy_variant(context, op),
          {gpu::read(context.buffers.step), gpu::read(context.buffers.control), gpu::read(op.blocks), y, state},
          op.n_embd, {op.n_embd / kWyRows, context.n_chunks}, work);
      if (whole) norm();
      return;
    }
  }
}

}  // namespace ravenwing::kernels
