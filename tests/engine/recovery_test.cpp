// tests/engine/recovery_test.cpp: a GPU that is lost in a long step, as a driver's watchdog makes it, costs time and
// nothing else.
#include <cstdlib>

#include "engine/support.hpp"

using namespace ravenwing;
using namespace ravenwing::test;

namespace {

/// An engine like exact_engine() whose GPU is lost in steps of more than `tokens`, the first `n_spared` of them
/// excepted.
class Watched {
 public:
  Watched(uint32_t tokens, uint32_t n_spared) {
    const std::string value = std::to_string(tokens) + "," + std::to_string(n_spared);
    setenv("RAVENWING_TEST_WATCHDOG", value.c_str(), 1);
    EngineOptions options = demo_options();
    options.exact = true;
    options.max_sessions = 3;
    options.chunk = 16;
    options.on_recovery = [this](const std::string& what) { told.push_back(what); };
    engine = std::make_unique<Engine>(options);
  }
  ~Watched() { unsetenv("RAVENWING_TEST_WATCHDOG"); }
  Watched(const Watched&) = delete;
  Watched& operator=(const Watched&) = delete;

  std::vector<std::string> told;
  std::unique_ptr<Engine> engine;
};

std::vector<uint32_t> long_text() {
  std::vector<uint32_t> ids;
  for (const uint32_t id : prompt("There was once a king who had three sons, and they came to see him one day."))
    ids.insert(ids.end(), 6, id);
  return ids;
}

struct Outcome {
  std::vector<Completion> completions;
  std::vector<SessionSnapshot> snapshots;
};

void check_same(const Outcome& a, const Outcome& b) {
  REQUIRE(a.completions.size() == b.completions.size());
  for (size_t i = 0; i < a.completions.size(); ++i) {
    CAPTURE(i);
    CHECK(a.completions[i].ids == b.completions[i].ids);
    CHECK(a.completions[i].text == b.completions[i].text);
    CHECK(a.completions[i].finish_reason == b.completions[i].finish_reason);
    REQUIRE(a.completions[i].logprobs.size() == b.completions[i].logprobs.size());
    for (size_t at = 0; at < a.completions[i].logprobs.size(); ++at)
      CHECK(a.completions[i].logprobs[at].token.logprob == b.completions[i].logprobs[at].token.logprob);
  }
  REQUIRE(a.snapshots.size() == b.snapshots.size());
  for (size_t i = 0; i < a.snapshots.size(); ++i) test::check_same(a.snapshots[i], b.snapshots[i]);
}

/// Two texts that generate, one of them from a snapshot, while a long prompt is read; more of the first; all that they
/// are.
Outcome converse(Engine& engine, bool needs_host) {
  Outcome outcome;
  Session first = engine.new_session(), second = engine.new_session(), third = engine.new_session();
  GenerateOptions counting = greedy(5);
  counting.sampler = {
      .temperature = 1, .seed = 5, .presence_penalty = 0.5f, .frequency_penalty = 0.3f, .penalty_decay = 0.9f};
  counting.stop_tokens.clear();
  outcome.completions.push_back(first.generate(prompt("The king and the queen"), counting));
  const SessionSnapshot kept = first.snapshot();
  second.restore(kept);
  counting.max_tokens = 24;
  counting.sampler.logit_bias = {{300, -1.0f}};
  counting.stop = {"no such text", "\n\n\n"};
  if (needs_host) counting.logprobs = 0;
  GenerateOptions steered = greedy(20);
  steered.sampler = {.temperature = 1, .seed = 6, .mirostat_tau = 4, .mirostat_eta = 0.7f};
  steered.stop_tokens.clear();
  steered.on_text = [](std::string_view) { return true; };
  const std::vector<Request> requests = {
      {&first, prompt(" and"), counting}, {&second, prompt(" was"), steered}, {&third, long_text(), greedy(3)}};
  for (Completion& completion : engine.generate(requests)) outcome.completions.push_back(std::move(completion));
  counting.max_tokens = 3;
  outcome.completions.push_back(first.generate({}, counting));
  for (Session* session : {&first, &second, &third}) outcome.snapshots.push_back(session->snapshot());
  return outcome;
}

void check_loss_while_generating(bool needs_host) {
  if (exact_engine() == nullptr) return;
  const Outcome expected = converse(*exact_engine(), needs_host);
  Watched watched(8, 7);  // by then some tokens of the two were drawn
  check_same(converse(*watched.engine, needs_host), expected);
  CHECK(watched.engine->chunk() == 8);
  REQUIRE(watched.told.size() == 1);
  CHECK(watched.told[0].find("lost in a step of 16 tokens") != std::string::npos);
}

/// An engine whose tokens take one dispatch of more workgroups than run at a time.
class Stalling {
 public:
  Stalling() {
    setenv("RAVENWING_TEST_TOKEN_WORKGROUPS", exact_engine()->device().software ? "40" : "3000", 1);
    EngineOptions options = demo_options();
    options.max_sessions = 3;
    options.on_recovery = [this](const std::string& what) { told.push_back(what); };
    engine = std::make_unique<Engine>(options);
  }
  ~Stalling() { unsetenv("RAVENWING_TEST_TOKEN_WORKGROUPS"); }
  Stalling(const Stalling&) = delete;
  Stalling& operator=(const Stalling&) = delete;

