// src/model/rwkv7_forward.cpp: one step of RWKV-7, dispatch by dispatch. The mathematics: docs/model.md.
#include "model/rwkv7_forward.hpp"

#include <algorithm>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstring>

#include "base/bytes.hpp"
#include "gpu/timestamps.hpp"
#include "kernels/begin_states.hpp"
#include "kernels/embed.hpp"
#include "kernels/layer_norm.hpp"
#include "kernels/penalties.hpp"
#include "kernels/sample.hpp"
#include "kernels/shaders.hpp"
#include "kernels/time_mix.hpp"
#include "kernels/token_shift.hpp"

namespace ravenwing::rwkv7 {
namespace {

using kernels::act_stride;
using kernels::Activation;

/// Rows of `mixed`: the time mix's token shift gives them in the order of the file's x_r x_w x_k x_v x_a x_g.
enum Mix : uint32_t { kMixR, kMixW, kMixK, kMixV, kMixA, kMixG, kMixCount };

/// Adds a product of `matrix` to a group: one segment for each of its parts.
void add_segments(std::vector<kernels::MatMulSegment>& segments, const Matrix& matrix, uint32_t input_offset,
                  uint32_t output_offset, uint32_t output_stride, Activation activation = Activation::none) {
  for (const kernels::MatrixView& part : matrix.parts) {
    segments.push_back({part, input_offset, output_offset, output_stride, activation});
    output_offset += part.n_rows;
  }
}

/// Of a step of one token whose stages are dispatched one by one.
constexpr uint32_t kTokenWorkgroups = 128;
/// Plans are made for powers of two up to the first number of tokens, for each 16, the columns of a matrix, up to the
/// second, for eighths of powers of two above.
constexpr uint32_t kFinelyFrom = 64, kFinelyTo = 256, kFineTokens = 16;
/// To encode a step takes the CPU longer than a few of its dispatches take the GPU, which need not wait for all of it:
/// of a step of many tokens so many dispatches are submitted first, then so many times as many, and so on.
constexpr uint32_t kAheadTokensMin = 32, kAheadDispatches = 16, kAheadFactor = 4;

/// Parts of a product's inputs for which a step of the most tokens has room; smaller ones may take more.
constexpr uint32_t kPartsOfMost = 4;

/// Logits are the widest rows of all: steps of more tokens give theirs in several, which costs little.
constexpr uint32_t kOutputsMax = 512;

uint32_t outputs_that_fit(const gpu::Device& device, const Config& config, uint32_t tokens_max) {
  const uint64_t fit = device.limits().binding_bytes_max / (uint64_t(config.n_vocab) * 4);
  if (fit == 0)
    fail(ErrorCode::unsupported, "[model] the logits of {} tokens exceed the device's binding limit", config.n_vocab);
  return uint32_t(std::min<uint64_t>(fit, std::min(tokens_max, kOutputsMax)));
}

bool any_numerical(std::span<const Sampled> sampled) {
  return std::ranges::any_of(sampled, [](const Sampled& one) { return one.frozen == kernels::Frozen::numerical; });
}

}  // namespace

Model::Model(gpu::Device& device, const format::ModelFile& file, const ModelSource& source, const ModelOptions& options,
             const Progress& progress)
    : device_(device),
      config_(source.config),
      options_(options),
      outputs_max_(outputs_that_fit(device, source.config, options.tokens_max)),
      pipelines_(device, kernels::shader_library()),
      uniforms_(device),
      loader_(std::make_unique<WeightLoader>(pipelines_, file, source, options.placement, weights_)),
      progress_(progress),
      states_(device, source.config, options.n_slots, options.states),
      scratch_(make_scratch(device, source.config, options, outputs_max_)),
      readback_(device, kernels::kStepsInFlight, scratch_.sampled.size()) {
  if (!options.lazy) make_token();
  // Only the memory need be there to know the shaders: they are compiled while it is filled.
  if (options.compile_ahead) {
    for (const Bucket& bucket : {kDecode, Bucket{options_.tokens_max, 1, 1}}) prepare(bucket);
    gpu::Recorder recorder(pipelines_);
    begin_states(context(recorder, kDecode));
  }
  if (options.lazy) return;
  load_all(progress);
  fit_token();
  if (options.compile_ahead) plan(kDecode);
  device_.wait_idle();
}

void Model::prepare(const Bucket& bucket) {
  gpu::Recorder recorder(pipelines_);
  record(context(recorder, bucket), bucket.readout);
}

void Model::load_all(const Progress& progress) {
  loader_->expect(loader_->n_sections(), progress);
  for (size_t section = 0; section < loader_->n_sections(); ++section) {
    if (!loader_->is_loaded(section)) loader_->load(section);
  }
  loader_->finish();
  loader_.reset();
}

void Model::load_rest() {
  if (load_failure_) throw *load_failure_;
  if (!loader_) return;
  try {
    load_all(progress_);
  } catch (const Error& error) {
    load_failure_ = error;
    throw;
  }
  make_ready();
}

void Model::make_ready() {
  make_token();
  fit_token();
  plans_.clear();
}

Model::Scratch Model::make_scratch(gpu::Device& device, const Config& config, const ModelOptions& options,
                                   uint32_t outputs_max) {
  const uint64_t act_bytes = device.tier() == gpu::Tier::t0 ? 4 : 2;
  const uint64_t plane_bytes = uint64_t(options.tokens_max) * act_stride(config.n_embd) * act_bytes;
  const uint64_t low_ranks =
      act_stride(config.rank_w) + act_stride(config.rank_a) + act_stride(config.rank_v) + act_stride(config.rank_g);
  const auto make = [&](uint64_t bytes, const char* label) {
    if (bytes > device.limits().binding_bytes_max) {
      fail(ErrorCode::unsupported,
           "[model] {} of a step of {} tokens takes {} bytes, the device binds at most {}: lower the chunk size", label,
           options.tokens_max, bytes, device.limits().binding_bytes_max);
    }
    return device.create_storage(bytes, gpu::Account::scratch, label);
  };
  Scratch scratch;
  scratch.step = make(kernels::StepInput::bytes(options.tokens_max), "step");
  scratch.x = make(token_layout(config, options.tokens_max).end * 4, "x");
  const bool in_parts = device.tier() == gpu::Tier::t2 && options.mode == kernels::MatMulMode::fast;
  const uint64_t parts_bytes = uint64_t(options.tokens_max) * config.n_embd * 4 * kPartsOfMost;
  const uint64_t block_bytes =
      kernels::time_mix_block_bytes(device, config.n_embd, config.head_size, options.tokens_max);
  scratch.mixed = make(std::max({kMixCount * plane_bytes, in_parts ? parts_bytes : 0, block_bytes}), "mixed");
  scratch.r_k_v = make(3 * plane_bytes, "r_k_v");
  scratch.low = make(uint64_t(options.tokens_max) * low_ranks * act_bytes, "low");
  scratch.up = make(4 * plane_bytes, "up");
  scratch.v_first = make(plane_bytes, "v_first");
  scratch.gated = make(plane_bytes, "gated");
  scratch.hidden = make(uint64_t(options.tokens_max) * act_stride(config.n_ffn) * act_bytes, "hidden");
  scratch.y = make(uint64_t(options.tokens_max) * config.n_embd * 4, "y");
  scratch.normed = make(uint64_t(outputs_max) * act_stride(config.n_embd) * act_bytes, "normed");
  scratch.logits = make(uint64_t(outputs_max) * config.n_vocab * 4, "logits");
  scratch.sampled = make(uint64_t(outputs_max) * sizeof(Sampled), "sampled");
  return scratch;
}

Model::Bucket Model::bucket_of(const kernels::StepInput& input, const Readout& readout) const {
  // Of many, what is computed for nothing counts; of few, plans and kernels do.
  const auto up = [](uint32_t n, uint32_t n_max) {
    const uint32_t power = std::bit_ceil(n);
    const uint32_t rounded = n <= kFinelyFrom ? power : uint32_t(round_up(n, n <= kFinelyTo ? kFineTokens : power / 8));
    return n == 0 ? 0 : std::min(rounded, n_max);
  };
  return {up(std::max(input.n_tokens(), 1u), options_.tokens_max),
          up(std::max(input.n_chunks(), 1u), options_.tokens_max), up(input.n_outputs(), outputs_max_), readout};
}

const gpu::Plan& Model::plan(const Bucket& bucket) {
  const auto found = plans_.find(bucket);
  if (found != plans_.end()) {
    const size_t n = found->second.dispatches().size();
    cache_use_.plans.hits += 1;
    cache_use_.pipelines.hits += n;
    cache_use_.bind_groups.hits += n;
    return found->second;
  }
  const size_t n_pipelines = pipelines_.size();
  gpu::Plan plan;
  gpu::Recorder recorder(pipelines_, plan);
  record(context(recorder, bucket), bucket.readout);
  device_.check();
  const size_t n = plan.dispatches().size(), n_new = pipelines_.size() - n_pipelines;
  cache_use_.plans.misses += 1;
  cache_use_.pipelines.misses += n_new;
  cache_use_.pipelines.hits += n - n_new;
  cache_use_.bind_groups.misses += n;
  return plans_.emplace(bucket, std::move(plan)).first->second;
}

kernels::Context Model::context(gpu::Recorder& recorder, const Bucket& bucket) const {
  return {recorder,         {scratch_.step, states_.control(), options_.tokens_max},
          bucket.n_tokens,  bucket.n_chunks,
          bucket.n_outputs, &options_.tuning};
}

void Model::make_token() {
  if (options_.token == kernels::TokenUse::none || options_.mode == kernels::MatMulMode::exact) return;
  auto model = token_model(config_, weights_, states_, token_layout(config_, options_.tokens_max));
  if (!model) return;
  model->shared = scratch_.x;
  model->shifts = states_.shifts();
  model->logits = scratch_.logits;
  const uint32_t n_workgroups = options_.token_workgroups > 0 ? options_.token_workgroups : kTokenWorkgroups;
  token_ = kernels::TokenKernel::make(device_, std::move(*model), n_workgroups);
}

void Model::fit_token() {
  if (!token_ || options_.token != kernels::TokenUse::whole || options_.token_workgroups > 0) return;
  gpu::Recorder recorder(pipelines_);
  auto fitting = token_->with(device_, token_->count_residents(pipelines_, context(recorder, kDecode)));
  if (fitting)
    token_ = std::move(fitting);
  else
    options_.token = kernels::TokenUse::stages;
}

void Model::check_stalled() {
  if (token_use() != kernels::TokenUse::whole || !token_->take_stalled(device_)) return;
  options_.token = kernels::TokenUse::stages;
  stalled_ = true;
  plans_.clear();
  fail(
      ErrorCode::unsupported,
      "[token] the GPU did not run {} workgroups at a time, as it did before: the state of this text is lost, begin it "
      "anew. Stages are dispatched one by one from here on (--no-persistent: from the start)",
      token_->n_workgroups());
}

void Model::record_token(const kernels::Context& context) {
  embed(context);
  // What goes wrong in a whole dispatch shows in its logits.
  const bool whole = options_.token == kernels::TokenUse::whole && context.n_outputs > 0;
  token_->record(context, 0, token_->n_stages() - (context.n_outputs > 0 ? 0 : 1), whole);
  if (context.n_outputs > 0) sample(context);
}

/// Its sections are those of the weights (WeightLoader).
void Model::record(const kernels::Context& context, const Readout& readout, HookStops stops) {
  const bool pools = readout.n_layers > 0;
  if (!pools && !stops.any() && token_ && context.n_tokens == 1) return record_token(context);
  embed(context);
  if (pools) begin_states(context);
  // Without outputs nothing reads what the last layer would give: the state is complete before its products.
  const bool for_state = !pools && !stops.any() && context.n_outputs == 0;
  for (uint32_t layer = 0; layer < (pools ? readout.n_layers : config_.n_layer); ++layer) {
    context.recorder.begin_section();
    time_mix(context, layer, stops);
    channel_shift(context, layer, stops);
    if (!for_state || layer + 1 < config_.n_layer) channel_mix(context, layer, stops);
  }
  if (pools)
    pool(context, readout);
  else if (context.n_outputs > 0)
    head(context);
}

void Model::begin_states(const kernels::Context& context) {
  for (const StateArenas::Arena& arena : states_.arenas())
    kernels::begin_states(context, {"begin", arena.states, arena.n_layers, arena.layer_bytes, arena.slot_bytes});
}

void Model::reset_slot(uint32_t slot) {
  if (reset_.dispatches().empty()) {
    gpu::Recorder recorder(pipelines_, reset_);
    begin_states(context(recorder, kDecode));
  }
  const uint32_t any_id = 0;
  kernels::StepInput input(options_.tokens_max);
  input.add_chunk({slot, {&any_id, 1}, kernels::kBegins});
  device_.write(scratch_.step, 0, input.as_bytes());
  states_.write_control(slot, {});
  const gpu::BufferView counts = states_.counts_of(slot);
  const wgpu::CommandEncoder encoder = device_.handle().CreateCommandEncoder();
  encoder.ClearBuffer(counts.buffer, counts.offset, counts.size);
  reset_.encode_pass(encoder);
  device_.submit(encoder.Finish());
}

void Model::pool(const kernels::Context& context, const Readout& readout) {
  // Its norm's weights come with those of the head.
  if (readout.normed) context.recorder.begin_section();
  kernels::pool(context, {config_.n_embd, config_.layer_norm_epsilon, readout.pooled, scratch_.x, weights_.ln_out,
                          readout.normed, pooled_});
}

void Model::embed(const kernels::Context& context) {
  context.recorder.begin_section();
  for (uint32_t row = 0; const kernels::MatrixView& part : weights_.emb.parts) {
    kernels::embed(context, part, row, config_.n_vocab, config_.layer_norm_epsilon, weights_.ln0, scratch_.x,
                   options_.binding_bytes_max);
    row += part.n_rows;
  }
}

kernels::MatMul Model::product(std::string label, const gpu::Buffer& input, const gpu::Buffer& output) const {
  kernels::MatMul result;
  result.label = std::move(label);
  result.input = input;
  result.output = output;
  result.mode = options_.mode;
  result.tile = options_.tile;
  result.binding_bytes_max = options_.binding_bytes_max;
  return result;
}

void Model::time_mix(const kernels::Context& context, uint32_t layer, HookStops& stops) {
  const LayerWeights& weights = weights_.layers[layer];
  const std::string name = fmt::format("L{:02}.time_mix", layer);
  const uint32_t stride = act_stride(config_.n_embd);
  const auto place = [&](HookPoint point) { return HookPlace{point, LayerHalf::time_mix, layer}; };
  const kernels::TokenShift shift{
      name + ".token_shift",      config_.n_embd, kMixCount,
      config_.layer_norm_epsilon, scratch_.x,     weights.time_shift,
      states_.time_shift(layer),  scratch_.mixed, options_.mode == kernels::MatMulMode::exact};
  stops.before(context, place(HookPoint::layer_norm), shift, acts(scratch_.mixed, 0, kMixCount));
  kernels::token_shift(context, shift);
  stops.after();
  stops.at(place(HookPoint::token_shift), acts(scratch_.mixed, 0, kMixCount));

  kernels::MatMul r_k_v = product(name + ".r_k_v", scratch_.mixed, scratch_.r_k_v);
  add_segments(r_k_v.segments, weights.receptance, kMixR * plane(), 0, stride);
  add_segments(r_k_v.segments, weights.key, kMixK * plane(), plane(), stride);
  add_segments(r_k_v.segments, weights.value, kMixV * plane(), 2 * plane(), stride);
  kernels::matmul(context, uniforms_, r_k_v);
  low_rank(context, layer);
  // Planes of r_k_v, then of `up`, whose third goes into v.
  for (uint32_t i = 0; const HookPoint point : {HookPoint::r, HookPoint::k, HookPoint::v})
    stops.at(place(point), acts(scratch_.r_k_v, i++));
  for (const auto& [point, i] : {std::pair{HookPoint::w, 0u}, {HookPoint::a, 1u}, {HookPoint::g, 3u}})
    stops.at(place(point), acts(scratch_.up, i));

  const kernels::TimeMix recurrence{.label = name,
                                    .n_embd = config_.n_embd,
                                    .head_size = config_.head_size,
                                    .first_layer = layer == 0,
                                    .epsilon = kGroupNormEpsilon,
                                    .r_k_v = scratch_.r_k_v,
                                    .up = scratch_.up,
                                    .v_first = scratch_.v_first,
                                    .vectors = weights.time_mix,
                                    .wkv_state = states_.wkv(layer),
                                    .storage = states_.storage(),
                                    .gated = scratch_.gated,
                                    .y = scratch_.y,
                                    .blocks = scratch_.mixed,  // all products of it are done
                                    .exact = options_.mode == kernels::MatMulMode::exact};
  stops.before(context, place(HookPoint::wkv), recurrence, rows(scratch_.y));
  kernels::time_mix(context, recurrence);
  stops.after();
  stops.at(place(HookPoint::gate), acts(scratch_.gated, 0));

  kernels::MatMul output = product(name + ".output", scratch_.gated, scratch_.x);
  output.output_f32 = output.accumulate = true;
  add_segments(output.segments, weights.output, 0, 0, config_.n_embd);
  stops.before(context, uniforms_, place(HookPoint::time_mix), output, rows(scratch_.x));
  kernels::matmul(context, uniforms_, output);
  stops.after();
}

/// Low-rank pairs, in the order of `up`: decay, in-context learning rate, value residual, gate.
void Model::low_rank(const kernels::Context& context, uint32_t layer) {
  const LayerWeights& weights = weights_.layers[layer];
  const std::string name = fmt::format("L{:02}.time_mix", layer);
  struct Pair {
    const LowRank& weights;
    Mix mix;
    Activation activation;
  };
  const Pair pairs[] = {{weights.w, kMixW, Activation::tanh},
                        {weights.a, kMixA, Activation::none},
                        {weights.v, kMixV, Activation::none},
                        {weights.g, kMixG, Activation::sigmoid}};
  kernels::MatMul down = product(name + ".low_rank_down", scratch_.mixed, scratch_.low);
  kernels::MatMul up = product(name + ".low_rank_up", scratch_.low, scratch_.up);
  uint32_t low_offset = 0;
  for (uint32_t i = 0; const Pair& pair : pairs) {
    const uint32_t low_stride = act_stride(pair.weights.down.n_out);
    add_segments(down.segments, pair.weights.down, pair.mix * plane(), low_offset, low_stride, pair.activation);
    add_segments(up.segments, pair.weights.up, low_offset, i * plane(), act_stride(config_.n_embd));
    low_offset += options_.tokens_max * low_stride;
    ++i;
  }
  kernels::matmul(context, uniforms_, down);
  kernels::matmul(context, uniforms_, up);
}

void Model::channel_shift(const kernels::Context& context, uint32_t layer, HookStops& stops) {
  const auto place = [&](HookPoint point) { return HookPlace{point, LayerHalf::channel_mix, layer}; };
  const kernels::TokenShift shift{fmt::format("L{:02}.channel_mix.token_shift", layer),
                                  config_.n_embd,
                                  1,
                                  config_.layer_norm_epsilon,
                                  scratch_.x,
                                  weights_.layers[layer].channel_shift,
                                  states_.channel_shift(layer),
                                  scratch_.mixed,
                                  options_.mode == kernels::MatMulMode::exact};
  stops.before(context, place(HookPoint::layer_norm), shift, acts(scratch_.mixed, 0));
  kernels::token_shift(context, shift);
  stops.after();
  stops.at(place(HookPoint::token_shift), acts(scratch_.mixed, 0));
}

/// Of what channel_shift() mixed.
void Model::channel_mix(const kernels::Context& context, uint32_t layer, HookStops& stops) {
  const LayerWeights& weights = weights_.layers[layer];
  const std::string name = fmt::format("L{:02}.channel_mix", layer);
  const auto place = [&](HookPoint point) { return HookPlace{point, LayerHalf::channel_mix, layer}; };
  kernels::MatMul key = product(name + ".key", scratch_.mixed, scratch_.hidden);
  add_segments(key.segments, weights.ffn_key, 0, 0, act_stride(config_.n_ffn), Activation::squared_relu);
  kernels::matmul(context, uniforms_, key);

  kernels::MatMul value = product(name + ".value", scratch_.hidden, scratch_.x);
  value.output_f32 = value.accumulate = value.of_squares = true;
  value.parts = scratch_.mixed;  // its product is done
  add_segments(value.segments, weights.ffn_value, 0, 0, config_.n_embd);
  stops.before(context, uniforms_, place(HookPoint::channel_mix), value, rows(scratch_.x));
  kernels::matmul(context, uniforms_, value);
  stops.after();
  stops.at(place(HookPoint::out), rows(scratch_.x));
}

void Model::head(const kernels::Context& context) {
  context.recorder.begin_section();
  kernels::layer_norm(context, "ln_out", config_.n_embd, config_.layer_norm_epsilon, scratch_.x, weights_.ln_out,
                      scratch_.normed);
  kernels::MatMul head = product("head", scratch_.normed, scratch_.logits);
  head.output_f32 = head.over_outputs = true;
  add_segments(head.segments, weights_.head, 0, 0, config_.n_vocab);
  kernels::matmul(context, uniforms_, head);
  sample(context);
}

void Model::sample(const kernels::Context& context) {
  kernels::penalties(context, {config_.n_vocab, scratch_.logits, states_.counts(), states_.additions()});
  kernels::sample(context, {config_.n_vocab, scratch_.logits, states_.counts(), scratch_.sampled});
}

wgpu::CommandEncoder Model::encode(const kernels::StepInput& input, const Readout& readout) {
  RAVENWING_CHECK(input.n_outputs() <= outputs_max_);
  if (hooked_) {
    run_hooked(input, readout);
    return device_.handle().CreateCommandEncoder();
  }
  if (load_failure_) throw *load_failure_;
  const gpu::Plan& steps = plan(bucket_of(input, readout));
  device_.write(scratch_.step, 0, input.as_bytes());
  last_n_outputs_ = input.n_outputs();
  if (loader_) {
    run_while_loading(steps);
    return device_.handle().CreateCommandEncoder();
  }
  // Only what reads prompts: steps of one token a text are in flight, several at a time.
  const bool ahead = input.n_tokens() >= input.n_outputs() + kAheadTokensMin;
  const size_t begin = ahead ? submit_ahead(steps) : 0;
  return encode_dispatches(steps, begin, steps.dispatches().size());
}

wgpu::CommandEncoder Model::encode_dispatches(const gpu::Plan& steps, size_t begin, size_t end) const {
  const wgpu::CommandEncoder encoder = device_.handle().CreateCommandEncoder();
  steps.encode_pass(encoder, begin, end);
  return encoder;
}

size_t Model::submit_ahead(const gpu::Plan& steps) const {
  const size_t n = steps.dispatches().size();
  size_t begin = 0;
  for (size_t n_next = kAheadDispatches; begin + n_next * kAheadFactor <= n; n_next *= kAheadFactor) {
    device_.submit(encode_dispatches(steps, begin, begin + n_next).Finish());
    begin += n_next;
  }
  return begin;
}

void Model::set_hook(std::optional<Hook> hook, HookWrites writes) {
  hooked_plans_.clear();
  hooked_.reset();
  if (hook)
    hooked_ = std::make_unique<HookedSteps>(device_, config_, weights_, states_, options_.tokens_max, std::move(*hook),
                                            writes);
}

void Model::run_hooked(const kernels::StepInput& input, const Readout& readout) {
  load_rest();
  const HookedPlan& steps = hooked_plan(bucket_of(input, readout));
  device_.write(scratch_.step, 0, input.as_bytes());
  last_n_outputs_ = input.n_outputs();
  // Texts that are pooled are nobody's.
  const bool undoable = readout.n_layers == 0;
  try {
    hooked_->run(steps, input, undoable);
  } catch (...) {
    undone_ = undoable && !device_.is_lost();
    throw;
  }
}

const HookedPlan& Model::hooked_plan(const Bucket& bucket) {
  const auto found = hooked_plans_.find(bucket);
  if (found != hooked_plans_.end()) return found->second;
  HookedPlan plan;
  gpu::Recorder steps(pipelines_, plan.steps), aside(pipelines_, plan.aside);
  record(context(steps, bucket), bucket.readout, {*hooked_, plan, aside});
  device_.check();
  return hooked_plans_.emplace(bucket, std::move(plan)).first->second;
}

HookedRows Model::acts(const gpu::Buffer& buffer, uint32_t plane_first, uint32_t n_planes) const {
  const bool f16 = device_.tier() != gpu::Tier::t0;
  const uint64_t bytes = uint64_t(plane()) * (f16 ? 2 : 4);
  return {&buffer, plane_first * bytes, config_.n_embd, act_stride(config_.n_embd), n_planes, bytes, f16};
}

HookedRows Model::rows(const gpu::Buffer& buffer) const {
  return {.buffer = &buffer, .n_values = config_.n_embd, .stride = config_.n_embd};
}

void Model::run_while_loading(const gpu::Plan& steps) {
  try {
    loader_->expect(steps.n_sections(), progress_);
    for (size_t section = 0; section < steps.n_sections(); ++section) {
      if (!loader_->is_loaded(section)) {
        loader_->load(section);
        loader_->hand_over();
      }
      const wgpu::CommandEncoder encoder = device_.handle().CreateCommandEncoder();
      const wgpu::ComputePassEncoder pass = encoder.BeginComputePass();
      steps.encode_section(pass, section);
      pass.End();
      device_.submit(encoder.Finish());
    }
    loader_->finish();
  } catch (const Error& error) {
    load_failure_ = error;  // the states of this step's texts stand between two tokens
    throw;
  }
  if (loader_->is_loaded(loader_->n_sections() - 1)) {
    loader_.reset();
    make_ready();
  }
}

void Model::profile(const kernels::StepInput& input, StepProfile& profile) {
  const gpu::Plan& steps = plan(bucket_of(input));
  device_.write(scratch_.step, 0, input.as_bytes());
  const gpu::TimedDispatches timed = gpu::time_dispatches(device_, steps);
  const uint64_t host_begin_ns = timed.host.front().span.begin_ns;
  for (const gpu::HostSpan& host : timed.host) {
    profile.host.push_back({host.name, double(host.span.begin_ns - host_begin_ns) / 1e3,
                            double(host.span.end_ns - host.span.begin_ns) / 1e3});
  }
  std::optional<uint64_t> first_ns;
  for (const std::optional<gpu::Span>& span : timed.spans) {
    if (span) first_ns = std::min(first_ns.value_or(UINT64_MAX), span->begin_ns);
  }
  for (size_t i = 0; i < timed.spans.size(); ++i) {
    const gpu::Dispatch& dispatch = steps.dispatches()[i];
    ProfiledDispatch& profiled = profile.dispatches.emplace_back();
    profiled.label = dispatch.label;
    profiled.bytes = dispatch.work.bytes;
    profiled.flops = dispatch.work.flops;
    const std::optional<gpu::Span>& span = timed.spans[i];
    if (!span) continue;
    profiled.us = double(span->end_ns - span->begin_ns) / 1e3;
    profiled.begin_us = double(span->begin_ns - *first_ns) / 1e3;
  }
  if (!timed.clock || !first_ns) return;
  const auto begin_ns = int64_t(*first_ns - host_begin_ns + uint64_t(timed.clock->offset_ns));
  if (begin_ns < 0) return;  // before it was submitted
  profile.gpu_begin_us = double(begin_ns) / 1e3;
  profile.clock_error_us = double(timed.clock->error_ns) / 1e3;
}

std::optional<double> Model::time_step(const kernels::StepInput& input) {
  constexpr size_t kSteps = 9;
  const gpu::Plan& steps = plan(bucket_of(input));
  device_.write(scratch_.step, 0, input.as_bytes());
  std::vector<uint64_t> ns;
  for (size_t i = 0; i < kSteps; ++i) {
    if (const auto span = gpu::time_plan(device_, steps)) ns.push_back(span->end_ns - span->begin_ns);
  }
  if (ns.empty()) return std::nullopt;
  const auto middle = ns.begin() + ptrdiff_t(ns.size() / 2);
  std::nth_element(ns.begin(), middle, ns.end());
  return double(*middle) / 1e3;
}

wgpu::CommandBuffer Model::encode_part(const gpu::Plan& steps, size_t begin, size_t end,
                                       gpu::ReadbackRing& results) const {
  const wgpu::CommandEncoder encoder = encode_dispatches(steps, begin, end);
  if (end == steps.dispatches().size()) results.copy(encoder, {scratch_.sampled, 0, sizeof(Sampled)});
  return encoder.Finish();
}

Replay Model::replay(const kernels::StepInput& input, const SubmitShape& shape, uint32_t n_steps) {
  RAVENWING_CHECK(!loader_ && input.n_outputs() == 1);
  const gpu::Plan& steps = plan(bucket_of(input));
  const size_t n_dispatches = steps.dispatches().size();
  const size_t n_together = shape.dispatches > 0 ? shape.dispatches : n_dispatches;
  const uint32_t n_in_flight = std::max(kernels::kStepsInFlight, 2 * shape.steps);
  gpu::ReadbackRing results(device_, n_in_flight, sizeof(Sampled));
  Replay replay;
  replay.sampled.reserve(n_steps);
  const auto take = [&] { results.take(std::as_writable_bytes(std::span(&replay.sampled.emplace_back(), 1))); };
  std::vector<wgpu::CommandBuffer> commands;
  const auto begin = std::chrono::steady_clock::now();
  for (uint32_t step = 0; step < n_steps; step += shape.steps) {
    const uint32_t n = std::min(shape.steps, n_steps - step);
    while (results.n_sent() + n > n_in_flight) take();
    device_.write(scratch_.step, 0, input.as_bytes());  // the same for all of them
    commands.clear();
    for (uint32_t i = 0; i < n; ++i) {
      for (size_t first = 0; first < n_dispatches; first += n_together) {
        commands.push_back(encode_part(steps, first, std::min(first + n_together, n_dispatches), results));
        if (shape.dispatches == 0) continue;
        device_.submit(commands.back());
        commands.clear();
      }
    }
    if (!commands.empty()) device_.submit(commands);
    results.send();
  }
  while (results.n_sent() > 0) take();
  replay.us = std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin).count();
  last_n_outputs_ = input.n_outputs();
  if (any_numerical(replay.sampled)) check_stalled();
  return replay;
}

