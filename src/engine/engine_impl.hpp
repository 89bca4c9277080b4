// What Engine and Session share.
#pragma once

#include <chrono>
#include <optional>
#include <vector>

#include "model/runner.hpp"
#include "ravenwing/engine.hpp"

namespace ravenwing {

struct Engine::Impl {
  explicit Impl(const EngineOptions& options);

  const std::chrono::steady_clock::time_point begin = std::chrono::steady_clock::now();
  format::ModelFile file;  // all is checked before a device is opened, so that a bad file is told at once
  rwkv7::ModelSource source;
  ModelInfo info;
  Tokenizer tokenizer;
  Runner runner;
  uint32_t chunk;  // tokens of one step at most
  bool profiling;
  const std::atomic<bool>* cancel;
  std::vector<bool> slot_used;
  kernels::StepInput input;   // reused by every step
  std::string model_hash;     // "": not made yet
  double load_ms;             // from `begin` to ready, without the device's own start
  double first_token_ms = 0;  // likewise

  /// Milliseconds since `begin`, without the device's own start.
  double ms_since_begin() const;
  /// A token was sampled.
  void note_first_token();
  /// A slot that no session has, now taken. Throws Error{bad_request}.
  uint32_t take_slot();
  /// Made when it is first asked for.
  const std::string& hash_of_model();
  /// Throws Error{cancelled} once the caller's flag is set.
  void check_cancelled() const;
  /// Throws Error{bad_request} for an id that the model does not have.
  void check_ids(std::span<const uint32_t> ids) const;
};

struct Session::Impl {
  Impl(Engine::Impl& owner, uint32_t session_slot) : engine(owner), slot(session_slot) {}
  ~Impl() { engine.slot_used[slot] = false; }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  /// `ids` after the token that was sampled last and is not fed yet, all checked.
  std::vector<uint32_t> take_pending(std::span<const uint32_t> ids);
  /// Feeds ids that are checked, in steps of at most `chunk` tokens. Throws Error{cancelled} between them.
  void feed_checked(std::span<const uint32_t> ids);
  /// The same, whether the caller cancels or not.
  void advance(std::span<const uint32_t> ids);
  /// Adds to the history.
  void remember(std::span<const uint32_t> ids);

  Engine::Impl& engine;
  uint32_t slot;
  uint64_t n_tokens = 0;            // in the state
  std::optional<uint32_t> pending;  // sampled, returned, not yet fed
  std::string undecoded;            // of the character that the last generation ended in
  std::vector<uint32_t> history;    // the last kDryRangeMax tokens or more, `pending` and those about to be fed too
};

}  // namespace ravenwing
