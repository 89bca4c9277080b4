// src/gpu/adapters.cpp: instances, adapter summaries and the choice among them.
#include "gpu/adapters.hpp"

#include <dlfcn.h>
#include <fcntl.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdio>
#include <cstdlib>

#include "base/resources.hpp"

namespace ravenwing::gpu {
namespace {

/// Some drivers count bytes of a binding in an int32.
constexpr uint64_t kBindingBytesMax = (uint64_t(1) << 31) - 4;

std::string text(wgpu::StringView view) { return std::string(std::string_view(view)); }

/// Holds back what drivers print to stderr while they are probed: loaders complain there about absent displays, which
/// is nothing to a compute program. RAVENWING_DRIVER_MESSAGES=1 lets it through.
class QuietStderr {
 public:
  QuietStderr() {
    if (std::getenv("RAVENWING_DRIVER_MESSAGES") != nullptr) return;
    std::fflush(stderr);
    saved_ = dup(STDERR_FILENO);
    const int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (null >= 0) {
      dup2(null, STDERR_FILENO);
      close(null);
    }
  }
  ~QuietStderr() {
    if (saved_ < 0) return;
    std::fflush(stderr);
    dup2(saved_, STDERR_FILENO);
    close(saved_);
  }
  QuietStderr(const QuietStderr&) = delete;
  QuietStderr& operator=(const QuietStderr&) = delete;

