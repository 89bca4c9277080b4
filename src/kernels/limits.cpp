// src/kernels/limits.cpp: copying, reading, multiplying, and doing nothing, as fast as can be.
#include "kernels/limits.hpp"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <vector>

#include "base/bytes.hpp"
#include "gpu/timestamps.hpp"

namespace ravenwing::kernels {
namespace {

constexpr uint32_t kWorkgroupSize = 256;
constexpr uint32_t kFactor = 2654435761;  // of fill.wgsl
/// Rounds of loads of limit_read.wgsl and limit_copy.wgsl, and the loads that wait for memory together.
constexpr uint32_t kRounds = 4, kLoads = 8;
constexpr uint64_t kStretch = uint64_t(kLoads) * kRounds * kWorkgroupSize * 16;
/// Larger than the caches of a GPU; software Vulkan is too slow for its CPU's caches to matter.
constexpr uint64_t kStreamBytes = 1 << 30, kStreamBytesMin = 16 << 20;
constexpr double kPassSeconds = 4e-3;
constexpr uint32_t kDispatches = 500;

/// A value of immediates that a kernel without any is given.
struct Nothing {
  uint32_t unused = 0;
};

/// The sum of the first n words of fill's pattern with a full mask.
uint32_t pattern_sum(uint64_t n) { return kFactor * uint32_t(n % 2 == 0 ? n / 2 * (n - 1) : (n - 1) / 2 * n); }

template <typename T>
std::vector<T> read_values(gpu::Device& device, const gpu::BufferView& view) {
  const std::vector<std::byte> bytes = device.read(view);
  std::vector<T> values(bytes.size() / sizeof(T));
  std::memcpy(values.data(), bytes.data(), values.size() * sizeof(T));
  return values;
}

class Measurement {
 public:
  explicit Measurement(gpu::PipelineCache& pipelines) : pipelines_(pipelines), device_(pipelines.device()) {}

  MeasuredLimits all() {
    MeasuredLimits limits;
    stream(limits);
    limits.flops_s = device_.tier() == gpu::Tier::t2 ? matmul() : fma();
    limits.dispatch_us = dispatch();
    device_.check();
    return limits;
  }

 private:
  void check(bool right, std::string_view what) const {
    if (right) return;
    fail(ErrorCode::unsupported,
         "[limits] the {} kernel gave wrong numbers on {}: `ravenwing doctor` tells what else does; another driver "
         "version may help",
         what, device_.info().name);
  }

  template <typename Immediates>
  gpu::Plan plan_of(const gpu::ShaderVariant& variant, const std::vector<gpu::Binding>& bindings,
                    const Immediates& immediates, gpu::Grid grid) {
    gpu::Plan plan;
    gpu::Recorder recorder(pipelines_, plan);
    recorder.dispatch("limit", variant, bindings, immediates, grid);
    return plan;
  }

  void run(const gpu::Plan& plan) {
    gpu::time_pass(device_, [&](const wgpu::ComputePassEncoder& pass) { plan.encode(pass); });
  }

  double seconds_of(const gpu::Plan& plan, double pass_seconds = kPassSeconds, uint32_t n_max = kDispatches) {
    const std::optional<double> seconds = gpu::measure_plan(device_, plan, pass_seconds, n_max);
    if (!seconds) {
      fail(ErrorCode::unsupported, "[limits] {} cannot be measured, {}; another driver version may help",
           device_.info().name, gpu::kNoSense);
    }
    return *seconds;
  }

  /// As much as there is, in whole stretches for each half.
  gpu::Buffer stream_buffer() {
    const DeviceLimits& limits = device_.limits();
    uint64_t bytes = device_.info().software ? kStreamBytesMin : kStreamBytes;
    while (bytes > std::min(limits.buffer_bytes_max, limits.binding_bytes_max)) bytes /= 2;
    for (; bytes > kStreamBytesMin; bytes /= 2) {
      try {
        return device_.create_storage(bytes, gpu::Account::scratch, "limits");
      } catch (const Error& error) {
        if (error.code() != ErrorCode::out_of_memory) throw;
      }
    }
    return device_.create_storage(kStreamBytesMin, gpu::Account::scratch, "limits");
  }

