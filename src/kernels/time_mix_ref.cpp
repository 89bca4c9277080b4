// src/kernels/time_mix_ref.cpp: head by head, token by token.
#include "kernels/time_mix_ref.hpp"

#include <algorithm>
#include <cmath>

#include "base/error.hpp"
#include "base/half.hpp"

namespace ravenwing::kernels {
namespace {

constexpr double kKeyNormEpsilon = 1e-12;

double sigmoid(double value) { return 1 / (1 + std::exp(-value)); }

/// One head at one token, all [head_size].
struct Head {
  std::vector<double> r, w, k, v, kk, a, bonus;
};

Head head_at(const TimeMixInput& in, size_t token, size_t channel_first) {
  const size_t n = in.head_size;
  Head head{std::vector<double>(n), std::vector<double>(n), std::vector<double>(n), std::vector<double>(n),
            std::vector<double>(n), std::vector<double>(n), std::vector<double>(n)};
  double squares = 0;
  for (size_t j = 0; j < n; ++j) {
    const size_t channel = channel_first + j;
    const size_t at = token * in.n_embd + channel;
    const auto vector = [&](size_t index) { return double(in.vectors[index * in.n_embd + channel]); };
    head.r[j] = in.r[at];
    head.w[j] = std::exp(-std::exp(-0.5) * sigmoid(vector(0) + in.w[at]));
    head.a[j] = sigmoid(vector(1) + in.a[at]);
    head.v[j] = in.v[at];
    if (!in.v_first.empty()) head.v[j] += (double(in.v_first[at]) - in.v[at]) * sigmoid(vector(2) + in.v_up[at]);
    head.kk[j] = in.k[at] * vector(3);
    head.k[j] = in.k[at] * (1 + (head.a[j] - 1) * vector(4));
    head.bonus[j] = head.r[j] * head.k[j] * vector(5);
    squares += head.kk[j] * head.kk[j];
  }
  for (double& value : head.kk) value /= std::max(std::sqrt(squares), kKeyNormEpsilon);
  return head;
}

/// S <- S diag(w) - (S kk)(kk a)^T + v k^T; gives S r.
std::vector<double> advance(const Head& head, std::span<double> state) {
  const size_t n = head.r.size();
  std::vector<double> y(n);
  for (size_t i = 0; i < n; ++i) {
    double* row = &state[i * n];
    double removed = 0;
    for (size_t j = 0; j < n; ++j) removed += row[j] * head.kk[j];
    for (size_t j = 0; j < n; ++j) {
      row[j] = row[j] * head.w[j] - removed * head.kk[j] * head.a[j] + head.v[i] * head.k[j];
      y[i] += row[j] * head.r[j];
    }
  }
  return y;
}

}  // namespace

std::vector<double> time_mix_ref(const TimeMixInput& in, std::span<double> wkv_state) {
  const size_t n = in.head_size, n_tokens = in.r.size() / in.n_embd;
  RAVENWING_CHECK(in.n_embd % n == 0 && wkv_state.size() == size_t(in.n_embd) * n &&
                  in.vectors.size() == 8 * size_t(in.n_embd));
  std::vector<double> gated(in.r.size());
  for (size_t token = 0; token < n_tokens; ++token) {
    for (size_t first = 0; first < in.n_embd; first += n) {
      const Head head = head_at(in, token, first);
      const std::vector<double> y = advance(head, wkv_state.subspan(first * n, n * n));
      double mean = 0, variance = 0, bonus = 0;
      for (const double value : y) mean += value / double(n);
      for (const double value : y) variance += (value - mean) * (value - mean) / double(n);
      for (const double value : head.bonus) bonus += value;
      for (size_t i = 0; i < n; ++i) {
        const size_t channel = first + i;
        const double normed =
            (y[i] - mean) / std::sqrt(variance + double(in.epsilon)) * in.vectors[6 * in.n_embd + channel] +
            in.vectors[7 * in.n_embd + channel];
        gated[token * in.n_embd + channel] = (normed + bonus * head.v[i]) * in.g[token * in.n_embd + channel];
      }
    }
  }
  return gated;
}

void round_states_to_f16(std::span<double> wkv_state) {
  for (double& value : wkv_state) value = f16_to_f32(f32_to_finite_f16(float(value)));
}

void round_states_to_f16(std::span<float> wkv_state) {
  for (float& value : wkv_state) value = f16_to_f32(f32_to_finite_f16(value));
}

}  // namespace ravenwing::kernels
