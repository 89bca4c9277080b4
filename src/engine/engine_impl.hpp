// What Engine and Session share.
#pragma once

#include <chrono>
#include <optional>
#include <vector>

#include "engine/past.hpp"
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
  uint32_t chunk;  // tokens of one step at most; recover() halves it
  bool profiling;
  const std::atomic<bool>* cancel;
  std::function<void(const std::string& what)> on_recovery;
  std::vector<Session::Impl*> sessions;  // by slot
  bool in_flight = false;                // requests run, who recover by themselves
  kernels::StepInput input;              // reused by every step
  std::string model_hash;                // "": not made yet
  double load_ms;                        // from `begin` to ready, without the device's own start
  double first_token_ms = 0;             // likewise

  /// Milliseconds since `begin`, without the device's own start.
  double ms_since_begin() const;
  /// A token was sampled.
  void note_first_token();
  /// A slot that no session has. Throws Error{bad_request}.
  uint32_t free_slot() const;
  /// Where the GPU was lost and steps of several tokens may be why: opens it anew, brings all sessions back to what
  /// they have noted, and halves the chunk. Where a token in one dispatch has stalled: brings them back alone. Else
  /// false. Throws Error{device_lost} where that fails.
  bool recover();
  bool recover_from_loss();
  bool recover_from_stall();
  /// `call()`, once more after recover(). It may note nothing before it is done.
  template <typename Call>
  auto retry(Call call) {
    try {
      return call();
    } catch (...) {
      if (in_flight || !recover()) throw;
    }
    return call();
  }
  /// Made when it is first asked for.
  const std::string& hash_of_model();
  /// Throws Error{cancelled} once the caller's flag is set.
  void check_cancelled() const;
  /// Throws Error{bad_request} for an id that the model does not have.
  void check_ids(std::span<const uint32_t> ids) const;
  void set_hook(std::optional<Hook> hook);
  /// Throws Error{bad_request} where there is a hook.
  void check_unhooked(std::string_view what) const;
};

struct Session::Impl {
  Impl(Engine::Impl& owner, uint32_t session_slot) : engine(owner), slot(session_slot) { engine.sessions[slot] = this; }
  ~Impl() { engine.sessions[slot] = nullptr; }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  /// `ids` after the token that was sampled last and is not fed yet, all checked.
  std::vector<uint32_t> take_pending(std::span<const uint32_t> ids);
  /// Feeds ids. If it throws, the session stands after the steps before.
  void feed(std::span<const uint32_t> ids);
  /// Feeds ids that are checked, in steps of at most `chunk` tokens. Throws Error{cancelled} between them.
  void feed_checked(std::span<const uint32_t> ids);
  /// Notes and submits ids, in such steps.
  void advance(std::span<const uint32_t> ids);
  /// Only submits them; `n_done` is how many so far.
  void submit(std::span<const uint32_t> ids);
  void submit(std::span<const uint32_t> ids, size_t& n_done);
  /// The last `n` that were noted are not in the state: their step was taken back.
  void note_unfed(size_t n);
  /// They are in the state, or will be once they are submitted.
  void note_fed(std::span<const uint32_t> ids);
  /// Makes room for the tokens of another call.
  void shorten_past();
  /// What was fed so far is not fed again: a copy of the state takes its place.
  void close_past();
  /// Brings the slot of a new device to what was noted, or to the first part of it.
  void rebuild();
  void rebuild(size_t n_fed, size_t n_drawn, float mirostat_mu);
  SessionSnapshot snapshot(SessionSnapshot used = {});
  /// Throws Error{bad_request} for a snapshot that is not of such a model.
  void check(const SessionSnapshot& snapshot) const;
  /// `kept` is called once the GPU's part is on its way; it gives what `snapshot` is or a copy of it.
  void restore(const SessionSnapshot& snapshot, const std::function<std::shared_ptr<const SessionSnapshot>()>& kept);
  /// Feeds as many of the ids as a step has room for, notes nothing, and reads the logits after each.
  std::vector<float> logits_of_step(std::span<const uint32_t> ids);
  /// Feeds all of them, notes nothing, and reads the logits after the last.
  std::vector<float> logits_after(std::span<const uint32_t> ids);
  /// Adds to the history, and ends the character that was left open.
  void remember(std::span<const uint32_t> ids);

  Engine::Impl& engine;
  uint32_t slot;
  uint64_t n_tokens = 0;            // in the state
  std::optional<uint32_t> pending;  // sampled, returned, not yet fed
  std::string undecoded;            // of the character that the last generation ended in
  Past past;                        // of the slot
  std::vector<uint32_t> history;    // the last kDryRangeMax tokens or more, `pending` and those about to be fed too
};

}  // namespace ravenwing
