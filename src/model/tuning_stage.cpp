// src/model/tuning_stage.cpp: random matrices and activations of the sizes that a model has.
#include "model/tuning_stage.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/bytes.hpp"
#include "base/half.hpp"
#include "format/random_block.hpp"
#include "gpu/timestamps.hpp"
#include "kernels/shaders.hpp"

namespace ravenwing {
namespace {

using format::WeightFormat;
using kernels::act_stride;

constexpr uint32_t kTokensMax = 512;  // as in an engine: it finds the same compiled shaders
constexpr uint64_t kAlignment = 256;  // of a binding
/// What a kernel reads is there in copies, more than a GPU's cache holds.
constexpr uint64_t kRotatedBytes = 128 << 20;
constexpr uint32_t kCopiesMax = 64;
/// Rows of weights before they repeat: no tile has a multiple of them.
constexpr uint32_t kPatternRows = 61;
/// Bytes of activations before they repeat: whole words, but no row's.
constexpr uint64_t kPatternBytes = 4 * 32771;
/// Results that are compared, from the beginning and from the end of an output.
constexpr uint64_t kComparedBytes = 16 << 20;
/// Differences from the reference, in units of its root mean square, that rounding may make: sums of f16 products leave
/// a tenth of this. An element that is another's is off by one and more.
constexpr double kWorstMax = 0.1, kMeanMax = 0.01;
/// Where trained models have w0 a0 v0 k_k k_a r_k and the group norm's weight and bias: scale and offset.
constexpr float kScaleAndOffset[8][2] = {{4, -2},   {1, 0},    {1, 0.5f}, {0.4f, 0.8f},
                                         {0.3f, 1}, {0.5f, 0}, {0.5f, 1}, {0.2f, 0}};

uint64_t next_random(uint64_t& state) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}

/// From -1 to 1.
float random_number(uint64_t& state) { return float(int32_t(next_random(state) >> 32)) * 0x1p-31f; }

template <typename T>
void append(std::vector<std::byte>& bytes, T value) {
  const auto at = bytes.size();
  bytes.resize(at + sizeof(T));
  std::memcpy(&bytes[at], &value, sizeof(T));
}

/// Some rows of random weights as the GPU has them.
std::vector<std::byte> random_rows(WeightFormat format, uint32_t n_rows, uint32_t n_in, uint64_t& random) {
  const format::WeightFormatInfo& info = format::info(format);
  std::vector<std::byte> blocks;
  for (uint32_t i = 0; i < n_rows * (n_in / info.block_weights); ++i) {
    if (info.block_weights == 1) {
      const float value = random_number(random) / 2;
      if (format == WeightFormat::f32)
        append(blocks, value);
      else
        append(blocks, format == WeightFormat::f16 ? f32_to_f16(value) : f32_to_bf16(value));
      continue;
    }
    for (uint32_t k = 0; k < info.block_bytes; ++k) blocks.push_back(std::byte(next_random(random) >> 56));
    format::scale_random_block(format, &blocks[blocks.size() - info.block_bytes], 0.3f);
  }
  std::vector<std::byte> packed(kernels::matrix_bytes(format, n_rows, n_in));
  kernels::pack_rows(format, n_rows, n_in, blocks.data(), packed.data());
  return packed;
}

std::vector<float> floats_of(std::span<const std::byte> bytes, bool is_f32) {
  std::vector<float> values(bytes.size() / (is_f32 ? 4 : 2));
  unpack_floats(bytes.data(), !is_f32, values);
  return values;
}

/// Texts are read in parts that end where they do: of a size class the steps that are met most.
std::vector<TrialStep> steps_of(uint32_t n_columns) {
  if (n_columns == 512) return {{1, 320}, {1, 512}};
  if (n_columns == 256) return {{1, 142}, {1, 212}};
  return {{1, n_columns}};
}

}  // namespace

std::string compare_results(std::span<const float> found, std::span<const float> expected) {
  double squares = 0, errors = 0, worst = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double error = std::abs(double(found[i]) - expected[i]);
    squares += double(expected[i]) * expected[i];
    errors += error * error;
    // Written so that NaN counts as wrong.
    if (!(error <= worst)) worst = error;
  }
  const double unit = std::sqrt(squares / double(expected.size()));
  const double mean = std::sqrt(errors / double(expected.size()));
  if (!(unit > 0 && std::isfinite(unit))) return "the reference kernel gave no numbers";
  if (worst <= kWorstMax * unit && mean <= kMeanMax * unit) return {};
  return fmt::format("wrong numbers: off by {:.2g}, on average {:.2g}, {} and {} allowed", worst / unit, mean / unit,
                     kWorstMax, kMeanMax);
}

