// tests/unit/bytes_test.cpp: integer arithmetic that cannot wrap, and unaligned reads.
#include "base/bytes.hpp"

#include <doctest/doctest.h>

#include <limits>

using namespace ravenwing;

namespace {
constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();
}

TEST_CASE("checked_mul gives the product or nothing") {
  CHECK(checked_mul(0, kMax) == 0);
  CHECK(checked_mul(1, kMax) == kMax);
  CHECK(checked_mul(3, kMax / 3) == kMax / 3 * 3);
  CHECK(checked_mul(uint64_t{1} << 31, uint64_t{1} << 32) == uint64_t{1} << 63);
  CHECK(!checked_mul(uint64_t{1} << 32, uint64_t{1} << 32));
  CHECK(!checked_mul(2, kMax / 2 + 1));
  CHECK(!checked_mul(kMax, kMax));
}

TEST_CASE("checked_add gives the sum or nothing") {
  CHECK(checked_add(0, kMax) == kMax);
  CHECK(checked_add(kMax - 5, 5) == kMax);
  CHECK(!checked_add(kMax, 1));
  CHECK(!checked_add(kMax / 2 + 1, kMax / 2 + 1));
}

TEST_CASE("narrow keeps the value") {
  CHECK(narrow<uint8_t>(255) == 255);
  CHECK(narrow<int8_t>(-128) == -128);
  CHECK(narrow<uint32_t>(uint64_t{0xffffffff}) == 0xffffffffu);
  CHECK(narrow<int32_t>(int64_t{-1}) == -1);
}

TEST_CASE("divide_up and round_up reach the next multiple") {
  CHECK(divide_up(0, 32) == 0);
  CHECK(divide_up(1, 32) == 1);
  CHECK(divide_up(32, 32) == 1);
  CHECK(divide_up(33, 32) == 2);
  CHECK(round_up(0, 256) == 0);
  CHECK(round_up(1, 256) == 256);
  CHECK(round_up(256, 256) == 256);
  CHECK(round_up(257, 256) == 512);
}

TEST_CASE("load_le reads from any address") {
  const unsigned char bytes[] = {0xaa, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x80};
  CHECK(load_le<uint16_t>(bytes + 1) == 0x0201);
  CHECK(load_le<uint32_t>(bytes + 1) == 0x04030201u);
  CHECK(load_le<uint64_t>(bytes + 1) == 0x8007060504030201u);
  CHECK(load_le<int8_t>(bytes + 8) == -128);
}
