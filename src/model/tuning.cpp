// src/model/tuning.cpp
#include "model/tuning.hpp"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <set>

#include "base/resources.hpp"
#include "kernels/shaders.hpp"
#include "ravenwing/engine.hpp"

namespace ravenwing {
namespace {

using format::WeightFormat;

constexpr uint32_t kSizes[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512};
/// Rows of logits that steps ask for; more are rare.
constexpr uint32_t kOutputsMax = 64;
/// Texts in one step; the states of more are large.
constexpr uint32_t kTextsMax = 64;
constexpr uint32_t kChunkMin = 64;

/// A group of matrices, by format.
class Products {
 public:
  void add(TunedProduct like, std::span<const std::pair<const rwkv7::MatrixSource*, WeightFormat>> matrices) {
    std::set<WeightFormat> formats;
    for (const auto& [matrix, format] : matrices) formats.insert(format);
    uint32_t n_in_max = 0;
    for (const auto& [matrix, format] : matrices) n_in_max = std::max(n_in_max, matrix->n_in);
    for (const WeightFormat format : formats) {
      kernels::MatMulKey key{format, 0, n_in_max, 0};
      like.format = format;
      like.matrices.clear();
      for (const auto& [matrix, its_format] : matrices) {
        if (its_format != format) continue;
        like.matrices.push_back({matrix->n_out, matrix->n_in});
        key.n_rows += matrix->n_out;
      }
      // Where another format has the longest inputs this group is not met by itself.
      const auto reaches = [&](const TunedProduct::Matrix& matrix) { return matrix.n_in == n_in_max; };
      if (std::ranges::any_of(like.matrices, reaches) && seen_.insert(key).second) found.emplace_back(key, like);
    }
  }
  std::vector<std::pair<kernels::MatMulKey, TunedProduct>> found;

 private:
  std::set<kernels::MatMulKey> seen_;
};

std::vector<std::pair<kernels::MatMulKey, TunedProduct>> products_of(const rwkv7::ModelSource& source,
                                                                     std::span<const WeightFormat> low_rank_formats) {
  using Group = std::vector<std::pair<const rwkv7::MatrixSource*, WeightFormat>>;
  const auto own = [](std::initializer_list<const rwkv7::MatrixSource*> matrices) {
    Group group;
    for (const rwkv7::MatrixSource* matrix : matrices) group.emplace_back(matrix, matrix->tensor->format);
    return group;
  };
  Products products;
  for (size_t i = 0; i < source.layers.size(); ++i) {
    const rwkv7::LayerSource& layer = source.layers[i];
    products.add({}, own({&layer.receptance, &layer.key, &layer.value}));
    Group down, up;
    for (const rwkv7::LowRankSource* pair : {&layer.w, &layer.a, &layer.v, &layer.g}) {
      if (!pair->down) continue;
      down.emplace_back(&pair->down, low_rank_formats[i]);
      up.emplace_back(&pair->up, low_rank_formats[i]);
    }
    products.add({}, down);
    products.add({}, up);
    products.add({.output_f32 = true, .accumulate = true}, own({&layer.output}));
    products.add({}, own({&layer.ffn_key}));
    products.add({.output_f32 = true, .accumulate = true, .of_squares = true}, own({&layer.ffn_value}));
  }
  products.add({.output_f32 = true, .over_outputs = true}, own({&source.head}));
  return products.found;
}

}  // namespace

TuningFile tuning_file_of(const gpu::Device& device) {
  const DeviceInfo& info = device.info();
  // One file for what a user has several of, a new one in its place when what it holds for has changed.
  const std::string kept =
      fmt::format("{} {:04x}:{:04x} {}; {}{}{}", info.name, info.vendor_id, info.device_id, info.backend, info.tier,
                  info.validated ? ", checked" : "", device.matrix_shape().f16_sums ? ", sums in f16" : "");
  const std::string key = fmt::format("{}; driver {}; WebGPU {}; shaders {:016x}", kept, info.driver, gpu::library_id(),
                                      kernels::shaders_hash());
  std::filesystem::path path;
  if (const auto folder = cache_folder())
    path = *folder / "tuning" / fmt::format("{:016x}", XXH3_64bits(kept.data(), kept.size()));
  return TuningFile(path, key);
}

TunedChoices choices_of(const TuningFile& file, const gpu::Device& device) {
  TunedChoices result;
  for (const auto& [subject, entry] : file.entries()) {
    if (entry.choice == TuningEntry::kDefault || subject.starts_with("chunk:")) continue;
    if (!kernels::add_named(result.kernels, device, subject, entry.choice)) ++result.n_refused;
  }
  return result;
}

std::string chunk_subject(const rwkv7::Config& config) {
  return fmt::format("chunk:{}x{}x{}", config.n_layer, config.n_embd, config.n_ffn);
}

std::optional<uint32_t> tuned_chunk(const TuningFile& file, const rwkv7::Config& config) {
  const TuningEntry* entry = file.find(chunk_subject(config));
  if (entry == nullptr) return std::nullopt;
  const std::string& text = entry->choice;
  uint32_t chunk = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), chunk);
  const bool good = error == std::errc() && end == text.data() + text.size() && std::has_single_bit(chunk) &&
                    chunk >= kChunkMin && chunk <= EngineOptions::kChunkMax;
  return good ? std::optional(chunk) : std::nullopt;
}

std::vector<TuningJob> tuning_jobs(const rwkv7::ModelSource& source, std::span<const WeightFormat> low_rank_formats,
                                   std::span<const uint32_t> sizes) {
  const auto products = products_of(source, low_rank_formats);
  const rwkv7::Config& config = source.config;
  std::vector<TuningJob> jobs;
  const auto add_time_mix = [&](uint32_t n_chunks, uint32_t n_tokens) {
    const kernels::TimeMixKey key{config.n_embd, config.head_size, n_chunks, n_tokens};
    jobs.push_back({name(key), key, {}});
  };
  for (const uint32_t size : sizes.empty() ? std::span<const uint32_t>(kSizes) : sizes) {
    for (const auto& [key, product] : products) {
      if (product.over_outputs && size > kOutputsMax) continue;
      kernels::MatMulKey of_size = key;
      of_size.n_columns = size;
      jobs.push_back({name(of_size), of_size, product});
    }
    add_time_mix(1, size);
    if (size > 1 && size <= kTextsMax) add_time_mix(size, size);
  }
  return jobs;
}

}  // namespace ravenwing
