// A loaded model and the sessions that use it.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ravenwing/device_info.hpp"
#include "ravenwing/embedding.hpp"
#include "ravenwing/error.hpp"
#include "ravenwing/generation.hpp"
#include "ravenwing/hooks.hpp"
#include "ravenwing/model_info.hpp"
#include "ravenwing/profile.hpp"
#include "ravenwing/sampler_params.hpp"
#include "ravenwing/session.hpp"
#include "ravenwing/state_storage.hpp"
#include "ravenwing/tokenizer.hpp"

#pragma GCC visibility push(default)  // what the shared library shows
namespace ravenwing {

/// How weights come to the GPU. Results have the same bits.
enum class LoadMode {
  stream,  // read and copied at the same time, all before the first step
  full,    // the whole file is read into memory first
  lazy,    // the first step that needs a layer loads it: an engine is ready at once, its first tokens come later
};
std::string_view name(LoadMode mode);

enum class TuningMode {
  /// Used where there is some; where there is none for the model's shapes, a GPU that is idle after its first answer
  /// measures them for later starts, and stops when there is something to do.
  automatic,
  kept,  // used, but nothing is measured: for programs that measure themselves
  off,   // the built-in choices, and nothing is measured
};

struct EngineOptions {
  std::filesystem::path model{};  // .gguf or .safetensors
  std::filesystem::path vocab{};  // instead of the model's own vocabulary
  std::string device{};  // "": the first GPU, else software; an index of list_devices(), part of a name, "software"
  /// "": the best that a self-test does not find wrong; "T0", "T1", "T2": that one, untested.
  std::string tier{};
  bool safe = false;  // keep WebGPU's checks of calls and indices, which a GPU that passed its self-test does without
  /// Take one token through all layers in a single dispatch, on a GPU that was tested to do so right.
  bool persistent = true;
  bool exact = false;  // bit-equal results alone, in any batch and under any chunking; needs states in f32
  /// Of the texts' states in GPU memory. Snapshots and saved sessions are f32 and fit either; a restored one is
  /// rounded.
  StateStorage state_storage = StateStorage::f32;
  static constexpr uint32_t kChunkMax = 2048;
  static constexpr uint32_t kChunkDefault = 512;
  /// Tokens of one step at most, 1 to kChunkMax; none: as tuned, else kChunkDefault, above which working memory grows.
  std::optional<uint32_t> chunk{};
  static constexpr uint32_t kSessionsMax = 1 << 16;  // of an engine; memory ends before, by bytes
  uint32_t max_sessions = 4;
  LoadMode load = LoadMode::stream;
  bool mmap = true;            // map the file to read its header; its weights are always read
  bool pipeline_cache = true;  // keep compiled shaders in the user's cache folder (README.md)
  bool profiling = false;      // for profile(): opens the GPU's clock
  /// What ravenwing/tune.hpp found for this device; exact mode does without.
  TuningMode tuning = TuningMode::automatic;
  /// Called while weights are loaded, in a lazy engine by what needs them; bytes done and in all. The last call of a
  /// load says that all are done.
  std::function<void(uint64_t done, uint64_t total)> on_progress{};
  /// Called after the GPU was lost in a step of several tokens and all goes on with fewer (class Engine), or after a
  /// token that takes one dispatch has stalled and goes on in many; says so.
  std::function<void(const std::string& what)> on_recovery{};
  /// Looked at between steps and while loading: once true, the call in progress throws Error{cancelled}.
  const std::atomic<bool>* cancel = nullptr;
};

/// GPU memory in use, bytes.
struct MemoryUse {
  uint64_t weights = 0, state = 0, scratch = 0;
  uint64_t peak = 0;  // the most that was in use at once, with the staging buffers of loading and reading
};

/// What an engine has of tuning.
struct TuningUse {
  std::filesystem::path file;  // where it is kept; "": nowhere
  size_t n_choices = 0;        // in use
  std::string warning;         // why a file was not believed, else ""
  size_t n_measured = 0;       // shapes measured by this engine in the background
  bool measuring = false;      // now
};

/// What the cache of compiled shaders gave so far. Damaged entries are among the misses; they were dropped.
struct PipelineCacheUse {
  uint64_t hits = 0, misses = 0, damaged = 0;
};

/// A text to continue, for Engine::generate.
struct Request {
  Session* session = nullptr;
  std::vector<uint32_t> ids{};
  GenerateOptions options{};
};

/// A model on a GPU. One thread at a time may use an engine and its sessions.
/// A GPU that is lost in a step of several tokens, as where the driver's watchdog ends what takes too long, is opened
/// anew, once a call: the model is loaded again, all sessions come back from what they were fed, and steps have half as
/// many tokens from then on. Where that does not help, or one token was too much, calls throw Error{device_lost}.
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
  /// From opening the file to the first token that any generation gave, without the device's own start; 0 before.
  double first_token_ms() const;
  /// All zero where there is no cache.
  PipelineCacheUse pipeline_cache() const;
  StepCacheUse step_caches() const;
  TuningUse tuning() const;
  /// Makes a chunk length the tuned one of this model's shape on this device, for later starts: what a token took with
  /// it, and with the default. Returns where it is kept; "": nowhere, as without tuning.
  std::filesystem::path keep_chunk(uint32_t chunk, double us_a_token, double default_us_a_token);
  /// Tokens of one step at most: as asked for, as tuned, or EngineOptions::kChunkDefault; less after the GPU was lost.
  uint32_t chunk() const;

