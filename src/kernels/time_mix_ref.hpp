// The CPU oracle of the time mix's recurrence.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace ravenwing::kernels {

/// The tokens of one sequence. All of r to v_first are [token, n_embd].
struct TimeMixInput {
  uint32_t n_embd = 0, head_size = 0;
  float epsilon = 0;  // of the group norm
  std::span<const float> r, k, v;
  std::span<const float> w, a, v_up, g;  // results of W2, A2, V2, G2
  std::span<const float> v_first;        // empty: this is the first layer
  std::span<const float> vectors;        // w0 a0 v0 k_k k_a r_k ln_x_weight ln_x_bias: [8, n_embd]
};

/// Advances the state [n_head, head_size (value), head_size (key)]; gives gated [token, n_embd]. The formulas are those
/// of RWKV-LM, rwkv_v7_numpy.py.
std::vector<double> time_mix_ref(const TimeMixInput& in, std::span<double> wkv_state);

/// What StateStorage::f16 makes of a state's values at the end of a chunk: the nearest, at most 65504 in size; NaN and
/// infinity stay.
void round_states_to_f16(std::span<double> wkv_state);
void round_states_to_f16(std::span<float> wkv_state);

}  // namespace ravenwing::kernels
