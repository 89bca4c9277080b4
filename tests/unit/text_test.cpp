// tests/unit/text_test.cpp: UTF-8 and quoting.
#include "base/text.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <functional>
#include <iterator>
#include <random>
#include <set>
#include <string>

using namespace ravenwing;

namespace {

/// Whether the bytes are one character, by decoding and encoding rather than by a table of ranges.
bool is_one_character(std::string_view text) {
  const auto byte = [&](size_t i) { return uint32_t(uint8_t(text[i])); };
  if (text.size() == 1) return byte(0) < 0x80;
  if (text.size() < 2 || text.size() > 4) return false;
  const uint32_t lead_ones = (0xff00u >> text.size()) & 0xff;
  const uint32_t lead_mask = 0x7fu >> text.size();
  if ((byte(0) & ~lead_mask & 0xff) != lead_ones) return false;
  uint32_t code_point = byte(0) & lead_mask;
  for (size_t i = 1; i < text.size(); ++i) {
    if ((byte(i) & 0xc0) != 0x80) return false;
    code_point = code_point << 6 | (byte(i) & 0x3f);
  }
  const uint32_t least = text.size() == 2 ? 0x80 : text.size() == 3 ? 0x800 : 0x10000;
  return code_point >= least && code_point <= 0x10ffff && (code_point < 0xd800 || code_point > 0xdfff);
}

bool is_utf8_by_search(std::string_view text) {
  size_t begin = 0;
  while (begin < text.size()) {
    size_t length = 1;
    while (length <= 4 && begin + length <= text.size() && !is_one_character(text.substr(begin, length))) ++length;
    if (length > 4 || begin + length > text.size()) return false;
    begin += length;
  }
  return true;
}

// Bytes at the edges of the ranges that UTF-8 distinguishes.
constexpr uint8_t kEdges[] = {0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf,
                              0xe0, 0xe1, 0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff};

template <typename Visit>
void for_each_edge_text(size_t length, std::string& text, Visit visit) {
  visit(text);
  if (text.size() == length) return;
  for (const uint8_t byte : kEdges) {
    text.push_back(char(byte));
    for_each_edge_text(length, text, visit);
    text.pop_back();
  }
}

}  // namespace

TEST_CASE("is_utf8 agrees with decoding and encoding") {
  std::string text;
  for_each_edge_text(4, text, [](std::string_view candidate) {
    if (is_utf8(candidate) != is_utf8_by_search(candidate)) FAIL(quoted(candidate));
  });
}

TEST_CASE("utf8_complete_prefix keeps back only what more bytes can complete") {
  // Beginnings of characters that are none yet.
  std::set<std::string, std::less<>> beginnings;
  std::string text;
  for_each_edge_text(4, text, [&](std::string_view candidate) {
    if (!is_one_character(candidate)) return;
    for (size_t length = 1; length < candidate.size(); ++length) beginnings.emplace(candidate.substr(0, length));
  });
  for_each_edge_text(3, text, [&](std::string_view candidate) {
    size_t expected = candidate.size();
    for (size_t begin = 0; begin < candidate.size() && expected == candidate.size(); ++begin) {
      if (beginnings.contains(candidate.substr(begin))) expected = begin;
    }
    if (utf8_complete_prefix(candidate) != expected) FAIL(quoted(candidate));
  });
  CHECK(utf8_complete_prefix("\xf0\x9f\x98\x80") == 4);
  CHECK(utf8_complete_prefix("a\xf0\x9f\x98") == 1);
  CHECK(utf8_complete_prefix("\x80\x80\x80\x80") == 4);
}

TEST_CASE("utf8_lossy replaces each maximal invalid sequence") {
  CHECK(utf8_lossy("") == "");
  CHECK(utf8_lossy("caf\xc3\xa9") == "caf\xc3\xa9");
  CHECK(utf8_lossy("a\xf0\x9f\x98z") == "a\xef\xbf\xbdz");
  CHECK(utf8_lossy("\xf0\x9f") == "\xef\xbf\xbd");
  CHECK(utf8_lossy("\x80\xff") == "\xef\xbf\xbd\xef\xbf\xbd");
  CHECK(utf8_lossy("\xed\xa0\x80") == "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
  std::mt19937 random(3);
  for (int round = 0; round < 2000; ++round) {
    std::string text(random() % 12, '\0');
    for (char& c : text) c = char(kEdges[random() % std::size(kEdges)]);
    REQUIRE(is_utf8(utf8_lossy(text)));
    if (is_utf8(text)) REQUIRE(utf8_lossy(text) == text);
  }
}

TEST_CASE("quoted makes any text fit for a message") {
  CHECK(quoted("") == "''");
  CHECK(quoted("it's a \\") == "'it\\'s a \\\\'");
  CHECK(quoted("\n\x1b[31m\x7f") == "'\\x0a\\x1b[31m\\x7f'");
  CHECK(quoted(std::string_view("\0", 1)) == "'\\x00'");
  CHECK(quoted("\xe7\x8c\xab \xff\xf0\x9f") == "'\xe7\x8c\xab \\xff\\xf0\\x9f'");
  CHECK(quoted("\xc2\x9b"
               "2J\xc2\xa0") == "'\\xc2\\x9b2J\xc2\xa0'");  // U+009B begins a terminal command
  CHECK(quoted("abcdef", 3) == "'abc'...");
  CHECK(quoted("abcdef", 6) == "'abcdef'");
  CHECK(quoted("ab\xe7\x8c\xab", 4) == "'ab'...");
  CHECK(quoted("\xe7\x8c\xab", 1) == "''...");
  std::string named = "a\nb";
  const std::string constant = named;
  CHECK(quoted(named) == "'a\\x0ab'");
  CHECK(quoted(constant) == "'a\\x0ab'");
}
