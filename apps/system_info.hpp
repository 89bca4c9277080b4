// What `doctor` finds out about the machine without WebGPU.
#pragma once

#include <string>

namespace ravenwing::apps {

/// "Debian GNU/Linux 12 (bookworm), Linux 6.1.0 x86_64"
std::string operating_system();
/// "1.3.239, /usr/lib/.../libvulkan.so.1", or why there is none.
std::string vulkan_loader();
/// Path and SHA-256 of the WebGPU library in this process.
std::string webgpu_library();

}  // namespace ravenwing::apps
