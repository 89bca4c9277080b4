// src/tokenizer/tokenizer.cpp: vocabularies in, token ids and bytes out.
#include "ravenwing/tokenizer.hpp"

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/error.hpp"
#include "base/mmap.hpp"
#include "base/text.hpp"
#include "tokenizer/python_literal.hpp"
#include "tokenizer/trie.hpp"

extern "C" const unsigned char ravenwing_world_vocab_begin[], ravenwing_world_vocab_end[];

namespace ravenwing {
namespace {

// World's ids, and the rows of its models' embedding, are numbers of 16 bits; the trie stores them so.
constexpr size_t kTokensMax = 65536;
// The longest token of World has 128 bytes. Encoding looks this far past every token at worst.
constexpr size_t kTokenBytesMax = 1024;
constexpr uint64_t kVocabularyFileBytesMax = uint64_t{64} << 20;
constexpr int64_t kNormalTokenType = 1;  // GGUF's LLAMA_TOKEN_TYPE_NORMAL

/// The bytes of each id; empty for ids that stand for no text.
using TokenList = std::vector<std::string>;

void check_token_length(std::string_view bytes) {
  if (bytes.size() > kTokenBytesMax) {
    fail(ErrorCode::bad_file, "token of {} bytes, at most {}", bytes.size(), kTokenBytesMax);
  }
}

uint32_t parse_number(std::string_view digits) {
  uint32_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (digits.empty() || error != std::errc() || end != digits.data() + digits.size()) {
    fail(ErrorCode::bad_file, "{} is no number", quoted(digits));
  }
  return value;
}

/// Adds the token of a line `ID literal LENGTH`.
void parse_line(std::string_view line, TokenList& tokens) {
  const size_t first_space = line.find(' ');
  const size_t last_space = line.rfind(' ');
  if (first_space == last_space) fail(ErrorCode::bad_file, "{} is not `ID literal LENGTH`", quoted(line));
  const uint32_t id = parse_number(line.substr(0, first_space));
  if (id < 1 || id >= kTokensMax) fail(ErrorCode::bad_file, "id {}, must be 1..{}", id, kTokensMax - 1);
  std::string bytes = parse_python_literal(line.substr(first_space + 1, last_space - first_space - 1));
  const uint32_t n_bytes = parse_number(line.substr(last_space + 1));
  if (bytes.size() != n_bytes) fail(ErrorCode::bad_file, "token has {} bytes, the line says {}", bytes.size(), n_bytes);
  if (bytes.empty()) fail(ErrorCode::bad_file, "token {} is empty", id);
  check_token_length(bytes);
  if (id >= tokens.size()) tokens.resize(id + 1);
  if (!tokens[id].empty()) fail(ErrorCode::bad_file, "id {} was there before", id);
  tokens[id] = std::move(bytes);
}

TokenList parse_vocabulary(std::string_view text) {
  TokenList tokens;
  size_t line_number = 0;
  try {
    while (!text.empty()) {
      ++line_number;
      const size_t end = std::min(text.find('\n'), text.size());
      std::string_view line = text.substr(0, end);
      text.remove_prefix(std::min(end + 1, text.size()));
      if (line.ends_with('\r')) line.remove_suffix(1);
      if (!line.empty()) parse_line(line, tokens);
    }
  } catch (const Error& error) {
    fail(ErrorCode::bad_file, "[tokenizer] line {}: {}", line_number, error.what());
  }
  if (tokens.empty()) fail(ErrorCode::bad_file, "[tokenizer] the vocabulary holds no token");
  return tokens;
}

}  // namespace

struct Tokenizer::Vocabulary {
  TokenList tokens;
  Trie trie;

  explicit Vocabulary(TokenList list) : tokens(std::move(list)), trie(entries()) {}

