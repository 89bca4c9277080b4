// src/engine/session_file.cpp
#include "engine/session_file.hpp"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "base/bytes.hpp"
#include "base/text.hpp"
#include "format/safetensors_writer.hpp"

namespace ravenwing {
namespace {

constexpr std::string_view kKind = "ravenwing session";
constexpr uint64_t kVersion = 2;
constexpr uint64_t kHashedEndBytes = 4096;  // of each tensor's data, at both ends

class Hash {
 public:
  Hash() : state_(XXH3_createState()) { XXH3_64bits_reset(state_); }
  ~Hash() { XXH3_freeState(state_); }
  Hash(const Hash&) = delete;
  Hash& operator=(const Hash&) = delete;

  void add(const void* bytes, size_t n) { XXH3_64bits_update(state_, bytes, n); }
  void add(uint64_t number) { add(&number, sizeof(number)); }
  void add(std::string_view text) {
    add(text.size());
    add(text.data(), text.size());
  }
  template <typename T>
  void add(const std::vector<T>& values) {
    add(values.size());
    add(values.data(), values.size() * sizeof(T));
  }
  std::string text() const { return fmt::format("{:016x}", XXH3_64bits_digest(state_)); }

 private:
  XXH3_state_t* state_;
};

std::string checksum(const SessionSnapshot& snapshot) {
  Hash hash;
  for (const auto* part : {&snapshot.state.time_shift, &snapshot.state.wkv, &snapshot.state.channel_shift})
    hash.add(*part);
  hash.add(snapshot.n_tokens);
  hash.add(snapshot.pending ? *snapshot.pending : std::numeric_limits<uint64_t>::max());
  hash.add(snapshot.undecoded);
  hash.add(snapshot.counts);
  hash.add(&snapshot.mirostat_mu, sizeof(snapshot.mirostat_mu));
  hash.add(snapshot.history);
  return hash.text();
}

std::string to_hex(std::string_view bytes) {
  std::string text;
  for (const char byte : bytes) text += fmt::format("{:02x}", uint8_t(byte));
  return text;
}

/// Reads fields of a session file; every refusal names the file and the field.
class Reader {
 public:
  explicit Reader(format::ModelFile file) : file_(std::move(file)) {
    const std::string* kind = file_.meta_string("kind");
    if (file_.container() != format::Container::safetensors || kind == nullptr || *kind != kKind)
      refuse("is not a saved session");
    if (const uint64_t version = number("version"); version != kVersion)
      refuse("is a session of version {}, this program reads version {}", version, kVersion);
  }

  template <typename... Args>
  [[noreturn]] void refuse(fmt::format_string<Args...> format, Args&&... args) const {
    fail(ErrorCode::bad_file, "[session] {} {}", quoted(file_.path().string(), 400),
         fmt::format(format, std::forward<Args>(args)...));
  }

  const std::string& text(std::string_view key) const {
    const std::string* value = file_.meta_string(key);
    if (value == nullptr) refuse("has no field '{}'", key);
    return *value;
  }

  uint64_t number(std::string_view key) const {
    const std::string& digits = text(key);
    uint64_t value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error != std::errc() || end != digits.data() + digits.size() || digits.empty())
      refuse("has {} in field '{}' where a number should be", quoted(digits), key);
    return value;
  }

  std::string bytes(std::string_view key) const {
    const std::string& hex = text(key);
    std::string result;
    for (size_t i = 0; i + 1 < hex.size(); i += 2) {
      uint8_t byte = 0;
      const auto [end, error] = std::from_chars(hex.data() + i, hex.data() + i + 2, byte, 16);
      if (error != std::errc() || end != hex.data() + i + 2) refuse("has no hexadecimal bytes in field '{}'", key);
      result += char(byte);
    }
    if (hex.size() % 2 != 0) refuse("has half a byte in field '{}'", key);
    return result;
  }

  bool has_tensor(std::string_view name) const { return file_.find(name) != nullptr; }

  /// How many values a tensor of one dimension has.
  uint64_t length(std::string_view name) const {
    const format::Tensor* tensor = file_.find(name);
    if (tensor == nullptr) refuse("has no tensor '{}'", name);
    return tensor->n_elements;
  }

  std::vector<float> tensor(std::string_view name, const std::vector<uint64_t>& shape) const {
    const format::Tensor* tensor = file_.find(name);
    if (tensor == nullptr) refuse("has no tensor '{}'", name);
    if (tensor->format != format::WeightFormat::f32 || tensor->shape != shape)
      refuse("has a tensor '{}' of another shape than the model's", name);
    std::vector<float> values(tensor->n_elements);
    if (!tensor->read(0, values.data(), tensor->n_bytes)) refuse("became shorter while it was read");
    return values;
  }

