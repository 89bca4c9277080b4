// src/format/safetensors.cpp: the JSON header of a safetensors file, read as events so that no tree is ever built.
#include "format/safetensors.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "base/bytes.hpp"
#include "base/error.hpp"
#include "base/text.hpp"
#include "format/model_file.hpp"

namespace ravenwing::format {
namespace {

constexpr uint64_t kLengthBytes = 8;
constexpr uint64_t kHeaderBytesMax = 100'000'000;  // safetensors: MAX_HEADER_SIZE
constexpr size_t kNameBytesMax = 4096;
constexpr size_t kDimensionsMax = 8;
// Bounds what a header of many tiny entries may make us allocate; far above real models.
constexpr size_t kEntriesMax = 65536;

struct Entry {
  Tensor tensor;
  std::string dtype;
  std::vector<uint64_t> offsets;  // begin, end
  bool has_dtype = false, has_shape = false, has_offsets = false;
};

class Refusal {
 public:
  explicit Refusal(std::string file_name) : file_name_(std::move(file_name)) {}

  template <typename... Args>
  [[noreturn]] void operator()(fmt::format_string<Args...> format, Args&&... args) const {
    fail(ErrorCode::bad_file, "[safetensors] {}: {}", file_name_, fmt::format(format, std::forward<Args>(args)...));
  }

  const std::string& file_name() const { return file_name_; }

 private:
  std::string file_name_;
};

/// Receives the parser's events. The grammar is flat - {name: {dtype, shape, data_offsets}, "__metadata__": {key:
/// text}} - and whatever leaves it is refused at once, so that nesting costs nothing.
class HeaderEvents {
 public:
  HeaderEvents(const Refusal& refuse, std::map<std::string, MetaValue, std::less<>>& metadata)
      : refuse_(refuse), metadata_(metadata) {}

  std::vector<Entry> take_entries() { return std::move(entries_); }

  bool null() { return refuse_value("null"); }
  bool boolean(bool) { return refuse_value("a boolean"); }
  bool number_float(double, const std::string&) { return refuse_value("a number that is no 64-bit integer"); }
  bool number_integer(int64_t) { return refuse_value("a negative number"); }
  bool binary(nlohmann::json::binary_t&) { return refuse_value("binary data"); }

  bool number_unsigned(uint64_t value) {
    if (list_ == nullptr) return refuse_value("a number");
    if (list_->size() >= kDimensionsMax) refuse_("{}: more than {} numbers in {}", place(), kDimensionsMax, field_);
    list_->push_back(value);
    return true;
  }

  bool string(std::string& text) {
    if (level_ == Level::metadata) {
      if (metadata_.size() >= kEntriesMax) refuse_("more than {} metadata keys", kEntriesMax);
      if (!metadata_.emplace(field_, text).second)
        refuse_("__metadata__: key {} occurs twice", ravenwing::quoted(field_));
    } else if (level_ == Level::tensor && field_ == "dtype") {
      claim(entries_.back().has_dtype);
      entries_.back().dtype = text;
    } else {
      return refuse_value("a string");
    }
    return true;
  }

  bool start_object(size_t) {
    if (level_ == Level::outside) {
      level_ = Level::top;
    } else if (level_ == Level::top) {
      level_ = name_ == "__metadata__" ? Level::metadata : Level::tensor;
      if (level_ == Level::metadata)
        claim(has_metadata_);
      else
        add_entry();
    } else {
      return refuse_value("an object");
    }
    return true;
  }

  bool key(std::string& text) {
    if (text.size() > kNameBytesMax) refuse_("a name of {} bytes, at most {}", text.size(), kNameBytesMax);
    (level_ == Level::top ? name_ : field_) = text;
    return true;
  }

  bool end_object() {
    if (level_ == Level::tensor) {
      const Entry& entry = entries_.back();
      if (!entry.has_dtype || !entry.has_shape || !entry.has_offsets) {
        refuse_("{}: needs dtype, shape and data_offsets", place());
      }
    }
    level_ = level_ == Level::top ? Level::outside : Level::top;
    return true;
  }

  bool start_array(size_t) {
    if (level_ != Level::tensor || list_ != nullptr) return refuse_value("an array");
    Entry& entry = entries_.back();
    if (field_ == "shape") {
      claim(entry.has_shape);
      list_ = &entry.tensor.shape;
    } else if (field_ == "data_offsets") {
      claim(entry.has_offsets);
      list_ = &entry.offsets;
    } else {
      return refuse_value("an array");
    }
    return true;
  }

  bool end_array() {
    list_ = nullptr;
    return true;
  }

  bool parse_error(size_t position, const std::string& token, const nlohmann::json::exception&) {
    refuse_("header is not valid JSON at byte {}, near {}", position, ravenwing::quoted(token));
  }

 private:
  enum class Level { outside, top, tensor, metadata };

  std::string place() const {
    if (level_ == Level::metadata) return "__metadata__";
    return level_ == Level::outside ? "header" : fmt::format("tensor {}", ravenwing::quoted(name_));
  }

  bool refuse_value(std::string_view what) const {
    if (level_ == Level::tensor) refuse_("{}: {} is not allowed in {}", place(), what, ravenwing::quoted(field_));
    refuse_("{}: {} is not allowed here", place(), what);
  }

  /// Marks a field as seen; a second time is an error, since readers would disagree on which one counts.
  void claim(bool& seen) const {
    if (seen) refuse_("{}: {} occurs twice", place(), level_ == Level::tensor ? ravenwing::quoted(field_) : "it");
    seen = true;
  }

  void add_entry() {
    if (entries_.size() >= kEntriesMax) refuse_("more than {} tensors", kEntriesMax);
    if (name_.empty() || name_.find('\0') != name_.npos)
      refuse_("tensor {}: not a usable name", ravenwing::quoted(name_));
    entries_.emplace_back().tensor.name = name_;
  }

