// What a GPU is and offers.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#pragma GCC visibility push(default)  // what the shared library shows
namespace ravenwing {

/// What an adapter offers, or what an open device was given.
struct DeviceLimits {
  uint64_t buffer_bytes_max = 0;
  uint64_t binding_bytes_max = 0;  // of one storage binding
  uint32_t binding_alignment = 256;
  uint32_t workgroups_per_dimension_max = 0;
  uint32_t invocations_per_workgroup_max = 0;
  uint32_t workgroup_storage_bytes_max = 0;
  uint32_t storage_buffers_per_stage_max = 0;
};

/// An adapter, or the device opened on one.
struct DeviceInfo {
  std::string name;     // "NVIDIA H200"
  std::string driver;   // name and version as the driver tells them
  std::string vendor;   // "nvidia"
  std::string backend;  // "Vulkan", "Metal", "D3D12"
  std::string type;     // "discrete", "integrated", "software", "unknown"
  bool software = false;
  std::string tier;  // of an adapter the best it can do, of an open device the one in use: "T0", "T1"
  /// Of an open device: why it is not the adapter's best tier, "T2 gave wrong numbers (...): T1 is used"; else "".
  std::string fallback;
  bool validated = true;  // of an open device: WebGPU checks calls and indices (EngineOptions::safe)
  uint32_t vendor_id = 0, device_id = 0;
  uint32_t subgroup_size_min = 0, subgroup_size_max = 0;
  DeviceLimits limits;
  std::vector<std::string> features;
};

/// All adapters, hardware first. Throws Error{no_device} if the WebGPU library does not start; none found is an empty
/// list.
std::vector<DeviceInfo> list_devices();

}  // namespace ravenwing
#pragma GCC visibility pop
