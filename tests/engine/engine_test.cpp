// tests/engine/engine_test.cpp: the public API on the demo model.
#include "ravenwing/engine.hpp"

#include <algorithm>
#include <cmath>

#include "engine/support.hpp"

using namespace ravenwing;
using namespace ravenwing::test;

TEST_SUITE("engine") {
  TEST_CASE("a prompt longer than a step gives the same text as one fed token by token") {
    Engine* engine = exact_engine();
    if (engine == nullptr) return;
    const auto ids =
        prompt("There was once a king who had three sons, and they came to see him one day in the spring.");
    REQUIRE(ids.size() > 16);
    Session whole = engine->new_session(), single = engine->new_session();
    const Completion expected = whole.generate(ids, greedy(12));
    for (size_t i = 0; i + 1 < ids.size(); ++i) single.feed(std::span(ids).subspan(i, 1));
    const Completion got = single.generate(std::span(ids).last(1), greedy(12));
    CHECK(got.ids == expected.ids);
    CHECK(got.text == expected.text);
    CHECK(expected.ids.size() == 12);
    CHECK(expected.finish_reason == FinishReason::length);
    // The last token is returned but not fed.
    CHECK(whole.n_tokens() == ids.size() + 11);
    CHECK(whole.state().wkv == single.state().wkv);
    CHECK(whole.state().time_shift == single.state().time_shift);
    CHECK(whole.state().channel_shift == single.state().channel_shift);
  }

  TEST_CASE("two halves of a generation are the whole: the pending token is fed, the frozen slot thaws") {
    Engine* engine = exact_engine();
    if (engine == nullptr) return;
    const auto ids = prompt("Once upon a time");
    Session whole = engine->new_session(), halves = engine->new_session();
    GenerateOptions options = greedy(10);
    options.sampler.temperature = 0.9f;
    options.sampler.seed = 42;
    const Completion expected = whole.generate(ids, options);
    options.max_tokens = 5;
    Completion got = halves.generate(ids, options);
    const Completion rest = halves.generate({}, options);
    got.ids.insert(got.ids.end(), rest.ids.begin(), rest.ids.end());
    CHECK(got.ids == expected.ids);
    CHECK(got.text + rest.text == expected.text);
  }

  TEST_CASE("what is timed draws the tokens that a request draws, whatever the submits") {
    Engine* engine = exact_engine();
    if (engine == nullptr) return;
    constexpr uint32_t kFirst = 1, kTokens = 5;
    std::vector<uint32_t> ids = engine->new_session().generate(std::span(&kFirst, 1), greedy(1 + kTokens)).ids;
    ids.erase(ids.begin());  // drawn before the clock runs
    for (const SubmitShape shape : {SubmitShape{}, {.steps = 2}, {.dispatches = 7}}) {
      const SubmitReading reading = engine->time_submits(shape, kTokens);
      CHECK(reading.ids == ids);
      CHECK(reading.us > 0);
    }
    for (const auto& [shape, n_tokens] : {std::pair(SubmitShape{}, 0u),
                                          {{.steps = 0}, 1u},
                                          {{.steps = SubmitShape::kStepsMax + 1}, 1u},
                                          {{.steps = 2, .dispatches = 3}, 1u}})
      CHECK(code_of([&] { engine->time_submits(shape, n_tokens); }) == ErrorCode::bad_request);
  }

  TEST_CASE("requests of unequal length that share steps get what each gets alone") {
    Engine* engine = exact_engine();
    if (engine == nullptr) return;
    const std::string_view texts[] = {
        "Once upon a time", "The captain stood on the deck of the ship and looked at the sea for a long time", "\""};
    std::vector<Request> requests;
    std::vector<Session> sessions;
    std::vector<Completion> alone;
    for (uint32_t i = 0; i < 3; ++i) {
      GenerateOptions options = greedy(4 + 3 * i);
      options.sampler.temperature = 1;
      options.sampler.seed = i;
      Session session = engine->new_session();
      alone.push_back(session.generate(prompt(texts[i]), options));
      requests.push_back({nullptr, prompt(texts[i]), options});
    }
    for (uint32_t i = 0; i < 3; ++i) sessions.push_back(engine->new_session());
    for (uint32_t i = 0; i < 3; ++i) requests[i].session = &sessions[i];
    const std::vector<Completion> together = engine->generate(requests);
    for (uint32_t i = 0; i < 3; ++i) {
      CHECK(together[i].ids == alone[i].ids);
      CHECK(together[i].text == alone[i].text);
    }
  }

  TEST_CASE("stop tokens, stop strings and the caller's callback end a generation") {
    Engine* engine = exact_engine();
    if (engine == nullptr) return;
    const auto ids = prompt("Once upon a time");
    Session session = engine->new_session();
    const Completion free = session.generate(ids, greedy(12));
    REQUIRE(free.ids.size() == 12);

    GenerateOptions options = greedy(12);
    options.stop_tokens = {free.ids[5]};
    session.reset();
    const Completion at_token = session.generate(ids, options);
    const auto first = std::find(free.ids.begin(), free.ids.end(), free.ids[5]);
    CHECK(at_token.finish_reason == FinishReason::stop);
    CHECK(at_token.ids == std::vector<uint32_t>(free.ids.begin(), first));

    options = greedy(12);
    const std::string stop = free.text.substr(free.text.size() / 2, 3);
    options.stop = {stop};
    std::string streamed;
    options.on_text = [&](std::string_view text) {
      streamed += text;
      return true;
    };
    session.reset();
    const Completion at_string = session.generate(ids, options);
    CHECK(at_string.finish_reason == FinishReason::stop);
    CHECK(at_string.text == free.text.substr(0, free.text.find(stop)));
    CHECK(streamed == at_string.text);

    options = greedy(12);
    options.on_text = [](std::string_view) { return false; };
    session.reset();
    const Completion cancelled = session.generate(ids, options);
    CHECK(cancelled.finish_reason == FinishReason::cancelled);
    CHECK(cancelled.ids.size() < 12);
  }

  TEST_CASE("scores are the negative log likelihoods of the logits") {
    Engine* engine = exact_engine();
    if (engine == nullptr) return;
    const auto ids = prompt("The little girl went to the market.");
    Session session = engine->new_session();
    std::vector<double> expected;
    session.logits_of_each(ids, [&](size_t i, std::span<const float> logits) {
      if (i + 1 == ids.size()) return;
      double sum = 0;
      for (const float logit : logits) sum += std::exp(double(logit));
      expected.push_back(std::log(sum) - logits[ids[i + 1]]);
    });
    session.reset();
    const std::vector<double> scores = session.score(ids);
    REQUIRE(scores.size() == ids.size() - 1);
    for (size_t i = 0; i < scores.size(); ++i) CHECK(scores[i] == doctest::Approx(expected[i]).epsilon(1e-6));
    CHECK(session.n_tokens() == ids.size());
  }

  TEST_CASE("bad requests are named and change nothing") {
    Engine* engine = exact_engine();
    if (engine == nullptr) return;
    Session session = engine->new_session();
    const uint32_t too_large[] = {engine->model().n_vocab};
    CHECK(code_of([&] { session.feed(too_large); }) == ErrorCode::bad_request);
    CHECK(code_of([&] { session.logits({}); }) == ErrorCode::bad_request);
    GenerateOptions options = greedy(1);
    options.stop_tokens.assign(17, 0);
    CHECK(code_of([&] { session.generate(prompt("a"), options); }) == ErrorCode::bad_request);
    options = greedy(1);
    options.sampler.top_p = 0;
    CHECK(code_of([&] { session.generate(prompt("a"), options); }) == ErrorCode::bad_request);
    const std::vector<Request> twice(2, Request{&session, prompt("a"), greedy(1)});
    CHECK(code_of([&] { engine->generate(twice); }) == ErrorCode::bad_request);
    CHECK(session.n_tokens() == 0);
    Session second = engine->new_session(), third = engine->new_session();
    CHECK(code_of([&] { engine->new_session(); }) == ErrorCode::bad_request);
  }

  TEST_CASE("loading and steps look at the cancel flag; a missing model is told before a device is opened") {
    if (exact_engine() == nullptr) return;
    std::atomic<bool> cancel = true;
    EngineOptions options = demo_options();
    options.cancel = &cancel;
    CHECK(code_of([&] { Engine engine(options); }) == ErrorCode::cancelled);
    options.model = "no-such-file.gguf";
    CHECK(code_of([&] { Engine engine(options); }) == ErrorCode::bad_file);
    options = demo_options();
    options.tier = "T9";
    CHECK(code_of([&] { Engine engine(options); }) == ErrorCode::bad_request);
    options = demo_options();
    options.device = "no such device";
    CHECK(code_of([&] { Engine engine(options); }) == ErrorCode::no_device);
    for (const uint32_t chunk : {0u, EngineOptions::kChunkMax + 1}) {
      options.chunk = chunk;
      CHECK(code_of([&] { Engine engine(options); }) == ErrorCode::bad_request);
    }
    options = demo_options();
    for (const uint32_t max_sessions : {0u, EngineOptions::kSessionsMax + 1, 4000000000u}) {
      options.max_sessions = max_sessions;
      CHECK(code_of([&] { Engine engine(options); }) == ErrorCode::bad_request);
    }
  }

  TEST_CASE("every id is told when it is drawn, those too that a stop string takes back") {
    Engine* engine = exact_engine();
    if (engine == nullptr) return;
    Session session = engine->new_session();
    std::vector<uint32_t> told;
    GenerateOptions options = greedy(8);
    options.on_token = [&](uint32_t id) { told.push_back(id); };
    const Completion free = session.generate(prompt("Once upon a time"), options);
    CHECK(free.ids.size() == 8);
    CHECK(told == free.ids);
    session.reset();
    told.clear();
    options.stop = {free.text.substr(free.text.size() / 2, 3)};
    const Completion stopped = session.generate(prompt("Once upon a time"), options);
    REQUIRE(told.size() > stopped.ids.size());
    CHECK(std::equal(told.begin(), told.end(), free.ids.begin()));
  }

  TEST_CASE("steps find ready what the first one of their size made; the peak of memory holds all of it") {
    Engine* engine = exact_engine();
    if (engine == nullptr) return;
    const MemoryUse memory = engine->memory();
    CHECK(memory.peak >= memory.weights + memory.state + memory.scratch);
    const auto use_of = [&](const auto& work) {
      const StepCacheUse before = engine->step_caches();
      work();
      const StepCacheUse after = engine->step_caches();
      const auto count = [&](auto member) {
        return StepCacheUse::Count{(after.*member).hits - (before.*member).hits,
                                   (after.*member).misses - (before.*member).misses};
      };
      return StepCacheUse{count(&StepCacheUse::plans), count(&StepCacheUse::pipelines),
                          count(&StepCacheUse::bind_groups), after.buffers_made - before.buffers_made};
    };
    Session session = engine->new_session();
    const std::vector<uint32_t> ids(9, 1);
    const auto rows = [&] { session.score(ids); };
    const StepCacheUse first = use_of(rows), second = use_of(rows);
    CHECK(first.plans.hits + first.plans.misses == second.plans.hits);
    CHECK(first.bind_groups.hits + first.bind_groups.misses == second.bind_groups.hits);
    CHECK(first.pipelines.hits + first.pipelines.misses == second.pipelines.hits);
    CHECK(second.plans.misses + second.bind_groups.misses + second.pipelines.misses == 0);
    CHECK(second.bind_groups.hits > 5 * second.plans.hits);  // dispatches of a step
    const StepCacheUse all = engine->step_caches();
    CHECK(all.plans.misses > 0);
    CHECK(all.pipelines.misses >= 5);  // kinds of dispatches
    CHECK(all.bind_groups.misses > 5 * all.plans.misses);
    CHECK(all.buffers_made > 20);
    session.state();  // makes what a read of that size needs, if nothing has before
    const StepCacheUse state = use_of([&] { session.state(); });
    CHECK(state.buffers_made == 0);
    CHECK(state.plans.hits == 0);
  }

  TEST_CASE("each mode of loading gives the same text, tells when its first token came, and can be cancelled") {
    Engine* engine = exact_engine();
    if (engine == nullptr) return;
    const auto ids = prompt("Once upon a time");
    Session whole = engine->new_session();
    const std::string expected = whole.generate(ids, greedy(6)).text;
    for (const LoadMode mode : {LoadMode::stream, LoadMode::full, LoadMode::lazy}) {
      CAPTURE(name(mode));
      EngineOptions options = demo_options();
      options.exact = true;
      options.load = mode;
      options.mmap = mode == LoadMode::stream;
      uint64_t last_done = 0, last_total = 1;
      options.on_progress = [&](uint64_t done, uint64_t total) {
        last_done = done;
        last_total = total;
      };
      Engine other(options);
      CHECK((last_done == last_total) == (mode != LoadMode::lazy));
      CHECK(other.first_token_ms() == 0);
      Session session = other.new_session();
      CHECK(session.generate(ids, greedy(6)).text == expected);
      CHECK(last_done == last_total);
      const double first = other.first_token_ms();
      CHECK(first > other.load_ms());
      session.generate({}, greedy(1));
      CHECK(other.first_token_ms() == first);

      std::atomic<bool> cancel = false;
      options.cancel = &cancel;
      options.on_progress = [&](uint64_t done, uint64_t) { cancel = done > 1'000'000; };
      CHECK(code_of([&] {
              Engine ended(options);
              ended.new_session().generate(ids, greedy(1));
            }) == ErrorCode::cancelled);
    }
  }

  TEST_CASE("the self-test passes on every tier") {
    Engine* engine = exact_engine();
    if (engine == nullptr) return;
    CHECK_NOTHROW(self_test(demo_options().device, "T0"));
    CHECK_NOTHROW(self_test(demo_options().device, ""));
  }
}
