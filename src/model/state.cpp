// src/model/state.cpp: what can be done with a state on the host.
#include "ravenwing/state.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "base/bytes.hpp"
#include "base/error.hpp"
#include "base/text.hpp"
#include "format/model_file.hpp"
#include "format/safetensors_writer.hpp"
#include "ravenwing/model_info.hpp"

namespace ravenwing {
namespace {

constexpr std::string_view kKind = "ravenwing state";

void check_index(std::string_view what, uint32_t index, uint32_t n) {
  if (index >= n) fail(ErrorCode::bad_request, "there is no {} {}, the state has {}", what, index, n);
}

/// The index-th stretch of n values. The shape is anybody's to write, so the values have the last word.
template <typename Values>
auto stretch(Values& values, uint64_t index, uint64_t n) {
  const auto begin = checked_mul(index, n);
  if (!begin || *begin > values.size() || n > values.size() - *begin)
    fail(ErrorCode::bad_request, "the state has fewer values than its shape says");
  return std::span(values).subspan(size_t(*begin), size_t(n));
}

template <typename AnyState>
auto wkv_of_layer(AnyState& state, uint32_t layer) {
  check_index("layer", layer, state.n_layer);
  return stretch(state.wkv, layer, uint64_t(state.n_embd()) * state.head_size);
}

template <typename AnyState>
auto wkv_of_head(AnyState& state, uint32_t layer, uint32_t head) {
  check_index("layer", layer, state.n_layer);
  check_index("head", head, state.n_head);
  const uint64_t index = uint64_t(layer) * state.n_head + head;
  return stretch(state.wkv, index, uint64_t(state.head_size) * state.head_size);
}

template <typename AnyState, typename Values>
auto shift_of_layer(AnyState& state, Values& values, uint32_t layer) {
  check_index("layer", layer, state.n_layer);
  return stretch(values, layer, state.n_embd());
}

void check_alike(const State& a, const State& b) {
  a.validate();
  b.validate();
  if (a.n_layer != b.n_layer || a.n_head != b.n_head || a.head_size != b.head_size) {
    fail(ErrorCode::bad_request, "states of different models: {} layers of {} heads of {}, and {} of {} of {}",
         a.n_layer, a.n_head, a.head_size, b.n_layer, b.n_head, b.head_size);
  }
}

template <typename Operation>
State& combine(State& a, const State& b, Operation operation) {
  check_alike(a, b);
  for (auto part : {&State::time_shift, &State::wkv, &State::channel_shift})
    std::transform((a.*part).begin(), (a.*part).end(), (b.*part).begin(), (a.*part).begin(), operation);
  return a;
}

/// In double: a sum of millions of squares in float loses its last ones.
double norm(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double difference = double(a[i]) - (b.empty() ? 0.0 : double(b[i]));
    sum += difference * difference;
  }
  return std::sqrt(sum);
}

}  // namespace

State State::zeros(const ModelInfo& model) {
  State state{.n_layer = model.n_layer, .n_head = model.n_head, .head_size = model.head_size};
  const size_t n_shift = size_t(state.n_layer) * state.n_embd();
  state.time_shift.resize(n_shift);
  state.wkv.resize(n_shift * state.head_size);
  state.channel_shift.resize(n_shift);
  return state;
}

void State::validate() const {
  // n_head * head_size fits in 32 bits for every model there is, and must here.
  const uint64_t embd = uint64_t(n_head) * head_size;
  const auto n_shift = checked_mul(n_layer, embd);
  const auto n_wkv = n_shift ? checked_mul(*n_shift, head_size) : std::nullopt;
  if (embd > std::numeric_limits<uint32_t>::max() || !n_wkv || time_shift.size() != *n_shift || wkv.size() != *n_wkv ||
      channel_shift.size() != *n_shift) {
    fail(ErrorCode::bad_request,
         "a state of {} layers of {} heads of {} has time_shift, wkv and channel_shift of {}, {} and {} values",
         n_layer, n_head, head_size, time_shift.size(), wkv.size(), channel_shift.size());
  }
}

