// src/kernels/tuning.cpp: choices, their names, and which of them a device has.
#include "kernels/tuning.hpp"

#include <algorithm>
#include <bit>
#include <charconv>

namespace ravenwing::kernels {
namespace {

constexpr std::string_view kTeams[] = {"automatic", "subgroup", "workgroup"};
constexpr std::string_view kForms[] = {"blocks", "tokens", "pairs", "wy"};
constexpr uint32_t kVecColumnsMax = 8;
constexpr uint32_t kVecLanes[] = {32, 64, 128, 256};
/// Of a workgroup whose teams are subgroups.
constexpr uint32_t kSubgroupQuads[] = {4, 8};
/// More columns than these are never faster by a kernel that reads the weights anew for every eight, nor by one without
/// matrix units where there are some.
constexpr uint32_t kVecClassMax = 64, kMatClassMax = 64;
/// No matrix has more.
constexpr uint32_t kSizeMax = 1u << 24;

/// The names of a size that follow one another in a text, each after its separator.
class Words {
 public:
  explicit Words(std::string_view text) : rest_(text) {}
  bool take(std::string_view expected) {
    const bool there = rest_.starts_with(expected);
    if (there) rest_.remove_prefix(expected.size());
    return there;
  }
  bool take(uint32_t& number) {
    const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), number);
    if (error != std::errc() || number == 0 || number > kSizeMax || rest_.front() == '0') return false;
    rest_.remove_prefix(size_t(end - rest_.data()));
    return true;
  }
  bool take(WeightFormat& format) {
    const std::string_view word = rest_.substr(0, rest_.find(':'));
    for (const WeightFormat one : format::kWeightFormats) {
      if (format::info(one).name != word) continue;
      format = one;
      return take(word);
    }
    return false;
  }
  bool at_end() const { return rest_.empty(); }

 private:
  std::string_view rest_;
};

bool is_class(uint32_t n) { return std::has_single_bit(n); }

/// Of matmul_vec: the built-in shape, and all that differ from it in one thing.
void add_vec_choices(const gpu::Device& device, uint32_t n_columns, std::vector<MatMulChoice>& choices) {
  const bool has_subgroups = device.tier() != gpu::Tier::t0;
  const uint32_t columns = std::min(n_columns, kVecColumnsMax);
  const MatMulChoice whole{.kernel = MatMulKernel::vec, .team = VecTeam::workgroup, .columns = columns};
  choices.push_back(whole);
  const auto add = [&](auto change) {
    MatMulChoice choice = whole;
    change(choice);
    choices.push_back(choice);
  };
  add([](MatMulChoice& choice) { choice.quads = 2; });
  // Software compiles each of them for seconds.
  const bool software = device.info().software;
  if (columns > 1 && !software) add([&](MatMulChoice& choice) { choice.columns /= 2; });
  for (const uint32_t lanes : kVecLanes) {
    if (!software && lanes <= device.limits().invocations_per_workgroup_max)
      add([&](MatMulChoice& choice) { choice.lanes = lanes; });
  }
  for (const uint32_t quads : kSubgroupQuads) {
    if (!has_subgroups) continue;
    add([&](MatMulChoice& choice) {
      choice.team = VecTeam::subgroup;
      choice.quads = quads;
    });
  }
}

}  // namespace

uint32_t size_class(uint32_t n) { return std::bit_ceil(std::max(n, 1u)); }

MatMulKey key_of(const MatMul& product, WeightFormat format, uint32_t n_columns) {
  MatMulKey key{format, 0, 0, size_class(n_columns)};
  for (const MatMulSegment& segment : product.segments) {
    key.n_in = std::max(key.n_in, segment.weights.n_in);
    if (segment.weights.format == format) key.n_rows += segment.weights.n_rows;
  }
  return key;
}

const MatMulChoice* Tuning::find(const MatMul& product, WeightFormat format, uint32_t n_columns) const {
  const auto found = matmuls.find(key_of(product, format, n_columns));
  return found == matmuls.end() ? nullptr : &found->second;
}

