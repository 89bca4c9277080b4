// tests/engine/tuning_test.cpp: tuning in the background: when it runs, and that nobody notices.
#include <chrono>
#include <cstdlib>
#include <functional>
#include <thread>

#include "engine/support.hpp"
#include "support/files.hpp"

using namespace ravenwing;
using namespace ravenwing::test;

namespace {

/// A variable of the environment, as it was when this goes.
class Variable {
 public:
  Variable(const char* name, const std::string& value) : name_(name) {
    if (const char* before = std::getenv(name)) before_ = before;
    setenv(name, value.c_str(), 1);
  }
  ~Variable() {
    if (before_)
      setenv(name_, before_->c_str(), 1);
    else
      unsetenv(name_);
  }

 private:
  const char* name_;
  std::optional<std::string> before_;
};

bool comes_true(const std::function<bool()>& condition) {
  using namespace std::chrono_literals;
  const auto end = std::chrono::steady_clock::now() + 120s;
  while (!condition() && std::chrono::steady_clock::now() < end) std::this_thread::sleep_for(5ms);
  return condition();
}

}  // namespace

TEST_SUITE("slow") {
  TEST_CASE("tuning: an engine measures after its first answer, stops for a request, and answers as before") {
    if (exact_engine() == nullptr) return;
    const TemporaryFolder folder;
    const Variable cache("RAVENWING_CACHE_DIR", folder.path().native()), always("RAVENWING_TUNING", "always");
    const auto ids = prompt("Once upon a time");
    EngineOptions options = demo_options();
    std::string expected;
    {
      Engine engine(options);
      CHECK_FALSE(engine.tuning().measuring);
      Session session = engine.new_session();
      expected = session.generate(ids, greedy(4)).text;
      const uint64_t scratch = engine.memory().scratch;
      REQUIRE(comes_true([&] { return engine.tuning().measuring; }));
      // A request: it has the GPU for itself as soon as the piece of work on its way is done.
      Session second = engine.new_session();
      GenerateOptions watched = greedy(4);
      size_t n_measured = 0;
      watched.on_token = [&](uint32_t) {
        REQUIRE(comes_true([&] { return !engine.tuning().measuring; }));
        if (n_measured == 0) n_measured = engine.tuning().n_measured + 1;
        CHECK(engine.tuning().n_measured + 1 == n_measured);
      };
      CHECK(second.generate(ids, watched).text == expected);
      CHECK(engine.memory().scratch == scratch);
      // Afterwards it goes on.
      CHECK(comes_true([&] { return engine.tuning().n_measured > 0; }));
      session.reset();
      CHECK(session.generate(ids, greedy(4)).text == expected);
    }
    // The next start takes what was found; one that does without does not.
    for (const TuningMode mode : {TuningMode::automatic, TuningMode::off}) {
      options.tuning = mode;
      Engine engine(options);
      CHECK(engine.tuning().warning.empty());
      CHECK(engine.tuning().file.empty() == (mode == TuningMode::off));
      Session session = engine.new_session();
      CHECK(session.generate(ids, greedy(4)).text == expected);
    }
  }
}

TEST_SUITE("tuning") {
  TEST_CASE("a chunk that is kept is the next engine's, unless it is asked for another") {
    if (exact_engine() == nullptr) return;
    const TemporaryFolder folder;
    const Variable cache("RAVENWING_CACHE_DIR", folder.path().native());
    EngineOptions options = demo_options();
    options.tuning = TuningMode::kept;
    options.chunk.reset();
    for (const uint32_t chunk : {128u, EngineOptions::kChunkDefault}) {
      {
        Engine engine(options);
        CHECK(engine.keep_chunk(chunk, 10, 20) == engine.tuning().file);
        CHECK_THROWS_AS(engine.keep_chunk(0, 10, 20), Error);
      }
      CHECK(Engine(options).chunk() == chunk);
    }
    options.tuning = TuningMode::off;
    CHECK(Engine(options).keep_chunk(128, 10, 20).empty());
    options.tuning = TuningMode::kept;
    options.chunk = 32;
    CHECK(Engine(options).chunk() == 32);
  }

  TEST_CASE("exact mode is neither tuned nor measured") {
    Engine* engine = exact_engine();
    if (engine == nullptr) return;
    CHECK(engine->tuning().file.empty());
    CHECK(engine->tuning().n_choices == 0);
    CHECK(engine->chunk() == 16);
  }
}
