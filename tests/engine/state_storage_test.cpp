// tests/engine/state_storage_test.cpp: an engine whose texts have their states in f16, beside one with f32.
#include <algorithm>
#include <cmath>
#include <filesystem>

#include "base/half.hpp"
#include "engine/support.hpp"
#include "support/files.hpp"

using namespace ravenwing;
using namespace ravenwing::test;

namespace {

EngineOptions f16_options() {
  EngineOptions options = demo_options();
  options.state_storage = StateStorage::f16;
  options.chunk = 8;
  options.max_sessions = 3;
  return options;
}

std::vector<float> rounded(std::vector<float> values) {
  for (float& value : values) value = f16_to_f32(f32_to_finite_f16(value));
  return values;
}

void check_same(const State& a, const State& b) {
  CHECK(a.time_shift == b.time_shift);
  CHECK(a.wkv == b.wkv);
  CHECK(a.channel_shift == b.channel_shift);
}

}  // namespace

TEST_SUITE("session") {
  TEST_CASE("f16 states: a fork, a snapshot and a file go on as the session; files fit engines with f32 and back") {
    Engine* f32 = exact_engine();
    if (f32 == nullptr) return;
    Engine f16(f16_options());
    const uint64_t saved_bytes = f32->model().state_bytes - f32->model().state_bytes_f16;
    CHECK(f32->memory().state - f16.memory().state == 3 * saved_bytes);

    const TemporaryFolder folder;
    Session session = f16.new_session();
    GenerateOptions options = greedy(5);
    options.sampler.temperature = 1;
    options.sampler.seed = 3;
    session.generate(prompt("Once upon a time there was a little girl"), options);
    const SessionSnapshot snapshot = session.snapshot();
    CHECK(snapshot.state.wkv == rounded(snapshot.state.wkv));
    CHECK(std::any_of(snapshot.state.wkv.begin(), snapshot.state.wkv.end(), [](float value) { return value != 0; }));
    session.save(folder / "f16");
    Session fork = session.fork(), loaded = f16.new_session();
    loaded.load(folder / "f16");
    check_same(loaded.state(), snapshot.state);
    const Completion expected = session.generate({}, options);
    for (Session* other : {&fork, &loaded}) {
      CHECK(other->generate({}, options).ids == expected.ids);
      check_same(other->state(), session.state());
    }
    fork.restore(snapshot);
    check_same(fork.state(), snapshot.state);

    // f16 -> f32: as it was; f32 -> f16: the wkv states rounded, all else as it was.
    Session wide = f32->new_session();
    wide.load(folder / "f16");
    check_same(wide.state(), snapshot.state);
    wide.generate({}, options);
    const SessionSnapshot of_f32 = wide.snapshot();
    REQUIRE(of_f32.state.wkv != rounded(of_f32.state.wkv));
    wide.save(folder / "f32");
    loaded.load(folder / "f32");
    State narrowed = of_f32.state;
    narrowed.wkv = rounded(narrowed.wkv);
    check_same(loaded.state(), narrowed);
    CHECK(loaded.snapshot().pending == of_f32.pending);
    CHECK(loaded.n_tokens() == of_f32.n_tokens);
    CHECK(loaded.generate({}, options).ids.size() == 5);

    // Numbers that f16 does not have; a reset leaves none of them.
    SessionSnapshot odd = of_f32;
    const float values[] = {1e6f, -1e6f, 65519.0f, 1e-5f, -1e-9f, 0.1f, -0.0f};
    for (size_t i = 0; i < odd.state.wkv.size(); ++i) odd.state.wkv[i] = values[i % std::size(values)];
    loaded.restore(odd);
    const State found = loaded.state();
    CHECK(found.wkv == rounded(odd.state.wkv));
    CHECK(found.wkv[0] == 65504.0f);
    CHECK(found.time_shift == odd.state.time_shift);
    loaded.reset();
    const State zero = loaded.state();
    CHECK(std::all_of(zero.wkv.begin(), zero.wkv.end(), [](float value) { return value == 0; }));
    CHECK(std::all_of(zero.time_shift.begin(), zero.time_shift.end(), [](float value) { return value == 0; }));
  }

  TEST_CASE("exact results and f16 states exclude each other, before anything is opened") {
    EngineOptions options = f16_options();
    options.exact = true;
    options.model = "no-such-file.gguf";
    CHECK(code_of([&] { Engine engine(options); }) == ErrorCode::bad_request);
  }
}
