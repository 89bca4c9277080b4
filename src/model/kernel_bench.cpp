// src/model/kernel_bench.cpp: every kernel on every shape, and how long it takes.
#include "ravenwing/kernel_bench.hpp"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <map>

#include "base/bytes.hpp"
#include "base/text.hpp"
#include "gpu/timestamps.hpp"
#include "kernels/embed.hpp"
#include "kernels/layer_norm.hpp"
#include "kernels/limits.hpp"
#include "kernels/matmul.hpp"
#include "kernels/penalties.hpp"
#include "kernels/sample.hpp"
#include "kernels/shaders.hpp"
#include "kernels/time_mix.hpp"
#include "kernels/token_shift.hpp"
#include "model/rwkv7_synthetic.hpp"
#include "model/tier_ladder.hpp"

namespace ravenwing {
namespace {

using format::WeightFormat;
using kernels::act_stride;
using kernels::Activation;
using rwkv7::SyntheticSpec;

constexpr uint32_t kTokensMax = 512;  // at least, as in an engine: it finds the same compiled shaders
constexpr uint32_t kHeadSize = 64, kMixes = 6;
/// Bytes that a kernel goes through before it meets the first ones again: more than a GPU's cache holds.
constexpr uint64_t kRotatedBytes = 192 << 20;
constexpr uint32_t kCopiesMax = 256;
constexpr double kPassSeconds = 4e-3;
constexpr uint32_t kRepeatsMax = 64;
constexpr float kEpsilon = 1e-5f;
/// Bits of random words that make small positive numbers of every format's scales.
constexpr uint32_t kSmallNumbers = 0x2f2f2f2f;

constexpr std::string_view kFamilies[] = {"matmul", "time_mix", "token_shift", "layer_norm",
                                          "embed",  "sample",   "penalties"};

/// A group of matrices that the forward pass multiplies by at once.
struct Product {
  struct Matrix {
    uint32_t n_rows, n_in;
    Activation activation = Activation::none;
  };
  std::string name;  // as rwkv7_forward.cpp has it
  std::vector<Matrix> matrices;
  bool low_rank = false;  // its format is the loader's choice
  bool over_outputs = false, output_f32 = false, accumulate = false, of_squares = false;
};

std::vector<Product> products_of(const SyntheticSpec& shape) {
  const uint32_t n = shape.n_embd;
  return {
      {.name = "time_mix.r_k_v", .matrices = {{n, n}, {n, n}, {n, n}}},
      {.name = "time_mix.low_rank_down",
       .matrices = {{shape.rank_w, n, Activation::tanh},
                    {shape.rank_a, n},
                    {shape.rank_v, n},
                    {shape.rank_g, n, Activation::sigmoid}},
       .low_rank = true},
      {.name = "time_mix.low_rank_up",
       .matrices = {{n, shape.rank_w}, {n, shape.rank_a}, {n, shape.rank_v}, {n, shape.rank_g}},
       .low_rank = true},
      {.name = "time_mix.output", .matrices = {{n, n}}, .output_f32 = true, .accumulate = true},
      {.name = "channel_mix.key", .matrices = {{shape.n_ffn, n, Activation::squared_relu}}},
      {.name = "channel_mix.value",
       .matrices = {{n, shape.n_ffn}},
       .output_f32 = true,
       .accumulate = true,
       .of_squares = true},
      {.name = "head", .matrices = {{shape.n_vocab, n}}, .over_outputs = true, .output_f32 = true},
  };
}

WeightFormat format_named(std::string_view name) {
  std::string upper(name), names;
  for (char& c : upper) c = char(std::toupper(static_cast<unsigned char>(c)));
  for (const WeightFormat format : format::kWeightFormats) {
    if (format::info(format).name == upper) return format;
    names += fmt::format("{}{}", names.empty() ? "" : ", ", format::info(format).name);
  }
  fail(ErrorCode::bad_request, "no weight format {}: there are {}", quoted(name), names);
}

/// "2560+96x2560": matrices of 2560 and of 96 rows that have 2560 inputs.
Product product_named(std::string_view text) {
  constexpr uint32_t kMax = 1 << 20;
  std::vector<uint32_t> numbers;
  bool good = true, ended = false;
  for (const char *at = text.data(), *const end = at + text.size(); good && !ended;) {
    const auto [rest, error] = std::from_chars(at, end, numbers.emplace_back());
    const bool had_inputs = at != text.data() && at[-1] == 'x';
    ended = had_inputs && rest == end;
    good = error == std::errc() && numbers.back() >= 1 && numbers.back() <= kMax &&
           (ended || (rest != end && (*rest == '+' || *rest == 'x') && !had_inputs));
    at = rest + 1;
  }
  if (!good) {
    fail(ErrorCode::bad_request,
         "{} are no matrices: give ROWSxINPUTS or ROWS+ROWSxINPUTS, such as 10240x2560, numbers from 1 to {}",
         quoted(text), kMax);
  }
  Product product{.name = std::string(text), .matrices = {}};
  for (size_t i = 0; i + 1 < numbers.size(); ++i) product.matrices.push_back({numbers[i], numbers.back()});
  return product;
}

void check_blocks(const Product& product, WeightFormat format) {
  const format::WeightFormatInfo& info = format::info(format);
  const uint32_t n_in = product.matrices.front().n_in;
  if (n_in % info.block_weights != 0) {
    fail(ErrorCode::bad_request, "{}: {} inputs are no multiple of {}, the weights of a block of {}", product.name,
         n_in, info.block_weights, info.name);
  }
}

struct ForcedTile {
  kernels::MatMulTile tile;
  uint32_t n_parts = 1;  // of a row's inputs, where a product can be split
};

ForcedTile tile_named(const gpu::Device& device, std::string_view text) {
  constexpr uint32_t kNeeded = 6;
  uint32_t numbers[8] = {0, 0, 0, 0, 0, 0, 1, 1};
  const char* at = text.data();
  const char* const end = at + text.size();
  bool good = true;
  for (uint32_t i = 0; i < std::size(numbers) && good && !(i >= kNeeded && at == end); ++i) {
    good = i == 0 || (at != end && *at++ == '/');
    const auto [rest, error] = std::from_chars(at, end, numbers[i]);
    good = good && error == std::errc() && numbers[i] >= 1 && numbers[i] <= 64;
    at = rest;
  }
  const kernels::MatMulTile tile{numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5], numbers[6]};
  if (!good || at != end || numbers[7] > kernels::kMatMulPartsMax) {
    fail(ErrorCode::bad_request,
         "tile {} is none: give SUBGROUPS_M/SUBGROUPS_N/SUBGROUPS_K/TILES_M/TILES_N/DEPTH[/SETS[/PARTS]], "
         "such as 4/2/1/2/4/64; PARTS up to {}",
         quoted(text), kernels::kMatMulPartsMax);
  }
  if (device.tier() != gpu::Tier::t2) {
    fail(ErrorCode::bad_request, "tiles are for tier T2, {} runs at {}", device.info().name, device.info().tier);
  }
  if (!kernels::tile_fits(device, tile)) {
    fail(ErrorCode::bad_request,
         "tile {} does not fit {}: its workgroup has too many invocations or takes too much memory, or DEPTH is no "
         "multiple of 16 up to 64, or DEPTH * SUBGROUPS_K no multiple of 32, or SETS is above 8",
         quoted(text), device.info().name);
  }
  return {tile, numbers[7]};
}

void check_families(const std::vector<std::string>& families) {
  for (const std::string& name : families) {
    if (std::find(std::begin(kFamilies), std::end(kFamilies), name) == std::end(kFamilies)) {
      fail(ErrorCode::bad_request, "no family of kernels {}: there are {}", quoted(name), fmt::join(kFamilies, ", "));
    }
  }
}

uint32_t most_columns(const std::vector<uint32_t>& columns) {
  uint32_t most = 0;
  for (const uint32_t n : columns) {
    if (n == 0 || n > KernelBenchOptions::kColumnsMax)
      fail(ErrorCode::bad_request, "{} columns: must be 1 to {}", n, KernelBenchOptions::kColumnsMax);
    most = std::max(most, n);
  }
  return most;
}

gpu::DeviceOptions device_options(const KernelBenchOptions& options, const gpu::FoundAdapter& found) {
  gpu::DeviceOptions result;
  if (!options.tier.empty()) {
    result.tier = gpu::tier_named(options.tier);
    if (!result.tier) fail(ErrorCode::bad_request, "tier {} is none of T0, T1, T2", quoted(options.tier));
  }
  result.cache_folder = pipeline_folder(options.pipeline_cache);
  result.validate = keeps_checks(found.info, options.safe);
  result.timestamps = found.adapter.HasFeature(wgpu::FeatureName::TimestampQuery);
  return result;
}

/// The device, the memory that kernels work on, and the clock.
class Bench {
 public:
  Bench(const gpu::FoundAdapter& found, const gpu::DeviceOptions& options, uint32_t tokens_max)
      : device_(found, options),
        pipelines_(device_, kernels::shader_library()),
        uniforms_(device_),
        tokens_max_(tokens_max),
        step_(device_.create_storage(kernels::StepInput::bytes(tokens_max), gpu::Account::scratch, "step")),
        control_(device_.create_storage(uint64_t(tokens_max) * sizeof(kernels::ControlBlock), gpu::Account::scratch,
                                        "control")) {}

