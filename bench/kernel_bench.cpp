// bench/kernel_bench.cpp: how fast matrix products run: each product many times in one submit, by the clock on the
// wall.
//   kernel_bench [tier=T2] [formats=Q4_K,F16] [rows=2560] [inputs=2560] [columns=1,8,32,512]
//                [tiles=2/2/1/4/4/64,... from 5 columns on] [shaders=DIR,DIR] [validate=0]
// rows=A+B+C makes groups of several segments; shaders: folders as RAVENWING_SHADER_DIR, each in turn. Prints a line
// for each: us, GB/s of weights, TFLOP/s, and how far results are from those of exact mode (a mean, relative).
#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <random>
#include <string>

#include "base/bytes.hpp"
#include "format/random_block.hpp"
#include "gpu/uniforms.hpp"
#include "kernels/matmul.hpp"
#include "kernels/shaders.hpp"

using namespace ravenwing;
using namespace ravenwing::kernels;

namespace {

constexpr uint32_t kTokensMax = 2048;
constexpr int kRepeats = 60;

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts(1);
  for (const char c : text) {
    if (c == separator)
      parts.emplace_back();
    else
      parts.back() += c;
  }
  return parts;
}

std::vector<uint32_t> numbers(const std::string& text, char separator) {
  std::vector<uint32_t> result;
  for (const std::string& part : split(text, separator)) result.push_back(uint32_t(std::stoul(part)));
  return result;
}

WeightFormat format_named(const std::string& name) {
  for (const WeightFormat format : format::kWeightFormats) {
    if (format::info(format).name == name) return format;
  }
  fail(ErrorCode::bad_request, "no format {}", name);
}

/// A product of matrices side by side, and where its results go.
struct Case {
  WeightFormat format;
  uint32_t n_rows = 0, n_in, n_columns;
  gpu::Buffer weights, input, output;
  MatMul product{.label = "bench"};
};

struct Bench {
  gpu::Device& device;
  gpu::UniformArena uniforms{device};
  gpu::Buffer step = device.create_storage(StepInput::bytes(kTokensMax), gpu::Account::scratch, "step");
  gpu::Buffer control = device.create_storage(4096, gpu::Account::scratch, "control");

  /// Blocks of small weights; a stretch of them again and again.
  gpu::Buffer weights(WeightFormat format, uint32_t n_rows, uint32_t n_in) {
    const uint64_t size = uint64_t(row_bytes(format, n_in)) * n_rows;
    gpu::Buffer buffer = device.create_storage(size, gpu::Account::weights, "weights");
    const auto& info = format::info(format);
    std::mt19937 random(1);
    std::vector<std::byte> row(n_in / info.block_weights * info.block_bytes), packed(row_bytes(format, n_in));
    std::vector<std::byte> rows;
    while (rows.size() < std::min<uint64_t>(size, 1 << 20)) {
      for (std::byte& byte : row) byte = std::byte(random() & 0x2f);
      pack_row(format, n_in, row.data(), packed.data());
      rows.insert(rows.end(), packed.begin(), packed.end());
    }
    for (uint64_t at = 0; at < size; at += rows.size())
      device.write(buffer, at, std::span(rows).first(std::min<uint64_t>(rows.size(), size - at)));
    return buffer;
  }

  /// Of both signs; f16 but on T0.
  gpu::Buffer inputs(uint64_t n) {
    gpu::Buffer buffer = device.create_storage(n * 4, gpu::Account::scratch, "in");
    std::mt19937 random(2);
    std::vector<uint32_t> words(1 << 16);
    for (uint32_t& word : words)
      word =
          device.tier() == gpu::Tier::t0 ? 0x3f000000 | (random() & 0x80ffffff) : 0x38003800 | (random() & 0x87ff87ff);
    const auto bytes = std::as_bytes(std::span(words));
    for (uint64_t at = 0; at < n * 4; at += bytes.size())
      device.write(buffer, at, bytes.first(std::min<uint64_t>(bytes.size(), n * 4 - at)));
    return buffer;
  }

  Case make(WeightFormat format, const std::vector<uint32_t>& rows, uint32_t n_in, uint32_t n_columns) {
    Case made{.format = format, .n_in = n_in, .n_columns = n_columns};
    for (const uint32_t n : rows) made.n_rows += n;
    made.weights = weights(format, made.n_rows, n_in);
    made.input = inputs(uint64_t(n_columns) * act_stride(n_in));
    made.output = device.create_storage(uint64_t(n_columns) * made.n_rows * 4, gpu::Account::scratch, "out");
    uint64_t offset = 0;
    for (const uint32_t n : rows) {
      MatrixView view{format, n, n_in, {made.weights, offset, uint64_t(row_bytes(format, n_in)) * n}};
      made.product.segments.push_back(
          {view, 0, uint32_t(offset / row_bytes(format, n_in)), made.n_rows, Activation::none});
      offset += view.rows.size;
    }
    made.product.input = made.input;
    made.product.output = made.output;
    made.product.output_f32 = true;
    StepInput step_input(kTokensMax);
    const std::vector<uint32_t> ids(n_columns);
    step_input.add_chunk({0, ids});
    device.write(step, 0, step_input.as_bytes());
    return made;
  }

