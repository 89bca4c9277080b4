// Which build this is.
#pragma once

#include <string>
#include <string_view>

namespace ravenwing::apps {

/// Filled in by cmake/build_info.cmake.
struct BuildInfo {
  std::string_view version;   // "0.1.0"
  std::string_view commit;    // "1a2b3c4d5e6f", "1a2b3c4d5e6f-dirty"; "unknown" outside of git
  std::string_view date;      // of the commit, "2026-11-21"; may be empty
  std::string_view compiler;  // "GNU 12.2.0, Release"
  std::string_view webgpu;    // the WebGPU library's version, "litert-lm-api==0.18.1"
  std::string_view webgpu_sha256;
};
const BuildInfo& build_info();

/// What `--version` writes and `doctor` begins with; three lines.
std::string version_text();

}  // namespace ravenwing::apps
