// The input of a step and the control blocks of the slots, as the shaders see them (step.wgsl, control_layout.wgsl).
// Plain data: knows no GPU.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "ravenwing/sampler_params.hpp"

namespace ravenwing::kernels {

/// A token id that stands for what was sampled last in the chunk's slot.
inline constexpr uint32_t kFeedback = 0xffffffff;
inline constexpr uint32_t kNoToken = 0xffffffff;
inline constexpr uint32_t kStopMax = 16;
inline constexpr uint32_t kUncountedMax = 12;

/// Why a slot is frozen: its state is not written again until the host says so.
enum class Frozen : uint32_t { no = 0, stop = 1, limit = 2, numerical = 3 };

/// Per slot: what sampling needs and what it leaves behind. The sampling parameters are those of SamplerParams.
struct ControlBlock {
  uint32_t next_token = kNoToken;
  uint32_t frozen = 0;
  uint32_t n_generated = 0;
  uint32_t limit = 0;     // tokens to generate at most
  uint32_t sequence = 0;  // first counter word of the random numbers
  uint32_t seed[2] = {0, 0};
  float temperature = 0;
  uint32_t top_k = 0;
  float top_p = 1;
  uint32_t n_stop = 0;
  uint32_t stop[kStopMax] = {};
  uint32_t position = 0;  // second counter word, for the first token sampled
  uint32_t order = 0;     // SamplerOrder
  float min_p = 0;
  float typical_p = 1;
  float xtc_probability = 0;
  float xtc_threshold = 1;
  float mirostat_tau = 0;
  float mirostat_eta = 0;
  float presence_penalty = 0;
  float frequency_penalty = 0;
  float repetition_penalty = 1;
  float penalty_decay = 1;
  uint32_t n_additions = 0;  // LogitAdditions of the slot
  uint32_t n_uncounted = 0;  // tokens that the penalties never count
  uint32_t uncounted[kUncountedMax] = {};
  uint32_t unused[10] = {};
  /// Bits of surprise allowed, mirostat's memory. It outlives requests, therefore it is the last word. 0: not begun.
  float mirostat_mu = 0;
};
static_assert(sizeof(ControlBlock) == 64 * 4 && offsetof(ControlBlock, temperature) == 7 * 4 &&
              offsetof(ControlBlock, stop) == 11 * 4 && offsetof(ControlBlock, position) == 27 * 4 &&
              offsetof(ControlBlock, uncounted) == 41 * 4 && offsetof(ControlBlock, mirostat_mu) == 63 * 4);

/// A block with the parameters, all else as in a new one. logit_bias and DRY are LogitAdditions.
ControlBlock control_block(const SamplerParams& params);

/// Added to one logit of a slot before each draw: a bias, or what DRY subtracts. A slot has each id once at most.
struct LogitAddition {
  uint32_t id = 0;
  float value = 0;
};
inline constexpr uint32_t kAdditionsMax = 2048;  // of a slot: SamplerParams::kLogitBiasMax and as many for DRY

/// What sampling gave for an output row, as the shader writes it.
struct Sampled {
  uint32_t id = kNoToken;
  Frozen frozen = Frozen::no;
  float mirostat_mu = 0;  // of the slot, after the draw
};
static_assert(sizeof(Sampled) == 3 * 4);

/// Steps that may be on their way at once. Two let the GPU go on while the CPU looks at what it has sampled and encodes
/// the next step; the others make up for a CPU that is late now and then. When the CPU finds a stop string, all but the
/// first were for nothing.
inline constexpr uint32_t kStepsInFlight = 4;

/// What a chunk goes on from: its slot's state; nothing; or the state of slot `s`, kAfterSlot + s. But for the first,
/// only steps that begin states know them (begin_states.hpp).
inline constexpr uint32_t kGoesOn = 0, kBegins = 1, kAfterSlot = 2;

/// Consecutive tokens of one sequence in a step. An empty chunk does nothing.
struct StepChunk {
  uint32_t slot = 0;
  std::span<const uint32_t> ids;  // or kFeedback
  uint32_t after = kGoesOn;
};

/// What of a text's tokens is kept where it becomes one vector (pool.hpp).
enum class Pooled : uint8_t { last, sum };

struct StepOutput {
  uint32_t token = 0;  // index in the step
  uint32_t slot = 0;
  bool sample = false;
};

/// The words of a step's input.
class StepInput {
 public:
  explicit StepInput(uint32_t tokens_max);
  static uint64_t bytes(uint32_t tokens_max) { return (8 + uint64_t(tokens_max) * 10) * 4; }

  void clear();
  void add_chunk(const StepChunk& chunk);
  void add_output(const StepOutput& output);
  uint32_t n_tokens() const { return words_[0]; }
  uint32_t n_chunks() const { return words_[1]; }
  uint32_t n_outputs() const { return words_[2]; }
  /// A chunk that was added: where its tokens are in the step.
  struct ChunkTokens {
    uint32_t slot, first, count;
  };
  ChunkTokens chunk(uint32_t index) const;
  std::span<const std::byte> as_bytes() const { return std::as_bytes(std::span(words_)); }

 private:
  uint32_t tokens_max_;
  std::vector<uint32_t> words_;
};

}  // namespace ravenwing::kernels
