// How the wkv states of texts lie in GPU memory.
#pragma once

#include <cstdint>
#include <string_view>

#pragma GCC visibility push(default)  // what the shared library shows
namespace ravenwing {

/// All arithmetic is in f32; f16 rounds a state at the end of each step that it takes part in. The shift states are f32
/// always.
enum class StateStorage : uint8_t {
  f32,
  f16,  // half the memory and half the traffic; finite values beyond 65504 become that, below 2^-14 they may become 0
};
constexpr std::string_view name(StateStorage storage) { return storage == StateStorage::f16 ? "f16" : "f32"; }

/// Bytes of one value.
constexpr uint32_t value_bytes(StateStorage storage) { return storage == StateStorage::f16 ? 2 : 4; }

}  // namespace ravenwing
#pragma GCC visibility pop
