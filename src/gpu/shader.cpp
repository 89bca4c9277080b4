// src/gpu/shader.cpp: the WGSL linker and the pipeline cache.
#include "gpu/shader.hpp"

#include <algorithm>
#include <charconv>
#include <set>

namespace ravenwing::gpu {
namespace {

constexpr uint32_t kImmediateBytes = 64;  // WebGPU's default maxImmediateSize

[[noreturn]] void bug(const std::string& message) { throw std::logic_error("[wgsl] " + message); }

std::string_view word(std::string_view& line) {
  line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
  const std::string_view result = line.substr(0, line.find_first_of(" \t("));
  line.remove_prefix(result.size());
  return result;
}

class Linker {
 public:
  Linker(const ShaderLibrary& library, const ShaderVariant& variant) : library_(library), variant_(variant) {}

  std::string link() {
    include(std::string(variant_.shader));
    for (const auto& [name, value] : variant_.constants) {
      if (!constants_.contains(std::string(name))) bug(fmt::format("{} has no constant {}", variant_.shader, name));
    }
    return head_ + body_;
  }

 private:
  void include(const std::string& role) {
    std::string name = role;
    for (const auto& [module_role, file] : variant_.modules) {
      if (module_role == role) name = file;
    }
    if (!included_.insert(name).second) {
      if (open_.contains(name)) bug(fmt::format("{} imports itself", name));
      return;
    }
    const auto file = library_.find(name);
    if (file == library_.end()) bug(fmt::format("no shader named {}", name));
    open_.insert(name);
    std::string_view text = file->second;
    while (!text.empty()) {
      const size_t end = std::min(text.find('\n'), text.size());
      add_line(text.substr(0, end));
      text.remove_prefix(std::min(end + 1, text.size()));
    }
    open_.erase(name);
  }

  void add_line(std::string_view line) {
    std::string_view rest = line;
    const std::string_view first = word(rest);
    if (first == "//@import") {
      include(std::string(word(rest)));
    } else if (first == "//@const") {
      const std::string name(word(rest));
      std::string value(word(rest));
      for (const auto& [constant, replacement] : variant_.constants) {
        if (constant == name) value = std::to_string(replacement);
      }
      if (!constants_.insert(name).second) bug(fmt::format("constant {} is defined twice", name));
      body_ += fmt::format("const {}: u32 = {}u;\n", name, value);
    } else if (first == "enable" || first == "requires" || first == "diagnostic") {
      if (head_.find(line) == std::string::npos) head_ += fmt::format("{}\n", line);
    } else {
      if (first == "fn" && !functions_.insert(std::string(word(rest))).second) {
        bug(fmt::format("{}: defined twice: {}", variant_.shader, line));
      }
      body_ += line;
      body_ += '\n';
    }
  }

  const ShaderLibrary& library_;
  const ShaderVariant& variant_;
  std::string head_, body_;
  std::set<std::string> included_, open_, constants_, functions_;
};

wgpu::BufferBindingType binding_type(Access access) {
  switch (access) {
    case Access::read:
      return wgpu::BufferBindingType::ReadOnlyStorage;
    case Access::read_write:
      return wgpu::BufferBindingType::Storage;
    case Access::uniform:
      return wgpu::BufferBindingType::Uniform;
  }
  RAVENWING_CHECK(false);
  return wgpu::BufferBindingType::Undefined;
}

}  // namespace

std::string link_wgsl(const ShaderLibrary& library, const ShaderVariant& variant) {
  return Linker(library, variant).link();
}

void PipelineCache::prepare(const ShaderVariant& variant) {
  if (!pipelines_.contains(variant) && !pending_.contains(variant)) pending_.emplace(variant, begin(variant));
}

const Pipeline& PipelineCache::get(const ShaderVariant& variant) {
  const auto found = pipelines_.find(variant);
  if (found != pipelines_.end()) return found->second;
  prepare(variant);
  const Pending pending = std::move(pending_.extract(variant).mapped());
  device_.wait(pending.future);
  device_.check();
  if (!pending.result->pipeline) bug(fmt::format("{} does not compile: {}", variant.shader, pending.result->message));
  return pipelines_.emplace(variant, Pipeline{pending.result->pipeline, pending.layout}).first->second;
}

PipelineCache::Pending PipelineCache::begin(const ShaderVariant& variant) const {
  const wgpu::Device& device = device_.handle();
  const std::string wgsl = link_wgsl(library_, variant);
  wgpu::ShaderSourceWGSL source;
  source.code = std::string_view(wgsl);
  wgpu::ShaderModuleDescriptor module_descriptor;
  module_descriptor.nextInChain = &source;
  module_descriptor.label = variant.shader;

  std::vector<wgpu::BindGroupLayoutEntry> entries(variant.bindings.size());
  for (size_t i = 0; i < entries.size(); ++i) {
    entries[i].binding = uint32_t(i);
    entries[i].visibility = wgpu::ShaderStage::Compute;
    entries[i].buffer.type = binding_type(variant.bindings[i]);
  }
  wgpu::BindGroupLayoutDescriptor layout_descriptor;
  layout_descriptor.entryCount = entries.size();
  layout_descriptor.entries = entries.data();
  Pending pending;
  pending.layout = device.CreateBindGroupLayout(&layout_descriptor);
  wgpu::PipelineLayoutDescriptor pipeline_layout_descriptor;
  pipeline_layout_descriptor.bindGroupLayoutCount = 1;
  pipeline_layout_descriptor.bindGroupLayouts = &pending.layout;
  pipeline_layout_descriptor.immediateSize = kImmediateBytes;

  wgpu::ComputePipelineDescriptor descriptor;
  descriptor.label = variant.shader;
  descriptor.layout = device.CreatePipelineLayout(&pipeline_layout_descriptor);
  descriptor.compute.module = device.CreateShaderModule(&module_descriptor);
  descriptor.compute.entryPoint = "main";
  pending.result = std::make_shared<Pending::Result>();
  const auto store = [result = pending.result](wgpu::CreatePipelineAsyncStatus, wgpu::ComputePipeline pipeline,
                                               wgpu::StringView message) {
    result->pipeline = std::move(pipeline);
    result->message = std::string(std::string_view(message));
  };
  pending.future = device.CreateComputePipelineAsync(&descriptor, wgpu::CallbackMode::WaitAnyOnly, store);
  try {
    device_.check();
  } catch (const std::logic_error& error) {
    bug(fmt::format("{} does not compile: {}", variant.shader, error.what()));
  }
  return pending;
}

}  // namespace ravenwing::gpu
