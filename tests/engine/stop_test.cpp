// tests/engine/stop_test.cpp: stop strings in text that comes in pieces.
#include "engine/stop.hpp"

#include <doctest/doctest.h>

using ravenwing::StopMatcher;

namespace {

std::string pushed(StopMatcher& matcher, std::string_view text) {
  std::string certain;
  matcher.push(text, certain);
  return certain;
}

}  // namespace

TEST_SUITE("stop strings") {
  TEST_CASE("text that can be no part of a stop string passes at once, the rest is held back") {
    StopMatcher matcher({"\n\nUser:", "END"});
    CHECK(pushed(matcher, "Hello") == "Hello");
    CHECK(pushed(matcher, "\n") == "");
    CHECK(pushed(matcher, "x") == "\nx");
    CHECK(pushed(matcher, "E") == "");
    CHECK(pushed(matcher, "EN") == "E");
    CHECK(matcher.finish() == "EN");
    CHECK_FALSE(matcher.stopped());
  }

  TEST_CASE("a stop string in one piece, over several, and after text that only looked like it") {
    StopMatcher in_one({"stop"});
    CHECK(pushed(in_one, "go stop here") == "go ");
    CHECK(in_one.stopped());
    CHECK(pushed(in_one, "more") == "");
    CHECK(in_one.finish() == "");

    StopMatcher in_pieces({"aab"});
    CHECK(pushed(in_pieces, "a") == "");
    CHECK(pushed(in_pieces, "a") == "");
    CHECK(pushed(in_pieces, "a") == "a");
    CHECK(pushed(in_pieces, "b") == "");
    CHECK(in_pieces.stopped());
  }

  TEST_CASE("the first of several stop strings counts; empty ones are ignored") {
    StopMatcher matcher({"", "later", "soon"});
    CHECK(pushed(matcher, "as soon as later") == "as ");
    CHECK(matcher.stopped());
    StopMatcher none({""});
    CHECK(pushed(none, "abc") == "abc");
    CHECK_FALSE(none.stopped());
  }
}
