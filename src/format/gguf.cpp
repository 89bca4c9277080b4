// src/format/gguf.cpp: header, metadata and tensor table of a GGUF file, every number checked before it is used.
#include "format/gguf.hpp"

#include <bit>
#include <limits>
#include <span>
#include <string>
#include <utility>

#include "base/bytes.hpp"
#include "base/error.hpp"
#include "base/text.hpp"
#include "format/model_file.hpp"

namespace ravenwing::format {
namespace {

constexpr uint32_t kOldestVersion = 2;
constexpr uint32_t kNewestVersion = 3;
constexpr uint64_t kDefaultAlignment = 32;  // docs/gguf.md, general.alignment
constexpr uint64_t kAlignmentMin = 8;       // docs/gguf.md: a multiple of 8
constexpr uint64_t kAlignmentMax = 65536;
constexpr uint64_t kStringBytesMax = 1u << 30;
constexpr uint64_t kKeyBytesMax = 65535;  // docs/gguf.md
constexpr uint64_t kNameBytesMax = 63;    // GGML_MAX_NAME is 64 with its final zero
constexpr uint32_t kDimensionsMax = 4;    // GGML_MAX_DIMS

// What a file may make us allocate beyond its own size: these bound it to about 60 MB, and are far above real models.
constexpr uint64_t kTensorsMax = 65536;
constexpr uint64_t kKeysMax = 65536;
constexpr uint64_t kArrayElementsMax = 1u << 20;  // in all arrays together

// The least that one key (length, one character, type, value) and one tensor (name, one dimension, type, offset) take.
constexpr uint64_t kKeyRecordBytesMin = 8 + 1 + 4 + 1;
constexpr uint64_t kTensorRecordBytesMin = 8 + 1 + 4 + 8 + 4 + 8;

enum class ValueType : uint32_t { u8, i8, u16, i16, u32, i32, f32, boolean, string, array, u64, i64, f64 };

constexpr uint32_t kValueTypeCount = 13;
constexpr uint64_t kValueBytes[kValueTypeCount] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};  // 0: no fixed size

/// Reads forward through the file. Every message begins with the file's name and what is being read.
class Reader {
 public:
  Reader(const MappedFile& file, std::string file_name) : window_(file), file_name_(std::move(file_name)) {}

  uint64_t position() const { return position_; }
  uint64_t remaining() const { return window_.size() - position_; }
  uint64_t file_bytes() const { return window_.size(); }

  /// Names what the following reads belong to: "key 3", "tensor 'x'".
  void set_place(std::string place) { place_ = std::move(place) + ": "; }
  void clear_place() { place_.clear(); }

  template <typename... Args>
  [[noreturn]] void refuse(ErrorCode code, fmt::format_string<Args...> format, Args&&... args) const {
    fail(code, "[gguf] {}: {}{}", file_name_, place_, fmt::format(format, std::forward<Args>(args)...));
  }

  template <typename... Args>
  [[noreturn]] void refuse(fmt::format_string<Args...> format, Args&&... args) const {
    refuse(ErrorCode::bad_file, format, std::forward<Args>(args)...);
  }

  template <typename T>
  T read() {
    if (remaining() < sizeof(T)) refuse("the file ends in the middle of its header, at byte {}", window_.size());
    return load_le<T>(take(sizeof(T)));
  }

  /// A length and that many bytes, which are there until the next read.
  std::string_view read_string(uint64_t length_max) {
    const uint64_t length = read<uint64_t>();
    if (length > length_max) refuse("string of {} bytes, at most {}", length, length_max);
    if (length > remaining()) refuse("string of {} bytes, but only {} are left", length, remaining());
    return {reinterpret_cast<const char*>(take(length)), size_t(length)};
  }

  /// A key or tensor name: not empty, UTF-8 without NUL.
  std::string read_name(uint64_t length_max) {
    const std::string_view name = read_string(length_max);
    if (name.empty()) refuse("the name is empty");
    if (!is_utf8(name) || name.find('\0') != name.npos)
      refuse("the name {} has a NUL or is not UTF-8", ravenwing::quoted(name));
    return std::string(name);
  }

