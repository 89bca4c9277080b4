// src/kernels/step.cpp: the variants of a tier.
#include "kernels/step.hpp"

#include <algorithm>

#include "base/bytes.hpp"

namespace ravenwing::kernels {

gpu::ShaderVariant Context::variant(std::string_view shader) const {
  gpu::ShaderVariant variant;
  variant.shader = shader;
  variant.modules = {{"act", tier() == gpu::Tier::t0 ? "act_f32" : "act_f16"}};
  variant.constants = {{"TOKENS_MAX", buffers.tokens_max}};
  return variant;
}

gpu::ShaderVariant Context::reducing_variant(std::string_view shader, uint32_t workgroup_size) const {
  gpu::ShaderVariant result = variant(shader);
  result.modules.emplace_back("reduce", tier() == gpu::Tier::t0 ? "reduce_workgroup" : "reduce_subgroup");
  result.constants.emplace_back("WORKGROUP_SIZE", workgroup_size);
  return result;
}

gpu::ShaderVariant Context::row_variant(std::string_view shader, uint32_t n_items) const {
  const gpu::Device& device = recorder.device();
  // A row's loads wait for memory together, the more the better; software Vulkan is slow at barriers of many.
  const uint32_t lanes = device.info().software ? 128 : std::min(512u, device.limits().invocations_per_workgroup_max);
  gpu::ShaderVariant result = reducing_variant(shader, lanes);
  result.constants.emplace_back("EACH", divide_up(n_items, lanes));
  return result;
}

std::pair<std::string_view, std::string_view> stored_module(StateStorage storage) {
  return {"stored", storage == StateStorage::f16 ? "stored_f16" : "stored_f32"};
}

}  // namespace ravenwing::kernels
