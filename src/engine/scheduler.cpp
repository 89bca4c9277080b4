// src/engine/scheduler.cpp
#include "engine/scheduler.hpp"

#include <algorithm>
#include <chrono>
#include <set>
#include <utility>

#include "base/error.hpp"
#include "engine/dry.hpp"
#include "engine/logprobs.hpp"
#include "engine/stop.hpp"

namespace ravenwing {
namespace {

using Clock = std::chrono::steady_clock;
using kernels::Frozen;

/// Below this a draw is as good as certain, and dividing by it leaves f32.
constexpr float kTemperatureMin = 1e-6f;

/// Tokens that DRY may take from at once.
constexpr size_t kDryMax = kernels::kAdditionsMax - SamplerParams::kLogitBiasMax;

double ms_between(Clock::time_point begin, Clock::time_point end) {
  return std::chrono::duration<double, std::milli>(end - begin).count();
}

/// A token that the penalties never count: as in ChatRWKV a blank, a tab, a digit.
bool is_uncounted(std::string_view bytes) {
  return bytes.size() == 1 && std::string_view(" \t0123456789").find(bytes[0]) != std::string_view::npos;
}

kernels::ControlBlock request_block(const Tokenizer& tokenizer, const GenerateOptions& options, uint64_t position) {
  kernels::ControlBlock block = kernels::control_block(options.sampler);
  block.limit = options.max_tokens;
  if (block.temperature > 0) block.temperature = std::max(block.temperature, kTemperatureMin);
  block.n_stop = uint32_t(options.stop_tokens.size());
  std::copy(options.stop_tokens.begin(), options.stop_tokens.end(), block.stop);
  block.position = uint32_t(position);
  // No two tokens have the same bytes, so there are at most kUncountedMax.
  for (uint32_t id = 0; options.sampler.counts_tokens() && id < tokenizer.size(); ++id) {
    if (is_uncounted(tokenizer.bytes(id))) block.uncounted[block.n_uncounted++] = id;
  }
  return block;
}

/// Tokens between two copies of the state of a sequence that a stop string may end.
constexpr size_t kCheckpointTokens = 16;

/// A request on its way.
class Active {
 public:
  Active(Engine::Impl& engine, const ScheduledRequest& request)
      : session_(*request.session),
        options_(*request.options),
        decoder_(engine.tokenizer, request.ids.empty() ? std::exchange(session_.undecoded, {}) : ""),
        stops_(options_.stop) {
    prompt_ = session_.take_pending(request.ids);
    if (prompt_.empty() && session_.n_tokens == 0) prompt_.push_back(0);
    // A text goes on from its last token: without a new one there is nothing to compute logits from.
    if (prompt_.empty() && options_.max_tokens > 0)
      fail(ErrorCode::bad_request, "generate needs a token to go on from");
    engine.runner.begin_request(session_.slot,
                                request_block(engine.tokenizer, options_, session_.n_tokens + prompt_.size()));
    if (uses_dry()) breakers_ = sequence_breakers(engine.tokenizer, options_.sampler.dry_sequence_breakers);
    done_ = prompt_.empty();
  }

  bool done() const { return done_; }
  bool prefilling() const { return !done_ && fed_ < prompt_.size(); }
  bool generating() const { return !done_ && fed_ == prompt_.size(); }
  bool wants_output() const { return generating() && options_.max_tokens > 0; }
  /// Of a step that samples.
  uint32_t n_outputs() const { return options_.logprobs && changes_logits() ? 2 : 1; }
  Completion take() { return std::move(completion_); }

  /// Adds one token or as much of the prompt as fits; returns the tokens added.
  uint32_t add_chunk(kernels::StepInput& input, uint32_t n_max) {
    const uint32_t feedback[] = {kernels::kFeedback};
    std::span<const uint32_t> ids(feedback);
    if (fed_ < prompt_.size()) {
      ids = std::span(prompt_).subspan(fed_, std::min<size_t>(n_max, prompt_.size() - fed_));
      fed_ += ids.size();
    }
    input.add_chunk({session_.slot, ids});
    session_.n_tokens += ids.size();
    session_.pending.reset();
    if (wants_output())
      add_outputs(input);
    else if (fed_ == prompt_.size())
      finish(FinishReason::length);
    return uint32_t(ids.size());
  }

