// src/kernels/token.cpp: who does what in token.wgsl.
#include "kernels/token.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/bytes.hpp"

namespace ravenwing::kernels {
namespace {

// Twice as many make twice as large workgroups, which leave an invocation too few registers.
constexpr uint32_t kLanesMax = 8, kLanesMin = 8;
constexpr uint32_t kNone = 0xffffffff;
constexpr std::string_view kFormatRoles[] = {"format_0", "format_1", "format_2", "format_3", "format_4", "format_5"};
constexpr std::string_view kRowsRoles[] = {"rows_0", "rows_1", "rows_2", "rows_3", "rows_4", "rows_5"};
constexpr std::string_view kSpanRoles[] = {"span_0", "span_1", "span_2", "span_3", "span_4", "span_5"};
constexpr uint32_t kSpan = 64;  // weights
/// The pairs of rows that neighbouring invocations take: all that lie together, so that they read whole lines of
/// memory.
uint32_t pairs_beside(WeightFormat format) { return std::max(rows_together(format) / 2, 1u); }

/// The module that multiplies spans of a format; of quantised ones with a module of their own it takes inputs in pairs
/// (halves2.wgsl).
std::string_view span_module(WeightFormat format) {
  switch (format) {
    case WeightFormat::q4_k:
      return "span_q4_k";
    case WeightFormat::q6_k:
      return "span_q6_k";
    case WeightFormat::q8_0:
      return "span_q8_0";
    case WeightFormat::f16:
      return "span_f16";
    default:
      return "span_units";
  }
}

bool takes_pairs(WeightFormat format) {
  return format == WeightFormat::q4_k || format == WeightFormat::q6_k || format == WeightFormat::q8_0;
}

/// Stage and Piece of token.wgsl.
struct StageWords {
  uint32_t kind, n_in, input, vectors, shift, kept, wkv, first_layer;
  uint32_t up[4], ranks[4], lows[4], up_lanes[4];
};
static_assert(sizeof(StageWords) == 6 * 16);
struct PieceWords {
  uint32_t weights, row_quads, n_rows, format, team, mix, to, output, activation;
  float scale;
  uint32_t paired_together_beside, unused;  // paired | together << 1 | log2 of beside << 5
};
static_assert(sizeof(PieceWords) == 3 * 16);

struct Immediates {
  uint32_t stage_begin, stage_end, n_stages;
  float norm_epsilon, group_norm_epsilon;
  uint32_t census;
};

/// More than any device runs at a time.
constexpr uint32_t kCensusWorkgroups = 4096;

uint32_t lanes_of(const gpu::Device& device, uint32_t head_size) {
  const uint32_t subgroup = std::bit_floor(std::max(device.info().subgroup_size_min, 1u));
  uint32_t lanes = std::min({kLanesMax, subgroup, head_size / 4});
  while (lanes * head_size > device.limits().invocations_per_workgroup_max) lanes /= 2;
  return lanes;
}

/// NEAR of token.wgsl.
uint32_t near_of(const gpu::Device& device) {
  return std::clamp(std::bit_floor(std::max(device.info().subgroup_size_min, 1u)) / 8, 2u, 4u);
}

/// Where a view begins in a window, in quads of values.
uint32_t quads(const gpu::BufferView& view, const gpu::BufferView& window, uint32_t quad_bytes = 16) {
  return narrow<uint32_t>((view.offset - window.offset) / quad_bytes);
}

/// A stretch of one buffer that grows.
struct Window {
  gpu::BufferView view;

