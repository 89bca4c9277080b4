// src/gpu/plan.cpp: recording dispatches and encoding them.
#include "gpu/plan.hpp"

#include "base/bytes.hpp"

namespace ravenwing::gpu {

Grid folded_grid(uint64_t n, uint32_t z, uint32_t dimension_max) {
  if (n <= dimension_max) return {uint32_t(n), 1, z};
  const uint64_t rows = divide_up(n, dimension_max);
  RAVENWING_CHECK(rows <= dimension_max);
  return {uint32_t(divide_up(n, rows)), uint32_t(rows), z};
}

void encode(const wgpu::ComputePassEncoder& pass, const Dispatch& dispatch) {
  pass.SetPipeline(dispatch.pipeline);
  pass.SetBindGroup(0, dispatch.bindings);
  pass.SetImmediates(0, dispatch.immediates.data(), dispatch.n_immediates * 4);
  pass.DispatchWorkgroups(dispatch.grid.x, dispatch.grid.y, dispatch.grid.z);
}

void Plan::encode_section(const wgpu::ComputePassEncoder& pass, size_t section) const {
  const bool last = section + 1 == sections_.size();
  encode(pass, sections_[section], last ? dispatches_.size() : sections_[section + 1]);
}

void Plan::encode(const wgpu::ComputePassEncoder& pass, size_t begin, size_t end) const {
  for (size_t i = begin; i < end; ++i) gpu::encode(pass, dispatches_[i]);
}

void Plan::encode_pass(const wgpu::CommandEncoder& encoder, size_t begin, size_t end) const {
  const wgpu::ComputePassEncoder pass = encoder.BeginComputePass();
  encode(pass, begin, end);
  pass.End();
}

void Recorder::add(Dispatch dispatch, ShaderVariant variant, const std::vector<Binding>& bindings) {
  for (const Binding& binding : bindings) variant.bindings.push_back(binding.access);
  if (plan_ == nullptr) return cache_.prepare(variant);
  const Pipeline& pipeline = cache_.get(variant);
  std::vector<wgpu::BindGroupEntry> entries(bindings.size());
  for (size_t i = 0; i < bindings.size(); ++i) {
    entries[i].binding = uint32_t(i);
    entries[i].buffer = bindings[i].view.buffer;
    entries[i].offset = bindings[i].view.offset;
    entries[i].size = round_up(bindings[i].view.size, 4);
  }
  wgpu::BindGroupDescriptor descriptor;
  descriptor.layout = pipeline.layout;
  descriptor.entryCount = entries.size();
  descriptor.entries = entries.data();
  dispatch.pipeline = pipeline.handle;
  dispatch.bindings = device().handle().CreateBindGroup(&descriptor);
  plan_->add(std::move(dispatch));
}

}  // namespace ravenwing::gpu