  void accept(std::span<const SampledToken> outputs) {
    const SampledToken& sampled = outputs[sampled_output_];
    const auto now = Clock::now();
    if (sampled.frozen == Frozen::numerical) {
      done_ = true;
      fail(ErrorCode::unsupported,
           "the model's logits are not finite after {} tokens: its weights or its numbers overflow", session_.n_tokens);
    }
    Timings& timings = completion_.timings;
    if (n_sampled_++ == 0) {
      timings.prefill_tokens = prompt_.size();
      timings.prefill_ms = ms_between(begin_, now);
      first_token_ = now;
      session_.engine.note_first_token();
    } else {
      timings.decode_tokens += 1;
      timings.decode_ms = ms_between(first_token_, now);
    }
    if (sampled.frozen == Frozen::stop) return finish(FinishReason::stop);
    if (!options_.stop.empty()) take_checkpoint();
    completion_.ids.push_back(sampled.id);
    session_.pending = sampled.id;
    session_.remember({&sampled.id, 1});
    if (options_.logprobs) {
      const std::vector<float> logits = session_.engine.runner.read_logits_of(raw_output_);
      completion_.logprobs.push_back(token_logprobs(logits, sampled.id, *options_.logprobs));
    }
    emit(stops_.push(decoder_.push(sampled.id)));
    if (stops_.stopped()) {
      roll_back();
      return finish(FinishReason::stop);
    }
    if (sampled.frozen == Frozen::limit) return finish(FinishReason::length);
  }

 private:
  /// Keeps the state after the ids so far, now and then, where no stop string can have begun.
  void take_checkpoint() {
    const size_t n_ids = completion_.ids.size();
    const bool clean = stops_.clean() && decoder_.pending().empty();
    if (n_ids != 0 && (n_ids < checkpoint_ids_ + kCheckpointTokens || !clean)) return;
    session_.engine.runner.checkpoint(session_.slot);
    checkpoint_ids_ = n_ids;
    checkpoint_text_bytes_ = completion_.text.size() + decoder_.pending().size();
    checkpoint_n_tokens_ = session_.n_tokens;
  }

  /// Drops the ids that a stop string is part of and takes the state back to those that stay.
  void roll_back() {
    std::vector<uint32_t>& ids = completion_.ids;
    size_t n_kept = checkpoint_ids_, end = checkpoint_text_bytes_;
    for (; n_kept < ids.size(); ++n_kept) {
      end += session_.engine.tokenizer.bytes(ids[n_kept]).size();
      if (end > completion_.text.size()) break;
    }
    session_.history.resize(session_.history.size() - (ids.size() - n_kept));
    ids.resize(n_kept);
    if (options_.logprobs) completion_.logprobs.resize(n_kept);
    session_.engine.runner.roll_back(session_.slot);
    session_.engine.runner.begin_request(session_.slot, {});
    session_.n_tokens = checkpoint_n_tokens_;
    session_.pending.reset();
    if (n_kept == checkpoint_ids_) return;
    session_.feed_checked(std::span(ids).subspan(checkpoint_ids_, n_kept - checkpoint_ids_ - 1));
    session_.pending = ids.back();
  }

  bool uses_dry() const { return options_.sampler.dry_multiplier > 0; }
  bool changes_logits() const {
    return options_.sampler.counts_tokens() || !options_.sampler.logit_bias.empty() || uses_dry();
  }

  void add_outputs(kernels::StepInput& input) {
    // DRY goes by the text so far, the bias stays.
    if (uses_dry() || (n_sampled_ == 0 && !options_.sampler.logit_bias.empty())) write_additions();
    raw_output_ = input.n_outputs();
    sampled_output_ = raw_output_ + n_outputs() - 1;
    // Penalties change the row that the token is drawn from: logprobs want one more, as the model gave it.
    if (n_outputs() == 2) input.add_output({input.n_tokens() - 1, session_.slot, false});
    input.add_output({input.n_tokens() - 1, session_.slot, true});
  }

