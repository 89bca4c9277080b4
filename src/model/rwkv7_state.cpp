// src/model/rwkv7_state.cpp: the arenas of states.
#include "model/rwkv7_state.hpp"

#include <algorithm>
#include <cstring>

#include "base/bytes.hpp"
#include "base/half.hpp"
#include "base/pieces.hpp"

namespace ravenwing::rwkv7 {
namespace {
constexpr uint64_t kBindingAlignment = 256;
constexpr uint64_t kAdditionsSlotBytes = kernels::kAdditionsMax * sizeof(kernels::LogitAddition);

/// Values of which a piece is worth a thread.
constexpr size_t kPiece = size_t{1} << 20;

/// Into memory that is there already, if it is large enough: by several threads, or else by one, as fresh pages take
/// longer than what goes into them and floats would be set to zero first.
void read_floats(std::span<const std::byte> bytes, bool is_f16, std::vector<float>& values) {
  const size_t value_bytes = is_f16 ? 2 : 4, n = bytes.size() / value_bytes;
  if (!is_f16 && values.capacity() < n) {
    const auto* floats = reinterpret_cast<const float*>(bytes.data());  // aligned as what maps and allocates is
    values.assign(floats, floats + n);
    return;
  }
  values.resize(n);
  in_pieces(n, kPiece, [&](size_t begin, size_t end) {
    unpack_floats(&bytes[begin * value_bytes], is_f16, std::span(values).subspan(begin, end - begin));
  });
}

/// The bytes of a buffer, one after another.
class Filler {
 public:
  explicit Filler(std::span<std::byte> bytes) : rest_(bytes) {}

  void add(std::span<const std::byte> bytes) { std::copy_n(bytes.data(), bytes.size(), take(bytes.size())); }
  void add(std::span<const float> values) { add(std::as_bytes(values)); }  // several threads are no faster
  void add_f16(std::span<const float> values) {
    auto* const halves = reinterpret_cast<uint16_t*>(take(values.size() * 2));
    in_pieces(values.size(), kPiece, [&](size_t begin, size_t end) {
      for (size_t i = begin; i < end; ++i) halves[i] = f32_to_finite_f16(values[i]);
    });
  }
  void add_zeros(size_t n_bytes) { std::fill_n(take(n_bytes), n_bytes, std::byte{0}); }

 private:
  std::byte* take(size_t n) {
    RAVENWING_CHECK(n <= rest_.size());
    std::byte* const at = rest_.data();
    rest_ = rest_.subspan(n);
    return at;
  }

  std::span<std::byte> rest_;
};

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
  // The shift states of many sequences may be more than one binding takes.
  const uint64_t shift_bytes = round_up(n_slots_ * shift_slot_bytes(), kBindingAlignment);
  const auto n_bound =
      uint32_t(std::clamp<uint64_t>(device_.limits().binding_bytes_max / shift_bytes, 1, 2 * config_.n_layer));
  for (uint32_t first = 0; first < 2 * config_.n_layer; first += n_bound) {
    const uint32_t n = std::min(n_bound, 2 * config_.n_layer - first);
    arenas.push_back({{shifts_, first * shift_bytes, n * shift_bytes}, n, shift_bytes, shift_slot_bytes()});
  }
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

void StateArenas::copy_in(const wgpu::CommandEncoder& encoder, const wgpu::Buffer& from, uint32_t slot) const {
  uint64_t at = 0;
  for_each_kept(slot, [&](const gpu::Buffer& buffer, uint64_t offset, uint64_t bytes) {
    encoder.CopyBufferToBuffer(from, at, buffer.handle(), offset, bytes);
    at += bytes;
  });
}

void StateArenas::copy_in(const gpu::Buffer& from, uint32_t slot) {
  const wgpu::CommandEncoder encoder = device_.handle().CreateCommandEncoder();
  copy_in(encoder, from.handle(), slot);
  device_.submit(encoder.Finish());
}

std::vector<float> StateArenas::read_counts(uint32_t slot) {
  std::vector<float> counts;
  read_floats(device_.read(counts_of(slot)), false, counts);
  return counts;
}

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

HostState StateArenas::read(uint32_t slot, SamplingMemory* memory, HostState state) {
  // In one piece: a wait for each stretch would take longer than the bytes.
  const uint64_t wkv_bytes = config_.n_layer * wkv_slot_bytes();
  const size_t n_shift = config_.n_embd;
  make_passage();
  copy_out(slot, passage_);
  state.time_shift.clear();
  state.channel_shift.clear();
  state.time_shift.reserve(config_.n_layer * n_shift);
  state.channel_shift.reserve(config_.n_layer * n_shift);
  device_.read({passage_, 0, memory == nullptr ? state_bytes() : kept_bytes()}, [&](std::span<const std::byte> bytes) {
    read_values(bytes.first(wkv_bytes), state.wkv);
    const auto* at = reinterpret_cast<const float*>(bytes.data() + wkv_bytes);
    for (uint32_t layer = 0; layer < config_.n_layer; ++layer, at += 2 * n_shift) {
      state.time_shift.insert(state.time_shift.end(), at, at + n_shift);
      state.channel_shift.insert(state.channel_shift.end(), at + n_shift, at + 2 * n_shift);
    }
    if (memory == nullptr) return;
    memory->counts.assign(at, at + config_.n_vocab);
    memory->mirostat_mu = at[config_.n_vocab + offsetof(kernels::ControlBlock, mirostat_mu) / sizeof(float)];
  });
  return state;
}

std::vector<float> StateArenas::read_wkv(uint32_t layer, uint32_t slot) {
  gpu::BufferView of_slot = wkv(layer);
  of_slot.offset += slot * wkv_slot_bytes();
  of_slot.size = wkv_slot_bytes();
  std::vector<float> values;
  read_values(device_.read(of_slot), values);
  return values;
}

void StateArenas::read_values(std::span<const std::byte> wkv, std::vector<float>& values) const {
  read_floats(wkv, storage_ == StateStorage::f16, values);
}

void StateArenas::write(uint32_t slot, const StateView& state, std::span<const float> counts, float mirostat_mu) {
  const size_t n_shift = config_.n_embd;
  RAVENWING_CHECK(slot < n_slots_ && state.wkv.size() == wkv_values() * config_.n_layer &&
                  state.time_shift.size() == n_shift * config_.n_layer &&
                  state.channel_shift.size() == n_shift * config_.n_layer &&
                  (counts.empty() || counts.size_bytes() == counts_slot_bytes()));
  kernels::ControlBlock block;
  block.mirostat_mu = mirostat_mu;
  const auto fill = [&](std::span<std::byte> bytes) {  // in the order of for_each_kept()
    Filler filler(bytes);
    if (storage_ == StateStorage::f16)
      filler.add_f16(state.wkv);
    else
      filler.add(state.wkv);
    for (uint32_t layer = 0; layer < config_.n_layer; ++layer) {
      filler.add(state.time_shift.subspan(layer * n_shift, n_shift));
      filler.add(state.channel_shift.subspan(layer * n_shift, n_shift));
    }
    counts.empty() ? filler.add_zeros(counts_slot_bytes()) : filler.add(counts);
    filler.add(std::as_bytes(std::span(&block, 1)));
  };
  device_.stage(kept_bytes(), fill,
                [&](const wgpu::CommandEncoder& encoder, const wgpu::Buffer& from) { copy_in(encoder, from, slot); });
}

}  // namespace ravenwing::rwkv7