void Model::submit(const kernels::StepInput& input) { device_.submit(encode(input).Finish()); }

void Model::launch(const kernels::StepInput& input) {
  const wgpu::CommandEncoder encoder = encode(input);
  // A step without outputs sends a word, so that its end is seen like any other's.
  const uint64_t bytes = input.n_outputs() * sizeof(Sampled);
  readback_.copy(encoder, {scratch_.sampled, 0, std::max<uint64_t>(bytes, 4)});
  device_.submit(encoder.Finish());
  readback_.send();
}

void Model::take_sampled(std::vector<Sampled>& sampled) {
  sampled.resize(readback_.oldest_size() / sizeof(Sampled));
  readback_.take(std::as_writable_bytes(std::span(sampled)));
  if (any_numerical(sampled)) check_stalled();
}

void Model::forget_sampled() { readback_.forget(); }

void Model::launch_pooled(const kernels::StepInput& input, const Readout& readout) {
  RAVENWING_CHECK(readout.n_layers >= 1 && readout.n_layers <= config_.n_layer && input.n_outputs() == 0);
  RAVENWING_CHECK(!readout.normed || readout.n_layers == config_.n_layer);
  if (!pooled_readback_) {
    const uint64_t bytes = uint64_t(states_.n_slots()) * config_.n_embd * 4;
    pooled_ = device_.create_storage(bytes, gpu::Account::scratch, "pooled");
    pooled_readback_.emplace(device_, kernels::kStepsInFlight, bytes);
  }
  const wgpu::CommandEncoder encoder = encode(input, readout);
  pooled_readback_->copy(encoder, pooled_);
  device_.submit(encoder.Finish());
  pooled_readback_->send();
}

