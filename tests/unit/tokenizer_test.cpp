// tests/unit/tokenizer_test.cpp: the tokeniser against golden ids of the reference, and against damaged vocabularies.
#include "ravenwing/tokenizer.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "base/error.hpp"
#include "base/text.hpp"
#include "tokenizer/python_literal.hpp"
#include "tokenizer/trie.hpp"

using namespace ravenwing;

namespace {

const std::filesystem::path kData = std::filesystem::path(RAVENWING_SOURCE_DIR) / "tests" / "data";

const Tokenizer& world() {
  static const Tokenizer tokenizer = Tokenizer::world();
  return tokenizer;
}

std::string decode_base64(std::string_view base64) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  uint32_t bits = 0;
  int n_bits = 0;
  for (const char digit : base64.substr(0, base64.find('='))) {
    bits = bits << 6 | uint32_t(kDigits.find(digit));
    n_bits += 6;
    if (n_bits >= 8) bytes += char(bits >> (n_bits -= 8) & 0xff);
  }
  return bytes;
}

void check_golden(const Tokenizer& tokenizer, const char* name, size_t n_cases) {
  const nlohmann::json cases = nlohmann::json::parse(std::ifstream(kData / "golden" / name));
  REQUIRE(cases.size() == n_cases);
  for (const auto& golden : cases) {
    const std::string bytes = decode_base64(golden["base64"].get<std::string>());
    const auto ids = golden["ids"].get<std::vector<uint32_t>>();
    INFO(quoted(bytes));
    CHECK(tokenizer.encode(bytes) == ids);
    CHECK(tokenizer.decode(ids) == bytes);
  }
}

/// The code and text of what `call` throws; "" if it throws nothing.
template <typename Call>
std::string error_of(ErrorCode code, Call call) {
  try {
    call();
  } catch (const Error& error) {
    CHECK(error.code() == code);
    return error.what();
  }
  return "";
}

std::string bad_vocabulary(std::string_view text) {
  return error_of(ErrorCode::bad_file, [&] { Tokenizer::from_text(text); });
}

std::string bad_gguf(const std::vector<std::string>& tokens, const std::vector<int64_t>& types = {}) {
  return error_of(ErrorCode::bad_file, [&] { Tokenizer::from_gguf_tokens(tokens, types); });
}

bool contains(const std::string& text, std::string_view part) { return text.find(part) != text.npos; }

/// A bytes literal's body as Python's repr writes it.
std::string python_repr(std::string_view bytes) {
  std::string body;
  for (const char c : bytes) {
    const uint8_t byte = uint8_t(c);
    if (c == '\\')
      body += "\\\\";
    else if (c == '\'')
      body += "\\'";
    else if (c == '\n')
      body += "\\n";
    else if (c == '\r')
      body += "\\r";
    else if (c == '\t')
      body += "\\t";
    else if (byte < 0x20 || byte > 0x7e)
      body += fmt::format("\\x{:02x}", byte);
    else
      body += c;
  }
  return body;
}

}  // namespace

TEST_CASE("World gives the reference's ids") {
  CHECK(world().size() == 65530);
  CHECK(world().bytes(0) == "");
  CHECK(world().bytes(261) == "\n\n");
  CHECK(world().bytes(65529) == std::string(128, ' '));
  check_golden(world(), "tokenizer_world.json", 200);
}

TEST_CASE("a vocabulary file gives the reference's ids") {
  const Tokenizer tiny = Tokenizer::from_file(kData / "tiny_vocab.txt");
  CHECK(tiny.size() == 8192);
  check_golden(tiny, "tokenizer_tiny.json", 80);
  CHECK_THROWS_AS(Tokenizer::from_file(kData / "no such file"), Error);
  CHECK_THROWS_AS(Tokenizer::from_file(kData), Error);
}

TEST_CASE("the same vocabulary as GGUF tokens gives the same ids") {
  const Tokenizer tiny = Tokenizer::from_file(kData / "tiny_vocab.txt");
  std::vector<std::string> tokens = {"<s>"};
  std::vector<int64_t> types = {3};
  for (uint32_t id = 1; id < tiny.size(); ++id) {
    tokens.push_back(python_repr(tiny.bytes(id)));
    types.push_back(1);
  }
  tokens.push_back("[PAD 8192]");
  types.push_back(5);
  const Tokenizer gguf = Tokenizer::from_gguf_tokens(tokens, types);
  CHECK(gguf.size() == 8193);
  CHECK(gguf.bytes(8192) == "");
  CHECK(gguf.encode("<s>").size() > 1);
  check_golden(gguf, "tokenizer_tiny.json", 80);
  check_golden(Tokenizer::from_gguf_tokens({tokens.data(), 8192}, {}), "tokenizer_tiny.json", 80);
}