 private:
  int saved_ = -1;
};

wgpu::Instance create_instance() {
  // Subgroup matrices and immediates are behind this toggle; the shaders are our own.
  const char* toggles[] = {"allow_unsafe_apis"};
  wgpu::DawnTogglesDescriptor toggles_descriptor;
  toggles_descriptor.enabledToggles = toggles;
  toggles_descriptor.enabledToggleCount = 1;
  const wgpu::InstanceFeatureName features[] = {wgpu::InstanceFeatureName::TimedWaitAny};
  wgpu::InstanceDescriptor descriptor;
  descriptor.nextInChain = &toggles_descriptor;
  descriptor.requiredFeatures = features;
  descriptor.requiredFeatureCount = 1;
  return wgpu::CreateInstance(&descriptor);
}

std::string_view backend_name(wgpu::BackendType type) {
  switch (type) {
    case wgpu::BackendType::Vulkan:
      return "Vulkan";
    case wgpu::BackendType::Metal:
      return "Metal";
    case wgpu::BackendType::D3D12:
      return "D3D12";
    case wgpu::BackendType::D3D11:
      return "D3D11";
    case wgpu::BackendType::OpenGL:
      return "OpenGL";
    case wgpu::BackendType::OpenGLES:
      return "OpenGLES";
    default:
      return "other";
  }
}

std::string_view type_name(wgpu::AdapterType type) {
  switch (type) {
    case wgpu::AdapterType::DiscreteGPU:
      return "discrete";
    case wgpu::AdapterType::IntegratedGPU:
      return "integrated";
    case wgpu::AdapterType::CPU:
      return "software";
    default:
      return "unknown";
  }
}

bool has_subgroup_id(const wgpu::Instance& instance) {
  wgpu::SupportedWGSLLanguageFeatures supported;
  instance.GetWGSLLanguageFeatures(&supported);
  return std::find(supported.features, supported.features + supported.featureCount,
                   wgpu::WGSLLanguageFeatureName::SubgroupId) != supported.features + supported.featureCount;
}

/// The largest product of f16 that sums in such a type, or zeros.
MatrixShape matrix_shape_of(const wgpu::Adapter& adapter, wgpu::SubgroupMatrixComponentType sums) {
  wgpu::AdapterPropertiesSubgroupMatrixConfigs configs;
  wgpu::AdapterInfo info;
  info.nextInChain = &configs;
  adapter.GetInfo(&info);
  MatrixShape largest;
  for (const wgpu::SubgroupMatrixConfig& config : std::span(configs.configs, configs.configCount)) {
    const bool fits = config.componentType == wgpu::SubgroupMatrixComponentType::F16 &&
                      config.resultComponentType == sums && config.K % 8 == 0 && 64 % config.K == 0;
    if (fits && config.M * config.N * config.K > largest.m * largest.n * largest.k)
      largest = {config.M, config.N, config.K, sums == wgpu::SubgroupMatrixComponentType::F16};
  }
  return largest;
}

FoundAdapter describe(const wgpu::Instance& instance, const wgpu::Adapter& adapter) {
  wgpu::AdapterInfo info;
  adapter.GetInfo(&info);
  wgpu::Limits limits;
  adapter.GetLimits(&limits);
  FoundAdapter found{.instance = instance,
                     .adapter = adapter,
                     .info = {.name = text(info.device),
                              .driver = text(info.description),
                              .vendor = text(info.vendor),
                              .backend = std::string(backend_name(info.backendType)),
                              .type = std::string(type_name(info.adapterType)),
                              .software = info.adapterType == wgpu::AdapterType::CPU,
                              .vendor_id = info.vendorID,
                              .device_id = info.deviceID,
                              .subgroup_size_min = info.subgroupMinSize,
                              .subgroup_size_max = info.subgroupMaxSize,
                              .limits = limits_of(limits)}};
  const std::pair<wgpu::FeatureName, const char*> features[] = {
      {wgpu::FeatureName::ShaderF16, "shader-f16"},
      {wgpu::FeatureName::Subgroups, "subgroups"},
      {wgpu::FeatureName::TimestampQuery, "timestamp-query"},
      {wgpu::FeatureName::ChromiumExperimentalSubgroupMatrix, "chromium-experimental-subgroup-matrix"}};
  for (const auto& [feature, feature_name] : features) {
    if (adapter.HasFeature(feature)) found.info.features.emplace_back(feature_name);
  }
  if (has_subgroup_id(instance)) found.info.features.emplace_back("subgroup-id");
  const auto has = [&](std::string_view wanted) {
    return std::find(found.info.features.begin(), found.info.features.end(), wanted) != found.info.features.end();
  };
  if (has("shader-f16") && has("subgroups") && has("subgroup-id")) found.tier = Tier::t1;
  if (found.tier == Tier::t1 && has("chromium-experimental-subgroup-matrix")) {
    found.f16_sums_shape = matrix_shape_of(adapter, wgpu::SubgroupMatrixComponentType::F16);
    found.matrix_shape = matrix_shape_of(adapter, wgpu::SubgroupMatrixComponentType::F32);
    if (found.matrix_shape.m == 0) found.matrix_shape = found.f16_sums_shape;
    // The kernel gives each subgroup its part of a tile, so it must know how many invocations that is.
    const bool one_size = info.subgroupMinSize == info.subgroupMaxSize;
    if (found.matrix_shape.m != 0 && one_size) found.tier = Tier::t2;
  }
  found.info.tier = name(found.tier);
  return found;
}

/// Where there is no driver, Dawn offers a null adapter that accepts everything and computes nothing.
bool runs_shaders(const wgpu::Adapter& adapter) {
  wgpu::AdapterInfo info;
  adapter.GetInfo(&info);
  return info.backendType == wgpu::BackendType::Vulkan || info.backendType == wgpu::BackendType::Metal ||
         info.backendType == wgpu::BackendType::D3D12;
}

/// Adds what `instance` offers under each power preference: WebGPU has no call that lists adapters.
void add_adapters(const wgpu::Instance& instance, std::vector<FoundAdapter>& found) {
  // Dawn holds f16 back on NVIDIA's Vulkan driver by default; an adapter has to be asked for with it.
  const char* toggles[] = {"allow_unsafe_apis", "vulkan_enable_f16_on_nvidia"};
  wgpu::DawnTogglesDescriptor toggles_descriptor;
  toggles_descriptor.enabledToggles = toggles;
  toggles_descriptor.enabledToggleCount = 2;
  for (const auto power : {wgpu::PowerPreference::HighPerformance, wgpu::PowerPreference::LowPower}) {
    wgpu::RequestAdapterOptions options;
    options.nextInChain = &toggles_descriptor;
    options.powerPreference = power;
    wgpu::Adapter adapter;
    const auto store = [&adapter](wgpu::RequestAdapterStatus, wgpu::Adapter result, wgpu::StringView) {
      adapter = std::move(result);
    };
    instance.WaitAny(instance.RequestAdapter(&options, wgpu::CallbackMode::WaitAnyOnly, store), UINT64_MAX);
    if (!adapter || !runs_shaders(adapter)) continue;
    FoundAdapter candidate = describe(instance, adapter);
    const bool known = std::any_of(found.begin(), found.end(), [&](const FoundAdapter& other) {
      return other.info.name == candidate.info.name && other.info.device_id == candidate.info.device_id &&
             other.info.backend == candidate.info.backend;
    });
    if (!known) found.push_back(std::move(candidate));
  }
}

/// Points the Vulkan loader at the software driver that set-up unpacked. False where there is none.
bool use_software_driver() {
  const auto icd = find_resource("mesa/lvp_icd.json");
  if (!icd) return false;
  // The driver wants a newer libdrm than the system's: having its own loaded first satisfies that.
  dlopen((icd->parent_path() / "lib/libdrm.so.2").c_str(), RTLD_NOW | RTLD_GLOBAL);
  setenv("VK_DRIVER_FILES", icd->c_str(), 1);
  setenv("VK_ICD_FILENAMES", icd->c_str(), 1);
  return true;
}

/// Keeps a hardware driver loaded until the process ends. NVIDIA's takes static TLS whenever it is loaded and gives
/// none back; a process that loads it for each device finds no GPU after thirty.
void keep_driver(const std::vector<FoundAdapter>& found) {
  static const wgpu::Instance* kept = nullptr;
  if (kept == nullptr && !found.empty() && !found.front().info.software)
    kept = new wgpu::Instance(found.front().instance);
}

bool is_index(const std::string& selector) {
  return !selector.empty() &&
         std::all_of(selector.begin(), selector.end(), [](unsigned char c) { return std::isdigit(c); });
}

std::string lower(std::string value) {
  for (char& c : value) c = char(std::tolower(static_cast<unsigned char>(c)));
  return value;
}

}  // namespace

std::vector<FoundAdapter> find_adapters() {
  const QuietStderr quiet;
  std::vector<FoundAdapter> found;
  const wgpu::Instance instance = create_instance();
  if (!instance) fail(ErrorCode::no_device, "[device] the WebGPU library could not be started");
  add_adapters(instance, found);
  keep_driver(found);
  const bool has_software =
      std::any_of(found.begin(), found.end(), [](const FoundAdapter& adapter) { return adapter.info.software; });
  // A driver chosen by the user's environment stays the user's choice.
  const bool user_chose = std::getenv("VK_DRIVER_FILES") != nullptr || std::getenv("VK_ICD_FILENAMES") != nullptr;
  if (!has_software && (!user_chose || found.empty()) && use_software_driver()) add_adapters(create_instance(), found);
  std::stable_sort(found.begin(), found.end(),
                   [](const FoundAdapter& a, const FoundAdapter& b) { return a.info.software < b.info.software; });
  return found;
}

FoundAdapter choose_adapter(const std::string& selector) {
  std::vector<FoundAdapter> found = find_adapters();
  std::vector<std::string> names;
  for (size_t i = 0; i < found.size(); ++i) names.push_back(fmt::format("{}: {}", i, found[i].info.name));
  if (found.empty()) {
    fail(ErrorCode::no_device,
         "[device] no GPU and no software Vulkan driver found: install a GPU driver with Vulkan, or run `make setup` "
         "for "
         "the software driver");
  }
  if (selector.empty()) return found.front();
  if (is_index(selector)) {
    size_t index = found.size();
    std::from_chars(selector.data(), selector.data() + selector.size(), index);
    if (index < found.size()) return found[index];
  } else {
    for (const FoundAdapter& adapter : found) {
      const bool named = lower(adapter.info.name).find(lower(selector)) != std::string::npos;
      if (lower(selector) == "software" ? adapter.info.software : named) return adapter;
    }
  }
  fail(ErrorCode::no_device, "[device] no adapter matches '{}'; there are: {}", selector, fmt::join(names, ", "));
}

DeviceLimits limits_of(const wgpu::Limits& limits) {
  return {.buffer_bytes_max = limits.maxBufferSize,
          .binding_bytes_max = std::min(limits.maxStorageBufferBindingSize, kBindingBytesMax),
          .binding_alignment = limits.minStorageBufferOffsetAlignment,
          .workgroups_per_dimension_max = limits.maxComputeWorkgroupsPerDimension,
          .invocations_per_workgroup_max = limits.maxComputeInvocationsPerWorkgroup,
          .workgroup_storage_bytes_max = limits.maxComputeWorkgroupStorageSize,
          .storage_buffers_per_stage_max = limits.maxStorageBuffersPerShaderStage};
}

}  // namespace ravenwing::gpu

namespace ravenwing {

std::vector<DeviceInfo> list_devices() {
  std::vector<DeviceInfo> devices;
  for (gpu::FoundAdapter& adapter : gpu::find_adapters()) devices.push_back(std::move(adapter.info));
  return devices;
}

}  // namespace ravenwing