TuningStage::TuningStage(std::unique_ptr<gpu::Device> device)
    : owned_(std::move(device)),
      device_(*owned_),
      pipelines_(device_, kernels::shader_library()),
      uniforms_(device_),
      step_(device_.create_storage(kernels::StepInput::bytes(kTokensMax), gpu::Account::scratch, "step")),
      control_(device_.create_storage(kTokensMax * sizeof(kernels::ControlBlock), gpu::Account::scratch, "control")) {
  kernels::ControlBlock block = kernels::control_block({});
  block.limit = UINT32_MAX;  // a frozen text would leave work out
  const std::vector<kernels::ControlBlock> blocks(kTokensMax, block);
  device_.write(control_, 0, std::as_bytes(std::span(blocks)));
}

uint32_t TuningStage::copies_of(uint64_t bytes) const {
  if (device_.info().software) return 1;
  const uint64_t fit = device_.limits().buffer_bytes_max / round_up(bytes, kAlignment);
  return uint32_t(std::clamp<uint64_t>(divide_up(kRotatedBytes, bytes), 1, std::clamp<uint64_t>(fit, 1, kCopiesMax)));
}

gpu::Buffer TuningStage::make(const std::string& label, uint64_t bytes) {
  if (bytes > device_.limits().buffer_bytes_max) {
    fail(ErrorCode::unsupported, "{} take {} bytes, a buffer has at most {}", label, bytes,
         device_.limits().buffer_bytes_max);
  }
  return device_.create_storage(round_up(bytes, kAlignment), gpu::Account::scratch, label);
}

void TuningStage::spread(std::span<const std::byte> pattern, const gpu::Buffer& to, uint64_t begin, uint64_t end) {
  const gpu::Buffer from = make("pattern", pattern.size());
  device_.write(from, 0, pattern);
  const wgpu::CommandEncoder encoder = device_.handle().CreateCommandEncoder();
  for (uint64_t at = begin; at < end; at += pattern.size()) {
    encoder.CopyBufferToBuffer(from.handle(), 0, to.handle(), at, std::min<uint64_t>(pattern.size(), end - at));
  }
  device_.submit(encoder.Finish());
}

gpu::Buffer TuningStage::make_numbers(const std::string& label, uint64_t bytes, bool is_f32, float scale,
                                      float offset) {
  gpu::Buffer buffer = make(label, bytes);
  std::vector<std::byte> pattern;
  while (pattern.size() < std::min(buffer.size(), kPatternBytes)) {
    const float value = scale * random_number(random_) + offset;
    if (is_f32)
      append(pattern, value);
    else
      append(pattern, f32_to_f16(value));
  }
  spread(pattern, buffer, 0, buffer.size());
  return buffer;
}

gpu::Buffer TuningStage::make_weights(const TunedProduct& product, uint64_t stride, uint32_t n_copies) {
  gpu::Buffer weights = make("weights", stride * n_copies);
  uint64_t begin = 0;
  for (const TunedProduct::Matrix& matrix : product.matrices) {
    const uint64_t end = begin + kernels::matrix_bytes(product.format, matrix.n_rows, matrix.n_in);
    // Whole groups of those that lie together, so that any of them may follow any other.
    const auto n_rows = round_up(std::min(matrix.n_rows, kPatternRows), kernels::rows_together(product.format));
    const auto rows = random_rows(product.format, uint32_t(n_rows), matrix.n_in, random_);
    for (uint32_t copy = 0; copy < n_copies; ++copy) spread(rows, weights, copy * stride + begin, copy * stride + end);
    begin = end;
  }
  return weights;
}

Trial TuningStage::trial_of(const TuningJob& job) {
  if (const auto* key = std::get_if<kernels::MatMulKey>(&job.key)) return product_trial(job.product, key->n_columns);
  return time_mix_trial(std::get<kernels::TimeMixKey>(job.key));
}