  void stream(MeasuredLimits& limits) {
    const gpu::Buffer words = stream_buffer();
    const uint32_t n_groups = uint32_t(words.size() / kStretch);
    const gpu::Buffer sums = device_.create_storage(uint64_t(n_groups) * 4, gpu::Account::scratch, "sums");
    gpu::Plan filling;
    gpu::Recorder recorder(pipelines_, filling);
    fill(recorder, words, 0xffffffff);
    run(filling);
    const auto sum_of_words = [&] {
      const std::vector<uint32_t> parts = read_values<uint32_t>(device_, sums);
      return std::accumulate(parts.begin(), parts.end(), uint32_t(0));
    };
    struct Immediates {
      uint32_t n_groups, n_rounds;
    };
    const gpu::Plan reading =
        plan_of({.shader = "limit_read", .constants = {{"LOADS", kLoads}}}, {gpu::read(words), gpu::read_write(sums)},
                Immediates{n_groups, kRounds}, gpu::folded_grid(n_groups));
    limits.read_bytes_s = double(words.size()) / seconds_of(reading);
    check(sum_of_words() == pattern_sum(words.size() / 4), "read");
    const gpu::Plan copying =
        plan_of({.shader = "limit_copy", .constants = {{"LOADS", kLoads}}}, {gpu::read_write(words)},
                Immediates{n_groups / 2, kRounds}, gpu::folded_grid(n_groups / 2));
    limits.copy_bytes_s = double(words.size()) / seconds_of(copying);
    run(reading);
    check(sum_of_words() == 2 * pattern_sum(words.size() / 8), "copy");
    limits.stream_bytes = words.size();
  }

  /// The rate of kernels of `n` workgroups, which are more and more until the GPU is busy for long enough.
  template <typename PlanOf>
  double busy_rate(uint32_t n_min, uint32_t n_max, double flops_each, const PlanOf& plan_of_n) {
    uint32_t n = n_min;
    double seconds = 0;
    for (;; n *= 4) {
      const gpu::Plan plan = plan_of_n(n);
      run(plan);
      seconds = seconds_of(plan, 0, 1);
      if (seconds >= kPassSeconds / 2 || n >= n_max) break;
    }
    return n * flops_each / seconds;
  }

  double fma() {
    const double in_f32 = fma("act_f32");
    return device_.tier() == gpu::Tier::t0 ? in_f32 : std::max(in_f32, fma("act_f16"));
  }

  double fma(std::string_view numbers) {
    constexpr uint32_t kChains = 8, kGroupsMax = 1 << 14;
    constexpr float kAddend = 5;
    const uint32_t steps = device_.info().software ? 255 : 4095;  // odd: x ends as addend - x
    struct Immediates {
      float factor, addend, expected;
    };
    const float expected = 4 * (kChains * kAddend - kChains * (kChains - 1) / 2.0f);
    const gpu::Buffer right = device_.create_storage(kGroupsMax * 4, gpu::Account::scratch, "right");
    uint32_t n_groups = 0;
    const auto plan_of_n = [&](uint32_t n) {
      n_groups = n;
      gpu::ShaderVariant variant{.shader = "limit_fma", .modules = {{"act", numbers}}};
      variant.constants = {{"CHAINS", kChains}, {"STEPS", steps}};
      return plan_of(variant, {gpu::read_write(right)}, Immediates{-1, kAddend, expected}, {n});
    };
    const double flops = 2.0 * 4 * kChains * steps * kWorkgroupSize;
    const double rate = busy_rate(device_.info().software ? 16 : 64, kGroupsMax, flops, plan_of_n);
    const auto counts = read_values<uint32_t>(device_, {right, 0, uint64_t(n_groups) * 4});
    check(std::all_of(counts.begin(), counts.end(), [](uint32_t n) { return n == kWorkgroupSize; }), "multiply-add");
    return rate;
  }