  gpu::Device& device() { return device_; }
  gpu::PipelineCache& pipelines() { return pipelines_; }
  gpu::UniformArena& uniforms() { return uniforms_; }
  uint32_t tokens_max() const { return tokens_max_; }
  uint32_t act_bytes() const { return device_.tier() == gpu::Tier::t0 ? 4 : 2; }

  /// How many times something of `bytes` is there, so that no cache holds all of it.
  uint32_t copies_of(uint64_t bytes) const {
    if (device_.info().software) return 1;
    const uint64_t fit = device_.limits().buffer_bytes_max / round_up(bytes, kAlignment);
    return uint32_t(std::clamp<uint64_t>(divide_up(kRotatedBytes, bytes), 1, std::clamp<uint64_t>(fit, 1, kCopiesMax)));
  }

  /// Memory full of small numbers; it grows as it is asked for more.
  const gpu::Buffer& buffer(const std::string& name, uint64_t bytes) {
    gpu::Buffer& buffer = buffers_[name];
    if (buffer.size() >= bytes) return buffer;
    buffer = {};
    buffer = device_.create_storage(round_up(bytes, 16), gpu::Account::scratch, name);
    const uint64_t window = device_.limits().binding_bytes_max / kAlignment * kAlignment;
    gpu::Plan filling;
    gpu::Recorder recorder(pipelines_, filling);
    for (uint64_t at = 0; at < buffer.size(); at += window)
      kernels::fill(recorder, {buffer, at, std::min(window, buffer.size() - at)}, kSmallNumbers);
    gpu::time_pass(device_, [&](const wgpu::ComputePassEncoder& pass) { filling.encode(pass); });
    return buffer;
  }

