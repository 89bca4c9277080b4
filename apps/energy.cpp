#include "energy.hpp"

#include <dlfcn.h>

#include <array>
#include <cstdlib>
#include <fstream>
#include <vector>

namespace ravenwing::apps {
namespace {

using Reader = std::function<double()>;

/// Its functions as nvml.h declares them; 0 is success.
struct Nvml {
  using Handle = void*;  // opaque
  int (*init)() = nullptr;
  int (*count)(unsigned*) = nullptr;
  int (*handle)(unsigned, Handle*) = nullptr;
  int (*name)(Handle, char*, unsigned) = nullptr;
  int (*energy)(Handle, unsigned long long*) = nullptr;  // millijoules since the driver was loaded
};

template <typename Function>
bool find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  return function != nullptr;
}

Reader nvml_reader(const DeviceInfo& device, const std::string& library_name) {
  void* library = dlopen(library_name.c_str(), RTLD_NOW | RTLD_LOCAL);  // never closed: the reader goes on using it
  Nvml nvml;
  if (library == nullptr || !find(library, "nvmlInit_v2", nvml.init) ||
      !find(library, "nvmlDeviceGetCount_v2", nvml.count) ||
      !find(library, "nvmlDeviceGetHandleByIndex_v2", nvml.handle) || !find(library, "nvmlDeviceGetName", nvml.name) ||
      !find(library, "nvmlDeviceGetTotalEnergyConsumption", nvml.energy)) {
    return {};
  }
  unsigned n = 0;
  if (nvml.init() != 0 || nvml.count(&n) != 0) return {};
  std::vector<Nvml::Handle> found;
  for (unsigned i = 0; i < n; ++i) {
    Nvml::Handle handle = nullptr;
    std::array<char, 96> name = {};
    if (nvml.handle(i, &handle) == 0 && nvml.name(handle, name.data(), name.size()) == 0 && device.name == name.data())
      found.push_back(handle);
  }
  unsigned long long millijoules = 0;
  if (found.size() != 1 || nvml.energy(found[0], &millijoules) != 0) return {};
  return [energy = nvml.energy, handle = found[0], last = millijoules]() mutable {
    unsigned long long now = 0;
    if (energy(handle, &now) == 0) last = now;
    return double(last) / 1e3;
  };
}

std::string word_of(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::string word;
  file >> word;
  return word;
}

/// power1_average of the one card with the device's ids: microwatts.
std::optional<std::filesystem::path> find_power(const DeviceInfo& device, const std::filesystem::path& sysfs) {
  const auto is = [](const std::filesystem::path& path, uint32_t id) {
    const std::string word = word_of(path);
    return word.starts_with("0x") && std::strtoul(word.c_str(), nullptr, 16) == id;
  };
  std::vector<std::filesystem::path> found;
  std::error_code error;
  for (const auto& card : std::filesystem::directory_iterator(sysfs / "class" / "drm", error)) {
    const std::filesystem::path folder = card.path() / "device";
    // "card0-DP-1" is a plug of card0, "renderD128" the same card once more.
    const std::string name = card.path().filename().string();
    if (!name.starts_with("card") || name.find('-') != name.npos) continue;
    if (!is(folder / "vendor", device.vendor_id) || !is(folder / "device", device.device_id)) continue;
    for (const auto& monitor : std::filesystem::directory_iterator(folder / "hwmon", error)) {
      const std::filesystem::path power = monitor.path() / "power1_average";
      if (!word_of(power).empty()) found.push_back(power);
    }
  }
  return found.size() == 1 ? std::optional(found[0]) : std::nullopt;
}

Reader hwmon_reader(const DeviceInfo& device, const std::filesystem::path& sysfs) {
  const auto power = find_power(device, sysfs);
  if (!power) return {};
  using Clock = std::chrono::steady_clock;
  const auto watts = [path = *power] { return std::strtod(word_of(path).c_str(), nullptr) / 1e6; };
  return [watts, joules = 0.0, last = watts(), then = Clock::now()]() mutable {
    const double now_watts = watts();
    const Clock::time_point now = Clock::now();
    joules += (last + now_watts) / 2 * std::chrono::duration<double>(now - then).count();
    last = now_watts;
    then = now;
    return joules;
  };
}

}  // namespace

std::optional<EnergyMeter> EnergyMeter::open(const DeviceInfo& device, const EnergySources& sources) {
  Reader reader = nvml_reader(device, sources.nvml);
  if (!reader) reader = hwmon_reader(device, sources.sysfs);
  return reader ? std::optional(EnergyMeter(std::move(reader))) : std::nullopt;
}

}  // namespace ravenwing::apps
