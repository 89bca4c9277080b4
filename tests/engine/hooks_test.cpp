// tests/engine/hooks_test.cpp: hooks of an engine: its texts, what a hook that throws leaves behind, what it may not
// do. Values are compared in tests/model/hooks_test.cpp.
#include <algorithm>
#include <cstdlib>
#include <map>
#include <stdexcept>

#include "engine/support.hpp"

using namespace ravenwing;
using namespace ravenwing::test;

namespace {

/// Points that lie in memory: others would have shaders of their own compiled, for seconds.
Hook hook_of(std::function<void(const HookCall&)> call) {
  return {std::move(call), {HookPoint::k, HookPoint::out}, {1}};
}

/// The engine's hook while this lives.
class Hooked {
 public:
  Hooked(Engine& engine, Hook hook) : engine_(engine) { engine_.set_hook(std::move(hook)); }
  ~Hooked() { engine_.clear_hook(); }
  Hooked(const Hooked&) = delete;
  Hooked& operator=(const Hooked&) = delete;

 private:
  Engine& engine_;
};

std::vector<uint32_t> text() { return prompt("The king and the queen had three sons, and they were"); }

GenerateOptions counting(uint32_t n) {
  GenerateOptions options;
  options.max_tokens = n;
  options.stop_tokens.clear();
  options.sampler = {.temperature = 1, .seed = 5, .presence_penalty = 0.5f, .penalty_decay = 0.9f};
  return options;
}

/// Adds to k of a layer, which changes all that follows.
void push(const HookCall& call) {
  if (call.point != HookPoint::k) return;
  for (float& value : call.values) value += 0.5f;
}

}  // namespace

