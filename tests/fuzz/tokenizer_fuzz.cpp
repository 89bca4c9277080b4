// tests/fuzz/tokenizer_fuzz.cpp: any bytes as a vocabulary, in both forms, then a text encoded with it and decoded.
// The input is `vocabulary \0 text`; only Error may escape from the parsers, and what encodes must decode to itself.
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "base/text.hpp"
#include "ravenwing/tokenizer.hpp"

namespace ravenwing {
namespace {

void check_round_trip(const Tokenizer& tokenizer, std::string_view text) {
  std::vector<uint32_t> ids;
  try {
    ids = tokenizer.encode(text);
  } catch (const Error& error) {
    RAVENWING_CHECK(error.code() == ErrorCode::unsupported);
    return;
  }
  RAVENWING_CHECK(tokenizer.decode(ids) == text);
  StreamDecoder stream(tokenizer);
  std::string streamed;
  for (const uint32_t id : ids) {
    const std::string part = stream.push(id);
    RAVENWING_CHECK(!is_utf8(text) || is_utf8(part));
    streamed += part;
  }
  RAVENWING_CHECK(streamed + stream.finish() == text);
}

std::vector<std::string> split_lines(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    lines.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

template <typename Make>
void try_vocabulary(Make make, std::string_view text) {
  try {
    check_round_trip(make(), text);
  } catch (const Error& error) {
    RAVENWING_CHECK(error.code() == ErrorCode::bad_file && is_utf8(error.what()));
  }
}

}  // namespace
}  // namespace ravenwing

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ravenwing;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t end = std::min(input.find('\0'), input.size());
  const std::string_view vocabulary = input.substr(0, end);
  const std::string_view text = input.substr(std::min(end + 1, size));
  try_vocabulary([&] { return Tokenizer::from_text(vocabulary); }, text);
  try_vocabulary([&] { return Tokenizer::from_gguf_tokens(split_lines(vocabulary), {}); }, text);
  static const Tokenizer world = Tokenizer::world();
  RAVENWING_CHECK(world.decode(world.encode(input)) == input);
  return 0;
}
