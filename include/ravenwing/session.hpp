// One text on the GPU, and what of it can be kept on the host.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ravenwing/error.hpp"
#include "ravenwing/generation.hpp"
#include "ravenwing/state.hpp"

#pragma GCC visibility push(default)  // what the shared library shows
namespace ravenwing {

/// All that a session is, on the host: it can be kept, sent and restored into any session of the same model.
struct SessionSnapshot {
  State state{};                      // after n_tokens
  uint64_t n_tokens = 0;              // fed so far
  std::optional<uint32_t> pending{};  // sampled and returned, fed with the next call
  std::string undecoded{};            // bytes of a character that the next tokens may complete
  std::vector<float> counts{};        // what penalties count, [n_vocab]; empty where they counted nothing
  float mirostat_mu = 0;              // mirostat's memory; 0: none yet
  std::vector<uint32_t> history{};    // the last tokens, `pending` too, that DRY looks for repetitions in

  bool operator==(const SessionSnapshot& other) const = default;
};

class Engine;

/// One text and its state on the GPU. Belongs to an Engine, which must outlive it; move-only. Not for several threads.
class Session {
 public:
  ~Session();
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;

  /// Continues the text with `ids`. Throws Error{bad_request} for an id that is not below n_vocab, as do all below.
  /// This one returns before the GPU has done the last steps.
  void feed(std::span<const uint32_t> ids);
  /// The same, and the logits after the last of `ids`: [n_vocab]. `ids` must not be empty.
  std::vector<float> logits(std::span<const uint32_t> ids);
  /// The same after each of `ids`: visit(i, logits [n_vocab]), in order.
  void logits_of_each(std::span<const uint32_t> ids,
                      const std::function<void(size_t index, std::span<const float> logits)>& visit);
  /// Continues with `ids` and scores them: out[i] = -ln p(ids[i + 1] | all before), ids.size() - 1 values.
  /// `on_progress` is called with how many there are so far.
  std::vector<double> score(std::span<const uint32_t> ids,
                            const std::function<void(size_t n_scored)>& on_progress = {});
  /// Continues with `ids`, then with up to max_tokens sampled ones. An empty text starts with id 0. However it ends,
  /// the session then stands after exactly the ids that it returned: the last one of them is fed with the next call.
  Completion generate(std::span<const uint32_t> ids, const GenerateOptions& options);

  /// The state after all that was fed; the last sampled token is fed with the next call.
  State state();
  /// Tokens fed so far.
  uint64_t n_tokens() const;
  /// Tells the sessions of an engine apart, in hooks. One that is made later may have the number of one that is gone.
  uint32_t id() const;
  /// Waits until the GPU has done all that it was given.
  void wait();
  /// Back to the empty text.
  void reset();

  /// A second session that goes on from here; the state is copied on the GPU. Throws as Engine::new_session does.
  Session fork();
  /// `used`: one that is no longer needed, whose memory the new one takes. Memory that goes back to the system and is
  /// asked for again can cost more than reading the state (21 MB of a 2.9B model).
  SessionSnapshot snapshot(SessionSnapshot used = {});
  /// Throws Error{bad_request} for a snapshot of a model of other shapes; the session then stays as it is. Of a state
  /// alone: restore({.state = state}).
  void restore(const SessionSnapshot& snapshot);
  /// The same without a copy: the session, and forks of it, keep the snapshot, which nobody may change from here on.
  void restore(std::shared_ptr<const SessionSnapshot> snapshot);
  /// Writes the session to a file (safetensors), whole or not at all. Throws Error{bad_file}.
  void save(const std::filesystem::path& path);
  /// Restores what save() wrote. Throws Error{bad_file} for a file that is damaged or was made for another model; the
  /// session then stays as it is.
  void load(const std::filesystem::path& path);
  /// The bytes that save() writes, and what load() does with them: to keep or send sessions by other means.
  std::vector<std::byte> to_bytes();
  void from_bytes(std::span<const std::byte> bytes);

  struct [[gnu::visibility("hidden")]] Impl;  // the library's own

 private:
  friend class Engine;
  explicit Session(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace ravenwing
#pragma GCC visibility pop