TEST_SUITE("hooks") {
  TEST_CASE("a hook sees every token of every text, in prompts and in generation, and changes nothing") {
    Engine* engine = exact_engine();
    if (engine == nullptr) return;
    Session a = engine->new_session(), b = engine->new_session();
    CHECK(a.id() != b.id());
    const auto generate = [&](Session& first, Session& second) {
      const Request requests[] = {{&first, text(), counting(6)}, {&second, prompt("Once"), counting(3)}};
      return engine->generate(requests);
    };
    const std::vector<Completion> plain = generate(a, b);
    Session c = [&] {
      a.reset();
      return engine->new_session();
    }();
    b.reset();
    std::map<uint32_t, uint32_t> n_rows;
    std::vector<Completion> hooked;
    {
      const Hooked hook(*engine, hook_of([&](const HookCall& call) {
        CHECK(call.n_tokens <= engine->chunk());
        if (call.point != HookPoint::out) return;
        for (const HookRows& rows : call.rows) n_rows[rows.session] += rows.count;
      }));
      hooked = generate(c, b);
    }
    CHECK(hooked[0].ids == plain[0].ids);
    CHECK(hooked[1].ids == plain[1].ids);
    // The last token that was drawn is fed with the next call.
    CHECK(n_rows[c.id()] == text().size() + 5);
    CHECK(n_rows[b.id()] == prompt("Once").size() + 2);
    CHECK(n_rows.size() == 2);
    a.generate(text(), counting(6));
    check_same(a.snapshot(), c.snapshot());
  }

  TEST_CASE("what a hook writes goes into logits, states and embeddings, until it is cleared") {
    Engine* engine = exact_engine();
    if (engine == nullptr) return;
    Session a = engine->new_session();
    const std::vector<float> plain = a.logits(text());
    const std::vector<uint32_t> texts[] = {text()};
    const std::vector<float> vector = engine->embed(texts);
    {
      const Hooked hook(*engine, hook_of(push));
      a.reset();
      CHECK(a.logits(text()) != plain);
      CHECK(engine->embed(texts) != vector);
    }
    a.reset();
    CHECK(a.logits(text()) == plain);
    CHECK(engine->embed(texts) == vector);
  }

  TEST_CASE("without a hook, steps are as they were before there was one") {
    Engine* engine = exact_engine();
    if (engine == nullptr) return;
    Session a = engine->new_session();
    a.generate(text(), counting(2));
    {
      const Hooked hook(*engine, hook_of([](const HookCall&) {}));
    }
    const StepCacheUse before = engine->step_caches();
    a.reset();
    a.generate(text(), counting(2));
    const StepCacheUse after = engine->step_caches();
    CHECK(after.plans.hits > before.plans.hits);
    CHECK(after.plans.misses == before.plans.misses);
    CHECK(after.bind_groups.misses == before.bind_groups.misses);
    CHECK(after.buffers_made == before.buffers_made);
  }

  TEST_CASE("a hook that throws takes its step back, and nothing more") {
    Engine* engine = exact_engine();
    if (engine == nullptr) return;
    Session a = engine->new_session(), b = engine->new_session();
    for (Session* session : {&a, &b}) session->generate(prompt("There was"), counting(3));
    const SessionSnapshot before = a.snapshot();
    size_t n_steps = 0, n_spared = 0;
    const auto throwing = [&](const HookCall& call) {
      if (call.point == HookPoint::out && n_steps++ >= n_spared) throw std::runtime_error("enough");
    };
    {
      const Hooked hook(*engine, hook_of(throwing));
      CHECK_THROWS_WITH_AS(a.feed(text()), "enough", std::runtime_error);
      check_same(a.snapshot(), before);  // with the token that was drawn last and is not fed
      CHECK_THROWS_AS(a.logits(text()), std::runtime_error);
      check_same(a.snapshot(), before);
      CHECK_THROWS_AS(a.generate(text(), counting(4)), std::runtime_error);
      check_same(a.snapshot(), before);
      // After the first step of a long text, and of an answer: what was done stays.
      n_steps = 0, n_spared = 1;
      std::vector<uint32_t> ids(engine->chunk() + 2, 300);
      CHECK_THROWS_AS(a.feed(ids), std::runtime_error);
      CHECK(a.n_tokens() == before.n_tokens + engine->chunk());
      n_steps = 0, n_spared = 3;
      const Request requests[] = {{&b, prompt(" a"), counting(8)}};
      CHECK_THROWS_AS(engine->generate(requests), std::runtime_error);
    }
    // Both go on like others that were only fed so far.
    Session c = engine->new_session();
    c.restore(before);
    c.feed(std::vector<uint32_t>(engine->chunk() - 1, 300));
    CHECK(a.logits(text()) == c.logits(text()));
    c.restore(before);
    const std::vector<uint32_t> drawn = c.generate(prompt(" a"), counting(3)).ids;
    check_same(b.snapshot(), c.snapshot());
    CHECK(b.generate(prompt(" b"), counting(3)).ids == c.generate(prompt(" b"), counting(3)).ids);
  }

  TEST_CASE("a hook may not use the engine that calls it") {
    Engine* engine = exact_engine();
    if (engine == nullptr) return;
    Session a = engine->new_session(), b = engine->new_session();
    const std::vector<uint32_t> texts[] = {text()};
    size_t n_refused = 0;
    const Hooked hook(*engine, hook_of([&](const HookCall& call) {
      if (call.point != HookPoint::out) return;
      const std::function<void()> uses[] = {[&] { b.feed(text()); },
                                            [&] { a.reset(); },
                                            [&] { a.state(); },
                                            [&] { b.generate({}, greedy(1)); },
                                            [&] { (void)a.fork(); },
                                            [&] { (void)engine->embed(texts); },
                                            [&] { engine->clear_hook(); },
                                            [&] { (void)engine->new_session(); }};
      for (const auto& use : uses) n_refused += code_of(use) == ErrorCode::bad_request ? 1 : 0;
      CHECK(a.n_tokens() == 1);  // what needs no GPU may be asked
    }));
    a.feed(prompt("a"));
    CHECK(n_refused == 8);
    b.feed(text());  // is as it was
    CHECK(b.n_tokens() == text().size());
  }

  TEST_CASE("hooks that cannot be are refused, and so is measuring with one") {
    Engine* engine = exact_engine();
    if (engine == nullptr) return;
    const auto read = [](const HookCall&) {};
    CHECK(code_of([&] { engine->set_hook({}); }) == ErrorCode::bad_request);
    CHECK(code_of([&] { engine->set_hook({read, {}, {engine->model().n_layer}}); }) == ErrorCode::bad_request);
    CHECK(code_of([&] { engine->set_hook({read, {HookPoint(kHookPointCount)}, {}}); }) == ErrorCode::bad_request);
    const Hooked hook(*engine, hook_of(read));
    CHECK(code_of([&] { engine->time_submits({}, 1); }) == ErrorCode::bad_request);
    CHECK(code_of([&] { engine->profile(1, 1); }) == ErrorCode::bad_request);
  }

  TEST_CASE("a GPU that is lost: texts of before the hook come back without it, those of after it with it") {
    if (exact_engine() == nullptr) return;
    setenv("RAVENWING_TEST_WATCHDOG", "8,2", 1);
    EngineOptions options = demo_options();
    options.exact = true;
    options.max_sessions = 3;
    options.chunk = 16;
    size_t n_recoveries = 0;
    options.on_recovery = [&](const std::string&) { ++n_recoveries; };
    Engine watched(options);
    unsetenv("RAVENWING_TEST_WATCHDOG");
    const std::vector<uint32_t> before = prompt("The king and"), more(16, 300);
    const auto run = [&](Engine& engine) {
      Session session = engine.new_session();
      session.feed(before);
      const Hooked hook(engine, hook_of(push));
      for (int i = 0; i < 3; ++i) session.feed(more);
      return session.logits(before);
    };
    const std::vector<float> logits = run(watched);
    CHECK(n_recoveries == 1);
    CHECK(logits == run(*exact_engine()));
  }
}
