// tests/kernels/tile_wgsl_test.cpp: the shaders of T2 where no adapter has subgroup matrices: WebGPU's null adapter,
// which computes nothing, still reads and checks them.
#include <doctest/doctest.h>
#include <webgpu/webgpu_cpp.h>

#include <string>

#include "gpu/shader.hpp"
#include "kernels/matmul.hpp"
#include "kernels/shaders.hpp"
#include "kernels/step.hpp"
#include "kernels/weight_layout.hpp"

using namespace ravenwing;

namespace {

constexpr wgpu::FeatureName kFeatures[] = {wgpu::FeatureName::ShaderF16, wgpu::FeatureName::Subgroups,
                                           wgpu::FeatureName::ChromiumExperimentalSubgroupMatrix};

/// A device that takes every feature and runs nothing; what it has to say goes to `message`.
class NullDevice {
 public:
  NullDevice() {
    const char* toggle = "allow_unsafe_apis";
    wgpu::DawnTogglesDescriptor toggles;
    toggles.enabledToggles = &toggle;
    toggles.enabledToggleCount = 1;
    const wgpu::InstanceFeatureName timed = wgpu::InstanceFeatureName::TimedWaitAny;
    wgpu::InstanceDescriptor instance_descriptor;
    instance_descriptor.nextInChain = &toggles;
    instance_descriptor.requiredFeatures = &timed;
    instance_descriptor.requiredFeatureCount = 1;
    instance_ = wgpu::CreateInstance(&instance_descriptor);
    wgpu::RequestAdapterOptions options;
    options.backendType = wgpu::BackendType::Null;
    options.nextInChain = &toggles;
    wgpu::Adapter adapter;
    instance_.WaitAny(instance_.RequestAdapter(
                          &options, wgpu::CallbackMode::WaitAnyOnly,
                          [&](wgpu::RequestAdapterStatus, wgpu::Adapter found, wgpu::StringView) { adapter = found; }),
                      UINT64_MAX);
    REQUIRE(adapter);
    wgpu::DeviceDescriptor descriptor;
    descriptor.requiredFeatures = kFeatures;
    descriptor.requiredFeatureCount = std::size(kFeatures);
    descriptor.SetUncapturedErrorCallback([](const wgpu::Device&, wgpu::ErrorType, wgpu::StringView text,
                                             std::string* message) { *message += std::string_view(text); },
                                          &message_);
    device_ = adapter.CreateDevice(&descriptor);
    REQUIRE(device_);
  }

  /// "" where the shader is good.
  std::string check(const std::string& wgsl) {
    message_.clear();
    wgpu::ShaderSourceWGSL source;
    source.code = std::string_view(wgsl);
    wgpu::ShaderModuleDescriptor descriptor;
    descriptor.nextInChain = &source;
    device_.CreateShaderModule(&descriptor);
    instance_.ProcessEvents();
    return message_;
  }

 private:
  wgpu::Instance instance_;
  wgpu::Device device_;
  std::string message_;
};

}  // namespace

TEST_SUITE_BEGIN("wgsl");

TEST_CASE("matmul_tile is good WGSL for every format, kind and shape of tile") {
  NullDevice device;
  const gpu::ShaderLibrary library = kernels::shader_library();
  gpu::ShaderVariant variant{.shader = "matmul_tile"};
  const auto check = [&] { CHECK(device.check(gpu::link_wgsl(library, variant)) == ""); };
  for (const format::WeightFormat format : format::kWeightFormats) {
    CAPTURE(format::info(format).name);
    const kernels::LotModule lot = kernels::lot_module(format);
    variant.modules = {{"act", "act_f16"},
                       {"format", kernels::format_module(format)},
                       {"rows", kernels::rows_module(format)},
                       {"out", "out_act"},
                       {"lot", lot.name}};
    variant.constants = {{"LOT_OCTETS", lot.octets}};
    check();
  }
  variant.modules = {{"act", "act_f16"}, {"out", "out_f32"}, {"lot", "lot_q4_k"}, {"rows", "rows_together"}};
  variant.constants = {{"ACCUMULATE", 1}, {"OF_SQUARES", 1}, {"OVER_OUTPUTS", 1}};
  check();
  variant.constants = {{"TILES_M", 4}, {"TILES_N", 3}, {"SUBGROUPS_K", 4}, {"MAT_M", 8}, {"MAT_N", 8}, {"MAT_K", 8}};
  check();
  variant.constants = {{"TILES_N", 4}};
  check();
  variant.constants = {{"SETS", 3}, {"DEPTH", 32}, {"MATRICES_K", 2}};
  check();
  variant.constants = {{"DIRECT", 0}, {"FOLD", 1}, {"SUBGROUPS_K", 2}};
  check();
  variant = {.shader = "sum_parts"};
  check();
  CHECK(device.check("fn wrong( {}") != "");
}

TEST_CASE("limit_matmul is good WGSL for matrices that sum in f32 and in f16") {
  NullDevice device;
  const gpu::ShaderLibrary library = kernels::shader_library();
  gpu::ShaderVariant variant{.shader = "limit_matmul"};
  CHECK(device.check(gpu::link_wgsl(library, variant)) == "");
  variant.constants = {{"DIRECT", 0}, {"FOLD", 1}, {"MAT_M", 8}, {"MAT_N", 8}, {"MAT_K", 8}, {"STEPS", 256}};
  CHECK(device.check(gpu::link_wgsl(library, variant)) == "");
}

TEST_CASE("the time mix on subgroup matrices is good WGSL") {
  NullDevice device;
  const gpu::ShaderLibrary library = kernels::shader_library();
  gpu::ShaderVariant prepare{.shader = "time_mix_wy_prepare", .modules = {{"act", "act_f16"}}};
  CHECK(device.check(gpu::link_wgsl(library, prepare)) == "");
  for (const StateStorage storage : {StateStorage::f32, StateStorage::f16}) {
    const gpu::ShaderVariant blocks{
        .shader = "time_mix_wy", .modules = {kernels::stored_module(storage)}, .constants = {{"STATE_BINDING", 4}}};
    CHECK(device.check(gpu::link_wgsl(library, blocks)) == "");
  }
}

TEST_SUITE_END();