  void write_additions() {
    std::map<uint32_t, float> sums = options_.sampler.logit_bias;
    if (uses_dry()) {
      for (const auto& [id, penalty] : dry_penalties(session_.history, options_.sampler, breakers_, kDryMax))
        sums[id] -= penalty;
    }
    std::vector<kernels::LogitAddition> additions;
    for (const auto& [id, value] : sums) additions.push_back({id, value});
    session_.engine.runner.write_additions(session_.slot, additions);
  }

  void emit(const std::string& text) {
    if (text.empty() || completion_.finish_reason == FinishReason::cancelled) return;
    completion_.text += text;
    if (options_.on_text && !options_.on_text(text)) finish(FinishReason::cancelled);
  }

  void finish(FinishReason reason) {
    if (done_) return;
    done_ = true;
    completion_.finish_reason = reason;
    if (stops_.stopped()) return;
    // At the limit the next call may complete the character; after a stop token nothing will.
    if (reason == FinishReason::stop) emit(stops_.push(decoder_.finish()));
    session_.undecoded = decoder_.finish();
    if (reason != FinishReason::cancelled) emit(stops_.finish());
  }

  Session::Impl& session_;
  const GenerateOptions& options_;
  StreamDecoder decoder_;
  StopMatcher stops_;
  std::vector<uint32_t> prompt_;
  std::vector<bool> breakers_;  // by id, for DRY
  size_t fed_ = 0;
  uint32_t n_sampled_ = 0;
  uint32_t raw_output_ = 0, sampled_output_ = 0;  // rows of the step
  bool done_ = false;
  Completion completion_;
  size_t checkpoint_ids_ = 0, checkpoint_text_bytes_ = 0;
  uint64_t checkpoint_n_tokens_ = 0;
  Clock::time_point begin_ = Clock::now(), first_token_;
};

void check_request(const Engine::Impl& engine, const ScheduledRequest& request, std::set<const Session::Impl*>& seen) {
  if (request.session == nullptr || &request.session->engine != &engine)
    fail(ErrorCode::bad_request, "a request's session belongs to another engine");
  if (!seen.insert(request.session).second) fail(ErrorCode::bad_request, "a session appears in two requests");
  if (request.options->stop_tokens.size() > kernels::kStopMax) {
    fail(ErrorCode::bad_request, "stop_tokens has {} entries, at most {}", request.options->stop_tokens.size(),
         kernels::kStopMax);
  }
  if (request.options->logprobs > kLogprobsMax)
    fail(ErrorCode::bad_request, "logprobs is {}, must be 0 to {}", *request.options->logprobs, kLogprobsMax);
  request.options->sampler.validate();
  for (const auto& [id, bias] : request.options->sampler.logit_bias) {
    if (id >= engine.runner.config().n_vocab) {
      fail(ErrorCode::bad_request, "logit_bias names id {}, the model's ids are below {}", id,
           engine.runner.config().n_vocab);
    }
  }
  engine.check_ids(request.ids);
}

}  // namespace

std::vector<Completion> run_requests(Engine::Impl& engine, std::span<const ScheduledRequest> requests) {
  std::set<const Session::Impl*> seen;
  for (const ScheduledRequest& request : requests) check_request(engine, request, seen);
  std::vector<Active> actives;
  actives.reserve(requests.size());
  for (const ScheduledRequest& request : requests) actives.emplace_back(engine, request);

  std::vector<Active*> outputs;
  while (std::any_of(actives.begin(), actives.end(), [](const Active& active) { return !active.done(); })) {
    engine.check_cancelled();
    engine.input.clear();
    outputs.clear();
    uint32_t budget = engine.chunk;
    const auto add = [&](Active& active) {
      if (active.done() || budget == 0) return;
      if (engine.input.n_outputs() + active.n_outputs() > engine.runner.outputs_max()) return;
      budget -= active.add_chunk(engine.input, budget);
      if (active.wants_output()) outputs.push_back(&active);
    };
    for (Active& active : actives) {
      if (active.generating()) add(active);
    }
    for (Active& active : actives) {
      if (active.prefilling()) add(active);
    }
    engine.runner.submit(engine.input);
    if (outputs.empty()) continue;
    const std::vector<SampledToken> sampled = engine.runner.read_sampled();
    for (Active* active : outputs) active->accept(sampled);
  }
  std::vector<Completion> completions;
  for (Active& active : actives) completions.push_back(active.take());
  return completions;
}

}  // namespace ravenwing
