// src/model/rwkv7_hooks.cpp: stops of a step, and what is done there.
#include "model/rwkv7_hooks.hpp"

#include <algorithm>
#include <cstring>

#include "base/bytes.hpp"
#include "base/half.hpp"

namespace ravenwing {

std::string_view name(HookPoint point) {
  constexpr std::string_view kNames[kHookPointCount] = {
      "layer_norm", "token_shift", "r", "k", "v", "w", "a", "g", "wkv", "gate", "time_mix", "channel_mix", "out"};
  return kNames[size_t(point)];
}

}  // namespace ravenwing

namespace ravenwing::rwkv7 {
namespace {

using kernels::act_stride;

template <typename T>
bool names(const std::vector<T>& list, T one) {
  return list.empty() || std::ranges::find(list, one) != list.end();
}

}  // namespace

HookedSteps::HookedSteps(gpu::Device& device, const Config& config, const Weights& weights, StateArenas& states,
                         uint32_t tokens_max, Hook hook, HookWrites writes)
    : device_(device), config_(config), weights_(weights), states_(states), hook_(std::move(hook)), writes_(writes) {
  const auto make = [&](uint64_t n, const char* label) {
    return device.create_storage(n * 4, gpu::Account::scratch, label);
  };
  value_ = make(uint64_t(tokens_max) * act_stride(config.n_embd), "hooked value");
  norm_vectors_ = make(3 * uint64_t(config.n_embd), "hooked norm");
  shift_states_ = make(uint64_t(states.n_slots()) * config.n_embd, "hooked shift states");
}

bool HookedSteps::wants(HookPoint point, uint32_t layer) const {
  return names(hook_.points, point) && names(hook_.layers, layer);
}

void HookedSteps::run(const HookedPlan& plan, const kernels::StepInput& input, bool undoable) {
  const DispatchRange all{0, plan.steps.dispatches().size()};
  n_tokens_ = input.n_tokens();
  if (n_tokens_ == 0) return encode(plan.steps, all);
  texts_.clear();
  for (uint32_t i = 0; i < input.n_chunks(); ++i) {
    const auto chunk = input.chunk(i);
    if (chunk.count > 0) texts_.push_back({chunk.slot, chunk.first, chunk.count});
  }
  if (undoable) keep_states();
  try {
    size_t at = 0;
    for (const HookStop& stop : plan.stops) {
      encode(plan.steps, {at, stop.around.begin});
      at = visit(plan, stop);
    }
    encode(plan.steps, {at, all.end});
  } catch (...) {
    if (undoable && !device_.is_lost()) put_back_states();
    throw;
  }
}

void HookedSteps::keep_states() {
  for (size_t i = 0; i < texts_.size(); ++i) {
    if (i == kept_.size())
      kept_.push_back(device_.create_storage(states_.kept_bytes(), gpu::Account::scratch, "state before a hook"));
    states_.copy_out(texts_[i].session, kept_[i]);
  }
}

void HookedSteps::put_back_states() {
  for (size_t i = 0; i < texts_.size(); ++i) states_.copy_in(kept_[i], texts_[i].session);
}

void HookedSteps::encode(const gpu::Plan& plan, const DispatchRange& range) {
  if (range.empty()) return;
  const wgpu::CommandEncoder encoder = device_.handle().CreateCommandEncoder();
  plan.encode_pass(encoder, range.begin, range.end);
  device_.submit(encoder.Finish());
}

size_t HookedSteps::visit(const HookedPlan& plan, const HookStop& stop) {
  if (!stop.aside.empty()) look_aside(plan, stop);
  values_ = read(stop.rows);
  const std::vector<float> before = values_;
  hook_.call({.point = stop.place.point,
              .half = stop.place.half,
              .layer = stop.place.layer,
              .n_tokens = n_tokens_,
              .n_values = stop.rows.n_planes * stop.rows.n_values,
              .rows = texts_,
              .values = values_});
  const bool same = std::memcmp(before.data(), values_.data(), values_.size() * sizeof(float)) == 0;
  if (same && writes_ == HookWrites::changes) return stop.around.begin;
  switch (stop.place.point) {
    case HookPoint::layer_norm:
      shift_by_hand(stop);
      break;
    case HookPoint::wkv:
      encode(plan.steps, stop.around);  // for the states; it has no use for the value itself
      write(stop.rows, values_);
      encode(plan.aside, stop.patch);
      break;
    case HookPoint::time_mix:
    case HookPoint::channel_mix: {
      std::vector<float> x = read(stop.target);
      std::ranges::transform(x, values_, x.begin(), std::plus<>());
      write(stop.target, x);
      break;
    }
    default:
      write(stop.rows, values_);
  }
  return stop.around.end;
}

void HookedSteps::look_aside(const HookedPlan& plan, const HookStop& stop) {
  const wgpu::CommandEncoder encoder = device_.handle().CreateCommandEncoder();
  const auto& [point, half, layer] = stop.place;
  if (point == HookPoint::layer_norm) {
    const LayerWeights& weights = weights_.layers[layer];
    const gpu::BufferView& vectors = half == LayerHalf::time_mix ? weights.time_shift : weights.channel_shift;
    encoder.CopyBufferToBuffer(vectors.buffer, vectors.offset, norm_vectors_.handle(), 0,
                               2 * uint64_t(config_.n_embd) * 4);
  } else if (point == HookPoint::wkv) {
    copy_wkv(encoder, layer, false);
  } else {
    encoder.ClearBuffer(value_.handle());  // products add to what is there
  }
  plan.aside.encode_pass(encoder, stop.aside.begin, stop.aside.end);
  if (point == HookPoint::wkv) copy_wkv(encoder, layer, true);
  device_.submit(encoder.Finish());
}

void HookedSteps::copy_wkv(const wgpu::CommandEncoder& encoder, uint32_t layer, bool back) {
  const gpu::BufferView states = states_.wkv(layer);
  const uint64_t bytes = states.size / states_.n_slots();
  if (!wkv_ || wkv_.size() < texts_.size() * bytes)
    wkv_ = device_.create_storage(texts_.size() * bytes, gpu::Account::scratch, "wkv states before a hook");
  for (size_t i = 0; i < texts_.size(); ++i) {
    const uint64_t at = states.offset + texts_[i].session * bytes;
    if (back)
      encoder.CopyBufferToBuffer(wkv_.handle(), i * bytes, states.buffer, at, bytes);
    else
      encoder.CopyBufferToBuffer(states.buffer, at, wkv_.handle(), i * bytes, bytes);
  }
}

/// Token shift and shift states of rows that a hook has normed otherwise.
void HookedSteps::shift_by_hand(const HookStop& stop) {
  const auto& [point, half, layer] = stop.place;
  const bool in_time_mix = half == LayerHalf::time_mix;
  const LayerWeights& weights = weights_.layers[layer];
  const std::vector<float> vectors = read_floats(in_time_mix ? weights.time_shift : weights.channel_shift);
  const gpu::BufferView shifts = in_time_mix ? states_.time_shift(layer) : states_.channel_shift(layer);
  const size_t n_embd = config_.n_embd, n_mix = stop.target.n_planes;
  std::vector<float> mixed(n_mix * values_.size());
  for (const HookRows& text : texts_) {
    const uint64_t at = shifts.offset + text.session * n_embd * 4;
    const std::vector<float> shift = read_floats({states_.shifts(), at, n_embd * 4});
    const float* previous = shift.data();
    for (size_t token = text.first; token < text.first + text.count; ++token) {
      const float* own = &values_[token * n_embd];
      for (size_t i = 0; i < n_mix * n_embd; ++i) {
        const size_t d = i % n_embd;
        mixed[token * n_mix * n_embd + i] = own[d] + (previous[d] - own[d]) * vectors[2 * n_embd + i];
      }
      previous = own;
    }
    if (states_.read_control(text.session).frozen != 0) continue;
    device_.write(states_.shifts(), at, std::as_bytes(std::span(previous, n_embd)));
  }
  write(stop.target, mixed);
}

std::vector<float> HookedSteps::read_floats(const gpu::BufferView& view) {
  std::vector<float> values(view.size / 4);
  device_.read(view, [&](std::span<const std::byte> bytes) { std::memcpy(values.data(), bytes.data(), view.size); });
  return values;
}

/// [token, plane, n_values].
std::vector<float> HookedSteps::read(const HookedRows& rows) {
  const size_t n = rows.n_values, row_values = rows.n_planes * n, value_bytes = rows.f16 ? 2 : 4;
  std::vector<float> values(n_tokens_ * row_values);
  for (size_t plane = 0; plane < rows.n_planes; ++plane) {
    const uint64_t bytes = uint64_t(n_tokens_) * rows.stride * value_bytes;
    device_.read({*rows.buffer, rows.offset + plane * rows.plane_bytes, bytes}, [&](std::span<const std::byte> found) {
      for (size_t token = 0; token < n_tokens_; ++token) {
        const std::span<float> to(&values[token * row_values + plane * n], n);
        unpack_floats(&found[token * rows.stride * value_bytes], rows.f16, to);
      }
    });
  }
  return values;
}

void HookedSteps::write(const HookedRows& rows, std::span<const float> values) {
  const size_t n = rows.n_values, value_bytes = rows.f16 ? 2 : 4;
  std::vector<std::byte> bytes(n_tokens_ * rows.stride * value_bytes);  // zero after each row
  for (size_t plane = 0; plane < rows.n_planes; ++plane) {
    for (size_t token = 0; token < n_tokens_; ++token) {
      const float* from = &values[(token * rows.n_planes + plane) * n];
      std::byte* to = &bytes[token * rows.stride * value_bytes];
      for (size_t i = 0; i < n; ++i) {
        const uint16_t half = f32_to_f16(from[i]);
        if (rows.f16)
          std::memcpy(to + 2 * i, &half, 2);
        else
          std::memcpy(to + 4 * i, &from[i], 4);
      }
    }
    device_.write(*rows.buffer, rows.offset + plane * rows.plane_bytes, bytes);
  }
}

kernels::Context HookStops::aside(const kernels::Context& context) const {
  return {*aside_, context.buffers, context.n_tokens, context.n_chunks, context.n_outputs, context.tuning};
}

HookStop& HookStops::add(const HookPlace& place, const HookedRows& rows) {
  const size_t n = plan_->steps.dispatches().size();
  return plan_->stops.emplace_back(HookStop{place, rows, {n, n}, {n_aside(), n_aside()}, {}, {}});
}

void HookStops::at(const HookPlace& place, const HookedRows& rows) {
  if (wants(place)) add(place, rows);
}

void HookStops::before(const kernels::Context& context, const HookPlace& place, kernels::TokenShift op,
                       const HookedRows& mixed) {
  if (!wants(place)) return;
  const gpu::Buffer& value = steps_->value();
  HookStop& stop = add(place, {.buffer = &value, .n_values = op.n_embd, .stride = act_stride(op.n_embd)});
  // With nothing of the token before it, a token is its own layer norm.
  op.n_mix = 1;
  op.vectors = steps_->norm_vectors();
  op.shift_state = steps_->shift_states();
  op.mixed = value;
  op.mixed_f32 = true;
  kernels::token_shift(aside(context), op);
  stop.aside.end = n_aside();
  stop.target = mixed;
  is_open_ = true;
}

void HookStops::before(const kernels::Context& context, const HookPlace& place, kernels::TimeMix op,
                       const HookedRows& y) {
  if (!wants(place)) return;
  HookStop& stop = add(place, y);
  op.part = kernels::TimeMixPart::read_out;
  kernels::time_mix(aside(context), op);
  stop.aside.end = stop.patch.begin = n_aside();
  op.part = kernels::TimeMixPart::norm;
  kernels::time_mix(aside(context), op);
  stop.patch.end = n_aside();
  is_open_ = true;
}

void HookStops::before(const kernels::Context& context, gpu::UniformArena& uniforms, const HookPlace& place,
                       kernels::MatMul op, const HookedRows& x) {
  if (!wants(place)) return;
  const gpu::Buffer& value = steps_->value();
  HookStop& stop = add(place, {.buffer = &value, .n_values = x.n_values, .stride = x.stride});
  op.output = value;
  kernels::matmul(aside(context), uniforms, op);
  stop.aside.end = n_aside();
  stop.target = x;
  is_open_ = true;
}

void HookStops::after() {
  if (is_open_) plan_->stops.back().around.end = plan_->steps.dispatches().size();
  is_open_ = false;
}

}  // namespace ravenwing::rwkv7
