// Shaders: the library of WGSL files, linking their imports, and the cache of compiled pipelines.
#pragma once

#include <compare>
#include <map>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gpu/device.hpp"

namespace ravenwing::gpu {

enum class Access : uint8_t { read, read_write, uniform };

/// All that tells one compiled pipeline from another: typed values only, so it is the cache's key as it stands.
struct ShaderVariant {
  std::string_view shader;                                               // file name without .wgsl
  std::vector<std::pair<std::string_view, std::string_view>> modules{};  // role -> file: {"format", "format_q4_k"}
  std::vector<std::pair<std::string_view, uint32_t>> constants{};  // replaces the default of `//@const NAME value`
  std::vector<Access> bindings{};                                  // @group(0), in order
  auto operator<=>(const ShaderVariant&) const = default;
};

/// Name and text of the WGSL files.
using ShaderLibrary = std::map<std::string, std::string, std::less<>>;

/// The WGSL of a variant. Line forms beside plain WGSL:
///   //@import ROLE          the module that the variant gives for ROLE, else the file named ROLE; each once
///   //@import ROLE as SUFFIX  the same, and what a file with a line //@template declares is called so: NAME + SUFFIX.
///   Such
///                         a file, and those like it that it imports, can be imported once for each suffix; their
///                         roles may be given with it: {"format_0", "format_q4_k"} for //@import format as _0
///   //@const NAME value     const NAME: u32 = <the variant's value, else this one>
///   //@repeat I NAME ... //@end
///                           the lines between, once for each value below the constant NAME, which stands for $I
/// `enable`, `requires` and `diagnostic` lines are hoisted. Throws std::logic_error for an unknown module or constant,
/// an import cycle, or a function that two modules define.
std::string link_wgsl(const ShaderLibrary& library, const ShaderVariant& variant);

struct Pipeline {
  wgpu::ComputePipeline handle;
  wgpu::BindGroupLayout layout;
};

/// A shader that does not compile: a bug of ours or of the driver. Has the compiler's message.
struct CompileError : std::logic_error {
  using std::logic_error::logic_error;
};

/// Compiles each variant once. Throws CompileError.
class PipelineCache {
 public:
  PipelineCache(Device& device, ShaderLibrary library) : device_(device), library_(std::move(library)) {}
  /// Begins to compile a variant in the background, if nobody did before.
  void prepare(const ShaderVariant& variant);
  /// Waits for what is being compiled.
  const Pipeline& get(const ShaderVariant& variant);
  size_t size() const { return pipelines_.size(); }
  Device& device() const { return device_; }

 private:
  /// On its way: `result` is filled by a callback, which may come when the cache is gone.
  struct Pending {
    struct Result {
      wgpu::ComputePipeline pipeline;
      std::string message;
    };
    wgpu::BindGroupLayout layout;
    wgpu::Future future{};
    std::shared_ptr<Result> result;
  };

  Pending begin(const ShaderVariant& variant) const;

  Device& device_;
  ShaderLibrary library_;
  std::map<ShaderVariant, Pipeline> pipelines_;
  std::map<ShaderVariant, Pending> pending_;
};

}  // namespace ravenwing::gpu