const TimeMixChoice* Tuning::find(const TimeMix& op, uint32_t n_chunks, uint32_t n_tokens) const {
  const auto found = time_mixes.find({op.n_embd, op.head_size, size_class(n_chunks), size_class(n_tokens)});
  return found == time_mixes.end() ? nullptr : &found->second;
}

std::vector<MatMulChoice> matmul_choices(const gpu::Device& device, uint32_t n_columns) {
  const uint32_t n = size_class(n_columns);
  std::vector<MatMulChoice> choices;
  if (n <= kVecClassMax) add_vec_choices(device, n, choices);
  const bool has_tiles = device.tier() == gpu::Tier::t2;
  if (n > 2 && (!has_tiles || n <= kMatClassMax)) choices.push_back({.kernel = MatMulKernel::mat});
  if (!has_tiles || n < 4) return choices;
  for (const MatMulTile& tile : tiles_of(device)) choices.push_back({.kernel = MatMulKernel::tile, .tile = tile});
  return choices;
}

std::vector<TimeMixChoice> time_mix_choices(const gpu::Device& device, const TimeMixKey& key) {
  std::vector<TimeMixChoice> choices;
  for (uint32_t shares = time_mix_shares(device, key.head_size); shares > 0; shares /= 2)
    choices.push_back({TimeMixForm::blocks, shares});
  // Software compiles each shader for seconds, and has one form for that reason.
  if (device.info().software) return choices;
  for (const TimeMixForm form : {TimeMixForm::tokens, TimeMixForm::pairs, TimeMixForm::wy}) {
    if (has_time_mix_form(device, form, key.n_embd, key.head_size, key.n_chunks)) choices.push_back({form});
  }
  return choices;
}

std::string name(const MatMulKey& key) {
  return fmt::format("product:{}:{}x{}:{}", format::info(key.format).name, key.n_rows, key.n_in, key.n_columns);
}

std::string name(const TimeMixKey& key) {
  return fmt::format("time_mix:{}/{}:{}x{}", key.n_embd, key.head_size, key.n_chunks, key.n_tokens);
}

std::string name(const MatMulChoice& choice) {
  switch (choice.kernel) {
    case MatMulKernel::vec:
      return fmt::format("vec:{}:{}:{}:{}", kTeams[size_t(choice.team)], choice.columns, choice.quads, choice.lanes);
    case MatMulKernel::mat:
      return "mat";
    case MatMulKernel::tile:
      break;
  }
  return "tile:" + name(choice.tile);
}

std::string name(const TimeMixChoice& choice) {
  const std::string_view form = kForms[size_t(choice.form)];
  return choice.shares > 0 ? fmt::format("{}:{}", form, choice.shares) : std::string(form);
}

bool add_named(Tuning& tuning, const gpu::Device& device, std::string_view key, std::string_view choice) {
  // A choice is one of those that this device has today, or none: nothing else of a file is believed.
  const auto add = [&](auto& map, const auto& of, const auto& choices) {
    const auto found = std::ranges::find_if(choices, [&](const auto& one) { return name(one) == choice; });
    if (found == choices.end() || name(of) != key) return false;
    map.insert_or_assign(of, *found);
    return true;
  };
  Words words(key);
  if (MatMulKey of; words.take("product:") && words.take(of.format) && words.take(":") && words.take(of.n_rows) &&
                    words.take("x") && words.take(of.n_in) && words.take(":") && words.take(of.n_columns) &&
                    words.at_end() && is_class(of.n_columns))
    return add(tuning.matmuls, of, matmul_choices(device, of.n_columns));
  words = Words(key);
  if (TimeMixKey of; words.take("time_mix:") && words.take(of.n_embd) && words.take("/") && words.take(of.head_size) &&
                     words.take(":") && words.take(of.n_chunks) && words.take("x") && words.take(of.n_tokens) &&
                     words.at_end() && is_class(of.n_chunks) && is_class(of.n_tokens) && of.head_size % 4 == 0 &&
                     of.head_size <= kHeadSizeMax && of.n_embd % of.head_size == 0)
    return add(tuning.time_mixes, of, time_mix_choices(device, of));
  return false;
}

}  // namespace ravenwing::kernels
