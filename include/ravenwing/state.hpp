// The memory of a text, on the host.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <utility>
#include <vector>

#include "ravenwing/error.hpp"

#pragma GCC visibility push(default)  // what the shared library shows
namespace ravenwing {

struct ModelInfo;

/// All that a model remembers of a text: of one size, whatever the length of the text. Session::state() makes one.
struct State {
  uint32_t n_layer = 0, n_head = 0, head_size = 0;
  std::vector<float> time_shift{};     // [n_layer, n_embd]
  std::vector<float> wkv{};            // [n_layer, n_head, head_size, head_size]: value channel, key channel
  std::vector<float> channel_shift{};  // [n_layer, n_embd]

  /// Of a text that has not begun: all values 0.
  static State zeros(const ModelInfo& model);
  /// Reads what save() wrote, and of a saved session (Session::save) the state. Throws Error{bad_file}.
  static State load(const std::filesystem::path& path);
  /// Writes a file (safetensors), whole or not at all. Throws Error{bad_file, bad_request}.
  void save(const std::filesystem::path& path) const;

  uint32_t n_embd() const { return n_head * head_size; }
  /// Of a layer: [n_embd]. Throw Error{bad_request} where there is no such layer or head, as those below do.
  std::span<float> time_shift_of(uint32_t layer);
  std::span<const float> time_shift_of(uint32_t layer) const;
  std::span<float> channel_shift_of(uint32_t layer);
  std::span<const float> channel_shift_of(uint32_t layer) const;
  /// Of a layer, [n_head, head_size, head_size], or of a head, [head_size, head_size].
  std::span<float> wkv_of(uint32_t layer);
  std::span<const float> wkv_of(uint32_t layer) const;
  std::span<float> wkv_of(uint32_t layer, uint32_t head);
  std::span<const float> wkv_of(uint32_t layer, uint32_t head) const;

  /// Value by value. Throw Error{bad_request} for a state of other shapes.
  State& operator+=(const State& other);
  State& operator-=(const State& other);
  State& operator*=(float factor);
  friend State operator+(State a, const State& b) { return std::move(a += b); }
  friend State operator-(State a, const State& b) { return std::move(a -= b); }
  friend State operator*(State a, float factor) { return std::move(a *= factor); }
  friend State operator*(float factor, State a) { return std::move(a *= factor); }
  bool operator==(const State& other) const = default;

  /// How far the wkv states lie apart: |a - b| / max(|a|, |b|), Euclidean norms over all layers; 0 to 2.
  double distance(const State& other) const;
  /// Throws Error{bad_request} unless each part has as many values as the shape says.
  void validate() const;
};

}  // namespace ravenwing
#pragma GCC visibility pop