TEST_CASE("any bytes encode and decode to themselves") {
  std::mt19937 random(7);
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all += char(byte);
  CHECK(world().decode(world().encode(all)) == all);
  for (int round = 0; round < 2000; ++round) {
    // Few distinct bytes give long matches that end late, many give tokens of one byte.
    const uint32_t n_letters = 1 + random() % 256;
    const uint32_t first = random() % 256;
    std::string text(random() % 300, '\0');
    for (char& c : text) c = char(first + random() % n_letters);
    REQUIRE(world().decode(world().encode(text)) == text);
  }
}

TEST_CASE("every token is found by its own bytes") {
  for (uint32_t id = 1; id < world().size(); ++id) {
    REQUIRE(world().encode(world().bytes(id)) == std::vector<uint32_t>{id});
  }
}

TEST_CASE("the trie finds what a plain search finds") {
  std::mt19937 random(11);
  for (int round = 0; round < 200; ++round) {
    std::vector<std::string> words;
    const uint32_t n_letters = 1 + random() % 256;
    for (uint32_t i = 0; i < 1 + random() % 400; ++i) {
      std::string word(1 + random() % 6, '\0');
      for (char& c : word) c = char(random() % n_letters);
      if (std::find(words.begin(), words.end(), word) == words.end()) words.push_back(word);
    }
    std::vector<Trie::Entry> entries;
    for (uint32_t i = 0; i < words.size(); ++i) entries.push_back({words[i], i + 1});
    const Trie trie(entries);
    for (int trial = 0; trial < 100; ++trial) {
      std::string text(random() % 9, '\0');
      for (char& c : text) c = char(random() % n_letters);
      Trie::Match expected;
      for (const Trie::Entry& entry : entries) {
        if (text.starts_with(entry.bytes) && entry.bytes.size() > expected.n_bytes) {
          expected = {entry.id, uint32_t(entry.bytes.size())};
        }
      }
      const Trie::Match match = trie.longest_match(text);
      REQUIRE(match.id == expected.id);
      REQUIRE(match.n_bytes == expected.n_bytes);
    }
  }
}

TEST_CASE("World's trie stays small") {
  std::vector<Trie::Entry> entries;
  for (uint32_t id = 1; id < world().size(); ++id) entries.push_back({world().bytes(id), id});
  CHECK(Trie(entries).size_bytes() < 2'000'000);  // 116 079 nodes of 8 bytes and the gaps between them
}

TEST_CASE("ids that are not in the vocabulary are refused") {
  CHECK(contains(error_of(ErrorCode::bad_request, [] { world().bytes(65530); }), "must be below 65530"));
  const std::vector<uint32_t> ids = {33, 0xffffffff};
  CHECK(error_of(ErrorCode::bad_request, [&] { world().decode(ids); }) != "");
  CHECK(world().decode(std::vector<uint32_t>{0, 66, 0}) == "A");
}

TEST_CASE("RELIABILITY 25: a text with a byte that the vocabulary lacks is refused") {
  const Tokenizer tokenizer = Tokenizer::from_text("1 'a' 1\n2 'bc' 2\n");
  CHECK(tokenizer.encode("abca") == std::vector<uint32_t>{1, 2, 1});
  CHECK(contains(error_of(ErrorCode::unsupported, [&] { tokenizer.encode("aax"); }), "'x' at offset 2"));
  CHECK(contains(error_of(ErrorCode::unsupported, [&] { tokenizer.encode("ab"); }), "'b' at offset 1"));
  const Tokenizer nothing = Tokenizer::from_gguf_tokens(std::vector<std::string>{"<s>"}, {});
  CHECK(nothing.encode("").empty());
  CHECK(error_of(ErrorCode::unsupported, [&] { nothing.encode("a"); }) != "");
}

