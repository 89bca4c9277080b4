// tests/unit/safetensors_test.cpp: what a safetensors file may say, and how each thing it may not say is refused.
#include <doctest/doctest.h>

#include <string>

#include "support/refusal.hpp"
#include "support/safetensors_writer.hpp"

using namespace ravenwing;
using test::check_accepted;
using test::check_refused;
using test::SafetensorsWriter;

namespace {

const std::vector<std::byte> kFourBytes(4, std::byte{1});

/// A file of this header and this many bytes of data.
std::vector<std::byte> file(std::string_view header, size_t data_bytes = 0) {
  return SafetensorsWriter::file(header, std::vector<std::byte>(data_bytes));
}

/// A file with one tensor 'a' of these fields and four bytes of data.
std::vector<std::byte> with_fields(const std::string& fields) { return file(R"({"a":{)" + fields + "}}", 4); }

/// A header of two F32 tensors 'a' and 'b' with these data_offsets.
std::string two_tensors(const std::string& a, const std::string& b) {
  const std::string fields = R"({"dtype":"F32","shape":[1],"data_offsets":)";
  return R"({"a":)" + fields + a + R"(},"b":)" + fields + b + "}}";
}

const std::string kValid = R"("dtype":"F32","shape":[1],"data_offsets":[0,4])";

}  // namespace

TEST_CASE("tensors, metadata, scalars and empty tensors are read") {
  const test::TemporaryFolder folder;
  SafetensorsWriter writer;
  writer.metadata["format"] = "pt";
  writer.tensors.push_back({"z", "F16", {3, 2}, std::vector<std::byte>(12, std::byte{3})});
  writer.tensors.push_back({"none", "F32", {0, 5}, {}});
  writer.tensors.push_back({"one", "BF16", {}, std::vector<std::byte>(2)});
  test::write_file(folder / "a", writer.bytes());
  const auto model = format::ModelFile::open(folder / "a");
  CHECK(model.container() == format::Container::safetensors);
  CHECK(*model.meta_string("format") == "pt");
  REQUIRE(model.tensors().size() == 3);
  const format::Tensor* z = model.find("z");
  REQUIRE(z != nullptr);
  CHECK(z->format == format::WeightFormat::f16);
  CHECK(z->shape == std::vector<uint64_t>{3, 2});
  CHECK(z->n_elements == 6);
  std::byte last{};
  CHECK(z->read(11, &last, 1));
  CHECK(last == std::byte{3});
  CHECK(model.find("none")->n_bytes == 0);
  CHECK(model.find("one")->n_elements == 1);
}

TEST_CASE("tensors may be listed in any order") { check_accepted(file(two_tensors("[4,8]", "[0,4]"), 8)); }

TEST_CASE("RELIABILITY 28: header lengths") {
  const std::string header = R"({"a":{)" + kValid + "}}";
  const auto with_length = [&](uint64_t n) { return SafetensorsWriter::file(header, kFourBytes, n); };
  check_accepted(with_length(header.size()));
  check_refused(with_length(0), {"header length 0"});
  check_refused(with_length(header.size() + 5), {"only"});
  check_refused(with_length(100'000'001), {"header length 100000001, at most 100000000"});
  check_refused(with_length(~uint64_t(0)), {"header length 18446744073709551615"});
  check_refused(with_length(header.size() - 1), {"not valid JSON"});
  check_refused({}, {"too short"});
}

