// src/base/text.cpp: UTF-8 and quoting.
#include "base/text.hpp"

#include <fmt/format.h>

#include <cstdint>

namespace ravenwing {
namespace {

struct Step {
  size_t n_bytes;  // length of the valid character, or of the maximal invalid sequence
  bool valid;
  bool cut;  // the text ended inside a sequence that was valid so far
};

/// Decodes one character at the start of a non-empty text, by the table of well-formed sequences (Unicode 15, table
/// 3-7).
Step decode(std::string_view text) {
  const auto byte = [&](size_t i) { return uint8_t(text[i]); };
  const uint8_t first = byte(0);
  if (first < 0x80) return {1, true, false};
  size_t length = 0;
  uint8_t low = 0x80, high = 0xbf;
  if (first >= 0xc2 && first <= 0xdf)
    length = 2;
  else if (first >= 0xe0 && first <= 0xef)
    length = 3;
  else if (first >= 0xf0 && first <= 0xf4)
    length = 4;
  else
    return {1, false, false};
  if (first == 0xe0) low = 0xa0;
  if (first == 0xed) high = 0x9f;
  if (first == 0xf0) low = 0x90;
  if (first == 0xf4) high = 0x8f;
  for (size_t i = 1; i < length; ++i) {
    if (i == text.size()) return {i, false, true};
    if (byte(i) < low || byte(i) > high) return {i, false, false};
    low = 0x80;
    high = 0xbf;
  }
  return {length, true, false};
}

}  // namespace

std::string quoted(std::string_view text, size_t length_max) {
  std::string out = "'";
  const bool cut = text.size() > length_max;
  if (cut) text = text.substr(0, utf8_complete_prefix(text.substr(0, length_max)));
  while (!text.empty()) {
    const Step step = decode(text);
    const uint8_t first = uint8_t(text[0]);
    // U+0080..U+009F are two bytes each; a terminal may take U+009B for the start of a command.
    const bool control = first < 0x20 || first == 0x7f || (first == 0xc2 && step.valid && uint8_t(text[1]) < 0xa0);
    if (step.valid && !control && first != '\'' && first != '\\') {
      out += text.substr(0, step.n_bytes);
    } else if (first == '\'' || first == '\\') {
      out += '\\';
      out += text[0];
    } else {
      for (size_t i = 0; i < step.n_bytes; ++i) out += fmt::format("\\x{:02x}", uint8_t(text[i]));
    }
    text.remove_prefix(step.n_bytes);
  }
  return out + (cut ? "'..." : "'");
}

size_t utf8_complete_prefix(std::string_view text) {
  // Only the last three bytes can begin a character that is not complete.
  for (size_t back = 1; back <= 3 && back <= text.size(); ++back) {
    const size_t begin = text.size() - back;
    const uint8_t byte = uint8_t(text[begin]);
    if (byte < 0x80) break;
    if (byte >= 0xc0) return decode(text.substr(begin)).cut ? begin : text.size();
  }
  return text.size();
}

std::string utf8_lossy(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const Step step = decode(text);
    if (step.valid)
      out += text.substr(0, step.n_bytes);
    else
      out += "\xef\xbf\xbd";
    text.remove_prefix(step.n_bytes);
  }
  return out;
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const Step step = decode(text);
    if (!step.valid) return false;
    text.remove_prefix(step.n_bytes);
  }
  return true;
}

}  // namespace ravenwing