std::span<float> State::time_shift_of(uint32_t layer) { return shift_of_layer(*this, time_shift, layer); }
std::span<const float> State::time_shift_of(uint32_t layer) const { return shift_of_layer(*this, time_shift, layer); }
std::span<float> State::channel_shift_of(uint32_t layer) { return shift_of_layer(*this, channel_shift, layer); }
std::span<const float> State::channel_shift_of(uint32_t layer) const {
  return shift_of_layer(*this, channel_shift, layer);
}
std::span<float> State::wkv_of(uint32_t layer) { return wkv_of_layer(*this, layer); }
std::span<const float> State::wkv_of(uint32_t layer) const { return wkv_of_layer(*this, layer); }
std::span<float> State::wkv_of(uint32_t layer, uint32_t head) { return wkv_of_head(*this, layer, head); }
std::span<const float> State::wkv_of(uint32_t layer, uint32_t head) const { return wkv_of_head(*this, layer, head); }

State& State::operator+=(const State& other) { return combine(*this, other, std::plus()); }
State& State::operator-=(const State& other) { return combine(*this, other, std::minus()); }

State& State::operator*=(float factor) {
  for (auto part : {&State::time_shift, &State::wkv, &State::channel_shift})
    for (float& value : this->*part) value *= factor;
  return *this;
}

double State::distance(const State& other) const {
  check_alike(*this, other);
  const double largest = std::max(norm(wkv, {}), norm(other.wkv, {}));
  return largest > 0 ? norm(wkv, other.wkv) / largest : 0;
}

void State::save(const std::filesystem::path& path) const {
  validate();
  const std::vector<uint64_t> shift = {n_layer, n_embd()};
  const std::vector<format::FloatTensor> tensors = {{"time_shift", shift, time_shift},
                                                    {"wkv", {n_layer, n_head, head_size, head_size}, wkv},
                                                    {"channel_shift", shift, channel_shift}};
  format::write_safetensors(path, tensors, {{"kind", std::string(kKind)}, {"version", "1"}});
}

State State::load(const std::filesystem::path& path) {
  const format::ModelFile file = format::ModelFile::open(path);
  const auto refuse = [&](std::string_view why) {
    fail(ErrorCode::bad_file, "[state] {} {}", quoted(path.string(), 400), why);
  };
  const format::Tensor* wkv = file.find("wkv");
  const auto fits = [](uint64_t n) { return n > 0 && n <= std::numeric_limits<uint32_t>::max(); };
  if (wkv == nullptr || wkv->shape.size() != 4 || wkv->shape[2] != wkv->shape[3] ||
      !std::all_of(wkv->shape.begin(), wkv->shape.end(), fits))
    refuse("is no saved state: it has no tensor 'wkv' [n_layer, n_head, head_size, head_size]");
  State state{
      .n_layer = uint32_t(wkv->shape[0]), .n_head = uint32_t(wkv->shape[1]), .head_size = uint32_t(wkv->shape[2])};
  const auto read = [&](std::string_view name, const std::vector<uint64_t>& shape, std::vector<float>& values) {
    const format::Tensor* tensor = file.find(name);
    if (tensor == nullptr || tensor->format != format::WeightFormat::f32 || tensor->shape != shape)
      refuse(fmt::format("has no tensor '{}' of type F32 and the shape [{}]", name, fmt::join(shape, ", ")));
    values.resize(size_t(tensor->n_elements));
    if (!tensor->read(0, values.data(), tensor->n_bytes)) refuse("became shorter while it was read");
  };
  const std::vector<uint64_t> shift = {state.n_layer, uint64_t(state.n_head) * state.head_size};
  read("time_shift", shift, state.time_shift);
  read("wkv", wkv->shape, state.wkv);
  read("channel_shift", shift, state.channel_shift);
  return state;
}

}  // namespace ravenwing
