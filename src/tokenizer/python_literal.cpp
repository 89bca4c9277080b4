// src/tokenizer/python_literal.cpp: escapes as Python reads them, except that an unknown one is an error here.
#include "tokenizer/python_literal.hpp"

#include <algorithm>
#include <charconv>
#include <cstdint>

#include "base/error.hpp"
#include "base/text.hpp"

namespace ravenwing {
namespace {

// What \xHH and an octal escape stand for: a character of a str literal, a byte of a bytes literal.
enum class Literal { text, bytes };

void append_utf8(uint32_t code_point, std::string& out) {
  if (code_point > 0x10ffff || (code_point >= 0xd800 && code_point <= 0xdfff)) {
    fail(ErrorCode::bad_file, "U+{:04X} is no character", code_point);
  }
  if (code_point < 0x80) {
    out += char(code_point);
    return;
  }
  const int n_rest = code_point < 0x800 ? 1 : code_point < 0x10000 ? 2 : 3;
  const uint32_t lead = (0xff00u >> (n_rest + 1)) & 0xff;  // as many leading ones as bytes
  out += char(lead | code_point >> (6 * n_rest));
  for (int i = n_rest - 1; i >= 0; --i) out += char(0x80 | ((code_point >> (6 * i)) & 0x3f));
}

/// The number that exactly the given digits make.
uint32_t parse_digits(std::string_view digits, size_t n_digits, int radix) {
  uint32_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, radix);
  if (digits.size() != n_digits || error != std::errc() || end != digits.data() + digits.size()) {
    fail(ErrorCode::bad_file, "escape needs {} digits, has {}", n_digits, quoted(digits));
  }
  return value;
}

void append_number(uint32_t value, Literal kind, std::string& out) {
  if (kind == Literal::text) {
    append_utf8(value, out);
    return;
  }
  if (value > 0xff) fail(ErrorCode::bad_file, "escape of {} is no byte", value);
  out += char(value);
}

/// Appends what the escape at the start of `text` (a backslash) stands for; returns its length.
size_t unescape_one(std::string_view text, Literal kind, std::string& out) {
  constexpr std::string_view kNames = "abfnrtv\\'\"";
  constexpr std::string_view kValues = "\a\b\f\n\r\t\v\\'\"";
  if (text.size() < 2) fail(ErrorCode::bad_file, "ends in a single backslash");
  const char letter = text[1];
  if (const size_t i = kNames.find(letter); i != kNames.npos) {
    out += kValues[i];
    return 2;
  }
  if (letter >= '0' && letter <= '7') {
    const std::string_view digits = text.substr(1, 3);
    const size_t n_digits = std::min(digits.find_first_not_of("01234567"), digits.size());
    append_number(parse_digits(digits.substr(0, n_digits), n_digits, 8), kind, out);
    return 1 + n_digits;
  }
  size_t n_digits = 0;
  if (letter == 'x') n_digits = 2;
  if (letter == 'u' && kind == Literal::text) n_digits = 4;
  if (letter == 'U' && kind == Literal::text) n_digits = 8;
  if (n_digits == 0) fail(ErrorCode::bad_file, "unknown escape {}", quoted(text.substr(0, 2)));
  append_number(parse_digits(text.substr(2, n_digits), n_digits, 16), kind, out);
  return 2 + n_digits;
}

std::string unescape(std::string_view body, Literal kind) {
  std::string out;
  while (true) {
    const size_t n_plain = std::min(body.find('\\'), body.size());
    out += body.substr(0, n_plain);
    body.remove_prefix(n_plain);
    if (body.empty()) return out;
    body.remove_prefix(unescape_one(body, kind, out));
  }
}

/// Where the quote that ends the literal stands; `text` begins after the opening one.
size_t find_closing_quote(std::string_view text, char quote) {
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == quote) return i;
    if (text[i] == '\\') ++i;
  }
  return text.npos;
}

}  // namespace

std::string parse_python_literal(std::string_view literal) {
  const Literal kind = literal.starts_with('b') ? Literal::bytes : Literal::text;
  std::string_view body = literal;
  if (kind == Literal::bytes) body.remove_prefix(1);
  if (body.empty() || (body[0] != '\'' && body[0] != '"')) {
    fail(ErrorCode::bad_file, "{} is no literal in quotes", quoted(literal));
  }
  const char quote = body[0];
  body.remove_prefix(1);
  const size_t end = find_closing_quote(body, quote);
  if (end == body.npos || end + 1 != body.size())
    fail(ErrorCode::bad_file, "the quotes of {} do not match", quoted(literal));
  body.remove_suffix(1);
  if (kind == Literal::text && !is_utf8(body)) fail(ErrorCode::bad_file, "{} is not UTF-8", quoted(literal));
  return unescape(body, kind);
}

std::string unescape_python_bytes(std::string_view body) { return unescape(body, Literal::bytes); }

}  // namespace ravenwing