 private:
  const std::byte* take(uint64_t n) {
    const std::byte* bytes = window_.at(position_, n);
    if (bytes == nullptr) refuse("the file became shorter while it was read");
    position_ += n;
    return bytes;
  }

  FileWindow window_;
  uint64_t position_ = 0;
  std::string file_name_;
  std::string place_;
};

bool read_bool(Reader& reader) {
  const uint8_t value = reader.read<uint8_t>();
  if (value > 1) reader.refuse("a bool of value {}, only 0 and 1 exist", value);
  return value == 1;
}

ValueType read_value_type(Reader& reader) {
  const uint32_t type = reader.read<uint32_t>();
  if (type >= kValueTypeCount) reader.refuse("value type {}, only 0 to {} exist", type, kValueTypeCount - 1);
  return ValueType(type);
}

int64_t read_integer(Reader& reader, ValueType type) {
  switch (type) {
    case ValueType::u8:
      return reader.read<uint8_t>();
    case ValueType::i8:
      return reader.read<int8_t>();
    case ValueType::u16:
      return reader.read<uint16_t>();
    case ValueType::i16:
      return reader.read<int16_t>();
    case ValueType::u32:
      return reader.read<uint32_t>();
    case ValueType::i32:
      return reader.read<int32_t>();
    case ValueType::boolean:
      return read_bool(reader);
    case ValueType::i64:
      return reader.read<int64_t>();
    default:
      break;
  }
  const uint64_t value = reader.read<uint64_t>();
  if (value > uint64_t(std::numeric_limits<int64_t>::max())) reader.refuse("array element {} is too large", value);
  return int64_t(value);
}

/// Reads the arrays of a file under one limit for all of them.
class ArrayReader {
 public:
  explicit ArrayReader(Reader& reader) : reader_(reader) {}

  MetaValue read() {
    const ValueType type = read_value_type(reader_);
    const uint64_t count = reader_.read<uint64_t>();
    if (type == ValueType::array) reader_.refuse("an array of arrays; only arrays of plain values are read");
    const uint64_t element_bytes = type == ValueType::string ? sizeof(uint64_t) : kValueBytes[size_t(type)];
    if (count > reader_.remaining() / element_bytes) {
      reader_.refuse("array of {} elements, but only {} bytes are left", count, reader_.remaining());
    }
    if (count > kArrayElementsMax - elements_read_) {
      reader_.refuse("array of {} elements, at most {} in a file", count, kArrayElementsMax);
    }
    elements_read_ += count;
    if (type == ValueType::string) {
      return read_all<std::string>(count, [&] { return std::string(reader_.read_string(kStringBytesMax)); });
    }
    if (type == ValueType::f32) return read_all<double>(count, [&] { return double(reader_.read<float>()); });
    if (type == ValueType::f64) return read_all<double>(count, [&] { return reader_.read<double>(); });
    return read_all<int64_t>(count, [&] { return read_integer(reader_, type); });
  }

 private:
  template <typename T, typename ReadOne>
  static std::vector<T> read_all(uint64_t count, ReadOne read_one) {
    std::vector<T> values;
    values.reserve(size_t(count));
    for (uint64_t i = 0; i < count; ++i) values.push_back(read_one());
    return values;
  }