  static int operand(uint32_t at) { return (at * kFactor) >> 30 == 0 ? -1 : 1; }

  /// Of all elements of the products of the left and the right tile, [rows, k] and [columns, k].
  static double operands_sum(uint32_t rows, uint32_t columns, uint32_t k) {
    double sum = 0;
    for (uint32_t i = 0; i < k; ++i) {
      int left = 0, right = 0;
      for (uint32_t row = 0; row < rows; ++row) left += operand(row * k + i);
      for (uint32_t column = 0; column < columns; ++column) right += operand((rows + column) * k + i);
      sum += left * right;
    }
    return sum;
  }

  double matmul() {
    constexpr uint32_t kSubgroups = 8, kTilesM = 2, kTilesN = 4, kGroupsMax = 1 << 14;
    const gpu::MatrixShape matrix = device_.matrix_shape();
    // An f16 counts to 2048 without a gap.
    const uint32_t steps = matrix.f16_sums ? 2048 / matrix.k : 512;
    const gpu::Buffer totals = device_.create_storage(kGroupsMax * kSubgroups * 4, gpu::Account::scratch, "totals");
    uint32_t n_groups = 0;
    const auto plan_of_n = [&](uint32_t n) {
      n_groups = n;
      gpu::ShaderVariant variant{.shader = "limit_matmul"};
      variant.constants = {{"MAT_M", matrix.m},          {"MAT_N", matrix.n},
                           {"MAT_K", matrix.k},          {"SUBGROUP_SIZE", device_.info().subgroup_size_max},
                           {"SUBGROUPS", kSubgroups},    {"TILES_M", kTilesM},
                           {"TILES_N", kTilesN},         {"STEPS", steps},
                           {"DIRECT", !matrix.f16_sums}, {"FOLD", matrix.f16_sums}};
      return plan_of(variant, {gpu::read_write(totals)}, Nothing{}, {n});
    };
    const double flops = 2.0 * matrix.m * matrix.n * matrix.k * kTilesM * kTilesN * kSubgroups * steps;
    const double rate = busy_rate(256, kGroupsMax, flops, plan_of_n);
    const double expected = steps * operands_sum(kTilesM * matrix.m, kTilesN * matrix.n, matrix.k);
    const auto sums = read_values<float>(device_, {totals, 0, uint64_t(n_groups) * kSubgroups * 4});
    check(std::all_of(sums.begin(), sums.end(), [&](float sum) { return double(sum) == expected; }), "matrix");
    return rate;
  }

  double dispatch() {
    const gpu::Buffer count = device_.create_storage(4, gpu::Account::scratch, "count");
    const gpu::Plan plan = plan_of({.shader = "limit_dispatch"}, {gpu::read_write(count)}, Nothing{}, {});
    gpu::Plan chain;
    for (uint32_t i = 0; i < kDispatches; ++i) chain.add(plan.dispatches().front());
    const double seconds = seconds_of(chain, 0, 1);
    const uint32_t counted = read_values<uint32_t>(device_, count).front();
    check(counted > 0 && counted % kDispatches == 0, "empty");
    return 1e6 * seconds / kDispatches;
  }

  gpu::PipelineCache& pipelines_;
  gpu::Device& device_;
};

}  // namespace

void fill(gpu::Recorder& recorder, const gpu::BufferView& view, uint32_t mask) {
  struct Immediates {
    uint32_t n_quads, mask;
  };
  const uint32_t n_quads = narrow<uint32_t>(view.size / 16);
  recorder.dispatch("fill", {.shader = "fill"}, {gpu::read_write(view)}, Immediates{n_quads, mask},
                    gpu::folded_grid(divide_up(n_quads, kWorkgroupSize)));
}

MeasuredLimits measure_limits(gpu::PipelineCache& pipelines) { return Measurement(pipelines).all(); }

}  // namespace ravenwing::kernels