TEST_CASE("RELIABILITY 29: headers that are no flat JSON object") {
  check_refused(file("{\"a\xff\":1}"), {"not UTF-8"});
  check_refused(file("{nonsense}"), {"not valid JSON"});
  check_refused(file(" {}"), {"must begin with '{'"});
  check_refused(file("[]"), {"must begin with '{'"});
  check_refused(file("{} {}"), {"not valid JSON"});
  check_refused(file(R"({"a":1})"), {"a number is not allowed"});
  check_refused(file(R"({"a":[]})"), {"an array is not allowed"});
  check_refused(file(R"({"a":null})"), {"null is not allowed"});
  check_refused(file(R"({"a":"text"})"), {"a string is not allowed"});
  check_accepted(file("{}   "));

  std::string deep;
  for (int i = 0; i < 100'000; ++i) deep += R"({"a":)";
  check_refused(file(deep), {"tensor 'a'", "an object is not allowed in 'a'"});
  check_refused(file(R"({"a":{"shape":)" + std::string(100'000, '[')), {"an array is not allowed in 'shape'"});
  check_refused(file("{" + std::string(100'000, '[')), {"not valid JSON"});
}

TEST_CASE("RELIABILITY 29: repeated keys and metadata that is no text") {
  check_refused(file(R"({"a":{)" + kValid + R"(},"a":{)" + kValid.substr(0, kValid.size() - 5) + "[4,8]}}", 8),
                {"tensor 'a'", "twice"});
  check_refused(with_fields(kValid + R"(,"dtype":"F16")"), {"tensor 'a'", "'dtype' occurs twice"});
  check_refused(with_fields(kValid + R"(,"shape":[1])"), {"tensor 'a'", "'shape' occurs twice"});
  check_refused(with_fields(kValid + R"(,"data_offsets":[0,4])"), {"tensor 'a'", "'data_offsets' occurs twice"});
  check_refused(file(R"({"__metadata__":{},"__metadata__":{}})"), {"__metadata__", "twice"});
  check_refused(file(R"({"__metadata__":{"k":"1","k":"2"}})"), {"__metadata__", "'k' occurs twice"});
  check_refused(file(R"({"__metadata__":{"k":{}}})"), {"__metadata__", "an object"});
  check_refused(file(R"({"__metadata__":{"k":1}})"), {"__metadata__", "a number"});
  check_refused(file(R"({"__metadata__":"x"})"), {"a string is not allowed"});
}

TEST_CASE("RELIABILITY 29: fields that are missing, unknown or of another type") {
  check_refused(with_fields(R"("dtype":"F32","shape":[1])"), {"tensor 'a'", "needs"});
  check_refused(with_fields(R"("dtype":"F32","data_offsets":[0,4])"), {"tensor 'a'", "needs"});
  check_refused(with_fields(R"("shape":[1],"data_offsets":[0,4])"), {"tensor 'a'", "needs"});
  check_refused(with_fields(kValid + R"(,"extra":[1])"), {"tensor 'a'", "'extra'"});
  check_refused(with_fields(R"("dtype":1,"shape":[1],"data_offsets":[0,4])"), {"tensor 'a'", "'dtype'"});
  check_refused(with_fields(R"("dtype":"F32","shape":[-1],"data_offsets":[0,4])"), {"tensor 'a'", "negative"});
  check_refused(with_fields(R"("dtype":"F32","shape":[1.0],"data_offsets":[0,4])"), {"tensor 'a'", "64-bit integer"});
  check_refused(with_fields(R"("dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,4])"),
                {"64-bit integer"});
  check_refused(with_fields(R"("dtype":"F32","shape":[1e999],"data_offsets":[0,4])"), {"not valid JSON"});
  check_refused(with_fields(R"("dtype":"F32","shape":["1"],"data_offsets":[0,4])"), {"tensor 'a'", "a string"});
  check_refused(with_fields(R"("dtype":"F32","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,4])"), {"more than 8"});
  check_refused(file(R"({"":{)" + kValid + "}}", 4), {"not a usable name"});
  check_refused(file(R"({"a\u0000":{)" + kValid + "}}", 4), {"'a\\x00'", "not a usable name"});
  check_refused(file("{\"" + std::string(5000, 'n') + "\":{" + kValid + "}}", 4), {"a name of 5000 bytes"});
}

TEST_CASE("RELIABILITY 29: a header of a great many tensors") {
  std::string header = "{";
  for (int i = 0; i < 70'000; ++i)
    header += fmt::format(R"("{}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}},)", i);
  header.back() = '}';
  check_refused(file(header), {"more than 65536 tensors"});
}

TEST_CASE("RELIABILITY 30: data that is not laid end to end") {
  check_accepted(file(two_tensors("[0,4]", "[4,8]"), 8));
  check_refused(file(two_tensors("[0,4]", "[8,12]"), 12), {"tensor 'b'", "a hole"});
  check_refused(file(two_tensors("[4,8]", "[8,12]"), 12), {"tensor 'a'", "a hole"});
  check_refused(file(two_tensors("[0,4]", "[2,6]"), 6), {"tensor 'b'", "overlaps"});
  check_refused(file(two_tensors("[0,4]", "[0,4]"), 4), {"overlaps"});
  check_refused(file(two_tensors("[0,4]", "[8,4]"), 8), {"tensor 'b'", "run backwards"});
  check_refused(file(two_tensors("[0,4]", "[4,8]"), 7), {"tensor 'b'", "cut short"});
  check_refused(file(two_tensors("[0,4]", "[4,8]"), 9), {"1 bytes after the last tensor"});
  check_refused(with_fields(R"("dtype":"F32","shape":[1],"data_offsets":[0])"), {"tensor 'a'", "1 data_offsets"});
  check_refused(with_fields(R"("dtype":"F32","shape":[1],"data_offsets":[0,4,8])"), {"tensor 'a'", "3 data_offsets"});
  check_refused(file("{}", 1), {"1 bytes after the last tensor"});
}

TEST_CASE("RELIABILITY 31: products that overflow, unknown dtypes, sizes that disagree") {
  const auto with_shape = [](const std::string& shape) {
    return with_fields(R"("dtype":"F32","shape":)" + shape + R"(,"data_offsets":[0,4])");
  };
  check_refused(with_shape("[4294967296,4294967296]"), {"tensor 'a'", "passes 2^64"});
  check_refused(with_shape("[4611686018427387905]"), {"tensor 'a'", "64 bits"});
  check_refused(with_shape("[2]"), {"tensor 'a'", "hold 4 bytes", "need 8"});
  check_refused(with_shape("[0]"), {"tensor 'a'", "hold 4 bytes", "need 0"});
  for (const std::string dtype : {"F8_E4M3", "F4", "I4", "I64", "Q4_K", "f32", ""}) {
    check_refused(with_fields(R"("dtype":")" + dtype + R"(","shape":[1],"data_offsets":[0,4])"),
                  {"tensor 'a'", "dtype '" + dtype + "' unsupported"}, test::Reading::header, ErrorCode::unsupported);
  }
}
