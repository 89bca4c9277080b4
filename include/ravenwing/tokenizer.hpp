// Text to token ids and back.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ravenwing {

/// The RWKV "World" tokeniser: a trie over byte strings, greedy longest match. Immutable, so any number of threads may
/// use one; copies share the vocabulary.
class Tokenizer {
 public:
  /// The World vocabulary (65 529 tokens), which is part of the library.
  static Tokenizer world();
  /// A vocabulary file in World's format: one `ID 'python literal' LENGTH` a line. Throws Error{bad_file}.
  static Tokenizer from_file(const std::filesystem::path& path);
  /// The tokens of a GGUF file (`tokenizer.ggml.tokens`): index = id, each the body of a Python bytes literal; entries
  /// whose type is neither normal (1) nor absent stand for no text. Throws Error{bad_file}.
  static Tokenizer from_gguf_tokens(std::span<const std::string> tokens, std::span<const int64_t> token_types);

  /// Greedy longest match over the bytes. Throws Error{unsupported} if the vocabulary lacks a byte of the text.
  std::vector<uint32_t> encode(std::string_view bytes) const;
  /// The bytes of the ids one after another; id 0 and ids of no text give none. Throws Error{bad_request} for an id
  /// that is not below size().
  std::string decode(std::span<const uint32_t> ids) const;
  /// The bytes of one id.
  std::string_view bytes(uint32_t id) const;
  /// One more than the largest id.
  uint32_t size() const;

 private:
  struct Vocabulary;
  explicit Tokenizer(std::shared_ptr<const Vocabulary> vocabulary);
  // Shared: a Tokenizer is copied into sessions and threads, the trie (tens of MB for World) is not.
  std::shared_ptr<const Vocabulary> vocabulary_;
};

/// Turns a stream of tokens into text that never ends in half a UTF-8 character.
class StreamDecoder {
 public:
  explicit StreamDecoder(Tokenizer tokenizer) : tokenizer_(std::move(tokenizer)) {}
  /// Adds a token; returns the bytes that are complete now. Bytes that can be part of no character are passed through.
  std::string push(uint32_t id);
  /// What is left at the end of the text, whole or not.
  std::string finish();

 private:
  Tokenizer tokenizer_;
  std::string pending_;
};

}  // namespace ravenwing
