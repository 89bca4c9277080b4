// What a GPU takes from the mains, where its driver tells.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "ravenwing/device_info.hpp"

namespace ravenwing::apps {

/// Where to ask; tests have places of their own.
struct EnergySources {
  std::string nvml = "libnvidia-ml.so.1";  // NVIDIA's management library
  std::filesystem::path sysfs = "/sys";    // the kernel's hwmon, in which amdgpu tells a power
};

class EnergyMeter {
 public:
  /// None where nobody tells, or where the machine has several GPUs of this name and one cannot be told from another.
  static std::optional<EnergyMeter> open(const DeviceInfo& device, const EnergySources& sources = {});
  /// Since some time in the past. A power is integrated over the calls, so there should be several a second.
  double joules() { return read_(); }

 private:
  explicit EnergyMeter(std::function<double()> read) : read_(std::move(read)) {}
  std::function<double()> read_;
};

}  // namespace ravenwing::apps
