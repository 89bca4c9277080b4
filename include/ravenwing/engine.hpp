// A loaded model and the sessions that use it.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ravenwing/device_info.hpp"
#include "ravenwing/error.hpp"
#include "ravenwing/model_info.hpp"
#include "ravenwing/sampler_params.hpp"
#include "ravenwing/tokenizer.hpp"

namespace ravenwing {

struct EngineOptions {
  std::filesystem::path model;  // .gguf or .safetensors
  std::filesystem::path vocab;  // instead of the model's own vocabulary
  std::string device;           // "": the first GPU, else software; an index of list_devices(), part of a name, "software"
  std::string tier;             // "": the best; "T0", "T1"
  bool exact = false;           // bit-equal results alone, in any batch and under any chunking
  uint32_t chunk = 512;         // tokens of one step at most, 1 to 512
  uint32_t max_sessions = 4;
  /// Called while weights are loaded; bytes done and in all.
  std::function<void(uint64_t done, uint64_t total)> on_progress;
  /// Looked at between steps and while loading: once true, the call in progress throws Error{cancelled}.
  const std::atomic<bool>* cancel = nullptr;
};

/// GPU memory in use, bytes.
struct MemoryUse {
  uint64_t weights = 0, state = 0, scratch = 0;
};

/// All memory of one text, in float. w[layer][head][i][j]: i value channel, j key channel.
struct SessionState {
  std::vector<float> time_shift;     // [n_layer, n_embd]
  std::vector<float> wkv;            // [n_layer, n_head, head_size, head_size]
  std::vector<float> channel_shift;  // [n_layer, n_embd]
};

enum class FinishReason {
  stop,       // a stop token or a stop string
  length,     // max_tokens reached
  cancelled,  // the caller's callback said so
};
std::string_view name(FinishReason reason);

struct GenerateOptions {
  uint32_t max_tokens = 256;
  SamplerParams sampler;
  std::vector<uint32_t> stop_tokens = {0};  // at most 16; id 0 is the end of a text
  std::vector<std::string> stop;            // the text ends before the first of these
  /// Called with each piece of text that is certain (whole characters, no part of a stop string); false ends the call.
  std::function<bool(std::string_view text)> on_text;
};

struct Timings {
  uint64_t prefill_tokens = 0, decode_tokens = 0;
  double prefill_ms = 0, decode_ms = 0;
};

struct Completion {
  std::string text;
  std::vector<uint32_t> ids;  // without the stop token
  FinishReason finish_reason = FinishReason::length;
  Timings timings;
};

class Engine;

/// One text and its state on the GPU. Belongs to an Engine, which must outlive it; move-only. Not for several threads.
class Session {
 public:
  ~Session();
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;

  /// Continues the text with `ids`. Throws Error{bad_request} for an id that is not below n_vocab, as do all below.
  void feed(std::span<const uint32_t> ids);
  /// The same, and the logits after the last of `ids`: [n_vocab]. `ids` must not be empty.
  std::vector<float> logits(std::span<const uint32_t> ids);
  /// The same after each of `ids`: visit(i, logits [n_vocab]), in order.
  void logits_of_each(std::span<const uint32_t> ids, const std::function<void(size_t index, std::span<const float> logits)>& visit);
  /// Continues with `ids` and scores them: out[i] = -ln p(ids[i + 1] | all before), ids.size() - 1 values.
  /// `on_progress` is called with how many there are so far.
  std::vector<double> score(std::span<const uint32_t> ids, const std::function<void(size_t n_scored)>& on_progress = {});
  /// Continues with `ids`, then with up to max_tokens sampled ones. An empty text starts with id 0.
  Completion generate(std::span<const uint32_t> ids, const GenerateOptions& options);

  /// The state after all that was fed; the last sampled token is fed with the next call.
  SessionState state();
  /// Tokens fed so far.
  uint64_t n_tokens() const;
  /// Back to the empty text.
  void reset();

  struct Impl;  // the library's own

 private:
  friend class Engine;
  explicit Session(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// A text to continue, for Engine::generate.
struct Request {
  Session* session = nullptr;
  std::vector<uint32_t> ids;
  GenerateOptions options;
};

/// A model on a GPU. One thread at a time may use an engine and its sessions. Once the GPU is lost every call throws
/// Error{device_lost}.
class Engine {
 public:
  /// Opens the device and loads the model. Throws Error.
  explicit Engine(const EngineOptions& options);
  ~Engine();
  Engine(Engine&&) noexcept;
  Engine& operator=(Engine&&) noexcept;

  const ModelInfo& model() const;
  const DeviceInfo& device() const;
  const Tokenizer& tokenizer() const;
  MemoryUse memory() const;
  /// Milliseconds from opening the file to ready; the device's own start is device_ms.
  double load_ms() const;
  double device_ms() const;

  /// Throws Error{bad_request} when max_sessions are in use.
  Session new_session();
  /// Continues several texts at once: their tokens share the steps. Each session may appear once.
  std::vector<Completion> generate(std::span<const Request> requests);

  struct Impl;  // the library's own

 private:
  std::unique_ptr<Impl> impl_;
};

/// Runs the demo model on a device and compares what it computes with recorded values; throws Error{unsupported} that says
/// what differs. Returns a line that says what was checked.
std::string self_test(const std::string& device, const std::string& tier);

}  // namespace ravenwing
