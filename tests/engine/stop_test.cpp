// tests/engine/stop_test.cpp: stop strings in text that comes in pieces.
#include "engine/stop.hpp"

#include <doctest/doctest.h>

using ravenwing::StopMatcher;

TEST_SUITE("stop strings") {
  TEST_CASE("text that can be no part of a stop string passes at once, the rest is held back") {
    StopMatcher matcher({"\n\nUser:", "END"});
    CHECK(matcher.push("Hello") == "Hello");
    CHECK(matcher.push("\n") == "");
    CHECK(matcher.push("x") == "\nx");
    CHECK(matcher.push("E") == "");
    CHECK(matcher.push("EN") == "E");
    CHECK(matcher.finish() == "EN");
    CHECK_FALSE(matcher.stopped());
  }

  TEST_CASE("a stop string in one piece, over several, and after text that only looked like it") {
    StopMatcher in_one({"stop"});
    CHECK(in_one.push("go stop here") == "go ");
    CHECK(in_one.stopped());
    CHECK(in_one.push("more") == "");
    CHECK(in_one.finish() == "");

    StopMatcher in_pieces({"aab"});
    CHECK(in_pieces.push("a") == "");
    CHECK(in_pieces.push("a") == "");
    CHECK(in_pieces.push("a") == "a");
    CHECK(in_pieces.push("b") == "");
    CHECK(in_pieces.stopped());
  }

  TEST_CASE("the first of several stop strings counts; empty ones are ignored") {
    StopMatcher matcher({"", "later", "soon"});
    CHECK(matcher.push("as soon as later") == "as ");
    CHECK(matcher.stopped());
    StopMatcher none({""});
    CHECK(none.push("abc") == "abc");
    CHECK_FALSE(none.stopped());
  }
}
