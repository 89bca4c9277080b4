// src/gpu/shader.cpp: the WGSL linker and the pipeline cache.
#include "gpu/shader.hpp"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <set>
#include <utility>

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
  /// The file that plays a role: its name and text. Within a template the role may be given for its suffix alone.
  ShaderLibrary::const_iterator file_of(const std::string& role) const {
    std::string name = role;
    for (const auto& [module_role, file] : variant_.modules) {
      if (module_role == role && name == role) name = file;
      if (!suffix_.empty() && module_role == role + suffix_) name = file;
    }
    const auto file = library_.find(name);
    if (file == library_.end()) bug(fmt::format("no shader named {}", name));
    return file;
  }

  static bool is_template(std::string_view text) { return text.find("//@template\n") != text.npos; }

  /// A template stands once for each suffix that its importers give it; other files stand once.
  void include(const std::string& role) {
    const auto& [name, text] = *file_of(role);
    const std::string instance = is_template(text) ? name + suffix_ : name;
    if (!included_.insert(instance).second) {
      if (open_.contains(instance)) bug(fmt::format("{} imports itself", name));
      return;
    }
    open_.insert(instance);
    add_lines(is_template(text) ? with_suffix(text) : text);
    open_.erase(instance);
  }

  void include_as(const std::string& role, const std::string& suffix) {
    const std::string before = std::exchange(suffix_, suffix);
    const std::set<std::string> names_before = std::exchange(suffixed_, {});
    std::set<std::string> seen;
    declared_names(role, seen);
    include(role);
    suffix_ = before;
    suffixed_ = names_before;
  }

  /// What a template and those it imports declare.
  void declared_names(const std::string& role, std::set<std::string>& seen) {
    const auto& [name, text] = *file_of(role);
    if (!is_template(text) || !seen.insert(name).second) return;
    for (std::string_view rest = text; !rest.empty();) {
      std::string_view line = cut_line(rest);
      const std::string_view first = word(line);
      if (first == "//@import") declared_names(std::string(word(line)), seen);
      if (first == "fn" || first == "struct" || first == "alias" || first == "const") suffixed_.emplace(word(line));
    }
  }

  std::string with_suffix(std::string_view text) const {
    const auto in_name = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; };
    std::string result;
    for (size_t at = 0; at < text.size();) {
      size_t end = at;
      while (end < text.size() && in_name(text[end])) ++end;
      const std::string name(text.substr(at, std::max<size_t>(end - at, 1)));
      result += name;
      if (suffixed_.contains(name)) result += suffix_;
      at += name.size();
    }
    return result;
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
      const std::string role(word(rest));
      if (word(rest) == "as")
        include_as(role, std::string(word(rest)));
      else
        include(role);
    } else if (first == "//@template") {
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
  std::string suffix_;              // of the templates that are being included
  std::set<std::string> suffixed_;  // names that get it
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
