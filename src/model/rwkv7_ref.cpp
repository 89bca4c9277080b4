// src/model/rwkv7_ref.cpp: RWKV-7 in plain loops; the formulas are those of RWKV-LM, RWKV-v7/rwkv_v7_numpy.py.
#include "model/rwkv7_ref.hpp"

#include <algorithm>
#include <cmath>

#include "base/error.hpp"
#include "base/half.hpp"

namespace ravenwing::rwkv7 {
namespace {

/// Four sums side by side: one alone would wait for its own last addition at every step.
double dot(const float* a, const float* b, size_t n) {
  double sum0 = 0, sum1 = 0, sum2 = 0, sum3 = 0;
  size_t i = 0;
  for (; i + 4 <= n; i += 4) {
    sum0 += double(a[i]) * b[i];
    sum1 += double(a[i + 1]) * b[i + 1];
    sum2 += double(a[i + 2]) * b[i + 2];
    sum3 += double(a[i + 3]) * b[i + 3];
  }
  for (; i < n; ++i) sum0 += double(a[i]) * b[i];
  return (sum0 + sum1) + (sum2 + sum3);
}

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

/// (x - mean) / sqrt(variance + epsilon) of one group, then weight and bias.
void normalize(std::span<const float> x, const float* weight, const float* bias, double epsilon, float* out) {
  double sum = 0, sum_of_squares = 0;
  for (const float value : x) sum += value;
  const double mean = sum / double(x.size());
  for (const float value : x) sum_of_squares += (value - mean) * (value - mean);
  const double scale = 1 / std::sqrt(sum_of_squares / double(x.size()) + epsilon);
  for (size_t i = 0; i < x.size(); ++i) out[i] = float((x[i] - mean) * scale * weight[i] + bias[i]);
}

Vector layer_norm(const Vector& x, const Vector& weight, const Vector& bias, double epsilon) {
  Vector out(x.size());
  normalize(x, weight.data(), bias.data(), epsilon, out.data());
  return out;
}

/// x + (previous - x) * amount: what the token sees of itself and of the token before it.
Vector token_shift(const Vector& x, std::span<const float> previous, const Vector& amount) {
  Vector out(x.size());
  for (size_t i = 0; i < x.size(); ++i) out[i] = x[i] + (previous[i] - x[i]) * amount[i];
  return out;
}

void add_to(Vector& x, const Vector& y) {
  for (size_t i = 0; i < x.size(); ++i) x[i] += y[i];
}

/// The inputs of one head's state update, all [head_size], and where its output goes.
struct Head {
  const float *r, *w, *k, *v, *kk, *a;
};

/// k * k_k, divided by its L2 norm head by head.
Vector removal_key(const Vector& k, const Vector& k_k, size_t head_size) {
  Vector kk(k.size());
  for (size_t begin = 0; begin < k.size(); begin += head_size) {
    double sum_of_squares = 0;
    for (size_t i = begin; i < begin + head_size; ++i) {
      kk[i] = k[i] * k_k[i];
      sum_of_squares += double(kk[i]) * kk[i];
    }
    const double norm = std::max(std::sqrt(sum_of_squares), double(kKeyNormEpsilon));
    for (size_t i = begin; i < begin + head_size; ++i) kk[i] = float(kk[i] / norm);
  }
  return kk;
}

/// S <- S diag(w) - (S kk)(kk * a)^T + v k^T, then y = S r. S is [value channel, key channel].
void advance_head(const Head& in, size_t head_size, float* state, float* y) {
  for (size_t i = 0; i < head_size; ++i) {
    float* row = state + i * head_size;
    double removed = 0;
    for (size_t j = 0; j < head_size; ++j) removed += double(row[j]) * in.kk[j];
    double sum = 0;
    for (size_t j = 0; j < head_size; ++j) {
      row[j] = float(double(row[j]) * in.w[j] - removed * in.kk[j] * in.a[j] + double(in.v[i]) * in.k[j]);
      sum += double(row[j]) * in.r[j];
    }
    y[i] = float(sum);
  }
}

/// y + (sum_j r_j k_j r_k_j) * v, head by head.
void add_bonus(const Head& in, const float* r_k, size_t head_size, float* y) {
  double sum = 0;
  for (size_t j = 0; j < head_size; ++j) sum += double(in.r[j]) * in.k[j] * r_k[j];
  for (size_t i = 0; i < head_size; ++i) y[i] = float(y[i] + sum * in.v[i]);
}

}  // namespace

RefState::RefState(const Config& config)
    : time_shift(size_t(config.n_layer) * config.n_embd),
      wkv(size_t(config.n_layer) * config.n_embd * config.head_size),
      channel_shift(size_t(config.n_layer) * config.n_embd) {}

Reference::Reference(const ModelSource& source, WeightRounding rounding) : source_(source) {
  emb_ = decode(source_.emb, WeightRounding::none);
  head_ = decode(source_.head, rounding);
  for (const LayerSource& in : source_.layers) {
    Layer& out = layers_.emplace_back();
    out.receptance = decode(in.receptance, rounding);
    out.key = decode(in.key, rounding);
    out.value = decode(in.value, rounding);
    out.output = decode(in.output, rounding);
    out.ffn_key = decode(in.ffn_key, rounding);
    out.ffn_value = decode(in.ffn_value, rounding);
    out.w1 = decode(in.w.down, rounding);
    out.w2 = decode(in.w.up, rounding);
    out.a1 = decode(in.a.down, rounding);
    out.a2 = decode(in.a.up, rounding);
    out.v1 = decode(in.v.down, rounding);
    out.v2 = decode(in.v.up, rounding);
    out.g1 = decode(in.g.down, rounding);
    out.g2 = decode(in.g.up, rounding);
  }
}

Reference::Matrix Reference::decode(const MatrixSource& source, WeightRounding rounding) {
  Matrix matrix{source.n_out, source.n_in, {}};
  if (!source) return matrix;
  matrix.values.resize(size_t(source.n_out) * source.n_in);
  source.decode_rows(0, source.n_out, matrix.values.data());
  if (rounding == WeightRounding::f16) {
    for (float& value : matrix.values) value = f16_to_f32(f32_to_f16(value));
  }
  return matrix;
}

Vector Reference::multiply(const Matrix& matrix, std::span<const float> x) {
  RAVENWING_CHECK(x.size() == matrix.n_in);
  Vector y(matrix.n_out);
  for (size_t i = 0; i < y.size(); ++i) y[i] = float(dot(matrix.values.data() + i * x.size(), x.data(), x.size()));
  return y;
}

void Reference::look(HookPoint point, LayerHalf half, size_t layer, std::span<float> values) const {
  if (!hook_) return;
  const HookRows row{0, 0, 1};
  hook_({.point = point,
         .half = half,
         .layer = uint32_t(layer),
         .n_tokens = 1,
         .n_values = uint32_t(values.size()),
         .rows = {&row, 1},
         .values = values});
}

void Reference::time_mix(size_t layer, Vector& x, Vector& v_first, RefState& state) const {
  const LayerSource& p = source_.layers[layer];
  const Layer& m = layers_[layer];
  const size_t n_embd = config().n_embd, head_size = config().head_size;
  const std::span<float> shift(state.time_shift.data() + layer * n_embd, n_embd);

  const auto seen = [&](HookPoint point, std::span<float> values) { look(point, LayerHalf::time_mix, layer, values); };

  Vector xx = layer_norm(x, p.ln1_weight, p.ln1_bias, config().layer_norm_epsilon);
  seen(HookPoint::layer_norm, xx);
  Vector mixed;
  for (const Vector* amount : {&p.x_r, &p.x_w, &p.x_k, &p.x_v, &p.x_a, &p.x_g}) {
    const Vector one = token_shift(xx, shift, *amount);
    mixed.insert(mixed.end(), one.begin(), one.end());
  }
  seen(HookPoint::token_shift, mixed);
  const auto of_mixed = [&](size_t i) { return std::span<const float>(mixed).subspan(i * n_embd, n_embd); };
  const auto xr = of_mixed(0), xw = of_mixed(1), xk = of_mixed(2), xv = of_mixed(3), xa = of_mixed(4), xg = of_mixed(5);
  Vector r = multiply(m.receptance, xr), k = multiply(m.key, xk), v = multiply(m.value, xv);
  Vector w_hidden = multiply(m.w1, xw);
  for (float& value : w_hidden) value = std::tanh(value);
  Vector w = multiply(m.w2, w_hidden);
  Vector a = multiply(m.a2, multiply(m.a1, xa));
  Vector g_hidden = multiply(m.g1, xg);
  for (float& value : g_hidden) value = float(sigmoid(value));
  Vector g = multiply(m.g2, g_hidden);
  std::copy(xx.begin(), xx.end(), shift.begin());
  for (const auto& [point, values] : {std::pair{HookPoint::r, &r},
                                      {HookPoint::k, &k},
                                      {HookPoint::v, &v},
                                      {HookPoint::w, &w},
                                      {HookPoint::a, &a},
                                      {HookPoint::g, &g}})
    seen(point, *values);

  const Vector kk = removal_key(k, p.k_k, head_size);
  const double decay_scale = std::exp(-0.5);
  for (size_t i = 0; i < n_embd; ++i) {
    w[i] = float(std::exp(-decay_scale * sigmoid(double(p.w0[i]) + w[i])));
    a[i] = float(sigmoid(double(p.a0[i]) + a[i]));
    k[i] = float(k[i] * (1 + (double(a[i]) - 1) * p.k_a[i]));
  }
  if (layer == 0) {
    v_first = v;
  } else {
    const Vector mix = multiply(m.v2, multiply(m.v1, xv));
    for (size_t i = 0; i < n_embd; ++i) v[i] = float(v[i] + (v_first[i] - v[i]) * sigmoid(double(p.v0[i]) + mix[i]));
  }

  Vector y(n_embd), out(n_embd);
  const auto head_at = [&](size_t i) { return Head{&r[i], &w[i], &k[i], &v[i], &kk[i], &a[i]}; };
  for (size_t begin = 0; begin < n_embd; begin += head_size)
    advance_head(head_at(begin), head_size, state.wkv.data() + (layer * n_embd + begin) * head_size, &y[begin]);
  seen(HookPoint::wkv, y);
  for (size_t begin = 0; begin < n_embd; begin += head_size) {
    normalize({&y[begin], head_size}, &p.ln_x_weight[begin], &p.ln_x_bias[begin], kGroupNormEpsilon, &out[begin]);
    add_bonus(head_at(begin), &p.r_k[begin], head_size, &out[begin]);
  }
  for (size_t i = 0; i < n_embd; ++i) out[i] *= g[i];
  seen(HookPoint::gate, out);
  Vector result = multiply(m.output, out);
  seen(HookPoint::time_mix, result);
  add_to(x, result);
}

void Reference::channel_mix(size_t layer, Vector& x, RefState& state) const {
  const LayerSource& p = source_.layers[layer];
  const size_t n_embd = config().n_embd;
  const std::span<float> shift(state.channel_shift.data() + layer * n_embd, n_embd);
  const auto seen = [&](HookPoint point, std::span<float> values) {
    look(point, LayerHalf::channel_mix, layer, values);
  };
  Vector xx = layer_norm(x, p.ln2_weight, p.ln2_bias, config().layer_norm_epsilon);
  seen(HookPoint::layer_norm, xx);
  Vector xk = token_shift(xx, shift, p.ffn_x_k);
  seen(HookPoint::token_shift, xk);
  Vector hidden = multiply(layers_[layer].ffn_key, xk);
  for (float& value : hidden) value = value > 0 ? value * value : 0;
  std::copy(xx.begin(), xx.end(), shift.begin());
  Vector result = multiply(layers_[layer].ffn_value, hidden);
  seen(HookPoint::channel_mix, result);
  add_to(x, result);
  seen(HookPoint::out, x);
}

std::vector<float> Reference::advance(uint32_t id, RefState& state, size_t n_layers) const {
  const size_t n_embd = config().n_embd;
  if (id >= config().n_vocab) fail(ErrorCode::bad_request, "token {}, the vocabulary has {}", id, config().n_vocab);
  const float* row = emb_.values.data() + id * n_embd;
  Vector x = layer_norm(Vector(row, row + n_embd), source_.ln0_weight, source_.ln0_bias, config().layer_norm_epsilon);
  Vector v_first;
  for (size_t layer = 0; layer < n_layers; ++layer) {
    time_mix(layer, x, v_first, state);
    channel_mix(layer, x, state);
  }
  return x;
}

std::vector<float> Reference::normed(const std::vector<float>& x) const {
  return layer_norm(x, source_.ln_out_weight, source_.ln_out_bias, config().layer_norm_epsilon);
}

std::vector<float> Reference::forward(std::span<const uint32_t> ids, RefState& state) const {
  std::vector<float> all_logits;
  all_logits.reserve(ids.size() * config().n_vocab);
  for (const uint32_t id : ids) {
    const Vector logits = multiply(head_, normed(advance(id, state, layers_.size())));
    all_logits.insert(all_logits.end(), logits.begin(), logits.end());
  }
  return all_logits;
}

std::vector<float> Reference::hidden(std::span<const uint32_t> ids, RefState& state, uint32_t n_layers,
                                     bool is_normed) const {
  std::vector<float> rows;
  rows.reserve(ids.size() * config().n_embd);
  for (const uint32_t id : ids) {
    const Vector x = advance(id, state, n_layers);
    const Vector row = is_normed ? normed(x) : x;
    rows.insert(rows.end(), row.begin(), row.end());
  }
  return rows;
}

}  // namespace ravenwing::rwkv7
