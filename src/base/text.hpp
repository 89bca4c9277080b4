// Text from files and users, made fit for a message or a log line.
#pragma once

#include <string>
#include <string_view>

namespace ravenwing {

/// The text in single quotes, control characters (those past ASCII too) and invalid UTF-8 as \xHH, cut after
/// `length_max` bytes.
std::string quoted(std::string_view text, size_t length_max = 80);
// Without these, a std::string argument would find std::quoted, which belongs to streams.
inline std::string quoted(const std::string& text, size_t length_max = 80) {
  return quoted(std::string_view(text), length_max);
}
inline std::string quoted(std::string& text, size_t length_max = 80) {
  return quoted(std::string_view(text), length_max);
}
inline std::string quoted(const char* text, size_t length_max = 80) {
  return quoted(std::string_view(text), length_max);
}

/// The length of the longest prefix of `text` that ends between two UTF-8 characters: what remains is the beginning of
/// a character that more bytes may complete. Bytes that can start or continue nothing count as characters of their own.
size_t utf8_complete_prefix(std::string_view text);

/// `text` with each maximal invalid sequence replaced by U+FFFD.
std::string utf8_lossy(std::string_view text);

/// Whether all of `text` is valid UTF-8 (no surrogates, no overlong forms).
bool is_utf8(std::string_view text);

}  // namespace ravenwing
