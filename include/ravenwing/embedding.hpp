// How a text becomes one vector.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#pragma GCC visibility push(default)  // what the shared library shows
namespace ravenwing {

enum class Pooling : uint8_t {
  last,  // the hidden vector of the text's last token: n_embd values
  mean,  // the mean of all its tokens' hidden vectors
  /// The layer's wkv state after the text, [n_head, head_size, head_size]: n_embd * head_size values. Normalized, each
  /// row of it (a value channel) has the same length.
  state,
};
std::string_view name(Pooling pooling);

struct EmbeddingOptions {
  Pooling pooling = Pooling::last;
  /// Of which layer: its output, the residual stream. From the end where negative; -1, the default, is what the head
  /// reads: the last layer's output by the model's last layer norm. Layers after it are not computed.
  int32_t layer = -1;
  /// Pooling::last reads this after each text, so that all end alike and on a word that asks what they were about: on
  /// halves of stories it tells which belong together as well as the mean does (AUC 0.85), the bare last token does not
  /// (0.63). "": nothing.
  std::string closing = "\n\nThe";
  bool normalize = true;  // to a length of 1; a vector of zeros stays as it is
  /// Called with the number of texts that are done.
  std::function<void(size_t n_texts)> on_progress{};
};

}  // namespace ravenwing
#pragma GCC visibility pop
