// The forward pass of RWKV-7 on the GPU: prefill, decode and any mixture of sequences are the same step.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "gpu/readback.hpp"
#include "gpu/uniforms.hpp"
#include "kernels/pool.hpp"
#include "kernels/tuning.hpp"
#include "model/readout.hpp"
#include "model/rwkv7_hooks.hpp"
#include "model/rwkv7_token.hpp"
#include "ravenwing/profile.hpp"

namespace ravenwing::rwkv7 {

struct ModelOptions {
  uint32_t n_slots = 4;
  StateStorage states = StateStorage::f32;
  uint32_t tokens_max = 512;  // of one step
  kernels::MatMulMode mode = kernels::MatMulMode::fast;
  std::optional<kernels::MatMulTile> tile;  // of T2; none: by each product's size
  uint64_t binding_bytes_max = 0;           // of weights in one dispatch; 0: the device's limit. Tests lower it.
  WeightPlacement placement{};              // tests lower its limit, too
  bool lazy = false;                        // the first step that needs a layer brings its weights to the GPU
  /// How steps of one token run, where the device and the model are made for it; exact mode knows none of it.
  kernels::TokenUse token = kernels::TokenUse::none;
  uint32_t token_workgroups = 0;  // 0: as many as run at a time
  bool compile_ahead = false;     // while weights are loaded: what decoding one text and prefill in full steps need
  kernels::Tuning tuning{};       // exact mode knows none of it
};

using kernels::Sampled;

/// What steps gave that ran for measuring.
struct Replay {
  double us = 0;  // from the first submit to the last result, by the host's clock
  std::vector<Sampled> sampled;
};

class Model {
 public:
  /// `file` and `source` must outlive a model that is lazy; `progress` is then called by submit().
  Model(gpu::Device& device, const format::ModelFile& file, const ModelSource& source, const ModelOptions& options,
        const Progress& progress = {});

  const Config& config() const { return config_; }
  /// How steps of one token run.
  kernels::TokenUse token_use() const { return token_ ? options_.token : kernels::TokenUse::none; }
  /// Whether reading a step's results found that its one dispatch had stalled, and threw: the states of its texts are
  /// useless. Until forget_stall(); stages run one by one from then on.
  bool has_stalled() const { return stalled_; }
  void forget_stall() { stalled_ = false; }
  /// From now on each step calls it (ravenwing/hooks.hpp), but for those that are measured; none: no longer.
  void set_hook(std::optional<Hook> hook, HookWrites writes = HookWrites::changes);
  /// Whether a step threw since the last call and its texts are as they were before it, as where a hook threw.
  bool take_undone() { return std::exchange(undone_, false); }
  StateArenas& states() { return states_; }
  /// The slot of a text that has not begun: its state is zero, sampling remembers nothing.
  void reset_slot(uint32_t slot);
  uint32_t tokens_max() const { return options_.tokens_max; }
  /// Rows of logits that one step can give: what a binding holds.
  uint32_t outputs_max() const { return outputs_max_; }

  /// Begins to compile what such a step needs.
  void prepare(const kernels::StepInput& input) { prepare(bucket_of(input)); }
  /// Queues a step: advances the states of its chunks, computes logits of its outputs and samples where they ask for
  /// it. At most tokens_max() tokens and chunks and outputs_max() outputs; a slot appears in one chunk at most.
  /// If weights that a lazy model lacks could not be loaded, that step is lost and every later call throws the same.
  void submit(const kernels::StepInput& input);
  /// The dispatches of such a step, for measuring.
  const gpu::Plan& plan_of(const kernels::StepInput& input) { return plan(bucket_of(input)); }
  /// Runs such a step, which must not be the first of a lazy model, dispatch by dispatch, timing each.
  void profile(const kernels::StepInput& input, StepProfile& profile);
  /// The GPU's microseconds for such a step as a whole, the median of several; none where its clock gave no sense.
  std::optional<double> time_step(const kernels::StepInput& input);
  /// Runs such a step, which must not be the first of a lazy model, again and again, as launch() and take_sampled() do;
  /// `shape` says how many are submitted at once.
  Replay replay(const kernels::StepInput& input, const SubmitShape& shape, uint32_t n_steps);
  /// What steps found ready; of buffers it knows nothing.
  const StepCacheUse& cache_use() const { return cache_use_; }
  /// The same, and sends what is sampled to the host. At most kStepsInFlight steps may be
  /// launched and not yet taken.
  void launch(const kernels::StepInput& input);
  /// What the oldest launched step sampled whose results were not taken yet, one per output. Waits for that step.
  void take_sampled(std::vector<Sampled>& sampled);
  /// Queues a step that gives no logits: begins the texts of its chunks (StepChunk::after), advances their states in
  /// the first layers, pools (kernels::Pool), and sends the pooled rows of all slots to the host. As many as launch()
  /// may be on their way.
  void launch_pooled(const kernels::StepInput& input, const Readout& readout);
  /// Of the oldest such step that was not taken: [n_slots, n_embd]. Waits for it.
  void take_pooled(std::span<float> rows);
  void forget_pooled();
  /// Gives up the results of all launched steps. The steps are still computed.
  void forget_sampled();
  /// Logits of the last step's outputs, [n_outputs, n_vocab], changed by penalties and bias where a token was drawn.
  /// Waits.
  std::vector<float> read_logits();
  /// The row of one output, [n_vocab].
  std::vector<float> read_logits_of(uint32_t output);
  /// What the last step sampled, one per output. Waits. For tests.
  std::vector<Sampled> read_sampled();