 private:
  format::ModelFile file_;
};

/// Ids as floats, which hold them exactly.
constexpr uint32_t kIdMax = 1 << 24;

std::vector<uint32_t> read_history(const Reader& reader, uint32_t n_vocab) {
  std::vector<uint32_t> ids;
  if (!reader.has_tensor("history")) return ids;
  const uint64_t length = reader.length("history");
  if (length > 2 * uint64_t(SamplerParams::kDryRangeMax)) reader.refuse("has a history of {} tokens", length);
  for (const float value : reader.tensor("history", {length})) {
    if (!(value >= 0 && value < float(n_vocab)) || value != std::floor(value))
      reader.refuse("has {} in its history, where ids below {} should be", value, n_vocab);
    ids.push_back(uint32_t(value));
  }
  return ids;
}

struct Shapes {
  std::vector<uint64_t> shift, wkv;
};

Shapes shapes_of(const rwkv7::Config& config) {
  return {{config.n_layer, config.n_embd}, {config.n_layer, config.n_head, config.head_size, config.head_size}};
}

/// What write(tensors, metadata) makes of a session.
template <typename Write>
auto pack(const SessionSnapshot& snapshot, const rwkv7::Config& config, const std::string& hash_of_model, Write write) {
  const Shapes shapes = shapes_of(config);
  std::vector<format::FloatTensor> tensors = {{"time_shift", shapes.shift, snapshot.state.time_shift},
                                              {"wkv", shapes.wkv, snapshot.state.wkv},
                                              {"channel_shift", shapes.shift, snapshot.state.channel_shift}};
  if (!snapshot.counts.empty()) tensors.push_back({"penalty_counts", {config.n_vocab}, snapshot.counts});
  RAVENWING_CHECK(config.n_vocab <= kIdMax);
  const std::vector<float> history(snapshot.history.begin(), snapshot.history.end());
  if (!history.empty()) tensors.push_back({"history", {history.size()}, history});
  const float mu[] = {snapshot.mirostat_mu};
  tensors.push_back({"mirostat_mu", {1}, mu});
  const std::map<std::string, std::string> metadata = {
      {"kind", std::string(kKind)},
      {"version", std::to_string(kVersion)},
      {"architecture", "rwkv7"},
      {"model_hash", hash_of_model},
      {"tokens_seen", std::to_string(snapshot.n_tokens)},
      {"pending_token", snapshot.pending ? std::to_string(*snapshot.pending) : "none"},
      {"undecoded_bytes", to_hex(snapshot.undecoded)},
      {"checksum", checksum(snapshot)}};
  return write(tensors, metadata);
}

SessionSnapshot read(const Reader& reader, const rwkv7::Config& config, const std::string& hash_of_model) {
  if (reader.text("model_hash") != hash_of_model) {
    reader.refuse("was made for another model: its model_hash is {}, this model's is {}",
                  quoted(reader.text("model_hash")), hash_of_model);
  }
  const Shapes shapes = shapes_of(config);
  SessionSnapshot snapshot{.state = {.n_layer = config.n_layer,
                                     .n_head = config.n_head,
                                     .head_size = config.head_size,
                                     .time_shift = reader.tensor("time_shift", shapes.shift),
                                     .wkv = reader.tensor("wkv", shapes.wkv),
                                     .channel_shift = reader.tensor("channel_shift", shapes.shift)},
                           .n_tokens = reader.number("tokens_seen"),
                           .undecoded = reader.bytes("undecoded_bytes")};
  if (reader.has_tensor("penalty_counts")) snapshot.counts = reader.tensor("penalty_counts", {config.n_vocab});
  snapshot.mirostat_mu = reader.tensor("mirostat_mu", {1})[0];
  if (!std::isfinite(snapshot.mirostat_mu)) reader.refuse("has {} as mirostat's mu", snapshot.mirostat_mu);
  snapshot.history = read_history(reader, config.n_vocab);
  if (reader.text("pending_token") != "none") {
    const uint64_t id = reader.number("pending_token");
    if (id >= config.n_vocab) reader.refuse("has the pending token {}, the model's are below {}", id, config.n_vocab);
    snapshot.pending = uint32_t(id);
  }
  if (reader.text("checksum") != checksum(snapshot)) reader.refuse("is damaged: its checksum does not match");
  return snapshot;
}

}  // namespace

std::string model_hash(const format::ModelFile& file) {
  Hash hash;
  for (const format::Tensor& tensor : file.tensors()) {
    hash.add(tensor.name);
    hash.add(format::info(tensor.format).name);
    hash.add(tensor.shape);
    char ends[2 * kHashedEndBytes];
    const uint64_t n = std::min(tensor.n_bytes, kHashedEndBytes);
    if (!tensor.read(0, ends, n) || !tensor.read(tensor.n_bytes - n, ends + n, n))
      fail(ErrorCode::bad_file, "[model] {} became shorter since it was loaded", quoted(file.path().string(), 400));
    hash.add(ends, 2 * n);
  }
  return hash.text();
}

void write_session_file(const std::filesystem::path& path, const SessionSnapshot& snapshot, const rwkv7::Config& config,
                        const std::string& hash_of_model) {
  pack(snapshot, config, hash_of_model,
       [&](const auto& tensors, const auto& metadata) { format::write_safetensors(path, tensors, metadata); });
}

std::vector<std::byte> session_bytes(const SessionSnapshot& snapshot, const rwkv7::Config& config,
                                     const std::string& hash_of_model) {
  return pack(snapshot, config, hash_of_model,
              [](const auto& tensors, const auto& metadata) { return format::safetensors_bytes(tensors, metadata); });
}

SessionSnapshot read_session_file(const std::filesystem::path& path, const rwkv7::Config& config,
                                  const std::string& hash_of_model) {
  return read(Reader(format::ModelFile::open(path)), config, hash_of_model);
}

SessionSnapshot read_session_bytes(std::span<const std::byte> bytes, const rwkv7::Config& config,
                                   const std::string& hash_of_model) {
  return read(Reader(format::ModelFile::from_bytes(bytes)), config, hash_of_model);
}

}  // namespace ravenwing