Trial TuningStage::product_trial(const TunedProduct& product, uint32_t n_columns) {
  if (n_columns > kTokensMax) fail(ErrorCode::unsupported, "{} columns, at most {}", n_columns, kTokensMax);
  uint64_t weight_bytes = 0, input_size = 0, output_size = 0;
  kernels::MatMul multiply{.label = "tuning"};
  for (const TunedProduct::Matrix& matrix : product.matrices) {
    const uint64_t bytes = kernels::matrix_bytes(product.format, matrix.n_rows, matrix.n_in);
    const uint32_t output_stride = product.output_f32 ? matrix.n_rows : act_stride(matrix.n_rows);
    multiply.segments.push_back({{product.format, matrix.n_rows, matrix.n_in, {}},
                                 narrow<uint32_t>(input_size),
                                 narrow<uint32_t>(output_size),
                                 output_stride,
                                 kernels::Activation::none});
    multiply.segments.back().weights.rows.offset = weight_bytes;
    multiply.segments.back().weights.rows.size = bytes;
    weight_bytes += bytes;
    input_size += uint64_t(n_columns) * act_stride(matrix.n_in);
    output_size += uint64_t(n_columns) * output_stride;
  }
  const uint64_t stride = round_up(weight_bytes, kAlignment), limit = device_.limits().binding_bytes_max;
  Trial trial{.n_copies = copies_of(weight_bytes), .n_tokens = n_columns, .n_outputs = n_columns};
  trial.steps = steps_of(n_columns);
  const bool output_f32 = product.output_f32 || act_bytes() == 4;
  trial.memory.push_back(make_weights(product, stride, trial.n_copies));
  trial.memory.push_back(make_numbers("inputs", input_size * act_bytes(), act_bytes() == 4, 1));
  trial.memory.push_back(make("outputs", output_size * (output_f32 ? 4 : 2)));
  if (std::max(trial.memory[1].size(), trial.memory[2].size()) > limit)
    fail(ErrorCode::unsupported, "{} columns do not fit a binding of {} bytes", n_columns, limit);
  for (kernels::MatMulSegment& segment : multiply.segments) segment.weights.rows.buffer = trial.memory[0].handle();
  multiply.input = trial.memory[1];
  multiply.output = trial.memory[2];
  multiply.output_f32 = product.output_f32;
  multiply.accumulate = product.accumulate;
  multiply.of_squares = product.of_squares;
  multiply.over_outputs = product.over_outputs;
  trial.outputs = {{multiply.output, output_f32}};
  trial.record = [this, multiply, stride](const kernels::Context& context, uint32_t copy, bool is_reference) {
    kernels::MatMul of_copy = multiply;
    for (kernels::MatMulSegment& segment : of_copy.segments) segment.weights.rows.offset += copy * stride;
    if (is_reference) of_copy.mode = kernels::MatMulMode::exact;
    kernels::matmul(context, uniforms_, of_copy);
  };
  return trial;
}

Trial TuningStage::time_mix_trial(const kernels::TimeMixKey& key) {
  if (key.n_tokens > kTokensMax) fail(ErrorCode::unsupported, "{} tokens, at most {}", key.n_tokens, kTokensMax);
  const uint64_t plane = uint64_t(kTokensMax) * act_stride(key.n_embd) * act_bytes();
  const uint64_t state_bytes = uint64_t(key.n_chunks) * key.n_embd * key.head_size * 4;
  const bool f32 = act_bytes() == 4;
  Trial trial{.n_copies = copies_of(state_bytes), .n_tokens = key.n_tokens, .n_chunks = key.n_chunks, .n_outputs = 0};
  trial.steps = {{key.n_chunks, key.n_tokens / key.n_chunks}};
  if (key.n_chunks == 1) trial.steps = steps_of(key.n_tokens);
  const uint64_t stride = round_up(state_bytes, kAlignment);
  enum Place { kRkv, kUp, kFirst, kVectors, kStates, kGated, kY, kBlocks, kPlaces };
  trial.memory.resize(kPlaces);
  trial.memory[kRkv] = make_numbers("r_k_v", 3 * plane, f32, 1.5f);
  trial.memory[kUp] = make_numbers("up", 4 * plane, f32, 2);
  trial.memory[kFirst] = make_numbers("v_first", plane, f32, 1);
  trial.memory[kVectors] = make("vectors", 8 * uint64_t(key.n_embd) * 4);
  for (uint64_t i = 0; i < 8; ++i) {
    std::vector<float> vector(key.n_embd);
    for (float& value : vector) value = kScaleAndOffset[i][0] * random_number(random_) + kScaleAndOffset[i][1];
    device_.write(trial.memory[kVectors], i * key.n_embd * 4, std::as_bytes(std::span(vector)));
  }
  trial.memory[kStates] = make("states", stride * trial.n_copies);  // texts begin with zeros
  trial.memory[kGated] = make("gated", plane);
  trial.memory[kY] = make("y", uint64_t(kTokensMax) * key.n_embd * 4);
  const uint64_t block_bytes = kernels::time_mix_block_bytes(device_, key.n_embd, key.head_size, kTokensMax);
  if (block_bytes > 0) trial.memory[kBlocks] = make("blocks", block_bytes);
  kernels::TimeMix op{.label = "tuning",
                      .n_embd = key.n_embd,
                      .head_size = key.head_size,
                      .epsilon = rwkv7::kGroupNormEpsilon,
                      .r_k_v = trial.memory[kRkv],
                      .up = trial.memory[kUp],
                      .v_first = trial.memory[kFirst],
                      .vectors = {trial.memory[kVectors], 0, 8 * uint64_t(key.n_embd) * 4},
                      .gated = trial.memory[kGated],
                      .y = trial.memory[kY]};
  if (block_bytes > 0) op.blocks = trial.memory[kBlocks];
  const gpu::BufferView states = trial.memory[kStates];
  trial.outputs = {{op.gated, f32}, {{trial.memory[kStates], 0, state_bytes}, true}};
  trial.record = [op, states, stride, state_bytes](const kernels::Context& context, uint32_t copy, bool is_reference) {
    kernels::TimeMix of_copy = op;
    of_copy.wkv_state = states;
    of_copy.wkv_state.offset = copy * stride;
    of_copy.wkv_state.size = state_bytes;
    of_copy.exact = is_reference;
    kernels::time_mix(context, of_copy);
  };
  return trial;
}

