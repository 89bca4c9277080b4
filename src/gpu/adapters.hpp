// Finding adapters: hardware first, then the software Vulkan driver.
#pragma once

#include "gpu/device.hpp"

namespace ravenwing::gpu {

struct FoundAdapter {
  wgpu::Instance instance;
  wgpu::Adapter adapter;
  DeviceInfo info;
  Tier tier = Tier::t0;  // the best that it can do
  MatrixShape matrix_shape, f16_sums_shape;  // the one to use; one that sums in f16
};

/// Every adapter that WebGPU offers, each once, hardware before software.
std::vector<FoundAdapter> find_adapters();

DeviceLimits limits_of(const wgpu::Limits& limits);

/// The adapter a selector names (DeviceOptions). Throws Error{no_device} with the list of those there are.
FoundAdapter choose_adapter(const std::string& selector);

}  // namespace ravenwing::gpu