  const Refusal& refuse_;
  std::map<std::string, MetaValue, std::less<>>& metadata_;
  std::vector<Entry> entries_;
  Level level_ = Level::outside;
  std::string name_, field_;
  std::vector<uint64_t>* list_ = nullptr;
  bool has_metadata_ = false;
};

WeightFormat format_of(const Refusal& refuse, const Entry& entry) {
  for (const WeightFormat format : {WeightFormat::f32, WeightFormat::f16, WeightFormat::bf16}) {
    if (entry.dtype == info(format).name) return format;
  }
  fail(ErrorCode::unsupported, "[safetensors] {}: tensor {}: dtype {} unsupported; F32, F16 and BF16 are",
       refuse.file_name(), ravenwing::quoted(entry.tensor.name), ravenwing::quoted(entry.dtype));
}

/// Sizes of one tensor from its shape and dtype, compared with the bytes that the header gives it.
void check_size(const Refusal& refuse, Entry& entry) {
  Tensor& tensor = entry.tensor;
  const std::string name = ravenwing::quoted(tensor.name);
  tensor.format = format_of(refuse, entry);
  tensor.n_elements = 1;
  for (const uint64_t length : tensor.shape) {
    const auto product = checked_mul(tensor.n_elements, length);
    if (!product) refuse("tensor {}: the product of its dimensions passes 2^64", name);
    tensor.n_elements = *product;
  }
  const auto n_bytes = checked_mul(tensor.n_elements, info(tensor.format).block_bytes);
  if (!n_bytes) refuse("tensor {}: {} weights are more bytes than 64 bits can count", name, tensor.n_elements);
  if (entry.offsets.size() != 2) refuse("tensor {}: {} data_offsets, not 2", name, entry.offsets.size());
  const uint64_t begin = entry.offsets[0], end = entry.offsets[1];
  if (end < begin) refuse("tensor {}: data_offsets [{}, {}] run backwards", name, begin, end);
  if (end - begin != *n_bytes) {
    refuse("tensor {}: data_offsets hold {} bytes, but shape and dtype {} need {}", name, end - begin, entry.dtype,
           *n_bytes);
  }
  tensor.n_bytes = *n_bytes;
}

/// The format demands that tensors follow each other without gaps and fill the file to its end.
void check_layout(const Refusal& refuse, const std::vector<Entry>& entries, uint64_t data_bytes) {
  uint64_t next = 0;
  for (const Entry& entry : entries) {
    const std::string name = ravenwing::quoted(entry.tensor.name);
    if (entry.offsets[0] < next) refuse("tensor {}: overlaps the one before, which ends at {}", name, next);
    if (entry.offsets[0] > next)
      refuse("tensor {}: begins at {}, {} bytes after the one before: a hole", name, entry.offsets[0],
             entry.offsets[0] - next);
    if (entry.offsets[1] > data_bytes) {
      refuse("tensor {}: ends at {}, but the file has {} bytes of data: it is cut short", name, entry.offsets[1],
             data_bytes);
    }
    next = entry.offsets[1];
  }
  if (next != data_bytes) refuse("{} bytes after the last tensor, which no tensor owns", data_bytes - next);
}

std::vector<Entry> parse_header(const Refusal& refuse, std::string_view header,
                                std::map<std::string, MetaValue, std::less<>>& metadata) {
  if (!header.starts_with('{'))
    refuse("the header must begin with '{{', not {}", ravenwing::quoted(header.substr(0, 1)));
  if (!is_utf8(header)) refuse("the header is not UTF-8");
  HeaderEvents events(refuse, metadata);
  if (!nlohmann::json::sax_parse(header, &events)) refuse("header is not valid JSON");
  return events.take_entries();
}

}  // namespace

void parse_safetensors(ModelFile& file) {
  const Refusal refuse(ravenwing::quoted(file.path_.string(), 400));
  FileWindow window(*file.mapping_);
  const auto bytes_at = [&](uint64_t offset, uint64_t n) {
    const std::byte* bytes = window.at(offset, n);
    if (bytes == nullptr) refuse("the file became shorter while it was read");
    return bytes;
  };
  if (window.size() < kLengthBytes) refuse("{} bytes, too short for the length of a header", window.size());
  const auto header_bytes = load_le<uint64_t>(bytes_at(0, kLengthBytes));
  const uint64_t rest_bytes = window.size() - kLengthBytes;
  if (header_bytes == 0) refuse("header length 0");
  if (header_bytes > kHeaderBytesMax) refuse("header length {}, at most {}", header_bytes, kHeaderBytesMax);
  if (header_bytes > rest_bytes) refuse("header length {}, but only {} bytes follow", header_bytes, rest_bytes);

  const auto* text = reinterpret_cast<const char*>(bytes_at(kLengthBytes, header_bytes));
  std::vector<Entry> entries = parse_header(refuse, {text, size_t(header_bytes)}, file.metadata_);
  for (Entry& entry : entries) check_size(refuse, entry);
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.offsets < b.offsets; });
  check_layout(refuse, entries, rest_bytes - header_bytes);

  file.tensors_.reserve(entries.size());
  for (Entry& entry : entries) {
    entry.tensor.file = file.mapping_.get();
    entry.tensor.offset = kLengthBytes + header_bytes + entry.offsets[0];
    if (!file.tensor_index_.emplace(entry.tensor.name, file.tensors_.size()).second) {
      refuse("tensor {}: occurs twice", ravenwing::quoted(entry.tensor.name));
    }
    file.tensors_.push_back(std::move(entry.tensor));
  }
}

}  // namespace ravenwing::format