TEST_CASE("vocabulary lines in any order, with gaps and either line end") {
  const Tokenizer tokenizer = Tokenizer::from_text("9 'b' 1\r\n\n3 b'\\xff' 1\r\n5 ' ' 1");
  CHECK(tokenizer.size() == 10);
  CHECK(tokenizer.bytes(3) == "\xff");
  CHECK(tokenizer.bytes(4) == "");
  CHECK(tokenizer.encode(" b\xff") == std::vector<uint32_t>{5, 9, 3});
}

TEST_CASE("RELIABILITY 24: damaged vocabulary files are refused with the line") {
  CHECK(contains(bad_vocabulary("1 'a' 1\n2 'b' 2\n"), "line 2: token has 1 bytes, the line says 2"));
  CHECK(contains(bad_vocabulary("1 'a' 1\n1 'b' 1"), "line 2: id 1 was there before"));
  CHECK(contains(bad_vocabulary("1 'a' 1\n2 b'a' 1"), "tokens 1 and 2 are the same bytes 'a'"));
  CHECK(contains(bad_vocabulary("1 '' 0"), "token 1 is empty"));
  CHECK(contains(bad_vocabulary("0 'a' 1"), "id 0, must be 1..65535"));
  CHECK(contains(bad_vocabulary("65536 'a' 1"), "id 65536"));
  CHECK(contains(bad_vocabulary("99999999999 'a' 1"), "is no number"));
  CHECK(contains(bad_vocabulary("-1 'a' 1"), "is no number"));
  CHECK(contains(bad_vocabulary("1 'a' "), "is no number"));
  CHECK(contains(bad_vocabulary("1 'a' 1x"), "is no number"));
  CHECK(contains(bad_vocabulary("1"), "is not `ID literal LENGTH`"));
  CHECK(contains(bad_vocabulary("1 'a'"), "is not `ID literal LENGTH`"));
  CHECK(contains(bad_vocabulary("1  1"), "no literal"));
  CHECK(contains(bad_vocabulary(""), "holds no token"));
  CHECK(contains(bad_vocabulary("1 '" + std::string(1025, 'a') + "' 1025"), "token of 1025 bytes, at most 1024"));
  CHECK(bad_vocabulary("1 '" + std::string(1024, 'a') + "' 1024") == "");
  CHECK(bad_vocabulary("65535 'a' 1") == "");
}

TEST_CASE("RELIABILITY 24: damaged GGUF tokens are refused with the id") {
  CHECK(contains(bad_gguf({"", "\\xZ"}), "token 1: escape needs 2 digits, has 'Z'"));
  CHECK(contains(bad_gguf({"", "a", "a\\x"}), "token 2: escape needs 2 digits, has ''"));
  CHECK(contains(bad_gguf({"", "\\x4"}), "token 1: escape needs 2 digits"));
  CHECK(contains(bad_gguf({"", "\\"}), "token 1: ends in a single backslash"));
  CHECK(contains(bad_gguf({"", "\\q"}), "unknown escape '\\\\q'"));
  CHECK(contains(bad_gguf({"", "\\u0041"}), "unknown escape"));
  CHECK(contains(bad_gguf({"", "a", "b", "a"}), "tokens 1 and 3 are the same bytes 'a'"));
  CHECK(contains(bad_gguf({"", "a", "\\x61"}), "tokens 1 and 2 are the same"));
  CHECK(contains(bad_gguf({"", std::string(1 << 20, 'a')}), "token 1: token of 1048576 bytes"));
  CHECK(contains(bad_gguf({}), "0 tokens"));
  CHECK(contains(bad_gguf(std::vector<std::string>(65537)), "65537 tokens, must be 1..65536"));
  CHECK(contains(bad_gguf({"", "a"}, {3, 1, 1}), "2 tokens but 3 token types"));
  CHECK(bad_gguf(std::vector<std::string>(65536)) == "");
}

TEST_CASE("GGUF entries that stand for no text") {
  // An empty token, one of another type with a bad escape, and id 0, whatever it holds.
  const std::vector<std::string> tokens = {"a\\", "a", "", "\\q", "\xc3\xa9"};
  const Tokenizer tokenizer = Tokenizer::from_gguf_tokens(tokens, std::vector<int64_t>{1, 1, 1, 5, 1});
  CHECK(tokenizer.size() == 5);
  CHECK(tokenizer.encode("a\xc3\xa9") == std::vector<uint32_t>{1, 4});
  CHECK(tokenizer.decode(std::vector<uint32_t>{0, 1, 2, 3, 4}) == "a\xc3\xa9");
}

