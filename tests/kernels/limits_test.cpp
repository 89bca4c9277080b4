// tests/kernels/limits_test.cpp: what the device can do at best is measured by kernels that do what they say.
#include "kernels/limits.hpp"

#include "base/bytes.hpp"
#include "gpu/timestamps.hpp"
#include "kernels/harness.hpp"
#include "kernels/shaders.hpp"

using namespace ravenwing;

namespace {

std::vector<uint32_t> words_of(gpu::Device& device, const gpu::BufferView& view) {
  const std::vector<std::byte> bytes = device.read(view);
  std::vector<uint32_t> words(bytes.size() / 4);
  std::memcpy(words.data(), bytes.data(), bytes.size());
  return words;
}

/// What measure_limits says of shaders of which one has another line.
std::string complaint(test::Gpu& gpu, const std::string& shader, const std::string& from, const std::string& to) {
  gpu::ShaderLibrary library = kernels::shader_library();
  std::string& text = library.at(shader);
  const size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  text.replace(at, from.size(), to);
  gpu::PipelineCache pipelines(gpu.device, library);
  try {
    kernels::measure_limits(pipelines);
    return "";
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::unsupported);
    return error.what();
  }
}

}  // namespace

TEST_SUITE_BEGIN("limits");

TEST_CASE("limits are what a computer can have, and agree with each other") {
  for (const auto& gpu : test::gpus()) {
    INFO(gpu->name());
    const uint64_t used = gpu->device.bytes_used(gpu::Account::scratch);
    const MeasuredLimits limits = kernels::measure_limits(gpu->pipelines);
    CHECK(gpu->device.bytes_used(gpu::Account::scratch) == used);
    // From a small processor to ten times the best GPU of 2026.
    CHECK((limits.read_bytes_s > 1e8 && limits.read_bytes_s < 1e14));
    CHECK((limits.copy_bytes_s > 1e8 && limits.copy_bytes_s < 4 * limits.read_bytes_s));
    CHECK((limits.flops_s > 1e8 && limits.flops_s < 3e16));
    CHECK((limits.dispatch_us > 0.01 && limits.dispatch_us < 1e4));
    CHECK(limits.stream_bytes >= 16 << 20);
    // A second of reading is all of it, a half of multiplying is half, and the nearer limit counts.
    const auto bytes = uint64_t(std::max(limits.read_bytes_s, limits.copy_bytes_s));
    CHECK(limits.share(bytes, 0, 1e6) == doctest::Approx(1));
    CHECK(limits.share(bytes / 4, uint64_t(limits.flops_s / 2), 1e6) == doctest::Approx(0.5));
    CHECK(limits.share(1, 1, 0) == 0);
  }
}

TEST_CASE("the copy, and the pattern that is copied") {
  constexpr uint32_t kWords = 1 << 16;  // two stretches of limit_copy.wgsl, of which one is copied
  for (const auto& gpu : test::gpus()) {
    INFO(gpu->name());
    const gpu::Buffer words = gpu->device.create_storage(kWords * 4, gpu::Account::scratch, "words");
    gpu::Plan plan;
    gpu::Recorder recorder(gpu->pipelines, plan);
    kernels::fill(recorder, words, 0x2f2f2f2f);
    const auto run = [&] {
      gpu::time_pass(gpu->device, [&](const wgpu::ComputePassEncoder& pass) { plan.encode(pass); });
      return words_of(gpu->device, words);
    };
    std::vector<uint32_t> expected(kWords);
    for (uint32_t i = 0; i < kWords; ++i) expected[i] = i * 2654435761u & 0x2f2f2f2fu;
    CHECK(run() == expected);
    struct Immediates {
      uint32_t n_groups, n_rounds;
    };
    recorder.dispatch("copy", {.shader = "limit_copy"}, {gpu::read_write(words)}, Immediates{1, 4}, {});
    std::copy_n(expected.begin(), kWords / 2, expected.begin() + kWords / 2);
    CHECK(run() == expected);
  }
}

TEST_CASE("kernels that do not do their work are found out") {
  if (test::gpus().empty()) return;
  test::Gpu& gpu = *test::gpus().front();  // T0
  const auto found = [&](const std::string& shader, const std::string& from, const std::string& to,
                         const std::string& name) {
    CHECK(complaint(gpu, shader, from, to).find("the " + name + " kernel gave wrong numbers") != std::string::npos);
  };
  found("limit_read", "round < immediates.n_rounds", "round + 1u < immediates.n_rounds", "read");
  found("limit_copy", "= load_$L;\n    //@end\n    at", "= load_$L + vec4(1u);\n    //@end\n    at", "copy");
  found("limit_fma", "i < STEPS", "i + 1u < STEPS", "multiply-add");
  found("limit_dispatch", "+= 1u", "= 1u", "empty");
}

TEST_CASE("a pass takes time, and more of it takes longer") {
  for (const auto& gpu : test::gpus()) {
    INFO(gpu->name());
    const gpu::Buffer words = gpu->device.create_storage(4 << 20, gpu::Account::scratch, "words");
    gpu::Plan plan;
    gpu::Recorder recorder(gpu->pipelines, plan);
    kernels::fill(recorder, words, 1);
    // The shortest of several: others may have the GPU meanwhile.
    const auto shortest = [&] {
      double seconds = gpu::measure_plan(gpu->device, plan, 0, 1).value();
      for (int i = 0; i < 8; ++i) seconds = std::min(seconds, gpu::measure_plan(gpu->device, plan, 0, 1).value());
      return seconds;
    };
    const double once = shortest();
    for (int i = 1; i < 64; ++i) kernels::fill(recorder, words, 1);
    CHECK(once > 1e-6);
    CHECK(shortest() > 4 * once);
  }
}

TEST_SUITE_END();
