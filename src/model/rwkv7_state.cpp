// src/model/rwkv7_state.cpp: the arenas of states.
#include "model/rwkv7_state.hpp"

#include <algorithm>
#include <cstring>

#include "base/bytes.hpp"
#include "base/half.hpp"

namespace ravenwing::rwkv7 {
namespace {
constexpr uint64_t kBindingAlignment = 256;
constexpr uint64_t kAdditionsSlotBytes = kernels::kAdditionsMax * sizeof(kernels::LogitAddition);

std::vector<float> floats_of(std::span<const std::byte> bytes) {
  const auto* values = reinterpret_cast<const float*>(bytes.data());  // aligned as what maps and allocates is
  return {values, values + bytes.size() / sizeof(float)};
}

std::vector<float> floats_of_f16(std::span<const std::byte> bytes) {
  std::vector<float> values;
  values.reserve(bytes.size() / 2);
  for (size_t at = 0; at < bytes.size(); at += 2) values.push_back(f16_to_f32(load_le<uint16_t>(&bytes[at])));
  return values;
}

std::vector<uint16_t> f16_of(std::span<const float> values) {
  std::vector<uint16_t> halves(values.size());
  std::transform(values.begin(), values.end(), halves.begin(), f32_to_finite_f16);
  return halves;
}

}  // namespace

StateArenas::StateArenas(gpu::Device& device, const Config& config, uint32_t n_slots, StateStorage storage)
    : device_(device), config_(config), n_slots_(n_slots), storage_(storage) {
  const uint64_t slot_bytes = std::max({wkv_slot_bytes(), counts_slot_bytes(), kAdditionsSlotBytes});
  if (n_slots * slot_bytes > device.limits().binding_bytes_max) {
    fail(ErrorCode::out_of_memory,
         "[state] {} sequences need {} bytes in one binding, the device binds at most {}: at most {} sequences",
         n_slots, n_slots * slot_bytes, device.limits().binding_bytes_max,
         device.limits().binding_bytes_max / slot_bytes);
  }
  const uint64_t layer_bytes = n_slots * wkv_slot_bytes();
  const uint64_t arena_bytes_max = std::min(device.limits().binding_bytes_max, device.limits().buffer_bytes_max);
  layers_per_arena_ = layer_bytes % kBindingAlignment == 0 ? uint32_t(arena_bytes_max / layer_bytes) : 1;
  layers_per_arena_ = std::clamp(layers_per_arena_, 1u, config.n_layer);
  for (uint32_t layer = 0; layer < config.n_layer; layer += layers_per_arena_) {
    const uint32_t n = std::min(layers_per_arena_, config.n_layer - layer);
    wkv_.push_back(
        device.create_storage(n * layer_bytes, gpu::Account::state, fmt::format("wkv states from layer {}", layer)));
  }
  shifts_ = device.create_storage(2 * config.n_layer * round_up(n_slots * shift_slot_bytes(), kBindingAlignment),
                                  gpu::Account::state, "shift states");
  control_ = device.create_storage(n_slots * sizeof(kernels::ControlBlock), gpu::Account::state, "control");
  counts_ = device.create_storage(n_slots * counts_slot_bytes(), gpu::Account::state, "counts");
  additions_ = device.create_storage(n_slots * kAdditionsSlotBytes, gpu::Account::state, "additions");
}

gpu::BufferView StateArenas::wkv(uint32_t layer) const {
  const uint64_t bytes = n_slots_ * wkv_slot_bytes();
  return {wkv_[layer / layers_per_arena_], layer % layers_per_arena_ * bytes, bytes};
}

std::vector<StateArenas::Arena> StateArenas::arenas() const {
  std::vector<Arena> arenas;
  for (uint32_t i = 0; i < wkv_.size(); ++i) {
    const uint32_t n_layers = std::min(layers_per_arena_, config_.n_layer - i * layers_per_arena_);
    arenas.push_back({wkv_[i], n_layers, n_slots_ * wkv_slot_bytes(), wkv_slot_bytes()});
  }
  arenas.push_back(
      {shifts_, 2 * config_.n_layer, round_up(n_slots_ * shift_slot_bytes(), kBindingAlignment), shift_slot_bytes()});
  return arenas;
}

gpu::BufferView StateArenas::shift(uint32_t index) const {
  const uint64_t bytes = n_slots_ * shift_slot_bytes();
  return {shifts_, index * round_up(bytes, kBindingAlignment), bytes};
}

template <typename Visit>
void StateArenas::for_each_stretch(uint32_t slot, Visit visit) const {
  RAVENWING_CHECK(slot < n_slots_);
  for (uint32_t layer = 0; layer < config_.n_layer; ++layer)
    visit(wkv_[layer / layers_per_arena_], wkv(layer).offset + slot * wkv_slot_bytes(), wkv_slot_bytes());
  for (uint32_t index = 0; index < 2 * config_.n_layer; ++index)
    visit(shifts_, shift(index).offset + slot * shift_slot_bytes(), shift_slot_bytes());
}

void StateArenas::reset(uint32_t slot) {
  const wgpu::CommandEncoder encoder = device_.handle().CreateCommandEncoder();
  for_each_stretch(slot, [&](const gpu::Buffer& buffer, uint64_t offset, uint64_t bytes) {
    encoder.ClearBuffer(buffer.handle(), offset, bytes);
  });
  encoder.ClearBuffer(counts_.handle(), counts_of(slot).offset, counts_slot_bytes());
  device_.submit(encoder.Finish());
  write_control(slot, {});
}

/// What copies of a slot hold: its state, and what sampling keeps of its text.
template <typename Visit>
void StateArenas::for_each_kept(uint32_t slot, Visit visit) const {
  for_each_stretch(slot, visit);
  visit(counts_, counts_of(slot).offset, counts_slot_bytes());
  visit(control_, slot * sizeof(kernels::ControlBlock), sizeof(kernels::ControlBlock));
}

uint64_t StateArenas::kept_bytes() const {
  uint64_t total = 0;
  for_each_kept(0, [&](const gpu::Buffer&, uint64_t, uint64_t bytes) { total += bytes; });
  return total;
}

void StateArenas::copy_out(uint32_t slot, const gpu::Buffer& to) {
  const wgpu::CommandEncoder encoder = device_.handle().CreateCommandEncoder();
  uint64_t at = 0;
  for_each_kept(slot, [&](const gpu::Buffer& buffer, uint64_t offset, uint64_t bytes) {
    encoder.CopyBufferToBuffer(buffer.handle(), offset, to.handle(), at, bytes);
    at += bytes;
  });
  device_.submit(encoder.Finish());
}

void StateArenas::copy_in(const gpu::Buffer& from, uint32_t slot) {
  const wgpu::CommandEncoder encoder = device_.handle().CreateCommandEncoder();
  uint64_t at = 0;
  for_each_kept(slot, [&](const gpu::Buffer& buffer, uint64_t offset, uint64_t bytes) {
    encoder.CopyBufferToBuffer(from.handle(), at, buffer.handle(), offset, bytes);
    at += bytes;
  });
  device_.submit(encoder.Finish());
}

std::vector<float> StateArenas::read_counts(uint32_t slot) { return floats_of(device_.read(counts_of(slot))); }

void StateArenas::write_counts(uint32_t slot, std::span<const float> counts) {
  RAVENWING_CHECK(counts.size_bytes() == counts_slot_bytes());
  device_.write(counts_, counts_of(slot).offset, std::as_bytes(counts));
}

void StateArenas::make_passage() {
  if (!passage_) passage_ = device_.create_storage(kept_bytes(), gpu::Account::scratch, "state copy");
}

void StateArenas::copy(uint32_t from, uint32_t to) {
  if (from == to) return;
  // WebGPU does not copy within one buffer; the stretches go through a buffer of one slot.
  make_passage();
  copy_out(from, passage_);
  copy_in(passage_, to);
}

void StateArenas::checkpoint(uint32_t slot, uint32_t place) {
  RAVENWING_CHECK(slot < n_slots_ && place < kPlaces);
  checkpoints_.resize(n_slots_);
  for (gpu::Buffer& kept : checkpoints_[slot]) {
    if (!kept) kept = device_.create_storage(kept_bytes(), gpu::Account::scratch, "state checkpoint");
  }
  copy_out(slot, checkpoints_[slot][place]);
}

void StateArenas::roll_back(uint32_t slot, uint32_t place) {
  RAVENWING_CHECK(slot < checkpoints_.size() && place < kPlaces && checkpoints_[slot][place]);
  copy_in(checkpoints_[slot][place], slot);
}

void StateArenas::write_control(uint32_t slot, const kernels::ControlBlock& block) {
  device_.write(control_, slot * sizeof(block), std::as_bytes(std::span(&block, 1)));
}

void StateArenas::begin_request(uint32_t slot, const kernels::ControlBlock& block) {
  const auto words = std::as_bytes(std::span(&block, 1)).first(offsetof(kernels::ControlBlock, mirostat_mu));
  device_.write(control_, slot * sizeof(block), words);
}

void StateArenas::write_mirostat_mu(uint32_t slot, float mu) {
  device_.write(control_, slot * sizeof(kernels::ControlBlock) + offsetof(kernels::ControlBlock, mirostat_mu),
                std::as_bytes(std::span(&mu, 1)));
}

void StateArenas::write_additions(uint32_t slot, std::span<const kernels::LogitAddition> additions) {
  RAVENWING_CHECK(additions.size() <= kernels::kAdditionsMax);
  const uint32_t n_additions = uint32_t(additions.size());
  device_.write(additions_, slot * kAdditionsSlotBytes, std::as_bytes(additions));
  device_.write(control_, slot * sizeof(kernels::ControlBlock) + offsetof(kernels::ControlBlock, n_additions),
                std::as_bytes(std::span(&n_additions, 1)));
}

gpu::BufferView StateArenas::counts_of(uint32_t slot) const {
  RAVENWING_CHECK(slot < n_slots_);
  return {counts_, slot * counts_slot_bytes(), counts_slot_bytes()};
}

kernels::ControlBlock StateArenas::read_control(uint32_t slot) {
  kernels::ControlBlock block;
  const auto bytes = device_.read({control_, slot * sizeof(block), sizeof(block)});
  std::memcpy(&block, bytes.data(), sizeof(block));
  return block;
}

HostState StateArenas::read(uint32_t slot) {
  // In one piece: a wait for each stretch would take longer than the bytes.
  const uint64_t wkv_bytes = config_.n_layer * wkv_slot_bytes(), shift_bytes = shift_slot_bytes();
  make_passage();
  copy_out(slot, passage_);
  HostState state;
  device_.read({passage_, 0, wkv_bytes + 2 * config_.n_layer * shift_bytes}, [&](std::span<const std::byte> bytes) {
    state.wkv = values_of(bytes.first(wkv_bytes));
    const auto* at = reinterpret_cast<const float*>(bytes.data() + wkv_bytes);
    for (uint32_t layer = 0; layer < config_.n_layer; ++layer, at += 2 * size_t(config_.n_embd)) {
      state.time_shift.insert(state.time_shift.end(), at, at + config_.n_embd);
      state.channel_shift.insert(state.channel_shift.end(), at + config_.n_embd, at + 2 * size_t(config_.n_embd));
    }
  });
  return state;
}

std::vector<float> StateArenas::read_wkv(uint32_t layer, uint32_t slot) {
  gpu::BufferView of_slot = wkv(layer);
  of_slot.offset += slot * wkv_slot_bytes();
  of_slot.size = wkv_slot_bytes();
  return values_of(device_.read(of_slot));
}

std::vector<float> StateArenas::values_of(std::span<const std::byte> wkv) const {
  return storage_ == StateStorage::f16 ? floats_of_f16(wkv) : floats_of(wkv);
}

void StateArenas::write(uint32_t slot, const HostState& state) {
  const size_t n_wkv = wkv_values(), n_shift = config_.n_embd;
  RAVENWING_CHECK(state.wkv.size() == n_wkv * config_.n_layer && state.time_shift.size() == n_shift * config_.n_layer &&
                  state.channel_shift.size() == n_shift * config_.n_layer);
  const bool halved = storage_ == StateStorage::f16;
  const std::vector<uint16_t> halves = halved ? f16_of(state.wkv) : std::vector<uint16_t>();
  uint32_t i = 0;
  for_each_stretch(slot, [&](const gpu::Buffer& buffer, uint64_t offset, uint64_t) {
    const uint32_t shift_index = i - config_.n_layer;
    const std::vector<float>& shifts = shift_index % 2 == 0 ? state.time_shift : state.channel_shift;
    if (i >= config_.n_layer)
      device_.write(buffer, offset, std::as_bytes(std::span(shifts).subspan(shift_index / 2 * n_shift, n_shift)));
    else if (halved)
      device_.write(buffer, offset, std::as_bytes(std::span(halves).subspan(i * n_wkv, n_wkv)));
    else
      device_.write(buffer, offset, std::as_bytes(std::span(state.wkv).subspan(i * n_wkv, n_wkv)));
    ++i;
  });
}

}  // namespace ravenwing::rwkv7
