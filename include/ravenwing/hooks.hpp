// Looking into a layer: a callback that reads or replaces activations, for research and for tests. docs/hooks.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#pragma GCC visibility push(default)  // what the shared library shows
namespace ravenwing {

/// Values of a layer, in the order in which a step computes them. The names are those of docs/model.md and RWKV-LM.
/// Each has n_embd values a token but for the time mix's token_shift.
enum class HookPoint : uint8_t {
  /// xx, the normalised input of a half: twice a layer, of ln1 and ln2. The shift state and the next token's shift take
  /// what the hook leaves.
  layer_norm,
  /// What a token sees of itself and of the token before it, also twice: in the time mix xr xw xk xv xa xg, one after
  /// another (6 n_embd values), in the channel mix xk.
  token_shift,
  r,            // receptance · xr
  k,            // key · xk, before k_k, k_a and the norm of kk
  v,            // value · xv, before it is drawn towards v_first; in layer 0 it is v_first
  w,            // w2 · tanh(w1 · xw): before w0 is added and before exp(-exp(-0.5) sigmoid(...))
  a,            // a2 · (a1 · xa): before a0 is added and before the sigmoid
  g,            // g2 · sigmoid(g1 · xg): the gate as it is multiplied with
  wkv,          // S r, what is read from memory: before group_norm (ln_x) and the bonus of r_k
  gate,         // (group_norm(S r) + bonus) * g: the input of `output`
  time_mix,     // output · gate: what the time mix adds to the residual stream x
  channel_mix,  // ffn.value · relu(ffn.key · xk)²: what the channel mix adds to x
  out,          // x after the layer
};
inline constexpr size_t kHookPointCount = 13;
std::string_view name(HookPoint point);

/// layer_norm and token_shift come once in each half of a layer.
enum class LayerHalf : uint8_t { time_mix, channel_mix };

/// Tokens of one text among those of a step: the rows `first` to `first + count` - 1.
struct HookRows {
  uint32_t session = 0;  // Session::id(); of texts that are embedded, that of a free session
  uint32_t first = 0, count = 0;
};

/// One value of a layer, for all tokens of a step.
struct HookCall {
  HookPoint point{};
  LayerHalf half{};
  uint32_t layer = 0;
  uint32_t n_tokens = 0, n_values = 0;
  std::span<const HookRows> rows;  // the texts of the step, in the order of their tokens
  /// [n_tokens, n_values], in float whatever the GPU has. What the call leaves here is what the step goes on with.
  /// Where activations are f16 (tiers T1 and T2), all but layer_norm, wkv, time_mix, channel_mix and out come rounded
  /// to it, and what is written is rounded to the nearest f16; beyond 65 504 that is infinite.
  std::span<float> values;

  std::span<float> row(uint32_t token) const { return values.subspan(size_t(token) * n_values, n_values); }
};

/// What is called, and where. Only the points and layers named are read back.
struct Hook {
  std::function<void(const HookCall& call)> call{};
  std::vector<HookPoint> points{};  // none: all
  std::vector<uint32_t> layers{};   // none: all
};

}  // namespace ravenwing
#pragma GCC visibility pop
