// src/engine/recovery.cpp: going on when the GPU was lost in a step of many tokens, as where a driver's watchdog ends
// it, or when workgroups of a token that is one dispatch waited for others that never ran.
#include <algorithm>
#include <span>
#include <utility>

#include "base/error.hpp"
#include "engine/engine_impl.hpp"

namespace ravenwing {
std::vector<float> Past::counts(size_t n_drawn, size_t n_vocab) const {
  std::vector<float> counts = base ? base->counts : std::vector<float>();
  if (n_drawn == 0) return counts;
  counts.resize(n_vocab);
  for (const Drawn& one : std::span(drawn).first(n_drawn)) {
    if (one.decay != 1) {
      for (float& count : counts) count *= one.decay;
    }
    if (one.id != kernels::kNoToken) counts[one.id] += 1;
  }
  return counts;
}

bool Engine::Impl::recover() { return runner.has_stalled() ? recover_from_stall() : recover_from_loss(); }

bool Engine::Impl::recover_from_stall() {
  runner.forget_stall();
  runner.forget_sampled();
  for (Session::Impl* session : sessions) {
    if (session != nullptr) session->rebuild();
  }
  runner.wait();
  if (on_recovery) {
    on_recovery(
        fmt::format("{} did not run all workgroups of a token at a time, as it did before; a token takes "
                    "many dispatches from here on (--no-persistent: from the start)",
                    runner.device().name));
  }
  return true;
}

bool Engine::Impl::recover_from_loss() {
  const uint32_t longest = runner.tokens_at_risk();
  if (longest <= 1 || !runner.is_lost()) return false;
  const std::string device = runner.device().name;
  chunk = std::min(chunk, longest) / 2;
  try {
    runner.reopen();
    for (Session::Impl* session : sessions) {
      if (session != nullptr) session->rebuild();
    }
    runner.wait();
  } catch (const Error& error) {
    if (error.code() == ErrorCode::cancelled) throw;
    // A hook threw while texts were fed again, and they lack the rest.
    if (runner.take_undone()) runner.give_up();
    fail(ErrorCode::device_lost,
         "[device] {} was lost in a step of {} tokens and does not go on when it is opened anew, with {} at most: {}",
         device, longest, chunk, error.what());
  } catch (...) {
    runner.give_up();  // the same
    throw;
  }
  if (on_recovery) {
    on_recovery(fmt::format("{} was lost in a step of {} tokens; opened anew, steps have {} at most from here on",
                            device, longest, chunk));
  }
  return true;
}

void Session::Impl::note_fed(std::span<const uint32_t> ids) {
  n_tokens += ids.size();
  past.tokens.insert(past.tokens.end(), ids.begin(), ids.end());
}

void Session::Impl::note_unfed(size_t n) {
  n_tokens -= n;
  past.cut(n_tokens);
}

void Session::Impl::shorten_past() {
  if (past.tokens.size() > Past::kTokensMax) close_past();
}

void Session::Impl::close_past() {
  engine.retry([&] {
    auto base = std::make_shared<const SessionSnapshot>(snapshot());
    past = {.base = std::move(base), .tokens = {}, .drawn = {}, .mirostat_mu = past.mirostat_mu};
  });
}

void Session::Impl::rebuild() { rebuild(past.tokens.size(), past.drawn.size(), past.mirostat_mu); }

void Session::Impl::rebuild(size_t n_fed, size_t n_drawn, float mirostat_mu) {
  if (past.base)
    engine.runner.write_slot(slot, *past.base);
  else
    engine.runner.reset_slot(slot);
  submit(std::span(past.tokens).first(n_fed));
  const std::vector<float> counts = past.counts(n_drawn, engine.runner.config().n_vocab);
  if (!counts.empty()) engine.runner.write_counts(slot, counts);
  engine.runner.write_mirostat_mu(slot, mirostat_mu);
}

}  // namespace ravenwing
