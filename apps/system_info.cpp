#include "system_info.hpp"

#include <dlfcn.h>
#include <fmt/format.h>
#include <sha2.h>
#include <sys/utsname.h>

#include <array>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <string_view>

namespace ravenwing::apps {
namespace {

/// The path of a library that this process has mapped; "" if there is none of these names.
std::string mapped_library(std::initializer_list<std::string_view> names) {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    const size_t begin = line.find('/');
    if (begin == line.npos) continue;
    const std::filesystem::path path = line.substr(begin);
    for (const std::string_view name : names) {
      if (path.filename().string().starts_with(name)) return path.string();
    }
  }
  return {};
}

/// PRETTY_NAME="..." of /etc/os-release.
std::string distribution() {
  std::ifstream file("/etc/os-release");
  constexpr std::string_view kKey = "PRETTY_NAME=";
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with(kKey)) continue;
    std::string name = line.substr(kKey.size());
    std::erase(name, '"');
    return name;
  }
  return "unknown distribution";
}

}  // namespace

std::string operating_system() {
  utsname names = {};
  uname(&names);
  return fmt::format("{}, {} {} {}", distribution(), names.sysname, names.release, names.machine);
}

std::string vulkan_loader() {
  // Never closed: drivers that it loaded do not survive that.
  void* loader = dlopen("libvulkan.so.1", RTLD_NOW | RTLD_LOCAL);
  if (loader == nullptr) return fmt::format("not found ({})", dlerror());
  uint32_t version = 0;
  using EnumerateVersion = int32_t (*)(uint32_t*);
  const auto enumerate = reinterpret_cast<EnumerateVersion>(dlsym(loader, "vkEnumerateInstanceVersion"));
  // Loaders of Vulkan 1.0 lack the function.
  if (enumerate == nullptr || enumerate(&version) != 0) version = 1u << 22;
  return fmt::format("{}.{}.{}, {}", version >> 22 & 0x7F, version >> 12 & 0x3FF, version & 0xFFF,
                     mapped_library({"libvulkan.so"}));
}

std::string webgpu_library() {
  const std::string path = mapped_library({"liblitert-lm.so", "libwebgpu_dawn.so"});
  if (path.empty()) return "not found";
  std::array<char, SHA256_DIGEST_STRING_LENGTH> hash = {};
  if (SHA256File(path.c_str(), hash.data()) == nullptr) return path + ", unreadable";
  return fmt::format("{}, SHA-256 {}", path, hash.data());
}

}  // namespace ravenwing::apps