  /// The same for what a kernel binds as a whole: the copy of that index.
  gpu::BufferView view(const std::string& name, uint64_t bytes, uint32_t copy = 0, uint32_t n_copies = 1) {
    if (bytes > device_.limits().binding_bytes_max) {
      fail(ErrorCode::unsupported, "{} take {} bytes, the device binds at most {}", name, bytes,
           device_.limits().binding_bytes_max);
    }
    const uint64_t stride = round_up(bytes, kAlignment);
    return {buffer(name, stride * n_copies), stride * copy, bytes};
  }

  /// Activations, n to a row.
  gpu::BufferView acts(const std::string& name, uint64_t n_rows, uint32_t n) {
    return view(name, n_rows * act_stride(n) * act_bytes());
  }

  void write_control(const SamplerParams& params, uint32_t n_slots) {
    kernels::ControlBlock block = kernels::control_block(params);
    block.limit = UINT32_MAX;  // a frozen slot would leave work out
    const std::vector<kernels::ControlBlock> blocks(n_slots, block);
    device_.write(control_, 0, std::as_bytes(std::span(blocks)));
  }

  /// Times what `record` adds, in `n_copies` that follow one another.
  void time(KernelReading& reading, uint32_t n_vocab, uint32_t n_copies,
            const std::function<void(const kernels::Context&, uint32_t copy)>& record) {
    write_step(reading, n_vocab);
    const uint32_t n_columns = reading.n_sequences * reading.n_tokens;
    gpu::Plan plan;
    gpu::Recorder recorder(pipelines_, plan);
    const kernels::Context context{recorder, {step_, control_, tokens_max_}, n_columns, reading.n_sequences, n_columns};
    for (uint32_t copy = 0; copy < n_copies; ++copy) record(context, copy);
    gpu::Work work;
    for (const gpu::Dispatch& dispatch : plan.dispatches()) {
      work.bytes += dispatch.work.bytes;
      work.flops += dispatch.work.flops;
    }
    reading.bytes += work.bytes / n_copies;
    reading.flops += work.flops / n_copies;
    const bool quick = device_.info().software;
    const std::optional<double> seconds = gpu::measure_plan(device_, plan, quick ? 0 : kPassSeconds, kRepeatsMax);
    if (!seconds) fail(ErrorCode::unsupported, "n/a: {}", gpu::kNoSense);
    reading.us = 1e6 * *seconds / n_copies;
  }

