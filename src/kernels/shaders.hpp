// The WGSL files, embedded; with RAVENWING_SHADER_DIR set they are read from that folder instead.
#pragma once

#include <span>
#include <string_view>

#include "gpu/shader.hpp"

namespace ravenwing::kernels {

struct EmbeddedShader {
  std::string_view name, text;
};

std::span<const EmbeddedShader> embedded_shaders();

gpu::ShaderLibrary shader_library();

/// Tells libraries of other texts apart.
uint64_t shaders_hash();

}  // namespace ravenwing::kernels
