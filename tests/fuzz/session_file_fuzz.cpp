// tests/fuzz/session_file_fuzz.cpp: libFuzzer target of saved sessions, as files and as bytes.
#include "base/error.hpp"
#include "fuzz/memory_file.hpp"
#include "fuzz/session_snapshot.hpp"

namespace {

using namespace ravenwing;

template <typename Read>
std::optional<SessionSnapshot> accepted(Read read) {
  try {
    return read();
  } catch (const Error& error) {
    RAVENWING_CHECK(error.code() == ErrorCode::bad_file || error.code() == ErrorCode::unsupported);
    return std::nullopt;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const rwkv7::Config& config = fuzz::kSessionConfig;
  const fuzz::MemoryFile file = fuzz::safetensors_file({data, size});
  const auto got = accepted([&] { return read_session_file(file.path(), config, fuzz::kSessionModelHash); });
  // On the heap, where AddressSanitizer sees what is read behind their end.
  const MappedFile mapped(file.path());
  const std::vector<std::byte> bytes(mapped.bytes().begin(), mapped.bytes().end());
  const auto of_bytes = accepted([&] { return read_session_bytes(bytes, config, fuzz::kSessionModelHash); });
  RAVENWING_CHECK(got.has_value() == of_bytes.has_value());
  if (!got) return 0;
  // What was accepted is what Session::restore takes without a check of its own failing.
  got->state.validate();
  RAVENWING_CHECK(got->state.n_layer == config.n_layer && got->state.head_size == config.head_size);
  RAVENWING_CHECK(got->counts.empty() || got->counts.size() == config.n_vocab);
  RAVENWING_CHECK(!got->pending || *got->pending < config.n_vocab);
  // By their bytes, as a NaN is not equal to itself.
  RAVENWING_CHECK(session_bytes(*got, config, fuzz::kSessionModelHash) ==
                  session_bytes(*of_bytes, config, fuzz::kSessionModelHash));
  return 0;
}
