// Text to token ids and back.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#pragma GCC visibility push(default)  // what the shared library shows
namespace ravenwing {

/// The RWKV "World" tokeniser: a trie over byte strings, greedy longest match. Immutable, so any number of threads may
/// use one; copies share the vocabulary.
class Tokenizer {
 public:
  /// The World vocabulary (65 529 tokens), which is part of the library.
  static Tokenizer world();
  /// A vocabulary file in World's format: one `ID 'python literal' LENGTH` a line, in any order, ids 1..65535. Throws
  /// Error{bad_file} for a line that is not so, a wrong LENGTH, an empty token or one of more than 1024 bytes, an id or
  /// a token that was there before.
  static Tokenizer from_file(const std::filesystem::path& path);
  /// The same from memory.
  static Tokenizer from_text(std::string_view vocabulary);
  /// The tokens of a GGUF file (`tokenizer.ggml.tokens`): index = id, each the body of a Python bytes literal; entries
  /// whose type is neither normal (1) nor absent, and empty ones, stand for no text, as does id 0 whatever it holds.
  /// Throws Error{bad_file} for more than 65 536 entries, an unknown escape, a token of more than 1024 bytes, two
  /// tokens of the same bytes, or if there are types but not one per token.
  static Tokenizer from_gguf_tokens(std::span<const std::string> tokens, std::span<const int64_t> token_types);

  /// Greedy longest match over the bytes. Throws Error{unsupported} where no token of the vocabulary begins what is
  /// left of the text; cannot happen if the vocabulary has all 256 bytes, as World has.
  std::vector<uint32_t> encode(std::string_view bytes) const;
  /// The bytes of the ids one after another; id 0 and ids of no text give none. Throws Error{bad_request} for an id
  /// that is not below size().
  std::string decode(std::span<const uint32_t> ids) const;
  /// The bytes of one id, valid as long as a copy of this tokeniser lives. Throws as decode does.
  std::string_view bytes(uint32_t id) const;
  /// One more than the largest id.
  uint32_t size() const;

 private:
  struct Vocabulary;
  explicit Tokenizer(std::shared_ptr<const Vocabulary> vocabulary);
  // Shared: a Tokenizer is copied into sessions and threads, the vocabulary (4 MB for World) is not.
  std::shared_ptr<const Vocabulary> vocabulary_;
};

/// Turns a stream of tokens into text that never ends in half a UTF-8 character.
class StreamDecoder {
 public:
  /// `pending`: bytes that came before.
  explicit StreamDecoder(Tokenizer tokenizer, std::string pending = {})
      : tokenizer_(std::move(tokenizer)), pending_(std::move(pending)) {}
  /// Adds a token; returns the bytes that are complete now. Bytes that can be part of no character are passed through.
  std::string push(uint32_t id);
  /// The same, appended to `text`: allocates nothing where that has room.
  void push(uint32_t id, std::string& text);
  /// What is left at the end of the text, whole or not.
  std::string finish();
  /// The same, kept: the beginning of a character that more tokens may complete.
  const std::string& pending() const { return pending_; }

 private:
  Tokenizer tokenizer_;
  std::string pending_;
};

}  // namespace ravenwing
#pragma GCC visibility pop