 private:
  /// A plan serves every step that is at most this large.
  struct Bucket {
    uint32_t n_tokens, n_chunks, n_outputs;
    Readout readout;
    auto operator<=>(const Bucket&) const = default;
  };
  static constexpr Bucket kDecode{1, 1, 1};
  struct Scratch {
    gpu::Buffer step, x, mixed, r_k_v, low, up, v_first, y, gated, hidden, normed, logits, sampled;
  };
  static Scratch make_scratch(gpu::Device& device, const Config& config, const ModelOptions& options,
                              uint32_t outputs_max);
  Bucket bucket_of(const kernels::StepInput& input, const Readout& readout = {}) const;
  const gpu::Plan& plan(const Bucket& bucket);
  /// Commands of a step: what is left of them where the first ones are submitted already, none of one that had to load
  /// weights first.
  wgpu::CommandEncoder encode(const kernels::StepInput& input, const Readout& readout = {});
  /// Commands of dispatches `begin` to `end` - 1.
  wgpu::CommandEncoder encode_dispatches(const gpu::Plan& steps, size_t begin, size_t end) const;
  /// Submits the first dispatches of a step. Returns how many.
  size_t submit_ahead(const gpu::Plan& steps) const;
  /// The same; those that end a step send what it samples to `results`.
  wgpu::CommandBuffer encode_part(const gpu::Plan& steps, size_t begin, size_t end, gpu::ReadbackRing& results) const;
  void prepare(const Bucket& bucket);
  void load_all(const Progress& progress);
  /// For steps that do not run section by section.
  void load_rest();
  /// After loading.
  void make_ready();
  /// Runs a step, but for what sends its results.
  void run_hooked(const kernels::StepInput& input, const Readout& readout);
  const HookedPlan& hooked_plan(const Bucket& bucket);
  /// Planes of activations, from one of them on.
  HookedRows acts(const gpu::Buffer& buffer, uint32_t plane_first, uint32_t n_planes = 1) const;
  /// [token, n_embd] in f32.
  HookedRows rows(const gpu::Buffer& buffer) const;
  /// Submits a step section by section, each as soon as its weights are there.
  void run_while_loading(const gpu::Plan& steps);

  /// The kernel for one token, where there is one.
  void make_token();
  /// For a whole dispatch: gives it as many workgroups as run at a time.
  void fit_token();
  /// Throws if a whole dispatch has gone wrong, and takes its stages one by one from here on.
  void check_stalled();
  void record_token(const kernels::Context& context);
  kernels::Context context(gpu::Recorder& recorder, const Bucket& bucket) const;
  void record(const kernels::Context& context, const Readout& readout, HookStops stops = {});
  void begin_states(const kernels::Context& context);
  void pool(const kernels::Context& context, const Readout& readout);
  void time_mix(const kernels::Context& context, uint32_t layer, HookStops& stops);
  void low_rank(const kernels::Context& context, uint32_t layer);
  void channel_shift(const kernels::Context& context, uint32_t layer, HookStops& stops);
  void channel_mix(const kernels::Context& context, uint32_t layer, HookStops& stops);
  void head(const kernels::Context& context);
  void embed(const kernels::Context& context);
  void sample(const kernels::Context& context);
  kernels::MatMul product(std::string label, const gpu::Buffer& input, const gpu::Buffer& output) const;
  uint32_t plane() const { return options_.tokens_max * kernels::act_stride(config_.n_embd); }

  gpu::Device& device_;
  Config config_;
  ModelOptions options_;
  uint32_t outputs_max_;
  gpu::PipelineCache pipelines_;
  gpu::UniformArena uniforms_;
  Weights weights_;
  std::unique_ptr<WeightLoader> loader_;  // until all weights are there
  Progress progress_;
  std::optional<Error> load_failure_;
  StateArenas states_;
  Scratch scratch_;
  std::optional<kernels::TokenKernel> token_;
  std::map<Bucket, gpu::Plan> plans_;
  gpu::Plan reset_;                      // made with the first reset
  std::unique_ptr<HookedSteps> hooked_;  // where there is a hook
  std::map<Bucket, HookedPlan> hooked_plans_;
  bool undone_ = false;
  StepCacheUse cache_use_;
  bool stalled_ = false;
  uint32_t last_n_outputs_ = 0;
  gpu::ReadbackRing readback_;
  gpu::Buffer pooled_;                                // [slot, n_embd] f32; made with the first such step
  std::optional<gpu::ReadbackRing> pooled_readback_;  // likewise
};

}  // namespace ravenwing::rwkv7