void Model::take_pooled(std::span<float> rows) { pooled_readback_->take(std::as_writable_bytes(rows)); }

void Model::forget_pooled() {
  if (pooled_readback_) pooled_readback_->forget();
}

std::vector<float> Model::read_logits() {
  std::vector<float> logits(size_t(last_n_outputs_) * config_.n_vocab);
  if (logits.empty()) return logits;
  const auto bytes = device_.read({scratch_.logits, 0, logits.size() * 4});
  std::memcpy(logits.data(), bytes.data(), bytes.size());
  if (std::ranges::any_of(logits, [](float logit) { return std::isnan(logit); })) check_stalled();
  return logits;
}

std::vector<float> Model::read_logits_of(uint32_t output) {
  RAVENWING_CHECK(output < last_n_outputs_);
  std::vector<float> logits(config_.n_vocab);
  const uint64_t row_bytes = logits.size() * 4;
  const auto bytes = device_.read({scratch_.logits, output * row_bytes, row_bytes});
  std::memcpy(logits.data(), bytes.data(), bytes.size());
  if (std::ranges::any_of(logits, [](float logit) { return std::isnan(logit); })) check_stalled();
  return logits;
}

std::vector<Sampled> Model::read_sampled() {
  std::vector<Sampled> sampled(last_n_outputs_);
  if (sampled.empty()) return sampled;
  const auto bytes = device_.read({scratch_.sampled, 0, sampled.size() * sizeof(Sampled)});
  std::memcpy(sampled.data(), bytes.data(), bytes.size());
  return sampled;
}

}  // namespace ravenwing::rwkv7
