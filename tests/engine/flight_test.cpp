// tests/engine/flight_test.cpp: steps that the CPU has not seen leave nothing behind, however a generation ends.
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <stdexcept>

#include "engine/support.hpp"

using namespace ravenwing;
using namespace ravenwing::test;

namespace {

struct Feature {
  std::string name;
  SamplerParams sampler;
  std::vector<size_t> stops;  // ids before a stop string
};

/// What sampling remembers of a text: counts, mirostat's mu, the history.
std::vector<Feature> features() {
  // Before the first copy of the state, and after the second one.
  return {
      {"penalties", {.seed = 5, .presence_penalty = 0.5f, .frequency_penalty = 0.3f, .penalty_decay = 0.9f}, {0, 18}},
      {"mirostat", {.seed = 6, .mirostat_tau = 4, .mirostat_eta = 0.7f}, {4}},
      {"DRY", {.seed = 7, .dry_multiplier = 50, .dry_allowed_length = 1, .dry_sequence_breakers = {}}, {2}}};
}

GenerateOptions options_of(const Feature& feature, uint32_t n) {
  GenerateOptions options;
  options.max_tokens = n;
  options.stop_tokens.clear();
  options.sampler = feature.sampler;
  return options;
}

std::vector<uint32_t> text() { return prompt("The king and the king and the queen and"); }

/// Whether a session stands after text() and `ids`, as one does that a limit has ended there, and goes on like it.
/// `fed`: the last of the ids is in the state.
void check_stands_after(Session& session, const std::vector<uint32_t>& ids, const Feature& feature, bool fed = false) {
  Session limited = exact_engine()->new_session();
  if (ids.empty()) {
    limited.feed(text());
  } else {
    REQUIRE(limited.generate(text(), options_of(feature, uint32_t(ids.size()))).ids == ids);
    if (fed) limited.feed({});
  }
  check_same(session.snapshot(), limited.snapshot());
  const auto more = prompt(" was");
  CHECK(session.generate(more, options_of(feature, 2)).ids == limited.generate(more, options_of(feature, 2)).ids);
}

/// The first of the ids, from `first` on, that stood nowhere before.
size_t first_new(const std::vector<uint32_t>& ids, size_t first) {
  while (std::find(ids.begin(), ids.begin() + ptrdiff_t(first), ids[first]) != ids.begin() + ptrdiff_t(first)) ++first;
  return first;
}

}  // namespace