  Reader& reader_;
  uint64_t elements_read_ = 0;
};

MetaValue read_value(Reader& reader, ArrayReader& arrays) {
  const ValueType type = read_value_type(reader);
  switch (type) {
    case ValueType::u8:
      return uint64_t(reader.read<uint8_t>());
    case ValueType::u16:
      return uint64_t(reader.read<uint16_t>());
    case ValueType::u32:
      return uint64_t(reader.read<uint32_t>());
    case ValueType::u64:
      return reader.read<uint64_t>();
    case ValueType::f32:
      return double(reader.read<float>());
    case ValueType::f64:
      return reader.read<double>();
    case ValueType::boolean:
      return read_bool(reader);
    case ValueType::string:
      return std::string(reader.read_string(kStringBytesMax));
    case ValueType::array:
      return arrays.read();
    default:
      return read_integer(reader, type);
  }
}

void check_version(Reader& reader) {
  const uint32_t version = reader.read<uint32_t>();
  if (version == 0) reader.refuse("GGUF version 0 does not exist");
  if (version < kOldestVersion) {
    reader.refuse(ErrorCode::unsupported, "GGUF version {} is too old; convert the model again", version);
  }
  // A version of 3 written with the other byte order reads as 0x03000000.
  if ((version & 0xffffu) == 0)
    reader.refuse(ErrorCode::unsupported, "a big-endian GGUF file; only little-endian is read");
  if (version > kNewestVersion) {
    reader.refuse(ErrorCode::unsupported, "GGUF version {} is too new; at most {} is known", version, kNewestVersion);
  }
}

struct Counts {
  uint64_t n_tensors = 0, n_keys = 0;
};

/// The counts of the header, refused where the file could not hold as many records.
Counts read_counts(Reader& reader) {
  const Counts counts{reader.read<uint64_t>(), reader.read<uint64_t>()};
  if (counts.n_tensors > kTensorsMax || counts.n_tensors > reader.remaining() / kTensorRecordBytesMin) {
    reader.refuse("{} tensors do not fit a file of this size (at most {})", counts.n_tensors, kTensorsMax);
  }
  if (counts.n_keys > kKeysMax || counts.n_keys > reader.remaining() / kKeyRecordBytesMin) {
    reader.refuse("{} metadata keys do not fit a file of this size (at most {})", counts.n_keys, kKeysMax);
  }
  return counts;
}

uint64_t checked_alignment(Reader& reader, const std::map<std::string, MetaValue, std::less<>>& metadata) {
  const auto at = metadata.find("general.alignment");
  if (at == metadata.end()) return kDefaultAlignment;
  reader.set_place("key 'general.alignment'");
  const uint64_t* value = std::get_if<uint64_t>(&at->second);
  if (value == nullptr) reader.refuse("must be an unsigned integer");
  if (!std::has_single_bit(*value) || *value < kAlignmentMin || *value > kAlignmentMax) {
    reader.refuse("{} is not a power of two from {} to {}", *value, kAlignmentMin, kAlignmentMax);
  }
  reader.clear_place();
  return *value;
}

/// Dimensions in row-major order, and their product in n_elements.
void read_shape(Reader& reader, Tensor& tensor) {
  const uint32_t n_dimensions = reader.read<uint32_t>();
  if (n_dimensions == 0) reader.refuse("0 dimensions (a scalar); weights have at least one");
  if (n_dimensions > kDimensionsMax) reader.refuse("{} dimensions, at most {}", n_dimensions, kDimensionsMax);
  tensor.shape.resize(n_dimensions);
  tensor.n_elements = 1;
  for (uint32_t i = 0; i < n_dimensions; ++i) {
    const uint64_t length = reader.read<uint64_t>();
    const auto product = checked_mul(tensor.n_elements, length);
    if (length == 0 || !product || *product > uint64_t(std::numeric_limits<int64_t>::max())) {
      reader.refuse("dimension {} is {}; it must be positive and their product below 2^63", i, length);
    }
    tensor.n_elements = *product;
    tensor.shape[n_dimensions - 1 - i] = length;
  }
}

std::string all_format_names() {
  std::string names;
  for (const WeightFormat format : kWeightFormats)
    names += fmt::format("{}{}", names.empty() ? "" : ", ", info(format).name);
  return names;
}

void read_format(Reader& reader, Tensor& tensor) {
  const uint32_t type = reader.read<uint32_t>();
  const auto format = from_ggml_type(type);
  if (!format) {
    reader.refuse(ErrorCode::unsupported, "type {} ({}) unsupported; {} are", type, ggml_type_name(type),
                  all_format_names());
  }
  const WeightFormatInfo& layout = info(*format);
  if (tensor.shape.back() % layout.block_weights != 0) {
    reader.refuse("rows of {} weights are no whole {} blocks of {}", tensor.shape.back(), layout.name,
                  layout.block_weights);
  }
  const auto n_bytes = checked_mul(tensor.n_elements / layout.block_weights, layout.block_bytes);
  if (!n_bytes) reader.refuse("{} weights are more bytes than 64 bits can count", tensor.n_elements);
  tensor.format = *format;
  tensor.n_bytes = *n_bytes;
}

/// One record of the tensor table; returns the offset of its data.
uint64_t read_tensor(Reader& reader, uint64_t index, Tensor& tensor) {
  reader.set_place(fmt::format("tensor {}", index));
  tensor.name = reader.read_name(kNameBytesMax);
  reader.set_place(fmt::format("tensor {}", ravenwing::quoted(tensor.name)));
  read_shape(reader, tensor);
  read_format(reader, tensor);
  return reader.read<uint64_t>();
}

/// Data must lie back to back in the order of the table, each tensor at the next aligned offset, as ggml demands.
class DataLayout {
 public:
  explicit DataLayout(uint64_t alignment) : alignment_(alignment) {}

