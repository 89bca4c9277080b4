// tests/kernels/harness.cpp: devices, guarded memory, runs.
#include "kernels/harness.hpp"

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>

#include "base/bytes.hpp"
#include "base/half.hpp"
#include "kernels/shaders.hpp"

namespace ravenwing::test {
namespace {

/// Of canaries, before and after each region; also what a binding's offset must be a multiple of by default.
constexpr uint64_t kBandBytes = 256;

std::vector<std::byte> canaries(uint64_t n_bytes) {
  const std::vector<uint32_t> words(n_bytes / 4, kCanary);
  const auto bytes = std::as_bytes(std::span(words));
  return {bytes.begin(), bytes.end()};
}

std::vector<std::unique_ptr<Gpu>> open_gpus() {
  std::vector<std::unique_ptr<Gpu>> opened;
  try {
    opened.push_back(std::make_unique<Gpu>(gpu::Tier::t0));
    const gpu::Tier best = opened.front()->device.best_tier();
    for (const gpu::Tier tier : {gpu::Tier::t1, gpu::Tier::t2}) {
      if (tier <= best) opened.push_back(std::make_unique<Gpu>(tier));
    }
    if (best == gpu::Tier::t2 && !opened.back()->device.matrix_shape().f16_sums)
      opened.push_back(std::make_unique<Gpu>(gpu::Tier::t2, true));
  } catch (const Error& error) {
    if (error.code() == ErrorCode::bad_request) return opened;  // no matrices that sum in f16
    const char* required = std::getenv("RAVENWING_REQUIRE_GPU");
    if (error.code() != ErrorCode::no_device || (required != nullptr && std::string_view(required) == "1")) throw;
    std::printf("no adapter, tests of kernels are skipped: %s\n", error.what());
  }
  return opened;
}

}  // namespace

Gpu::Gpu(gpu::Tier tier, bool f16_sums)
    : device({.selector = test_device(), .tier = tier, .f16_sums = f16_sums, .validate = validate()}),
      pipelines(device, kernels::shader_library()),
      uniforms(device) {}

const std::vector<std::unique_ptr<Gpu>>& gpus() {
  static const std::vector<std::unique_ptr<Gpu>> opened = open_gpus();
  return opened;
}

bool validate() {
  const char* unchecked = std::getenv("RAVENWING_TEST_UNCHECKED");
  return unchecked == nullptr || std::string_view(unchecked) != "1";
}

std::string test_device() {
  const char* selector = std::getenv("RAVENWING_TEST_DEVICE");
  return selector == nullptr ? "" : selector;
}

Scene::Scene(Gpu& gpu, uint32_t tokens_max) : gpu_(gpu), tokens_max_(tokens_max), step_(tokens_max) {}

Region Scene::add(std::span<const std::byte> contents, bool written) {
  RAVENWING_CHECK(contents.size() % 4 == 0 && !arenas_[0]);
  regions_.push_back({{contents.begin(), contents.end()}, {}, written, 0});
  return regions_.size() - 1;
}

std::vector<std::byte> Scene::act_bytes(std::span<const float> values, uint32_t n) const {
  const uint32_t stride = kernels::act_stride(n);
  const size_t n_rows = values.size() / n;
  RAVENWING_CHECK(n_rows * n == values.size());
  std::vector<std::byte> bytes(n_rows * stride * (half() ? 2 : 4));
  for (size_t i = 0; i < values.size(); ++i) {
    const size_t at = i / n * stride + i % n;
    const uint16_t rounded = f32_to_f16(values[i]);
    if (half()) {
      std::memcpy(&bytes[2 * at], &rounded, 2);
    } else {
      std::memcpy(&bytes[4 * at], &values[i], 4);
    }
  }
  return bytes;
}

Region Scene::input_acts(std::span<const float> values, uint32_t n) { return add(act_bytes(values, n), false); }

Region Scene::in_place_acts(std::span<const float> values, uint32_t n) { return add(act_bytes(values, n), true); }

gpu::BufferView Scene::view(Region region) const {
  const Stretch& stretch = regions_.at(region);
  return {arenas_[stretch.written], stretch.offset, stretch.before.size() + kBandBytes};
}

void Scene::place() {
  for (Stretch& stretch : regions_) {
    uint64_t& end = arena_bytes_[stretch.written];
    stretch.offset = round_up(end + kBandBytes, kBandBytes);
    end = stretch.offset + stretch.before.size() + kBandBytes;
  }
  for (size_t i = 0; i < 2; ++i) {
    arenas_[i] =
        gpu_.device.create_storage(arena_bytes_[i], gpu::Account::scratch, i == 0 ? "test inputs" : "test outputs");
  }
}

std::vector<std::byte> Scene::arena_before(bool written) const {
  std::vector<std::byte> arena = canaries(arena_bytes_[written]);
  for (const Stretch& stretch : regions_) {
    if (stretch.written == written)
      std::copy(stretch.before.begin(), stretch.before.end(), arena.begin() + ptrdiff_t(stretch.offset));
  }
  return arena;
}

void Scene::check_bands(std::span<const std::byte> arena, bool written) const {
  uint64_t at = 0;
  const auto intact_until = [&](uint64_t end) {
    for (; at < end; at += 4) {
      if (load_le<uint32_t>(&arena[at]) != kCanary) return false;
    }
    return true;
  };
  for (Region region = 0; region < regions_.size(); ++region) {
    if (regions_[region].written != written) continue;
    CAPTURE(region);
    CHECK_MESSAGE(intact_until(regions_[region].offset), "written before the region");
    at = regions_[region].offset + regions_[region].before.size();
    CHECK_MESSAGE(intact_until(at + kBandBytes), "written after the region");
    at = regions_[region].offset + regions_[region].before.size() + kBandBytes;
  }
}

void Scene::run(const std::function<void(const kernels::Context&)>& record) {
  const auto up = [&](uint32_t n) { return std::min(std::bit_ceil(std::max(n, 1u)), tokens_max_); };
  run({up(step_.n_tokens()), up(step_.n_chunks()), up(step_.n_outputs())}, record);
}

void Scene::run(const PlanSize& size, const std::function<void(const kernels::Context&)>& record) {
  const Region step_region = input(step_.as_bytes());
  control_region_ = add(std::as_bytes(std::span(control)), control_written);
  place();
  gpu::Recorder recorder(gpu_.pipelines, plan_);
  record({recorder,
          {view(step_region), view(control_region_), tokens_max_},
          size.n_tokens,
          size.n_chunks,
          size.n_outputs});
  gpu_.device.check();
  std::vector<std::byte> after[2];
  for (std::vector<std::byte>& arena : after) {
    for (const bool written : {false, true}) gpu_.device.write(arenas_[written], 0, arena_before(written));
    const wgpu::CommandEncoder encoder = gpu_.device.handle().CreateCommandEncoder();
    const wgpu::ComputePassEncoder pass = encoder.BeginComputePass();
    plan_.encode(pass);
    pass.End();
    gpu_.device.submit(encoder.Finish());
    CHECK_MESSAGE(gpu_.device.read(arenas_[0]) == arena_before(false), "an input was written");
    arena = gpu_.device.read(arenas_[1]);
  }
  CHECK_MESSAGE(after[0] == after[1], "two runs differ");
  check_bands(after[0], true);
  for (Stretch& stretch : regions_) {
    stretch.after = stretch.before;
    const auto begin = after[0].begin() + ptrdiff_t(stretch.offset);
    if (stretch.written) stretch.after.assign(begin, begin + ptrdiff_t(stretch.before.size()));
  }
}

std::vector<float> Scene::acts(Region region) const {
  if (!half()) return floats(region);
  std::vector<float> result;
  for (const uint16_t value : values<uint16_t>(region)) result.push_back(f16_to_f32(value));
  return result;
}

kernels::ControlBlock Scene::control_after(uint32_t slot) const {
  kernels::ControlBlock block;
  std::memcpy(&block, &regions_.at(control_region_).after.at(slot * sizeof(block)), sizeof(block));
  return block;
}

float as_act(const Gpu& gpu, float value) { return gpu.half() ? f16_to_f32(f32_to_f16(value)) : value; }

std::vector<float> as_acts(const Gpu& gpu, std::vector<float> values) {
  for (float& value : values) value = as_act(gpu, value);
  return values;
}

}  // namespace ravenwing::test
