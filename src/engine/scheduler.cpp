// src/engine/scheduler.cpp
#include "engine/scheduler.hpp"

#include <algorithm>
#include <array>
#include <exception>
#include <set>

#include "base/error.hpp"
#include "engine/active.hpp"
#include "engine/logprobs.hpp"

namespace ravenwing {
namespace {

/// The steps that were submitted and whose results the CPU has not looked at, in the order in which they run.
class StepsInFlight {
 public:
  StepsInFlight(Engine::Impl& engine, std::vector<Active>& actives) : engine_(engine), actives_(actives) {
    for (Step& step : steps_) step.rows.reserve(actives.size());
  }

  bool all_done() const {
    return std::all_of(actives_.begin(), actives_.end(), [](const Active& active) { return active.done(); });
  }

  /// Submits one more step. Not where there is nothing to do, where enough are on their way, or where the CPU has to
  /// look at the last one first.
  bool submit() {
    if (n_steps_ == steps_.size() || (n_steps_ > 0 && newest().needs_host)) return false;
    Step& step = steps_[(first_ + n_steps_) % steps_.size()];
    if (engine_.runner.has_hook()) return submit_hooked(step);
    fill(step);
    if (engine_.input.n_tokens() == 0) return false;
    engine_.runner.launch(engine_.input);
    ++n_steps_;
    return true;
  }

  /// Waits for the oldest step and gives each request what it drew. An error of one request takes nothing from the
  /// others.
  void take() {
    RAVENWING_CHECK(n_steps_ > 0);
    const Step& step = steps_[first_];
    first_ = (first_ + 1) % steps_.size();
    --n_steps_;
    engine_.runner.take_sampled(sampled_);
    for (const Row& row : step.rows) row.active->look(sampled_, row.output);
    std::exception_ptr error;
    for (const Row& row : step.rows) {
      try {
        row.active->accept(sampled_, row.output);
      } catch (...) {
        if (!error) error = std::current_exception();
        row.active->cancel();
      }
    }
    // Only now, because what it submits ends the time in which the step's logits can be read.
    for (const Row& row : step.rows) row.active->settle();
    if (!error) return;
    has_failed_ = true;
    std::rethrow_exception(error);
  }

  /// Runs the requests to their ends.
  void run() {
    while (!all_done()) {
      engine_.check_cancelled();
      while (submit()) continue;
      if (!all_done()) take();
    }
  }

  /// After an error: if the GPU was lost, or has stalled, and the engine can recover, goes on from what was taken.
  bool recover() {
    if (has_failed_ || !(engine_.runner.is_lost() || engine_.runner.has_stalled())) return false;
    for (Active& active : actives_) active.rewind();
    n_steps_ = 0;
    if (!engine_.recover()) return false;
    for (Active& active : actives_) active.resume();
    return true;
  }

  /// After an error: takes what is on its way, so that every session stands after the ids that it knows of.
  void drain() {
    while (n_steps_ > 0 && !all_done()) {
      try {
        take();
      } catch (...) {
        // The first error is the one to be told.
      }
    }
    for (Active& active : actives_) active.leave();
  }

 private:
  struct Row {
    Active* active;
    uint32_t output;  // of the step
  };
  struct Step {
    std::vector<Row> rows;
    bool needs_host = false;  // before the next one is submitted
  };

  /// Alone, so that no hook sees tokens that are drawn after a text's end.
  bool submit_hooked(Step& step) {
    std::vector<Active::Mark> marks;
    for (const Active& active : actives_) marks.push_back(active.mark());
    fill(step);
    step.needs_host = true;
    if (engine_.input.n_tokens() == 0) return false;
    try {
      engine_.runner.launch(engine_.input);
    } catch (...) {
      if (engine_.runner.take_undone()) {
        for (size_t i = 0; i < actives_.size(); ++i) actives_[i].take_back(marks[i]);
      }
      throw;
    }
    ++n_steps_;
    return true;
  }