 private:
  static constexpr uint64_t kAlignment = 256;  // of a binding

  void write_step(const KernelReading& reading, uint32_t n_vocab) {
    kernels::StepInput input(tokens_max_);
    std::vector<uint32_t> ids(reading.n_tokens);
    for (uint32_t slot = 0; slot < reading.n_sequences; ++slot) {
      for (uint32_t i = 0; i < ids.size(); ++i) ids[i] = (slot * reading.n_tokens + i) * 7919 % n_vocab;
      input.add_chunk({slot, ids});
      for (uint32_t i = 0; i < ids.size(); ++i) input.add_output({input.n_tokens() - 1 - i, slot, true});
    }
    device_.write(step_, 0, input.as_bytes());
  }

  gpu::Device device_;
  gpu::PipelineCache pipelines_;
  gpu::UniformArena uniforms_;
  uint32_t tokens_max_;
  gpu::Buffer step_, control_;
  std::map<std::string, gpu::Buffer> buffers_;
};

struct Job {
  KernelReading reading;
  std::function<void(Bench&, KernelReading&)> measure;
};

void measure_product(Bench& bench, KernelReading& reading, const SyntheticSpec& shape, const Product& product,
                     WeightFormat format) {
  const uint32_t n_columns = reading.n_sequences * reading.n_tokens;
  uint64_t bytes = 0;
  for (const Product::Matrix& matrix : product.matrices)
    bytes += kernels::matrix_bytes(format, matrix.n_rows, matrix.n_in);
  const uint64_t stride = round_up(bytes, 256);
  const uint32_t n_copies = bench.copies_of(bytes);
  const gpu::Buffer& weights = bench.buffer("weights", stride * n_copies);
  kernels::MatMul multiply{.label = product.name};
  uint64_t input_size = 0, output_size = 0;  // elements
  for (uint64_t at = 0; const Product::Matrix& matrix : product.matrices) {
    const uint64_t matrix_bytes = kernels::matrix_bytes(format, matrix.n_rows, matrix.n_in);
    const uint32_t output_stride = product.output_f32 ? matrix.n_rows : act_stride(matrix.n_rows);
    multiply.segments.push_back({{format, matrix.n_rows, matrix.n_in, {weights, at, matrix_bytes}},
                                 narrow<uint32_t>(input_size),
                                 narrow<uint32_t>(output_size),
                                 output_stride,
                                 matrix.activation});
    at += matrix_bytes;
    input_size += uint64_t(n_columns) * act_stride(matrix.n_in);
    output_size += uint64_t(n_columns) * output_stride;
  }
  multiply.input = bench.view("inputs", input_size * bench.act_bytes());
  multiply.output = bench.view("outputs", output_size * (product.output_f32 ? 4 : bench.act_bytes()));
  multiply.over_outputs = product.over_outputs;
  multiply.output_f32 = product.output_f32;
  multiply.accumulate = product.accumulate;
  multiply.of_squares = product.of_squares;
  if (product.accumulate && bench.device().tier() == gpu::Tier::t2)
    multiply.parts = bench.view("parts", output_size * 4 * kernels::kMatMulPartsMax);
  if (!reading.tile.empty()) {
    const ForcedTile forced = tile_named(bench.device(), reading.tile);
    multiply.tile = forced.tile;
    if (product.accumulate) multiply.n_parts = forced.n_parts;
  }
  bench.time(reading, shape.n_vocab, n_copies, [&](const kernels::Context& context, uint32_t copy) {
    kernels::MatMul of_copy = multiply;
    for (kernels::MatMulSegment& segment : of_copy.segments) segment.weights.rows.offset += copy * stride;
    kernels::matmul(context, bench.uniforms(), of_copy);
  });
}

void measure_time_mix(Bench& bench, KernelReading& reading, const SyntheticSpec& shape, StateStorage storage) {
  const uint32_t n = shape.n_embd, planes = bench.tokens_max();
  const uint64_t state_bytes = uint64_t(reading.n_sequences) * n * kHeadSize * value_bytes(storage);
  const uint32_t n_copies = bench.copies_of(state_bytes);
  bench.write_control({}, reading.n_sequences);
  kernels::TimeMix op{.label = reading.kernel, .n_embd = n, .head_size = kHeadSize, .epsilon = kEpsilon};
  op.r_k_v = bench.acts("r_k_v", 3 * uint64_t(planes), n);
  op.up = bench.acts("up", 4 * uint64_t(planes), n);
  op.v_first = bench.acts("v_first", planes, n);
  op.vectors = bench.view("vectors", 8 * uint64_t(n) * 4);
  op.gated = bench.acts("gated", planes, n);
  op.y = bench.view("y", uint64_t(planes) * n * 4);
  const uint64_t block_bytes = kernels::time_mix_block_bytes(bench.device(), n, kHeadSize, planes);
  if (block_bytes > 0) op.blocks = bench.view("blocks", block_bytes);
  op.storage = storage;
  bench.view("states", state_bytes, 0, n_copies);  // all of them, before one is recorded
  bench.time(reading, shape.n_vocab, n_copies, [&](const kernels::Context& context, uint32_t copy) {
    op.wkv_state = bench.view("states", state_bytes, copy, n_copies);
    kernels::time_mix(context, op);
  });
}

void measure_token_shift(Bench& bench, KernelReading& reading, const SyntheticSpec& shape, uint32_t n_mix) {
  const uint32_t n = shape.n_embd, n_columns = reading.n_sequences * reading.n_tokens;
  bench.write_control({}, reading.n_sequences);
  kernels::TokenShift op{.label = reading.kernel, .n_embd = n, .n_mix = n_mix, .epsilon = kEpsilon};
  op.x = bench.view("x", uint64_t(n_columns) * n * 4);
  op.vectors = bench.view("vectors", uint64_t(2 + kMixes) * n * 4);
  op.shift_state = bench.view("shifts", uint64_t(reading.n_sequences) * n * 4);
  op.mixed = bench.acts("mixed", uint64_t(n_mix) * bench.tokens_max(), n);
  bench.time(reading, shape.n_vocab, 1,
             [&](const kernels::Context& context, uint32_t) { kernels::token_shift(context, op); });
}

void measure_layer_norm(Bench& bench, KernelReading& reading, const SyntheticSpec& shape) {
  const uint32_t n = shape.n_embd, n_columns = reading.n_sequences * reading.n_tokens;
  const gpu::BufferView x = bench.view("x", uint64_t(n_columns) * n * 4);
  const gpu::BufferView vectors = bench.view("vectors", 2 * uint64_t(n) * 4);
  const gpu::BufferView normed = bench.acts("normed", n_columns, n);
  bench.time(reading, shape.n_vocab, 1, [&](const kernels::Context& context, uint32_t) {
    kernels::layer_norm(context, reading.kernel, n, kEpsilon, x, vectors, normed);
  });
}

void measure_embed(Bench& bench, KernelReading& reading, const SyntheticSpec& shape, WeightFormat format) {
  const uint32_t n = shape.n_embd, n_columns = reading.n_sequences * reading.n_tokens;
  const uint64_t bytes = kernels::matrix_bytes(format, shape.n_vocab, n);
  const kernels::MatrixView table{format, shape.n_vocab, n, {bench.buffer("weights", bytes), 0, bytes}};
  const gpu::BufferView vectors = bench.view("vectors", 2 * uint64_t(n) * 4);
  const gpu::BufferView x = bench.view("x", uint64_t(n_columns) * n * 4);
  bench.write_control({}, reading.n_sequences);
  bench.time(reading, shape.n_vocab, 1, [&](const kernels::Context& context, uint32_t) {
    kernels::embed(context, table, 0, shape.n_vocab, kEpsilon, vectors, x);
  });
}

/// Draws, or what comes before a draw.
void measure_draw(Bench& bench, KernelReading& reading, const SyntheticSpec& shape, const SamplerParams& params) {
  const uint32_t n = reading.n_sequences;
  const uint64_t row_bytes = uint64_t(shape.n_vocab) * 4;
  const gpu::BufferView logits = bench.view("logits", n * row_bytes), counts = bench.view("counts", n * row_bytes);
  bench.write_control(params, n);
  if (reading.family == "penalties") {
    reading.bytes += 3 * n * row_bytes;  // every token of the pattern counts: its logit is read and written
    const gpu::BufferView additions =
        bench.view("additions", uint64_t(n) * kernels::kAdditionsMax * sizeof(kernels::LogitAddition));
    bench.time(reading, shape.n_vocab, 1, [&](const kernels::Context& context, uint32_t) {
      kernels::penalties(context, {shape.n_vocab, logits, counts, additions});
    });
  } else {
    const gpu::BufferView sampled = bench.view("sampled", n * sizeof(kernels::Sampled));
    bench.time(reading, shape.n_vocab, 1, [&](const kernels::Context& context, uint32_t) {
      kernels::sample(context, {shape.n_vocab, logits, counts, sampled});
    });
  }
}

/// What there is to measure, in order.
class Jobs {
 public:
  explicit Jobs(const KernelBenchOptions& options) : options_(options) {
    check_families(options.families);
    for (const std::string& name : options.formats) formats_.push_back(format_named(name));
    for (const std::string& text : options.matrices) {
      const Product product = product_named(text);
      for (const WeightFormat format : formats_) check_blocks(product, format);
      add_product({.n_vocab = 1}, product);
    }
    if (!options.matrices.empty()) return;
    for (const std::string& name : options.shapes) add_shape(rwkv7::synthetic_spec(name + ":f16"), name);
  }
  std::vector<Job> jobs;