  void check(const Reader& reader, uint64_t offset, uint64_t n_bytes) {
    if (offset % alignment_ != 0) reader.refuse("data at offset {}, which is no multiple of {}", offset, alignment_);
    if (offset < next_) reader.refuse("data at offset {} overlaps the tensor before, which ends at {}", offset, next_);
    if (offset > next_) reader.refuse("data at offset {}, but the tensor before ends at {}: a hole", offset, next_);
    const auto end = checked_add(offset, n_bytes);
    const auto padded = end ? checked_add(*end, alignment_ - 1) : std::nullopt;
    if (!padded) reader.refuse("{} bytes at offset {} pass 2^64", n_bytes, offset);
    next_ = *padded / alignment_ * alignment_;
  }

 private:
  uint64_t alignment_;
  uint64_t next_ = 0;
};

}  // namespace

void parse_gguf(ModelFile& file) {
  Reader reader(*file.mapping_, ravenwing::quoted(file.path_.string(), 400));
  reader.read<uint32_t>();  // the magic, which brought us here
  check_version(reader);
  const Counts counts = read_counts(reader);

  ArrayReader arrays(reader);
  for (uint64_t i = 0; i < counts.n_keys; ++i) {
    reader.set_place(fmt::format("key {}", i));
    std::string key = reader.read_name(kKeyBytesMax);
    reader.set_place(fmt::format("key {} {}", i, ravenwing::quoted(key)));
    MetaValue value = read_value(reader, arrays);
    if (!file.metadata_.emplace(std::move(key), std::move(value)).second) reader.refuse("occurs twice");
  }
  reader.clear_place();
  const uint64_t alignment = checked_alignment(reader, file.metadata_);

  DataLayout layout(alignment);
  std::vector<uint64_t> offsets(size_t(counts.n_tensors));
  file.tensors_.resize(size_t(counts.n_tensors));
  for (size_t i = 0; i < offsets.size(); ++i) {
    Tensor& tensor = file.tensors_[i];
    offsets[i] = read_tensor(reader, i, tensor);
    layout.check(reader, offsets[i], tensor.n_bytes);
    if (!file.tensor_index_.emplace(tensor.name, i).second) reader.refuse("occurs twice");
  }

  const uint64_t data_begin = round_up(reader.position(), alignment);
  for (size_t i = 0; i < offsets.size(); ++i) {
    Tensor& tensor = file.tensors_[i];
    reader.set_place(fmt::format("tensor {}", ravenwing::quoted(tensor.name)));
    const auto begin = checked_add(data_begin, offsets[i]);
    const auto end = begin ? checked_add(*begin, tensor.n_bytes) : std::nullopt;
    if (!end || *end > reader.file_bytes()) {
      reader.refuse("its {} bytes at offset {} pass the end of the file ({} bytes): the file is cut short",
                    tensor.n_bytes, offsets[i], reader.file_bytes());
    }
    tensor.file = file.mapping_.get();
    tensor.offset = *begin;
  }
}

}  // namespace ravenwing::format