TEST_CASE("literals as Python reads them") {
  CHECK(parse_python_literal("'a\\'b\"c'") == "a'b\"c");
  CHECK(parse_python_literal("\"a'b\\\"c\"") == "a'b\"c");
  CHECK(parse_python_literal("''") == "");
  CHECK(parse_python_literal("'\\a\\b\\f\\n\\r\\t\\v\\\\'") == "\a\b\f\n\r\t\v\\");
  CHECK(parse_python_literal("'\\0\\18\\1234\\377'") == std::string("\0\1"
                                                                    "8S4\xc3\xbf",
                                                                    7));
  CHECK(parse_python_literal("b'\\0\\377\\xfe'") == std::string("\0\xff\xfe", 3));
  CHECK(parse_python_literal("'\\x7f\\x80\\xff'") == "\x7f\xc2\x80\xc3\xbf");
  CHECK(parse_python_literal("'\\u07ff\\u0800\\uffff\\U00010000\\U0010ffff'") ==
        "\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf\xf0\x90\x80\x80\xf4\x8f\xbf\xbf");
  CHECK(parse_python_literal("'\xe7\x8c\xab'") == "\xe7\x8c\xab");
  for (const char* bad :
       {"",      "a",          "b",        "'",      "b'",       "'a",           "a'",        "'a\"",
        "'a'b",  "'a''b'",     "'\\'",     "'\\x4'", "'\\u123'", "'\\U0010fff'", "'\\ud800'", "'\\U00110000'",
        "'\\q'", "b'\\u0041'", "b'\\400'", "'\xff'", "r'a'",     "'\\x+1'",      "'\\x-1'",   "'\\x 1'"}) {
    INFO(bad);
    CHECK(error_of(ErrorCode::bad_file, [&] { parse_python_literal(bad); }) != "");
  }
}

TEST_CASE("a stream never emits half a character") {
  // Tokens of one byte each: every character is split wherever it can be.
  std::vector<std::string> tokens = {"<s>"};
  for (int byte = 0; byte < 256; ++byte) tokens.push_back(fmt::format("\\x{:02x}", byte));
  const Tokenizer tokenizer = Tokenizer::from_gguf_tokens(tokens, {});
  const auto stream = [&](std::string_view text) {
    StreamDecoder decoder(tokenizer);
    std::vector<std::string> parts;
    for (const uint32_t id : tokenizer.encode(text)) parts.push_back(decoder.push(id));
    parts.push_back(decoder.finish());
    return parts;
  };
  using Parts = std::vector<std::string>;
  CHECK(stream("a\xc3\xa9z") == Parts{"a", "", "\xc3\xa9", "z", ""});
  CHECK(stream("\xf0\x9f\x98\x80") == Parts{"", "", "", "\xf0\x9f\x98\x80", ""});
  CHECK(stream("\xf0\x9f\x98") == Parts{"", "", "", "\xf0\x9f\x98"});
  // Bytes that can be part of no character leave at once; so does a beginning when it turns out to be none.
  CHECK(stream("\x80\xff\xc0") == Parts{"\x80", "\xff", "\xc0", ""});
  CHECK(stream("\xf0\x9f"
               "a") == Parts{"", "",
                             "\xf0\x9f"
                             "a",
                             ""});
  CHECK(stream("\xe4\xe4\xb8\x80") == Parts{"", "\xe4", "", "\xe4\xb8\x80", ""});
  CHECK(stream("\xed\xa0\x80") == Parts{"", "\xed\xa0", "\x80", ""});
}

TEST_CASE("a stream of World tokens equals the decoded text") {
  const std::string text = "\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x9a\x80 \xe7\x8c\xab\xf0\x9f\xab\xa0 end";
  StreamDecoder decoder(world());
  std::string streamed;
  bool held_back = false;
  for (const uint32_t id : world().encode(text)) {
    const std::string part = decoder.push(id);
    CHECK(is_utf8(part));
    held_back |= part != world().bytes(id);
    streamed += part;
  }
  CHECK(held_back);
  CHECK(streamed == text);
  CHECK(decoder.finish() == "");
  CHECK(decoder.push(0) == "");
}
