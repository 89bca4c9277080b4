// The sub-commands of `bench` and the flags that they share with it.
#pragma once

#include <cstdint>
#include <string>

namespace CLI {
class App;
}

namespace ravenwing::apps {

void add_bench_sweep(CLI::App& bench);
void add_bench_formats(CLI::App& bench);
void add_bench_submits(CLI::App& bench);
void add_bench_embed(CLI::App& bench);
void add_bench_kernels(CLI::App& bench);

/// Throws Error{bad_request} for flags of `bench` that stand before its sub-command, which would not see them.
void refuse_flags_of(const CLI::App& bench);

void add_synthetic_flag(CLI::App& command, std::string& synthetic);
void add_prompt_tokens_flag(CLI::App& command, uint32_t& n_prompt);
void add_tokens_flag(CLI::App& command, uint32_t& n_tokens);
void add_repeat_flag(CLI::App& command, uint32_t& repeat);

}  // namespace ravenwing::apps
