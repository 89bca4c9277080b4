// src/kernels/shaders.cpp: the shader library.
#include "kernels/shaders.hpp"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cstdlib>
#include <fstream>
#include <iterator>

namespace ravenwing::kernels {

gpu::ShaderLibrary shader_library() {
  const char* folder = std::getenv("RAVENWING_SHADER_DIR");
  gpu::ShaderLibrary library;
  for (const EmbeddedShader& shader : embedded_shaders()) {
    std::string text(shader.text);
    if (folder != nullptr) {
      std::ifstream file(std::string(folder) + "/" + std::string(shader.name) + ".wgsl");
      if (file) text.assign(std::istreambuf_iterator<char>(file), {});
    }
    library.emplace(shader.name, std::move(text));
  }
  return library;
}

uint64_t shaders_hash() {
  uint64_t hash = 0;
  for (const auto& [name, text] : shader_library())
    hash = XXH3_64bits_withSeed(text.data(), text.size(), XXH3_64bits_withSeed(name.data(), name.size(), hash));
  return hash;
}

}  // namespace ravenwing::kernels