 private:
  bool wants(std::string_view family) const {
    return options_.families.empty() ||
           std::find(options_.families.begin(), options_.families.end(), family) != options_.families.end();
  }

  template <typename Measure>
  void add(std::string_view family, std::string kernel, uint32_t n_sequences, uint32_t n_tokens, Measure measure) {
    KernelReading reading;
    reading.family = family;
    reading.kernel = std::move(kernel);
    reading.shape = shape_name_;
    reading.n_sequences = n_sequences;
    reading.n_tokens = n_tokens;
    jobs.push_back({std::move(reading), std::move(measure)});
  }

  void add_shape(const SyntheticSpec& shape, const std::string& name) {
    shape_name_ = name;
    if (wants("matmul")) {
      for (const Product& product : products_of(shape)) add_product(shape, product);
    }
    for (const uint32_t n : options_.columns) {
      if (wants("time_mix")) add_time_mix(shape, n);
      if (wants("token_shift")) add_token_shift(shape, n);
      if (wants("layer_norm")) {
        add("layer_norm", "ln_out", 1, n,
            [=](Bench& bench, KernelReading& reading) { measure_layer_norm(bench, reading, shape); });
      }
      if (wants("embed")) add_embed(shape, n);
      add_draws(shape, n);
    }
  }

  void add_product(const SyntheticSpec& shape, const Product& product) {
    const std::vector<WeightFormat> loaded = {WeightFormat::f16};
    const std::vector<std::string> chosen = {""};
    for (const WeightFormat format : product.low_rank ? loaded : formats_) {
      for (const uint32_t n : options_.columns) {
        // Few columns take no tile.
        const bool tiled = n >= kernels::kMatMulTileColumnsMin && !options_.tiles.empty();
        for (const std::string& tile : tiled ? options_.tiles : chosen) {
          add("matmul", product.name, 1, n,
              [=](Bench& bench, KernelReading& reading) { measure_product(bench, reading, shape, product, format); });
          jobs.back().reading.format = format::info(format).name;
          jobs.back().reading.tile = tile;
        }
      }
    }
  }