gpu::Plan TuningStage::record(const Trial& trial, const kernels::Tuning& tuning, uint32_t n_copies, bool is_reference) {
  gpu::Plan plan;
  gpu::Recorder recorder(pipelines_, plan);
  const kernels::Context context{
      recorder, {step_, control_, kTokensMax}, trial.n_tokens, trial.n_chunks, trial.n_outputs, &tuning};
  for (uint32_t copy = 0; copy < n_copies; ++copy) trial.record(context, copy, is_reference);
  device_.check();
  return plan;
}

gpu::Plan TuningStage::plan_of(const Trial& trial, const kernels::Tuning& tuning) {
  return record(trial, tuning, trial.n_copies, false);
}

void TuningStage::write_step(const Trial& trial, const TrialStep& step) {
  kernels::StepInput input(kTokensMax);
  const std::vector<uint32_t> ids(step.n_tokens);
  for (uint32_t slot = 0; slot < step.n_texts; ++slot) {
    input.add_chunk({slot, ids});
    for (uint32_t i = 0; i < ids.size() && trial.n_outputs > 0; ++i)
      input.add_output({input.n_tokens() - 1 - i, slot, false});
  }
  device_.write(step_, 0, input.as_bytes());
}

std::vector<std::vector<float>> TuningStage::results_of(const Trial& trial, const kernels::Tuning& tuning,
                                                        bool is_reference) {
  const gpu::Plan plan = record(trial, tuning, 1, is_reference);
  write_step(trial, trial.steps.back());
  const wgpu::CommandEncoder encoder = device_.handle().CreateCommandEncoder();
  for (const Trial::Output& output : trial.outputs)
    encoder.ClearBuffer(output.view.buffer, output.view.offset, output.view.size);
  plan.encode_pass(encoder);
  device_.submit(encoder.Finish());
  std::vector<std::vector<float>> results;
  for (const Trial::Output& output : trial.outputs) {
    const uint64_t half = std::min(output.view.size, kComparedBytes) / 2 / 4 * 4;
    std::vector<float>& result = results.emplace_back();
    for (const uint64_t begin : {uint64_t(0), output.view.size - half}) {
      gpu::BufferView part = output.view;
      part.offset += begin;
      part.size = half;
      const std::vector<float> values = floats_of(device_.read(part), output.is_f32);
      result.insert(result.end(), values.begin(), values.end());
    }
  }
  return results;
}

double TuningStage::time(const Trial& trial, const gpu::Plan& plan, const TrialStep& step, uint32_t n_repeats) {
  write_step(trial, step);
  const std::optional<double> seconds = gpu::time_pass(device_, [&](const wgpu::ComputePassEncoder& pass) {
    for (uint32_t i = 0; i < n_repeats; ++i) plan.encode(pass);
  });
  if (!seconds) fail(ErrorCode::unsupported, "[tune] the clock of {} gives no sense", device_.info().name);
  return *seconds;
}

}  // namespace ravenwing
