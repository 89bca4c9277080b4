// src/kernels/shaders.cpp: the shader library.
#include "kernels/shaders.hpp"

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

}  // namespace ravenwing::kernels