  void add_time_mix(const SyntheticSpec& shape, uint32_t n) {
    const StateStorage storage = options_.state_storage;
    const auto measure = [=](Bench& bench, KernelReading& reading) {
      measure_time_mix(bench, reading, shape, storage);
    };
    const std::string kernel = storage == StateStorage::f16 ? "time_mix, f16 states" : "time_mix";
    add("time_mix", kernel, n, 1, measure);
    if (n > 1) add("time_mix", kernel, 1, n, measure);
  }

  void add_token_shift(const SyntheticSpec& shape, uint32_t n) {
    for (const uint32_t n_mix : {kMixes, 1u}) {
      const std::string kernel = n_mix == 1 ? "channel_mix.token_shift" : "time_mix.token_shift";
      const auto measure = [=](Bench& bench, KernelReading& reading) {
        measure_token_shift(bench, reading, shape, n_mix);
      };
      add("token_shift", kernel, n, 1, measure);
      if (n > 1) add("token_shift", kernel, 1, n, measure);
    }
  }

  void add_embed(const SyntheticSpec& shape, uint32_t n) {
    for (const WeightFormat format : formats_) {
      add("embed", "embed", 1, n,
          [=](Bench& bench, KernelReading& reading) { measure_embed(bench, reading, shape, format); });
      jobs.back().reading.format = format::info(format).name;
    }
  }

