// src/engine/scheduler.cpp
#include "engine/scheduler.hpp"

#include <algorithm>
#include <chrono>
#include <set>

#include "base/error.hpp"
#include "engine/stop.hpp"

namespace ravenwing {
namespace {

using Clock = std::chrono::steady_clock;
using kernels::Frozen;

/// Below this a draw is as good as certain, and dividing by it leaves f32.
constexpr float kTemperatureMin = 1e-6f;

double ms_between(Clock::time_point begin, Clock::time_point end) { return std::chrono::duration<double, std::milli>(end - begin).count(); }

kernels::ControlBlock control_block(const GenerateOptions& options, uint64_t position) {
  kernels::ControlBlock block;
  block.limit = options.max_tokens;
  block.seed[0] = uint32_t(options.sampler.seed);
  block.seed[1] = uint32_t(options.sampler.seed >> 32);
  block.temperature = options.sampler.temperature == 0 ? 0 : std::max(options.sampler.temperature, kTemperatureMin);
  block.top_k = options.sampler.top_k;
  block.top_p = options.sampler.top_p;
  block.n_stop = uint32_t(options.stop_tokens.size());
  std::copy(options.stop_tokens.begin(), options.stop_tokens.end(), block.stop);
  block.position = uint32_t(position);
  return block;
}

/// A request on its way.
class Active {
 public:
  Active(Engine::Impl& engine, const ScheduledRequest& request)
      : session_(*request.session), options_(*request.options), decoder_(engine.tokenizer), stops_(options_.stop) {
    prompt_ = session_.take_pending(request.ids);
    if (prompt_.empty() && session_.n_tokens == 0) prompt_.push_back(0);
    // A text goes on from its last token: without a new one there is nothing to compute logits from.
    if (prompt_.empty() && options_.max_tokens > 0) fail(ErrorCode::bad_request, "generate needs a token to go on from");
    engine.runner.write_control(session_.slot, control_block(options_, session_.n_tokens + prompt_.size()));
    done_ = prompt_.empty();
  }

  bool done() const { return done_; }
  bool prefilling() const { return !done_ && fed_ < prompt_.size(); }
  bool generating() const { return !done_ && fed_ == prompt_.size(); }
  bool wants_output() const { return generating() && options_.max_tokens > 0; }
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
    if (wants_output()) input.add_output({input.n_tokens() - 1, session_.slot, true});
    else if (fed_ == prompt_.size()) finish(FinishReason::length);
    return uint32_t(ids.size());
  }

  void accept(const SampledToken& sampled) {
    const auto now = Clock::now();
    if (sampled.frozen == Frozen::numerical) {
      done_ = true;
      fail(ErrorCode::unsupported, "the model's logits are not finite after {} tokens: its weights or its numbers overflow", session_.n_tokens);
    }
    Timings& timings = completion_.timings;
    if (n_sampled_++ == 0) {
      timings.prefill_tokens = prompt_.size();
      timings.prefill_ms = ms_between(begin_, now);
      first_token_ = now;
    } else {
      timings.decode_tokens += 1;
      timings.decode_ms = ms_between(first_token_, now);
    }
    if (sampled.frozen == Frozen::stop) return finish(FinishReason::stop);
    completion_.ids.push_back(sampled.id);
    session_.pending = sampled.id;
    emit(stops_.push(decoder_.push(sampled.id)));
    if (stops_.stopped()) return finish(FinishReason::stop);
    if (sampled.frozen == Frozen::limit) return finish(FinishReason::length);
  }

 private:
  void emit(const std::string& text) {
    if (text.empty() || completion_.finish_reason == FinishReason::cancelled) return;
    completion_.text += text;
    if (options_.on_text && !options_.on_text(text)) finish(FinishReason::cancelled);
  }

  void finish(FinishReason reason) {
    if (done_) return;
    done_ = true;
    completion_.finish_reason = reason;
    if (reason == FinishReason::cancelled || stops_.stopped()) return;
    emit(stops_.push(decoder_.finish()));
    emit(stops_.finish());
  }

  Session::Impl& session_;
  const GenerateOptions& options_;
  StreamDecoder decoder_;
  StopMatcher stops_;
  std::vector<uint32_t> prompt_;
  size_t fed_ = 0;
  uint32_t n_sampled_ = 0;
  bool done_ = false;
  Completion completion_;
  Clock::time_point begin_ = Clock::now(), first_token_;
};

void check_request(const Engine::Impl& engine, const ScheduledRequest& request, std::set<const Session::Impl*>& seen) {
  if (request.session == nullptr || &request.session->engine != &engine) fail(ErrorCode::bad_request, "a request's session belongs to another engine");
  if (!seen.insert(request.session).second) fail(ErrorCode::bad_request, "a session appears in two requests");
  if (request.options->stop_tokens.size() > kernels::kStopMax) {
    fail(ErrorCode::bad_request, "stop_tokens has {} entries, at most {}", request.options->stop_tokens.size(), kernels::kStopMax);
  }
  request.options->sampler.validate();
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
      if (active.done() || budget == 0 || outputs.size() == engine.runner.outputs_max()) return;
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
    for (size_t i = 0; i < outputs.size(); ++i) outputs[i]->accept(sampled[i]);
  }
  std::vector<Completion> completions;
  for (Active& active : actives) completions.push_back(active.take());
  return completions;
}

}  // namespace ravenwing
