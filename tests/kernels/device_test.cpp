// tests/kernels/device_test.cpp: adapters, limits, buffers and errors of gpu/device.hpp.
#include "gpu/device.hpp"

#include <cstdlib>
#include <numeric>
#include <stdexcept>

#include "kernels/harness.hpp"

using namespace ravenwing;

namespace {

/// Code and text of the Error that `action` throws.
template <typename Action>
std::pair<ErrorCode, std::string> error_of(const Action& action) {
  try {
    action();
  } catch (const Error& error) {
    return {error.code(), error.what()};
  }
  FAIL("nothing was thrown");
  return {};
}

}  // namespace

TEST_SUITE_BEGIN("device");

TEST_CASE("adapters are listed, hardware first") {
  const std::vector<DeviceInfo> adapters = list_devices();
  const char* required = std::getenv("RAVENWING_REQUIRE_GPU");
  if (required != nullptr && std::string_view(required) == "1") REQUIRE(!adapters.empty());
  for (size_t i = 0; i < adapters.size(); ++i) {
    CHECK(!adapters[i].name.empty());
    CHECK(adapters[i].limits.buffer_bytes_max >= 256 << 20);
    if (i > 0) CHECK(adapters[i - 1].software <= adapters[i].software);
  }
}

TEST_CASE("a selector is an index or part of a name; one that matches nothing is answered with what there is") {
  if (test::gpus().empty()) return;
  const std::vector<DeviceInfo> adapters = list_devices();
  CHECK(gpu::Device({.selector = "0"}).info().name == adapters[0].name);
  CHECK(gpu::Device({.selector = adapters.back().name}).info().name == adapters.back().name);
  for (const char* selector : {"no such adapter", "999", "99999999999999999999999"}) {
    const auto [code, text] = error_of([&] { gpu::Device device({.selector = selector}); });
    CHECK(code == ErrorCode::no_device);
    CHECK(text.find(selector) != std::string::npos);
    CHECK(text.find("0: " + adapters[0].name) != std::string::npos);
  }
}

TEST_CASE("kernels are tested on every tier that the adapter reaches") {
  if (test::gpus().empty()) return;
  const std::string name = test::gpus().front()->device.info().name;
  for (const DeviceInfo& adapter : list_devices()) {
    if (adapter.name == name) CHECK(gpu::name(test::gpus().back()->device.tier()) == adapter.tier);
  }
}

TEST_CASE("devices can be opened again and again") {
  if (test::gpus().empty()) return;
  for (int i = 0; i < 40; ++i) CHECK_NOTHROW(gpu::Device({.selector = test::test_device(), .tier = gpu::Tier::t0}));
}

TEST_CASE("T0 has WebGPU's default limits and nothing more") {
  for (const auto& gpu : test::gpus()) {
    const DeviceLimits& limits = gpu->device.limits();
    CHECK(limits.binding_alignment <= 256);
    if (gpu->half()) {
      CHECK(gpu->device.handle().HasFeature(wgpu::FeatureName::ShaderF16));
      continue;
    }
    CHECK(limits.binding_bytes_max == 128 << 20);
    CHECK(limits.buffer_bytes_max == 256 << 20);
    CHECK(limits.storage_buffers_per_stage_max == 8);
    CHECK(limits.workgroups_per_dimension_max == 65535);
    CHECK(limits.invocations_per_workgroup_max == 256);
    CHECK(limits.workgroup_storage_bytes_max == 16384);
    CHECK(!gpu->device.handle().HasFeature(wgpu::FeatureName::ShaderF16));
    CHECK(!gpu->device.handle().HasFeature(wgpu::FeatureName::Subgroups));
  }
}

TEST_CASE("what is written can be read, new memory is zero") {
  for (const auto& gpu : test::gpus()) {
    gpu::Device& device = gpu->device;
    const gpu::Buffer buffer = device.create_storage(1000, gpu::Account::scratch, "round trip");
    CHECK(device.read(buffer) == std::vector<std::byte>(1000));
    std::vector<uint32_t> words(100);
    std::iota(words.begin(), words.end(), 1);
    device.write(buffer, 500, std::as_bytes(std::span(words)));
    const std::vector<std::byte> read = device.read({buffer, 500, 400});
    CHECK(std::memcmp(read.data(), words.data(), 400) == 0);
    CHECK(device.read({buffer, 0, 500}) == std::vector<std::byte>(500));
    CHECK(device.read({buffer, 900, 100}) == std::vector<std::byte>(100));
  }
}

TEST_CASE("memory is counted by account until it is given back") {
  for (const auto& gpu : test::gpus()) {
    gpu::Device& device = gpu->device;
    const uint64_t before = device.bytes_used(gpu::Account::weights);
    {
      gpu::Buffer first = device.create_storage(1001, gpu::Account::weights, "first");
      gpu::Buffer second = std::move(first);
      CHECK(device.bytes_used(gpu::Account::weights) == before + 1004);
      second = device.create_storage(16, gpu::Account::weights, "second");
      CHECK(device.bytes_used(gpu::Account::weights) >= before + 16);
    }
    CHECK(device.bytes_used(gpu::Account::weights) == before);
  }
}

TEST_CASE("a buffer beyond every limit is out of memory, and the device goes on") {
  for (const auto& gpu : test::gpus()) {
    const auto [code, text] =
        error_of([&] { gpu->device.create_storage(uint64_t(1) << 50, gpu::Account::state, "absurd"); });
    CHECK(code == ErrorCode::out_of_memory);
    CHECK(text.find("absurd") != std::string::npos);
    CHECK(text.find("1125899906842624") != std::string::npos);
    CHECK(gpu->device.read(gpu->device.create_storage(4, gpu::Account::scratch, "after")).size() == 4);
  }
}

TEST_CASE("a misuse of WebGPU is thrown once, at the next check") {
  for (const auto& gpu : test::gpus()) {
    const gpu::Buffer buffer = gpu->device.create_storage(16, gpu::Account::scratch, "misused");
    gpu->device.queue().WriteBuffer(buffer.handle(), 2, "abcd", 4);  // no multiple of 4
    CHECK_THROWS_AS(gpu->device.check(), std::logic_error);
    CHECK_NOTHROW(gpu->device.check());
  }
}

TEST_CASE("a shader that does not compile is named") {
  for (const auto& gpu : test::gpus()) {
    gpu::PipelineCache pipelines(gpu->device, {{"broken", "@compute @workgroup_size(1) fn main() { let x = y; }\n"}});
    try {
      pipelines.get({.shader = "broken"});
      FAIL("nothing was thrown");
    } catch (const std::logic_error& error) {
      CHECK(std::string(error.what()).find("broken does not compile") != std::string::npos);
    }
    CHECK_NOTHROW(gpu->device.check());
  }
}

TEST_SUITE_END();
