// src/kernels/step.cpp: the variants of a tier.
#include "kernels/step.hpp"

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

}  // namespace ravenwing::kernels
