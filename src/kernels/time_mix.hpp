// The recurrence of the time mix per head: decay, removal and replacement keys, state, group norm, bonus, gate.
#pragma once

#include <optional>

#include "kernels/step.hpp"

namespace ravenwing::kernels {

/// How the recurrence is computed; each has a shader of its own.
enum class TimeMixForm : uint8_t {
  blocks,  // token by token, blocks of them prepared together: the same bits however a text is cut into chunks
  tokens,  // the whole state in flight at once, for chunks of few tokens; T1
  pairs,   // two tokens at a time, rows of a head apart, then the group norm in a dispatch of its own; T1,
           // subgroups of 8 and more, heads of a multiple of 32 channels
  wy,      // kWyBlock tokens at a time on subgroup matrices: first what does not depend on the state, for all blocks,
           // then the rows of a head apart, then the group norm; T2 with matrices of 16 x 16 x 16, heads of 64 channels
};

/// What of it is computed: hooks look between the two parts.
enum class TimeMixPart : uint8_t {
  whole,
  read_out,  // states advance, S r is left in TimeMix::y; in the form `blocks` where the device would take `tokens`
  norm,      // from TimeMix::y on: group norm, bonus, gate
};

/// Tokens that the form `wy` takes at a time.
inline constexpr uint32_t kWyBlock = 16;

/// Channels of a head at most.
inline constexpr uint32_t kHeadSizeMax = 128;

struct TimeMix {
  std::string label;
  uint32_t n_embd = 0;
  uint32_t head_size = 0;  // a multiple of 4, at most kHeadSizeMax
  bool first_layer = false;
  float epsilon = 0;                         // of the group norm
  gpu::BufferView r_k_v;                     // [3, tokens_max, act_stride(n_embd)] Act
  gpu::BufferView up;                        // results of W2, A2, V2, G2: [4, tokens_max, act_stride(n_embd)] Act
  gpu::BufferView v_first;                   // [tokens_max, act_stride(n_embd)] Act; written by the first layer
  gpu::BufferView vectors;                   // w0 a0 v0 k_k k_a r_k ln_x_weight ln_x_bias: [8, n_embd] f32
  gpu::BufferView wkv_state;                 // [slot, n_head, head_size (value), head_size (key)], updated in place
  StateStorage storage = StateStorage::f32;  // of wkv_state
  gpu::BufferView gated;                     // [tokens_max, act_stride(n_embd)] Act
  gpu::BufferView y;                         // [tokens_max, n_embd] f32, scratch of `pairs` and `wy`; of parts S r
  gpu::BufferView blocks;  // time_mix_block_bytes(), scratch of the form `wy`; smaller: it is not taken
  bool exact = false;      // the form `blocks`, always
  /// None: by the device and the plan's size.
  std::optional<TimeMixForm> form;
  /// Invocations for a row of a head's state in the form `blocks`, 1, 2 or 4 (more than one: T1); 0: one, in loops that
  /// stay loops, for software. None: by the device.
  std::optional<uint32_t> shares;
  TimeMixPart part = TimeMixPart::whole;
};

/// S <- S diag(w) - (S kk)(kk a)^T + v k^T;  gated = (group_norm(S r) + (sum r k r_k) v) g. Source: RWKV-LM,
/// rwkv_v7_numpy.py. Moves 8 n_embd head_size bytes of state per chunk, half of that in f16.
void time_mix(const Context& context, const TimeMix& op);

/// Bytes of TimeMix::blocks that the form `wy` needs where tokens come in chunks of at least 2 kWyBlock on average; 0
/// where the device does not have it.
uint64_t time_mix_block_bytes(const gpu::Device& device, uint32_t n_embd, uint32_t head_size, uint32_t tokens_max);

/// Whether a device can compute heads of a size in a form, in steps of so many chunks.
bool has_time_mix_form(const gpu::Device& device, TimeMixForm form, uint32_t n_embd, uint32_t head_size,
                       uint32_t n_chunks);
/// The most invocations for a row of the form `blocks`: each power of two up to it will do, it itself is taken where
/// nothing else is asked for. 0: software, which has only that.
uint32_t time_mix_shares(const gpu::Device& device, uint32_t head_size);

}  // namespace ravenwing::kernels
