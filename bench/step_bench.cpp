// bench/step_bench.cpp: where the time of a step goes: encoding on the CPU, the GPU's time, and each kind of dispatch.
//   step_bench [model=2.9b:q4_k_m | FILE] [tier=T2] [steps=1x1,32x1,1x512]     sequences x tokens of each
#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "format/model_file.hpp"
#include "model/rwkv7_forward.hpp"
#include "model/rwkv7_tensors.hpp"
#include "ravenwing/synthetic.hpp"

using namespace ravenwing;

namespace {

constexpr int kSteps = 20;
using Clock = std::chrono::steady_clock;

double us_since(Clock::time_point begin) {
  return std::chrono::duration<double, std::micro>(Clock::now() - begin).count();
}

/// Dispatches of one kind, "time_mix.output Q4_K" of all layers.
struct Kind {
  std::vector<const gpu::Dispatch*> dispatches;
  double us = 0;
};

double time_of(gpu::Device& device, const std::vector<const gpu::Dispatch*>& dispatches) {
  double best = 1e12;
  for (int round = 0; round < 3; ++round) {
    const auto begin = Clock::now();
    const wgpu::CommandEncoder encoder = device.handle().CreateCommandEncoder();
    const wgpu::ComputePassEncoder pass = encoder.BeginComputePass();
    for (int i = 0; i < 3; ++i) {
      for (const gpu::Dispatch* dispatch : dispatches) gpu::encode(pass, *dispatch);
    }
    pass.End();
    const wgpu::CommandBuffer commands = encoder.Finish();
    device.submit(commands);
    device.wait_idle();
    best = std::min(best, us_since(begin) / 3);
  }
  return best;
}

void print_kinds(gpu::Device& device, const gpu::Plan& plan) {
  std::map<std::string, Kind> kinds;
  for (const gpu::Dispatch& dispatch : plan.dispatches()) {
    const bool of_layer = dispatch.label.size() > 4 && dispatch.label[0] == 'L' && dispatch.label[3] == '.';
    kinds[dispatch.label.substr(of_layer ? 4 : 0)].dispatches.push_back(&dispatch);
  }
  for (auto& [name, kind] : kinds) {
    kind.us = time_of(device, kind.dispatches);
    fmt::print("    {:32} {:4} x {:8.2f} us = {:9.1f} us\n", name, kind.dispatches.size(),
               kind.us / double(kind.dispatches.size()), kind.us);
  }
}

void measure(gpu::Device& device, rwkv7::Model& model, uint32_t n_sequences, uint32_t n_tokens) {
  kernels::StepInput input(model.tokens_max());
  const std::vector<uint32_t> ids(n_tokens, 1);
  for (uint32_t slot = 0; slot < n_sequences; ++slot) {
    input.add_chunk({slot, ids});
    input.add_output({input.n_tokens() - 1, slot, false});
  }
  model.submit(input);
  device.wait_idle();
  double encode_us = 0;
  const auto begin = Clock::now();
  for (int i = 0; i < kSteps; ++i) {
    const auto submit_begin = Clock::now();
    model.submit(input);
    encode_us += us_since(submit_begin);
  }
  device.wait_idle();
  const double step_us = us_since(begin) / kSteps;
  fmt::print("  {} x {} tokens: {:.0f} us a step ({:.1f} tok/s), of which the CPU encodes {:.0f} us; {} dispatches\n",
             n_sequences, n_tokens, step_us, 1e6 * n_sequences * n_tokens / step_us, encode_us / kSteps,
             model.plan_of(input).dispatches().size());
  print_kinds(device, model.plan_of(input));
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) try {
  std::map<std::string, std::string> options = {{"model", "2.9b:q4_k_m"}, {"tier", ""}, {"steps", "1x1,32x1,1x512"}};
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    options.at(argument.substr(0, argument.find('='))) = argument.substr(argument.find('=') + 1);
  }
  std::unique_ptr<SyntheticModel> synthetic;
  std::filesystem::path path = options["model"];
  if (!std::filesystem::exists(path)) {
    synthetic = std::make_unique<SyntheticModel>(options["model"]);
    path = synthetic->path();
  }
  gpu::Device device({.tier = gpu::tier_named(options["tier"])});
  const format::ModelFile file = format::ModelFile::open(path);
  const rwkv7::ModelSource source = rwkv7::read_model_source(file);
  rwkv7::ModelOptions model_options;
  model_options.n_slots = 64;
  rwkv7::Model model(device, file, source, model_options);
  fmt::print("{} {}, {}\n", device.info().name, device.info().tier, options["model"]);
  std::string steps = options["steps"];
  for (size_t at = 0; at < steps.size();) {
    size_t used = 0;
    const uint32_t n_sequences = uint32_t(std::stoul(steps.substr(at), &used));
    at += used + 1;
    const uint32_t n_tokens = uint32_t(std::stoul(steps.substr(at), &used));
    at += used + 1;
    measure(device, model, n_sequences, n_tokens);
  }
  return 0;
} catch (const std::exception& error) {
  fmt::print(stderr, "{}\n", error.what());
  return 1;
}
