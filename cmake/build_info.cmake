# Writes OUTPUT, the build_info() of apps/build_info.hpp: version, commit and what it was built with. Run by every build, as no file tells when HEAD moves;
# the file changes only when its content does.
#   cmake -D OUTPUT=FILE -D SOURCE_DIR=DIR -D VERSION=... -D COMPILER=... -D WEBGPU=... -D WEBGPU_SHA256=... -P build_info.cmake
function(git out)
  execute_process(COMMAND git --no-optional-locks -C ${SOURCE_DIR} ${ARGN}
    OUTPUT_VARIABLE text RESULT_VARIABLE failed ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE)
  set(${out} "${text}" PARENT_SCOPE)
  set(failed ${failed} PARENT_SCOPE)
endfunction()

set(COMMIT unknown)
set(DATE "")
# A prefix: these sources lie unpacked in somebody else's repository.
git(prefix rev-parse --show-prefix)
if(failed STREQUAL "0" AND prefix STREQUAL "")
  git(head log -1 --format=%h^%cs --abbrev=12)
  if(failed STREQUAL "0")
    string(REGEX MATCH "^(.*)\\^(.*)$" matched "${head}")
    set(COMMIT ${CMAKE_MATCH_1})
    set(DATE ${CMAKE_MATCH_2})
    git(changes status --porcelain --untracked-files=no)
    if(NOT changes STREQUAL "")
      string(APPEND COMMIT "-dirty")
    endif()
  endif()
endif()

file(CONFIGURE OUTPUT ${OUTPUT} @ONLY CONTENT [[
#include "build_info.hpp"

namespace ravenwing::apps {

const BuildInfo& build_info() {
  static constexpr BuildInfo info = {
      .version = "@VERSION@",
      .commit = "@COMMIT@",
      .date = "@DATE@",
      .compiler = "@COMPILER@",
      .webgpu = "@WEBGPU@",
      .webgpu_sha256 = "@WEBGPU_SHA256@",
  };
  return info;
}

}  // namespace ravenwing::apps
]])