  const Step& newest() const { return steps_[(first_ + n_steps_ - 1) % steps_.size()]; }

  void fill(Step& step) {
    engine_.input.clear();
    step.rows.clear();
    step.needs_host = false;
    uint32_t budget = engine_.chunk;
    const auto add = [&](Active& active) {
      if (budget == 0 || engine_.input.n_outputs() + active.n_outputs() > engine_.runner.outputs_max()) return;
      const Active::Added added = active.add_chunk(engine_.input, budget);
      budget -= added.n_tokens;
      if (!added.output) return;
      step.rows.push_back({&active, *added.output});
      step.needs_host |= active.needs_host();
    };
    for (Active& active : actives_) {
      if (active.generating()) add(active);
    }
    for (Active& active : actives_) {
      if (active.prefilling()) add(active);
    }
  }

  Engine::Impl& engine_;
  std::vector<Active>& actives_;
  std::array<Step, kernels::kStepsInFlight> steps_;
  size_t first_ = 0, n_steps_ = 0;
  bool has_failed_ = false;                // by what one request threw
  std::vector<kernels::Sampled> sampled_;  // of the step that is looked at
};

void check_request(const Engine::Impl& engine, const ScheduledRequest& request, std::set<const Session::Impl*>& seen) {
  if (request.session == nullptr || &request.session->engine != &engine)
    fail(ErrorCode::bad_request, "a request's session belongs to another engine");
  if (!seen.insert(request.session).second) fail(ErrorCode::bad_request, "a session appears in two requests");
  const GenerateOptions& options = *request.options;
  if (options.stop_tokens.size() > kernels::kStopMax) {
    fail(ErrorCode::bad_request, "stop_tokens has {} entries, at most {}", options.stop_tokens.size(),
         kernels::kStopMax);
  }
  if (options.logprobs > kLogprobsMax)
    fail(ErrorCode::bad_request, "logprobs is {}, must be 0 to {}", *options.logprobs, kLogprobsMax);
  options.sampler.validate();
  for (const auto& [id, bias] : options.sampler.logit_bias) {
    if (id >= engine.runner.config().n_vocab) {
      fail(ErrorCode::bad_request, "logit_bias names id {}, the model's ids are below {}", id,
           engine.runner.config().n_vocab);
    }
  }
  engine.check_ids(request.ids);
  // A text goes on from its last token: without a new one there is nothing to compute logits from.
  const Session::Impl& session = *request.session;
  if (request.ids.empty() && !session.pending && session.n_tokens > 0 && options.max_tokens > 0)
    fail(ErrorCode::bad_request, "generate needs a token to go on from");
}

}  // namespace

std::vector<Completion> run_requests(Engine::Impl& engine, std::span<const ScheduledRequest> requests) {
  std::set<const Session::Impl*> seen;
  for (const ScheduledRequest& request : requests) check_request(engine, request, seen);
  const Runner::InUse in_use(engine.runner);
  for (const ScheduledRequest& request : requests) request.session->shorten_past();
  std::vector<Active> actives;
  actives.reserve(requests.size());
  for (const ScheduledRequest& request : requests) actives.emplace_back(engine, request);

  StepsInFlight steps(engine, actives);
  engine.in_flight = true;
  const auto landed = std::unique_ptr<bool, void (*)(bool*)>(&engine.in_flight, [](bool* flag) { *flag = false; });
  try {
    try {
      steps.run();
    } catch (...) {
      if (!steps.recover()) throw;
      steps.run();
    }
  } catch (...) {
    steps.drain();
    engine.runner.forget_sampled();
    throw;
  }
  // What is still on its way belongs to slots that are frozen or taken back.
  engine.runner.forget_sampled();
  std::vector<Completion> completions;
  for (Active& active : actives) completions.push_back(active.take());
  engine.runner.end_of_answer();
  return completions;
}

}  // namespace ravenwing