  /// Throws Error{bad_request} when max_sessions are in use.
  Session new_session();
  /// Continues several texts at once: their tokens share the steps. Each session may appear once.
  std::vector<Completion> generate(std::span<const Request> requests);
  /// From now on every step calls the hook, in this thread: it stops at each point that the hook names, hands out the
  /// values, and goes on with what the call leaves (ravenwing/hooks.hpp, docs/hooks.md). Replaces an earlier one. A
  /// hook that only reads changes no bit, but a token never takes one dispatch meanwhile, and steps run one at a time.
  /// What the hook throws comes out of the call that ran the step, and that step is taken back: its texts stand where
  /// they stood before it. Inside of a hook the engine and its sessions compute nothing: Error{bad_request}. So does
  /// this for a hook without a call, or of a layer that the model does not have.
  void set_hook(Hook hook);
  void clear_hook();
  /// Values of one vector.
  size_t embedding_size(Pooling pooling) const;
  /// A vector for each text of ids, one after another: [texts.size(), embedding_size]. Texts share steps, of as
  /// many as there are free sessions at a time, of which one must be free; with EngineOptions::exact a text has the
  /// same bits in any company. A text without ids (and closing) is that of id 0 alone. `prefix`: every text goes on
  /// from that session, which stays as it is. Throws Error{bad_request} for a layer or an id that the model does not
  /// have.
  std::vector<float> embed(std::span<const std::vector<uint32_t>> texts, const EmbeddingOptions& options = {},
                           Session* prefix = nullptr);
  /// Times a step of `n_tokens` more tokens for each of `n_sequences` empty texts, which need as many free sessions;
  /// the last token of each is sampled from as `sampler` says (DRY finds nothing in empty texts). Throws
  /// Error{bad_request} without EngineOptions::profiling, for a step larger than the chunk or a sampler out of range,
  /// Error{unsupported} where the adapter has no clock.
  StepProfile profile(uint32_t n_sequences, uint32_t n_tokens, const SamplerParams& sampler = {});
  /// Decodes one text greedily, `n_tokens` of it, with several steps in one submit or one step in several; up to four
  /// steps, or two submits, are on their way at once. Throws Error{bad_request} for no tokens, no steps or both at
  /// once, and where no session is free.
  SubmitReading time_submits(const SubmitShape& shape, uint32_t n_tokens);
  /// Measures what this device can do at best, in some 100 ms on a GPU, more where shaders have to be compiled first;
  /// takes up to 1 GiB of GPU memory meanwhile. By the GPU's clock in an engine that was opened for profiling, else by
  /// the host's. Throws Error{unsupported} where the GPU computes wrong numbers, Error{out_of_memory}.
  MeasuredLimits measure_limits();

  struct [[gnu::visibility("hidden")]] Impl;  // the library's own

 private:
  std::unique_ptr<Impl> impl_;
};

/// Tests a tier of a device as an engine's first start with `model` (none: the demo model) does, whatever earlier tests
/// said, and writes the verdict down for later starts; then runs the demo model and compares what it computes with
/// recorded values. Throws Error{unsupported} that says what is wrong. Returns a line that says what was checked.
std::string self_test(const std::string& device, const std::string& tier, const std::filesystem::path& model = {});

}  // namespace ravenwing
#pragma GCC visibility pop
