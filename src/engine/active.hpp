// A request on its way.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "engine/checkpoints.hpp"
#include "engine/scheduler.hpp"
#include "engine/stop.hpp"

namespace ravenwing {

/// Steps are submitted before the CPU has seen what earlier ones drew: what is submitted (n_fed_, n_draws_) runs ahead
/// of what is accepted (the completion, and all that the session knows). Stop tokens and the limit freeze the slot on
/// the GPU; where only the CPU finds an end, steps may have gone past it, and settle() takes the session back.
class Active {
 public:
  Active(Engine::Impl& engine, const ScheduledRequest& request);

  bool done() const { return done_; }
  /// Whether the next step may take tokens of the prompt; the token that was drawn last.
  bool prefilling() const { return !done_ && n_fed_ < prompt_.size(); }
  bool generating() const { return !done_ && n_fed_ == prompt_.size() && n_draws_ < options_.max_tokens; }
  /// Whether the CPU has to see a draw before the step after it can be submitted: DRY writes what the new text makes a
  /// repetition, and logprobs are read from logits that the next step overwrites.
  bool needs_host() const { return uses_dry() || options_.logprobs.has_value(); }
  /// Of a step that draws.
  uint32_t n_outputs() const { return options_.logprobs && changes_logits() ? 2 : 1; }

  struct Added {
    uint32_t n_tokens = 0;
    std::optional<uint32_t> output;  // the row that a token is drawn from, if one is
  };
  /// Adds one token or as much of the prompt as fits to a step that is about to be submitted.
  Added add_chunk(kernels::StepInput& input, uint32_t n_max);
  /// What add_chunk() goes on from, and back to it after a step that was taken back.
  struct Mark {
    size_t n_fed = 0, n_draws = 0;
    bool feeds_last = false, done = false;
  };
  Mark mark() const { return {n_fed_, n_draws_, feeds_last_, done_}; }
  void take_back(const Mark& mark);
  /// Reads what accept() needs of a step besides what it drew in its row `output`.
  void look(std::span<const kernels::Sampled> rows, uint32_t output);
  /// Takes note of what a step drew. Throws what the caller's callback throws.
  void accept(std::span<const kernels::Sampled> rows, uint32_t output);
  /// The callback threw: nothing after the ids so far.
  void cancel() { finish(FinishReason::cancelled); }
  /// If the request has ended, takes the session back to the prompt and the ids that stay.
  void settle();
  /// The GPU was lost, and with it the steps on their way: goes back to what was accepted. Then sessions are rebuilt.
  void rewind();
  /// Gives the slot of the new device what the request needs there.
  void resume();
  /// The call fails before this request has ended, and no step is on its way: the rest of the prompt is not fed.
  void leave();
  Completion take() { return std::move(completion_); }

 private:
  kernels::ControlBlock block() const;
  bool uses_dry() const { return options_.sampler.dry_multiplier > 0; }
  bool changes_logits() const {
    return options_.sampler.counts_tokens() || !options_.sampler.logit_bias.empty() || uses_dry();
  }
  /// Whether the CPU may end it while steps are on their way.
  bool may_go_back() const { return !options_.stop.empty() || (options_.on_text && !needs_host()); }
  uint32_t add_outputs(kernels::StepInput& input);
  void write_additions();
  void note_time();
  void add_id(const kernels::Sampled& drawn);
  void add_text(uint32_t id);
  void emit(const std::string& text);
  void finish(FinishReason reason);
  std::string_view text_of(uint32_t id) const;
  void count_again(size_t first);
  float mu_after(size_t n) const;

  Session::Impl& session_;
  const GenerateOptions& options_;
  StreamDecoder decoder_;
  StopMatcher stops_;
  Checkpoints checkpoints_;
  const bool had_pending_;  // it is the prompt's first token
  std::vector<uint32_t> prompt_;
  std::vector<bool> breakers_;       // by id, for DRY
  std::vector<uint32_t> uncounted_;  // ids that penalties never count
  uint64_t n_tokens_before_;         // the session's, when the request came
  size_t n_drawn_before_;            // Past's
  float mu_before_;                  // likewise
  size_t n_fed_ = 0;                 // tokens of the prompt, submitted
  size_t n_draws_ = 0, n_accepted_ = 0;
  std::vector<float> mus_;                  // mirostat's, after each id
  size_t n_certain_ = 0, certain_end_ = 0;  // ids whose text is out; where it ends
  std::optional<size_t> n_kept_;            // of the ids, once an end was found that the GPU knows nothing of
  bool feeds_last_ = false;                 // the next step gets the newest id from the CPU: the GPU has forgotten it
  bool done_ = false;
  Completion completion_;
  std::vector<float> logits_;      // that logprobs are taken from
  std::string decoded_, certain_;  // reused by each token
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now(), first_token_;
};

}  // namespace ravenwing
