// tests/engine/support.cpp
#include "engine/support.hpp"

#include <cstdlib>

namespace ravenwing::test {

EngineOptions demo_options() {
  EngineOptions options;
  options.model = demo_model_path();
  const char* device = std::getenv("RAVENWING_TEST_DEVICE");
  if (device != nullptr) options.device = device;
  return options;
}

void check_same(const SessionSnapshot& a, const SessionSnapshot& b) {
  CHECK(a.state.time_shift == b.state.time_shift);
  CHECK(a.state.wkv == b.state.wkv);
  CHECK(a.state.channel_shift == b.state.channel_shift);
  CHECK(a.n_tokens == b.n_tokens);
  CHECK(a.pending == b.pending);
  CHECK(a.undecoded == b.undecoded);
  CHECK(a.counts == b.counts);
  CHECK(a.mirostat_mu == b.mirostat_mu);
  CHECK(a.history == b.history);
}

std::atomic<bool>& cancel_flag() {
  static std::atomic<bool> flag = false;
  return flag;
}

Engine* exact_engine() {
  static Engine* engine = nullptr;
  static bool tried = false;
  if (!tried) {
    tried = true;
    EngineOptions options = demo_options();
    options.exact = true;
    options.max_sessions = 3;
    options.chunk = 16;
    options.cancel = &cancel_flag();
    try {
      engine = new Engine(options);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::no_device || std::getenv("RAVENWING_REQUIRE_GPU") != nullptr) throw;
      MESSAGE("skipped: " << error.what());
    }
  }
  return engine;
}

std::vector<uint32_t> prompt(std::string_view text) { return exact_engine()->tokenizer().encode(text); }

GenerateOptions greedy(uint32_t n) {
  GenerateOptions options;
  options.max_tokens = n;
  options.sampler.temperature = 0;
  return options;
}

}  // namespace ravenwing::test