  void add_draws(const SyntheticSpec& shape, uint32_t n) {
    const auto draw = [&](std::string_view family, const char* kernel, const SamplerParams& params) {
      if (!wants(family)) return;
      add(family, kernel, n, 1,
          [=](Bench& bench, KernelReading& reading) { measure_draw(bench, reading, shape, params); });
    };
    draw("sample", "sample, greedy", {.temperature = 0});
    draw("sample", "sample, top-p", {.temperature = 1, .top_p = 0.9f});
    draw("penalties", "penalties", {.presence_penalty = 0.1f});
  }

  const KernelBenchOptions& options_;
  std::vector<WeightFormat> formats_;
  std::string shape_name_;
};

}  // namespace

struct KernelBench::Impl {
  Impl(const KernelBenchOptions& bench_options, const gpu::FoundAdapter& found)
      : options(bench_options),
        jobs(Jobs(options).jobs),
        bench(found, device_options(options, found), std::max(kTokensMax, most_columns(options.columns))) {
    for (const std::string& tile : options.tiles) {
      if (!tile.empty()) tile_named(bench.device(), tile);
    }
    limits = kernels::measure_limits(bench.pipelines());
  }

  void check_cancelled() const {
    if (options.cancel != nullptr && *options.cancel) fail(ErrorCode::cancelled, "cancelled");
  }

  void measure(const Job& job, KernelReading& reading) {
    try {
      job.measure(bench, reading);
      bench.device().check();
    } catch (const Error& error) {
      if (error.code() != ErrorCode::out_of_memory && error.code() != ErrorCode::unsupported) throw;
      reading.reason = error.what();
    } catch (const gpu::CompileError& error) {
      reading.reason = error.what();
    }
  }

  KernelBenchOptions options;
  std::vector<Job> jobs;
  Bench bench;
  MeasuredLimits limits;
};

std::vector<std::string> kernel_families() { return {std::begin(kFamilies), std::end(kFamilies)}; }

std::vector<std::string> kernel_formats() {
  std::vector<std::string> names;
  for (const WeightFormat format : format::kWeightFormats) names.emplace_back(format::info(format).name);
  return names;
}

KernelBench::KernelBench(const KernelBenchOptions& options)
    : impl_(std::make_unique<Impl>(options, gpu::choose_adapter(options.device))) {}
KernelBench::~KernelBench() = default;

const DeviceInfo& KernelBench::device() const { return impl_->bench.device().info(); }
const MeasuredLimits& KernelBench::limits() const { return impl_->limits; }
size_t KernelBench::n_readings() const { return impl_->jobs.size(); }

void KernelBench::run(const std::function<void(const KernelReading&)>& visit) {
  for (const Job& job : impl_->jobs) {
    impl_->check_cancelled();
    KernelReading reading = job.reading;
    impl_->measure(job, reading);
    visit(reading);
  }
}

}  // namespace ravenwing
