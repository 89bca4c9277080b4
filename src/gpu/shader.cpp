// src/gpu/shader.cpp: the WGSL linker and the pipeline cache.
#include "gpu/shader.hpp"

#include <algorithm>
#include <charconv>
#include <set>

namespace ravenwing::gpu {
namespace {

constexpr uint32_t kImmediateBytes = 64;  // WebGPU's default maxImmediateSize

[[noreturn]] void bug(const std::string& message) { throw std::logic_error("[wgsl] " + message); }

[[noreturn]] void fail_to_compile(const ShaderVariant& variant, std::string_view message) {
  throw CompileError(fmt::format("[wgsl] {} does not compile: {}", variant.shader, message));
}

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
    add_lines(file->second);
    open_.erase(name);
  }

  void add_lines(std::string_view text) {
    while (!text.empty()) {
      std::string_view rest = cut_line(text);
      const std::string_view line = rest;
      if (word(rest) == "//@repeat") {
        const std::string index(word(rest)), count(word(rest));
        repeat(cut_block(text), index, count);
      } else {
        add_line(line);
      }
    }
  }

  void repeat(std::string_view block, const std::string& index, const std::string& count) {
    const auto found = constants_.find(count);
    if (found == constants_.end()) bug(fmt::format("{}: no constant {} to repeat by", variant_.shader, count));
    for (uint32_t i = 0; i < found->second; ++i) {
      std::string lines(block);
      for (size_t at; (at = lines.find("$" + index)) != std::string::npos;)
        lines.replace(at, 1 + index.size(), std::to_string(i));
      add_lines(lines);
    }
  }

  static std::string_view cut_line(std::string_view& text) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    return line;
  }

  /// Up to the line `//@end` of the block that is open, which may hold others.
  std::string_view cut_block(std::string_view& text) {
    const std::string_view block = text;
    for (size_t depth = 1; !text.empty();) {
      std::string_view line = cut_line(text);
      const size_t size = size_t(line.data() - block.data());
      const std::string_view first = word(line);
      if (first == "//@repeat") ++depth;
      if (first == "//@end" && --depth == 0) return block.substr(0, size);
    }
    bug(fmt::format("{}: a //@repeat without its //@end", variant_.shader));
  }

  void add_line(std::string_view line) {
    std::string_view rest = line;
    const std::string_view first = word(rest);
    if (first == "//@import") {
      include(std::string(word(rest)));
    } else if (first == "//@const") {
      const std::string name(word(rest));
      const std::string_view text = word(rest);
      uint32_t value = 0;
      std::from_chars(text.data(), text.data() + text.size(), value);
      for (const auto& [constant, replacement] : variant_.constants) {
        if (constant == name) value = replacement;
      }
      if (!constants_.emplace(name, value).second) bug(fmt::format("constant {} is defined twice", name));
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
  std::set<std::string> included_, open_, functions_;
  std::map<std::string, uint32_t> constants_;
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
  if (!pending.result->pipeline) fail_to_compile(variant, pending.result->message);
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
    fail_to_compile(variant, error.what());
  }
  return pending;
}

}  // namespace ravenwing::gpu
