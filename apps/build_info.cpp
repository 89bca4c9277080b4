#include "build_info.hpp"

#include <fmt/format.h>

namespace ravenwing::apps {

std::string version_text() {
  const BuildInfo& info = build_info();
  return fmt::format(
      "ravenwing {} (commit {}{}{})\n"
      "Compiler: {}\n"
      "Built for WebGPU library: {}, SHA-256 {}\n",
      info.version, info.commit, info.date.empty() ? "" : ", ", info.date, info.compiler, info.webgpu,
      info.webgpu_sha256);
}

}  // namespace ravenwing::apps
