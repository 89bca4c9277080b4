// tests/fuzz/session_file_fuzz.cpp: libFuzzer target of saved sessions.
#include "base/error.hpp"
#include "fuzz/memory_file.hpp"
#include "fuzz/session_snapshot.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ravenwing;
  const fuzz::MemoryFile file = fuzz::safetensors_file({data, size});
  try {
    const SessionSnapshot got = read_session_file(file.path(), fuzz::kSessionConfig, fuzz::kSessionModelHash);
    // What was accepted is what Session::restore takes without a check of its own failing.
    const size_t n_shift = size_t(fuzz::kSessionConfig.n_layer) * fuzz::kSessionConfig.n_embd;
    RAVENWING_CHECK(got.state.time_shift.size() == n_shift && got.state.channel_shift.size() == n_shift);
    RAVENWING_CHECK(got.state.wkv.size() == n_shift * fuzz::kSessionConfig.head_size);
    RAVENWING_CHECK(got.counts.empty() || got.counts.size() == fuzz::kSessionConfig.n_vocab);
    RAVENWING_CHECK(!got.pending || *got.pending < fuzz::kSessionConfig.n_vocab);
  } catch (const Error& error) {
    RAVENWING_CHECK(error.code() == ErrorCode::bad_file || error.code() == ErrorCode::unsupported);
  }
  return 0;
}