  /// False where the view lies in another buffer, or the whole would be more than a binding holds.
  bool add(const gpu::BufferView& added, const DeviceLimits& limits) {
    if (!view.buffer) {
      view = added;
      view.size = 0;
    }
    const uint64_t begin = std::min(view.offset, added.offset) / limits.binding_alignment * limits.binding_alignment;
    const uint64_t end = std::max(view.offset + view.size, added.offset + added.size);
    if (added.buffer.Get() != view.buffer.Get() || end - begin > limits.binding_bytes_max) return false;
    view.offset = begin;
    view.size = end - begin;
    return true;
  }
};

std::vector<gpu::BufferView> weights_of(const TokenStage& stage) {
  std::vector<gpu::BufferView> views;
  if (stage.vectors.buffer) views.push_back(stage.vectors);
  for (const MatrixView& up : stage.up) {
    if (up.n_rows > 0) views.push_back(up.rows);
  }
  for (const TokenProduct& product : stage.products) views.push_back(product.weights.rows);
  return views;
}

/// Bytes of workgroup memory of token.wgsl.
uint64_t workgroup_bytes(const gpu::Device& device, const TokenModel& model) {
  const uint64_t octets = std::max(model.n_embd, model.n_ffn) / 8, head = model.head_size;
  const uint64_t lanes = lanes_of(device, model.head_size);
  const uint64_t inputs = (octets / 8 * 9 + 8) * 16 + octets * 4;
  const uint64_t of_head = 8 * head * 4;
  return inputs + lanes * head / std::min(near_of(device), 4u) * 8 + of_head +
         2 * (sizeof(StageWords) + sizeof(PieceWords)) + 64;
}

bool is_made_for(const TokenModel& model) {
  if (model.n_embd % 64 != 0 || model.n_ffn % 64 != 0 || model.n_embd % model.head_size != 0) return false;
  for (const TokenStage& stage : model.stages) {
    for (const MatrixView& up : stage.up) {
      if (up.n_rows > 0 && (up.format != WeightFormat::f16 || up.n_in % 8 != 0)) return false;
    }
    for (const TokenProduct& product : stage.products) {
      if (product.weights.n_rows % 2 != 0 || product.weights.n_in != stage.n_in) return false;
    }
  }
  return true;
}

/// How many workgroups each of a stage's products gets: at least one, so that the largest share of bytes is small.
std::vector<uint32_t> shares(const std::vector<TokenProduct>& products, uint32_t n_workgroups) {
  std::vector<uint32_t> result(products.size(), 1);
  const auto share = [&](size_t i) { return double(products[i].weights.rows.size) / result[i]; };
  for (size_t n = products.size(); n > 0 && n < n_workgroups; ++n) {
    size_t largest = 0;
    for (size_t i = 1; i < products.size(); ++i) largest = share(i) > share(largest) ? i : largest;
    ++result[largest];
  }
  return result;
}

/// Invocations for each channel of the up-projections, so that the longest take the fewest turns: `lanes` for a
/// channel's four together.
std::array<uint32_t, 4> up_lanes_of(const TokenStage& stage, uint32_t lanes) {
  std::array<uint32_t, 4> result = {1, 1, 1, 1};
  const auto turns = [&](size_t i) { return divide_up(stage.up[i].n_in / 8, result[i]); };
  for (uint32_t n = 4;;) {
    size_t longest = 0;
    for (size_t i = 1; i < result.size(); ++i) longest = turns(i) > turns(longest) ? i : longest;
    n += result[longest];
    if (n > lanes) return result;
    result[longest] *= 2;
  }
}

/// How the invocations of a workgroup may be shared by pairs of rows: a team for each, `beside` teams together.
struct Teams {
  uint32_t workgroup_size, beside, near;
};

/// Invocations for a pair of rows, so that a workgroup has the fewest turns to take.
uint32_t team_of(uint32_t n_pairs, uint32_t n_in, const Teams& teams) {
  constexpr uint32_t kTurnOfSums = 1;  // what adding up costs, in spans
  const uint32_t step = teams.beside == 1 ? 4 : teams.near;
  uint32_t best = step;
  uint64_t least = ~uint64_t(0);
  for (uint32_t team = step; team * teams.beside <= teams.workgroup_size; team += step) {
    const uint64_t rounds = divide_up(n_pairs, teams.workgroup_size / (team * teams.beside) * teams.beside);
    const uint64_t turns = rounds * (divide_up(n_in / kSpan, team) + kTurnOfSums);
    if (turns < least) {
      least = turns;
      best = team;
    }
  }
  return best;
}

}  // namespace

bool stores_come_first(const DeviceInfo& device) { return device.vendor == "nvidia"; }

TokenLayout::TokenLayout(uint64_t begin, uint32_t n_embd, uint32_t n_ffn, const std::array<uint32_t, 4>& ranks) {
  const auto take = [&](uint32_t n_words) {
    begin = round_up(begin, 64);
    const uint32_t at = narrow<uint32_t>(begin);
    begin += n_words;
    return at;
  };
  arrived = take(sizeof(TokenKernel::Counters) / 4);
  r_k_v = take(3 * n_embd / 2);
  v_first = take(n_embd);
  kept = take(n_embd);
  gated = take(n_embd / 2);
  hidden = take(n_ffn / 2);
  for (size_t i = 0; i < ranks.size(); ++i) lows[i] = take(ranks[i] / 2 + 4);
  end = begin;
}

std::optional<TokenKernel> TokenKernel::make(gpu::Device& device, TokenModel model, uint32_t n_workgroups) {
  if (device.tier() == gpu::Tier::t0 || lanes_of(device, model.head_size) < kLanesMin || !is_made_for(model)) return {};
  const DeviceLimits& limits = device.limits();
  if (workgroup_bytes(device, model) > limits.workgroup_storage_bytes_max) return {};
  for (const TokenStage& stage : model.stages) {
    if (stage.products.size() > n_workgroups) return {};
  }
  TokenKernel kernel(device, std::move(model), n_workgroups);
  if (kernel.groups_.empty() || kernel.formats_.size() > std::size(kFormatRoles)) return {};
  return kernel;
}

std::vector<TokenKernel::Group> TokenKernel::groups_of(const TokenModel& model, const DeviceLimits& limits) {
  std::vector<Group> groups;
  Window weights, wkv;
  const auto add = [&](const TokenStage& stage) {
    bool fits = stage.input != TokenInput::time_mix || wkv.add(stage.wkv, limits);
    for (const gpu::BufferView& view : weights_of(stage)) fits = fits && weights.add(view, limits);
    return fits;
  };
  for (size_t i = 0; i < model.stages.size(); ++i) {
    const Window weights_before = weights, wkv_before = wkv;
    if (!add(model.stages[i])) {
      if (groups.empty()) return {};
      groups.back().weights = weights_before.view;
      groups.back().wkv = wkv_before.view;
      weights = wkv = {};
      if (!add(model.stages[i])) return {};
      groups.push_back({i, {}, {}});
    } else if (groups.empty()) {
      groups.push_back({i, {}, {}});
    }
  }
  groups.back().weights = weights.view;
  groups.back().wkv = wkv.view;
  // A group that is the head alone has no states: any buffer will do.
  for (Group& group : groups) {
    if (!group.wkv.buffer) group.wkv = groups.front().wkv;
  }
  return groups;
}

const TokenKernel::Group& TokenKernel::group_of(size_t stage) const {
  const auto after = std::ranges::find_if(groups_, [&](const Group& group) { return group.begin > stage; });
  return *std::prev(after);
}

TokenKernel::TokenKernel(gpu::Device& device, TokenModel model, uint32_t n_workgroups)
    : model_(std::move(model)),
      n_workgroups_(n_workgroups),
      lanes_(lanes_of(device, model_.head_size)),
      groups_(groups_of(model_, device.limits())) {
  if (groups_.empty()) return;
  std::vector<StageWords> stages;
  std::vector<PieceWords> pieces;
  for (size_t index = 0; index < model_.stages.size(); ++index) {
    const TokenStage& stage = model_.stages[index];
    const Group& group = group_of(index);
    StageWords& words = stages.emplace_back();
    const auto shift_quads = [&](const std::optional<gpu::BufferView>& view) {
      return view ? quads(*view, model_.shifts) : kNone;
    };
    words = {uint32_t(stage.input),
             stage.n_in,
             stage.input_word,
             stage.vectors.buffer ? quads(stage.vectors, group.weights) : 0,
             shift_quads(stage.shift),
             shift_quads(stage.kept_shift),
             stage.input == TokenInput::time_mix ? quads(stage.wkv, group.wkv, 4 * value_bytes(model_.storage)) : 0,
             stage.first_layer,
             {},
             {},
             {},
             {1, 1, 1, 1}};
    for (size_t i = 0; i < stage.up.size(); ++i) {
      if (stage.up[i].n_rows == 0) continue;
      words.up[i] = quads(stage.up[i].rows, group.weights);
      words.ranks[i] = stage.up[i].n_in;
      words.lows[i] = stage.lows[i];
    }
    std::ranges::copy(up_lanes_of(stage, lanes_), words.up_lanes);
    const std::vector<uint32_t> n_workgroups_of = shares(stage.products, n_workgroups);
    const size_t end = pieces.size() + n_workgroups;
    for (size_t i = 0; i < stage.products.size(); ++i) {
      const TokenProduct& product = stage.products[i];
      const WeightFormat format_of = product.weights.format;
      const auto format = std::find(formats_.begin(), formats_.end(), format_of);
      const auto format_index = uint32_t(format - formats_.begin());
      if (format == formats_.end()) formats_.push_back(format_of);
      const Teams teams{lanes_ * model_.head_size, pairs_beside(format_of), near_of(device)};
      const uint32_t n_pairs = product.weights.n_rows / 2, row_quads = product.weights.row_words() / 4;
      for (uint32_t share = 0; share < n_workgroups_of[i]; ++share) {
        const auto cut = [&](uint64_t at) {
          const uint64_t n_units = divide_up(n_pairs, teams.beside);
          return uint32_t(std::min<uint64_t>(n_units * at / n_workgroups_of[i] * teams.beside, n_pairs));
        };
        const uint32_t first = cut(share), n = cut(share + 1) - first;
        const uint32_t output = product.output + first * (product.to == TokenOutput::act ? 1 : 2);
        pieces.push_back({quads(product.weights.rows, group.weights) + 2 * first * row_quads, row_quads, 2 * n,
                          format_index, team_of(n, stage.n_in, teams), product.mix, uint32_t(product.to), output,
                          uint32_t(product.activation), product.scale,
                          takes_pairs(format_of) | rows_together(format_of) << 1 | std::countr_zero(teams.beside) << 5,
                          0});
      }
    }
    pieces.resize(end);
  }
  const auto stage_bytes = std::as_bytes(std::span(stages)), piece_bytes = std::as_bytes(std::span(pieces));
  table_ = device.create_storage(stage_bytes.size() + piece_bytes.size(), gpu::Account::scratch, "token table");
  device.write(table_, 0, stage_bytes);
  device.write(table_, stage_bytes.size(), piece_bytes);
}

gpu::ShaderVariant TokenKernel::variant(const Context& context) const {
  const uint32_t workgroup_size = lanes_ * model_.head_size;
  uint32_t up_each = 1;
  for (const TokenStage& stage : model_.stages) {
    const std::array<uint32_t, 4> up_lanes = up_lanes_of(stage, lanes_);
    for (size_t i = 0; i < up_lanes.size(); ++i)
      up_each = std::max(up_each, uint32_t(divide_up(stage.up[i].n_in / 8, up_lanes[i])));
  }
  gpu::ShaderVariant variant = context.variant("token");
  variant.modules.push_back(stored_module(model_.storage));
  variant.modules.emplace_back("halves", "halves_native");
  for (size_t i = 0; i < formats_.size(); ++i) {
    variant.modules.emplace_back(kFormatRoles[i], format_module(formats_[i]));
    variant.modules.emplace_back(kRowsRoles[i], rows_module(formats_[i]));
    variant.modules.emplace_back(kSpanRoles[i], span_module(formats_[i]));
  }
  const uint32_t n_in_max = std::max(model_.n_embd, model_.n_ffn);
  variant.constants.insert(
      variant.constants.end(),
      {{"WORKGROUP_SIZE", workgroup_size},
       {"LANES", lanes_},
       {"N_FORMATS", uint32_t(formats_.size())},
       {"N_EMBD", model_.n_embd},
       {"HEAD_SIZE", model_.head_size},
       {"INPUT_OCTETS", n_in_max / 8},
       {"EACH", uint32_t(divide_up(model_.n_embd, workgroup_size))},
       {"WORDS_EACH", uint32_t(divide_up(n_in_max / 2, workgroup_size))},
       {"UP_EACH", up_each},
       {"KEYS_EACH", model_.head_size / 4 / lanes_},
       {"ANY_TOGETHER", std::ranges::any_of(formats_, [](auto it) { return rows_together(it) > 1; })},
       {"NEAR", near_of(context.recorder.device())},
       {"SPINS_MAX", context.recorder.device().info().software ? 10000 : 1000000},
       {"EXCHANGES", stores_come_first(context.recorder.device().info()) ? 0 : 1},
       {"ARRIVED", model_.layout.arrived},
       {"R_K_V", model_.layout.r_k_v},
       {"V_FIRST", model_.layout.v_first},
       {"KEPT", model_.layout.kept},
       {"GATED", model_.layout.gated}});
  return variant;
}

void TokenKernel::dispatch(const Context& context, size_t begin, size_t end, bool census, gpu::Grid grid) const {
  const Group& group = group_of(begin);
  gpu::Work work;
  for (size_t i = begin; i < end; ++i) {
    for (const TokenProduct& product : model_.stages[i].products) {
      work.bytes += product.weights.rows.size;
      work.flops += uint64_t(2) * product.weights.n_rows * product.weights.n_in;
    }
  }
  context.recorder.dispatch(
      end - begin == 1 ? model_.stages[begin].label : "token", variant(context),
      {gpu::read(context.buffers.step), gpu::read(context.buffers.control), gpu::read(group.weights), gpu::read(table_),
       gpu::read_write(model_.shared), gpu::read_write(model_.shifts), gpu::read_write(group.wkv),
       gpu::read_write(model_.logits)},
      Immediates{uint32_t(begin), uint32_t(end), uint32_t(n_stages()), model_.norm_epsilon, model_.group_norm_epsilon,
                 census},
      grid, work);
}

void TokenKernel::record(const Context& context, size_t begin, size_t end, bool whole) const {
  for (size_t stage = begin; stage < end;) {
    size_t next = stage + 1;
    while (whole && next < end && &group_of(next) == &group_of(stage)) ++next;
    dispatch(context, stage, next, false, gpu::Grid{n_workgroups_});
    stage = next;
  }
}

uint32_t TokenKernel::count_residents(gpu::PipelineCache& pipelines, const Context& like) const {
  gpu::Device& device = pipelines.device();
  gpu::Plan plan;
  gpu::Recorder recorder(pipelines, plan);
  const Context context{recorder, like.buffers, 1, 1, 1};
  dispatch(context, 0, 0, true, gpu::Grid{kCensusWorkgroups});
  const wgpu::CommandEncoder encoder = device.handle().CreateCommandEncoder();
  plan.encode_pass(encoder);
  device.submit(encoder.Finish());
  return take_counters(device).residents;
}

TokenKernel::Counters TokenKernel::take_counters(gpu::Device& device) const {
  gpu::BufferView words = model_.shared;
  words.offset += model_.layout.arrived * uint64_t(4);
  words.size = sizeof(Counters);
  Counters counters;
  const auto bytes = device.read(words);
  std::memcpy(&counters, bytes.data(), sizeof(counters));
  const wgpu::CommandEncoder encoder = device.handle().CreateCommandEncoder();
  encoder.ClearBuffer(words.buffer, words.offset, words.size);
  device.submit(encoder.Finish());
  return counters;
}

bool TokenKernel::take_stalled(gpu::Device& device) const { return take_counters(device).stalled != 0; }

}  // namespace ravenwing::kernels
