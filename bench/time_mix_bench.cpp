// bench/time_mix_bench.cpp: how fast the recurrence of the time mix runs, by the clock on the wall, over the states of
// so many layers that the cache does not hold them.
//   time_mix_bench [tier=T2] [steps=32x1,1x512] [forms=blocks,tokens,pairs] [n_embd=2560] [layers=8]     sequences x
//   tokens
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>
#include <string>

#include "kernels/shaders.hpp"
#include "kernels/time_mix.hpp"

using namespace ravenwing;
using namespace ravenwing::kernels;

namespace {

constexpr uint32_t kTokensMax = 2048, kHeadSize = 64;
constexpr int kRounds = 5, kRepeats = 4;

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts(1);
  for (const char c : text) {
    if (c == separator)
      parts.emplace_back();
    else
      parts.back() += c;
  }
  return parts;
}

struct Shape {
  uint32_t n_sequences, n_tokens, n_embd, n_layer;
};

double us_of(gpu::Device& device, const gpu::Plan& plan) {
  double best = 1e12;
  for (int round = 0; round < kRounds; ++round) {
    const auto begin = std::chrono::steady_clock::now();
    const wgpu::CommandEncoder encoder = device.handle().CreateCommandEncoder();
    const wgpu::ComputePassEncoder pass = encoder.BeginComputePass();
    for (int i = 0; i < kRepeats; ++i) plan.encode(pass);
    pass.End();
    device.submit(encoder.Finish());
    device.wait_idle();
    best = std::min(best, std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin).count());
  }
  return best / kRepeats;
}

void run(gpu::Device& device, const Shape& shape, const std::string& form) {
  gpu::PipelineCache pipelines{device, shader_library()};
  const auto make = [&](uint64_t bytes) { return device.create_storage(bytes, gpu::Account::scratch, "bench"); };
  const uint64_t plane = uint64_t(kTokensMax) * shape.n_embd * 4;
  const gpu::Buffer step = make(StepInput::bytes(kTokensMax)), control = make(shape.n_sequences * sizeof(ControlBlock));
  const gpu::Buffer r_k_v = make(3 * plane), up = make(4 * plane), v_first = make(plane), gated = make(plane),
                    y = make(plane);
  const gpu::Buffer vectors = make(uint64_t(shape.n_embd) * 8 * 4);
  StepInput input(kTokensMax);
  const std::vector<uint32_t> ids(shape.n_tokens);
  for (uint32_t slot = 0; slot < shape.n_sequences; ++slot) input.add_chunk({slot, ids});
  device.write(step, 0, input.as_bytes());
  gpu::Plan plan;
  gpu::Recorder recorder(pipelines, plan);
  const Context context{
      recorder, {step, control, kTokensMax}, shape.n_sequences * shape.n_tokens, shape.n_sequences, 0};
  std::vector<gpu::Buffer> states;
  for (uint32_t layer = 0; layer < shape.n_layer; ++layer) {
    states.push_back(make(uint64_t(shape.n_sequences) * shape.n_embd * kHeadSize * 4));
    TimeMix op{"bench", shape.n_embd, kHeadSize, layer == 0,    64e-5f, r_k_v,
               up,      v_first,      vectors,   states.back(), gated,  {}};
    if (form == "blocks") op.form = TimeMixForm::blocks;
    op.y = y;
    if (form == "pairs") op.form = TimeMixForm::pairs;
    if (form == "tokens") op.form = TimeMixForm::tokens;
    time_mix(context, op);
  }
  const double us = us_of(device, plan) / shape.n_layer;
  fmt::print("{:>4} x {:<5} {:8} {:8.1f} us a layer, {:7.1f} GB/s of state\n", shape.n_sequences, shape.n_tokens, form,
             us, 8e-3 * kHeadSize * shape.n_embd * shape.n_sequences / us);
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) try {
  std::map<std::string, std::string> options = {{"tier", "T2"},     {"steps", "32x1,1x512"}, {"forms", "blocks,tokens"},
                                                {"n_embd", "2560"}, {"layers", "8"},         {"validate", "0"}};
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    options.at(argument.substr(0, argument.find('='))) = argument.substr(argument.find('=') + 1);
  }
  gpu::Device device({.tier = gpu::tier_named(options["tier"]), .validate = options["validate"] == "1"});
  fmt::print("{} {}\n", device.info().name, device.info().tier);
  const auto number = [](const std::string& text) { return uint32_t(std::stoul(text)); };
  for (const std::string& step : split(options["steps"], ',')) {
    const std::vector<std::string> size = split(step, 'x');
    for (const std::string& form : split(options["forms"], ','))
      run(device, {number(size.at(0)), number(size.at(1)), number(options["n_embd"]), number(options["layers"])}, form);
  }
  return 0;
} catch (const std::exception& error) {
  fmt::print(stderr, "{}\n", error.what());
  return 1;
}
