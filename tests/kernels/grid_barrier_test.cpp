// tests/kernels/grid_barrier_test.cpp: what workgroups share before they arrive is there for all that have waited.
#include <cstdlib>

#include "base/bytes.hpp"
#include "gpu/timestamps.hpp"
#include "kernels/harness.hpp"
#include "kernels/shaders.hpp"
#include "kernels/token.hpp"

using namespace ravenwing;

namespace {

constexpr uint32_t kEach = 64, kWorkgroupsMax = 4096, kHeader = 16;

// In each stage a workgroup reads as a product does, shares the stage's number in EACH words, and counts, of all
// workgroups' words, those that are older. Stages take turns with two sets of words: who writes a set has waited for
// those who read it.
constexpr std::string_view kStages = R"(
//@import grid_barrier
//@const WORKGROUP_SIZE 256
//@const EACH 1
//@const WORDS 1
//@const LOADS 1
// 1: words are shared after the workgroup has arrived, which is wrong.
//@const LATE 0
@group(0) @binding(0) var<storage, read> stream: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> shared_words: array<atomic<u32>>;
struct Immediates {
  n_stages: u32,
  n_stream: u32,
  census: u32,
}
var<immediate> immediates: Immediates;
const STALE = 4u;
const CHECKED = 5u;
const WORD_SETS = 16u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) id: vec3<u32>,
        @builtin(num_workgroups) grid: vec3<u32>) {
  if (immediates.census == 1u) {
    census(lane);
    return;
  }
  let n_words = grid.x * EACH;
  var read = 0u;
  var stale = 0u;
  var checked = 0u;
  for (var s = 1u; s <= immediates.n_stages; s++) {
    for (var i = 0u; i < LOADS; i++) {
      read |= stream[(((s * LOADS + i) * grid.x + id.x) * WORKGROUP_SIZE + lane) % immediates.n_stream].x;
    }
    let words = WORD_SETS + (s & 1u) * WORDS;
    if (LATE == 1u) {
      arrive(lane);
    }
    if (lane % 4u == s % 4u && lane / 4u < EACH) {
      share(words + id.x * EACH + lane / 4u, s | read);  // zeros were read
    }
    if (LATE == 0u) {
      arrive(lane);
    }
    if (!wait(s * grid.x, lane)) {
      return;
    }
    for (var i = lane; i < n_words; i += WORKGROUP_SIZE) {
      stale += select(0u, 1u, atomicLoad(&shared_words[words + i]) != s);
      checked++;
    }
  }
  atomicAdd(&shared_words[STALE], stale | unlikely);
  atomicAdd(&shared_words[CHECKED], checked);
  leave(grid.x, lane);
}
)";

/// One to a multiprocessor of the GPU that this was written on.
constexpr uint32_t kWorkgroups = 132;

struct Found {
  uint32_t n_workgroups;
  uint32_t stalled, stale, checked;
};

/// The stages on one device.
class Stages {
 public:
  explicit Stages(gpu::Device& device)
      : device_(device),
        pipelines_(device, with_stages()),
        stream_(device.create_storage(device.info().software ? 1 << 20 : 1 << 28, gpu::Account::scratch, "stream")),
        words_(device.create_storage((kHeader + 2 * kWorkgroupsMax * kEach) * 4, gpu::Account::scratch, "words")) {}

  /// On at most `n_max` workgroups, if so many run at a time.
  Found run(uint32_t n_max, uint32_t n_stages, uint32_t n_loads, bool exchanges, bool late) {
    const auto run = [&](uint32_t n_workgroups, uint32_t census) {
      struct Immediates {
        uint32_t n_stages, n_stream, census;
      };
      gpu::Plan plan;
      gpu::Recorder recorder(pipelines_, plan);
      recorder.dispatch("stages",
                        {.shader = "stages",
                         .constants = {{"EACH", kEach},
                                       {"WORDS", kWorkgroupsMax * kEach},
                                       {"LOADS", n_loads},
                                       {"EXCHANGES", exchanges},
                                       {"LATE", late}}},
                        {gpu::read(stream_), gpu::read_write(words_)},
                        Immediates{n_stages, uint32_t(stream_.size() / 16), census}, {n_workgroups});
      device_.write(words_, 0, std::vector<std::byte>(words_.size()));
      gpu::time_pass(device_, [&](const wgpu::ComputePassEncoder& pass) { plan.encode(pass); });
      std::array<uint32_t, 6> counters{};
      const auto bytes = device_.read(words_);
      std::memcpy(counters.data(), bytes.data(), sizeof(counters));
      return counters;
    };
    const uint32_t n_workgroups = std::min(run(kWorkgroupsMax, 1)[3], n_max);
    const auto counters = run(n_workgroups, 0);
    return {n_workgroups, counters[1], counters[4], counters[5]};
  }

 private:
  static gpu::ShaderLibrary with_stages() {
    gpu::ShaderLibrary library = kernels::shader_library();
    library["stages"] = kStages;
    return library;
  }

  gpu::Device& device_;
  gpu::PipelineCache pipelines_;
  gpu::Buffer stream_, words_;
};

/// RAVENWING_TEST_STAGES, for long runs.
uint32_t n_stages(const gpu::Device& device) {
  const char* chosen = std::getenv("RAVENWING_TEST_STAGES");
  if (chosen != nullptr) return uint32_t(std::stoul(chosen));
  return device.info().software ? 100 : 20000;
}

}  // namespace

TEST_SUITE_BEGIN("grid_barrier");

TEST_CASE("who has waited finds all that was shared") {
  for (const auto& gpu : test::gpus()) {
    if (gpu->device.tier() != gpu::Tier::t1) continue;
    Stages stages(gpu->device);
    const uint32_t n = n_stages(gpu->device);
    for (const bool exchanges : {true, false}) {
      if (!exchanges && !kernels::stores_come_first(gpu->device.info())) continue;
      for (const uint32_t n_loads : {1, 4, 16}) {
        INFO(gpu->name(), ", ", n_loads, " loads, exchanges: ", exchanges);
        const Found found = stages.run(kWorkgroups, n, n_loads, exchanges, false);
        CHECK(found.n_workgroups > 0);
        CHECK(found.stalled == 0);
        CHECK(found.stale == 0);
        CHECK(found.checked == uint32_t(n * found.n_workgroups * found.n_workgroups * kEach));
      }
    }
  }
}

TEST_CASE("as many workgroups as the census counts do wait for each other") {
  for (const auto& gpu : test::gpus()) {
    if (gpu->device.tier() != gpu::Tier::t1) continue;
    const Found found = Stages(gpu->device).run(kWorkgroupsMax, 100, 1, true, false);
    MESSAGE(gpu->name(), ": ", found.n_workgroups, " workgroups at a time");
    CHECK(found.n_workgroups > 0);
    CHECK(found.stalled == 0);
    CHECK(found.stale == 0);
  }
}

TEST_CASE("what is shared too late is found missing, where workgroups run side by side") {
  for (const auto& gpu : test::gpus()) {
    if (gpu->device.tier() != gpu::Tier::t1) continue;
    const Found found = Stages(gpu->device).run(kWorkgroups, n_stages(gpu->device), 1, true, true);
    CHECK((found.stale > 0) == (found.n_workgroups > 1));
  }
}
