// bench/kernel_bench.cpp: how fast matrix products run: each product many times in one submit, by the clock on the
// wall.
//   kernel_bench [tier=T2] [formats=Q4_K,F16] [rows=2560] [inputs=2560] [columns=1,8,32,512] [tiles=2/2/1/4/4/64,...]
// rows=A+B+C makes groups of several
// segments. Prints a line for each: us, GB/s of weights, TFLOP/s.
#include <fmt/format.h>

#include <chrono>
#include <cstdio>
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

/// What to ask for; nothing: what a product chooses by itself.
struct Kind {
  std::optional<MatMulTile> tile;
  bool accumulate = false, squares = false;
};

struct Bench {
  gpu::Device& device;
  gpu::PipelineCache pipelines{device, shader_library()};
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

  void run(WeightFormat format, const std::vector<uint32_t>& rows, uint32_t n_in, uint32_t n_columns, const Kind& kind,
           const std::string& tile_name) {
    MatMul product{.label = "bench"};
    std::vector<gpu::Buffer> keep;
    uint32_t n_rows = 0;
    for (const uint32_t n : rows) n_rows += n;
    const gpu::Buffer matrix = weights(format, n_rows, n_in);
    const gpu::Buffer input =
        device.create_storage(uint64_t(kTokensMax) * act_stride(n_in) * 4, gpu::Account::scratch, "in");
    const gpu::Buffer output = device.create_storage(uint64_t(kTokensMax) * n_rows * 4, gpu::Account::scratch, "out");
    uint64_t offset = 0;
    for (const uint32_t n : rows) {
      MatrixView view{format, n, n_in, {matrix, offset, uint64_t(row_bytes(format, n_in)) * n}};
      product.segments.push_back({view, 0, uint32_t(offset / row_bytes(format, n_in)), n_rows, Activation::none});
      offset += view.rows.size;
    }
    product.input = input;
    product.output = output;
    product.output_f32 = true;
    product.accumulate = kind.accumulate;
    product.of_squares = kind.squares;
    product.tile = kind.tile;
    StepInput step_input(kTokensMax);
    const std::vector<uint32_t> ids(n_columns);
    step_input.add_chunk({0, ids});
    device.write(step, 0, step_input.as_bytes());
    gpu::Plan plan;
    gpu::Recorder recorder(pipelines, plan);
    matmul({recorder, {step, control, kTokensMax}, n_columns, 1, 0}, uniforms, product);
    double best = 1e9;
    for (int round = 0; round < 4; ++round) {
      const auto begin = std::chrono::steady_clock::now();
      const wgpu::CommandEncoder encoder = device.handle().CreateCommandEncoder();
      const wgpu::ComputePassEncoder pass = encoder.BeginComputePass();
      for (int i = 0; i < kRepeats; ++i) plan.encode(pass);
      pass.End();
      device.submit(encoder.Finish());
      device.wait_idle();
      best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    }
    const double seconds = best / kRepeats;
    fmt::print("{:6} {:>6} x {:<5} {:>4} columns {:16} {:9.1f} us {:8.1f} GB/s {:7.1f} TFLOP/s\n",
               format::info(format).name, n_rows, n_in, n_columns, tile_name, seconds * 1e6,
               double(offset) / seconds / 1e9, 2e-12 * n_rows * n_in * n_columns / seconds);
    std::fflush(stdout);
  }
};

}  // namespace

int main(int argc, char** argv) try {
  std::map<std::string, std::string> options = {{"tier", "T2"},      {"formats", "F16,Q4_K"},   {"rows", "2560"},
                                                {"inputs", "2560"},  {"columns", "1,8,32,512"}, {"tiles", ""},
                                                {"accumulate", "0"}, {"squares", "0"}};
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    options.at(argument.substr(0, argument.find('='))) = argument.substr(argument.find('=') + 1);
  }
  gpu::Device device({.tier = gpu::tier_named(options["tier"])});
  fmt::print("{} {}\n", device.info().name, device.info().tier);
  Bench bench{device};
  for (const std::string& format : split(options["formats"], ',')) {
    for (const std::string& rows : split(options["rows"], ',')) {
      for (const uint32_t n_in : numbers(options["inputs"], ',')) {
        for (const uint32_t n_columns : numbers(options["columns"], ',')) {
          for (const std::string& name : split(options["tiles"], ',')) {
            Kind kind{.accumulate = options["accumulate"] == "1", .squares = options["squares"] == "1"};
            if (!name.empty()) {
              const std::vector<uint32_t> n = numbers(name, '/');
              kind.tile = {n.at(0), n.at(1), n.at(2), n.at(3), n.at(4), n.at(5)};
            }
            try {
              bench.run(format_named(format), numbers(rows, '+'), n_in, n_columns, kind, name);
            } catch (const std::logic_error& error) {
              fmt::print("{} {}: {}\n", format, name, std::string(error.what()).substr(0, 300));
            }
          }
        }
      }
    }
  }
  return 0;
} catch (const std::exception& error) {
  fmt::print(stderr, "{}\n", error.what());
  return 1;
}
