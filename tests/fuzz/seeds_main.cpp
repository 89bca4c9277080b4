// tests/fuzz/seeds_main.cpp: writes valid inputs of every fuzzer, in the form that it takes, and checks that they are.
//   fuzz_seeds FOLDER
#include <fmt/format.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "base/error.hpp"
#include "fuzz/read_model.hpp"
#include "fuzz/session_snapshot.hpp"
#include "support/files.hpp"
#include "support/random_model.hpp"

using namespace ravenwing;

namespace {

using Bytes = std::vector<std::byte>;

Bytes without_first(const Bytes& file, size_t n) { return {file.begin() + std::ptrdiff_t(n), file.end()}; }

/// As fuzz::safetensors_file takes it.
Bytes safetensors_input(const Bytes& file) {
  uint64_t n_header = 0;
  std::memcpy(&n_header, file.data(), sizeof(n_header));
  const auto n_data = uint16_t(file.size() - sizeof(n_header) - n_header);
  Bytes input;
  test::append(input, n_data);
  input.insert(input.end(), file.begin() + sizeof(n_header), file.end());
  return input;
}

std::span<const uint8_t> bytes_of(const Bytes& input) {
  return {reinterpret_cast<const uint8_t*>(input.data()), input.size()};
}

void write_gguf(const std::filesystem::path& path, const test::GgufWriter& writer) {
  const Bytes input = without_first(writer.bytes(), 4);
  RAVENWING_CHECK(fuzz::read_model({"GGUF", bytes_of(input)}));
  test::write_file(path, input);
}

void write_safetensors(const std::filesystem::path& path, const test::RandomModelOptions& options) {
  const Bytes input = safetensors_input(test::random_safetensors(options).bytes());
  RAVENWING_CHECK(fuzz::read_model(fuzz::safetensors_file(bytes_of(input))));
  test::write_file(path, input);
}

/// Models whose files have every key, form and type that the readers know, as far as a few kilobytes allow.
void write_models(const std::filesystem::path& gguf, const std::filesystem::path& safetensors) {
  write_gguf(gguf / "f16", test::random_gguf(test::smallest_model()));
  test::RandomModelOptions options = test::smallest_model();
  options.n_embd = options.n_ffn = 32;
  options.head_size = 16;
  options.matrices = format::WeightFormat::q8_0;
  options.head = format::WeightFormat::q5_1;
  options.emb = format::WeightFormat::q4_0;
  write_gguf(gguf / "quantised", test::random_gguf(options));

  options = test::smallest_model();
  write_safetensors(safetensors / "f16", options);
  options.n_layer = 1;
  options.matrices = format::WeightFormat::bf16;
  options.low_rank = format::WeightFormat::f32;
  write_safetensors(safetensors / "bf16", options);
}

void write_vocabularies(const std::filesystem::path& folder) {
  const std::string_view lines = "1 '\\x00' 1\n2 b'\\xe2\\x82' 2\n3 'a' 1\n7 \"'\\u20ac\" 4\n65535 'ab' 2\n";
  test::write_file(folder / "lines", std::string(lines) + '\0' + "aab'\u20ac");
  test::write_file(folder / "tokens", std::string("<s>\na\n\\xe2\\x82\n\\xac\nab\n") + '\0' + "ab\u20aca");
}

void write_sessions(const std::filesystem::path& folder) {
  for (const bool with_everything : {false, true}) {
    const std::filesystem::path path = folder / (with_everything ? "whole" : "plain");
    write_session_file(path, fuzz::session_snapshot(with_everything), fuzz::kSessionConfig, fuzz::kSessionModelHash);
    const Bytes input = safetensors_input(test::read_file(path));
    test::write_file(path, input);
    const fuzz::MemoryFile file = fuzz::safetensors_file(bytes_of(input));
    read_session_file(file.path(), fuzz::kSessionConfig, fuzz::kSessionModelHash);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return fmt::print(stderr, "usage: fuzz_seeds FOLDER\n"), EXIT_FAILURE;
  const std::filesystem::path folder = argv[1];
  for (const char* name : {"gguf", "safetensors", "tokenizer", "session_file"})
    std::filesystem::create_directories(folder / name);
  write_models(folder / "gguf", folder / "safetensors");
  write_vocabularies(folder / "tokenizer");
  write_sessions(folder / "session_file");
  return EXIT_SUCCESS;
}