TEST_SUITE("steps in flight") {
  TEST_CASE("a stop string, a stop token and the callback leave the session that a limit leaves there") {
    Engine* engine = exact_engine();
    if (engine == nullptr) return;
    for (const Feature& feature : features()) {
      CAPTURE(feature.name);
      Session session = engine->new_session();
      const uint32_t n_free = uint32_t(feature.stops.back()) + 6;
      const Completion free = session.generate(text(), options_of(feature, n_free));
      REQUIRE(free.ids.size() == n_free);
      for (size_t n_ids : feature.stops) {
        // The stop string begins within the token after them.
        while (engine->tokenizer().bytes(free.ids[n_ids]).size() < 2) ++n_ids;
        CAPTURE(n_ids);
        const size_t at = engine->tokenizer().decode(std::span(free.ids).first(n_ids)).size() + 1;
        GenerateOptions options = options_of(feature, n_free);
        options.stop = {free.text.substr(at, 9)};
        REQUIRE(free.text.find(options.stop[0]) == at);
        session.reset();
        const Completion stopped = session.generate(text(), options);
        CHECK(stopped.finish_reason == FinishReason::stop);
        REQUIRE(stopped.ids == std::vector<uint32_t>(free.ids.begin(), free.ids.begin() + ptrdiff_t(n_ids)));
        check_stands_after(session, stopped.ids, feature);
      }

      GenerateOptions options = options_of(feature, n_free);
      const size_t n_ids = first_new(free.ids, 3);
      options.stop_tokens = {free.ids[n_ids]};
      session.reset();
      const Completion at_token = session.generate(text(), options);
      REQUIRE(at_token.ids.size() == n_ids);
      check_stands_after(session, at_token.ids, feature, true);

      options = options_of(feature, n_free);
      size_t n_pieces = 0;
      options.on_text = [&](std::string_view) { return ++n_pieces < 3; };
      session.reset();
      const Completion cancelled = session.generate(text(), options);
      CHECK(cancelled.finish_reason == FinishReason::cancelled);
      CHECK(n_pieces == 3);
      REQUIRE(cancelled.ids.size() >= 3);
      REQUIRE(cancelled.ids.size() < n_free);
      check_stands_after(session, cancelled.ids, feature);
    }
  }

  TEST_CASE("a request that ends takes nothing from those it shares steps with") {
    Engine* engine = exact_engine();
    if (engine == nullptr) return;
    const std::vector<Feature> all = features();
    std::vector<Completion> alone;
    for (const size_t i : {0, 1}) {
      Session session = engine->new_session();
      GenerateOptions options = options_of(all[i], 8);
      if (i == 1) options.logprobs = 1;
      alone.push_back(session.generate(text(), options));
    }
    // The first is rolled back in the middle of a step whose logits the second one wants to see.
    Session stopped = engine->new_session(), goes_on = engine->new_session();
    std::vector<Request> requests = {{&stopped, text(), options_of(all[0], 8)},
                                     {&goes_on, text(), options_of(all[1], 8)}};
    const size_t at = engine->tokenizer().decode(std::span(alone[0].ids).first(3)).size() + 1;
    requests[0].options.stop = {alone[0].text.substr(at, 7)};
    for (const bool with_logprobs : {true, false}) {
      CAPTURE(with_logprobs);
      if (with_logprobs) requests[1].options.logprobs = 1;
      if (!with_logprobs) requests[1].options.logprobs.reset();
      stopped.reset();
      goes_on.reset();
      const std::vector<Completion> together = engine->generate(requests);
      CHECK(together[0].finish_reason == FinishReason::stop);
      CHECK(together[0].ids == std::vector<uint32_t>(alone[0].ids.begin(), alone[0].ids.begin() + 3));
      CHECK(together[1].ids == alone[1].ids);
      if (!with_logprobs) continue;
      REQUIRE(together[1].logprobs.size() == 8);
      for (size_t i = 0; i < 8; ++i) CHECK(together[1].logprobs[i].token.logprob == alone[1].logprobs[i].token.logprob);
    }
    // No further step: each has gone on by itself.
    { Session(std::move(goes_on)); }
    check_stands_after(stopped, std::vector<uint32_t>(alone[0].ids.begin(), alone[0].ids.begin() + 3), all[0]);
  }

  TEST_CASE("an error and Ctrl-C leave each session after the ids that its callback has seen") {
    Engine* engine = exact_engine();
    if (engine == nullptr) return;
    const Feature feature = features()[0];
    Session limited = engine->new_session();
    const Completion free = limited.generate(text(), options_of(feature, 12));
    { Session(std::move(limited)); }
    for (const bool throws : {true, false}) {
      CAPTURE(throws);
      Session loud = engine->new_session(), quiet = engine->new_session();
      std::string seen;
      std::vector<Request> requests = {{&loud, text(), options_of(feature, 12)},
                                       {&quiet, text(), options_of(feature, 12)}};
      size_t n_pieces = 0;
      requests[0].options.on_text = [&](std::string_view piece) {
        seen += piece;
        if (++n_pieces != 4) return true;
        if (throws) throw std::runtime_error("of the callback");
        cancel_flag() = true;
        return true;
      };
      if (throws)
        CHECK_THROWS_AS(engine->generate(requests), std::runtime_error);
      else
        CHECK(code_of([&] { engine->generate(requests); }) == ErrorCode::cancelled);
      cancel_flag() = false;
      // The text seen is the beginning of the free one, and ends with a token.
      const auto ids_of = [&](const SessionSnapshot& snapshot) {
        const size_t n = snapshot.n_tokens - text().size() + 1;
        REQUIRE(n <= free.ids.size());
        return std::vector<uint32_t>(free.ids.begin(), free.ids.begin() + ptrdiff_t(n));
      };
      const SessionSnapshot of_loud = loud.snapshot(), of_quiet = quiet.snapshot();
      const std::vector<uint32_t> loud_ids = ids_of(of_loud), quiet_ids = ids_of(of_quiet);
      CHECK(engine->tokenizer().decode(loud_ids) == seen);
      for (const bool is_loud : {true, false}) {
        Session reference = engine->new_session();
        const std::vector<uint32_t>& ids = is_loud ? loud_ids : quiet_ids;
        reference.generate(text(), options_of(feature, uint32_t(ids.size())));
        check_same(is_loud ? of_loud : of_quiet, reference.snapshot());
      }
    }
  }

  TEST_CASE("a call that is cancelled before its first step has fed nothing") {
    Engine* engine = exact_engine();
    if (engine == nullptr) return;
    const Feature feature = features()[2];
    Session session = engine->new_session();
    session.generate(text(), options_of(feature, 2));
    const SessionSnapshot before = session.snapshot();
    REQUIRE(before.pending.has_value());
    cancel_flag() = true;
    CHECK(code_of([&] { session.generate(prompt(" and so"), options_of(feature, 2)); }) == ErrorCode::cancelled);
    cancel_flag() = false;
    check_same(session.snapshot(), before);
  }

  TEST_CASE("a session that was saved and loaded goes on as one that was not, whatever sampling remembers") {
    Engine* engine = exact_engine();
    if (engine == nullptr) return;
    const auto path = std::filesystem::temp_directory_path() / ("ravenwing-flight-" + std::to_string(getpid()));
    for (const Feature& feature : features()) {
      CAPTURE(feature.name);
      Session session = engine->new_session(), loaded = engine->new_session();
      session.generate(text(), options_of(feature, 3));
      session.save(path);
      loaded.load(path);
      check_same(loaded.snapshot(), session.snapshot());
      const Completion expected = session.generate({}, options_of(feature, 4));
      CHECK(loaded.generate({}, options_of(feature, 4)).ids == expected.ids);
      loaded.restore(SessionSnapshot{session.snapshot()});
      check_same(loaded.snapshot(), session.snapshot());
    }
    std::filesystem::remove(path);
  }
}