 private:
  std::vector<Trie::Entry> entries() const {
    std::vector<Trie::Entry> result;
    result.reserve(tokens.size());
    for (size_t id = 1; id < tokens.size(); ++id) {
      if (!tokens[id].empty()) result.push_back({tokens[id], uint32_t(id)});
    }
    return result;
  }
};

Tokenizer::Tokenizer(std::shared_ptr<const Vocabulary> vocabulary) : vocabulary_(std::move(vocabulary)) {}

Tokenizer Tokenizer::world() {
  const char* begin = reinterpret_cast<const char*>(ravenwing_world_vocab_begin);
  const char* end = reinterpret_cast<const char*>(ravenwing_world_vocab_end);
  return from_text({begin, end});
}

Tokenizer Tokenizer::from_text(std::string_view vocabulary) {
  return Tokenizer(std::make_shared<const Vocabulary>(parse_vocabulary(vocabulary)));
}

Tokenizer Tokenizer::from_file(const std::filesystem::path& path) {
  const MappedFile file(path);
  if (file.size() > kVocabularyFileBytesMax) {
    fail(ErrorCode::bad_file, "[tokenizer] {} has {} bytes, a vocabulary at most {}", quoted(path.native()),
         file.size(), kVocabularyFileBytesMax);
  }
  // Copied, not parsed in place: a file that is cut short meanwhile must give an error, not a signal.
  std::string text(file.size(), '\0');
  if (!file.read(0, text.data(), text.size())) {
    fail(ErrorCode::bad_file, "[tokenizer] {} was cut short while it was read", quoted(path.native()));
  }
  try {
    return from_text(text);
  } catch (const Error& error) {
    fail(error.code(), "{}: {}", quoted(path.native()), error.what());
  }
}

Tokenizer Tokenizer::from_gguf_tokens(std::span<const std::string> tokens, std::span<const int64_t> token_types) {
  if (tokens.empty() || tokens.size() > kTokensMax) {
    fail(ErrorCode::bad_file, "[tokenizer] {} tokens, must be 1..{}", tokens.size(), kTokensMax);
  }
  if (!token_types.empty() && token_types.size() != tokens.size()) {
    fail(ErrorCode::bad_file, "[tokenizer] {} tokens but {} token types", tokens.size(), token_types.size());
  }
  TokenList list(tokens.size());
  for (size_t id = 1; id < tokens.size(); ++id) {
    if (!token_types.empty() && token_types[id] != kNormalTokenType) continue;
    try {
      list[id] = unescape_python_bytes(tokens[id]);
      check_token_length(list[id]);
    } catch (const Error& error) {
      fail(ErrorCode::bad_file, "[tokenizer] token {}: {}", id, error.what());
    }
  }
  return Tokenizer(std::make_shared<const Vocabulary>(std::move(list)));
}

std::vector<uint32_t> Tokenizer::encode(std::string_view bytes) const {
  const Trie& trie = vocabulary_->trie;
  std::vector<uint32_t> ids;
  ids.reserve(bytes.size() / 3);  // English text has four to five bytes a token
  std::string_view rest = bytes;
  while (!rest.empty()) {
    const Trie::Match match = trie.longest_match(rest);
    if (match.n_bytes == 0) {
      fail(ErrorCode::unsupported, "[tokenizer] no token of the vocabulary begins with the byte {} at offset {}",
           quoted(rest.substr(0, 1)), bytes.size() - rest.size());
    }
    ids.push_back(match.id);
    rest.remove_prefix(match.n_bytes);
  }
  return ids;
}

std::string Tokenizer::decode(std::span<const uint32_t> ids) const {
  std::string text;
  for (const uint32_t id : ids) text += bytes(id);
  return text;
}

std::string_view Tokenizer::bytes(uint32_t id) const {
  if (id >= size()) fail(ErrorCode::bad_request, "[tokenizer] token id {}, must be below {}", id, size());
  return vocabulary_->tokens[id];
}

uint32_t Tokenizer::size() const { return uint32_t(vocabulary_->tokens.size()); }

std::string StreamDecoder::push(uint32_t id) {
  std::string text;
  push(id, text);
  return text;
}

void StreamDecoder::push(uint32_t id, std::string& text) {
  pending_ += tokenizer_.bytes(id);
  const size_t n_complete = utf8_complete_prefix(pending_);
  text.append(pending_, 0, n_complete);
  pending_.erase(0, n_complete);
}

std::string StreamDecoder::finish() { return std::exchange(pending_, {}); }

}  // namespace ravenwing
