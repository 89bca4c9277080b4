// tests/unit/gguf_test.cpp: what a GGUF file may say, and how each thing it may not say is refused.
#include <doctest/doctest.h>

#include <string>

#include "base/half.hpp"
#include "support/gguf_writer.hpp"
#include "support/random_model.hpp"
#include "support/refusal.hpp"

using namespace ravenwing;
using test::check_accepted;
using test::check_refused;
using test::GgufWriter;
using test::Reading;

namespace {

constexpr uint64_t kMinusOne = ~uint64_t(0);
constexpr uint32_t kF32 = 0, kF16 = 1, kQ4K = 12;

template <typename... Values>
std::vector<std::byte> bytes_of(const Values&... values) {
  std::vector<std::byte> bytes;
  (test::append(bytes, values), ...);
  return bytes;
}

std::vector<std::byte> text_bytes(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

/// Two keys, two tensors of 16 bytes (32 with their padding).
GgufWriter small_file() {
  GgufWriter writer;
  writer.set("general.architecture", "rwkv7");
  writer.set("a.number", uint32_t(7));
  writer.tensors.push_back({"first", {4}, kF32, std::vector<std::byte>(16, std::byte{1})});
  writer.tensors.push_back({"second", {2, 2}, kF32, std::vector<std::byte>(16, std::byte{2})});
  return writer;
}

/// The small file with one more key of raw type and value.
std::vector<std::byte> with_key(std::string_view name, uint32_t type, std::vector<std::byte> value) {
  GgufWriter writer = small_file();
  writer.set_raw(name, type, std::move(value));
  return writer.bytes();
}

/// The small file, its second tensor changed.
template <typename Change>
std::vector<std::byte> with_second(Change change) {
  GgufWriter writer = small_file();
  change(writer.tensors[1]);
  return writer.bytes();
}

}  // namespace

TEST_CASE("metadata of every type, and tensors with row-major shapes") {
  const test::TemporaryFolder folder;
  GgufWriter writer = small_file();
  writer.set_raw("u8", 0, bytes_of(uint8_t(200)));
  writer.set_raw("i8", 1, bytes_of(int8_t(-3)));
  writer.set_raw("u16", 2, bytes_of(uint16_t(60000)));
  writer.set_raw("i16", 3, bytes_of(int16_t(-300)));
  writer.set("i32", int32_t(-70000));
  writer.set("f32", 0.5f);
  writer.set("bool", true);
  writer.set("u64", kMinusOne);
  writer.set_raw("i64", 11, bytes_of(int64_t(5)));
  writer.set_raw("f64", 12, bytes_of(0.25));
  writer.set("strings", std::vector<std::string>{"one", "", "three"});
  writer.set("integers", std::vector<int32_t>{1, -2});
  writer.set_raw("floats", 9, bytes_of(uint32_t(6), uint64_t(2), 1.5f, -2.5f));
  test::write_file(folder / "a", writer.bytes());
  const auto file = format::ModelFile::open(folder / "a");
  CHECK(file.container() == format::Container::gguf);
  CHECK(file.meta_uint("u8") == 200);
  CHECK(file.meta_uint("u16") == 60000);
  CHECK(file.meta_uint("a.number") == 7);
  CHECK(file.meta_uint("u64") == kMinusOne);
  CHECK(file.meta_uint("i64") == 5);
  CHECK_FALSE(file.meta_uint("i8").has_value());
  CHECK_FALSE(file.meta_uint("absent").has_value());
  CHECK(std::get<int64_t>(file.metadata().at("i8")) == -3);
  CHECK(std::get<int64_t>(file.metadata().at("i16")) == -300);
  CHECK(std::get<int64_t>(file.metadata().at("i32")) == -70000);
  CHECK(file.meta_float("f32") == 0.5);
  CHECK(file.meta_float("f64") == 0.25);
  CHECK(std::get<bool>(file.metadata().at("bool")));
  CHECK(*file.meta_string("general.architecture") == "rwkv7");
  CHECK(*file.meta_strings("strings") == std::vector<std::string>{"one", "", "three"});
  CHECK(std::get<std::vector<int64_t>>(file.metadata().at("integers")) == std::vector<int64_t>{1, -2});
  CHECK(std::get<std::vector<double>>(file.metadata().at("floats")) == std::vector<double>{1.5, -2.5});

  REQUIRE(file.tensors().size() == 2);
  const format::Tensor* second = file.find("second");
  REQUIRE(second != nullptr);
  CHECK(second->n_bytes == 16);
  std::byte first{};
  CHECK(second->read(0, &first, 1));
  CHECK(first == std::byte{2});
  CHECK(file.find("third") == nullptr);
}

TEST_CASE("shapes are reversed, and blocks give the size") {
  const test::TemporaryFolder folder;
  GgufWriter writer;
  writer.tensors.push_back({"matrix", {512, 3}, kQ4K, std::vector<std::byte>(6 * 144)});
  test::write_file(folder / "a", writer.bytes());
  const auto file = format::ModelFile::open(folder / "a");
  const format::Tensor& tensor = file.tensors().front();
  CHECK(tensor.shape == std::vector<uint64_t>{3, 512});
  CHECK(tensor.format == format::WeightFormat::q4_k);
  CHECK(tensor.n_elements == 1536);
  CHECK(tensor.n_bytes == 6 * 144);
}

TEST_CASE("version 2 is read like version 3") {
  GgufWriter writer = small_file();
  writer.version = 2;
  check_accepted(writer.bytes());
}

TEST_CASE("RELIABILITY 1: an empty or very short file") {
  const std::vector<std::byte> whole = small_file().bytes();
  for (size_t n = 0; n < 24; ++n) check_refused({whole.begin(), whole.begin() + std::ptrdiff_t(n)}, {"too short"});
  check_refused(text_bytes("zzzz"), {"too short for a GGUF header"});
}

TEST_CASE("RELIABILITY 2: other containers are named") {
  const std::string rest(64, '\xff');
  check_refused(text_bytes("lmgg" + rest), {"not GGUF", "old ggml file"});
  check_refused(text_bytes("GGML" + rest), {"not GGUF", "old ggml file"});
  check_refused(text_bytes("tjgg" + rest), {"not GGUF", "old ggjt file"});
  check_refused(text_bytes("ggjt" + rest), {"not GGUF", "old ggjt file"});
  check_refused(text_bytes("PK\x03\x04" + rest), {"not GGUF", "zip archive"});
  check_refused(text_bytes("\x80\x02" + rest), {"not GGUF", "pickle"});
  check_refused(text_bytes("{\"a\": 1}" + rest), {"not GGUF", "JSON"});
  check_refused(text_bytes("version https://git-lfs.github.com/spec/v1"), {"not GGUF", "Git LFS"});
  check_refused(text_bytes("<!DOCTYPE html><html></html>" + rest), {"not GGUF", "HTML"});
  check_refused(text_bytes("something else entirely" + rest), {"not GGUF", "'somethin'"});
  check_accepted(test::random_safetensors({}).bytes());
}

TEST_CASE("RELIABILITY 3: four versions, four messages") {
  const auto with_version = [](uint32_t version) {
    GgufWriter writer = small_file();
    writer.version = version;
    return writer.bytes();
  };
  check_refused(with_version(0), {"version 0 does not exist"});
  check_refused(with_version(1), {"version 1 is too old"}, Reading::header, ErrorCode::unsupported);
  check_refused(with_version(4), {"version 4 is too new"}, Reading::header, ErrorCode::unsupported);
  check_refused(with_version(0x03000000), {"big-endian"}, Reading::header, ErrorCode::unsupported);
}

TEST_CASE("RELIABILITY 4: counts that the file cannot hold") {
  for (const uint64_t count : {kMinusOne, uint64_t(1) << 63, uint64_t(1) << 32, uint64_t(1000)}) {
    CAPTURE(count);
    GgufWriter tensors = small_file(), keys = small_file();
    tensors.n_tensors = count;
    keys.n_keys = count;
    check_refused(tensors.bytes(), {std::to_string(count) + " tensors do not fit"});
    check_refused(keys.bytes(), {std::to_string(count) + " metadata keys do not fit"});
  }
}

TEST_CASE("RELIABILITY 4: a count within the file's size but above what any model has") {
  GgufWriter writer = small_file();
  writer.n_tensors = 65537;
  writer.tensors[1].ne = {4 << 20};
  writer.tensors[1].data.resize(16 << 20);
  check_refused(writer.bytes(), {"65537 tensors", "at most 65536"});
}

TEST_CASE("RELIABILITY 5: string length beyond the file, beyond 1 GiB, or 2^64-1") {
  for (const uint64_t length : {kMinusOne, (uint64_t(1) << 30) + 1, uint64_t(100'000)}) {
    CAPTURE(length);
    check_refused(with_key("text", 8, bytes_of(length)), {"key 2 'text'", "string of " + std::to_string(length)});
    // The same for the name of the first key, whose length follows the header.
    std::vector<std::byte> bytes = small_file().bytes();
    std::memcpy(bytes.data() + 24, &length, sizeof(length));
    check_refused(bytes, {"key 0", "string of " + std::to_string(length)});
  }
}

TEST_CASE("RELIABILITY 6: array sizes that wrap, arrays of arrays, arrays cut short") {
  check_refused(with_key("numbers", 9, bytes_of(uint32_t(10), (uint64_t(1) << 61) + 1)),
                {"key 2 'numbers'", "array of"});
  check_refused(with_key("numbers", 9, bytes_of(uint32_t(0), kMinusOne)), {"key 2 'numbers'", "array of"});
  check_refused(with_key("texts", 9, bytes_of(uint32_t(8), uint64_t(1) << 61)), {"key 2 'texts'", "array of"});
  check_refused(with_key("wrong", 9, bytes_of(uint32_t(13), uint64_t(1))), {"key 2 'wrong'", "value type 13"});
  check_refused(with_key("large", 9, bytes_of(uint32_t(10), uint64_t(1), kMinusOne)), {"key 2 'large'", "too large"});

  std::vector<std::byte> nested;
  for (int i = 0; i < 1000; ++i) {
    test::append(nested, uint32_t(9));
    test::append(nested, uint64_t(1));
  }
  check_refused(with_key("deep", 9, nested), {"key 2 'deep'", "array of arrays"});

  GgufWriter cut;
  cut.set("texts", std::vector<std::string>(20, "0123456789"));
  std::vector<std::byte> bytes = cut.bytes();
  bytes.resize(bytes.size() - 64);
  check_refused(bytes, {"key 0 'texts'"});
}

TEST_CASE("RELIABILITY 6: arrays of a great many empty strings") {
  GgufWriter writer;
  std::vector<std::byte> value = bytes_of(uint32_t(8), (uint64_t(1) << 20) + 1);
  value.resize(value.size() + ((size_t(1) << 20) + 1) * 8);
  writer.set_raw("texts", 9, value);
  check_refused(writer.bytes(), {"key 0 'texts'", "at most 1048576"});
}

TEST_CASE("RELIABILITY 7: value types that do not exist, a bool that is neither") {
  for (const uint32_t type : {13u, 14u, 255u, 0xffffffffu}) {
    check_refused(with_key("odd", type, bytes_of(uint64_t(0))), {"key 2 'odd'", "value type " + std::to_string(type)});
  }
  check_refused(with_key("odd", 7, bytes_of(uint8_t(7))), {"key 2 'odd'", "bool of value 7"});
  check_refused(with_key("odd", 9, bytes_of(uint32_t(7), uint64_t(2), uint8_t(1), uint8_t(2))), {"bool of value 2"});
}

TEST_CASE("RELIABILITY 8: empty, repeated and unreadable keys") {
  check_refused(with_key("", 0, bytes_of(uint8_t(1))), {"key 2", "empty"});
  check_refused(with_key(std::string_view("a\0b", 3), 0, bytes_of(uint8_t(1))), {"key 2", "'a\\x00b'"});
  check_refused(with_key("a\xff", 0, bytes_of(uint8_t(1))), {"key 2", "'a\\xff'", "UTF-8"});
  check_refused(with_key(std::string(65536, 'k'), 0, bytes_of(uint8_t(1))), {"key 2", "at most 65535"});
  GgufWriter twice = small_file();
  twice.keys.push_back(twice.keys[1]);
  check_refused(twice.bytes(), {"key 2 'a.number'", "occurs twice"});
  check_accepted(with_key("some.unknown.key", 0, bytes_of(uint8_t(1))));
}

TEST_CASE("RELIABILITY 9: alignments") {
  const std::string key = "general.alignment";
  for (const uint32_t alignment : {0u, 1u, 3u, 48u, 0x80000000u}) {
    check_refused(with_key(key, 4, bytes_of(alignment)), {key, std::to_string(alignment) + " is not a power of two"});
  }
  check_refused(with_key(key, 11, bytes_of(int64_t(32))), {key, "unsigned integer"});
  check_refused(with_key(key, 8, bytes_of(uint64_t(2), uint16_t(0x3233))), {key, "unsigned integer"});
  for (const uint32_t alignment : {8u, 64u, 4096u}) {
    GgufWriter writer = small_file();
    writer.set(key, alignment);
    writer.alignment = alignment;
    check_accepted(writer.bytes());
  }
}

TEST_CASE("RELIABILITY 10: numbers of dimensions") {
  const auto with_dimensions = [](uint32_t n) { return with_second([n](auto& tensor) { tensor.n_dimensions = n; }); };
  check_refused(with_dimensions(0), {"tensor 'second'", "0 dimensions"});
  check_refused(with_dimensions(5), {"tensor 'second'", "5 dimensions, at most 4"});
  check_refused(with_dimensions(0xffffffff), {"tensor 'second'", "4294967295 dimensions"});
}

TEST_CASE("RELIABILITY 11: dimensions of zero, negative, and with products that wrap") {
  const auto with_shape = [](std::vector<uint64_t> ne) { return with_second([&](auto& tensor) { tensor.ne = ne; }); };
  check_refused(with_shape({0}), {"tensor 'second'", "dimension 0 is 0"});
  check_refused(with_shape({4, 0}), {"tensor 'second'", "dimension 1 is 0"});
  check_refused(with_shape({kMinusOne}), {"tensor 'second'", "dimension 0 is"});
  check_refused(with_shape({kMinusOne, 2}), {"tensor 'second'", "dimension 0 is"});
  check_refused(with_shape({uint64_t(1) << 63}), {"tensor 'second'", "2^63"});
  check_refused(with_shape({uint64_t(1) << 32, uint64_t(1) << 32}), {"tensor 'second'", "dimension 1 is 4294967296"});
  check_refused(with_shape({uint64_t(1) << 22, (uint64_t(1) << 42) + 1}), {"tensor 'second'", "dimension 1"});
  // 2^62 floats pass as a count, but not as bytes.
  check_refused(with_shape({uint64_t(1) << 62}), {"tensor 'second'", "64 bits"});
}

TEST_CASE("RELIABILITY 12: tensor types") {
  const auto with_type = [](uint32_t type) { return with_second([type](auto& tensor) { tensor.type = type; }); };
  const auto check = [&](uint32_t type, const std::string& name) {
    const std::string text = "type " + std::to_string(type) + " (" + name + ") unsupported";
    check_refused(with_type(type), {"tensor 'second'", text}, Reading::header, ErrorCode::unsupported);
  };
  check(0xffffffff, "unknown");
  check(4, "Q4_2 (removed)");
  check(5, "Q4_3 (removed)");
  check(200, "unknown");
  check(16, "IQ2_XXS");
  check(34, "TQ1_0");
  check(39, "MXFP4");
  check(27, "I64");
}

TEST_CASE("RELIABILITY 13: rows that are no whole number of blocks") {
  check_refused(with_second([](auto& tensor) {
                  tensor.ne = {128, 2};
                  tensor.type = kQ4K;
                  tensor.data.resize(144);
                }),
                {"tensor 'second'", "rows of 128", "Q4_K"});
}

TEST_CASE("RELIABILITY 14: offsets") {
  const auto with_offset = [](uint64_t offset) { return with_second([&](auto& tensor) { tensor.offset = offset; }); };
  check_accepted(with_offset(32));
  check_refused(with_offset(33), {"tensor 'second'", "no multiple of 32"});
  check_refused(with_offset(0), {"tensor 'second'", "overlaps"});
  check_refused(with_offset(64), {"tensor 'second'", "hole"});
  check_refused(with_offset(1 << 20), {"tensor 'second'", "hole"});
  check_refused(with_offset(kMinusOne - 31), {"tensor 'second'", "hole"});
  // 2^64 - 2 bytes: rounding them up to the alignment would give zero.
  check_refused(with_second([](auto& tensor) {
                  tensor.type = kF16;
                  tensor.ne = {(uint64_t(1) << 63) - 1};
                }),
                {"tensor 'second'", "pass 2^64"});
  // The sum of all sizes wraps although no single one does.
  GgufWriter sum = small_file();
  sum.tensors[0].type = sum.tensors[1].type = kF16;
  sum.tensors[0].ne = sum.tensors[1].ne = {uint64_t(1) << 62};
  sum.tensors[1].offset = uint64_t(1) << 63;
  check_refused(sum.bytes(), {"tensor 'second'", "pass 2^64"});
  // The sizes fit 64 bits, but not the file.
  check_refused(with_second([](auto& tensor) { tensor.ne = {uint64_t(1) << 40}; }), {"tensor 'second'", "cut short"});
}

TEST_CASE("RELIABILITY 15: a file cut anywhere is refused when it is opened") {
  GgufWriter writer = small_file();
  writer.tensors[1].ne = {8};
  writer.tensors[1].data.resize(32);  // no padding at the end
  const std::vector<std::byte> whole = writer.bytes();
  check_accepted(whole);
  for (size_t n = 0; n < whole.size(); ++n) {
    CAPTURE(n);
    CHECK(test::refusal_of({whole.begin(), whole.begin() + std::ptrdiff_t(n)}).code == ErrorCode::bad_file);
  }
  check_refused({whole.begin(), whole.end() - 1}, {"tensor 'second'", "cut short"});
  check_refused({whole.begin(), whole.end() - 50}, {"tensor 'first'", "cut short"});
}

TEST_CASE("RELIABILITY 16: a file that shrinks after it was opened") {
  const test::TemporaryFolder folder;
  test::write_random_gguf(folder / "a.gguf", {});
  const auto file = format::ModelFile::open(folder / "a.gguf");
  CHECK(file.unchanged());
  std::filesystem::resize_file(folder / "a.gguf", 4096);
  CHECK_FALSE(file.unchanged());
  CHECK_THROWS_AS(rwkv7::read_model_source(file), Error);
}

TEST_CASE("RELIABILITY 17: bytes after the last tensor are never read") {
  const test::TemporaryFolder folder;
  std::vector<std::byte> bytes = small_file().bytes();
  GgufWriter other = small_file();
  other.tensors[0].name = "of another file";
  for (const std::byte byte : other.bytes()) bytes.push_back(byte);
  test::write_file(folder / "a", bytes);
  const auto file = format::ModelFile::open(folder / "a");
  CHECK(file.tensors().size() == 2);
  CHECK(file.find("of another file") == nullptr);
  bytes.push_back(std::byte{0xff});
  check_accepted(bytes);
}

TEST_CASE("RELIABILITY 18: tensor names") {
  const auto with_name = [](std::string name) { return with_second([&](auto& tensor) { tensor.name = name; }); };
  check_refused(with_name("first"), {"tensor 'first'", "occurs twice"});
  check_refused(with_name(std::string(64, 'n')), {"tensor 1", "string of 64 bytes, at most 63"});
  check_accepted(with_name(std::string(63, 'n')));
  check_refused(with_name(""), {"tensor 1", "empty"});
  check_refused(with_name("a\xc3"), {"tensor 1", "UTF-8"});
}
