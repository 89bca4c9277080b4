// What Engine and Session share.
#pragma once

#include <optional>
#include <vector>

#include "model/runner.hpp"
#include "ravenwing/engine.hpp"

namespace ravenwing {

struct Engine::Impl {
  explicit Impl(const EngineOptions& options);

  ModelInfo info;
  Tokenizer tokenizer;
  Runner runner;
  uint32_t chunk;  // tokens of one step at most
  const std::atomic<bool>* cancel;
  std::vector<bool> slot_used;
  kernels::StepInput input;  // reused by every step

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

  Engine::Impl& engine;
  uint32_t slot;
  uint64_t n_tokens = 0;            // in the state
  std::optional<uint32_t> pending;  // sampled, returned, not yet fed
};

}  // namespace ravenwing