  void prepare(gpu::PipelineCache& pipelines, const Case& what) {
    gpu::Recorder recorder(pipelines);
    matmul({recorder, {step, control, kTokensMax}, what.n_columns, 1, 0}, uniforms, what.product);
  }

  /// Seconds of one product.
  double time(gpu::PipelineCache& pipelines, const Case& what, int repeats) {
    gpu::Plan plan;
    gpu::Recorder recorder(pipelines, plan);
    matmul({recorder, {step, control, kTokensMax}, what.n_columns, 1, 0}, uniforms, what.product);
    double best = 1e9;
    for (int round = 0; round < (repeats == 1 ? 1 : 4); ++round) {
      const auto begin = std::chrono::steady_clock::now();
      const wgpu::CommandEncoder encoder = device.handle().CreateCommandEncoder();
      const wgpu::ComputePassEncoder pass = encoder.BeginComputePass();
      for (int i = 0; i < repeats; ++i) plan.encode(pass);
      pass.End();
      device.submit(encoder.Finish());
      device.wait_idle();
      best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    }
    return best / repeats;
  }

  /// The first results, of whole columns.
  std::vector<float> results(const Case& what) {
    std::vector<float> values(std::min<uint64_t>(what.output.size() / 4, 400000));
    const std::vector<std::byte> bytes = device.read({what.output, 0, values.size() * 4});
    std::memcpy(values.data(), bytes.data(), bytes.size());
    return values;
  }
};

double relative_error(const std::vector<float>& found, const std::vector<float>& expected) {
  double difference = 0, size = 0;
  for (size_t i = 0; i < found.size(); ++i) {
    difference += std::pow(double(found[i]) - expected[i], 2);
    size += std::pow(double(expected[i]), 2);
  }
  return std::sqrt(difference / size);
}

/// What a name like 4/2/1/2/4/64 asks for; nothing: what a product chooses by itself.
std::optional<MatMulTile> tile_named(const std::string& name) {
  if (name.empty()) return std::nullopt;
  const std::vector<uint32_t> n = numbers(name, '/');
  return MatMulTile{n.at(0), n.at(1), n.at(2), n.at(3), n.at(4), n.at(5)};
}

void measure(Bench& bench, std::map<std::string, gpu::PipelineCache>& caches, Case& what,
             const std::vector<std::string>& tiles) {
  what.product.mode = MatMulMode::exact;
  bench.time(caches.begin()->second, what, 1);
  const std::vector<float> expected = bench.results(what);
  what.product.mode = MatMulMode::fast;
  for (auto& [shaders, pipelines] : caches) {
    for (const std::string& name : tiles) {
      what.product.tile = tile_named(name);
      bench.prepare(pipelines, what);
    }
  }
  for (auto& [shaders, pipelines] : caches) {
    for (const std::string& name : tiles) {
      what.product.tile = tile_named(name);
      try {
        const double seconds = bench.time(pipelines, what, kRepeats);
        fmt::print("{:5} {:>6} x {:<5} {:>4} {:16} {} {:8.1f} us {:7.1f} GB/s {:6.1f} TFLOP/s {:.2g}\n",
                   format::info(what.format).name, what.n_rows, what.n_in, what.n_columns, name, shaders, seconds * 1e6,
                   double(what.weights.size()) / seconds / 1e9,
                   2e-12 * what.n_rows * what.n_in * what.n_columns / seconds,
                   relative_error(bench.results(what), expected));
      } catch (const std::logic_error& error) {
        fmt::print("{} {}: {}\n", name, shaders, std::string(error.what()).substr(0, 300));
      }
      std::fflush(stdout);
    }
  }
}

}  // namespace

int main(int argc, char** argv) try {
  std::map<std::string, std::string> options = {{"tier", "T2"},     {"formats", "F16,Q4_K"},   {"rows", "2560"},
                                                {"inputs", "2560"}, {"columns", "1,8,32,512"}, {"tiles", ""},
                                                {"shaders", ""},    {"validate", "0"}};
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    options.at(argument.substr(0, argument.find('='))) = argument.substr(argument.find('=') + 1);
  }
  gpu::Device device({.tier = gpu::tier_named(options["tier"]), .validate = options["validate"] == "1"});
  fmt::print("{} {}\n", device.info().name, device.info().tier);
  Bench bench{device};
  std::map<std::string, gpu::PipelineCache> caches;
  for (const std::string& folder : split(options["shaders"], ',')) {
    if (!folder.empty()) setenv("RAVENWING_SHADER_DIR", folder.c_str(), 1);
    caches.try_emplace(folder.substr(folder.rfind('/') + 1), device, shader_library());
  }
  for (const std::string& format : split(options["formats"], ',')) {
    for (const std::string& rows : split(options["rows"], ',')) {
      for (const uint32_t n_in : numbers(options["inputs"], ',')) {
        for (const uint32_t n_columns : numbers(options["columns"], ',')) {
          Case what = bench.make(format_named(format), numbers(rows, '+'), n_in, n_columns);
          measure(bench, caches, what, split(options["tiles"], ','));
        }
      }
    }
  }
  return 0;
} catch (const std::exception& error) {
  fmt::print(stderr, "{}\n", error.what());
  return 1;
}