  std::vector<std::string> told;
  std::unique_ptr<Engine> engine;
};

}  // namespace

TEST_SUITE("slow") {
  TEST_CASE("RELIABILITY 47: the same where the CPU looks at every draw") { check_loss_while_generating(true); }
}

TEST_SUITE("recovery") {
  TEST_CASE(
      "RELIABILITY 47: a loss while texts generate changes none of them, no state and nothing that sampling "
      "remembers") {
    check_loss_while_generating(false);
  }

  TEST_CASE(
      "RELIABILITY 47: a second loss in a call ends it with what may help; the next halves again, and nothing is "
      "missing") {
    if (exact_engine() == nullptr) return;
    const auto ids = prompt("The little girl went to the market and came home again late");
    REQUIRE(ids.size() > 8);
    const auto use = [&](Engine& engine) {
      Session session = engine.new_session();
      session.feed(ids);
      Session fork = session.fork();
      const std::vector<double> scores = fork.score(ids);
      return std::tuple(scores, session.state().wkv, fork.state().wkv, fork.n_tokens());
    };
    const auto expected = use(*exact_engine());
    Watched watched(4, 0);
    Session session = watched.engine->new_session();
    try {
      session.generate(ids, greedy(2));
      FAIL("no error was thrown");
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::device_lost);
      CHECK(std::string(error.what()).find("--chunk") != std::string::npos);
    }
    CHECK(watched.engine->chunk() == 6);  // half of the step's tokens
    session.reset();
    CHECK(use(*watched.engine) == expected);
    CHECK(watched.engine->chunk() == 3);
    CHECK(watched.told.size() == 1);
  }

  TEST_CASE("a session that shares the snapshot it was restored from comes back; restoring finds the loss") {
    if (exact_engine() == nullptr) return;
    const auto all = long_text();
    const auto ids = std::span(all).first(16);
    std::shared_ptr<const SessionSnapshot> before;
    SessionSnapshot expected;
    {
      Session session = exact_engine()->new_session();
      session.feed(prompt("The king"));
      before = std::make_shared<const SessionSnapshot>(session.snapshot());
      session.feed(ids);
      expected = session.snapshot();
    }
    Watched watched(8, 0);
    Session lost = watched.engine->new_session(), restored = watched.engine->new_session();
    lost.restore(before);
    lost.feed(ids);
    restored.restore(expected);
    CHECK(watched.told.size() == 1);
    test::check_same(lost.snapshot(), expected);
    test::check_same(restored.snapshot(), expected);
  }

  TEST_CASE("a token whose workgroups do not run at a time costs time and nothing else") {
    if (exact_engine() == nullptr) return;
    const auto use = [](Engine& engine) {
      Session session = engine.new_session();
      const Completion begin = session.generate(prompt("The king and the queen"), greedy(12));
      Session fork = session.fork();
      const Completion more = session.generate(prompt(" and then"), greedy(12));
      return std::tuple(begin.text, more.text, fork.generate(prompt(" and then"), greedy(12)).text, session.n_tokens());
    };
    Stalling stalling;
    CHECK(use(*stalling.engine) == use(*exact_engine()));
    REQUIRE(stalling.told.size() == 1);
    CHECK(stalling.told[0].find("--no-persistent") != std::string::npos);
  }

  TEST_CASE("the same where logits are asked for") {
    if (exact_engine() == nullptr) return;
    const auto ids = prompt("The little girl went to the market");
    const auto use = [&](Engine& engine) {
      Session session = engine.new_session();
      session.feed(std::span(ids).first(ids.size() - 1));
      return session.logits(std::span(ids).last(1));
    };
    Stalling stalling;
    const std::vector<float> found = use(*stalling.engine), expected = use(*exact_engine());
    CHECK(std::ranges::max_element(found) - found.begin() == std::ranges::max_element(expected) - expected.begin());
    CHECK(stalling.told.size() == 1);
  }

  TEST_CASE("a loss that shorter steps cannot help is told as it was before") {
    if (exact_engine() == nullptr) return;
    Watched watched(0, 30);  // a step of one token, long after the prompt's
    Session session = watched.engine->new_session();
    CHECK(code_of([&] { session.generate(prompt("The king"), greedy(60)); }) == ErrorCode::device_lost);
    CHECK(watched.told.empty());
    CHECK(code_of([&] { session.state(); }) == ErrorCode::device_lost);
  }
}
