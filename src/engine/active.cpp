// src/engine/active.cpp
#include "engine/active.hpp"

#include <algorithm>
#include <utility>

#include "base/error.hpp"
#include "engine/dry.hpp"
#include "engine/logprobs.hpp"

namespace ravenwing {
namespace {

using Clock = std::chrono::steady_clock;
using kernels::Frozen;

/// Below this a draw is as good as certain, and dividing by it leaves f32.
constexpr float kTemperatureMin = 1e-6f;

/// Tokens that DRY may take from at once.
constexpr size_t kDryMax = kernels::kAdditionsMax - SamplerParams::kLogitBiasMax;

/// Ids that there is room for from the beginning, so that no step has to make it; and their text, by its usual length.
constexpr size_t kIdsReserved = 1 << 16;
constexpr size_t kBytesPerId = 6;

double ms_between(Clock::time_point begin, Clock::time_point end) {
  return std::chrono::duration<double, std::milli>(end - begin).count();
}

/// Tokens that the penalties never count: as in ChatRWKV a blank, a tab, a digit.
std::vector<uint32_t> uncounted_ids(const Tokenizer& tokenizer) {
  std::vector<uint32_t> ids;
  for (uint32_t id = 0; id < tokenizer.size(); ++id) {
    const std::string_view bytes = tokenizer.bytes(id);
    if (bytes.size() == 1 && std::string_view(" \t0123456789").find(bytes[0]) != std::string_view::npos)
      ids.push_back(id);
  }
  return ids;
}

kernels::ControlBlock request_block(const GenerateOptions& options, std::span<const uint32_t> uncounted,
                                    uint64_t position) {
  kernels::ControlBlock block = kernels::control_block(options.sampler);
  block.limit = options.max_tokens;
  if (block.temperature > 0) block.temperature = std::max(block.temperature, kTemperatureMin);
  block.n_stop = uint32_t(options.stop_tokens.size());
  std::copy(options.stop_tokens.begin(), options.stop_tokens.end(), block.stop);
  block.position = uint32_t(position);
  // No two tokens have the same bytes, so there are at most kUncountedMax.
  block.n_uncounted = uint32_t(uncounted.size());
  std::copy(uncounted.begin(), uncounted.end(), block.uncounted);
  return block;
}

}  // namespace

Active::Active(Engine::Impl& engine, const ScheduledRequest& request)
    : session_(*request.session),
      options_(*request.options),
      decoder_(engine.tokenizer, request.ids.empty() ? std::exchange(session_.undecoded, {}) : ""),
      stops_(options_.stop),
      checkpoints_(engine.runner, session_.slot),
      had_pending_(session_.pending.has_value()),
      prompt_(session_.take_pending(request.ids)),
      n_tokens_before_(session_.n_tokens),
      n_drawn_before_(session_.past.drawn.size()),
      mu_before_(session_.past.mirostat_mu),
      certain_end_(decoder_.pending().size()) {
  if (prompt_.empty() && session_.n_tokens == 0) prompt_.push_back(0);
  if (options_.sampler.counts_tokens()) uncounted_ = uncounted_ids(engine.tokenizer);
  engine.runner.begin_request(session_.slot, block());
  if (uses_dry()) breakers_ = sequence_breakers(engine.tokenizer, options_.sampler.dry_sequence_breakers);
  const size_t n_ids = std::min<size_t>(options_.max_tokens, kIdsReserved);
  completion_.ids.reserve(n_ids);
  completion_.text.reserve(n_ids * kBytesPerId);
  session_.history.reserve(session_.history.size() + n_ids);
  session_.past.tokens.reserve(session_.past.tokens.size() + prompt_.size() + n_ids);
  if (options_.sampler.counts_tokens()) session_.past.drawn.reserve(n_drawn_before_ + n_ids);
  if (options_.sampler.mirostat_tau > 0) mus_.reserve(n_ids);
  done_ = prompt_.empty();
}

kernels::ControlBlock Active::block() const {
  kernels::ControlBlock block = request_block(options_, uncounted_, n_tokens_before_ + prompt_.size());
  block.n_generated = uint32_t(n_accepted_);
  return block;
}

Active::Added Active::add_chunk(kernels::StepInput& input, uint32_t n_max) {
  const bool feeds_back = n_fed_ == prompt_.size();
  const size_t n = feeds_back ? 1 : std::min<size_t>(n_max, prompt_.size() - n_fed_);
  const bool draws = options_.max_tokens > 0 && (feeds_back || n_fed_ + n == prompt_.size());
  if (draws && may_go_back())
    checkpoints_.before_draw({n_fed_ + (n_draws_ > 0 ? n_draws_ - 1 : 0), n_draws_}, n_certain_);
  const uint32_t feedback[] = {std::exchange(feeds_last_, false) ? completion_.ids.back() : kernels::kFeedback};
  if (feeds_back) {
    input.add_chunk({session_.slot, feedback});
  } else {
    input.add_chunk({session_.slot, std::span(prompt_).subspan(n_fed_, n)});
    session_.note_fed(std::span(prompt_).subspan(n_fed_, n));
    n_fed_ += n;
  }
  if (draws) return {uint32_t(n), add_outputs(input)};
  if (n_fed_ == prompt_.size()) finish(FinishReason::length);
  return {uint32_t(n), std::nullopt};
}

void Active::take_back(const Mark& mark) {
  session_.note_unfed(n_fed_ - mark.n_fed);
  n_fed_ = mark.n_fed;
  n_draws_ = mark.n_draws;
  feeds_last_ = mark.feeds_last;
  done_ = mark.done;
}

/// Returns the row that a token is drawn from.
uint32_t Active::add_outputs(kernels::StepInput& input) {
  // DRY goes by the text so far, the bias stays.
  if (uses_dry() || (n_draws_ == 0 && !options_.sampler.logit_bias.empty())) write_additions();
  // Penalties change the row that the token is drawn from: logprobs want one more, as the model gave it.
  if (n_outputs() == 2) input.add_output({input.n_tokens() - 1, session_.slot, false});
  input.add_output({input.n_tokens() - 1, session_.slot, true});
  ++n_draws_;
  return input.n_outputs() - 1;
}

void Active::write_additions() {
  std::map<uint32_t, float> sums = options_.sampler.logit_bias;
  if (uses_dry()) {
    for (const auto& [id, penalty] : dry_penalties(session_.history, options_.sampler, breakers_, kDryMax))
      sums[id] -= penalty;
  }
  std::vector<kernels::LogitAddition> additions;
  for (const auto& [id, value] : sums) additions.push_back({id, value});
  session_.engine.runner.write_additions(session_.slot, additions);
}

void Active::look(std::span<const kernels::Sampled> rows, uint32_t output) {
  const Frozen frozen = rows[output].frozen;
  if (done_ || !options_.logprobs || frozen == Frozen::stop || frozen == Frozen::numerical) return;
  logits_ = session_.engine.runner.read_logits_of(output + 1 - n_outputs());
}

void Active::accept(std::span<const kernels::Sampled> rows, uint32_t output) {
  if (done_) return;  // the step was on its way when the end was found
  const kernels::Sampled& drawn = rows[output];
  // The step fed the token that was drawn before; the prompt's were counted when they were submitted.
  if (n_accepted_ > 0) session_.note_fed({&completion_.ids.back(), 1});
  session_.pending.reset();
  if (drawn.frozen == Frozen::numerical) {
    done_ = true;
    fail(ErrorCode::unsupported,
         "the model's logits are not finite after {} tokens: its weights or its numbers overflow", session_.n_tokens);
  }
  note_time();
  ++n_accepted_;
  if (drawn.frozen == Frozen::stop) return finish(FinishReason::stop);
  add_id(drawn);
  if (options_.on_token) options_.on_token(drawn.id);
  if (options_.logprobs) completion_.logprobs.push_back(token_logprobs(logits_, drawn.id, *options_.logprobs));
  add_text(drawn.id);
  if (stops_.stopped()) return finish(FinishReason::stop);
  if (drawn.frozen == Frozen::limit) finish(FinishReason::length);
}

void Active::note_time() {
  Timings& timings = completion_.timings;
  const Clock::time_point now = Clock::now();
  if (n_accepted_ == 0) {
    timings.prefill_tokens = prompt_.size();
    timings.prefill_ms = ms_between(begin_, now);
    first_token_ = now;
    session_.engine.note_first_token();
  } else {
    timings.decode_tokens += 1;
    timings.decode_ms = ms_between(first_token_, now);
  }
}

void Active::add_id(const kernels::Sampled& drawn) {
  completion_.ids.push_back(drawn.id);
  session_.pending = drawn.id;
  session_.remember({&drawn.id, 1});
  if (options_.sampler.mirostat_tau > 0) {
    mus_.push_back(drawn.mirostat_mu);
    session_.past.mirostat_mu = drawn.mirostat_mu;
  }
  if (!options_.sampler.counts_tokens()) return;
  const bool is_counted = std::find(uncounted_.begin(), uncounted_.end(), drawn.id) == uncounted_.end();
  session_.past.drawn.push_back({is_counted ? drawn.id : kernels::kNoToken, options_.sampler.penalty_decay});
}

/// A model may have more ids than its vocabulary has tokens.
std::string_view Active::text_of(uint32_t id) const {
  const Tokenizer& tokenizer = session_.engine.tokenizer;
  return id < tokenizer.size() ? tokenizer.bytes(id) : std::string_view();
}

void Active::add_text(uint32_t id) {
  decoded_.clear();
  certain_.clear();
  if (!text_of(id).empty()) decoder_.push(id, decoded_);
  stops_.push(decoded_, certain_);
  emit(certain_);
}

void Active::emit(const std::string& text) {
  if (text.empty() || completion_.finish_reason == FinishReason::cancelled) return;
  completion_.text += text;
  const std::vector<uint32_t>& ids = completion_.ids;
  for (; n_certain_ < ids.size(); ++n_certain_) {
    const size_t end = certain_end_ + text_of(ids[n_certain_]).size();
    if (end > completion_.text.size()) break;
    certain_end_ = end;
  }
  if (options_.on_text && !options_.on_text(text)) finish(FinishReason::cancelled);
}

void Active::finish(FinishReason reason) {
  if (done_) return;
  done_ = true;
  completion_.finish_reason = reason;
  if (reason == FinishReason::cancelled) n_kept_ = completion_.ids.size();
  if (!stops_.stopped()) {
    // At the limit the next call may complete the character; after a stop token nothing will.
    if (reason == FinishReason::stop) {
      certain_.clear();
      stops_.push(decoder_.finish(), certain_);
      emit(certain_);
    }
    session_.undecoded = decoder_.finish();
    if (reason != FinishReason::cancelled) emit(stops_.finish());
  }
  // Ids that the stop string is part of are dropped.
  if (stops_.stopped()) n_kept_ = n_certain_;
}

void Active::settle() {
  if (!n_kept_) return;
  const size_t n_kept = *std::exchange(n_kept_, std::nullopt);
  std::vector<uint32_t>& ids = completion_.ids;
  session_.history.resize(session_.history.size() - (ids.size() - n_kept));
  ids.resize(n_kept);
  if (options_.logprobs) completion_.logprobs.resize(n_kept);
  if (options_.sampler.counts_tokens()) session_.past.drawn.resize(n_drawn_before_ + n_kept);
  session_.past.mirostat_mu = mu_after(n_kept);
  if (n_draws_ == n_kept || checkpoints_.empty()) return;
  const Checkpoints::Mark mark = checkpoints_.roll_back(n_kept);
  session_.engine.runner.begin_request(session_.slot, {});
  session_.n_tokens = n_tokens_before_ + mark.n_fed;
  session_.past.cut(session_.n_tokens);
  session_.pending.reset();
  std::vector<uint32_t> tokens = prompt_;
  tokens.insert(tokens.end(), ids.begin(), ids.end());
  if (n_kept > 0) {
    session_.pending = tokens.back();
    tokens.pop_back();
  }
  session_.advance(std::span(tokens).subspan(mark.n_fed));
  count_again(mark.n_drawn);
}

/// Does what drawing the ids from `first` on did to the counts and to mirostat's mu.
void Active::count_again(size_t first) {
  const SamplerParams& params = options_.sampler;
  const std::span ids = std::span(completion_.ids).subspan(first);
  Runner& runner = session_.engine.runner;
  if (ids.empty()) return;
  if (params.mirostat_tau > 0) runner.write_mirostat_mu(session_.slot, mus_[completion_.ids.size() - 1]);
  if (!params.counts_tokens()) return;
  std::vector<float> counts = runner.read_counts(session_.slot);
  for (const uint32_t id : ids) {
    for (float& count : counts) count *= params.penalty_decay;
    if (std::find(uncounted_.begin(), uncounted_.end(), id) == uncounted_.end()) counts[id] += 1;
  }
  runner.write_counts(session_.slot, counts);
}

/// Mirostat's, after the first n ids.
float Active::mu_after(size_t n) const { return n > 0 && !mus_.empty() ? mus_[n - 1] : mu_before_; }

void Active::rewind() {
  if (done_) return;
  n_draws_ = n_accepted_;
  feeds_last_ = n_accepted_ > 0;
  if (feeds_last_ || n_fed_ < prompt_.size()) return;
  // The prompt's last token gives the logits of the first draw.
  --n_fed_;
  session_.past.cut(--session_.n_tokens);
}

void Active::resume() {
  if (done_) return;
  checkpoints_.forget();
  if (feeds_last_ && may_go_back()) {
    const size_t n = n_certain_;
    const uint64_t n_fed = prompt_.size() + std::max<size_t>(n, 1) - 1;
    session_.rebuild(session_.past.tokens.size() - (session_.n_tokens - n_tokens_before_ - n_fed),
                     std::min(n_drawn_before_ + n, session_.past.drawn.size()), mu_after(n));
    checkpoints_.before_draw({n_fed, n}, n);
    session_.rebuild();
  }
  session_.engine.runner.begin_request(session_.slot, block());
  if (feeds_last_ && !options_.sampler.logit_bias.empty()) write_additions();
}

void Active::leave() {
  if (done_ || n_fed_ == prompt_.size()) return;
  size_t n_unfed = prompt_.size() - n_fed_;
  if (had_pending_ && n_fed_ == 0) {
    session_.pending = prompt_.front();
    --n_unfed;  // the history had it before
  }
  session_.history.resize(session_.history.size() - std::min(session_.history.size(), n_unfed));
}

}  // namespace ravenwing
